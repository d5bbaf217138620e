//! The guard's scanner: token by token what the parser is about to read, fed in pieces of any size.

use super::Trap;

/// Longest response without its literals. The longest honest ones (flag lists, COPYUID of a batch) stay below 64 KiB; the
/// parser's time grows with the square of this.
pub(super) const LINE_CAP: usize = 256 * 1024;
/// How much of a line is kept to tell what it is, and to quote it in an error.
const HEAD: usize = 120;
/// Longest literal before a command asked for a body.
pub(crate) const SMALL_LITERAL: u64 = 64 * 1024;

/// Longest literal in a LIST or STATUS: a folder's name. Dovecot and Cyrus send awkward names so.
const NAME_LITERAL: u64 = 1024;
/// What is left of an untagged CAPABILITY, as the text of an OK: the parser refuses the list of a server that speaks IMAP4rev2 alone.
pub(crate) const MENDED_CAPABILITY: &str = "ABILITY ";

/// Where in a response the next byte stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Anything but a FETCH: status, continuation, tagged, EXISTS, LIST, ...
    Line,
    /// The name of a FETCH item (`UID`, `BODY[]<0>`).
    Name,
    /// The first byte of its value.
    Value,
    /// Inside an atom or number.
    Atom,
    /// Inside a flat list.
    List,
    /// Inside a quoted string; true after a backslash.
    Quoted(bool),
    /// Inside `{digits}`.
    Announce(u64),
    /// After `}`, and after its CR.
    AnnounceCr(u64),
    AnnounceLf(u64),
    /// After a quoted string, a list or a literal.
    AfterValue,
    /// After the list's closing parenthesis.
    Closed,
    /// A LIST or STATUS, outside of quotes: a folder's name may come as a literal.
    Names,
    /// Inside a quoted string of it; true after a backslash.
    NameQuoted(bool),
}

/// The scanner's state; plain data, fed in pieces of any size.
#[derive(Debug)]
pub(super) struct Scan {
    place: Place,
    pub(super) literal_cap: u64,
    /// Bytes of the current literal still to pass.
    literal: u64,
    /// Bytes of the current response outside literals.
    pub(super) line: usize,
    pub(super) head: Vec<u8>,
    pub(super) last_head: Vec<u8>,
    /// First bytes of the current FETCH item's name, in upper case, and its last byte.
    name: Vec<u8>,
    last: u8,
    /// Whether this line is a LIST or STATUS.
    in_names: bool,
    pub(super) responses: u64,
    /// So many of the bytes that were fed last end where a response ends, or within a literal.
    pub(super) shown: usize,
}

impl Scan {
    pub(super) fn new() -> Self {
        Self {
            place: Place::Line,
            literal_cap: SMALL_LITERAL,
            literal: 0,
            line: 0,
            head: Vec::with_capacity(HEAD),
            last_head: Vec::with_capacity(HEAD),
            name: Vec::with_capacity(16),
            last: 0,
            in_names: false,
            responses: 0,
            shown: 0,
        }
    }

    /// Scans bytes in the order they came; may change single bytes so that the parser survives them.
    pub(super) fn feed(&mut self, mut bytes: &mut [u8]) -> Result<(), Trap> {
        let all = bytes.len();
        self.shown = 0;
        while !bytes.is_empty() {
            if self.literal > 0 {
                let n = usize::try_from(self.literal)
                    .unwrap_or(usize::MAX)
                    .min(bytes.len());
                self.literal -= n as u64;
                bytes = &mut bytes[n..];
                self.shown = all - bytes.len();
                continue;
            }
            let (byte, rest) = bytes.split_at_mut(1);
            self.byte(&mut byte[0])?;
            bytes = rest;
            if self.line == 0 {
                self.shown = all - bytes.len();
            }
        }
        Ok(())
    }

