//! From, Subject and Message-ID of a message, for lists of people; decides nothing.

use mail_parser::{HeaderName, MessageParser};
use spool::Headline;

/// Headers longer than this are not looked at for a list.
const HEADER: usize = 64 * 1024;
/// Longest field in a list.
const FIELD: usize = 200;

/// Reads the fields from the beginning of a message.
pub(crate) fn headline(bytes: &[u8]) -> Headline {
    let bytes = &bytes[..bytes.len().min(HEADER)];
    let end = memchr::memmem::find(bytes, b"\r\n\r\n").map_or(bytes.len(), |at| at + 4);
    let parser = MessageParser::new()
        .with_address_headers()
        .with_message_ids()
        .header_text(HeaderName::Subject)
        .default_header_ignore();
    let Some(message) = parser.parse_headers(&bytes[..end]) else {
        return Headline::default();
    };
    let from = message
        .from()
        .and_then(|a| a.first())
        .map(|a| match (a.name(), a.address()) {
            (Some(name), Some(address)) => format!("{name} <{address}>"),
            (name, address) => name.or(address).unwrap_or_default().to_owned(),
        });
    Headline {
        from: cut(from.as_deref()),
        subject: cut(message.subject()),
        message_id: cut(message.message_id()),
    }
}

fn cut(text: Option<&str>) -> String {
    text.unwrap_or_default()
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(FIELD)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_decoded_and_cut() {
        let long = "x".repeat(500);
        let mail = format!(
            "Message-ID: <1@example.com>\r\nFrom: =?utf-8?q?J=C3=BCrgen?= <j@example.com>\r\nSubject: {long}\r\n\r\nSubject: no\r\n"
        );
        let found = headline(mail.as_bytes());
        assert_eq!(found.from, "Jürgen <j@example.com>");
        assert_eq!(found.subject, "x".repeat(200));
        assert_eq!(found.message_id, "1@example.com");
    }

    #[test]
    fn whatever_the_bytes_there_is_a_headline() {
        for bytes in [
            &b""[..],
            b"\r\n\r\n",
            b"\xff\xfe\x00",
            b"Subject",
            b"From: \r\nSubject:\r\n",
        ] {
            let _ = headline(bytes);
        }
    }
}
