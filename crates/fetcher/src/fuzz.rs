//! The parsers of strangers' bytes as functions of bytes alone: what the fuzz targets in `tests/fuzz` call, and the plain test run on every input of
//! their corpora.
//!
//! A function returns if all is well and panics if not. Not to panic is the least: where bytes arrive in packets the packets must
//! make no difference, and where a simpler way to the same result exists it must be the same.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use spool::{Own, OwnKind};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::runtime::{Builder, Runtime};

pub use crate::deliver::fuzz::delivery_answer;
use crate::deliver::fuzz::{may_stand_in_a_command, return_path};
use crate::headline::headline;
pub use crate::imap::fuzz::{folder_names, imap_guard, imap_session};
use crate::loops::{Limits, marks};
pub use crate::pop3::fuzz::{pop3_session, pop3_unstuff};

/// A target, by the name of its corpus.
pub type Target = (&'static str, fn(&[u8]));

/// Every target of this crate.
pub const TARGETS: [Target; 7] = [
    ("delivery_answer", delivery_answer),
    ("folder_names", folder_names),
    ("imap_guard", imap_guard),
    ("imap_session", imap_session),
    ("message_header", message_header),
    ("pop3_session", pop3_session),
    ("pop3_unstuff", pop3_unstuff),
];

/// A peer's bytes, at most `size` of them a read, and then the end; what is written to it is dropped.
#[derive(Debug)]
pub(crate) struct Packets<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) size: usize,
}

impl AsyncRead for Packets<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let count = self.size.min(buf.remaining()).min(self.bytes.len());
        let (now, later) = self.bytes.split_at(count);
        buf.put_slice(now);
        self.bytes = later;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Packets<'_> {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
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

/// The header section of a message, by everything that reads it on the way in.
pub fn message_header(bytes: &[u8]) {
    let shown = headline(bytes);
    for field in [&shown.from, &shown.subject, &shown.message_id] {
        assert!(field.chars().count() <= 200, "{field}");
        assert_is_shown_safely(field);
    }
    let sender = return_path(bytes);
    if let Some(sender) = &sender {
        assert!(may_stand_in_a_command(sender), "{sender:?}");
        assert!(!sender.contains(['<', '>', ' ', '\r', '\n']), "{sender:?}");
    }
    let limits = Limits {
        max_received: 3,
        address: "support@example.com",
    };
    let look = |bytes| {
        marks(bytes, limits, |origin| {
            (origin == "ours").then(|| Own {
                kind: OwnKind::Notice,
                id: "1".into(),
            })
        })
    };
    let found = look(bytes);
    found
        .hold
        .iter()
        .for_each(|why| assert_is_shown_safely(why));
    // Nothing that stands in the text of a message is taken for a header field.
    if let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") {
        let section = &bytes[..end + 4];
        assert_eq!(headline(section), shown);
        assert_eq!(return_path(section), sender);
        assert_eq!(look(section), found);
    }
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
