//! Reports to the senders of outbound mail: which are owed, and the one transaction that writes a report and closes what it is about.
//!
//! A recipient that failed for good is held first and owed a report; whoever composes it hands it in with what it is about. A kill between
//! the two finds it owed again, and never closed without a report.

use std::collections::BTreeMap;
use std::time::Duration;

use rusqlite::{Row, params};

use crate::clock::seconds;
use crate::dsn::Ret;
use crate::error::{Result, SpoolError};
use crate::outbound::insert_outgoing;
use crate::own::{Local, Own, insert_local};
use crate::rows::drop_message;
use crate::sent;
use crate::tables::Tables;
use crate::tally;
use crate::{DeliveryId, Direction, Headline, MessageId, Outgoing, Spool};

/// What a report says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Report {
    /// It could not be delivered (RFC 3464: `failed`).
    Failed,
    /// It is late, and still tried (`delayed`).
    Delayed,
    /// It left for a server that reports nothing, as the sender asked to be told (`relayed`).
    Relayed,
}

/// A report that is owed: one for each message and kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owed {
    /// What it says.
    pub report: Report,
    /// About which message; its body is still there.
    pub message: MessageId,
    /// The message's envelope sender; never empty.
    pub sender: String,
    /// How much of the message is wanted back.
    pub ret: Option<Ret>,
    /// The sender's own name for it, as it was written.
    pub envid: Option<String>,
    /// Seconds since 1970.
    pub taken_at: i64,
    /// As lists show it.
    pub headline: Headline,
    /// Whom it concerns.
    pub recipients: Vec<OwedRecipient>,
}

/// A recipient in a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwedRecipient {
    /// To close.
    pub delivery: DeliveryId,
    /// The envelope recipient.
    pub address: String,
    /// RCPT's ORCPT, as it was written.
    pub orcpt: Option<String>,
    /// What happened, in the server's words.
    pub why: String,
}

/// How a report reaches its reader.
pub enum Reporting {
    /// Into a mailbox's ticket command.
    Mailbox(Local),
    /// By a relay, from the null sender.
    Relay(Outgoing, Own),
}

const COLUMNS: &str =
    "m.id, m.sender, m.ret, m.envid, m.taken_at, header_from, header_subject, header_message_id,
    d.id, d.recipient, d.orcpt, d.why";

impl Spool {
    /// The reports that a relay's senders are owed. Late is what has been tried for so long, the time that its account
    /// was blocked not counted, and whose sender did not ask for silence.
    pub fn owed_reports(&self, relay: &str, late: Duration) -> Result<Vec<Owed>> {
        let now = seconds(self.inner.clock.wall());
        self.inner.reads.with(|conn| {
            let mut owed = BTreeMap::new();
            let mut ended = conn.prepare_cached(&format!(
                "SELECT {COLUMNS}, d.report = 'failed' FROM delivery d CROSS JOIN message m ON m.id = d.message
                 WHERE d.report IS NOT NULL AND d.account = ? AND d.state = 'held' ORDER BY d.id"
            ))?;
            let mut rows = ended.query([relay])?;
            while let Some(row) = rows.next()? {
                let failed: bool = row.get(12)?;
                let report = if failed { Report::Failed } else { Report::Relayed };
                collect(&mut owed, report, row)?;
            }
            let mut delayed = conn.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM delivery d CROSS JOIN message m ON m.id = d.message
                 WHERE d.direction = 'out' AND d.account = ?1 AND d.state IN ('due', 'waiting') AND NOT d.delay_told
                   AND d.attempts > 0 AND m.sender <> '' AND NOT m.automatic
                   AND (d.notify IS NULL OR d.notify LIKE '%DELAY%')
                   AND ?2 - d.since - d.blocked_for - coalesce(max(?2 - d.blocked_since, 0), 0) >= ?3
                 ORDER BY d.id"
            ))?;
            let mut rows = delayed.query(params![relay, now, seconds(late)])?;
            while let Some(row) = rows.next()? {
                collect(&mut owed, Report::Delayed, row)?;
            }
            Ok(owed.into_values().collect())
        })
    }

    /// Takes a report on its way and closes what it is about, in one transaction. None: some of it is not owed any more (a person has
    /// retried or deleted it); then nothing was changed, and what is left is owed anew.
    pub async fn report(&self, owed: Owed, reporting: Reporting) -> Result<Option<MessageId>> {
        let body = match &reporting {
            Reporting::Mailbox(local) => &local.body,
            Reporting::Relay(outgoing, _) => &outgoing.body,
        };
        if !body.durable() {
            return Err(SpoolError::Misused(
                "a report was finished without waiting for the disk",
            ));
        }
        self.inner
            .writer
            .call(move |t| {
                let mut still = Vec::new();
                for recipient in &owed.recipients {
                    if is_owed(t, owed.report, recipient.delivery)? {
                        still.push(recipient.delivery);
                    }
                }
                if still.len() != owed.recipients.len() {
                    // It would name a recipient that it should not.
                    return Ok(None);
                }
                let id = match reporting {
                    Reporting::Mailbox(local) => insert_local(t, local)?,
                    Reporting::Relay(outgoing, own) => insert_own_outgoing(t, outgoing, &own)?,
                };
                for delivery in still {
                    close(t, owed.report, owed.message, delivery)?;
                }
                Ok(Some(id))
            })
            .await
    }

    /// The relay took it and reports nothing, but the sender asked to be told: instead of ending as delivered it is owed a report.
    pub async fn settle_relayed(&self, delivery: DeliveryId, why: String) -> Result<()> {
        self.inner
            .writer
            .call(move |t| {
                let changed = t.execute(
                    "UPDATE delivery SET state = 'held', due_at = NULL, report = 'relayed', why = ?2, held_at = ?3
                     WHERE id = ?1 AND state = 'claimed'",
                    params![delivery.0, why, t.now],
                )?;
                if changed == 0 {
                    return Err(SpoolError::NotClaimed(delivery));
                }
                let (account, message): (String, i64) = t.conn.query_row(
                    "SELECT account, message FROM delivery WHERE id = ?",
                    [delivery.0],
                    |row| Ok((row.get(0)?, row.get(1)?)),
                )?;
                tally::delivered(t, Direction::Out, &account)?;
                sent::note(t, &account, MessageId(message))?;
                t.touch(Direction::Out, &account);
                Ok(())
            })
            .await
    }
}

