//! Bare CR and LF in a message's text, found or repaired at any cut of the stream.
//!
//! Peers disagree on whether a bare CR or LF ends a line, and whoever finds two peers that do can smuggle a message between them. So
//! no text with one enters the spool: it is refused, or every one becomes CRLF where the operator says so.
use memchr::memchr2;

/// What becomes of a message with a bare CR or LF (RFC 5321 section 2.3.8 forbids them).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BareNewlines {
    /// It is refused at its end.
    #[default]
    Refuse,
    /// Each of them becomes CRLF.
    Repair,
}

/// Reads the text of one message, chunk by chunk.
#[derive(Debug, Default)]
pub(crate) struct LineEnds {
    after_cr: bool,
}

impl LineEnds {
    /// Whether this chunk has no bare CR or LF, a CR at its very end not judged yet.
    pub(crate) fn are_whole(&mut self, text: &[u8]) -> bool {
        let mut rest = text;
        loop {
            if std::mem::take(&mut self.after_cr) {
                match rest.split_first() {
                    None => {
                        self.after_cr = true;
                        return true;
                    }
                    Some((b'\n', behind)) => rest = behind,
                    Some(_) => return false,
                }
            }
            match memchr2(b'\r', b'\n', rest) {
                None => return true,
                Some(at) if rest[at] == b'\n' => return false,
                Some(at) => {
                    self.after_cr = true;
                    rest = &rest[at + 1..];
                }
            }
        }
    }

    /// Whether the text, at its end, has a CR that nothing follows.
    pub(crate) fn is_left_open(&self) -> bool {
        self.after_cr
    }

    /// Appends the chunk with every line end as CRLF. A CR is a line end as soon as it is seen; an LF behind it is the same one.
    pub(crate) fn repair(&mut self, mut text: &[u8], out: &mut Vec<u8>) {
        while !text.is_empty() {
            if std::mem::take(&mut self.after_cr) && text[0] == b'\n' {
                text = &text[1..];
                continue;
            }
            let Some(at) = memchr2(b'\r', b'\n', text) else {
                return out.extend_from_slice(text);
            };
            out.extend_from_slice(&text[..at]);
            out.extend_from_slice(b"\r\n");
            self.after_cr = text[at] == b'\r';
            text = &text[at + 1..];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXTS: [(&str, bool, &str); 12] = [
        ("", true, ""),
        ("a\r\n\r\nb\r\n", true, "a\r\n\r\nb\r\n"),
        ("no end", true, "no end"),
        ("a\nb", false, "a\r\nb"),
        ("a\rb", false, "a\r\nb"),
        ("\r\r\n", false, "\r\n\r\n"),
        ("\n\r\n", false, "\r\n\r\n"),
        ("\n\r", false, "\r\n\r\n"),
        ("\r\n\n", false, "\r\n\r\n"),
        ("a\r", false, "a\r\n"),
        ("\n\n", false, "\r\n\r\n"),
        ("\r\n.\r.\n", false, "\r\n.\r\n.\r\n"),
    ];

    #[test]
    fn each_bare_one_is_found_or_mended_wherever_the_text_is_cut() {
        for (text, whole, repaired) in TEXTS {
            let bytes = text.as_bytes();
            for first in 0..=bytes.len() {
                for second in first..=bytes.len() {
                    let parts = [&bytes[..first], &bytes[first..second], &bytes[second..]];
                    let mut reader = LineEnds::default();
                    let clean = parts.iter().all(|part| reader.are_whole(part));
                    assert_eq!(
                        clean && !reader.is_left_open(),
                        whole,
                        "{text:?} cut at {first}, {second}"
                    );
                    let (mut reader, mut out) = (LineEnds::default(), Vec::new());
                    for part in parts {
                        reader.repair(part, &mut out);
                    }
                    let out = String::from_utf8(out).expect("text");
                    assert_eq!(out, repaired, "{text:?} cut at {first}, {second}");
                }
            }
        }
    }
}
