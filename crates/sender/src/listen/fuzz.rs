//! What a submission client may send: commands, the text of a message, and the fields in its header section.

use jiff::Timestamp;
use spool::dsn::Ret;

use super::command::{Command, Mail, parse};
use super::conversation::conversation;
use super::header::{HeaderFilter, Missing};
use super::line_ends::LineEnds;
use super::trace::{self, Trace};
use super::unstuff::Unstuffer;
use crate::address::is_mailbox;
use crate::fuzz::assert_is_shown_safely;

/// One command line, without its CRLF.
pub fn smtp_command(bytes: &[u8]) {
    let command = match parse(bytes) {
        Ok(command) => command,
        Err(fault) => {
            assert!(fault.starts_with('5') && fault.is_ascii(), "{fault}");
            return;
        }
    };
    // Written as a client would that has read the same, it is the same command.
    let again = match &command {
        Command::Mail(mail) => written(mail),
        Command::Rcpt(to) => {
            assert!(is_mailbox(&to.address), "{to:?}");
            let notify = to.notify.map(|notify| format!(" NOTIFY={notify}"));
            let orcpt = to.orcpt.as_ref().map(|orcpt| format!(" ORCPT={orcpt}"));
            let wishes = notify.unwrap_or_default() + &orcpt.unwrap_or_default();
            assert!(wishes.is_ascii(), "it must fit into any relay's command");
            format!("RCPT TO:<{}>{wishes}", to.address)
        }
        Command::Bdat(Some(chunk)) => {
            let last = if chunk.last { " LAST" } else { "" };
            format!("BDAT {}{last}", chunk.octets)
        }
        Command::Helo(name) | Command::Ehlo(name) => return greeted(name),
        _ => return,
    };
    assert_is_shown_safely(&again);
    assert_eq!(parse(again.as_bytes()), Ok(command), "{again}");
}

fn written(mail: &Mail) -> String {
    assert!(mail.sender.is_empty() || is_mailbox(&mail.sender));
    let mut line = format!("MAIL FROM:<{}> SIZE={}", mail.sender, mail.size);
    if mail.smtputf8 {
        line.push_str(" SMTPUTF8");
    }
    line.push_str(match mail.ret {
        None => "",
        Some(Ret::Full) => " RET=FULL",
        Some(Ret::Hdrs) => " RET=HDRS",
    });
    if let Some(envid) = &mail.envid {
        assert!(envid.is_ascii(), "it must fit into any relay's command");
        line.push_str(&format!(" ENVID={envid}"));
    }
    if mail.names_author {
        line.push_str(" AUTH=<>");
    }
    line
}

/// Whatever a client calls itself, our Received field stays one field of three lines.
fn greeted(name: &str) {
    assert_is_shown_safely(name);
    let trace = Trace {
        host: "helpdesk.example",
        hello: name,
        peer: "[127.0.0.1]",
        protocol: "ESMTP",
        id: "0a1b2c3d4e5f",
    };
    let field = trace::received(trace, Timestamp::UNIX_EPOCH);
    let lines: Vec<&str> = field.split_inclusive("\r\n").collect();
    assert_eq!(lines.len(), 3, "{field:?}");
    for line in lines {
        let text = line.strip_suffix("\r\n").expect("each line ends with CRLF");
        assert_is_shown_safely(text.trim_start_matches('\t'));
    }
}

/// What a client sends after DATA: where it ends, and what of it is stored.
pub fn smtp_data(bytes: &[u8]) {
    let expected = letter_by_letter(bytes);
    for size in [1, 2, 7, usize::MAX] {
        assert_eq!(unstuffed(bytes, size), expected, "{size} bytes a packet");
    }
    let (text, end) = expected;
    let repaired = repaired(&text);
    let whole = repaired == text;
    for size in [1, 2, 7, usize::MAX] {
        let (mut ends, mut out) = (LineEnds::default(), Vec::new());
        text.chunks(size).for_each(|cut| ends.repair(cut, &mut out));
        assert_eq!(out, repaired, "{size} bytes a packet");
        let mut ends = LineEnds::default();
        let found = text.chunks(size).all(|cut| ends.are_whole(cut));
        assert_eq!(
            found && !ends.is_left_open(),
            whole,
            "{size} bytes a packet"
        );
    }
    if end.is_some() {
        stored(&repaired);
    }
}

