//! The queue as people see it: list, show, retry, delete, count.

use std::collections::HashSet;

use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::error::Result;
use crate::rows::{drop_message, forget_message, hex, unsigned};
use crate::tables::Tables;
use crate::{Direction, Headline, MessageId, Spool};

/// For status, in deliveries (an outbound message has one per recipient).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Due, claimed, or due later.
    pub waiting: u64,
    /// Waiting for a person.
    pub held: u64,
    /// Delivered inbound, and the mailbox not yet told.
    pub unacknowledged: u64,
    /// Ever delivered.
    pub done: u64,
}

/// A line of `postern queue list`.
#[derive(Debug, Clone, serde::Serialize)]
pub struct QueueRow {
    /// The message.
    pub id: i64,
    /// `in` or `out`.
    pub direction: String,
    /// Mailbox or relay.
    pub account: String,
    /// Of the delivery that most needs attention: `held`, `waiting` (its account is blocked), `in doubt` (the relay may have
    /// it; sent once more after a pause), `claimed`, `due`, `delivered`.
    pub state: String,
    /// Bytes.
    pub size: u64,
    /// Header From, else the envelope sender.
    pub from: String,
    /// Recipients (outbound).
    pub to: Vec<String>,
    /// Header Subject.
    pub subject: String,
    /// Most attempts of any of its deliveries.
    pub attempts: u32,
    /// Since it was taken.
    pub age_seconds: i64,
    /// Until the next attempt, if one is planned.
    pub next_seconds: Option<i64>,
    /// The last reason.
    pub why: String,
}

/// `postern queue show`: the row, each delivery, and the command's output.
#[derive(Debug, Clone, serde::Serialize)]
pub struct QueueEntry {
    /// The message.
    pub row: QueueRow,
    /// Header Message-ID.
    pub message_id: String,
    /// Of the body, in hexadecimal; empty for a message that was not fetched.
    pub sha256: String,
    /// The provider's own number of the message, where it has one (Gmail: X-GM-MSGID).
    pub provider_id: Option<String>,
    /// One inbound, one per recipient outbound.
    pub deliveries: Vec<QueueDelivery>,
}

/// One delivery of a message.
#[derive(Debug, Clone, serde::Serialize)]
pub struct QueueDelivery {
    /// Outbound.
    pub recipient: Option<String>,
    /// `held`, `waiting` (its account is blocked), `in doubt`, `claimed`, `due`, `delivered`.
    pub state: String,
    /// So far, a running one included.
    pub attempts: u32,
    /// Until the next attempt, if one is planned.
    pub next_seconds: Option<i64>,
    /// The last reason.
    pub why: String,
    /// The tail of what the command wrote, or the server said.
    pub output: Option<String>,
}

/// A joined row: what the message has, and one of its deliveries.
const ROWS: &str =
    "SELECT m.id, m.direction, m.account, m.size, m.header_from, m.sender, m.header_subject, m.taken_at,
       d.recipient, CASE WHEN d.state = 'due' AND d.doubts > 0 THEN 'in doubt' ELSE d.state END, d.attempts, d.due_at, d.why
     FROM message m CROSS JOIN delivery d ON d.message = m.id";

impl Spool {
    /// What is in the spool, oldest first.
    pub fn queue(&self, direction: Option<Direction>) -> Result<Vec<QueueRow>> {
        let now = self.inner.clock.seconds();
        self.inner.reads.with(|conn| {
            let sql = format!("{ROWS} WHERE ?1 IS NULL OR m.direction = ?1 ORDER BY m.id, d.id");
            let mut statement = conn.prepare_cached(&sql)?;
            let mut rows = statement.query([direction.map(Direction::as_str)])?;
            let mut queue: Vec<QueueRow> = Vec::new();
            while let Some(row) = rows.next()? {
                add(&mut queue, row, now)?;
            }
            Ok(queue)
        })
    }

