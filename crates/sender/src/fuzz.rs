//! The parsers of strangers' bytes as functions of bytes alone: what the fuzz targets in `tests/fuzz` call, and the plain test run on every input of
//! their corpora.
//!
//! A function returns if all is well and panics if not. Not to panic is the least: where bytes arrive in packets the packets must
//! make no difference, and where a simpler way to the same result exists it must be the same.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::runtime::{Builder, Runtime};

pub use crate::listen::fuzz::{smtp_command, smtp_data, submitted_header};
pub use crate::relay::fuzz::relay_session;

/// A target, by the name of its corpus.
pub type Target = (&'static str, fn(&[u8]));

/// Every target of this crate.
pub const TARGETS: [Target; 4] = [
    ("relay_session", relay_session),
    ("smtp_command", smtp_command),
    ("smtp_data", smtp_data),
    ("submitted_header", submitted_header),
];

/// A server that says nothing before it is asked: the lines of its answers, at most `size` bytes a read, one reply for each command.
/// After the last line, and when an answer is waited for that nobody asked for, the connection ends.
pub(crate) struct Server<'a> {
    bytes: &'a [u8],
    size: usize,
    /// Replies that were asked for and not yet given; the first is the greeting.
    owed: usize,
    /// Reads since it was last asked for something.
    idle: u8,
    /// The beginning of the line that is being said.
    line: Vec<u8>,
}

/// Commands, as they begin in the middle of a message's text and everywhere else.
const VERBS: [&[u8]; 8] = [
    b"AUTH", b"BDAT", b"DATA", b"EHLO", b"MAIL", b"QUIT", b"RCPT", b"RSET",
];

impl<'a> Server<'a> {
    pub(crate) fn new(bytes: &'a [u8], size: usize) -> Self {
        Self {
            bytes,
            size,
            owed: 1,
            idle: 0,
            line: Vec::new(),
        }
    }

    fn say(&mut self, most: usize) -> &'a [u8] {
        let line = memchr::memchr(b'\n', self.bytes).map_or(self.bytes.len(), |at| at + 1);
        let (now, later) = self.bytes.split_at(most.min(self.size).min(line));
        self.bytes = later;
        self.line.extend_from_slice(now);
        if now.ends_with(b"\n") {
            self.owed -= usize::from(self.line.get(3) != Some(&b'-'));
            self.line.clear();
        }
        now
    }
}

impl AsyncRead for Server<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.owed > 0 {
            let said = self.say(buf.remaining());
            buf.put_slice(said);
            return Poll::Ready(Ok(()));
        }
        self.idle += 1;
        if self.bytes.is_empty() || self.idle > 3 {
            return Poll::Ready(Ok(()));
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl AsyncWrite for Server<'_> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let lines = bytes.split(|b| *b == b'\n');
        let commands = lines.filter(|line| VERBS.iter().any(|verb| line.starts_with(verb)));
        // What begins with none is an answer to a challenge, or ends a text.
        self.owed += commands.count().max(1);
        self.idle = 0;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

thread_local! {
    /// Deadlines want a clock, though nothing here ever waits.
    static RUNTIME: Runtime = Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime without threads and sockets asks the system for nothing");
}

pub(crate) fn run<T>(something: impl Future<Output = T>) -> T {
    RUNTIME.with(|runtime| runtime.block_on(something))
}

/// What is written into a log or onto a page steers no terminal.
pub(crate) fn assert_is_shown_safely(text: &str) {
    assert!(!text.chars().any(char::is_control), "{text:?}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_input_of_the_corpora_is_read_without_fault() {
        for (name, target) in TARGETS {
            let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fuzz/corpus");
            let inputs = std::fs::read_dir(format!("{corpus}/{name}")).expect(name);
            let mut count = 0;
            for input in inputs {
                target(&std::fs::read(input.unwrap().path()).unwrap());
                count += 1;
            }
            assert!(count > 0, "{name} has no corpus");
        }
    }
}
