//! What a session finds to fetch: new messages, those put off, and what `start_from` leaves out.

use spool::Fingerprint;
use token_store::accounts::StartFrom;

use super::{Context, Look, Session};
use crate::error::FetchError;
use crate::imap::listing::{Listed, Selected, Window, list, list_set};
use crate::imap::names::uid_set;

impl Session {
    /// Messages whose body was empty or cut short: listed again, those that vanished are forgotten.
    pub(super) async fn look_again(&mut self, at: usize) -> Result<(), FetchError> {
        let again = self.folders[at].again();
        if again.is_empty() {
            return Ok(());
        }
        let found = list_set(&mut self.connection, &uid_set(&again), false).await?;
        let folder = &mut self.folders[at];
        for uid in again {
            if !found.iter().any(|l| l.uid == uid && !l.deleted) {
                folder.done(uid);
            }
        }
        for listed in found.into_iter().rev().filter(|l| !l.deleted) {
            if !folder.pending.iter().any(|p| p.uid == listed.uid) {
                folder.pending.push_front(listed);
            }
        }
        Ok(())
    }

    pub(super) async fn list_window(&mut self, at: usize) -> Result<(), FetchError> {
        let folder = &mut self.folders[at];
        let Some(selected) = folder.selected else {
            return Ok(());
        };
        let dates = folder.recognise;
        let (listed, more) =
            list(&mut self.connection, &mut folder.window, selected, dates).await?;
        folder.more = more;
        let mut new = self.unknown(at, listed)?;
        if dates {
            self.recognise(at, &mut new).await?;
        }
        self.folders[at].pending.extend(new);
        Ok(())
    }

    /// After a change of UIDVALIDITY: removes what the first start left out, so that it is left out again.
    async fn recognise(&self, at: usize, new: &mut Vec<Listed>) -> Result<(), FetchError> {
        let Context { mailbox, parts, .. } = &self.context;
        let folder = &self.folders[at];
        let prints = new.iter().map(fingerprint).collect();
        let known = parts
            .spool
            .recognise(&mailbox.name, &folder.name, folder.uidvalidity(), prints)
            .await?;
        new.retain(|listed| !known.contains(&listed.uid));
        if !known.is_empty() {
            tracing::info!(
                mailbox = mailbox.name,
                folder = folder.name,
                left_out = known.len(),
                "UIDVALIDITY has changed: mail from before the first start is known again and stays where it is"
            );
        }
        Ok(())
    }

    /// Of a listing what is neither in the spool, nor about to be expunged, nor put off until the next look.
    fn unknown(&self, at: usize, listed: Vec<Listed>) -> Result<Vec<Listed>, FetchError> {
        let folder = &self.folders[at];
        let uidvalidity = folder.uidvalidity();
        let uids: Vec<u32> = listed
            .iter()
            .filter(|l| !l.deleted && !folder.is_put_off(l.uid))
            .map(|l| l.uid)
            .collect();
        if uids.is_empty() {
            return Ok(Vec::new());
        }
        let spool = &self.context.parts.spool;
        let unknown =
            spool.unknown(&self.context.mailbox.name, &folder.name, uidvalidity, &uids)?;
        Ok(listed
            .into_iter()
            .filter(|l| unknown.binary_search(&l.uid).is_ok())
            .collect())
    }

    /// The first time a folder is seen, what `start_from` leaves out is marked as seen, in one commit.
    pub(super) async fn start_from(&mut self, at: usize) -> Result<(), FetchError> {
        let Context { mailbox, parts, .. } = &self.context;
        let from = match mailbox.start_from {
            StartFrom::All => return Ok(()),
            StartFrom::Now => i64::MAX,
            StartFrom::Date(from) => from,
        };
        let folder = &self.folders[at];
        let Some(selected) = folder.selected else {
            return Ok(());
        };
        if parts.spool.folder_known(&mailbox.name, &folder.name)? {
            return Ok(());
        }
        let (mut window, mut before, mut more) = (Window::new(), Vec::new(), true);
        let all = mailbox.start_from == StartFrom::Now;
        while more {
            let (listed, further) = list(&mut self.connection, &mut window, selected, true).await?;
            // A message without a readable date is fetched: rather one too many than one lost.
            before.extend(
                listed
                    .iter()
                    .filter(|l| all || l.arrived.is_some_and(|t| t < from))
                    .map(fingerprint),
            );
            more = further;
        }
        tracing::info!(
            mailbox = mailbox.name,
            folder = folder.name,
            left_out = before.len(),
            "first start: earlier mail stays where it is"
        );
        parts
            .spool
            .leave_out(&mailbox.name, &folder.name, selected.uidvalidity, before)
            .await?;
        Ok(())
    }

