//! The parsers of strangers' bytes as functions of bytes alone: what the fuzz targets in `tests/fuzz` call, and the plain test run on every input of
//! their corpora.
//!
//! A function returns if all is well and panics if not. Not to panic is the least: where bytes arrive in packets the packets must
//! make no difference, and where a simpler way to the same result exists it must be the same.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, ReadBuf};
use tokio::runtime::{Builder, Runtime};

use crate::lines::{LineError, Lines};
use crate::sasl;
use crate::smtp::{self, Capabilities, Reply, ReplyError, Stuffer};

/// A target, by the name of its corpus.
pub type Target = (&'static str, fn(&[u8]));

/// Every target of this crate.
pub const TARGETS: [Target; 4] = [
    ("lines", lines),
    ("sasl_challenge", sasl_challenge),
    ("smtp_reply", smtp_reply),
    ("stuffing", stuffing),
];

/// A peer's bytes, at most `size` of them a read, and then the end.
#[derive(Debug)]
struct Packets<'a> {
    bytes: &'a [u8],
    size: usize,
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

thread_local! {
    /// Deadlines want a clock, though nothing here ever waits.
    static RUNTIME: Runtime = Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime without threads and sockets asks the system for nothing");
}

fn run<T>(something: impl Future<Output = T>) -> T {
    RUNTIME.with(|runtime| runtime.block_on(something))
}

fn over(bytes: &[u8], size: usize) -> Lines<Packets<'_>> {
    Lines::new(Packets { bytes, size }, Duration::from_secs(60))
}

/// Lines and their cap, against a split at LF. The first byte is the cap.
pub fn lines(bytes: &[u8]) {
    let Some((cap, bytes)) = bytes.split_first() else {
        return;
    };
    let cap = usize::from(*cap);
    let mut expected = Vec::new();
    let mut rest = bytes;
    while let Some(end) = rest.iter().position(|b| *b == b'\n') {
        let line = &rest[..end];
        let content = line.strip_suffix(b"\r").unwrap_or(line);
        expected.push((content.len() <= cap).then_some(content));
        rest = &rest[end + 1..];
    }
    for size in [1, 7, usize::MAX] {
        assert_eq!(
            run(framed(&mut over(bytes, size), cap)),
            expected
                .iter()
                .map(|l| l.map(<[u8]>::to_vec))
                .collect::<Vec<_>>(),
            "{size} bytes a packet"
        );
    }
}

/// Each line, None for one beyond the cap. What is left without a line end is no line.
async fn framed(lines: &mut Lines<Packets<'_>>, cap: usize) -> Vec<Option<Vec<u8>>> {
    let mut found = Vec::new();
    loop {
        match lines.line(cap).await {
            Ok(line) => found.push(Some(line.bytes)),
            Err(LineError::TooLong { .. }) => match lines.skip_line(usize::MAX).await {
                Ok(()) => found.push(None),
                Err(LineError::Closed) => return found,
                Err(other) => panic!("{other}"),
            },
            Err(LineError::Closed) => return found,
            Err(other) => panic!("{other}"),
        }
    }
}

/// Replies of an SMTP or LMTP server, one after the other, and what is read out of them.
pub fn smtp_reply(bytes: &[u8]) {
    let whole = run(replies(bytes, usize::MAX));
    for size in [1, 7] {
        assert_eq!(run(replies(bytes, size)), whole, "{size} bytes a packet");
    }
    for reply in &whole.0 {
        assert!((200..600).contains(&reply.code), "{reply:?}");
        assert!((1..=100).contains(&reply.lines.len()), "{reply:?}");
        if let Some([class, ..]) = reply.enhanced {
            assert_eq!(class, reply.class(), "{reply:?}");
        }
        assert_is_shown_safely(&reply.to_string());
        let offered = Capabilities::of(reply);
        assert_ne!(
            offered.limit(),
            Some(0),
            "a limit of nothing would refuse all mail"
        );
        assert!(offered.auth.iter().all(|name| !name.contains(' ')));
        assert_is_shown_safely(&offered.in_words());
    }
}

/// All replies up to the first that is none, and why that is none.
async fn replies(bytes: &[u8], size: usize) -> (Vec<Reply>, String) {
    let mut lines = over(bytes, size);
    let mut found = Vec::new();
    loop {
        match smtp::read(&mut lines).await {
            Ok(reply) => found.push(reply),
            Err(why @ (ReplyError::Nonsense(_) | ReplyError::Line(LineError::Closed))) => {
                assert_is_shown_safely(&why.to_string());
                return (found, why.to_string());
            }
            Err(other) => panic!("{other}"),
        }
    }
}

/// The error challenge of a server that refuses a token.
pub fn sasl_challenge(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let challenge = sasl::error_challenge(&text);
    let fields = [&challenge.status, &challenge.schemes, &challenge.scope];
    for text in fields.into_iter().flatten().chain([&challenge.raw]) {
        assert!(text.len() <= 1024, "{} bytes are kept", text.len());
        assert_is_shown_safely(text);
    }
    assert_is_shown_safely(&challenge.to_string());
}

/// A message on its way out: the dots and line ends of whatever it holds.
pub fn stuffing(bytes: &[u8]) {
    let wire = stuffed(bytes, usize::MAX);
    for size in [1, 2, 7] {
        assert_eq!(stuffed(bytes, size), wire, "{size} bytes a piece");
    }
    assert_eq!(wire, stuffed_line_by_line(bytes));
    let end = memchr::memmem::find(&wire, b"\r\n.\r\n").map_or(0, |at| at + 2);
    assert_eq!(&wire[end..], b".\r\n", "the message ends before its end");
}

fn stuffed(bytes: &[u8], size: usize) -> Vec<u8> {
    let (mut stuffer, mut out) = (Stuffer::new(), Vec::new());
    for piece in bytes.chunks(size) {
        stuffer.stuff(piece, &mut out);
    }
    stuffer.finish(&mut out);
    out
}

/// The same without haste: every line end becomes CRLF, every dot at a line's start becomes two.
fn stuffed_line_by_line(bytes: &[u8]) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::new(), bytes);
    while !rest.is_empty() {
        let end = rest.iter().position(|b| matches!(b, b'\r' | b'\n'));
        let end = end.unwrap_or(rest.len());
        if rest[0] == b'.' {
            out.push(b'.');
        }
        out.extend_from_slice(&rest[..end]);
        out.extend_from_slice(b"\r\n");
        rest = &rest[end..];
        rest = [&b"\r\n"[..], b"\r", b"\n"]
            .iter()
            .find_map(|end| rest.strip_prefix(*end))
            .unwrap_or(rest);
    }
    out.extend_from_slice(b".\r\n");
    out
}

/// What is written into a log or onto a page steers no terminal.
fn assert_is_shown_safely(text: &str) {
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
