//! CRLF framing with caps; bodies stream through a fixed buffer and never pile up.

#[cfg(test)]
mod tests;

use std::future::Future;
use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};

/// What one read asks for, and the size the buffer goes back to; the largest TLS record (RFC 8446 section 5.1).
const READ_SIZE: usize = 16 * 1024;

/// A buffer that grew beyond this for one long line is given back when it is empty.
const KEEP_SIZE: usize = 4 * READ_SIZE;

/// A buffered connection that reads lines and raw bytes. Generic over the stream, so unit tests feed bytes.
///
/// A read that is dropped half-way loses nothing: what has arrived stays in the buffer for the next one. A write that is dropped
/// half-way may have been sent in part; the connection is then good for nothing but closing.
pub struct Lines<S> {
    stream: S,
    /// Received bytes; those before `start` are used up.
    buf: Vec<u8>,
    start: usize,
    timeout: Duration,
}

/// A line without its line end, and which line end it had. A CR that is not part of the line end stays in `bytes`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The content.
    pub bytes: Vec<u8>,
    /// Whether it ended with CRLF; otherwise with a bare LF.
    pub crlf: bool,
}

/// Why a line could not be had.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// The peer sent more without a line end than the caller allows.
    #[error("a line longer than {cap} bytes")]
    TooLong {
        /// The caller's limit.
        cap: usize,
    },
    /// The peer closed the connection, between two lines or inside one.
    #[error("the connection was closed")]
    Closed,
    /// The peer was silent for too long, or took nothing.
    #[error("nothing heard for {} s", after.as_secs())]
    Timeout {
        /// The limit that passed.
        after: Duration,
    },
    /// Bytes had arrived in plain text that would have been read under TLS.
    #[error("{count} bytes were sent before TLS began")]
    Injected {
        /// How many.
        count: usize,
    },
    /// The connection broke.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl<S> Lines<S> {
    /// `timeout` bounds each wait for a read or a write to make progress, and the whole of one line.
    pub fn new(stream: S, timeout: Duration) -> Self {
        Self {
            stream,
            buf: Vec::new(),
            start: 0,
            timeout,
        }
    }

    /// Another bound from now on: protocols wait longer for some answers than for others.
    pub fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = timeout;
    }

    /// Bytes received and not yet used: must be empty before STARTTLS; tells whether a pipelined command waits.
    pub fn buffered(&self) -> &[u8] {
        &self.buf[self.start..]
    }

    /// Marks `n` bytes of the chunk as used.
    pub fn consume(&mut self, n: usize) {
        debug_assert!(
            n <= self.buffered().len(),
            "consume is for what is buffered"
        );
        self.start = (self.start + n).min(self.buf.len());
        if self.start == self.buf.len() {
            self.start = 0;
            self.buf.clear();
            if self.buf.capacity() > KEEP_SIZE {
                self.buf = Vec::new();
            }
        }
    }

    /// Gives the stream back for STARTTLS; bytes already buffered are an injection attempt and an error.
    pub fn into_stream(self) -> Result<S, LineError> {
        match self.buffered().len() {
            0 => Ok(self.stream),
            count => Err(LineError::Injected { count }),
        }
    }

    /// The stream, and what was received and not used, for another reader of the same protocol.
    pub fn into_parts(self) -> (S, Vec<u8>) {
        let rest = self.buffered().to_vec();
        (self.stream, rest)
    }

    /// The stream under the lines, to ask it about itself.
    pub fn stream(&self) -> &S {
        &self.stream
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.timeout
    }

    async fn by<T>(
        deadline: Instant,
        after: Duration,
        progress: impl Future<Output = io::Result<T>>,
    ) -> Result<T, LineError> {
        match timeout_at(deadline, progress).await {
            Ok(done) => Ok(done?),
            Err(_) => Err(LineError::Timeout { after }),
        }
    }
}