    /// One message with its deliveries; None: it is not in the spool.
    pub fn show(&self, message: MessageId) -> Result<Option<QueueEntry>> {
        let now = self.inner.clock.seconds();
        self.inner.reads.with(|conn| {
            let mut queue = Vec::new();
            let mut statement =
                conn.prepare_cached(&format!("{ROWS} WHERE m.id = ? ORDER BY d.id"))?;
            let mut rows = statement.query([message.0])?;
            while let Some(row) = rows.next()? {
                add(&mut queue, row, now)?;
            }
            let Some(row) = queue.pop() else {
                return Ok(None);
            };
            let (message_id, sha256, provider_id) = conn
                .prepare_cached(
                    "SELECT m.header_message_id, m.sha256, s.provider_id FROM message m
                     LEFT JOIN seen s ON s.folder = m.folder AND s.uidvalidity = m.uidvalidity AND s.uid = m.uid
                     WHERE m.id = ?",
                )?
                .query_row([message.0], |row| {
                    let sha256: Option<Vec<u8>> = row.get(1)?;
                    Ok((row.get(0)?, hex(&sha256.unwrap_or_default()), row.get(2)?))
                })?;
            Ok(Some(QueueEntry {
                row,
                message_id,
                sha256,
                provider_id,
                deliveries: deliveries(conn, message, now)?,
            }))
        })
    }

    /// A message's header fields; None: it is not in the spool.
    pub fn message_headline(&self, message: MessageId) -> Result<Option<Headline>> {
        self.inner.reads.with(|conn| {
            Ok(conn
                .prepare_cached(
                    "SELECT header_from, header_subject, header_message_id FROM message WHERE id = ?",
                )?
                .query_row([message.0], |row| {
                    Ok(Headline {
                        from: row.get(0)?,
                        subject: row.get(1)?,
                        message_id: row.get(2)?,
                    })
                })
                .optional()?)
        })
    }

    /// Makes held or waiting deliveries due now (attempts and the retry clock start anew for held
    /// ones); None: all. A held message that has no body is forgotten instead, so that the mailbox gives it again. Claimed ones are left
    /// alone. Returns how many messages.
    pub async fn retry(&self, messages: Option<Vec<MessageId>>) -> Result<u64> {
        self.inner
            .writer
            .call(move |t| {
                let messages = match messages {
                    Some(messages) => messages,
                    None => not_due(t)?,
                };
                let mut retried = 0;
                for message in unique(messages) {
                    retried += u64::from(retry(t, message)?);
                }
                Ok(retried)
            })
            .await
    }

    /// Drops messages for good (inbound: the key stays, the mailbox is not touched). One that is claimed
    /// right now is being delivered, and is left alone. Returns how many.
    pub async fn delete(&self, messages: Vec<MessageId>) -> Result<u64> {
        self.inner
            .writer
            .call(move |t| {
                let mut deleted = 0;
                for message in unique(messages) {
                    deleted += u64::from(!being_delivered(t, message)? && remove(t, message)?);
                }
                Ok(deleted)
            })
            .await
    }

    /// How much of an account's mail is where.
    pub fn counts(&self, direction: Direction, account: &str) -> Result<Counts> {
        let of_account = [direction.as_str(), account];
        self.inner.reads.with(|conn| {
            let waiting = conn
                .prepare_cached(
                    "SELECT count(*) FROM delivery
                     WHERE direction = ? AND account = ? AND due_at IS NOT NULL",
                )?
                .query_row(of_account, |row| unsigned(row, 0))?;
            let (held, delivered): (u64, u64) = conn
                .prepare_cached(
                    "SELECT count(*) FILTER (WHERE state = 'held'), count(*) FILTER (WHERE state = 'delivered')
                     FROM delivery WHERE direction = ? AND account = ? AND due_at IS NULL",
                )?
                .query_row(of_account, |row| Ok((unsigned(row, 0)?, unsigned(row, 1)?)))?;
            let done = conn
                .prepare_cached("SELECT delivered FROM counter WHERE direction = ? AND account = ?")?
                .query_row(of_account, |row| unsigned(row, 0))
                .optional()?;
            Ok(Counts {
                waiting,
                held,
                unacknowledged: if direction == Direction::In { delivered } else { 0 },
                done: done.unwrap_or_default(),
            })
        })
    }
}

/// Which state speaks for a message with several deliveries: the lowest.
fn rank(state: &str) -> usize {
    let order = ["held", "waiting", "in doubt", "claimed", "due", "delivered"];
    order
        .iter()
        .position(|known| *known == state)
        .unwrap_or(usize::MAX)
}

