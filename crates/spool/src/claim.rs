//! Leases on due deliveries, of both directions, and what becomes of them: settle, release, extend.

use std::time::Duration;

use rusqlite::{OptionalExtension, named_params, params};

use crate::body::make_durable;
use crate::clock::{seconds, seconds_up};
use crate::error::{Result, SpoolError};
use crate::lease::Leased;
use crate::outcome::Outcome;
use crate::person::hold_left;
use crate::rows::{DEAD_PAUSE, PUT_BACK, cut, drop_message, printable, release, tail};
use crate::schedule::{self, History, Next, Policy};
use crate::sent;
use crate::tables::Tables;
use crate::tally;
use crate::thread::{ITS_TURN, PATIENCE};
use crate::{DeliveryId, Direction, MessageId, Spool};

/// Of a command's output or a server's answers: the end, where the reason is. Enough for a stack
/// trace of any ticket system, too little to fill the disk with.
const OUTPUT: usize = 64 * 1024;

/// A reason is a line or two; the rest is in the output.
const WHY: usize = 2_000;

/// A delivery at the moment it is settled.
struct Claimed {
    delivery: DeliveryId,
    message: MessageId,
    direction: Direction,
    account: String,
    history: History,
    blocked_since: Option<i64>,
    /// Nothing is left to do once it is delivered: there is no mailbox to tell.
    local: bool,
    /// A person wants it held after this attempt, with this reason.
    hold_why: Option<String>,
}

impl Spool {
    /// Records an outcome; the schedule decides what follows, which is returned. `output`: the tail
    /// of what the command wrote or the server said, kept with the delivery.
    ///
    /// A delivery that is not claimed any more (its lease ended and somebody else settled it, or a
    /// person deleted it) is [`SpoolError::NotClaimed`], and stays as it is.
    pub async fn settle(
        &self,
        delivery: DeliveryId,
        outcome: Outcome,
        output: Option<String>,
        policy: &Policy,
    ) -> Result<Next> {
        let stays = !matches!(outcome, Outcome::Delivered { .. });
        let durable = stays && self.make_body_durable(delivery).await?;
        let policy = policy.clone();
        self.inner
            .writer
            .call(move |t| {
                let claimed = claimed(t, delivery)?;
                if durable {
                    t.execute(
                        "UPDATE message SET durable = 1 WHERE id = ?",
                        [claimed.message.0],
                    )?;
                }
                let next = follow(t, &claimed, &outcome, output.as_deref(), &policy)?;
                t.touch(claimed.direction, &claimed.account);
                Ok(next)
            })
            .await
    }

    /// Everything that is due for a relay ends so, untried, at most `limit` deliveries: the relay as a whole can't work, and what
    /// waits for its turn in a conversation waits for the relay too. Returns how many.
    pub async fn settle_due(
        &self,
        relay: &str,
        outcome: Outcome,
        policy: &Policy,
        limit: usize,
    ) -> Result<usize> {
        let (relay, policy) = (relay.to_owned(), policy.clone());
        self.inner
            .writer
            .call(move |t| {
                hold_left(t, Direction::Out, &relay)?;
                let due = all_due(t, &relay, limit)?;
                for delivery in &due {
                    lease(t, *delivery, Duration::ZERO)?;
                    follow(t, &claimed(t, *delivery)?, &outcome, None, &policy)?;
                }
                if !due.is_empty() {
                    t.touch(Direction::Out, &relay);
                }
                Ok(due.len())
            })
            .await
    }

    /// Puts claims back untouched (shutdown): the attempt is not counted.
    pub async fn release(&self, deliveries: Vec<DeliveryId>) -> Result<()> {
        self.inner
            .writer
            .call(move |t| release(t, &deliveries))
            .await
    }

    /// Puts back all that is claimed for a mailbox (In) or relay (Out). For the account's only
    /// claimant, when it begins: what is claimed then was left by one that panicked or was ended.
    /// An outbound message, which may have been on its way, waits a few seconds first. Returns how many.
    pub async fn release_account(&self, direction: Direction, account: &str) -> Result<u64> {
        let account = account.to_owned();
        self.inner
            .writer
            .call(move |t| {
                let released = t.execute(
                    &format!("{PUT_BACK} AND direction = ?3 AND account = ?4"),
                    params![t.now, DEAD_PAUSE, direction.as_str(), account],
                )?;
                if released > 0 {
                    t.touch(direction, &account);
                }
                Ok(released as u64)
            })
            .await
    }

    /// Makes leases end `lease` from now, for deliveries that take long.
    pub async fn extend(&self, deliveries: Vec<DeliveryId>, lease: Duration) -> Result<()> {
        self.inner
            .writer
            .call(move |t| {
                for delivery in &deliveries {
                    t.execute(
                        "UPDATE delivery SET due_at = ?2 WHERE id = ?1 AND state = 'claimed'",
                        params![delivery.0, lease_end(t, lease)],
                    )?;
                }
                Ok(())
            })
            .await
    }

