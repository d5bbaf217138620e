//! A stored message as a request's body: its length is announced, and one piece of it is in memory.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::stream::{BoxStream, StreamExt as _, try_unfold};
use hyper::body::{Body, Bytes, Frame, SizeHint};
use spool::{Pieces, Stored};

/// A body of so many bytes, not one more or less: hyper ends the connection when it is shorter.
pub(super) struct Message {
    pieces: BoxStream<'static, io::Result<Bytes>>,
    left: u64,
}

impl Message {
    pub(super) fn new(stored: Stored, size: u64) -> Self {
        let pieces = try_unfold(Pieces::of(stored), |mut pieces| async move {
            let piece = Bytes::copy_from_slice(pieces.next().await?);
            Ok((!piece.is_empty()).then_some((piece, pieces)))
        });
        Self {
            pieces: pieces.boxed(),
            left: size,
        }
    }
}

impl Body for Message {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let piece = match self.pieces.poll_next_unpin(context) {
            Poll::Ready(piece) => piece,
            Poll::Pending => return Poll::Pending,
        };
        let wrong = |what: &str| {
            Some(Err(io::Error::other(format!(
                "the stored message is {what} than it was"
            ))))
        };
        Poll::Ready(match piece {
            None if self.left == 0 => None,
            None => wrong("shorter"),
            Some(Err(e)) => Some(Err(e)),
            Some(Ok(piece)) => match self.left.checked_sub(piece.len() as u64) {
                Some(left) => {
                    self.left = left;
                    Some(Ok(Frame::data(piece)))
                }
                None => wrong("longer"),
            },
        })
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
