//! Dot-stuffing of a message's text on its way out (RFC 5321 section 4.5.2), across chunks.
//!
//! The stored text has CRLF line ends alone; what comes from elsewhere may not. A bare CR or LF is written as CRLF, as
//! RFC 5321 section 2.3.8 demands of a client, so that no `\n.\n` in a message is an end for a server that is lax about it.
use memchr::memchr2;

/// Where the writer is in the text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum At {
    #[default]
    LineStart,
    Text,
    /// A CR was read, and nothing was written for it yet.
    Cr,
}

/// Stuffs one message.
#[derive(Debug, Default)]
pub struct Stuffer {
    at: At,
}

impl Stuffer {
    /// At the beginning of a text.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends the wire form of the next chunk.
    pub fn stuff(&mut self, mut chunk: &[u8], out: &mut Vec<u8>) {
        while let Some(&byte) = chunk.first() {
            match self.at {
                At::Cr => {
                    self.end_line(out);
                    chunk = chunk.strip_prefix(b"\n").unwrap_or(chunk);
                    continue;
                }
                At::LineStart if byte == b'.' => out.push(b'.'),
                At::LineStart | At::Text => {}
            }
            let Some(end) = memchr2(b'\r', b'\n', chunk) else {
                out.extend_from_slice(chunk);
                self.at = At::Text;
                return;
            };
            out.extend_from_slice(&chunk[..end]);
            match chunk[end] {
                b'\r' => self.at = At::Cr,
                _ => self.end_line(out),
            }
            chunk = &chunk[end + 1..];
        }
    }

    /// Appends the end: the last line's CRLF where it is missing, and the final dot.
    pub fn finish(mut self, out: &mut Vec<u8>) {
        if self.at != At::LineStart {
            self.end_line(out);
        }
        out.extend_from_slice(b".\r\n");
    }

    fn end_line(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"\r\n");
        self.at = At::LineStart;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stuffed(text: &[u8], cuts: &[usize]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut stuffer = Stuffer::new();
        let mut from = 0;
        for to in cuts.iter().copied().chain([text.len()]) {
            stuffer.stuff(&text[from..to], &mut out);
            from = to;
        }
        stuffer.finish(&mut out);
        out
    }

    #[test]
    fn dots_are_stuffed_and_line_ends_mended_wherever_the_text_is_cut() {
        for (text, wire) in [
            (&b""[..], &b".\r\n"[..]),
            (b".\r\n", b"..\r\n.\r\n"),
            (b"a\r\n.b\r\n..\r\n", b"a\r\n..b\r\n...\r\n.\r\n"),
            (b"a", b"a\r\n.\r\n"),
            (b"a\r", b"a\r\n.\r\n"),
            (b"a\n.\nb\r\n", b"a\r\n..\r\nb\r\n.\r\n"),
            (b"a\r.\rb", b"a\r\n..\r\nb\r\n.\r\n"),
            (b"a\r\r\nb\n\rc", b"a\r\n\r\nb\r\n\r\nc\r\n.\r\n"),
        ] {
            for first in 0..=text.len() {
                for second in first..=text.len() {
                    let cut = stuffed(text, &[first, second]);
                    assert_eq!(
                        cut,
                        wire,
                        "{} cut at {first}, {second}",
                        text.escape_ascii()
                    );
                }
            }
        }
    }
}
