//! The queue as people see it: list, show, count.

use rusqlite::{Connection, OptionalExtension, Row};

use crate::error::Result;
use crate::rows::{hex, unsigned};
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
    /// Inbound: the folder it came from. None: it is of our own making.
    pub folder: Option<String>,
    /// Inbound: its UID in that folder.
    pub uid: Option<u32>,
    /// Inbound: the mailbox's copy was moved out of the way.
    pub aside: bool,
    /// Of our own making: `bounce` or `notice`.
    pub own: Option<String>,
    /// Whether its body is in the spool.
    pub kept: bool,
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
    /// Since it was held.
    pub held_seconds: Option<i64>,
    /// It is held once its present attempt has failed, for this reason.
    pub hold_wanted: Option<String>,
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
            let entry = conn
                .prepare_cached(
                    "SELECT m.header_message_id, m.sha256, s.provider_id, f.name, m.uid, m.aside, m.own, m.place <> 'none'
                     FROM message m LEFT JOIN folder f ON f.id = m.folder
                     LEFT JOIN seen s ON s.folder = m.folder AND s.uidvalidity = m.uidvalidity AND s.uid = m.uid
                     WHERE m.id = ?",
                )?
                .query_row([message.0], |found| {
                    let sha256: Option<Vec<u8>> = found.get(1)?;
                    Ok(QueueEntry {
                        row,
                        message_id: found.get(0)?,
                        sha256: hex(&sha256.unwrap_or_default()),
                        provider_id: found.get(2)?,
                        folder: found.get(3)?,
                        uid: found.get(4)?,
                        aside: found.get(5)?,
                        own: found.get(6)?,
                        kept: found.get(7)?,
                        deliveries: Vec::new(),
                    })
                })?;
            let deliveries = deliveries(conn, message, now)?;
            Ok(Some(QueueEntry {
                deliveries,
                ..entry
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

    /// How much of an account's mail is where.
    pub fn counts(&self, direction: Direction, account: &str) -> Result<Counts> {
        let of_account = [direction.as_str(), account];
        self.inner.reads.with(|conn| {
            let backlog = conn
                .prepare_cached(
                    "SELECT waiting, held, delivered FROM backlog WHERE direction = ? AND account = ?",
                )?
                .query_row(of_account, |row| {
                    Ok((unsigned(row, 0)?, unsigned(row, 1)?, unsigned(row, 2)?))
                })
                .optional()?;
            let (waiting, held, delivered) = backlog.unwrap_or_default();
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

/// The rows of these messages, in this order; one that is gone meanwhile is left out.
pub(crate) fn rows_of(conn: &Connection, ids: &[MessageId], now: i64) -> Result<Vec<QueueRow>> {
    let mut statement = conn.prepare_cached(&format!("{ROWS} WHERE m.id = ? ORDER BY d.id"))?;
    let mut queue = Vec::with_capacity(ids.len());
    for id in ids {
        let mut rows = statement.query([id.0])?;
        while let Some(row) = rows.next()? {
            add(&mut queue, row, now)?;
        }
    }
    Ok(queue)
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
        "SELECT recipient, CASE WHEN state = 'due' AND doubts > 0 THEN 'in doubt' ELSE state END, attempts, due_at, why, output, held_at, hold_why
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
            held_seconds: row.get::<_, Option<i64>>(6)?.map(|at| (now - at).max(0)),
            hold_wanted: row.get(7)?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}
