//! The end of DATA and its dots (RFC 5321 section 4.5.2), byte by byte exact and at the speed of a newline search.
//!
//! Only CRLF.CRLF ends a message, and only a dot after CRLF is a stuffed one. Whoever also takes `\n.\n` or `\r.\r` lets one sender
//! smuggle a second message behind a peer that doesn't. Bare CR and LF are text here, and judged by whoever reads the text.
use memchr::memchr2;
use std::ops::Range;

/// What a part of the incoming bytes is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// A CR comes before the text: after the dot it might have been the end's.
    pub(crate) cr: bool,
    /// This range of the chunk is message text.
    pub(crate) text: Range<usize>,
    /// So many bytes of the chunk are dealt with.
    pub(crate) used: usize,
    /// They end with the final dot.
    pub(crate) end: bool,
}

/// Where the reader is in the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    LineStart,
    /// After a dot at a line's start, which is never text.
    Dot,
    /// After that dot and a CR.
    DotCr,
    Text,
    Cr,
}

/// Takes dot-stuffed text apart; one for each message.
#[derive(Debug)]
pub(crate) struct Unstuffer {
    at: At,
}

impl Unstuffer {
    /// At the first byte after the reply to DATA, whose CRLF counts as the line end before it.
    pub(crate) fn new() -> Self {
        Self { at: At::LineStart }
    }

    /// The next part of a chunk; call again with what it leaves, until all is used or the end is found.
    pub(crate) fn next(&mut self, chunk: &[u8]) -> Part {
        let mut start = 0;
        let mut cr = false;
        let mut i = 0;
        while i < chunk.len() {
            let byte = chunk[i];
            match self.at {
                At::LineStart if byte == b'.' => {
                    if i > start {
                        // The text before the dot first; the dot is met again at the start of the rest.
                        return Part {
                            cr,
                            text: start..i,
                            used: i,
                            end: false,
                        };
                    }
                    self.at = At::Dot;
                    start = i + 1;
                }
                At::Dot if byte == b'\r' => {
                    self.at = At::DotCr;
                    start = i + 1;
                }
                At::DotCr if byte == b'\n' => {
                    return Part {
                        cr: false,
                        text: 0..0,
                        used: i + 1,
                        end: true,
                    };
                }
                At::DotCr => {
                    // Nothing of this chunk is text before here: the CR that was held back comes first.
                    cr = true;
                    self.after_cr(byte);
                }
                At::Cr => self.after_cr(byte),
                At::LineStart | At::Dot | At::Text => {
                    let Some(found) = memchr2(b'\r', b'\n', &chunk[i..]) else {
                        self.at = At::Text;
                        break;
                    };
                    i += found;
                    self.line_end(chunk[i]);
                }
            }
            i += 1;
        }
        Part {
            cr,
            text: start..chunk.len(),
            used: chunk.len(),
            end: false,
        }
    }

    fn line_end(&mut self, byte: u8) {
        self.at = match byte {
            b'\r' => At::Cr,
            _ => At::Text,
        };
    }

