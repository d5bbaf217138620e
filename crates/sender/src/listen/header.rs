//! The header section on its way into the spool: what is missing is added at its end, our own field is taken out, all else passes.
//!
//! RFC 6409 section 8 lets a submission server add Date and Message-ID; nothing else of a message is touched. The filter
//! works byte by byte on any cut of the stream, and holds no more than the beginning of a field's name.

/// Makes a repeated submission one message; taken out before the message is stored.
const IDEMPOTENCY_KEY: &[u8] = b"x-postern-idempotency-key";
/// Longer than any name that is looked for, with the white space that RFC 5322 section 4.5 once allowed before the colon.
const LONGEST_NAME: usize = 64;
/// What is kept of the key; it is hashed afterwards, so this only bounds memory.
const LONGEST_KEY: usize = 1024;

/// Where in the header section the filter stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    LineStart,
    /// After a CR at a line's start: an LF ends the section.
    EmptyLine,
    Name,
    Field(Fate),
    /// The section has ended.
    Body,
}

/// What becomes of the field that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Kept,
    Dropped,
}

/// What the header section lacks; the caller knows the time and the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Missing {
    /// The whole field with its CRLF, added when there is no Date.
    pub(crate) date: String,
    /// The same for Message-ID.
    pub(crate) message_id: String,
}

/// The filter of one message.
#[derive(Debug)]
pub(crate) struct HeaderFilter {
    at: At,
    fate: Fate,
    /// The beginning of the present line while its name is not complete.
    name: Vec<u8>,
    missing: Missing,
    has_date: bool,
    has_message_id: bool,
    /// A line that is no field: whatever this section is, it is not added to.
    malformed: bool,
    key: Vec<u8>,
    keys: u32,
}

impl HeaderFilter {
    pub(crate) fn new(missing: Missing) -> Self {
        Self {
            at: At::LineStart,
            fate: Fate::Kept,
            name: Vec::new(),
            missing,
            has_date: false,
            has_message_id: false,
            malformed: false,
            key: Vec::new(),
            keys: 0,
        }
    }

    /// Puts what belongs into the stored message into `out`; says how many bytes of `text` belong to the header section. The rest is
    /// body, and passes without a copy.
    pub(crate) fn next(&mut self, text: &[u8], out: &mut Vec<u8>) -> usize {
        let mut used = 0;
        while used < text.len() && self.at != At::Body {
            used += self.step(&text[used..], out);
        }
        used
    }