/// The text, and with how many bytes it ended.
fn unstuffed(bytes: &[u8], size: usize) -> (Vec<u8>, Option<usize>) {
    let (mut unstuffer, mut text) = (Unstuffer::new(), Vec::new());
    let mut used = 0;
    for mut packet in bytes.chunks(size) {
        while !packet.is_empty() {
            let part = unstuffer.next(packet);
            assert!(part.used > 0, "no progress");
            text.extend(part.cr.then_some(b'\r'));
            text.extend_from_slice(&packet[part.text]);
            packet = &packet[part.used..];
            used += part.used;
            if part.end {
                return (text, Some(used));
            }
        }
    }
    (text, None)
}

/// RFC 5321 section 4.5.2: a dot that begins a line is dropped, and is the end where CRLF follows it.
fn letter_by_letter(bytes: &[u8]) -> (Vec<u8>, Option<usize>) {
    let (mut text, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let line_starts = at == 0 || bytes[..at].ends_with(b"\r\n");
        match &bytes[at..] {
            [b'.', b'\r', b'\n', ..] if line_starts => return (text, Some(at + 3)),
            // It may still become the end.
            [b'.'] | [b'.', b'\r'] if line_starts => return (text, None),
            [b'.', ..] if line_starts => {}
            rest => text.push(rest[0]),
        }
        at += 1;
    }
    (text, None)
}

/// Every line end as CRLF.
fn repaired(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for (at, byte) in text.iter().enumerate() {
        match byte {
            b'\n' if at > 0 && text[at - 1] == b'\r' => {}
            b'\r' | b'\n' => out.extend_from_slice(b"\r\n"),
            other => out.push(*other),
        }
    }
    out
}

/// The filter of the header section: wherever the text is cut, and nothing but what it may add or take is different.
fn stored(text: &[u8]) {
    const DATE: &str = "Date: \u{fffd}now\r\n";
    const ID: &str = "Message-ID: <\u{fffd}@here>\r\n";
    let filter = |size| {
        let missing = Missing {
            date: DATE.to_owned(),
            message_id: ID.to_owned(),
        };
        let (mut filter, mut out) = (HeaderFilter::new(missing), Vec::new());
        for piece in text.chunks(size) {
            let used = filter.next(piece, &mut out);
            out.extend_from_slice(&piece[used..]);
        }
        filter.finish(&mut out);
        (out, filter.key().map(<[u8]>::to_vec))
    };
    let (mut out, key) = filter(usize::MAX);
    for size in [1, 2, 7] {
        assert_eq!(filter(size), (out.clone(), key.clone()), "cut at {size}");
    }
    let has = |text: &[u8], what: &str| memchr::memmem::find(text, what.as_bytes());
    if has(text, DATE).is_some() || has(text, ID).is_some() {
        return;
    }
    for added in [DATE, ID] {
        if let Some(at) = has(&out, added) {
            out.drain(at..at + added.len());
        }
    }
    let ours = has(&text.to_ascii_lowercase(), "x-postern-idempotency-key").is_some();
    assert!(key.is_none() || ours, "a key out of nothing");
    assert!(ours || out == text, "the text was changed");
    // The body is the client's, whatever stands before it.
    if let Some(end) = has(text, "\r\n\r\n") {
        assert!(out.ends_with(&text[end + 2..]), "the body was changed");
    }
}

/// What is read from the header section of a submitted message.
pub fn submitted_header(bytes: &[u8]) {
    let header = trace::header_section(bytes);
    assert!(bytes.starts_with(header));
    assert!(header.is_empty() || memchr::memmem::find(header, b"\r\n\r\n").is_none());
    let shown = trace::headline(header);
    for field in [&shown.from, &shown.subject, &shown.message_id] {
        assert!(field.chars().count() <= 200, "{field}");
        assert_is_shown_safely(field);
    }
    let author = trace::author(header);
    let automatic = trace::is_automatic(header);
    let thread = conversation(header);
    assert_ne!(thread.as_deref(), Some(""));
    // The text below says nothing about the message.
    let whole = [
        header,
        b"\r\nFrom: x@y.example\r\nAuto-Submitted: auto-replied\r\nReferences: <z@y>\r\n\r\n",
    ]
    .concat();
    let section = trace::header_section(&whole);
    if section == header {
        assert_eq!(trace::author(section), author);
        assert_eq!(trace::is_automatic(section), automatic);
        assert_eq!(conversation(section), thread);
    }
}
