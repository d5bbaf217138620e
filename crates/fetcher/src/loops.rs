//! Mail that goes round in a loop, and mail of our own making, told by their header sections; pure.

use spool::{Marks, ORIGIN_HEADER, Own};

/// Headers beyond this are not looked at. Whoever passes a message on puts his lines first, so a loop shows here.
const HEADER: usize = 64 * 1024;

/// What a message is measured by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits<'a> {
    /// More `Received` fields than this are a loop (RFC 5321 section 6.3).
    pub(crate) max_received: u32,
    /// The mailbox's own address: automatic mail sent in its name bears it in `X-Loop`.
    pub(crate) address: &'a str,
}

/// Reads the fields from the beginning of a message; `known` tells whether an origin is ours.
pub(crate) fn marks(
    bytes: &[u8],
    limits: Limits<'_>,
    known: impl Fn(&str) -> Option<Own>,
) -> Marks {
    let mut received = 0;
    let mut found = Marks::default();
    for line in header_lines(bytes) {
        if field(line, "Received").is_some() {
            received += 1;
        } else if let Some(origin) = field(line, ORIGIN_HEADER) {
            found.own = found.own.or_else(|| known(&origin));
        } else if field(line, "X-Loop").is_some_and(|value| names(&value, limits.address)) {
            found.hold = Some(format!(
                "its X-Loop field names {}: it was sent in this mailbox's name and came back, a loop",
                limits.address
            ));
        }
    }
    if received > limits.max_received {
        found.hold = Some(format!(
            "it passed {received} servers (Received fields), more than this mailbox's max_received of {}: a loop",
            limits.max_received
        ));
    }
    found
}

/// The lines of the header section; folded ones are not put together, since no field that counts here is folded before its value.
fn header_lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes[..bytes.len().min(HEADER)]
        .split(|&byte| byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
        .take_while(|line| !line.is_empty())
}

/// The value of a field if it is the one named.
fn field(line: &[u8], name: &str) -> Option<String> {
    let (start, value) = line.split_at_checked(name.len())?;
    let value = value.trim_ascii_start().strip_prefix(b":")?;
    start
        .eq_ignore_ascii_case(name.as_bytes())
        .then(|| String::from_utf8_lossy(value).trim().to_owned())
}

/// Whether `X-Loop` holds this address, with or without angle brackets.
fn names(value: &str, address: &str) -> bool {
    let value = value.trim_start_matches('<').trim_end_matches('>');
    !address.is_empty() && value.eq_ignore_ascii_case(address)
}

#[cfg(test)]
mod tests {
    use spool::OwnKind;

    use super::*;

    const LIMITS: Limits<'static> = Limits {
        max_received: 3,
        address: "support@example.com",
    };

    fn look(text: &str) -> Marks {
        marks(text.as_bytes(), LIMITS, |origin| {
            (origin == "ours").then(|| Own {
                kind: OwnKind::Notice,
                id: "1".into(),
            })
        })
    }

    #[test]
    fn more_servers_than_the_limit_are_a_loop() {
        let passed = |n: usize| {
            "Received: from a\r\n\tby b\r\n".repeat(n) + "Subject: x\r\n\r\nReceived: quoted\r\n"
        };
        assert_eq!(look(&passed(3)).hold, None);
        let why = look(&passed(4)).hold.unwrap();
        assert!(why.contains("passed 4 servers"), "{why}");
        assert!(look(&passed(4).replace("\r\n", "\n")).hold.is_some());
        assert!(look(&passed(4).to_uppercase()).hold.is_some());
        assert_eq!(
            look(&"X-Received: from a\r\nReceived-SPF: pass\r\n".repeat(9)).hold,
            None
        );
    }

    #[test]
    fn automatic_mail_in_the_mailboxs_own_name_is_a_loop_and_anybody_elses_is_not() {
        for value in ["support@example.com", " <Support@Example.com> "] {
            assert!(look(&format!("X-Loop:{value}\r\n\r\n")).hold.is_some());
        }
        for text in [
            "X-Loop: sales@example.com\r\n\r\n",
            "X-Loop: yes\r\n\r\n",
            "Subject: x\r\n\r\nX-Loop: support@example.com\r\n",
            "X-Looping: support@example.com\r\n\r\n",
        ] {
            assert_eq!(look(text), Marks::default(), "{text}");
        }
        let nameless = Limits {
            address: "",
            ..LIMITS
        };
        assert_eq!(marks(b"X-Loop:\r\n\r\n", nameless, |_| None).hold, None);
    }

    #[test]
    fn our_own_mail_is_known_by_its_header_and_not_by_what_it_encloses() {
        assert!(
            look("X-Postern-Origin: ours\r\nSubject: x\r\n\r\n")
                .own
                .is_some()
        );
        assert_eq!(look("X-Postern-Origin: theirs\r\n\r\n").own, None);
        assert_eq!(
            look("Subject: x\r\n\r\nX-Postern-Origin: ours\r\n").own,
            None
        );
    }

    #[test]
    fn whatever_the_bytes_nothing_breaks() {
        let long = vec![b'a'; 200_000];
        for bytes in [&b""[..], b"\r\n", b"\xff\xfe", b"Received", b":", &long] {
            assert_eq!(marks(bytes, LIMITS, |_| None), Marks::default());
        }
    }
}
