//! What a session does about held mail: it moves it out of the way where that is wanted, and leaves bodies that are over their time to
//! the mailbox, once it has seen that the mailbox still has them.

use std::collections::{BTreeSet, HashSet};

use spool::MessageId;
use tokio::time::Instant;

use super::{Context, REPEAT, Session};
use crate::error::FetchError;
use crate::imap::acknowledge::{BATCH, Deed, acknowledge};
use crate::imap::listing::list_set;
use crate::imap::names::uid_set;
use crate::session::keeping;

/// What a session knows about held mail.
pub(super) struct Held {
    /// Moves it, if that is wanted.
    deed: Option<Deed>,
    /// When that was last refused.
    refused_at: Option<Instant>,
}

impl Held {
    pub(super) fn new(deed: Option<Deed>) -> Self {
        Self {
            deed,
            refused_at: None,
        }
    }
}

impl Session {
    /// Moves a folder's held messages out of the way. The spool keeps its copies, so this too may be refused and repeated.
    pub(super) async fn move_aside(&mut self, at: usize) -> Result<(), FetchError> {
        let Some(deed) = self.held.deed.clone() else {
            return Ok(());
        };
        let refused_lately = self.held.refused_at.is_some_and(|t| t.elapsed() < REPEAT);
        if refused_lately || self.to_move_aside(at)?.is_empty() || !self.open(at).await? {
            return Ok(());
        }
        // Read after the SELECT: its UIDVALIDITY may be another one.
        for batch in self.to_move_aside(at)?.chunks(BATCH) {
            let Context { mailbox, parts, .. } = &self.context;
            let (folder, uidvalidity) = (&self.folders[at].name, self.folders[at].uidvalidity());
            let before = parts.spool.flagged(&mailbox.name, folder, uidvalidity)?;
            let mut flagged: BTreeSet<u32> = before.clone();
            let moved = acknowledge(
                &mut self.connection,
                &self.capabilities,
                &deed,
                batch.to_vec(),
                &mut flagged,
            )
            .await;
            let moved = match moved {
                Ok(moved) => moved,
                Err(e) => {
                    let refusal = e.refused()?;
                    tracing::warn!(
                        mailbox = mailbox.name,
                        folder,
                        count = batch.len(),
                        "held mail could not be moved out of the way: {refusal}"
                    );
                    self.held.refused_at = Some(Instant::now());
                    return Ok(());
                }
            };
            if flagged != before {
                parts
                    .spool
                    .set_flagged(&mailbox.name, folder, uidvalidity, flagged)
                    .await?;
            }
            tracing::info!(
                mailbox = mailbox.name,
                folder,
                count = moved.len(),
                "held mail was moved out of the way"
            );
            parts.spool.moved_aside(moved).await?;
        }
        Ok(())
    }

    fn to_move_aside(&self, at: usize) -> Result<Vec<(MessageId, u32)>, FetchError> {
        let folder = &self.folders[at];
        let spool = &self.context.parts.spool;
        Ok(spool.to_move_aside(
            &self.context.mailbox.name,
            &folder.name,
            folder.uidvalidity(),
        )?)
    }

    /// Gives up the bodies of held messages that are over their time, if the folder has the messages at this moment. The others
    /// are kept, however old: nobody else has them.
    pub(super) async fn leave_bodies(&mut self, at: usize) -> Result<(), FetchError> {
        if self.over_time(at)?.is_empty() || !self.open(at).await? {
            return Ok(());
        }
        for batch in self.over_time(at)?.chunks(BATCH) {
            let uids: Vec<u32> = batch.iter().map(|&(_, uid)| uid).collect();
            let listed = list_set(&mut self.connection, &uid_set(&uids), false).await?;
            let there: HashSet<u32> = listed
                .iter()
                .filter(|l| !l.deleted)
                .map(|l| l.uid)
                .collect();
            let left: Vec<MessageId> = batch
                .iter()
                .filter(|(_, uid)| there.contains(uid))
                .map(|&(message, _)| message)
                .collect();
            let Context { mailbox, parts, .. } = &self.context;
            if !left.is_empty() {
                tracing::info!(
                    mailbox = mailbox.name,
                    folder = self.folders[at].name,
                    count = left.len(),
                    "held for so long, or so much, that the mailbox alone keeps the bodies now"
                );
                parts.spool.give_up(left).await?;
            }
        }
        Ok(())
    }

    fn over_time(&self, at: usize) -> Result<Vec<(MessageId, u32)>, FetchError> {
        let Context { mailbox, parts, .. } = &self.context;
        let folder = &self.folders[at];
        Ok(parts.spool.over_time(
            &mailbox.name,
            &folder.name,
            folder.uidvalidity(),
            &keeping(mailbox),
        )?)
    }
}