impl<S: AsyncRead + Unpin> Lines<S> {
    /// Next line, ended by LF; `cap` counts bytes without the line end. A longer one is TooLong, and the connection is unusable
    /// until [`Lines::skip_line`] has read past it. The whole line must arrive within the timeout, so a peer cannot drip.
    pub async fn line(&mut self, cap: usize) -> Result<Line, LineError> {
        let deadline = self.deadline();
        let mut searched = 0;
        loop {
            let held = self.buffered();
            if let Some(found) = memchr::memchr(b'\n', &held[searched..]) {
                let end = searched + found;
                let crlf = end > 0 && held[end - 1] == b'\r';
                let content = &held[..end - usize::from(crlf)];
                if content.len() > cap {
                    return Err(LineError::TooLong { cap });
                }
                let bytes = content.to_vec();
                self.consume(end + 1);
                return Ok(Line { bytes, crlf });
            }
            searched = held.len();
            // One byte more than the cap may be the CR of the line end.
            let pending_cr = usize::from(held.last() == Some(&b'\r'));
            if searched - pending_cr > cap {
                return Err(LineError::TooLong { cap });
            }
            if self.fill(deadline).await? == 0 {
                return Err(LineError::Closed);
            }
        }
    }

    /// Reads past the rest of an over-long line, up to `cap` bytes more.
    pub async fn skip_line(&mut self, cap: usize) -> Result<(), LineError> {
        let deadline = self.deadline();
        let mut skipped = 0;
        loop {
            let held = self.buffered();
            if let Some(end) = memchr::memchr(b'\n', held) {
                self.consume(end + 1);
                return Ok(());
            }
            let count = held.len();
            skipped += count;
            self.consume(count);
            if skipped > cap {
                return Err(LineError::TooLong { cap });
            }
            if self.fill(deadline).await? == 0 {
                return Err(LineError::Closed);
            }
        }
    }

    /// What is buffered now, reading once if nothing is. Empty means end of file.
    pub async fn chunk(&mut self) -> Result<&[u8], LineError> {
        if self.buffered().is_empty() {
            self.fill(self.deadline()).await?;
        }
        Ok(self.buffered())
    }

    /// Exactly `n` bytes, all of them held at once: for short literals, with a limit set by the caller. Each wait has the timeout.
    pub async fn take(&mut self, n: usize) -> Result<Vec<u8>, LineError> {
        while self.buffered().len() < n {
            if self.fill(self.deadline()).await? == 0 {
                return Err(LineError::Closed);
            }
        }
        let bytes = self.buffered()[..n].to_vec();
        self.consume(n);
        Ok(bytes)
    }

    /// Reads once behind what is buffered; 0 is the end of the file.
    async fn fill(&mut self, deadline: Instant) -> Result<usize, LineError> {
        if self.buf.len() == self.buf.capacity() {
            self.buf.drain(..self.start);
            self.start = 0;
            if self.buf.capacity() - self.buf.len() < READ_SIZE / 2 {
                self.buf.reserve(READ_SIZE);
            }
        }
        match Self::by(deadline, self.timeout, self.stream.read_buf(&mut self.buf)).await {
            // Many servers drop the connection without TLS's close_notify. The protocols above know from their own framing
            // whether a message is whole, so it is an end like any other.
            Err(LineError::Io(end)) if end.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
            read => read,
        }
    }
}

impl<S: AsyncWrite + Unpin> Lines<S> {
    /// Writes and flushes, in one write where it can.
    pub async fn send(&mut self, bytes: &[u8]) -> Result<(), LineError> {
        self.put(bytes).await?;
        self.flush().await
    }

    /// Writes without a flush (for streaming bodies).
    pub async fn put(&mut self, mut bytes: &[u8]) -> Result<(), LineError> {
        while !bytes.is_empty() {
            let deadline = self.deadline();
            let written = Self::by(deadline, self.timeout, self.stream.write(bytes)).await?;
            if written == 0 {
                return Err(LineError::Closed);
            }
            bytes = &bytes[written..];
        }
        Ok(())
    }

    /// Hands everything written to the peer.
    pub async fn flush(&mut self) -> Result<(), LineError> {
        Self::by(self.deadline(), self.timeout, self.stream.flush()).await
    }

    /// Ends our side: flushes, and tells the peer that nothing more comes (under TLS with close_notify).
    pub async fn close(&mut self) -> Result<(), LineError> {
        Self::by(self.deadline(), self.timeout, self.stream.shutdown()).await
    }
}
