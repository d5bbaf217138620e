//! Small messages, many a command.

use super::came::Came;
use super::pieces::Partial;
use super::{Intake, PIECE};
use crate::error::{FetchError, Refusal};
use crate::headline::headline;
use crate::imap::listing::Listed;
use crate::imap::names::uid_set;

/// A whole message may be so much larger than its RFC822.SIZE said (Exchange estimates it).
const WHOLE_LITERAL: u64 = 2 * PIECE as u64;

impl Intake<'_> {
    /// Fetches small messages whole. A UID without an answer has vanished meanwhile and is skipped; one that the server refuses
    /// to give does not stop the others.
    pub(super) async fn whole_messages(
        &mut self,
        mut batch: Vec<Listed>,
    ) -> Result<(), FetchError> {
        self.connection.expect_literals_up_to(Some(WHOLE_LITERAL));
        let uids: Vec<u32> = batch.iter().map(|l| l.uid).collect();
        let line = format!(
            "UID FETCH {} ({} BODY.PEEK[])",
            uid_set(&uids),
            self.items()
        );
        let sent = self.ask(&uids, &line).await?;
        loop {
            let came = match self.next_body(&sent, None).await {
                Ok(Some(Some(came))) => came,
                Ok(Some(None)) => continue,
                Ok(None) => break,
                Err(e) => {
                    self.refused(batch, &e.refused()?);
                    return Ok(());
                }
            };
            if let Ok(at) = batch.binary_search_by_key(&came.uid, |l| l.uid) {
                let listed = batch.remove(at);
                self.source.memory.arrived(came.uid);
                self.whole_body(listed, &came).await?;
            }
        }
        for gone in batch {
            tracing::debug!(
                mailbox = self.mailbox.name,
                folder = self.folder.name,
                uid = gone.uid,
                "vanished before it was fetched"
            );
            self.folder.vanished(gone.uid);
        }
        Ok(())
    }

    /// What did not come before a refusal is asked for one by one; what is refused alone waits for the next look.
    fn refused(&mut self, left: Vec<Listed>, refusal: &Refusal) {
        if let [only] = left.as_slice() {
            self.put_off(only.uid, &refusal.to_string());
            return;
        }
        for listed in left.into_iter().rev() {
            self.folder.alone.insert(listed.uid);
            self.folder.pending.push_front(listed);
        }
    }

    async fn whole_body(&mut self, listed: Listed, came: &Came) -> Result<(), FetchError> {
        let bytes = came.bytes.as_slice();
        if bytes.is_empty() {
            self.came_short(listed.uid, "its body is empty");
            return Ok(());
        }
        if bytes.len() as u64 > self.mailbox.max_size {
            let headline = headline(bytes);
            return self.hold(listed.uid, bytes.len() as u64, headline).await;
        }
        let mut body = self.spool.body();
        body.write(bytes).await?;
        let partial = Partial {
            headline: headline(bytes),
            provider_id: came.provider_id,
            marks: self.marks(bytes),
            body,
            listed,
        };
        if partial.short() {
            self.doubtful.push(partial);
            return Ok(());
        }
        self.take(partial).await
    }
}