fn collect(
    owed: &mut BTreeMap<(MessageId, Report), Owed>,
    report: Report,
    row: &Row<'_>,
) -> Result<()> {
    let message = MessageId(row.get(0)?);
    let recipient = OwedRecipient {
        delivery: DeliveryId(row.get(8)?),
        address: row.get(9)?,
        orcpt: row.get(10)?,
        why: row.get(11)?,
    };
    if let Some(known) = owed.get_mut(&(message, report)) {
        known.recipients.push(recipient);
        return Ok(());
    }
    let this = Owed {
        report,
        message,
        sender: row.get(1)?,
        ret: row
            .get::<_, Option<String>>(2)?
            .as_deref()
            .and_then(Ret::parse),
        envid: row.get(3)?,
        taken_at: row.get(4)?,
        headline: Headline {
            from: row.get(5)?,
            subject: row.get(6)?,
            message_id: row.get(7)?,
        },
        recipients: vec![recipient],
    };
    owed.insert((message, report), this);
    Ok(())
}

fn is_owed(t: &Tables<'_>, report: Report, delivery: DeliveryId) -> Result<bool> {
    let condition = match report {
        Report::Failed => "state = 'held' AND report = 'failed'",
        Report::Relayed => "state = 'held' AND report = 'relayed'",
        Report::Delayed => "state IN ('due', 'waiting', 'claimed') AND NOT delay_told",
    };
    let sql = format!("SELECT 1 FROM delivery WHERE id = ? AND {condition}");
    Ok(t.conn.prepare_cached(&sql)?.exists([delivery.0])?)
}

/// A report by relay has the null sender, so that nothing is ever reported about it.
fn insert_own_outgoing(t: &Tables<'_>, outgoing: Outgoing, own: &Own) -> Result<MessageId> {
    let id = insert_outgoing(t, outgoing)?;
    t.execute(
        "UPDATE message SET own = ?2, own_id = ?3 WHERE id = ?1",
        params![id.0, own.kind.as_str(), own.id],
    )?;
    Ok(id)
}

/// The recipient is dealt with; with the last one the message goes.
fn close(t: &Tables<'_>, report: Report, message: MessageId, delivery: DeliveryId) -> Result<()> {
    if report == Report::Delayed {
        t.execute(
            "UPDATE delivery SET delay_told = 1 WHERE id = ?",
            [delivery.0],
        )?;
        return Ok(());
    }
    t.execute(
        "UPDATE delivery SET state = 'delivered', report = NULL, held_at = NULL WHERE id = ?",
        [delivery.0],
    )?;
    let left = t
        .conn
        .prepare_cached("SELECT 1 FROM delivery WHERE message = ? AND state <> 'delivered'")?
        .exists([message.0])?;
    if !left {
        drop_message(t, message)?;
    }
    Ok(())
}