    /// The account works again (consent was given, a quota ended): what waited for it is due now.
    /// Returns how many deliveries.
    pub async fn unblock(&self, direction: Direction, account: &str) -> Result<u64> {
        let account = account.to_owned();
        self.inner
            .writer
            .call(move |t| {
                let changed = t.execute(
                    "UPDATE delivery SET due_at = min(since, ?3)
                     WHERE direction = ?1 AND account = ?2 AND due_at IS NOT NULL AND state = 'waiting'",
                    params![direction.as_str(), account, t.now],
                )?;
                t.touch(direction, &account);
                Ok(changed as u64)
            })
            .await
    }

    /// The relay works again after it was away for long: what waits for a retry is due now, but for what is in doubt, whose pause
    /// has another reason. Returns how many deliveries.
    pub async fn hurry(&self, relay: &str) -> Result<u64> {
        let relay = relay.to_owned();
        self.inner
            .writer
            .call(move |t| {
                let changed = t.execute(
                    "UPDATE delivery SET due_at = ?2
                     WHERE direction = 'out' AND account = ?1 AND due_at > ?2 AND state = 'due' AND doubts = 0",
                    params![relay, t.now],
                )?;
                t.touch(Direction::Out, &relay);
                Ok(changed as u64)
            })
            .await
    }

    /// When the next delivery of a mailbox (In) or relay (Out) is due whose turn it is in its conversation, or the next lease ends.
    /// None: nothing waits.
    pub fn next_due(&self, direction: Direction, account: &str) -> Result<Option<Duration>> {
        let now = self.inner.clock.wall();
        let due_at: Option<i64> = self.inner.reads.with(|conn| {
            Ok(conn
                .prepare_cached(&format!(
                    "SELECT due_at FROM delivery d
                     WHERE direction = :direction AND account = :account AND due_at IS NOT NULL AND {ITS_TURN}
                     ORDER BY due_at LIMIT 1"
                ))?
                .query_row(
                    named_params! {
                        ":direction": direction.as_str(), ":account": account,
                        ":now": seconds(now), ":patience": PATIENCE,
                    },
                    |row| row.get(0),
                )
                .optional()?)
        })?;
        Ok(due_at.map(|at| Duration::from_secs(at.max(0).unsigned_abs()).saturating_sub(now)))
    }

