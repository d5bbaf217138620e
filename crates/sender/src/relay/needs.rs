//! What a message's bytes need of a server, found by reading them; only where a server lacks what was declared.
use spool::Pieces;

/// What a message needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Needs {
    /// 8BITMIME: bytes beyond ASCII, anywhere.
    pub(super) eight_bit: bool,
    /// SMTPUTF8: bytes beyond ASCII in the header section.
    pub(super) utf8_header: bool,
}

/// Reads the message, as far as it takes.
pub(super) async fn needs(mut text: Pieces) -> std::io::Result<Needs> {
    let mut scan = Scan::default();
    loop {
        let piece = text.next().await?;
        if piece.is_empty() || scan.next(piece) {
            return Ok(Needs {
                eight_bit: scan.eight_bit,
                utf8_header: scan.utf8_header,
            });
        }
    }
}

/// The search, piece by piece.
#[derive(Default)]
struct Scan {
    /// The line that is read has something in it.
    in_line: bool,
    /// The header section has ended.
    in_body: bool,
    eight_bit: bool,
    utf8_header: bool,
}

impl Scan {
    /// True: more bytes change nothing.
    fn next(&mut self, mut piece: &[u8]) -> bool {
        while !self.in_body && !self.utf8_header {
            let Some((&byte, rest)) = piece.split_first() else {
                return false;
            };
            match byte {
                b'\n' if !self.in_line => self.in_body = true,
                b'\n' => self.in_line = false,
                b'\r' => {}
                _ => self.in_line = true,
            }
            self.utf8_header |= !byte.is_ascii();
            piece = rest;
        }
        self.eight_bit |= self.utf8_header || !piece.is_ascii();
        self.eight_bit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_beyond_ascii_are_found_where_they_are_however_the_text_is_cut() {
        for (text, eight_bit, utf8_header) in [
            ("Subject: a\r\n\r\nbody\r\n", false, false),
            ("Subject: a\r\n\r\nb\u{f6}dy\r\n", true, false),
            ("Subject: \u{f6}\r\n\r\nbody\r\n", true, true),
            ("\r\n\u{f6}\r\n", true, false),
            ("Subject: a\r\n\u{f6}", true, true),
            ("", false, false),
        ] {
            for cut in 0..=text.len() {
                let (first, second) = text.as_bytes().split_at(cut);
                let mut scan = Scan::default();
                let _ = scan.next(first) || scan.next(second);
                assert_eq!(
                    (scan.eight_bit, scan.utf8_header),
                    (eight_bit, utf8_header),
                    "{text:?} cut at {cut}"
                );
            }
        }
    }
}
