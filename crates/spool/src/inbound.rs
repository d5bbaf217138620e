//! From a mailbox: take in, claim, and what is left to acknowledge.

use std::time::Duration;

use rusqlite::{OptionalExtension, params};

use crate::body::Body;
use crate::claim::lease;
use crate::error::Result;
use crate::identity::{
    find_known, folder_id, is_elsewhere, is_known, listed, listed_whole, moved_by_hash,
    moved_by_headline,
};
use crate::own::{Marks, looping};
use crate::person::hold_left;
use crate::repeat::recipients;
use crate::rows::{NewMessage, drop_message, insert_message, printable, unsigned};
use crate::tables::Tables;
use crate::{DeliveryId, Direction, Headline, MessageId, Spool};

/// Where a message came from in a mailbox.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    /// The mailbox's name.
    pub mailbox: String,
    /// As the server names it, decoded.
    pub folder: String,
    /// Of the folder when it was selected.
    pub uidvalidity: u32,
    /// In that folder, under that uidvalidity.
    pub uid: u32,
}

/// A fetched message.
pub struct Incoming {
    /// Where it came from.
    pub key: Key,
    /// For lists.
    pub headline: Headline,
    /// The provider's own number of the message, where it has one (Gmail: X-GM-MSGID).
    pub provider_id: Option<String>,
    /// What its header section tells.
    pub marks: Marks,
    /// All of it.
    pub body: Body,
}

/// An inbound message that cannot be fetched (over size): held at once with its headers and no body,
/// so that it is shown and not tried on every poll.
pub struct Unfetchable {
    /// Where it is.
    pub key: Key,
    /// For lists.
    pub headline: Headline,
    /// Bytes, as the server says.
    pub size: u64,
    /// Why it cannot be fetched, and what to do.
    pub why: String,
}

/// What became of a message that was taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It is in the spool.
    New(MessageId),
    /// It had been taken in before; nothing was added.
    Known,
}

/// A claimed inbound delivery.
#[derive(Debug, Clone)]
pub struct InClaim {
    /// To settle.
    pub delivery: DeliveryId,
    /// Whose body to open.
    pub message: MessageId,
    /// Where it came from; None: it is of our own making.
    pub key: Option<Key>,
    /// This attempt's number, from 1.
    pub attempt: u32,
    /// Of the body.
    pub sha256: [u8; 32],
    /// Bytes.
    pub size: u64,
    /// It was begun before, so the ticket system may know it.
    pub repeated: bool,
    /// Recipients that have it already.
    pub done_for: Vec<String>,
}

impl Spool {
    /// Of these UIDs the ones with no key yet, in order.
    pub fn unknown(
        &self,
        mailbox: &str,
        folder: &str,
        uidvalidity: u32,
        uids: &[u32],
    ) -> Result<Vec<u32>> {
        self.inner.reads.with(|conn| {
            let Some(folder) = folder_id(conn, mailbox, folder)? else {
                return Ok(uids.to_vec());
            };
            let mut sorted = uids.to_vec();
            sorted.sort_unstable();
            let known = find_known(conn, folder, uidvalidity, &sorted)?;
            Ok(uids
                .iter()
                .copied()
                .filter(|uid| !known.contains(uid))
                .collect())
        })
    }

    /// Commits a fetched message and its delivery. A key that was taken in before is harmless. When the
    /// folder's UIDVALIDITY changed, a message with the same content hash under an older one is the same
    /// message: its key moves (each only once: two identical messages stay two), and it is `Known`. So is one that the
    /// provider shows in another folder of the mailbox too (a label).
    pub async fn take_in(&self, message: Incoming) -> Result<Taken> {
        self.begin_take_in(message).await?.await
    }

    /// As [`Spool::take_in`], in two steps. This one ends when the message has its place in the writer's queue: messages are taken in
    /// in the order in which it ended, which is the order they are delivered in. The future that it returns ends after the
    /// commit. (To poll several futures of [`Spool::take_in`] once each is no order: a poll may be put off by the runtime.)
    pub async fn begin_take_in(
        &self,
        message: Incoming,
    ) -> Result<impl Future<Output = Result<Taken>> + Send + use<>> {
        self.inner.writer.queue(move |t| take_in(t, message)).await
    }

    /// Holds a message that cannot be fetched.
    pub async fn hold_unfetched(&self, message: Unfetchable) -> Result<Taken> {
        self.inner
            .writer
            .call(move |t| {
                let Unfetchable {
                    key,
                    headline,
                    size,
                    why,
                } = message;
                let folder = listed(t, &key.mailbox, &key.folder)?;
                if is_known(t, folder, &key, None, None)?
                    || moved_by_headline(t, folder, &key, &headline, size)?
                {
                    return Ok(Taken::Known);
                }
                let id = insert_message(
                    t,
                    NewMessage {
                        direction: Direction::In,
                        account: &key.mailbox,
                        headline: &headline,
                        key: Some((folder, key.uidvalidity, key.uid)),
                        envelope: None,
                        size,
                        body: None,
                        own: None,
                    },
                )?;
                insert_delivery(t, id, &key.mailbox, Some(&why))?;
                Ok(Taken::New(id))
            })
            .await
    }