    /// Runs a claim. A caller that is gone before it sees the claims gives them back.
    pub(crate) async fn claim<T, F>(&self, work: F) -> Result<Vec<T>>
    where
        T: Send + 'static,
        F: FnOnce(&Tables<'_>) -> Result<(Vec<T>, Vec<DeliveryId>)> + Send + 'static,
    {
        let returned = std::sync::Arc::clone(&self.inner.writer.returned);
        let leased = self.inner.writer.call(move |t| {
            let (claims, deliveries) = work(t)?;
            Ok(Leased::new(claims, deliveries, returned))
        });
        Ok(leased.await?.arrived().unwrap_or_default())
    }

    /// A body that outlives its session is made durable, outside the writer. True: it was not yet.
    async fn make_body_durable(&self, delivery: DeliveryId) -> Result<bool> {
        let file: Option<String> = self.inner.reads.with(|conn| {
            Ok(conn
                .prepare_cached(
                    "SELECT file FROM delivery d CROSS JOIN message m ON m.id = d.message
                     WHERE d.id = ? AND file IS NOT NULL AND NOT durable",
                )?
                .query_row([delivery.0], |row| row.get(0))
                .optional()?)
        })?;
        let Some(file) = file else { return Ok(false) };
        make_durable(std::sync::Arc::clone(&self.inner.folder), file).await?;
        Ok(true)
    }
}

/// Marks one delivery as claimed.
pub(crate) fn lease(t: &Tables<'_>, delivery: DeliveryId, lease: Duration) -> Result<()> {
    t.execute(
        "UPDATE delivery SET state = 'claimed', due_at = ?2, attempts = attempts + 1 WHERE id = ?1",
        params![delivery.0, lease_end(t, lease)],
    )?;
    Ok(())
}

fn lease_end(t: &Tables<'_>, lease: Duration) -> i64 {
    t.now.saturating_add(seconds_up(lease).max(1))
}

fn claimed(t: &Tables<'_>, delivery: DeliveryId) -> Result<Claimed> {
    let span = |seconds: i64| Duration::from_secs(seconds.max(0).unsigned_abs());
    t.conn
        .prepare_cached(
            "SELECT d.message, d.direction, d.account, attempts, refusals, doubts, since, blocked_for, blocked_since,
               d.direction = 'in' AND (m.folder IS NULL OR m.aside), hold_why
             FROM delivery d CROSS JOIN message m ON m.id = d.message WHERE d.id = ? AND state = 'claimed'",
        )?
        .query_row([delivery.0], |row| {
            let blocked_since: Option<i64> = row.get(8)?;
            let blocked_now = blocked_since.map_or(0, |since| (t.now - since).max(0));
            Ok(Claimed {
                delivery,
                message: MessageId(row.get(0)?),
                direction: Direction::from_word(row.get_ref(1)?.as_str()?),
                account: row.get(2)?,
                history: History {
                    attempts: row.get(3)?,
                    refusals: row.get(4)?,
                    doubts: row.get(5)?,
                    age: span(t.now - row.get::<_, i64>(6)?),
                    blocked_for: span(row.get::<_, i64>(7)? + blocked_now),
                },
                blocked_since,
                local: row.get(9)?,
                hold_why: row.get(10)?,
            })
        })
        .optional()?
        .ok_or(SpoolError::NotClaimed(delivery))
}

/// A person's wish to hold it comes before the schedule's, but not before the fact that it is delivered.
fn wished(claimed: &Claimed, outcome: &Outcome, next: Next) -> Next {
    match &claimed.hold_why {
        Some(why) if next != Next::Done => Next::Hold {
            why: format!("{why}; its last attempt: {}", outcome.why()),
        },
        _ => next,
    }
}

/// Asks the schedule what follows, and writes it.
fn follow(
    t: &Tables<'_>,
    claimed: &Claimed,
    outcome: &Outcome,
    output: Option<&str>,
    policy: &Policy,
) -> Result<Next> {
    let next = schedule::next(policy, claimed.history, outcome, fastrand::f64());
    let next = wished(claimed, outcome, next);
    record(t, claimed, outcome, &next, output)?;
    Ok(next)
}

/// What is due for a relay, oldest first.
fn all_due(t: &Tables<'_>, relay: &str, limit: usize) -> Result<Vec<DeliveryId>> {
    let mut statement = t.conn.prepare_cached(
        "SELECT id FROM delivery WHERE direction = 'out' AND account = ? AND due_at <= ? ORDER BY due_at, id LIMIT ?",
    )?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = statement.query_map(params![relay, t.now, limit], |row| {
        row.get(0).map(DeliveryId)
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Writes what follows an outcome.
fn record(
    t: &Tables<'_>,
    claimed: &Claimed,
    outcome: &Outcome,
    next: &Next,
    output: Option<&str>,
) -> Result<()> {
    if *next == Next::Done {
        tally::delivered(t, claimed.direction, &claimed.account)?;
        if claimed.direction == Direction::Out {
            sent::note(t, &claimed.account, claimed.message)?;
        }
        let last = claimed.direction == Direction::Out && all_others_delivered(t, claimed)?;
        if last || claimed.local {
            drop_message(t, claimed.message)?;
            return Ok(());
        }
    }
    let due = |after: Duration| Some(t.now.saturating_add(seconds_up(after)));
    let (state, due_at, why) = match next {
        Next::Done => ("delivered", None, outcome.why()),
        Next::Again { after } => ("due", due(*after), outcome.why()),
        Next::Wait { after } => ("waiting", due(*after), outcome.why()),
        Next::Hold { why } => ("held", None, why.as_str()),
    };
    let history = claimed.history;
    let blocked = matches!(outcome, Outcome::Blocked { .. });
    let (blocked_for, blocked_since) = match (blocked, claimed.blocked_since) {
        // The stretch goes on, and is counted from its start.
        (true, Some(since)) => {
            let counted = seconds(history.blocked_for) - (t.now - since).max(0);
            (counted, Some(since))
        }
        (true, None) => (seconds(history.blocked_for), Some(t.now)),
        (false, _) => (seconds(history.blocked_for), None),
    };
    t.execute(
        "UPDATE delivery SET state = ?2, due_at = ?3, attempts = ?4, refusals = ?5, doubts = ?6,
           blocked_for = ?7, blocked_since = ?8, why = ?9, output = coalesce(?10, output), held_at = ?11, hold_why = NULL WHERE id = ?1",
        params![
            claimed.delivery.0,
            state,
            due_at,
            history.attempts.saturating_sub(u32::from(blocked)),
            history.refusals + u32::from(matches!(outcome, Outcome::Refused { .. })),
            history.doubts + u32::from(matches!(outcome, Outcome::InDoubt { .. })),
            blocked_for,
            blocked_since,
            printable(cut(why, WHY)),
            output.map(|output| tail(output, OUTPUT)),
            (state == "held").then_some(t.now),
        ],
    )?;
    // Ended for good by the other side or by time. What is in doubt, or waits for its account, is a person's to decide.
    let ended = matches!(outcome, Outcome::Refused { .. } | Outcome::Retry { .. });
    if claimed.direction == Direction::Out && state == "held" && ended {
        t.execute(
            "UPDATE delivery SET report = 'failed'
             WHERE id = ?1 AND (notify IS NULL OR notify LIKE '%FAILURE%') AND EXISTS (
               SELECT 1 FROM message m WHERE m.id = message AND m.sender <> '' AND NOT m.automatic)",
            [claimed.delivery.0],
        )?;
    }
    Ok(())
}

fn all_others_delivered(t: &Tables<'_>, claimed: &Claimed) -> Result<bool> {
    Ok(!t
        .conn
        .prepare_cached(
            "SELECT 1 FROM delivery WHERE message = ? AND id <> ? AND state <> 'delivered'",
        )?
        .exists([claimed.message.0, claimed.delivery.0])?)
}
