//! Replies of a server (RFC 5321 section 4.2), read strictly: one code for all lines, capped in length and number.
use crate::lines::{LineError, Lines};
use crate::printable;
use std::fmt;
use tokio::io::AsyncRead;

/// Four times what RFC 5321 section 4.5.3.1.5 allows a server.
const LINE: usize = 2048;
/// The longest EHLO answers seen have some thirty lines.
const LINES: usize = 100;

/// One reply, its text made printable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// 200 to 599.
    pub code: u16,
    /// The enhanced status code of the first line (RFC 2034), if it has one.
    pub enhanced: Option<[u16; 3]>,
    /// Each line's text, without codes.
    pub lines: Vec<String>,
}

/// Why there is no reply.
#[derive(Debug, thiserror::Error)]
pub enum ReplyError {
    /// The connection is of no use any more.
    #[error(transparent)]
    Line(#[from] LineError),
    /// The server does not answer as SMTP does.
    #[error("the server does not speak SMTP here: {0}")]
    Nonsense(String),
}

impl Reply {
    /// Whether it is a 2xx.
    pub fn is_positive(&self) -> bool {
        self.code / 100 == 2
    }

    /// The code class: 2, 3, 4 or 5.
    pub fn class(&self) -> u16 {
        self.code / 100
    }

    /// Whether its enhanced code is this one.
    pub fn is(&self, class: u16, subject: u16, detail: u16) -> bool {
        self.enhanced == Some([class, subject, detail])
    }

    /// The text of all lines.
    pub fn text(&self) -> String {
        self.lines.join(" ")
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        if let Some([class, subject, detail]) = self.enhanced {
            write!(f, " {class}.{subject}.{detail}")?;
        }
        match self.text().trim() {
            "" => Ok(()),
            text => write!(f, " {text}"),
        }
    }
}

/// Reads one reply.
pub async fn read<S: AsyncRead + Unpin>(lines: &mut Lines<S>) -> Result<Reply, ReplyError> {
    let mut reply: Option<Reply> = None;
    for _ in 0..LINES {
        let line = match lines.line(LINE).await {
            Err(LineError::TooLong { cap }) => {
                return Err(ReplyError::Nonsense(format!(
                    "a reply line longer than {cap} bytes"
                )));
            }
            line => line?.bytes,
        };
        let (code, last, text) =
            split(&line).ok_or_else(|| ReplyError::Nonsense(printable(&line)))?;
        let reply = reply.get_or_insert(Reply {
            code,
            enhanced: None,
            lines: Vec::new(),
        });
        if reply.code != code {
            let what = format!("one reply with the codes {} and {code}", reply.code);
            return Err(ReplyError::Nonsense(what));
        }
        let (enhanced, text) = enhanced(code, text);
        if reply.lines.is_empty() {
            reply.enhanced = enhanced;
        }
        reply.lines.push(printable(text));
        if last {
            return Ok(reply.clone());
        }
    }
    Err(ReplyError::Nonsense(format!(
        "a reply of more than {LINES} lines"
    )))
}

/// Code, whether it is the last line, and the text.
fn split(line: &[u8]) -> Option<(u16, bool, &[u8])> {
    let (digits, rest) = line.split_at_checked(3)?;
    let code: u16 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    let is_code = digits.iter().all(u8::is_ascii_digit) && (200..600).contains(&code);
    let (last, text) = match rest.split_first() {
        None => (true, rest),
        Some((b' ', text)) => (true, text),
        Some((b'-', text)) => (false, text),
        Some(_) => return None,
    };
    is_code.then_some((code, last, text))
}

/// `5.7.139 words` taken apart; only one whose class fits the code counts (RFC 2034 section 4).
fn enhanced(code: u16, text: &[u8]) -> (Option<[u16; 3]>, &[u8]) {
    let end = text
        .iter()
        .position(|b| !b.is_ascii_digit() && *b != b'.')
        .unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    let parts: Option<Vec<u16>> = std::str::from_utf8(word)
        .ok()
        .and_then(|word| word.split('.').map(|part| part.parse().ok()).collect());
    match parts.as_deref() {
        Some(&[class, subject, detail])
            if class == code / 100 && subject < 1000 && detail < 1000 =>
        {
            (
                Some([class, subject, detail]),
                rest.strip_prefix(b" ").unwrap_or(rest),
            )
        }
        _ => (None, text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    async fn parse(bytes: &[u8]) -> Result<Reply, ReplyError> {
        let mut lines = Lines::new(tokio_test_stream(bytes), Duration::from_secs(1));
        read(&mut lines).await
    }

    /// A stream that gives these bytes and then ends.
    fn tokio_test_stream(bytes: &[u8]) -> std::io::Cursor<Vec<u8>> {
        std::io::Cursor::new(bytes.to_vec())
    }

    #[tokio::test]
    async fn replies_are_read_with_their_enhanced_code_and_words() {
        let reply = parse(b"550-5.1.1 no such user\r\n550 5.1.1 here\r\n")
            .await
            .expect("a reply");
        assert_eq!((reply.code, reply.enhanced), (550, Some([5, 1, 1])));
        assert_eq!(reply.to_string(), "550 5.1.1 no such user here");
        assert_eq!(parse(b"250\r\n").await.expect("a reply").to_string(), "250");
        assert_eq!(
            parse(b"250 \r\n").await.expect("a reply").to_string(),
            "250"
        );
        assert_eq!(
            parse(b"221 2.0.0\r\n").await.expect("a reply").to_string(),
            "221 2.0.0"
        );
        assert_eq!(
            parse(b"250 127.0.0.1 hi\r\n")
                .await
                .expect("a reply")
                .enhanced,
            None
        );
        assert_eq!(
            parse(b"550 4.1.1 odd\r\n").await.expect("a reply").enhanced,
            None
        );
        let shown = parse(b"550 5.1.0 ung\xfcltig \x1b[2J\r\n")
            .await
            .expect("a reply");
        assert_eq!(shown.to_string(), "550 5.1.0 ung\\xfcltig \\u{1b}[2J");
    }

    #[tokio::test]
    async fn what_is_no_reply_is_an_error_and_never_a_success() {
        let endless = "250-x\r\n".repeat(200);
        let long = format!("250 {}\r\n", "x".repeat(5000));
        for nonsense in [
            &b"hello\r\n"[..],
            b"\r\n",
            b"25\r\n",
            b"250x\r\n",
            b"+50 x\r\n",
            b"150 x\r\n",
            b"650 x\r\n",
            b"250-a\r\n550 b\r\n",
            b"HTTP/1.1 200 OK\r\n",
            endless.as_bytes(),
            long.as_bytes(),
        ] {
            assert!(
                matches!(parse(nonsense).await, Err(ReplyError::Nonsense(_))),
                "{}",
                nonsense.escape_ascii()
            );
        }
        assert!(matches!(
            parse(b"250-a\r\n").await,
            Err(ReplyError::Line(LineError::Closed))
        ));
    }
}
