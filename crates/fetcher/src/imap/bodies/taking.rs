//! Complete messages on their way into the spool, in order, while the next ones are fetched.

use futures_util::FutureExt as _;
use spool::{Incoming, Marks, Taken};

use super::Intake;
use super::pieces::Partial;
use crate::error::FetchError;

/// Messages on their way into the spool at once; the writer commits them together.
const TAKING: usize = 128;
/// Bytes on their way into the spool at once.
const TAKING_BYTES: u64 = 2 * 1024 * 1024;

impl Intake<'_> {
    /// Hands a complete message to the spool and goes on; messages are taken in the order of these calls.
    pub(super) async fn take(&mut self, partial: Partial) -> Result<(), FetchError> {
        let (uid, bytes) = (partial.listed.uid, partial.body.len());
        // The mailbox still holds the message, and a torn body is recognised: no wait for the disk, but for what may be held at once.
        let durable = partial.marks != Marks::default();
        let body = partial.body.finish(durable).await?;
        tracing::debug!(
            mailbox = self.mailbox.name,
            folder = self.folder.name,
            uid,
            sha256 = crate::hex(&body.sha256),
            bytes,
            x_gm_msgid = partial.provider_id,
            "fetched"
        );
        let incoming = Incoming {
            key: self.key(uid),
            headline: partial.headline,
            provider_id: partial.provider_id.map(|id| id.to_string()),
            marks: partial.marks,
            body,
        };
        // Waits for a place in the writer's queue, not for the commit: this is what keeps the order.
        let taking = self.spool.begin_take_in(incoming).await?;
        self.taking_bytes += bytes;
        self.taking.push_back((bytes, uid, Box::pin(taking)));
        self.drain(TAKING).await
    }

    /// Waits until at most `left` messages are on their way, and collects those that are through.
    pub(super) async fn drain(&mut self, left: usize) -> Result<(), FetchError> {
        while let Some((bytes, uid, mut taking)) = self.taking.pop_front() {
            let full = self.taking.len() >= left || self.taking_bytes > TAKING_BYTES;
            let taken = if full {
                taking.await
            } else if let Some(taken) = taking.as_mut().now_or_never() {
                taken
            } else {
                self.taking.push_front((bytes, uid, taking));
                return Ok(());
            };
            self.taking_bytes -= bytes;
            self.took(uid, taken?);
        }
        Ok(())
    }

    fn took(&mut self, uid: u32, taken: Taken) {
        self.folder.done(uid);
        self.count += 1;
        if let Taken::New(message) = taken {
            tracing::debug!(
                mailbox = self.mailbox.name,
                folder = self.folder.name,
                uid,
                queue_id = message.0,
                "taken in"
            );
            self.taken.notify_one();
        }
    }
}
