//! What a person does with messages: retry, hold, release, delete.

use std::collections::HashSet;

use rusqlite::{OptionalExtension, params};

use crate::error::Result;
use crate::rows::{cut, drop_message, forget_message, printable};
use crate::tables::Tables;
use crate::{Direction, MessageId, Spool};

/// Messages changed in one job of the writer. A person may choose a hundred thousand at once; mail that comes meanwhile waits
/// for one job at most, some milliseconds.
const STEP: usize = 250;

/// A person's reason is a line.
const REASON: usize = 500;

impl Spool {
    /// Makes held or waiting deliveries due now (attempts and the retry clock start anew for held
    /// ones); None: all. A held message that has no body here is forgotten instead, so that the mailbox gives it again. Claimed
    /// ones are left alone. Returns how many messages.
    pub async fn retry(&self, messages: Option<Vec<MessageId>>) -> Result<u64> {
        let messages = match messages {
            Some(messages) => messages,
            None => self.not_due()?,
        };
        self.each(messages, retry).await
    }

    /// Holds what is due or waits, with the person's reason. What is claimed right now may be in the peer's hands: it is held once
    /// its present attempt has failed. Returns how many messages.
    pub async fn hold(&self, messages: Vec<MessageId>, reason: &str) -> Result<u64> {
        let reason = printable(cut(reason.trim(), REASON));
        let why = match reason.as_str() {
            "" => "held by a person".to_owned(),
            reason => format!("held by a person: {reason}"),
        };
        self.each(messages, move |t, message| hold(t, message, &why))
            .await
    }

    /// Holds everything that is not delivered yet, with a reason: for a spool that was restored, whose messages may have been
    /// delivered since it was copied. Returns how many messages.
    pub async fn hold_all(&self, why: &str) -> Result<u64> {
        let open: Vec<MessageId> = self.inner.reads.with(|conn| {
            let mut statement = conn.prepare(
                "SELECT DISTINCT message FROM delivery WHERE state IN ('due', 'waiting', 'claimed') ORDER BY message",
            )?;
            let rows = statement.query_map((), |row| row.get(0).map(MessageId))?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })?;
        let why = why.to_owned();
        self.each(open, move |t, message| hold(t, message, &why))
            .await
    }

    /// Gives held deliveries back to the schedule as they were: due now, with the attempts they had, and a retry clock that stood
    /// still meanwhile. One that the schedule had given up gets one more attempt so; [`Spool::retry`] starts it anew. A wish
    /// to hold is taken back. A message that has no body here is fetched again. Returns how many messages.
    pub async fn release_held(&self, messages: Vec<MessageId>) -> Result<u64> {
        self.each(messages, release_held).await
    }

    /// Drops messages for good (inbound: the key stays, the mailbox is not touched). One that is claimed
    /// right now is being delivered, and is left alone. Returns how many.
    pub async fn delete(&self, messages: Vec<MessageId>) -> Result<u64> {
        self.each(messages, |t, message| {
            Ok(!being_delivered(t, message)? && remove(t, message)?)
        })
        .await
    }

    /// The accounts that messages belong to, each once.
    pub fn accounts_of(&self, messages: &[MessageId]) -> Result<Vec<(Direction, String)>> {
        self.inner.reads.with(|conn| {
            let mut one =
                conn.prepare_cached("SELECT direction, account FROM message WHERE id = ?")?;
            let mut accounts = Vec::new();
            for message in messages {
                let account = one
                    .query_row([message.0], |row| {
                        let direction = Direction::from_word(row.get_ref(0)?.as_str()?);
                        Ok((direction, row.get(1)?))
                    })
                    .optional()?;
                accounts.extend(account.filter(|account| !accounts.contains(account)));
            }
            Ok(accounts)
        })
    }

