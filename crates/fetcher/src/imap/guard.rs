//! Looks at every byte of a server before the IMAP parser does, and stops or mends what would hurt the parser.
//!
//! imap-proto recurses without limit in BODYSTRUCTURE (the process would abort), reserves whatever a literal announces (up to
//! 512 MiB), is quadratic in the length of a line, and panics on `INTERNALDATE NIL` and on a non-ASCII byte right after a response
//! code. Postern asks only for flat FETCH items, so the guard admits only those, token by token exactly as the parser reads them;
//! a guard that merely counted parentheses could be led to take for a literal what the parser takes for something to recurse into.
//!
//! A line is held back until its end has come. Of a line cut by a packet the parser guesses how much is missing, and async-imap waits
//! for so much: for ever, where `I` became `ID` and not `IMAP4rev1` and the server has nothing more to say.

mod scan;

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use self::scan::Scan;
pub(crate) use self::scan::{MENDED_CAPABILITY, SMALL_LITERAL};

/// What the guard stopped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Trap {
    #[error("a response line longer than {} bytes", scan::LINE_CAP)]
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
    /// Bytes that were scanned and not yet handed on; of those before `ready` the line's end has come.
    held: Vec<u8>,
    ready: usize,
    /// What stopped the scan; told when all before it was handed on.
    trap: Option<Trap>,
}

/// What one read asks for behind the beginning of a line.
const READ: usize = 4096;

impl<S> Guard<S> {
    pub(crate) fn new(inner: S) -> Self {
        Self {
            inner,
            scan: Scan::new(),
            held: Vec::new(),
            ready: 0,
            trap: None,
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
        loop {
            if this.ready > 0 {
                this.hand_on(buf);
                return Poll::Ready(Ok(()));
            }
            if let Some(trap) = &this.trap {
                let stopped = io::Error::new(io::ErrorKind::InvalidData, trap.clone());
                return Poll::Ready(Err(stopped));
            }
            if !this.held.is_empty() {
                ready!(this.poll_more(cx))?;
                continue;
            }
            // Straight into the caller's buffer: most packets are the inside of a literal.
            let start = buf.filled().len();
            ready!(Pin::new(&mut this.inner).poll_read(cx, buf))?;
            let came = &mut buf.filled_mut()[start..];
            if came.is_empty() {
                return Poll::Ready(Ok(()));
            }
            this.trap = this.scan.feed(came).err();
            let shown = this.scan.shown;
            this.held.extend_from_slice(&came[shown..]);
            buf.set_filled(start + shown);
            if shown > 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S: AsyncRead + Unpin> Guard<S> {
    /// Reads behind a line whose beginning is held. At the end of the connection what is held is all there is of it.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut packet = [0; READ];
        let mut packet = ReadBuf::new(&mut packet);
        ready!(Pin::new(&mut self.inner).poll_read(cx, &mut packet))?;
        let came = packet.filled_mut();
        if came.is_empty() {
            self.ready = self.held.len();
            return Poll::Ready(Ok(()));
        }
        self.trap = self.scan.feed(came).err();
        if self.scan.shown > 0 {
            self.ready = self.held.len() + self.scan.shown;
        }
        self.held.extend_from_slice(came);
        Poll::Ready(Ok(()))
    }

    fn hand_on(&mut self, buf: &mut ReadBuf<'_>) {
        let count = self.ready.min(buf.remaining());
        buf.put_slice(&self.held[..count]);
        self.held.drain(..count);
        self.ready -= count;
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

#[cfg(test)]
mod tests;
