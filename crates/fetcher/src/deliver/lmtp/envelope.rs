//! Whom a message is from and for: the sender is what the message's own Return-Path says, since a mailbox keeps no envelope.

use std::io;
use std::os::unix::fs::FileExt as _;

use spool::Stored;

/// A header section longer than this is not looked at any further.
const HEADER: usize = 64 * 1024;
/// RFC 5321 section 4.5.3.1.3, without its angle brackets.
const LONGEST: usize = 254;

/// Whom a message is from and for.
pub(super) struct Envelope<'a> {
    /// Empty: the null sender.
    pub(super) sender: String,
    pub(super) recipients: &'a [&'a str],
    pub(super) size: u64,
}

impl<'a> Envelope<'a> {
    /// Reads the beginning of a message, and gives it back.
    pub(super) fn of(
        stored: Stored,
        recipients: &'a [&'a str],
        size: u64,
    ) -> io::Result<(Self, Stored)> {
        let sender = match &stored {
            Stored::Inline(bytes) => return_path(bytes),
            Stored::File(file) => {
                let mut head = vec![0; HEADER];
                // At an offset: the file stays at its beginning.
                let count = file.read_at(&mut head, 0)?;
                return_path(&head[..count])
            }
        };
        let envelope = Self {
            sender: sender.unwrap_or_default(),
            recipients,
            size,
        };
        Ok((envelope, stored))
    }

    /// Whether an address needs SMTPUTF8.
    pub(super) fn beyond_ascii(&self) -> bool {
        !self.sender.is_ascii() || self.recipients.iter().any(|to| !to.is_ascii())
    }
}

/// The address in a message's first Return-Path; None where there is none that may stand in a command.
pub(crate) fn return_path(bytes: &[u8]) -> Option<String> {
    const NAME: &[u8] = b"return-path:";
    let mut lines = bytes[..bytes.len().min(HEADER)]
        .split(|byte| *byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
        .take_while(|line| !line.is_empty());
    let is_it = |line: &&[u8]| {
        line.get(..NAME.len())
            .is_some_and(|name| name.eq_ignore_ascii_case(NAME))
    };
    let mut value = lines.find(is_it)?[NAME.len()..].to_vec();
    for folded in lines.take_while(|line| line.starts_with(b" ") || line.starts_with(b"\t")) {
        value.extend_from_slice(folded);
    }
    let value = std::str::from_utf8(&value).ok()?.trim();
    let address = value
        .strip_prefix('<')
        .and_then(|rest| rest.strip_suffix('>'))
        .unwrap_or(value);
    may_stand_in_a_command(address).then(|| address.to_owned())
}

/// `local@domain` that cannot end its path early. Quoted local parts are left out: what needs quotes has no business in a command
/// that we make from a stranger's header.
pub(crate) fn may_stand_in_a_command(address: &str) -> bool {
    let plain = |c: char| !c.is_control() && !c.is_whitespace() && !"<>()[]\\,;:\"".contains(c);
    address.len() <= LONGEST
        && address.chars().all(plain)
        && matches!(address.split_once('@'), Some((local, domain)) if !local.is_empty() && !domain.is_empty() && !domain.contains('@'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sender_is_what_the_first_return_path_says() {
        for (header, sender) in [
            (
                "Return-Path: <a@example.com>\r\nReturn-Path: <b@example.com>\r\n",
                Some("a@example.com"),
            ),
            (
                "Received: x\r\nreturn-path:\r\n <j\u{f6}rg@example.com>\r\n",
                Some("j\u{f6}rg@example.com"),
            ),
            ("Return-Path: a@example.com\r\n", Some("a@example.com")),
            ("Return-Path: <>\r\n", None),
            ("Return-Path: <>\r\nReturn-Path: <b@example.com>\r\n", None),
            ("Return-Path: <a@example.com> SIZE=1\r\n", None),
            ("Return-Path: <a@b>\u{b}RCPT TO:<c@d>\r\n", None),
            ("Return-Path: <\"a> b\"@example.com>\r\n", None),
            ("Return-Path: <a@b@c>\r\n", None),
            ("Subject: none\r\n", None),
        ] {
            let mail = format!("{header}Subject: x\r\n\r\nReturn-Path: <body@example.com>\r\n");
            assert_eq!(
                return_path(mail.as_bytes()).as_deref(),
                sender,
                "{header:?}"
            );
        }
    }

    #[test]
    fn a_large_messages_beginning_is_read_and_the_file_stays_at_its_beginning() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("body");
        let mut mail = b"Return-Path: <a@example.com>\r\n\r\n".to_vec();
        mail.resize(1_000_000, b'x');
        std::fs::write(&path, &mail).unwrap();
        let file = std::fs::File::open(&path).unwrap();
        let (envelope, stored) = Envelope::of(Stored::File(file), &["r@x"], 1_000_000).unwrap();
        assert_eq!(envelope.sender, "a@example.com");
        let Stored::File(mut file) = stored else {
            panic!()
        };
        let mut all = Vec::new();
        io::Read::read_to_end(&mut file, &mut all).unwrap();
        assert_eq!(all, mail);
    }
}
