//! What is put before a message (one `Received:` field, RFC 5321 section 4.4) and what is read from its head for lists.
use super::header::Missing;
use jiff::{Timestamp, tz::TimeZone};
use mail_parser::{Address, MessageParser};
use spool::Headline;

/// The longest header field text that lists show, in characters.
const HEADLINE: usize = 200;

/// Who sent a message in, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Trace<'a> {
    /// Our own name.
    pub(crate) host: &'a str,
    /// What the client called itself.
    pub(crate) hello: &'a str,
    /// Its address, or `local` for a Unix socket.
    pub(crate) peer: &'a str,
    /// `SMTP`, `ESMTP` or `UTF8SMTP` (RFC 3848, RFC 6531).
    pub(crate) protocol: &'a str,
    /// The transaction's id, which the log names too.
    pub(crate) id: &'a str,
}

/// The field with its CRLF.
pub(crate) fn received(trace: Trace<'_>, now: Timestamp) -> String {
    let Trace {
        host,
        hello,
        peer,
        protocol,
        id,
    } = trace;
    let hello = if is_harmless(hello) { hello } else { "unknown" };
    let date = jiff::fmt::rfc2822::to_string(&now.to_zoned(TimeZone::UTC)).unwrap_or_default();
    format!(
        "Received: from {hello} ({peer})\r\n\tby {host} (Postern) with {protocol} id {id};\r\n\t{date}\r\n"
    )
}

/// The transaction's id in the `Received` field that [`received`] put before a message.
pub(crate) fn own_id(head: &[u8]) -> Option<&str> {
    let end = memchr::memmem::find(head, b";\r\n\t")?;
    let field = std::str::from_utf8(&head[..end]).ok()?;
    let (start, id) = field.rsplit_once(" id ")?;
    let ours = start.starts_with("Received: from ") && start.contains(" (Postern) with ");
    let is_id = !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric());
    (ours && is_id).then_some(id)
}

/// The fields that a submission server adds where they are missing (RFC 6409 section 8).
pub(crate) fn missing(host: &str, id: &str, now: Timestamp) -> Missing {
    let date = jiff::fmt::rfc2822::to_string(&now.to_zoned(TimeZone::UTC)).unwrap_or_default();
    Missing {
        date: format!("Date: {date}\r\n"),
        message_id: format!("Message-ID: <{}.{id}@{host}>\r\n", now.as_second()),
    }
}

/// A client's own name goes into the header only if it can't be mistaken for anything else there.
fn is_harmless(hello: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b".-_:[]".contains(&b);
    !hello.is_empty() && hello.len() <= 255 && hello.bytes().all(allowed)
}

/// Random, so that it says nothing; 60 bits, so that it is found again in any log.
pub(crate) fn transaction_id() -> String {
    const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    (0..12)
        .map(|_| char::from(ALPHABET[fastrand::usize(..ALPHABET.len())]))
        .collect()
}

/// The fields that queue lists show.
pub(crate) fn headline(head: &[u8]) -> Headline {
    let Some(message) = MessageParser::default().parse_headers(head) else {
        return Headline::default();
    };
    Headline {
        from: message.from().map(shown_address).unwrap_or_default(),
        subject: cut(message.subject().unwrap_or_default()),
        message_id: cut(message.message_id().unwrap_or_default()),
    }
}

/// The address of the header's From, which decides where the envelope doesn't; empty without one.
pub(crate) fn author(header: &[u8]) -> String {
    let message = MessageParser::default().parse_headers(header);
    let from = message.as_ref().and_then(|message| message.from());
    let address = from.and_then(Address::first).and_then(|a| a.address());
    address.unwrap_or_default().to_owned()
}

/// Whether no person wrote it (RFC 3834 section 5): such mail is reported to nobody.
pub(crate) fn is_automatic(header: &[u8]) -> bool {
    let message = MessageParser::default().parse_headers(header);
    let field = message
        .as_ref()
        .and_then(|message| message.header("Auto-Submitted"));
    let value = field.and_then(|value| value.as_text());
    value.is_some_and(|value| {
        let word = value.split(';').next().unwrap_or_default();
        !word.trim().eq_ignore_ascii_case("no")
    })
}

