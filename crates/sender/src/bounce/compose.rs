//! A report as a message: multipart/report with words for people, the machine's part, and the original (RFC 3462, RFC 3464).

use super::action;
use super::status::diagnose;
use jiff::{Timestamp, tz::TimeZone};
use spool::dsn::Ret;
use spool::report::{Owed, OwedRecipient, Report};
use spool::{BodyWriter, SpoolError, Stored};
use std::fmt::Write as _;
use std::io::Read;
use token_store::accounts::Relay;

/// Of an original whose whole was not asked for: its header section, and no more than this.
const HEADER: usize = 64 * 1024;
/// Of a larger original the header section is returned even where all of it was asked for: many servers take some 25 MiB and no more,
/// and a report that is refused tells nobody anything.
const WHOLE: u64 = 10 << 20;
/// Of a whole original, in memory at a time.
const CHUNK: usize = 64 * 1024;
/// A line of text for people is wrapped at this width.
const WIDTH: usize = 76;

/// What a report is made of.
pub(super) struct Letter<'a> {
    pub(super) owed: &'a Owed,
    pub(super) relay: &'a Relay,
    pub(super) host: &'a str,
    /// The address of From.
    pub(super) author: &'a str,
    /// The address of To.
    pub(super) reader: &'a str,
    /// What the report is known by when it comes back.
    pub(super) origin: String,
    pub(super) id: &'a str,
    pub(super) now: Timestamp,
}

impl Letter<'_> {
    pub(super) fn subject(&self) -> String {
        let what = match self.owed.report {
            Report::Failed => "Undeliverable",
            Report::Delayed => "Delayed",
            Report::Relayed => "Relayed",
        };
        let subject = &self.owed.headline.subject;
        match subject.is_ascii() {
            true => format!("{what}: {subject}"),
            false => format!("{what}: your message"),
        }
    }

    pub(super) fn message_id(&self) -> String {
        format!("{}.{}@{}", self.id, self.owed.message.0, self.host)
    }

    fn boundary(&self) -> String {
        format!("report-{}", self.id)
    }

    fn header(&self) -> String {
        let mut header = String::new();
        let mut field = |name: &str, value: &str| {
            // Writing to a String can't fail.
            let _ = write!(header, "{name}: {value}\r\n");
        };
        field("From", &format!("Mail Delivery System <{}>", self.author));
        field("To", &format!("<{}>", self.reader));
        field("Subject", &self.subject());
        field("Date", &date(self.now));
        field("Message-ID", &format!("<{}>", self.message_id()));
        let original = &self.owed.headline.message_id;
        if !original.is_empty() && original.is_ascii() {
            // Ticket systems find the ticket by these.
            field("In-Reply-To", &format!("<{original}>"));
            field("References", &format!("<{original}>"));
        }
        field("Auto-Submitted", "auto-replied");
        field(spool::ORIGIN_HEADER, &self.origin);
        field("MIME-Version", "1.0");
        let boundary = self.boundary();
        field(
            "Content-Type",
            &format!("multipart/report; report-type=delivery-status;\r\n\tboundary=\"{boundary}\""),
        );
        header
    }

    /// The part for people.
    fn words(&self) -> String {
        let begin = match self.owed.report {
            Report::Failed => {
                "This message could not be delivered to the recipients below, and will not be tried again."
            }
            Report::Delayed => {
                "This message has not been delivered to the recipients below yet. It is still being tried; you need not send it again."
            }
            Report::Relayed => {
                "This message was handed on for the recipients below, to a server that does not report whether it arrives."
            }
        };
        let mut words = wrapped(begin);
        let _ = write!(words, "\r\n  Subject: {}\r\n", self.owed.headline.subject);
        let _ = write!(
            words,
            "  Sent:    {}\r\n\r\n",
            date(stamp(self.owed.taken_at))
        );
        for recipient in &self.owed.recipients {
            let _ = write!(words, "<{}>:\r\n", recipient.address);
            words.push_str(&wrapped(&format!("    {}", recipient.why)));
        }
        let _ = write!(
            words,
            "\r\n{}",
            wrapped(&format!(
                "Postern on {} sent it by the relay {} ({}), where it was message {}.",
                self.host, self.relay.name, self.relay.host, self.owed.message.0
            ))
        );
        words
    }

    /// The part for machines (RFC 3464; with addresses beyond ASCII RFC 6533).
    fn fields(&self) -> String {
        let mut fields = format!("Reporting-MTA: dns; {}\r\n", self.host);
        if let Some(envid) = self.owed.envid.as_deref().and_then(from_xtext) {
            let _ = write!(fields, "Original-Envelope-Id: {envid}\r\n");
        }
        let _ = write!(
            fields,
            "Arrival-Date: {}\r\n",
            date(stamp(self.owed.taken_at))
        );
        for recipient in &self.owed.recipients {
            fields.push_str("\r\n");
            fields.push_str(&self.recipient(recipient));
        }
        fields
    }

    fn recipient(&self, recipient: &OwedRecipient) -> String {
        let diagnosis = diagnose(self.owed.report, &recipient.why);
        let mut fields = String::new();
        if let Some(original) = recipient.orcpt.as_deref().and_then(original_recipient) {
            let _ = write!(fields, "Original-Recipient: {original}\r\n");
        }
        let kind = match recipient.address.is_ascii() {
            true => "rfc822",
            false => "utf-8",
        };
        let _ = write!(
            fields,
            "Final-Recipient: {kind}; {}\r\nAction: {}\r\nStatus: {}\r\n",
            recipient.address,
            action(self.owed.report),
            diagnosis.status
        );
        if let Some(reply) = diagnosis.reply {
            let _ = write!(
                fields,
                "Remote-MTA: dns; {}\r\nDiagnostic-Code: smtp; {reply}\r\n",
                self.relay.host
            );
        }
        if self.owed.report == Report::Delayed {
            let keep = i64::try_from(self.relay.keep_trying.as_secs()).unwrap_or(i64::MAX);
            let until = stamp(self.owed.taken_at.saturating_add(keep));
            let _ = write!(fields, "Will-Retry-Until: {}\r\n", date(until));
        }
        fields
    }

    fn beyond_ascii(&self) -> bool {
        self.owed.recipients.iter().any(|r| !r.address.is_ascii())
    }
}