    fn after_cr(&mut self, byte: u8) {
        self.at = match byte {
            b'\n' => At::LineStart,
            b'\r' => At::Cr,
            _ => At::Text,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a stream cut at the given places: the text, and what follows the end (None: no end).
    fn read(stream: &[u8], cuts: &[usize]) -> (Vec<u8>, Option<Vec<u8>>) {
        let mut unstuffer = Unstuffer::new();
        let mut text = Vec::new();
        let mut from = 0;
        for to in cuts.iter().copied().chain([stream.len()]) {
            while from < to {
                let chunk = &stream[from..to];
                let part = unstuffer.next(chunk);
                assert!(part.used > 0, "no progress");
                text.extend(part.cr.then_some(b'\r'));
                text.extend_from_slice(&chunk[part.text]);
                from += part.used;
                if part.end {
                    return (text, Some(stream[from..].to_vec()));
                }
            }
        }
        (text, None)
    }

    /// As [`read`], at every one and every two places; all must agree.
    fn read_every_way(stream: &[u8]) -> (Vec<u8>, Option<Vec<u8>>) {
        let whole = read(stream, &[]);
        for first in 1..stream.len() {
            for second in first..stream.len() {
                let cut = read(stream, &[first, second]);
                let shown = stream.escape_ascii();
                assert_eq!(cut.1, whole.1, "{shown} cut at {first}, {second}");
                if whole.1.is_some() {
                    assert_eq!(cut.0, whole.0, "{shown} cut at {first}, {second}");
                }
            }
        }
        whole
    }

    #[test]
    fn dots_are_unstuffed_and_the_end_is_found_wherever_the_stream_is_cut() {
        for (stream, text, rest) in [
            (&b".\r\n"[..], &b""[..], &b""[..]),
            (b".\r\nQUIT\r\n", b"", b"QUIT\r\n"),
            (b"a\r\n.\r\nQ", b"a\r\n", b"Q"),
            (b"..a\r\n.\r\n", b".a\r\n", b""),
            (b"...\r\n..\r\n.\r\n", b"..\r\n.\r\n", b""),
            (b".a\r\n.\r\n", b"a\r\n", b""),
            (b"a.\r\n.\r\n", b"a.\r\n", b""),
            (b"\r\n\r\n.\r\n", b"\r\n\r\n", b""),
            (
                b"S: x\r\n\r\n..y\r\nz\r\n.\r\n.\r\n",
                b"S: x\r\n\r\n.y\r\nz\r\n",
                b".\r\n",
            ),
        ] {
            assert_eq!(read_every_way(stream), (text.to_vec(), Some(rest.to_vec())));
        }
    }

    /// The published smuggling sequences and their kin: none is an end, and every byte but a dot after CRLF is text.
    #[test]
    fn no_smuggling_sequence_ends_the_message() {
        for (inner, kept) in [
            ("\n.\n", "\n.\n"),
            ("\n.\r\n", "\n.\r\n"),
            ("\r\n.\n", "\r\n\n"),
            ("\r.\r", "\r.\r"),
            ("\r.\r\n", "\r.\r\n"),
            ("\r\n.\r", "\r\n\r"),
            ("\n.\r", "\n.\r"),
            ("\r.\n", "\r.\n"),
            ("\r\n\r.\r\n", "\r\n\r.\r\n"),
            ("\r\r\n.\r\r\n", "\r\r\n\r\r\n"),
            ("\r\n.\r\r\n", "\r\n\r\r\n"),
            ("\n\r.\r\n", "\n\r.\r\n"),
            ("\r\n\0.\r\n", "\r\n\0.\r\n"),
            ("\r\n.\0\r\n", "\r\n\0\r\n"),
            ("\r\n.\r\0\n", "\r\n\r\0\n"),
            ("\r\n.\r.\r\n.\n", "\r\n\r.\r\n\n"),
        ] {
            let stream = format!("one{inner}MAIL FROM:<evil@x>\r\n.\r\nNOOP\r\n");
            let (text, rest) = read_every_way(stream.as_bytes());
            assert_eq!(
                rest.as_deref(),
                Some(&b"NOOP\r\n"[..]),
                "{inner:?} changed where the message ends"
            );
            let kept = format!("one{kept}MAIL FROM:<evil@x>\r\n");
            assert_eq!(String::from_utf8(text).expect("text"), kept, "{inner:?}");
        }
    }

    #[test]
    fn without_the_final_dot_there_is_no_end() {
        for stream in [
            &b"a\r\n"[..],
            b"a\r\n.",
            b"a\r\n.\r",
            b"a\r\n..\r\n",
            b"a.\r\n",
            b"",
        ] {
            assert_eq!(read_every_way(stream).1, None);
        }
    }
}
