//! Status lines: what `+OK`, `-ERR` and `+` say, response codes included; pure.

use crate::error::{Refusal, Status};
use crate::refusal::printable;

/// A line that is neither the text of an answer nor a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reply {
    /// `+OK`, with its text.
    Ok(String),
    /// `-ERR`.
    Err(Refusal),
    /// `+`: the server wants more of a SASL exchange; with its text.
    Go(String),
}

/// Reads a status line; None for nonsense. Servers differ in the blanks: `+` with and without one is the same.
pub(super) fn read(command: &'static str, line: &[u8]) -> Option<Reply> {
    let text = String::from_utf8_lossy(line);
    let text = text.trim_end();
    if let Some(rest) = after(text, "+OK") {
        return Some(Reply::Ok(rest.trim().to_owned()));
    }
    if let Some(rest) = after(text, "-ERR") {
        return Some(Reply::Err(Refusal {
            command,
            status: Status::Err,
            code: code(rest),
            text: printable(rest),
        }));
    }
    text.strip_prefix('+')
        .map(|rest| Reply::Go(rest.trim().to_owned()))
}

/// What follows a status word, in any case.
fn after<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    let start = text.get(..word.len())?;
    start
        .eq_ignore_ascii_case(word)
        .then(|| &text[word.len()..])
}

/// `SYS/TEMP` of `[SYS/TEMP] text` (RFC 2449 section 8), in upper case.
fn code(text: &str) -> Option<String> {
    let (inside, _) = text.trim_start().strip_prefix('[')?.split_once(']')?;
    let code = inside.split(' ').next().unwrap_or_default();
    (!code.is_empty()).then(|| code.to_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(line: &[u8]) -> Refusal {
        match read("PASS", line) {
            Some(Reply::Err(refusal)) => refusal,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn status_lines_are_read_in_any_case_and_spacing() {
        let ok = |text: &str| Some(Reply::Ok(text.into()));
        assert_eq!(read("X", b"+OK"), ok(""));
        assert_eq!(read("X", b"+ok 3 messages "), ok("3 messages"));
        assert_eq!(read("X", b"+"), Some(Reply::Go(String::new())));
        assert_eq!(read("X", b"+ "), Some(Reply::Go(String::new())));
        assert_eq!(read("X", b"+ eyJ9"), Some(Reply::Go("eyJ9".into())));
        assert_eq!(read("X", b"+eyJ9"), Some(Reply::Go("eyJ9".into())));
        for nonsense in [&b""[..], b"OK", b"* OK", b"-", b"\xff\xfe", b"<html>"] {
            assert_eq!(read("X", nonsense), None);
        }
    }

    #[test]
    fn response_codes_are_read_and_words_kept() {
        let refusal = refused(b"-ERR [sys/temp] try \x07later");
        assert_eq!(refusal.code.as_deref(), Some("SYS/TEMP"));
        assert_eq!(
            refusal.to_string(),
            "the server answered PASS with -ERR [sys/temp] try  later"
        );
        assert_eq!(refused(b"-ERR[IN-USE]").code.as_deref(), Some("IN-USE"));
        assert_eq!(refused(b"-ERR").code, None);
        assert_eq!(refused(b"-ERR Logon failure [12").code, None);
    }
}