/// Adds a joined row to the message it belongs to: the last one, or a new one.
fn add(queue: &mut Vec<QueueRow>, row: &Row<'_>, now: i64) -> Result<()> {
    let id: i64 = row.get(0)?;
    let recipient: Option<String> = row.get(8)?;
    let state: String = row.get(9)?;
    let attempts: u32 = row.get(10)?;
    let next = next_seconds(&state, row.get(11)?, now);
    let why: String = row.get(12)?;
    if let Some(last) = queue.last_mut().filter(|last| last.id == id) {
        last.to.extend(recipient);
        last.attempts = last.attempts.max(attempts);
        last.next_seconds = last.next_seconds.into_iter().chain(next).min();
        if last.why.is_empty() || (rank(&state) < rank(&last.state) && !why.is_empty()) {
            last.why = why;
        }
        if rank(&state) < rank(&last.state) {
            last.state = state;
        }
        return Ok(());
    }
    let from: String = row.get(4)?;
    let sender: Option<String> = row.get(5)?;
    queue.push(QueueRow {
        id,
        direction: row.get(1)?,
        account: row.get(2)?,
        state,
        size: unsigned(row, 3)?,
        from: if from.is_empty() {
            sender.unwrap_or_default()
        } else {
            from
        },
        to: recipient.into_iter().collect(),
        subject: row.get(6)?,
        attempts,
        age_seconds: (now - row.get::<_, i64>(7)?).max(0),
        next_seconds: next,
        why,
    });
    Ok(())
}

/// A claimed delivery's time is the end of its lease, which says nothing to people.
fn next_seconds(state: &str, due_at: Option<i64>, now: i64) -> Option<i64> {
    due_at
        .filter(|_| state != "claimed")
        .map(|at| (at - now).max(0))
}

fn deliveries(conn: &Connection, message: MessageId, now: i64) -> Result<Vec<QueueDelivery>> {
    let mut statement = conn.prepare_cached(
        "SELECT recipient, CASE WHEN state = 'due' AND doubts > 0 THEN 'in doubt' ELSE state END, attempts, due_at, why, output
         FROM delivery WHERE message = ? ORDER BY id",
    )?;
    let rows = statement.query_map([message.0], |row| {
        let state: String = row.get(1)?;
        Ok(QueueDelivery {
            recipient: row.get(0)?,
            attempts: row.get(2)?,
            next_seconds: next_seconds(&state, row.get(3)?, now),
            state,
            why: row.get(4)?,
            output: row.get(5)?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn unique(messages: Vec<MessageId>) -> Vec<MessageId> {
    let mut seen = HashSet::new();
    messages.into_iter().filter(|m| seen.insert(*m)).collect()
}

/// Messages with something that `retry` could make due.
fn not_due(t: &Tables<'_>) -> Result<Vec<MessageId>> {
    let mut statement = t.conn.prepare_cached(
        "SELECT DISTINCT message FROM delivery
         WHERE state = 'held' OR (state IN ('due', 'waiting') AND due_at > ?) ORDER BY message",
    )?;
    let rows = statement.query_map([t.now], |row| row.get(0).map(MessageId))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn retry(t: &Tables<'_>, message: MessageId) -> Result<bool> {
    let found: Option<(String, String, bool)> = t
        .conn
        .prepare_cached(
            "SELECT direction, account, direction = 'in' AND place = 'none' FROM message WHERE id = ?",
        )?
        .query_row([message.0], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
        .optional()?;
    let Some((direction, account, without_body)) = found else {
        return Ok(false);
    };
    t.touch(Direction::from_word(&direction), &account);
    if without_body {
        forget_message(t, message)?;
        return Ok(true);
    }
    let held = t.execute(
        "UPDATE delivery SET state = 'due', due_at = ?2, since = ?2, attempts = 0, refusals = 0,
           doubts = 0, blocked_for = 0, blocked_since = NULL, held_at = NULL
         WHERE message = ?1 AND state = 'held'",
        params![message.0, t.now],
    )?;
    let waiting = t.execute(
        "UPDATE delivery SET state = 'due', due_at = ?2
         WHERE message = ?1 AND state IN ('due', 'waiting') AND due_at > ?2",
        params![message.0, t.now],
    )?;
    Ok(held + waiting > 0)
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
    let account: Option<(String, String)> = t
        .conn
        .prepare_cached("SELECT direction, account FROM message WHERE id = ?")?
        .query_row([message.0], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    if let Some((direction, account)) = account {
        t.touch(Direction::from_word(&direction), &account);
    }
    drop_message(t, message)
}