    /// Whether this folder was ever listed under any uidvalidity (start_from applies only to the first time).
    pub fn folder_known(&self, mailbox: &str, folder: &str) -> Result<bool> {
        self.inner
            .reads
            .with(|conn| Ok(folder_id(conn, mailbox, folder)?.is_some()))
    }

    /// How many of this folder's keys were taken back so far, because their messages are to be fetched again.
    pub fn forgotten(&self, mailbox: &str, folder: &str) -> Result<u64> {
        self.inner.reads.with(|conn| {
            let forgotten = conn
                .prepare_cached("SELECT forgotten FROM folder WHERE mailbox = ? AND name = ?")?
                .query_row([mailbox, folder], |row| unsigned(row, 0))
                .optional()?;
            Ok(forgotten.unwrap_or_default())
        })
    }

    /// Due inbound deliveries, oldest first. Each is the caller's for the time of the lease.
    pub async fn claim_in(
        &self,
        mailbox: &str,
        limit: usize,
        for_time: Duration,
    ) -> Result<Vec<InClaim>> {
        let mailbox = mailbox.to_owned();
        self.claim(move |t| {
            hold_left(t, Direction::In, &mailbox)?;
            let claims = due_in(t, &mailbox, limit)?;
            for claim in &claims {
                lease(t, claim.delivery, for_time)?;
            }
            let deliveries = claims.iter().map(|claim| claim.delivery).collect();
            Ok((claims, deliveries))
        })
        .await
    }

