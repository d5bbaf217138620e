//! Dot-stuffing of a message's text on its way out (RFC 5321 section 4.5.2), across chunks.
//!
//! The stored text has CRLF line ends alone; what comes from elsewhere may not. A bare CR or LF is written as CRLF, as
//! RFC 5321 section 2.3.8 demands of a client, so that no `\n.\n` in a message is an end for a server that is lax about it.
use memchr::memchr2;

/// Where the writer is in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    LineStart,
    Text,
    /// A CR was read, and nothing was written for it yet.
    Cr,
}

/// Stuffs one message.
#[derive(Debug)]
pub(crate) struct Stuffer {
    at: At,
}

impl Stuffer {
    pub(crate) fn new() -> Self {
        Self { at: At::LineStart }
    }

    /// Appends the wire form of the next chunk.
    pub(crate) fn stuff(&mut self, mut chunk: &[u8], out: &mut Vec<u8>) {
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
    pub(crate) fn finish(mut self, out: &mut Vec<u8>) {
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
    use crate::listen::Unstuffer;
    use proptest::prelude::*;

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

    fn unstuffed(wire: &[u8], size: usize) -> Option<Vec<u8>> {
        let mut unstuffer = Unstuffer::new();
        let mut text = Vec::new();
        let mut from = 0;
        while from < wire.len() {
            let chunk = &wire[from..wire.len().min(from + size)];
            let part = unstuffer.next(chunk);
            text.extend_from_slice(&chunk[part.text]);
            from += part.used;
            if part.end {
                return (from == wire.len() && !unstuffer.bare_line_end()).then_some(text);
            }
        }
        None
    }

    proptest! {
        /// Lines made of the bytes that matter, cut anywhere: what is stuffed is what is read back.
        #[test]
        fn stuffing_and_unstuffing_is_the_identity(
            lines in prop::collection::vec("[.a \u{e9}]{0,4}", 0..12),
            cut in 1usize..9,
            size in 1usize..9,
        ) {
            let text: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
            let cuts: Vec<usize> = (0..text.len()).step_by(cut).collect();
            let wire = stuffed(text.as_bytes(), &cuts);
            prop_assert_eq!(unstuffed(&wire, size), Some(text.into_bytes()));
        }

        /// Whatever bytes a message has, the wire has one end, at its end, and no bare line end before it.
        #[test]
        fn no_text_can_end_its_message_early(text in prop::collection::vec(prop::sample::select(b"\r\n.a".to_vec()), 0..40), size in 1usize..9) {
            let wire = stuffed(&text, &[]);
            prop_assert!(unstuffed(&wire, size).is_some());
        }
    }
}