    fn byte(&mut self, b: &mut u8) -> Result<(), Trap> {
        self.line += 1;
        if self.line > LINE_CAP {
            return Err(Trap::LongLine);
        }
        if self.head.len() < HEAD {
            self.head.push(*b);
        }
        match self.place {
            Place::Line => self.plain(b),
            Place::Name => self.name(*b),
            Place::Value => self.value(b),
            Place::Atom => self.atom(*b),
            Place::List => self.list(*b),
            Place::Quoted(escaped) => self.quoted(*b, escaped),
            Place::Announce(n) => self.announce(*b, n),
            Place::AnnounceCr(n) => self.step(*b == b'\r', Place::AnnounceLf(n)),
            Place::AnnounceLf(n) => {
                self.literal = n;
                let next = if self.in_names {
                    Place::Names
                } else {
                    Place::AfterValue
                };
                self.step(*b == b'\n', next)
            }
            Place::AfterValue => self.after_value(*b),
            Place::Closed => match b {
                b' ' | b'\r' => Ok(()),
                b'\n' => {
                    self.end();
                    Ok(())
                }
                _ => Err(Trap::Malformed),
            },
            Place::Names => self.names(*b),
            Place::NameQuoted(escaped) => self.name_quoted(*b, escaped),
        }
    }

    fn step(&mut self, holds: bool, next: Place) -> Result<(), Trap> {
        if !holds {
            return Err(Trap::Malformed);
        }
        self.place = next;
        Ok(())
    }

    fn plain(&mut self, b: &mut u8) -> Result<(), Trap> {
        match *b {
            b'\n' => {
                if self.announces_literal() {
                    return Err(Trap::StrayLiteral);
                }
                self.end();
                return Ok(());
            }
            b'(' if self.line == self.head.len() && is_fetch(&self.head) => {
                self.begin_name();
                return Ok(());
            }
            b' ' if is_list_or_status(&self.head) => {
                self.in_names = true;
                self.place = Place::Names;
                self.last = b' ';
                return Ok(());
            }
            // METADATA is never asked for, and its parser panics on text that is not UTF-8.
            b' ' if self.head.eq_ignore_ascii_case(b"* METADATA ") => return Err(Trap::Malformed),
            // Two lines that the parser reads wrongly (an ID that comes in two packets, a CAPABILITY without IMAP4rev1) become the
            // text of an OK; no other untagged line begins with these letters.
            _ if self.line <= 5 => {
                self.last = *b;
                *b = mended(&self.head, *b);
                return Ok(());
            }
            // The parser cuts the first byte after a response code off, and panics inside a character.
            0x80.. if self.last == b']' => *b = b'?',
            _ => {}
        }
        // Remembers a `}` across the CR, to know a literal's announcement at the line's end.
        if *b != b'\r' || self.last != b'}' {
            self.last = *b;
        }
        Ok(())
    }

    fn names(&mut self, b: u8) -> Result<(), Trap> {
        match b {
            b'"' => self.place = Place::NameQuoted(false),
            b'{' if self.last == b' ' => {
                self.last = 0;
                self.place = Place::Announce(0);
                return Ok(());
            }
            b'{' => return Err(Trap::StrayLiteral),
            b'\n' if self.last == b'\r' => {
                self.end();
                return Ok(());
            }
            b'\n' => return Err(Trap::Malformed),
            _ => {}
        }
        self.last = b;
        Ok(())
    }

    fn name_quoted(&mut self, b: u8, escaped: bool) -> Result<(), Trap> {
        self.place = match quoted(b, escaped)? {
            Quoted::Goes(escaped) => Place::NameQuoted(escaped),
            Quoted::Ended => Place::Names,
        };
        Ok(())
    }

    /// Whether this untagged line, which is no FETCH, ends as a literal would begin. Status lines end in free text.
    fn announces_literal(&self) -> bool {
        let Some(word) = self.head.strip_prefix(b"* ") else {
            return false;
        };
        let status = [&b"OK"[..], b"NO", b"BAD", b"BYE", b"PREAUTH"];
        self.last == b'}'
            && !status
                .iter()
                .any(|s| word.len() >= s.len() && word[..s.len()].eq_ignore_ascii_case(s))
    }

    fn begin_name(&mut self) {
        self.place = Place::Name;
        self.name.clear();
        self.last = 0;
    }

    fn name(&mut self, b: u8) -> Result<(), Trap> {
        match b {
            b' ' if !self.name.is_empty() => self.place = Place::Value,
            // Some servers put a space before the closing parenthesis.
            b')' if self.name.is_empty() => self.place = Place::Closed,
            b'(' => return Err(Trap::Nesting),
            b'{' => return Err(Trap::StrayLiteral),
            0..=b' ' | b')' | b'"' => return Err(Trap::Malformed),
            _ => {
                if self.name.len() < 16 {
                    self.name.push(b.to_ascii_uppercase());
                }
                self.last = b;
            }
        }
        Ok(())
    }