    /// Delivered and not yet acknowledged: (message, uid), oldest first.
    pub fn to_acknowledge(
        &self,
        mailbox: &str,
        folder: &str,
        uidvalidity: u32,
    ) -> Result<Vec<(MessageId, u32)>> {
        self.inner.reads.with(|conn| {
            let Some(folder) = folder_id(conn, mailbox, folder)? else {
                return Ok(Vec::new());
            };
            let mut statement = conn.prepare_cached(
                "SELECT m.id, m.uid FROM delivery d CROSS JOIN message m ON m.id = d.message
                 WHERE d.direction = 'in' AND d.account = ? AND d.state = 'delivered' AND d.due_at IS NULL
                   AND m.folder = ? AND m.uidvalidity = ? ORDER BY m.uid",
            )?;
            let rows = statement.query_map(params![mailbox, folder, uidvalidity], |row| {
                Ok((MessageId(row.get(0)?), row.get(1)?))
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// The mailbox was told: body and message go, the key stays. What is not delivered stays too.
    pub async fn acknowledged(&self, messages: Vec<MessageId>) -> Result<()> {
        self.inner
            .writer
            .call(move |t| {
                for message in &messages {
                    let delivered = t
                        .conn
                        .prepare_cached(
                            "SELECT 1 FROM delivery
                             WHERE message = ? AND direction = 'in' AND state = 'delivered'",
                        )?
                        .exists([message.0])?;
                    if delivered {
                        drop_message(t, *message)?;
                    }
                }
                Ok(())
            })
            .await
    }

    /// For a folder that was listed and taken in to its end under `uidvalidity`: delivered messages whose
    /// key is still under an older one are in the mailbox no more, so there is nothing to acknowledge. Returns how
    /// many were dropped.
    pub async fn drop_stale(&self, mailbox: &str, folder: &str, uidvalidity: u32) -> Result<u64> {
        let (mailbox, folder) = (mailbox.to_owned(), folder.to_owned());
        self.inner
            .writer
            .call(move |t| {
                let Some(folder) = folder_id(t.conn, &mailbox, &folder)? else {
                    return Ok(0);
                };
                listed_whole(t, folder, uidvalidity)?;
                let stale = {
                    let mut statement = t.conn.prepare_cached(
                        "SELECT m.id FROM delivery d CROSS JOIN message m ON m.id = d.message
                         WHERE d.direction = 'in' AND d.account = ? AND d.state = 'delivered'
                           AND d.due_at IS NULL AND m.folder = ? AND m.uidvalidity <> ?",
                    )?;
                    let rows = statement
                        .query_map(params![mailbox, folder, uidvalidity], |row| {
                            row.get(0).map(MessageId)
                        })?;
                    rows.collect::<rusqlite::Result<Vec<_>>>()?
                };
                for message in &stale {
                    drop_message(t, *message)?;
                }
                Ok(stale.len() as u64)
            })
            .await
    }

    /// Undelivered (due or claimed, not held) inbound messages of a mailbox.
    pub fn undelivered(&self, mailbox: &str) -> Result<u64> {
        self.inner.reads.with(|conn| {
            Ok(conn
                .prepare_cached(
                    "SELECT count(*) FROM delivery
                     WHERE direction = 'in' AND account = ? AND due_at IS NOT NULL",
                )?
                .query_row([mailbox], |row| unsigned(row, 0))?)
        })
    }
}

impl Spool {
    /// Of a mailbox's undelivered messages those whose turn has come: under way, or due. The others wait for another attempt.
    pub fn deliverable(&self, mailbox: &str) -> Result<u64> {
        let now = crate::clock::seconds(self.inner.clock.wall());
        self.inner.reads.with(|conn| {
            Ok(conn
                .prepare_cached(
                    "SELECT count(*) FROM delivery
                     WHERE direction = 'in' AND account = ? AND due_at IS NOT NULL
                       AND (state = 'claimed' OR due_at <= ?)",
                )?
                .query_row(params![mailbox, now], |row| unsigned(row, 0))?)
        })
    }
}

fn take_in(t: &Tables<'_>, message: Incoming) -> Result<Taken> {
    let Incoming {
        key,
        headline,
        provider_id,
        marks,
        body,
    } = message;
    let folder = listed(t, &key.mailbox, &key.folder)?;
    if is_known(t, folder, &key, Some(&body.sha256), provider_id.as_deref())?
        || moved_by_hash(t, folder, &key, &body.sha256)?
        || is_elsewhere(t, folder, &key.mailbox, provider_id.as_deref())?
    {
        return Ok(Taken::Known);
    }
    let held = looping(t, &key.mailbox, &marks)?;
    let id = insert_message(
        t,
        NewMessage {
            direction: Direction::In,
            account: &key.mailbox,
            headline: &headline,
            key: Some((folder, key.uidvalidity, key.uid)),
            envelope: None,
            size: body.len,
            body: Some(body),
            own: marks.own.as_ref(),
        },
    )?;
    insert_delivery(t, id, &key.mailbox, held.as_deref())?;
    Ok(Taken::New(id))
}

/// The one delivery of an inbound message: due, or held at once with the reason.
pub(crate) fn insert_delivery(
    t: &Tables<'_>,
    message: MessageId,
    mailbox: &str,
    held: Option<&str>,
) -> Result<()> {
    t.execute(
        "INSERT INTO delivery (message, direction, account, state, due_at, since, why, held_at)
         VALUES (?, 'in', ?, ?, ?, ?, ?, ?)",
        params![
            message.0,
            mailbox,
            if held.is_some() { "held" } else { "due" },
            held.is_none().then_some(t.now),
            t.now,
            held.map(printable).unwrap_or_default(),
            held.is_some().then_some(t.now),
        ],
    )?;
    t.touch(Direction::In, mailbox);
    Ok(())
}

fn due_in(t: &Tables<'_>, mailbox: &str, limit: usize) -> Result<Vec<InClaim>> {
    let mut statement = t.conn.prepare_cached(
        "SELECT d.id, d.message, d.attempts, f.name, m.uidvalidity, m.uid, m.sha256, m.size,
           d.attempts > 0 OR d.why <> '', d.done_for
         FROM delivery d CROSS JOIN message m ON m.id = d.message LEFT JOIN folder f ON f.id = m.folder
         WHERE d.direction = 'in' AND d.account = ? AND d.due_at <= ? ORDER BY d.due_at, d.id LIMIT ?",
    )?;
    let rows = statement.query_map(
        params![mailbox, t.now, i64::try_from(limit).unwrap_or(i64::MAX)],
        |row| {
            Ok(InClaim {
                delivery: DeliveryId(row.get(0)?),
                message: MessageId(row.get(1)?),
                attempt: row.get::<_, u32>(2)?.saturating_add(1),
                key: key_of(row, mailbox)?,
                sha256: row.get(6)?,
                size: unsigned(row, 7)?,
                repeated: row.get(8)?,
                done_for: recipients(row.get(9)?),
            })
        },
    )?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// The key of a claimed message; one of our own making has none.
fn key_of(row: &rusqlite::Row<'_>, mailbox: &str) -> rusqlite::Result<Option<Key>> {
    let Some(folder) = row.get(3)? else {
        return Ok(None);
    };
    Ok(Some(Key {
        mailbox: mailbox.to_owned(),
        folder,
        // One whose UIDs were given again has a number of ours.
        uidvalidity: u32::try_from(row.get::<_, i64>(4)?).unwrap_or_default(),
        uid: row.get(5)?,
    }))
}
