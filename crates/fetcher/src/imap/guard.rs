//! Looks at every byte of a server before the IMAP parser does, and stops or mends what would hurt the parser.
//!
//! imap-proto recurses without limit in BODYSTRUCTURE (the process would abort), reserves whatever a literal announces (up to
//! 512 MiB), is quadratic in the length of a line, and panics on `INTERNALDATE NIL` and on a non-ASCII byte right after a response
//! code. Postern asks only for flat FETCH items, so the guard admits only those, token by token exactly as the parser reads them;
//! a guard that merely counted parentheses could be led to take for a literal what the parser takes for something to recurse into.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Longest response without its literals. The longest honest ones (flag lists, COPYUID of a batch) stay below 64 KiB; the
/// parser's time grows with the square of this.
const LINE_CAP: usize = 256 * 1024;
/// How much of a line is kept to tell what it is, and to quote it in an error.
const HEAD: usize = 120;
/// Longest literal before a command asked for a body.
pub(crate) const SMALL_LITERAL: u64 = 64 * 1024;

/// What the guard stopped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Trap {
    #[error("a response line longer than {LINE_CAP} bytes")]
    LongLine,
    #[error("nested lists that were never asked for")]
    Nesting,
    #[error("a literal of {announced} bytes where at most {cap} were expected")]
    Literal { announced: u64, cap: u64 },
    #[error("a literal where none was asked for")]
    StrayLiteral,
    #[error("a malformed response")]
    Malformed,
}

/// A stream whose incoming bytes are scanned.
#[derive(Debug)]
pub(crate) struct Guard<S> {
    inner: S,
    scan: Scan,
}

impl<S> Guard<S> {
    pub(crate) fn new(inner: S) -> Self {
        Self {
            inner,
            scan: Scan::new(),
        }
    }

    /// The longest literal that the commands in flight may bring.
    pub(crate) fn expect_literals_up_to(&mut self, cap: u64) {
        self.scan.literal_cap = cap;
    }

    /// Complete responses so far, and whether bytes of a further one have come.
    pub(crate) fn responses(&self) -> (u64, bool) {
        (self.scan.responses, self.scan.line > 0)
    }

    /// The start of the line that is being read, or was read last; for error messages.
    pub(crate) fn head(&self) -> String {
        let head = if self.scan.head.is_empty() {
            &self.scan.last_head
        } else {
            &self.scan.head
        };
        head.iter()
            .map(|&b| {
                if (0x20..0x7f).contains(&b) {
                    char::from(b)
                } else {
                    '?'
                }
            })
            .collect()
    }

    pub(crate) fn into_inner(self) -> S {
        self.inner
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guard<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let start = buf.filled().len();
        ready!(Pin::new(&mut this.inner).poll_read(cx, buf))?;
        let scanned = this.scan.feed(&mut buf.filled_mut()[start..]);
        Poll::Ready(scanned.map_err(|trap| io::Error::new(io::ErrorKind::InvalidData, trap)))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guard<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

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
}

/// The scanner's state; plain data, fed in pieces of any size.
#[derive(Debug)]
struct Scan {
    place: Place,
    literal_cap: u64,
    /// Bytes of the current literal still to pass.
    literal: u64,
    /// Bytes of the current response outside literals.
    line: usize,
    head: Vec<u8>,
    last_head: Vec<u8>,
    /// First bytes of the current FETCH item's name, in upper case, and its last byte.
    name: Vec<u8>,
    last: u8,
    responses: u64,
}

impl Scan {
    fn new() -> Self {
        Self {
            place: Place::Line,
            literal_cap: SMALL_LITERAL,
            literal: 0,
            line: 0,
            head: Vec::with_capacity(HEAD),
            last_head: Vec::with_capacity(HEAD),
            name: Vec::with_capacity(16),
            last: 0,
            responses: 0,
        }
    }

    /// Scans bytes in the order they came; may change single bytes so that the parser survives them.
    fn feed(&mut self, mut bytes: &mut [u8]) -> Result<(), Trap> {
        while !bytes.is_empty() {
            if self.literal > 0 {
                let n = usize::try_from(self.literal)
                    .unwrap_or(usize::MAX)
                    .min(bytes.len());
                self.literal -= n as u64;
                bytes = &mut bytes[n..];
                continue;
            }
            let (byte, rest) = bytes.split_at_mut(1);
            self.byte(&mut byte[0])?;
            bytes = rest;
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
                self.step(*b == b'\n', Place::AfterValue)
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
            // METADATA is never asked for, and its parser panics on text that is not UTF-8.
            b' ' if self.head.eq_ignore_ascii_case(b"* METADATA ") => return Err(Trap::Malformed),
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
        self.place = match (b, escaped) {
            (0 | b'\r' | b'\n', _) => return Err(Trap::Malformed),
            (b'"' | b'\\', true) => Place::Quoted(false),
            (_, true) => return Err(Trap::Malformed),
            (b'\\', false) => Place::Quoted(true),
            (b'"', false) => Place::AfterValue,
            (_, false) => Place::Quoted(false),
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
            b'}' if so_far > self.literal_cap => Err(Trap::Literal {
                announced: so_far,
                cap: self.literal_cap,
            }),
            b'}' if self.last != 0 => self.step(true, Place::AnnounceCr(so_far)),
            _ => Err(Trap::Malformed),
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
        self.responses += 1;
        self.line = 0;
        self.last = 0;
        std::mem::swap(&mut self.head, &mut self.last_head);
        self.head.clear();
    }
}

/// Whether these first bytes of a line are exactly `* NUMBER FETCH (`.
fn is_fetch(head: &[u8]) -> bool {
    let Some(rest) = head.strip_prefix(b"* ") else {
        return false;
    };
    let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
    digits > 0 && rest[digits..].eq_ignore_ascii_case(b" FETCH (")
}

#[cfg(test)]
#[path = "guard/tests.rs"]
mod tests;
