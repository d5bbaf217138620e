//! The end of a multi-line answer and its dots (RFC 1939 section 3), exact to the byte and at the speed of a search for CRLF.

use memchr::memmem::Finder;

/// Where the reader is in the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    LineStart,
    /// After a dot at a line's start, which is never text.
    Dot,
    /// After that dot and a CR.
    DotCr,
    Text,
    /// In a line, after a CR that was given out.
    Cr,
}

/// Takes dot-stuffed text apart; one for each message. Only CRLF.CRLF is the end: a bare LF before a dot is text, since taking it for the
/// end would cut a message short, and delete it.
#[derive(Debug)]
pub(super) struct Unstuffer {
    at: At,
    dot: Finder<'static>,
}

impl Unstuffer {
    /// At the first byte after the status line.
    pub(super) fn new() -> Self {
        Self {
            at: At::LineStart,
            dot: Finder::new(b"\r\n."),
        }
    }

    /// Appends the text in a chunk to `text`. Some: the message ended with the first so many bytes of the chunk.
    pub(super) fn feed(&mut self, chunk: &[u8], text: &mut Vec<u8>) -> Option<usize> {
        let mut i = 0;
        while i < chunk.len() {
            let byte = chunk[i];
            match (self.at, byte) {
                (At::LineStart, b'.') => (self.at, i) = (At::Dot, i + 1),
                (At::Dot, b'\r') => (self.at, i) = (At::DotCr, i + 1),
                (At::DotCr, b'\n') => return Some(i + 1),
                (At::DotCr, _) => {
                    // The dot was stuffing, and its CR began a line.
                    text.push(b'\r');
                    self.at = At::Cr;
                }
                (At::Cr, b'\r' | b'\n') => {
                    text.push(byte);
                    self.at = if byte == b'\n' { At::LineStart } else { At::Cr };
                    i += 1;
                }
                (At::LineStart | At::Dot | At::Cr, _) => self.at = At::Text,
                (At::Text, _) => i = self.text(chunk, i, text),
            }
        }
        None
    }

    /// Text up to the next dot at a line's start, or the end of the chunk; gives where to go on.
    fn text(&mut self, chunk: &[u8], from: usize, text: &mut Vec<u8>) -> usize {
        let rest = &chunk[from..];
        if let Some(found) = self.dot.find(rest) {
            text.extend_from_slice(&rest[..found + 2]);
            self.at = At::Dot;
            return from + found + 3;
        }
        text.extend_from_slice(rest);
        self.at = match rest {
            [.., b'\r', b'\n'] => At::LineStart,
            [.., b'\r'] => At::Cr,
            _ => At::Text,
        };
        chunk.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The text of a stream cut at the given place, and what follows its end.
    fn read(stream: &[u8], cut: usize) -> (Vec<u8>, Option<Vec<u8>>) {
        let (mut unstuffer, mut text) = (Unstuffer::new(), Vec::new());
        let parts = [&stream[..cut], &stream[cut..]];
        let mut from = 0;
        for part in parts {
            if let Some(used) = unstuffer.feed(part, &mut text) {
                return (text, Some(stream[from + used..].to_vec()));
            }
            from += part.len();
        }
        (text, None)
    }

    fn stuffed(text: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        for (at, byte) in text.iter().enumerate() {
            if *byte == b'.' && (at == 0 || text[..at].ends_with(b"\r\n")) {
                out.push(b'.');
            }
            out.push(*byte);
        }
        out.extend_from_slice(b".\r\n");
        out
    }

    #[test]
    fn streams_split_at_every_position_give_the_same_text() {
        for (stream, text) in [
            (&b".\r\n+OK"[..], &b""[..]),
            (b"\r\n.\r\n", b"\r\n"),
            (b"a\r\n.\r\n", b"a\r\n"),
            (b"..\r\n...b\r\n.c\r\n.\r\n", b".\r\n..b\r\nc\r\n"),
            (
                b"a\n.\r\nb\n.\nc\r.\r\n\r\n.\r\n",
                b"a\n.\r\nb\n.\nc\r.\r\n\r\n",
            ),
            (b".\rx\r\n.\r\r\n.\r\n", b"\rx\r\n\r\r\n"),
            (b"\r\r\n.\r\n", b"\r\r\n"),
            (b"no\r\n.\n\r\n.\r\n", b"no\r\n\n\r\n"),
        ] {
            let (expected, rest) = read(stream, 0);
            assert_eq!(expected, text, "{}", stream.escape_ascii());
            assert!(rest.is_some(), "{}", stream.escape_ascii());
            for cut in 0..=stream.len() {
                assert_eq!(
                    read(stream, cut),
                    (expected.clone(), rest.clone()),
                    "{} at {cut}",
                    stream.escape_ascii()
                );
            }
        }
    }

    #[test]
    fn a_stream_without_its_end_has_none() {
        for stream in [
            &b"a\r\n."[..],
            b"a\r\n.\r",
            b"a\r\n.\n",
            b"a\n.\r\n",
            b"",
            b"..\r\n",
        ] {
            for cut in 0..=stream.len() {
                assert_eq!(read(stream, cut).1, None, "{}", stream.escape_ascii());
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

        #[test]
        fn what_was_stuffed_comes_back(text in "[.\r\nab]{0,40}", cut in 0_usize..60) {
            let mut text = text.into_bytes();
            if !text.is_empty() {
                text.extend_from_slice(b"\r\n");
            }
            let stream = stuffed(&text);
            let (got, rest) = read(&stream, cut.min(stream.len()));
            prop_assert_eq!(got, text);
            prop_assert_eq!(rest, Some(Vec::new()));
        }
    }
}
