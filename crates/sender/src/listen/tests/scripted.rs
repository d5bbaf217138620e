//! A session over a stream in memory: what each read gives is written down, and what was said is kept.
use super::*;
use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};
use tokio::io::ReadBuf;

/// What a client sends, read by read, and then the end of the file.
struct Scripted {
    reads: VecDeque<Vec<u8>>,
    said: Arc<Mutex<Vec<u8>>>,
}

impl AsyncRead for Scripted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Some(mut read) = self.reads.pop_front() else {
            return Poll::Ready(Ok(()));
        };
        let rest = read.split_off(read.len().min(buf.remaining()));
        buf.put_slice(&read);
        if !rest.is_empty() {
            self.reads.push_front(rest);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Scripted {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        said.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// What sessions without a listener share: anybody may send.
pub(super) fn shared(spool: &Spool, rules: Rules) -> Arc<Shared> {
    shared_by(spool, rules, Door::default(), None)
}

/// The same behind a door. Nobody is shown out: that is counted in other tests.
pub(super) fn shared_by(
    spool: &Spool,
    rules: Rules,
    door: Door,
    users: Option<Store>,
) -> Arc<Shared> {
    let limits = Limits {
        errors: u32::MAX,
        idle_commands: u32::MAX,
        ..Limits::default()
    };
    let (_, routes) = watch::channel(Arc::new(Routes::new(&relays()).expect("a table")));
    Arc::new(Shared {
        host: host_name(),
        rules,
        limits,
        guests: Guests::new(limits),
        door,
        users,
        routes,
        spool: spool.clone(),
        shutdown: CancellationToken::new(),
    })
}

/// All replies to a client that sends this, cut like this, without waiting for any.
pub(super) async fn replies(shared: &Arc<Shared>, reads: Vec<Vec<u8>>) -> Vec<String> {
    let said = Arc::new(Mutex::new(Vec::new()));
    let stream = Scripted {
        reads: reads.into(),
        said: Arc::clone(&said),
    };
    Session::new(
        stream,
        Client::new("local".into(), None),
        Arc::clone(shared),
    )
    .run()
    .await;
    let said = said.lock().unwrap_or_else(PoisonError::into_inner);
    let said = std::str::from_utf8(&said).expect("replies are text");
    assert!(said.is_empty() || said.ends_with("\r\n"), "{said}");
    let mut replies = Vec::new();
    let mut reply = String::new();
    for line in said.split_terminator("\r\n") {
        reply.push_str(line);
        match line.as_bytes().get(3) {
            Some(b' ') => replies.push(std::mem::take(&mut reply)),
            _ => reply.push('\n'),
        }
    }
    assert_eq!(reply, "", "the last reply is whole");
    replies
}

/// A stream cut at these places; an empty piece would be the end of the file.
pub(super) fn cut(stream: &[u8], places: impl IntoIterator<Item = usize>) -> Vec<Vec<u8>> {
    let mut pieces = Vec::new();
    let mut from = 0;
    for to in places.into_iter().chain([stream.len()]) {
        if to > from {
            pieces.push(stream[from..to].to_vec());
            from = to;
        }
    }
    pieces
}
