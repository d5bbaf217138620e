//! To a relay: take out (the 250), and claim.

use std::collections::HashSet;
use std::time::Duration;

use rusqlite::{OptionalExtension, named_params, params};

use crate::body::Body;
use crate::claim::lease;
use crate::dsn::{Notify, Ret};
use crate::error::{Result, SpoolError};
use crate::person::hold_left;
use crate::rows::{NewMessage, insert_message, unsigned};
use crate::tables::Tables;
use crate::thread::{self, ITS_TURN, PATIENCE};
use crate::{DeliveryId, Direction, Headline, MessageId, Spool};

/// A message to be relayed.
pub struct Outgoing {
    /// The envelope sender; empty for the null sender.
    pub sender: String,
    /// The relay's name.
    pub relay: String,
    /// Envelope recipients, at least one; an exact repeat counts once.
    pub recipients: Vec<Recipient>,
    /// MAIL had SMTPUTF8.
    pub smtputf8: bool,
    /// MAIL had BODY=8BITMIME.
    pub eight_bit: bool,
    /// MAIL's RET.
    pub ret: Option<Ret>,
    /// MAIL's ENVID, as it was written.
    pub envid: Option<String>,
    /// No person wrote it (RFC 3834): nobody is told how it fared.
    pub automatic: bool,
    /// What its conversation is known by, a Message-ID: its messages leave for a recipient one after the other.
    pub conversation: Option<String>,
    /// For lists.
    pub headline: Headline,
    /// Finished durable.
    pub body: Body,
}

/// An envelope recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient {
    /// The address.
    pub address: String,
    /// RCPT's NOTIFY.
    pub notify: Option<Notify>,
    /// RCPT's ORCPT, as it was written.
    pub orcpt: Option<String>,
}

/// A recipient without wishes.
impl<T: Into<String>> From<T> for Recipient {
    fn from(address: T) -> Self {
        Self {
            address: address.into(),
            notify: None,
            orcpt: None,
        }
    }
}

/// What became of a submission that names itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TakenOut {
    /// It is a message now.
    New(MessageId),
    /// It was one already; nothing was added.
    Repeated(MessageId),
}

/// So long a submission's key is remembered.
const REMEMBERED: i64 = 24 * 3600;

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
    /// RET for the relay's MAIL.
    pub ret: Option<Ret>,
    /// ENVID for the relay's MAIL.
    pub envid: Option<String>,
    /// The Message-ID, if recipients of this claim are in doubt and every copy of the message that may have left is of the one try
    /// that they had together: whether it arrived can then be looked up.
    pub in_doubt: Option<String>,
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
    /// An earlier try ended in doubt.
    pub doubted: bool,
    /// NOTIFY for the relay's RCPT.
    pub notify: Option<Notify>,
    /// ORCPT for the relay's RCPT.
    pub orcpt: Option<String>,
}

impl Spool {
    /// The 250: returns after body, message and one delivery per recipient are on disk.
    pub async fn take_out(&self, message: Outgoing) -> Result<MessageId> {
        check(&message)?;
        self.inner
            .writer
            .call(move |t| insert_outgoing(t, message))
            .await
    }

    /// [`Spool::take_out`] for a submission with a key of its own: within 24 hours the same key is the same message.
    /// The key and the message are one commit.
    pub async fn take_out_once(&self, message: Outgoing, key: [u8; 32]) -> Result<TakenOut> {
        check(&message)?;
        self.inner
            .writer
            .call(move |t| insert_once(t, message, &key))
            .await
    }

