//! Messages on their way into the spool while the next ones are fetched; the writer commits them together.

use std::collections::VecDeque;
use std::pin::Pin;

use futures_util::FutureExt as _;
use spool::{Headline, Incoming, Key, Marks, Spool, SpoolError, Taken};
use tokio::sync::Notify;

use crate::error::FetchError;

/// Messages on their way into the spool at once.
const TAKING: usize = 128;
/// Bytes on their way into the spool at once.
const TAKING_BYTES: u64 = 2 * 1024 * 1024;

type OnItsWay = Pin<Box<dyn Future<Output = Result<Taken, SpoolError>> + Send>>;

/// The messages of one session that are on their way into the spool.
pub(super) struct Taking<'a> {
    spool: &'a Spool,
    mailbox: &'a str,
    /// Told of every message taken in.
    taken: &'a Notify,
    under_way: VecDeque<(u64, u32, OnItsWay)>,
    bytes: u64,
    /// Messages through so far.
    pub(super) count: usize,
}

impl<'a> Taking<'a> {
    pub(super) fn new(spool: &'a Spool, mailbox: &'a str, taken: &'a Notify) -> Self {
        Self {
            spool,
            mailbox,
            taken,
            under_way: VecDeque::new(),
            bytes: 0,
            count: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.under_way.len()
    }

    /// Hands a complete message to the spool and goes on; messages are taken in the order of these calls.
    pub(super) async fn take(
        &mut self,
        uid: u32,
        headline: Headline,
        marks: Marks,
        body: spool::BodyWriter,
    ) -> Result<(), FetchError> {
        let bytes = body.len();
        // A POP3 server may delete what was retrieved on its own account (EXPIRE 0, RFC 2449 section 6.7; Gmail's and others' settings):
        // from here on the copy in the spool may be the only one.
        let body = body.finish(true).await?;
        tracing::debug!(
            mailbox = self.mailbox,
            uid,
            sha256 = crate::hex(&body.sha256),
            bytes,
            "fetched"
        );
        let key = Key::of_maildrop(self.mailbox, uid);
        let incoming = Incoming {
            key,
            headline,
            provider_id: None,
            marks,
            body,
        };
        // Waits for a place in the writer's queue, not for the commit: this is what keeps the order.
        let taking = self.spool.begin_take_in(incoming).await?;
        self.bytes += bytes;
        self.under_way.push_back((bytes, uid, Box::pin(taking)));
        self.drain(TAKING).await
    }

    /// Waits until at most `left` messages are on their way, and collects those that are through.
    pub(super) async fn drain(&mut self, left: usize) -> Result<(), FetchError> {
        while let Some((bytes, uid, mut taking)) = self.under_way.pop_front() {
            let full = self.under_way.len() >= left || self.bytes > TAKING_BYTES;
            let taken = if full {
                taking.await
            } else if let Some(taken) = taking.as_mut().now_or_never() {
                taken
            } else {
                self.under_way.push_front((bytes, uid, taking));
                return Ok(());
            };
            self.bytes -= bytes;
            self.took(uid, taken?);
        }
        Ok(())
    }

    fn took(&mut self, uid: u32, taken: Taken) {
        self.count += 1;
        if let Taken::New(message) = taken {
            tracing::debug!(
                mailbox = self.mailbox,
                uid,
                queue_id = message.0,
                "taken in"
            );
            self.taken.notify_one();
        }
    }
}