    fn value(&mut self, b: &mut u8) -> Result<(), Trap> {
        self.place = match *b {
            b'(' => Place::List,
            b'"' => Place::Quoted(false),
            b'{' if self.name.starts_with(b"BODY[") && matches!(self.last, b']' | b'>') => {
                self.last = 0;
                Place::Announce(0)
            }
            b'{' => return Err(Trap::StrayLiteral),
            0..=b' ' | b')' => return Err(Trap::Malformed),
            b'N' | b'n' if self.name == b"INTERNALDATE" => {
                // NIL would panic the parser; as an unknown atom it is skipped.
                *b = b'X';
                Place::Atom
            }
            _ => Place::Atom,
        };
        Ok(())
    }

    fn atom(&mut self, b: u8) -> Result<(), Trap> {
        match b {
            b' ' | b')' => self.after_value(b),
            b'(' => Err(Trap::Nesting),
            b'{' => Err(Trap::StrayLiteral),
            0..=0x1f | b'"' => Err(Trap::Malformed),
            _ => Ok(()),
        }
    }

    fn list(&mut self, b: u8) -> Result<(), Trap> {
        match b {
            b')' => self.place = Place::AfterValue,
            b'(' => return Err(Trap::Nesting),
            b'{' => return Err(Trap::StrayLiteral),
            0..=0x1f | b'"' => return Err(Trap::Malformed),
            _ => {}
        }
        Ok(())
    }

    fn quoted(&mut self, b: u8, escaped: bool) -> Result<(), Trap> {
        self.place = match quoted(b, escaped)? {
            Quoted::Goes(escaped) => Place::Quoted(escaped),
            Quoted::Ended => Place::AfterValue,
        };
        Ok(())
    }

    fn announce(&mut self, b: u8, so_far: u64) -> Result<(), Trap> {
        match b {
            b'0'..=b'9' => {
                self.last = b;
                self.place = Place::Announce(
                    so_far
                        .saturating_mul(10)
                        .saturating_add(u64::from(b - b'0')),
                );
                Ok(())
            }
            b'}' if so_far > self.cap() => Err(Trap::Literal {
                announced: so_far,
                cap: self.cap(),
            }),
            b'}' if self.last != 0 => self.step(true, Place::AnnounceCr(so_far)),
            _ => Err(Trap::Malformed),
        }
    }

    fn cap(&self) -> u64 {
        if self.in_names {
            NAME_LITERAL
        } else {
            self.literal_cap
        }
    }

    fn after_value(&mut self, b: u8) -> Result<(), Trap> {
        match b {
            b' ' => self.begin_name(),
            b')' => self.place = Place::Closed,
            _ => return Err(Trap::Malformed),
        }
        Ok(())
    }

    fn end(&mut self) {
        self.place = Place::Line;
        self.in_names = false;
        self.responses += 1;
        self.line = 0;
        self.last = 0;
        std::mem::swap(&mut self.head, &mut self.last_head);
        self.head.clear();
    }
}

/// What a byte does to a quoted string.
enum Quoted {
    /// It goes on; true after a backslash.
    Goes(bool),
    Ended,
}

fn quoted(b: u8, escaped: bool) -> Result<Quoted, Trap> {
    match (b, escaped) {
        (0 | b'\r' | b'\n', _) => Err(Trap::Malformed),
        (b'"' | b'\\', true) => Ok(Quoted::Goes(false)),
        (_, true) => Err(Trap::Malformed),
        (b'\\', false) => Ok(Quoted::Goes(true)),
        (b'"', false) => Ok(Quoted::Ended),
        (_, false) => Ok(Quoted::Goes(false)),
    }
}

/// The byte at the end of a line's first bytes, changed if they begin an ID or a CAPABILITY.
fn mended(head: &[u8], b: u8) -> u8 {
    match head.to_ascii_uppercase().as_slice() {
        b"* C" | b"* I" => b'O',
        b"* CA" | b"* ID" => b'K',
        b"* CAP" => b' ',
        _ => b,
    }
}

fn is_list_or_status(head: &[u8]) -> bool {
    head.eq_ignore_ascii_case(b"* LIST ") || head.eq_ignore_ascii_case(b"* STATUS ")
}

/// Whether these first bytes of a line are exactly `* NUMBER FETCH (`.
fn is_fetch(head: &[u8]) -> bool {
    let Some(rest) = head.strip_prefix(b"* ") else {
        return false;
    };
    let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
    digits > 0 && rest[digits..].eq_ignore_ascii_case(b" FETCH (")
}
