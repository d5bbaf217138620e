//! Words on the IMAP wire: UID sets, quoted strings, folder names; pure.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::alphabet::IMAP_MUTF7;
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD};

/// The alphabet of modified UTF-7 (RFC 3501 section 5.1.3).
const MUTF7: GeneralPurpose = GeneralPurpose::new(&IMAP_MUTF7, NO_PAD);

/// `1:3,7` of ascending UIDs.
pub(crate) fn uid_set(uids: &[u32]) -> String {
    let mut set = String::new();
    let mut i = 0;
    while i < uids.len() {
        let first = uids[i];
        while i + 1 < uids.len() && uids[i + 1] == uids[i].wrapping_add(1) {
            i += 1;
        }
        let comma = if set.is_empty() { "" } else { "," };
        // Writing to a String can't fail.
        let _ = match uids[i] {
            last if last == first => write!(set, "{comma}{first}"),
            last => write!(set, "{comma}{first}:{last}"),
        };
        i += 1;
    }
    set
}

/// A quoted string, or None if the text can't be one (control characters, or beyond ASCII).
pub(crate) fn quoted(text: &str) -> Option<String> {
    let plain = text.bytes().all(|b| (0x20..0x7f).contains(&b));
    plain.then(|| between_quotes(text))
}

fn between_quotes(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// A folder's name as it is sent, quoted: in UTF-8 where that was agreed on (RFC 9755), else in modified UTF-7.
pub(crate) fn folder(name: &str, utf8: bool) -> String {
    if utf8 && !name.chars().any(char::is_control) {
        return between_quotes(name);
    }
    // All of it is printable ASCII.
    between_quotes(&utf7(name))
}

/// A folder's name as a LIST brought it, ready to be sent back: quotes and backslashes come escaped, unless it was a literal. None
/// for a literal that could end the command early: a line end in it is no part of a quoted string.
pub(crate) fn told(name: &str) -> Option<String> {
    if name.chars().any(char::is_control) {
        return None;
    }
    let mut plain = String::with_capacity(name.len());
    let mut chars = name.chars().peekable();
    while let Some(c) = chars.next() {
        match chars.peek() {
            Some('"' | '\\') if c == '\\' => plain.extend(chars.next()),
            _ => plain.push(c),
        }
    }
    Some(between_quotes(&plain))
}

/// Modified UTF-7; all of the result is printable ASCII.
fn utf7(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut run = Vec::new();
    for c in name.chars().map(Some).chain([None]) {
        match c {
            Some(c) if !(' '..='~').contains(&c) => {
                let mut units = [0; 2];
                run.extend(
                    c.encode_utf16(&mut units)
                        .iter()
                        .flat_map(|u| u.to_be_bytes()),
                );
                continue;
            }
            _ if !run.is_empty() => {
                out.push('&');
                out.push_str(&MUTF7.encode(&run));
                out.push('-');
                run.clear();
            }
            _ => {}
        }
        match c {
            Some('&') => out.push_str("&-"),
            Some(c) => out.push(c),
            None => {}
        }
    }
    out
}

/// Whether two names mean one folder: INBOX is the one name without case (RFC 9051 section 5.1).
pub(crate) fn same_folder(a: &str, b: &str) -> bool {
    a == b || (a.eq_ignore_ascii_case("INBOX") && b.eq_ignore_ascii_case("INBOX"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uid_sets_are_compact() {
        assert_eq!(uid_set(&[]), "");
        assert_eq!(uid_set(&[4]), "4");
        assert_eq!(uid_set(&[1, 2, 3, 5, 7, 8]), "1:3,5,7:8");
        assert_eq!(uid_set(&[u32::MAX - 1, u32::MAX]), "4294967294:4294967295");
    }

    #[test]
    fn quotes_and_backslashes_are_escaped_and_line_ends_refused() {
        assert_eq!(quoted(r#"a "b\c"#).as_deref(), Some(r#""a \"b\\c""#));
        for text in ["a\r\nA2 LOGOUT", "a\0", "é"] {
            assert_eq!(quoted(text), None);
        }
    }

    #[test]
    fn folder_names_are_sent_in_modified_utf7() {
        let folder = |name| folder(name, false);
        assert_eq!(folder("INBOX"), r#""INBOX""#);
        assert_eq!(folder("Entwürfe & mehr"), r#""Entw&APw-rfe &- mehr""#);
        assert_eq!(
            folder("~peter/mail/台北/日本語"),
            r#""~peter/mail/&U,BTFw-/&ZeVnLIqe-""#
        );
        assert_eq!(folder("a\r\nb"), r#""a&AA0ACg-b""#);
    }

    #[test]
    fn folder_names_are_sent_in_utf8_where_that_was_agreed_on_and_can_still_inject_nothing() {
        let folder = |name| folder(name, true);
        assert_eq!(folder("Entwürfe & mehr"), r#""Entwürfe & mehr""#);
        assert_eq!(folder(r#"a "b" \ c"#), r#""a \"b\" \\ c""#);
        assert_eq!(folder("a\r\nA2 LOGOUT"), r#""a&AA0ACg-A2 LOGOUT""#);
    }

    #[test]
    fn a_name_that_a_server_told_goes_back_as_it_came() {
        assert_eq!(
            told("[Gmail]/&BBoEPgRABDcEOAQ9BDA-").as_deref(),
            Some(r#""[Gmail]/&BBoEPgRABDcEOAQ9BDA-""#)
        );
        let told = |name| told(name).unwrap_or_default();
        assert_eq!(told(r#"a \"b\" \\ c"#), r#""a \"b\" \\ c""#);
        assert_eq!(told(r#"a "b" c"#), r#""a \"b\" c""#);
        assert_eq!(told("a\r\nA9 DELETE INBOX"), "");
    }

    #[test]
    fn inbox_has_no_case() {
        assert!(same_folder("inbox", "INBOX"));
        assert!(!same_folder("Processed", "processed"));
    }
}
