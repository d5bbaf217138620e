//! The bytes of a message between DATA and the final dot (RFC 5321 section 4.5.2).

/// Undoes dot-stuffing. Only CRLF.CRLF ends a message: a bare LF or CR is a byte like any other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unstuffer {
    /// At the start of a line, which only CRLF makes.
    Start,
    /// A dot at the start of a line, not yet written.
    Dot,
    /// That dot and a CR, neither written.
    DotCr,
    /// A CR inside a line, written.
    Cr,
    /// Inside a line.
    Inside,
}

impl Unstuffer {
    /// Takes a piece of the stream; gives how much of it was used once the message has ended, and None before.
    pub(super) fn feed(&mut self, piece: &[u8], message: &mut Vec<u8>) -> Option<usize> {
        for (at, &byte) in piece.iter().enumerate() {
            match (*self, byte) {
                (Self::DotCr, b'\n') => return Some(at + 1),
                (Self::Start, b'.') => {
                    *self = Self::Dot;
                    continue;
                }
                (Self::Dot, b'\r') => {
                    *self = Self::DotCr;
                    continue;
                }
                // The dot was stuffing, but the CR was the message's.
                (Self::DotCr, _) => {
                    message.push(b'\r');
                    *self = Self::Cr;
                }
                _ => {}
            }
            message.push(byte);
            *self = match (*self, byte) {
                (Self::Cr, b'\n') => Self::Start,
                (_, b'\r') => Self::Cr,
                _ => Self::Inside,
            };
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every way to cut the stream in two gives the same message, and the same rest.
    fn unstuffed(stream: &str) -> Option<(String, String)> {
        let mut results = (0..=stream.len()).map(|cut| {
            let (mut unstuffer, mut message) = (Unstuffer::Start, Vec::new());
            let (a, b) = stream.as_bytes().split_at(cut);
            let used = match unstuffer.feed(a, &mut message) {
                Some(used) => used,
                None => cut + unstuffer.feed(b, &mut message)?,
            };
            let message = String::from_utf8(message).unwrap();
            Some((message, stream[used..].to_owned()))
        });
        let first = results.next().unwrap();
        assert!(results.all(|result| result == first), "{stream:?}");
        first
    }

    #[test]
    fn only_crlf_dot_crlf_ends_a_message_wherever_the_stream_is_cut() {
        for (stream, message, rest) in [
            (".\r\n", "", ""),
            ("a\r\n.\r\nQUIT\r\n", "a\r\n", "QUIT\r\n"),
            ("..\r\n...\r\n.x\r\n.\r\n", ".\r\n..\r\nx\r\n", ""),
            ("a\n.\nb\r\n.\r\n", "a\n.\nb\r\n", ""),
            ("a\n.\r\nb\r\n.\r\n", "a\n.\r\nb\r\n", ""),
            ("a\r.\r\nb\r\n.\r\n", "a\r.\r\nb\r\n", ""),
            (".\rx\r\n.\r\n", "\rx\r\n", ""),
            (".\r\r\n.\r\n", "\r\r\n", ""),
            ("\r\n\r\n.\r\n", "\r\n\r\n", ""),
        ] {
            let expected = Some((message.to_owned(), rest.to_owned()));
            assert_eq!(unstuffed(stream), expected, "{stream:?}");
        }
        assert_eq!(unstuffed("a\r\n.\n"), None);
        assert_eq!(unstuffed("a.\r\n"), None);
    }
}