/// How many servers a message has passed: its Received fields.
pub(crate) fn hops(header: &[u8]) -> usize {
    const FIELD: &[u8] = b"received:";
    let starts = |line: &&[u8]| {
        let start = line.get(..FIELD.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(FIELD))
    };
    header.split(|&byte| byte == b'\n').filter(starts).count()
}

fn shown_address(from: &Address<'_>) -> String {
    let Some(first) = from.first() else {
        return String::new();
    };
    let address = first.address().unwrap_or_default();
    match first.name() {
        Some(name) => cut(&format!("{name} <{address}>")),
        None => cut(address),
    }
}

fn cut(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_control())
        .take(HEADLINE)
        .collect()
}

/// The header section of what was kept of a message's beginning, without the empty line after it.
pub(crate) fn header_section(head: &[u8]) -> &[u8] {
    if head.starts_with(b"\r\n") {
        return b"";
    }
    let end = memchr::memmem::find(head, b"\r\n\r\n");
    end.map_or(head, |end| &head[..end + 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_received_field_is_folded_dated_and_free_of_the_clients_tricks() {
        let trace = Trace {
            host: "helpdesk.example",
            hello: "[127.0.0.1]",
            peer: "[127.0.0.1]",
            protocol: "ESMTP",
            id: "0a1b2c3d4e5f",
        };
        let now = Timestamp::from_second(1_700_000_000).expect("a date");
        assert_eq!(
            received(trace, now),
            "Received: from [127.0.0.1] ([127.0.0.1])\r\n\tby helpdesk.example (Postern) with ESMTP id 0a1b2c3d4e5f;\r\n\t\
             Tue, 14 Nov 2023 22:13:20 +0000\r\n"
        );
        assert_eq!(own_id(received(trace, now).as_bytes()), Some(trace.id));
        for other in [
            "",
            "Subject: x\r\n",
            "Received: from a by b with SMTP id 1;\r\n\tnow\r\n",
        ] {
            assert_eq!(own_id(other.as_bytes()), None, "{other}");
        }
        for trick in ["x) by evil (", "", "a\tb", "münchen"] {
            assert!(
                received(
                    Trace {
                        hello: trick,
                        ..trace
                    },
                    now
                )
                .starts_with("Received: from unknown ("),
                "{trick}"
            );
        }
    }

    #[test]
    fn lists_show_sender_subject_and_message_id_cut_and_decoded() {
        let head = "Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nFrom: Help Desk <help@example.org>\r\nMessage-ID: <1@x>\r\n\r\nbody";
        let shown = headline(head.as_bytes());
        assert_eq!(
            (shown.subject.as_str(), shown.message_id.as_str()),
            ("Grüße", "1@x")
        );
        assert_eq!(shown.from, "Help Desk <help@example.org>");
        assert_eq!(headline(b"no header at all\r\n").subject, "");
        let long = format!("Subject: {}\r\n\r\n", "x".repeat(900));
        assert_eq!(headline(long.as_bytes()).subject.len(), 200);
    }

    #[test]
    fn mail_that_says_so_is_automatic_and_a_persons_is_not() {
        for (field, automatic) in [
            ("Auto-Submitted: auto-replied\r\n", true),
            (
                "auto-submitted: auto-generated; owner-email=\"x\"\r\n",
                true,
            ),
            ("Auto-Submitted: No\r\n", false),
            ("Subject: Auto-Submitted: auto-replied\r\n", false),
        ] {
            assert_eq!(is_automatic(field.as_bytes()), automatic, "{field}");
        }
    }

    #[test]
    fn the_header_section_ends_at_the_empty_line() {
        assert_eq!(header_section(b"A: b\r\n\r\nbody\r\n\r\n"), b"A: b\r\n");
        assert_eq!(header_section(b"\r\nA: b\r\n\r\n"), b"");
        assert_eq!(header_section(b"A: b\r\n"), b"A: b\r\n");
    }
}
