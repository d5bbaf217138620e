//! To a relay: take out (the 250), and claim.

use std::collections::HashSet;
use std::time::Duration;

use rusqlite::{OptionalExtension, params};

use crate::body::Body;
use crate::claim::lease;
use crate::error::{Result, SpoolError};
use crate::rows::{NewMessage, insert_message, unsigned};
use crate::tables::Tables;
use crate::{DeliveryId, Direction, Headline, MessageId, Spool};

/// A message to be relayed.
pub struct Outgoing {
    /// The envelope sender; empty for the null sender.
    pub sender: String,
    /// The relay's name.
    pub relay: String,
    /// Envelope recipients, at least one; an exact repeat counts once.
    pub recipients: Vec<String>,
    /// MAIL had SMTPUTF8.
    pub smtputf8: bool,
    /// MAIL had BODY=8BITMIME.
    pub eight_bit: bool,
    /// For lists.
    pub headline: Headline,
    /// Finished durable.
    pub body: Body,
}

/// Claimed outbound deliveries of one message for one relay.
#[derive(Debug, Clone)]
pub struct OutClaim {
    /// Whose body to open.
    pub message: MessageId,
    /// The envelope sender.
    pub sender: String,
    /// MAIL needs SMTPUTF8.
    pub smtputf8: bool,
    /// MAIL needs BODY=8BITMIME.
    pub eight_bit: bool,
    /// Bytes.
    pub size: u64,
    /// Of the body.
    pub sha256: [u8; 32],
    /// Each is settled alone.
    pub recipients: Vec<OutRecipient>,
}

/// One recipient of a claimed message.
#[derive(Debug, Clone)]
pub struct OutRecipient {
    /// To settle.
    pub delivery: DeliveryId,
    /// The envelope recipient.
    pub address: String,
    /// This attempt's number, from 1.
    pub attempt: u32,
}

impl Spool {
    /// The 250: returns after body, message and one delivery per recipient are on disk.
    pub async fn take_out(&self, message: Outgoing) -> Result<MessageId> {
        if !message.body.durable() {
            return Err(SpoolError::Misused(
                "an outbound body was finished without waiting for the disk",
            ));
        }
        if message.recipients.is_empty() {
            return Err(SpoolError::Misused("an outbound message has no recipient"));
        }
        self.inner
            .writer
            .call(move |t| insert_outgoing(t, message))
            .await
    }

    /// Due outbound deliveries, oldest first, at most `limit` messages. All recipients of a message
    /// that are due for this relay come together. Each is the caller's for the time of the lease.
    pub async fn claim_out(
        &self,
        relay: &str,
        limit: usize,
        for_time: Duration,
    ) -> Result<Vec<OutClaim>> {
        let relay = relay.to_owned();
        self.claim(move |t| {
            let mut claims = Vec::new();
            let mut deliveries = Vec::new();
            for message in due_messages(t, &relay, limit)? {
                let claim = due_out(t, &relay, message)?;
                for recipient in &claim.recipients {
                    lease(t, recipient.delivery, for_time)?;
                    deliveries.push(recipient.delivery);
                }
                claims.push(claim);
            }
            Ok((claims, deliveries))
        })
        .await
    }
}

fn insert_outgoing(t: &Tables<'_>, message: Outgoing) -> Result<MessageId> {
    let id = insert_message(
        t,
        NewMessage {
            direction: Direction::Out,
            account: &message.relay,
            headline: &message.headline,
            key: None,
            envelope: Some((&message.sender, message.smtputf8, message.eight_bit)),
            size: message.body.len,
            body: Some(message.body),
        },
    )?;
    let mut unique = HashSet::new();
    for recipient in &message.recipients {
        if unique.insert(recipient) {
            t.execute(
                "INSERT INTO delivery (message, direction, account, recipient, state, due_at, since)
                 VALUES (?1, 'out', ?2, ?3, 'due', ?4, ?4)",
                params![id.0, message.relay, recipient, t.now],
            )?;
        }
    }
    t.touch(Direction::Out, &message.relay);
    Ok(id)
}

/// Messages with something due for this relay, oldest due first. Stops reading when it has enough.
fn due_messages(t: &Tables<'_>, relay: &str, limit: usize) -> Result<Vec<MessageId>> {
    let mut statement = t.conn.prepare_cached(
        "SELECT message FROM delivery
         WHERE direction = 'out' AND account = ? AND due_at <= ? ORDER BY due_at, id",
    )?;
    let mut rows = statement.query(params![relay, t.now])?;
    let mut found = HashSet::new();
    let mut messages = Vec::new();
    while messages.len() < limit
        && let Some(row) = rows.next()?
    {
        let message = MessageId(row.get(0)?);
        if found.insert(message) {
            messages.push(message);
        }
    }
    Ok(messages)
}

fn due_out(t: &Tables<'_>, relay: &str, message: MessageId) -> Result<OutClaim> {
    let mut claim = t
        .conn
        .prepare_cached(
            "SELECT sender, smtputf8, eight_bit, size, sha256 FROM message WHERE id = ?",
        )?
        .query_row([message.0], |row| {
            Ok(OutClaim {
                message,
                sender: row.get(0)?,
                smtputf8: row.get(1)?,
                eight_bit: row.get(2)?,
                size: unsigned(row, 3)?,
                sha256: row.get(4)?,
                recipients: Vec::new(),
            })
        })
        .optional()?
        .ok_or(SpoolError::Gone(message))?;
    let mut statement = t.conn.prepare_cached(
        "SELECT id, recipient, attempts FROM delivery
         WHERE message = ? AND account = ? AND due_at <= ? ORDER BY id",
    )?;
    let rows = statement.query_map(params![message.0, relay, t.now], |row| {
        Ok(OutRecipient {
            delivery: DeliveryId(row.get(0)?),
            address: row.get(1)?,
            attempt: row.get::<_, u32>(2)?.saturating_add(1),
        })
    })?;
    claim.recipients = rows.collect::<rusqlite::Result<_>>()?;
    Ok(claim)
}
