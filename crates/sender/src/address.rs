//! Envelope addresses (RFC 5321 paths, RFC 6531 for UTF-8), kept as the very text that was given.
//!
//! Nothing here unquotes: `"a> SIZE=1 X"@d` is one mailbox, and only its quoted form may go out again, or it
//! would end the path early and add parameters to the relay's command.

/// The longest path (RFC 5321 section 4.5.3.1.3), without its angle brackets.
const LONGEST: usize = 254;

/// A path at the start of a text: `<mailbox>` and what follows it. A source route (`@a,@b:`) is dropped, as RFC 5321
/// appendix C asks. The mailbox is empty for `<>`; otherwise it is not yet checked.
pub(crate) fn split_path(text: &str) -> Option<(&str, &str)> {
    let inner = text.strip_prefix('<')?;
    let end = closing_bracket(inner)?;
    let (path, rest) = (&inner[..end], &inner[end + 1..]);
    let mailbox = match path.starts_with('@') {
        true => path.split_once(':')?.1,
        false => path,
    };
    Some((mailbox, rest))
}

/// Where the `>` is that ends a path; one inside a quoted local part does not.
fn closing_bracket(text: &str) -> Option<usize> {
    let mut quoted = false;
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'>' if !quoted => return Some(at),
            _ => {}
        }
    }
    None
}

/// Whether this is a `local@domain` that may stand between angle brackets, as it is.
pub(crate) fn is_mailbox(address: &str) -> bool {
    let Some((local, domain)) = split(address) else {
        return false;
    };
    address.len() <= LONGEST && is_local(local) && is_domain(domain)
}

/// Local part and domain; the domain begins after the last `@`.
pub(crate) fn split(address: &str) -> Option<(&str, &str)> {
    address.rsplit_once('@')
}

fn is_local(local: &str) -> bool {
    match local.strip_prefix('"').and_then(|l| l.strip_suffix('"')) {
        Some(quoted) => is_quoted_content(quoted),
        None => local
            .split('.')
            .all(|atom| !atom.is_empty() && atom.chars().all(is_atext)),
    }
}

/// `qtextSMTP` and `quoted-pairSMTP` (RFC 5321 section 4.1.2): printable, quotes and backslashes escaped.
fn is_quoted_content(text: &str) -> bool {
    let mut escaped = false;
    for c in text.chars() {
        match c {
            _ if c.is_control() => return false,
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return false,
            _ => {}
        }
    }
    !escaped
}

fn is_domain(domain: &str) -> bool {
    if let Some(literal) = domain.strip_prefix('[').and_then(|d| d.strip_suffix(']')) {
        let is_part = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b':' | b'-');
        return !literal.is_empty() && literal.bytes().all(is_part);
    }
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_') || is_utf8_text(c);
    domain
        .split('.')
        .all(|label| !label.is_empty() && label.chars().all(is_part))
}

fn is_atext(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c) || is_utf8_text(c)
}

/// Beyond ASCII everything but control characters (RFC 6531 section 3.3).
fn is_utf8_text(c: char) -> bool {
    !c.is_ascii() && !c.is_control()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quoted_local_part_keeps_its_quotes_and_hides_its_brackets() {
        let text = r#"<"a> SIZE=1 X"@d.example> SIZE=20"#;
        assert_eq!(
            split_path(text),
            Some((r#""a> SIZE=1 X"@d.example"#, " SIZE=20"))
        );
        assert!(is_mailbox(r#""a> SIZE=1 X"@d.example"#));
        let escaped = r#"<"a\">b"@d.example>"#;
        assert_eq!(split_path(escaped), Some((r#""a\">b"@d.example"#, "")));
    }

    #[test]
    fn source_routes_are_dropped_and_the_null_path_is_empty() {
        assert_eq!(
            split_path("<@a.example,@b.example:c@d.example>"),
            Some(("c@d.example", ""))
        );
        assert_eq!(split_path("<> BODY=8BITMIME"), Some(("", " BODY=8BITMIME")));
        assert_eq!(split_path("a@b"), None);
        assert_eq!(split_path("<a@b"), None);
    }

    #[test]
    fn only_what_may_stand_between_brackets_is_a_mailbox() {
        for good in [
            "a@b",
            "a.b+c=d@example.org",
            "a@[127.0.0.1]",
            "a@[IPv6:::1]",
            "jörg@müller.example",
            r#""a b"@c"#,
            r#""a@b"@c"#,
            "a@under_score.example",
        ] {
            assert!(is_mailbox(good), "{good} is a mailbox");
        }
        for bad in [
            "",
            "postmaster",
            "@b",
            "a@",
            "a..b@c",
            ".a@b",
            "a@b..c",
            "a b@c",
            "a>b@c",
            "a@b c",
            "a@b>",
            r#""a"b"@c"#,
            r#""a\"@c"#,
            "a\r\nRCPT@b",
            "a\0@b",
            "a@[]",
            "\"a\r\"@b",
        ] {
            assert!(!is_mailbox(bad), "{bad:?} is no mailbox");
        }
        assert!(!is_mailbox(&format!("{}@b.example", "a".repeat(250))));
    }
}