/// Writes a report. An original that cannot be read any more is left out; the report goes all the same.
pub(super) async fn compose(
    letter: &Letter<'_>,
    original: Result<Stored, SpoolError>,
    writer: &mut BodyWriter,
) -> Result<(), SpoolError> {
    let boundary = letter.boundary();
    let global = if letter.beyond_ascii() {
        "global-delivery-status"
    } else {
        "delivery-status"
    };
    let text = format!(
        "{}\r\n--{boundary}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n{}\r\n\
         --{boundary}\r\nContent-Type: message/{global}\r\nContent-Transfer-Encoding: 8bit\r\n\r\n{}\r\n",
        letter.header(),
        letter.words(),
        letter.fields()
    );
    writer.write(text.as_bytes()).await?;
    if let Ok(original) = original {
        let full = returns_all(letter.owed, &original);
        let kind = if full { "rfc822" } else { "rfc822-headers" };
        let family = if full { "message" } else { "text" };
        let part = format!(
            "--{boundary}\r\nContent-Type: {family}/{kind}\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
        );
        writer.write(part.as_bytes()).await?;
        match full {
            true => copy(original, writer).await?,
            false => writer.write(&header_of(original)).await?,
        }
        writer.write(b"\r\n").await?;
    }
    writer.write(format!("--{boundary}--\r\n").as_bytes()).await
}

/// RFC 3461 section 4.3: RET is about reports of failure; others carry the header section.
fn returns_all(owed: &Owed, original: &Stored) -> bool {
    let asked = owed.ret == Some(Ret::Full) && owed.report == Report::Failed;
    asked && size(original) <= WHOLE
}

/// One whose size is not known is as large as can be.
fn size(original: &Stored) -> u64 {
    match original {
        Stored::Inline(bytes) => bytes.len() as u64,
        Stored::File(file) => file.metadata().map_or(u64::MAX, |file| file.len()),
    }
}

async fn copy(original: Stored, writer: &mut BodyWriter) -> Result<(), SpoolError> {
    let mut file = match original {
        Stored::Inline(bytes) => return writer.write(&bytes).await,
        Stored::File(file) => file,
    };
    let mut chunk = vec![0; CHUNK];
    // A file that cannot be read to its end gives a shorter copy; the report matters more than that.
    while let Ok(read @ 1..) = file.read(&mut chunk) {
        writer.write(&chunk[..read]).await?;
    }
    Ok(())
}

fn header_of(original: Stored) -> Vec<u8> {
    let mut head = Vec::new();
    match original {
        Stored::Inline(bytes) => head.extend(bytes.into_iter().take(HEADER)),
        Stored::File(file) => {
            // What was read until an error is what there is.
            let _ = file.take(HEADER as u64).read_to_end(&mut head);
        }
    }
    let end = memchr::memmem::find(&head, b"\r\n\r\n").map(|at| at + 2);
    // Cut short, it ends with a whole line.
    let end = end.or_else(|| memchr::memmem::rfind(&head, b"\r\n").map(|at| at + 2));
    head.truncate(end.unwrap_or(0));
    head
}

fn date(at: Timestamp) -> String {
    jiff::fmt::rfc2822::to_string(&at.to_zoned(TimeZone::UTC)).unwrap_or_default()
}

fn stamp(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap_or_default()
}

/// Words in lines of at most [`WIDTH`] characters, each ended by CRLF; the first line's indent is that of all.
fn wrapped(text: &str) -> String {
    let indent: String = text.chars().take_while(|c| *c == ' ').collect();
    let mut out = String::new();
    let mut line = indent.clone();
    for word in text.split_whitespace() {
        let full = line.chars().count() + 1 + word.chars().count() > WIDTH;
        if full && line.len() > indent.len() {
            out.push_str(&line);
            out.push_str("\r\n");
            line.clone_from(&indent);
        }
        if line.len() > indent.len() {
            line.push(' ');
        }
        line.push_str(word);
    }
    out.push_str(&line);
    out.push_str("\r\n");
    out
}

/// RFC 3461 section 4: `+` and two digits stand for a byte. None: it would not be one line of printable ASCII.
fn from_xtext(text: &str) -> Option<String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if let Some(hex) = rest.strip_prefix('+') {
            let byte = u8::from_str_radix(hex.get(..2)?, 16).ok()?;
            out.push(char::from(byte));
            rest = &hex[2..];
        } else {
            out.push(c);
            rest = &rest[c.len_utf8()..];
        }
    }
    out.chars().all(|c| (' '..='~').contains(&c)).then_some(out)
}

/// ORCPT is `type;xtext`; the report has the address decoded.
fn original_recipient(orcpt: &str) -> Option<String> {
    let (kind, address) = orcpt.split_once(';')?;
    Some(format!("{kind};{}", from_xtext(address)?))
}

#[cfg(test)]
mod tests;
