//! The words of an IMAP command: atoms, quoted strings, literals, lists (RFC 3501 section 9).
use jiff::civil::Date;

use super::set::Set;

/// What is left of a command.
pub(super) struct Cursor<'a>(pub(super) &'a [u8]);

impl Cursor<'_> {
    fn space(&mut self) -> Option<()> {
        self.0 = self.0.strip_prefix(b" ")?;
        Some(())
    }

    /// Everything up to a space; a `[...]` keeps its spaces.
    pub(super) fn word(&mut self) -> Option<String> {
        let mut bracket = false;
        let end = self.0.iter().position(|&byte| {
            bracket = (bracket || byte == b'[') && byte != b']';
            !bracket && (byte == b' ' || byte == b')')
        });
        let (word, rest) = self.0.split_at(end.unwrap_or(self.0.len()));
        let word = std::str::from_utf8(word).ok()?;
        self.0 = rest;
        (!word.is_empty()).then(|| word.to_owned())
    }

    pub(super) fn next_word(&mut self) -> Option<String> {
        self.space()?;
        self.word()
    }

    /// An atom, a quoted string or a literal.
    pub(super) fn next_string(&mut self) -> Option<String> {
        self.space()?;
        match self.0.first()? {
            b'"' => self.quoted(),
            b'{' => self.literal(),
            _ => self.word(),
        }
    }

    fn quoted(&mut self) -> Option<String> {
        let mut text = Vec::new();
        let mut bytes = self.0.iter().enumerate().skip(1);
        while let Some((at, &byte)) = bytes.next() {
            match byte {
                b'"' => {
                    self.0 = &self.0[at + 1..];
                    return String::from_utf8(text).ok();
                }
                b'\\' => text.push(*bytes.next()?.1),
                _ => text.push(byte),
            }
        }
        None
    }

    fn literal(&mut self) -> Option<String> {
        let end = memchr::memchr(b'\n', self.0)?;
        let length = literal_length(self.0[..end].strip_suffix(b"\r")?)?.0;
        let rest = &self.0[end + 1..];
        let text = String::from_utf8(rest.get(..length)?.to_vec()).ok()?;
        self.0 = &rest[length..];
        Some(text)
    }

    pub(super) fn next_set(&mut self) -> Option<Set> {
        Set::parse(&self.next_word()?)
    }

    /// `1-Feb-1994`, perhaps in quotes.
    pub(super) fn next_date(&mut self) -> Option<Date> {
        Date::strptime("%d-%b-%Y", self.next_string()?).ok()
    }

    /// `(A B C)`, or one word without parentheses.
    pub(super) fn next_list(&mut self) -> Option<Vec<String>> {
        self.space()?;
        let Some(rest) = self.0.strip_prefix(b"(") else {
            return Some(vec![self.word()?]);
        };
        self.0 = rest;
        let mut words = Vec::new();
        loop {
            if let Some(rest) = self.0.strip_prefix(b")") {
                self.0 = rest;
                return Some(words);
            }
            if !words.is_empty() {
                self.space()?;
            }
            words.push(self.word()?);
        }
    }
}

/// The literal that a line announces at its end, `{5}` or `{5+}`: its length, and whether the client waits for a go-ahead.
pub(super) fn literal_length(line: &[u8]) -> Option<(usize, bool)> {
    let open = memchr::memrchr(b'{', line)?;
    let inner = std::str::from_utf8(line[open + 1..].strip_suffix(b"}")?).ok()?;
    let (digits, waits) = match inner.strip_suffix('+') {
        Some(digits) => (digits, false),
        None => (inner, true),
    };
    Some((digits.parse().ok()?, waits))
}
