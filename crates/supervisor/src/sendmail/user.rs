//! Who calls: the name and address for a message that has no From.

use std::fs;

/// The calling user.
pub(super) struct Caller {
    /// `login@host`.
    pub(super) address: String,
    /// The first field of the account's comment; may be empty.
    pub(super) full_name: String,
}

/// From the password file, else from the environment.
pub(super) fn caller() -> Caller {
    let uid = rustix::process::getuid().as_raw();
    let accounts = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let (login, full_name) = find(&accounts, uid).unwrap_or_else(|| {
        let login = std::env::var("LOGNAME").or_else(|_| std::env::var("USER"));
        (login.unwrap_or_else(|_| format!("uid{uid}")), String::new())
    });
    let uname = rustix::system::uname();
    let host = uname.nodename().to_string_lossy().into_owned();
    Caller {
        address: format!("{login}@{host}"),
        full_name,
    }
}

fn find(accounts: &str, uid: u32) -> Option<(String, String)> {
    accounts.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let [login, _, id, _, comment, ..] = &fields[..] else {
            return None;
        };
        let full_name = comment.split(',').next().unwrap_or_default();
        (id.parse() == Ok(uid)).then(|| ((*login).to_owned(), full_name.to_owned()))
    })
}

/// The From field's value: the name quoted where it must be, and encoded where it is beyond ASCII (RFC 2047).
pub(super) fn from_field(name: &str, address: &str) -> String {
    use std::fmt::Write;
    let name: String = name.chars().filter(|c| !c.is_control()).collect();
    if name.is_empty() {
        return address.to_owned();
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || " !#$%&'*+-/=?^_`{|}~".contains(c);
    if name.chars().all(plain) {
        return format!("{name} <{address}>");
    }
    if name.is_ascii() {
        let quoted = name.replace('\\', "\\\\").replace('"', "\\\"");
        return format!("\"{quoted}\" <{address}>");
    }
    let mut words = String::new();
    // Words of at most 75 characters, none of which cuts a character (RFC 2047 section 2).
    let mut room = 0;
    for c in name.chars() {
        let mut utf8 = [0; 4];
        let encoded: String =
            c.encode_utf8(&mut utf8)
                .bytes()
                .fold(String::new(), |mut text, byte| {
                    // Writing to a String can't fail.
                    let _ = write!(text, "={byte:02X}");
                    text
                });
        if encoded.len() > room {
            words.push_str(if words.is_empty() {
                "=?utf-8?q?"
            } else {
                "?= =?utf-8?q?"
            });
            room = 60;
        }
        room -= encoded.len();
        words.push_str(&encoded);
    }
    format!("{words}?= <{address}>")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_account_is_found_by_its_number() {
        let accounts = "root:x:0:0:root:/root:/bin/sh\nbroken\nznuny:x:998:998:Help Desk,,,:/opt/znuny:/bin/sh\n";
        assert_eq!(
            find(accounts, 998),
            Some(("znuny".to_owned(), "Help Desk".to_owned()))
        );
        assert_eq!(find(accounts, 5), None);
    }

    #[test]
    fn a_name_is_quoted_or_encoded_only_where_it_must_be() {
        for (name, field) in [
            ("", "a@b"),
            ("Help Desk", "Help Desk <a@b>"),
            ("Desk, Help (1)", "\"Desk, Help (1)\" <a@b>"),
            ("a\r\nBcc: x", "\"aBcc: x\" <a@b>"),
            ("Jörg", "=?utf-8?q?=4A=C3=B6=72=67?= <a@b>"),
        ] {
            assert_eq!(from_field(name, "a@b"), field, "{name}");
        }
        let long = from_field(&"ü".repeat(40), "a@b");
        let parsed = mail_parser::MessageParser::default();
        let text = format!("From: {long}\r\n\r\n");
        let message = parsed.parse(text.as_bytes()).unwrap();
        let from = message.from().unwrap().first().unwrap();
        assert_eq!(from.name(), Some("ü".repeat(40).as_str()));
        assert!(long.split(' ').all(|word| word.len() <= 75), "{long}");
    }
}