    /// The end of the text: a message may end within its header section.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) {
        match self.at {
            At::LineStart => self.complete(out),
            At::Name => self.flush_name(out),
            At::EmptyLine => out.push(b'\r'),
            At::Field(_) | At::Body => {}
        }
        self.at = At::Body;
    }

    /// The idempotency key, if there was one that says anything.
    pub(crate) fn key(&self) -> Option<&[u8]> {
        let key = self.key.trim_ascii();
        (!key.is_empty()).then_some(key)
    }

    /// Deals with at least one byte.
    fn step(&mut self, text: &[u8], out: &mut Vec<u8>) -> usize {
        match self.at {
            At::LineStart => self.line_starts(text[0], out),
            At::EmptyLine => {
                if text[0] == b'\n' {
                    self.complete(out);
                }
                out.extend_from_slice(&[b'\r', text[0]]);
                self.at = At::Body;
                1
            }
            At::Name => self.read_name(text[0], out),
            At::Field(fate) => self.read_field(fate, text, out),
            At::Body => 0,
        }
    }

    fn line_starts(&mut self, first: u8, out: &mut Vec<u8>) -> usize {
        match first {
            b'\r' => {
                self.at = At::EmptyLine;
                1
            }
            b' ' | b'\t' => {
                // Folding: the line belongs to the field before it.
                self.at = At::Field(self.fate);
                0
            }
            _ => {
                self.at = At::Name;
                self.read_name(first, out)
            }
        }
    }

    fn read_name(&mut self, byte: u8, out: &mut Vec<u8>) -> usize {
        self.name.push(byte);
        let over = byte == b':' || byte == b'\r' || byte == b'\n';
        if !over && self.name.len() < LONGEST_NAME {
            return 1;
        }
        self.malformed |= byte == b'\r' || byte == b'\n';
        let name = self.name.strip_suffix(b":").unwrap_or_default();
        let name = name.trim_ascii_end().to_ascii_lowercase();
        self.has_date |= name == b"date";
        self.has_message_id |= name == b"message-id";
        if name == IDEMPOTENCY_KEY {
            self.fate = Fate::Dropped;
            self.keys += 1;
            self.name.clear();
        } else {
            self.fate = Fate::Kept;
            self.flush_name(out);
        }
        self.at = match byte {
            b'\n' => At::LineStart,
            _ => At::Field(self.fate),
        };
        1
    }

    fn read_field(&mut self, fate: Fate, text: &[u8], out: &mut Vec<u8>) -> usize {
        let end = memchr::memchr(b'\n', text);
        let line = &text[..end.map_or(text.len(), |end| end + 1)];
        match fate {
            Fate::Kept => out.extend_from_slice(line),
            // The first of several keys counts.
            Fate::Dropped if self.keys == 1 => {
                let room = LONGEST_KEY - self.key.len();
                self.key.extend_from_slice(&line[..line.len().min(room)]);
            }
            Fate::Dropped => {}
        }
        if end.is_some() {
            self.at = At::LineStart;
        }
        line.len()
    }

    fn flush_name(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.name);
        self.name.clear();
    }

    /// The end of the section: what is missing comes after the last field.
    fn complete(&mut self, out: &mut Vec<u8>) {
        if self.malformed {
            return;
        }
        for (has, field) in [
            (self.has_date, &self.missing.date),
            (self.has_message_id, &self.missing.message_id),
        ] {
            if !has {
                out.extend_from_slice(field.as_bytes());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missing() -> Missing {
        Missing {
            date: "Date: now\r\n".to_owned(),
            message_id: "Message-ID: <m@h>\r\n".to_owned(),
        }
    }

    /// The stored text and the key, with the message cut at these places.
    fn filter(text: &[u8], cuts: &[usize]) -> (Vec<u8>, Option<Vec<u8>>) {
        let mut filter = HeaderFilter::new(missing());
        let mut out = Vec::new();
        let mut from = 0;
        for to in cuts.iter().copied().chain([text.len()]) {
            let used = filter.next(&text[from..to], &mut out);
            out.extend_from_slice(&text[from + used..to]);
            from = to;
        }
        filter.finish(&mut out);
        (out, filter.key().map(<[u8]>::to_vec))
    }

    #[test]
    fn what_is_missing_is_added_our_field_is_taken_out_and_the_rest_passes_wherever_it_is_cut() {
        for (text, stored, key) in [
            (
                "Date: x\r\nMessage-ID: <1>\r\n\r\nbody\r\n",
                "Date: x\r\nMessage-ID: <1>\r\n\r\nbody\r\n",
                None,
            ),
            (
                "Subject: a\r\n\r\nDate: b\r\n",
                "Subject: a\r\nDate: now\r\nMessage-ID: <m@h>\r\n\r\nDate: b\r\n",
                None,
            ),
            (
                "DATE : x\r\nmessage-id\t: <1>\r\n\r\n",
                "DATE : x\r\nmessage-id\t: <1>\r\n\r\n",
                None,
            ),
            (
                "X-Postern-Idempotency-Key: k 1\r\nDate: x\r\nMessage-ID: <1>\r\n\r\nb",
                "Date: x\r\nMessage-ID: <1>\r\n\r\nb",
                Some("k 1"),
            ),
            (
                "Date: x\r\nx-postern-idempotency-KEY:\r\n\tfolded\r\n more\r\nMessage-ID: <1>\r\n\r\n",
                "Date: x\r\nMessage-ID: <1>\r\n\r\n",
                Some("folded\r\n more"),
            ),
            (
                "X-Postern-Idempotency-Key: \r\nDate: x\r\nMessage-ID: <1>\r\n\r\n",
                "Date: x\r\nMessage-ID: <1>\r\n\r\n",
                None,
            ),
            (
                "X-Postern-Idempotency-Key: a\r\nX-Postern-Idempotency-Key: b\r\nDate: x\r\nMessage-ID: <1>\r\n\r\n",
                "Date: x\r\nMessage-ID: <1>\r\n\r\n",
                Some("a"),
            ),
            (
                "X-Postern-Idempotency-Keys: a\r\nDate: x\r\nMessage-ID: <1>\r\n\r\n",
                "X-Postern-Idempotency-Keys: a\r\nDate: x\r\nMessage-ID: <1>\r\n\r\n",
                None,
            ),
            (
                "\r\nno header\r\n",
                "Date: now\r\nMessage-ID: <m@h>\r\n\r\nno header\r\n",
                None,
            ),
            (
                "Subject: only a header\r\n",
                "Subject: only a header\r\nDate: now\r\nMessage-ID: <m@h>\r\n",
                None,
            ),
            ("just text\r\nmore\r\n", "just text\r\nmore\r\n", None),
            ("", "Date: now\r\nMessage-ID: <m@h>\r\n", None),
            ("Dat", "Dat", None),
        ] {
            for first in 0..=text.len() {
                for second in first..=text.len() {
                    let (out, found) = filter(text.as_bytes(), &[first, second]);
                    assert_eq!(
                        out.escape_ascii().to_string(),
                        stored.as_bytes().escape_ascii().to_string(),
                        "cut at {first}, {second}"
                    );
                    assert_eq!(found.as_deref(), key.map(str::as_bytes), "{text:?}");
                }
            }
        }
    }

    #[test]
    fn a_name_without_end_and_a_huge_key_stay_small_in_memory() {
        let mut filter = HeaderFilter::new(missing());
        let mut out = Vec::new();
        filter.next(&[b'x'; 100_000], &mut out);
        assert_eq!((out.len(), filter.name.len()), (100_000, 0));
        let mut filter = HeaderFilter::new(missing());
        filter.next(b"X-Postern-Idempotency-Key: ", &mut out);
        filter.next(&[b'k'; 100_000], &mut out);
        assert_eq!(filter.key().map(<[u8]>::len), Some(LONGEST_KEY - 1));
    }
}