    /// Due outbound deliveries whose turn it is in their conversation, oldest first, at most `limit` messages. All such recipients
    /// of a message come together. Each is the caller's for the time of the lease.
    pub async fn claim_out(
        &self,
        relay: &str,
        limit: usize,
        for_time: Duration,
    ) -> Result<Vec<OutClaim>> {
        let relay = relay.to_owned();
        self.claim(move |t| {
            hold_left(t, Direction::Out, &relay)?;
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

fn check(message: &Outgoing) -> Result<()> {
    if !message.body.durable() {
        return Err(SpoolError::Misused(
            "an outbound body was finished without waiting for the disk",
        ));
    }
    if message.recipients.is_empty() {
        return Err(SpoolError::Misused("an outbound message has no recipient"));
    }
    Ok(())
}

fn insert_once(t: &Tables<'_>, message: Outgoing, key: &[u8; 32]) -> Result<TakenOut> {
    t.execute("DELETE FROM submitted WHERE at <= ?", [t.now - REMEMBERED])?;
    let known = t
        .conn
        .prepare_cached("SELECT message FROM submitted WHERE key = ?")?
        .query_row([&key[..]], |row| row.get(0).map(MessageId))
        .optional()?;
    if let Some(known) = known {
        return Ok(TakenOut::Repeated(known));
    }
    let id = insert_outgoing(t, message)?;
    t.execute(
        "INSERT INTO submitted (key, message, at) VALUES (?1, ?2, ?3)",
        params![&key[..], id.0, t.now],
    )?;
    Ok(TakenOut::New(id))
}

pub(crate) fn insert_outgoing(t: &Tables<'_>, message: Outgoing) -> Result<MessageId> {
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
            own: None,
        },
    )?;
    if message.ret.is_some() || message.envid.is_some() || message.automatic {
        t.execute(
            "UPDATE message SET ret = ?2, envid = ?3, automatic = ?4 WHERE id = ?1",
            params![
                id.0,
                message.ret.map(Ret::as_str),
                message.envid,
                message.automatic
            ],
        )?;
    }
    let conversation = message.conversation.as_deref();
    let mut unique = HashSet::new();
    for recipient in &message.recipients {
        if unique.insert(&recipient.address) {
            t.execute(
                "INSERT INTO delivery (message, direction, account, recipient, notify, orcpt, thread, state, due_at, since)
                 VALUES (?1, 'out', ?2, ?3, ?5, ?6, ?7, 'due', ?4, ?4)",
                params![
                    id.0,
                    message.relay,
                    recipient.address,
                    t.now,
                    recipient.notify.map(|notify| notify.to_string()),
                    recipient.orcpt,
                    conversation.map(|known| thread::number(known, &recipient.address))
                ],
            )?;
        }
    }
    t.touch(Direction::Out, &message.relay);
    Ok(id)
}

/// Messages with something due for this relay, oldest due first. Stops reading when it has enough.
fn due_messages(t: &Tables<'_>, relay: &str, limit: usize) -> Result<Vec<MessageId>> {
    let mut statement = t.conn.prepare_cached(&format!(
        "SELECT message FROM delivery d
         WHERE direction = 'out' AND account = :relay AND due_at <= :now AND {ITS_TURN} ORDER BY due_at, id"
    ))?;
    let named = named_params! {":relay": relay, ":now": t.now, ":patience": PATIENCE};
    let mut rows = statement.query(named)?;
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
            "SELECT sender, smtputf8, eight_bit, size, sha256, ret, envid FROM message WHERE id = ?",
        )?
        .query_row([message.0], |row| {
            Ok(OutClaim {
                message,
                sender: row.get(0)?,
                smtputf8: row.get(1)?,
                eight_bit: row.get(2)?,
                size: unsigned(row, 3)?,
                sha256: row.get(4)?,
                ret: row.get_ref(5)?.as_str_or_null()?.and_then(Ret::parse),
                envid: row.get(6)?,
                in_doubt: None,
                recipients: Vec::new(),
            })
        })
        .optional()?
        .ok_or(SpoolError::Gone(message))?;
    let mut statement = t.conn.prepare_cached(&format!(
        "SELECT id, recipient, attempts, notify, orcpt, doubts > 0 FROM delivery d
         WHERE message = :message AND account = :relay AND due_at <= :now AND {ITS_TURN} ORDER BY id"
    ))?;
    let named = named_params! {
        ":message": message.0, ":relay": relay, ":now": t.now, ":patience": PATIENCE,
    };
    let rows = statement.query_map(named, |row| {
        Ok(OutRecipient {
            delivery: DeliveryId(row.get(0)?),
            address: row.get(1)?,
            attempt: row.get::<_, u32>(2)?.saturating_add(1),
            notify: row.get_ref(3)?.as_str_or_null()?.and_then(Notify::parse),
            orcpt: row.get(4)?,
            doubted: row.get(5)?,
        })
    })?;
    claim.recipients = rows.collect::<rusqlite::Result<_>>()?;
    claim.in_doubt = only_doubt(t, &claim)?;
    Ok(claim)
}

/// The Message-ID, where a copy that is found can only be that of the claim's recipients in doubt.
fn only_doubt(t: &Tables<'_>, claim: &OutClaim) -> Result<Option<String>> {
    let mut doubted = claim.recipients.iter().filter(|r| r.doubted);
    let Some(first) = doubted.next() else {
        return Ok(None);
    };
    let mut together = 1;
    for other in doubted {
        // Who was tried more often was tried alone at some time.
        if other.attempt != first.attempt {
            return Ok(None);
        }
        together += 1;
    }
    let found = t
        .conn
        .prepare_cached(
            "SELECT header_message_id FROM message m WHERE id = ?1 AND header_message_id <> ''
               AND ?2 = (SELECT count(*) FROM delivery WHERE message = ?1
                         AND (doubts > 0 OR state = 'delivered' OR report = 'relayed'))",
        )?
        .query_row(params![claim.message.0, together], |row| row.get(0))
        .optional()?;
    Ok(found)
}