    /// After a SELECT: whether the folder went back to an earlier state, a restored snapshot for instance, and gives UIDs again that
    /// it gave before. Then they mean nothing any more. A server whose UIDNEXT is just wrong has messages beyond it.
    pub(super) async fn look_for_reuse(&mut self, at: usize) -> Result<(), FetchError> {
        let Context { mailbox, parts, .. } = &self.context;
        let folder = &mut self.folders[at];
        let Some(Selected {
            uidvalidity,
            uidnext: Some(next),
            ..
        }) = folder.selected
        else {
            return Ok(());
        };
        let highest = parts
            .spool
            .highest_uid(&mailbox.name, &folder.name, uidvalidity)?;
        if highest.is_none_or(|highest| highest < next) {
            return Ok(());
        }
        let last = match list_set(&mut self.connection, &format!("{next}:*"), false).await {
            Ok(last) => last,
            Err(e) => {
                // What can't be known is not assumed.
                e.refused()?;
                return Ok(());
            }
        };
        if last.iter().any(|listed| listed.uid >= next) {
            return Ok(());
        }
        tracing::warn!(
            mailbox = mailbox.name,
            folder = folder.name,
            uidvalidity,
            next,
            highest,
            "the folder went back to an earlier state: its messages are known by their content alone now"
        );
        parts
            .spool
            .uids_reused(&mailbox.name, &folder.name, uidvalidity)
            .await?;
        folder.went_back();
        self.context.memory.imap.looks.forget();
        Ok(())
    }

    /// After a SELECT at which nothing is listed yet: what was looked through in an earlier session, and has not changed since, is passed
    /// over.
    pub(super) fn compare(&mut self, at: usize, selected: Selected) -> Result<(), FetchError> {
        let Context {
            mailbox,
            parts,
            memory,
            ..
        } = &self.context;
        let folder = &mut self.folders[at];
        if !folder.window.is_fresh() {
            return Ok(());
        }
        let forgotten = parts.spool.forgotten(&mailbox.name, &folder.name)?;
        let now = Look::of(selected, self.connection.exists, forgotten);
        let same = |now: &Look| memory.imap.looks.is_same(&folder.name, now);
        if !folder.recognise && now.as_ref().is_some_and(same) {
            folder.window.pass_over(selected.uidnext.unwrap_or(1));
            folder.checked_stale = true;
            return Ok(());
        }
        folder.look = now;
        Ok(())
    }

    /// Remembers a folder that was listed from its first UID to its end, with nothing left owed.
    pub(super) fn remember_look(&mut self, at: usize) {
        let folder = &mut self.folders[at];
        if folder.is_settled()
            && let Some(look) = folder.look.take()
        {
            self.context.memory.imap.looks.keep(&folder.name, look);
        }
    }

    /// After a whole listing: delivered messages of an older UIDVALIDITY that were not found again have left the mailbox.
    pub(super) async fn forget_stale(&mut self, at: usize) -> Result<(), FetchError> {
        let folder = &mut self.folders[at];
        let Some(selected) = folder.selected else {
            return Ok(());
        };
        if !folder.checked_stale
            && !folder.more
            && folder.pending.is_empty()
            && folder.again().is_empty()
        {
            folder.checked_stale = true;
            let Context { mailbox, parts, .. } = &self.context;
            parts
                .spool
                .drop_stale(&mailbox.name, &folder.name, selected.uidvalidity)
                .await?;
        }
        Ok(())
    }
}

fn fingerprint(listed: &Listed) -> Fingerprint {
    Fingerprint {
        uid: listed.uid,
        size: listed.size,
        arrived: listed.arrived,
    }
}
