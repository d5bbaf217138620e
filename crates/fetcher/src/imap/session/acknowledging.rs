//! When a session acknowledges: in between, when it waits, and once more at shutdown.

use tokio::time::Instant;

use super::{Context, REPEAT, Session};
use crate::error::FetchError;
use crate::imap::acknowledge::{BATCH, acknowledge};

impl Session {
    /// Acknowledges what is delivered from the selected folder, if it is at least so many.
    pub(super) async fn acknowledge(
        &mut self,
        at: usize,
        at_least: usize,
    ) -> Result<(), FetchError> {
        if self.refused_at.is_some_and(|t| t.elapsed() < REPEAT) {
            return Ok(());
        }
        if self.due(at)?.len() < at_least {
            return Ok(());
        }
        if !self.open(at).await? {
            return Ok(());
        }
        // Read after the SELECT: its UIDVALIDITY may be another one.
        let due = self.due(at)?;
        let Context { mailbox, parts, .. } = &self.context;
        let folder = &self.folders[at].name;
        let uidvalidity = self.folders[at].uidvalidity();
        for batch in due.chunks(BATCH) {
            let count = batch.len();
            let before = parts.spool.flagged(&mailbox.name, folder, uidvalidity)?;
            let mut flagged = before.clone();
            let told = acknowledge(
                &mut self.connection,
                &self.capabilities,
                &self.deed,
                batch.to_vec(),
                &mut flagged,
            )
            .await;
            match told {
                Ok(done) => {
                    if flagged != before {
                        parts
                            .spool
                            .set_flagged(&mailbox.name, folder, uidvalidity, flagged)
                            .await?;
                    }
                    parts.spool.acknowledged(done).await?;
                    tracing::debug!(mailbox = mailbox.name, folder, count, "acknowledged");
                    self.refused_at = None;
                    self.context.show.trouble(None);
                }
                Err(e) => {
                    // Only this is repeated; fetching and delivering go on.
                    let refusal = e.refused()?;
                    tracing::warn!(
                        mailbox = mailbox.name,
                        folder,
                        count,
                        "delivered mail could not be acknowledged: {refusal}"
                    );
                    self.refused_at = Some(Instant::now());
                    self.context.show.trouble(Some(format!(
                        "delivered mail in {folder} can't be acknowledged: {refusal}"
                    )));
                    break;
                }
            }
        }
        Ok(())
    }

    fn due(&self, at: usize) -> Result<Vec<(spool::MessageId, u32)>, FetchError> {
        let folder = &self.folders[at];
        let Some(selected) = folder.selected else {
            return Ok(Vec::new());
        };
        Ok(self.context.parts.spool.to_acknowledge(
            &self.context.mailbox.name,
            &folder.name,
            selected.uidvalidity,
        )?)
    }

    pub(super) async fn acknowledge_all(&mut self) -> Result<(), FetchError> {
        // The selected folder first: the others cost a SELECT each.
        let current = self.current.unwrap_or(0);
        for at in
            std::iter::once(current).chain((0..self.folders.len()).filter(|&at| at != current))
        {
            self.acknowledge(at, 1).await?;
            self.move_aside(at).await?;
        }
        Ok(())
    }

    /// At shutdown: the deliveries that run are let finish, and what they delivered is acknowledged.
    pub(super) async fn last_acknowledgements(&mut self) -> Result<(), FetchError> {
        self.context.stops.drained.cancelled().await;
        self.refused_at = None;
        self.acknowledge_all().await
    }
}
