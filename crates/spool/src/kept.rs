//! Bodies of held messages: how long they are kept, and what may be done once the mailbox is known to have the message too.
//!
//! Nothing is lost at the end of that time. A body is given up only after a session has seen the message in its folder at that
//! moment; the message stays listed as held, and a retry fetches it again. What the mailbox has no more, what was moved out of the
//! way there, and what never was in one (a reply, a bounce of ours) is kept until a person delivers or deletes it.

use std::time::Duration;

use rusqlite::params;

use crate::clock::seconds;
use crate::error::Result;
use crate::identity::folder_id;
use crate::rows::unsigned;
use crate::tables::Tables;
use crate::{MessageId, Spool};

/// How long, and how much, held mail is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keeping {
    /// A body so long.
    pub held_for: Duration,
    /// Bodies of so many bytes for a mailbox; beyond that the oldest ones go first.
    pub max_held: u64,
}

/// A held message with its body here.
struct Kept {
    message: MessageId,
    /// In the folder that was asked about, as it is now.
    uid: Option<u32>,
    size: u64,
    held_at: i64,
    aside: bool,
}

impl Spool {
    /// Held messages whose time or room is over, of one folder: (message, uid). Their bodies may be [given up](Spool::give_up)
    /// if the folder still has them.
    pub fn over_time(
        &self,
        mailbox: &str,
        folder: &str,
        uidvalidity: u32,
        keeping: &Keeping,
    ) -> Result<Vec<(MessageId, u32)>> {
        let held_for = seconds(keeping.held_for);
        let now = self.inner.clock.seconds();
        let kept = self.kept(mailbox, folder, uidvalidity)?;
        let bytes: u64 = kept.iter().map(|kept| kept.size).sum();
        let mut excess = bytes.saturating_sub(keeping.max_held);
        let mut over = Vec::new();
        for kept in kept.iter().filter(|kept| !kept.aside) {
            if excess == 0 && now - kept.held_at < held_for {
                continue;
            }
            excess = excess.saturating_sub(kept.size);
            over.extend(kept.uid.map(|uid| (kept.message, uid)));
        }
        Ok(over)
    }

    /// Gives up the bodies of held messages that were seen in their folder just now. They stay listed, and a retry fetches them again.
    pub async fn give_up(&self, messages: Vec<MessageId>) -> Result<()> {
        self.inner
            .writer
            .call(move |t| {
                for message in &messages {
                    give_up(t, *message)?;
                }
                Ok(())
            })
            .await
    }

    /// Held messages of one folder that are to be moved out of the way there: (message, uid), oldest first. Only such as have
    /// their body here: one that was never fetched would be out of reach.
    pub fn to_move_aside(
        &self,
        mailbox: &str,
        folder: &str,
        uidvalidity: u32,
    ) -> Result<Vec<(MessageId, u32)>> {
        let kept = self.kept(mailbox, folder, uidvalidity)?;
        Ok(kept
            .iter()
            .filter(|kept| !kept.aside)
            .filter_map(|kept| Some((kept.message, kept.uid?)))
            .collect())
    }

    /// They were moved: the spool's copies are kept until a person decides, and nothing is left to acknowledge.
    pub async fn moved_aside(&self, messages: Vec<MessageId>) -> Result<()> {
        self.inner
            .writer
            .call(move |t| {
                for message in &messages {
                    t.execute("UPDATE message SET aside = 1 WHERE id = ?", [message.0])?;
                }
                Ok(())
            })
            .await
    }

    /// Held messages of a mailbox with a body, longest held first.
    fn kept(&self, mailbox: &str, folder: &str, uidvalidity: u32) -> Result<Vec<Kept>> {
        self.inner.reads.with(|conn| {
            let folder = folder_id(conn, mailbox, folder)?;
            let mut statement = conn.prepare_cached(
                "SELECT m.id, iif(m.folder = ?2 AND m.uidvalidity = ?3, m.uid, NULL), m.size, d.held_at, m.aside
                 FROM delivery d CROSS JOIN message m ON m.id = d.message
                 WHERE d.direction = 'in' AND d.account = ?1 AND d.state = 'held' AND d.due_at IS NULL
                   AND m.place <> 'none' ORDER BY d.held_at, m.id",
            )?;
            let rows = statement.query_map(params![mailbox, folder, uidvalidity], |row| {
                Ok(Kept {
                    message: MessageId(row.get(0)?),
                    uid: row.get(1)?,
                    size: unsigned(row, 2)?,
                    held_at: row.get(3)?,
                    aside: row.get(4)?,
                })
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }
}

fn give_up(t: &Tables<'_>, message: MessageId) -> Result<()> {
    let still_held = t
        .conn
        .prepare_cached(
            "SELECT 1 FROM delivery d CROSS JOIN message m ON m.id = d.message
             WHERE d.message = ? AND d.direction = 'in' AND d.state = 'held' AND m.place <> 'none'
               AND m.folder IS NOT NULL AND NOT m.aside",
        )?
        .exists([message.0])?;
    if !still_held {
        return Ok(());
    }
    let file: Option<String> = t
        .conn
        .prepare_cached("SELECT file FROM message WHERE id = ?")?
        .query_row([message.0], |row| row.get(0))?;
    if let Some(name) = file {
        t.remove_file(name);
    }
    t.execute("DELETE FROM body WHERE message = ?", [message.0])?;
    t.execute(
        "UPDATE message SET place = 'none', file = NULL, durable = 1 WHERE id = ?",
        [message.0],
    )?;
    t.execute(
        "UPDATE delivery SET why = why || '; its body is kept by the mailbox alone now, and a retry fetches it' WHERE message = ?",
        [message.0],
    )?;
    Ok(())
}
