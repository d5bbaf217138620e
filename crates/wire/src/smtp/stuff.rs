//! A message's text on its way out, across chunks: line ends mended, and for DATA its dots stuffed (RFC 5321 section 4.5.2).
//!
//! The stored text has CRLF line ends alone; what comes from elsewhere may not. A bare CR or LF is written as CRLF, as
//! RFC 5321 section 2.3.8 demands of a client, so that no `\n.\n` in a message is an end for a server that is lax about it. BDAT (RFC 3030) counts bytes, so no dot ends
//! anything there; but whoever passes the message on by DATA would meet the same `\n.\n`, so its line ends are mended too.
use memchr::memchr2;

/// Where the writer is in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    LineStart,
    Text,
    /// A CR was read, and nothing was written for it yet.
    Cr,
}

/// Prepares one message for the wire.
#[derive(Debug)]
pub struct Stuffer {
    at: At,
    dots: bool,
}

impl Default for Stuffer {
    fn default() -> Self {
        Self::new()
    }
}

impl Stuffer {
    /// At the beginning of a text for DATA.
    pub fn new() -> Self {
        Self {
            at: At::LineStart,
            dots: true,
        }
    }

    /// At the beginning of a text for BDAT: only line ends are mended.
    pub fn without_dots() -> Self {
        Self {
            dots: false,
            ..Self::new()
        }
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
                At::LineStart if byte == b'.' && self.dots => out.push(b'.'),
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

    /// Appends the end: the last line's CRLF where it is missing, and for DATA the final dot.
    pub fn finish(mut self, out: &mut Vec<u8>) {
        if self.at != At::LineStart {
            self.end_line(out);
        }
        if self.dots {
            out.extend_from_slice(b".\r\n");
        }
    }

    fn end_line(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"\r\n");
        self.at = At::LineStart;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stuffed(mut stuffer: Stuffer, text: &[u8], cuts: &[usize]) -> Vec<u8> {
        let mut out = Vec::new();
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
                    let cut = stuffed(Stuffer::new(), text, &[first, second]);
                    let shown = text.escape_ascii();
                    assert_eq!(cut, wire, "{shown} cut at {first}, {second}");
                }
            }
        }
    }

    #[test]
    fn without_dots_only_line_ends_are_mended_wherever_the_text_is_cut() {
        for (text, wire) in [
            (&b""[..], &b""[..]),
            (b".\r\n..\r\n", b".\r\n..\r\n"),
            (b"a", b"a\r\n"),
            (b"a\r", b"a\r\n"),
            (b"a\n.\nb\r\n", b"a\r\n.\r\nb\r\n"),
            (b"a\r.\rb", b"a\r\n.\r\nb\r\n"),
            (b"a\0\n.\r\n", b"a\0\r\n.\r\n"),
        ] {
            for first in 0..=text.len() {
                for second in first..=text.len() {
                    let cut = stuffed(Stuffer::without_dots(), text, &[first, second]);
                    let shown = text.escape_ascii();
                    assert_eq!(cut, wire, "{shown} cut at {first}, {second}");
                }
            }
        }
    }
}