    /// Messages with something that `retry` could make due, oldest first.
    pub fn not_due(&self) -> Result<Vec<MessageId>> {
        let now = self.inner.clock.seconds();
        self.inner.reads.with(|conn| {
            let mut statement = conn.prepare_cached(
                "SELECT DISTINCT message FROM delivery
                 WHERE state = 'held' OR (state IN ('due', 'waiting') AND due_at > ?) ORDER BY message",
            )?;
            let rows = statement.query_map([now], |row| row.get(0).map(MessageId))?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// Does something to each message, in steps; counts those it was done to.
    async fn each(
        &self,
        messages: Vec<MessageId>,
        change: impl Fn(&Tables<'_>, MessageId) -> Result<bool> + Clone + Send + 'static,
    ) -> Result<u64> {
        let messages = unique(messages);
        let mut count = 0;
        for step in messages.chunks(STEP) {
            let (step, change) = (step.to_vec(), change.clone());
            let job = self.inner.writer.call(move |t| {
                let mut changed = 0;
                for message in step {
                    changed += u64::from(change(t, message)?);
                }
                Ok(changed)
            });
            count += job.await?;
        }
        Ok(count)
    }
}

fn unique(messages: Vec<MessageId>) -> Vec<MessageId> {
    let mut seen = HashSet::new();
    messages.into_iter().filter(|m| seen.insert(*m)).collect()
}

/// Tells the message's account of a change; true: it is held without a body here, and its mailbox may give it again.
fn begin(t: &Tables<'_>, message: MessageId) -> Result<Option<bool>> {
    let found: Option<(String, String, bool)> = t
        .conn
        .prepare_cached(
            "SELECT direction, account, direction = 'in' AND place = 'none' AND NOT aside FROM message WHERE id = ?",
        )?
        .query_row([message.0], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
        .optional()?;
    let Some((direction, account, without_body)) = found else {
        return Ok(None);
    };
    t.touch(Direction::from_word(&direction), &account);
    Ok(Some(without_body))
}

fn retry(t: &Tables<'_>, message: MessageId) -> Result<bool> {
    match begin(t, message)? {
        None => return Ok(false),
        Some(true) => {
            forget_message(t, message)?;
            return Ok(true);
        }
        Some(false) => {}
    }
    let held = t.execute(
        "UPDATE delivery SET state = 'due', due_at = ?2, since = ?2, attempts = 0, refusals = 0,
           doubts = 0, blocked_for = 0, blocked_since = NULL, held_at = NULL, report = NULL, delay_told = 0
         WHERE message = ?1 AND state = 'held' AND report IS NOT 'relayed'",
        params![message.0, t.now],
    )?;
    let waiting = t.execute(
        "UPDATE delivery SET state = 'due', due_at = ?2
         WHERE message = ?1 AND state IN ('due', 'waiting') AND due_at > ?2",
        params![message.0, t.now],
    )?;
    Ok(held + waiting > 0)
}

fn hold(t: &Tables<'_>, message: MessageId, why: &str) -> Result<bool> {
    let waiting = t.execute(
        "UPDATE delivery SET state = 'held', due_at = NULL, held_at = ?2,
           why = ?3 || iif(why = '', '', '; before that: ' || why)
         WHERE message = ?1 AND state IN ('due', 'waiting')",
        params![message.0, t.now, why],
    )?;
    let claimed = t.execute(
        "UPDATE delivery SET hold_why = ?2 WHERE message = ?1 AND state = 'claimed'",
        params![message.0, why],
    )?;
    Ok(waiting + claimed > 0)
}

fn release_held(t: &Tables<'_>, message: MessageId) -> Result<bool> {
    match begin(t, message)? {
        None => return Ok(false),
        Some(true) => {
            forget_message(t, message)?;
            return Ok(true);
        }
        Some(false) => {}
    }
    let held = t.execute(
        "UPDATE delivery SET state = 'due', due_at = ?2, since = min(since + max(?2 - held_at, 0), ?2), held_at = NULL, report = NULL,
           blocked_for = blocked_for + max(coalesce(held_at - blocked_since, 0), 0), blocked_since = NULL
         WHERE message = ?1 AND state = 'held' AND report IS NOT 'relayed'",
        params![message.0, t.now],
    )?;
    let wished = t.execute(
        "UPDATE delivery SET hold_why = NULL WHERE message = ? AND hold_why IS NOT NULL",
        [message.0],
    )?;
    Ok(held + wished > 0)
}

/// What a claimant left behind and a person wants held: its lease has ended.
pub(crate) fn hold_left(t: &Tables<'_>, direction: Direction, account: &str) -> Result<()> {
    t.execute(
        "UPDATE delivery SET state = 'held', due_at = NULL, held_at = ?3, why = hold_why, hold_why = NULL
         WHERE direction = ?1 AND account = ?2 AND hold_why IS NOT NULL AND state = 'claimed' AND due_at <= ?3",
        params![direction.as_str(), account, t.now],
    )?;
    Ok(())
}

/// An ended lease is nobody's any more.
fn being_delivered(t: &Tables<'_>, message: MessageId) -> Result<bool> {
    Ok(t.conn
        .prepare_cached(
            "SELECT 1 FROM delivery WHERE message = ? AND state = 'claimed' AND due_at > ?",
        )?
        .exists(params![message.0, t.now])?)
}

fn remove(t: &Tables<'_>, message: MessageId) -> Result<bool> {
    begin(t, message)?;
    drop_message(t, message)
}
