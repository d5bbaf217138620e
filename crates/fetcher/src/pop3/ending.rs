//! How a session ends: waiting for deliveries, DELE for what is delivered, QUIT, and only then is it acknowledged.

use std::time::Duration;

use spool::MessageId;
use token_store::accounts::After;
use tokio::time::{Instant, sleep_until};

use super::session::{LINGER, Session};
use crate::error::FetchError;
use crate::session::{Context, End};

/// DELEs sent ahead of their answers.
const AHEAD: usize = 200;
/// Deliveries come in runs: the spool is asked now and then, not after each.
const BREATH: Duration = Duration::from_millis(20);
/// A failed attempt, or a person who holds what waits, gives no sign: the spool is asked all the same.
const LOOK: Duration = Duration::from_secs(1);
/// Fewer deletions than this wait for more while deliveries run.
const WORTH: u64 = 100;
/// A server may take its time to remove thousands of messages.
const QUIT: Duration = Duration::from_secs(300);

/// What ended a wait for the deliveries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waited {
    /// What was waited for has come.
    Enough,
    /// They stand still, or something else wants to go on.
    GaveUp,
}

impl Session {
    /// Ends the session, and says when the next one is due.
    pub(super) async fn end(mut self) -> Result<End, FetchError> {
        let deletes = self.context.mailbox.after == After::Delete;
        if deletes {
            // Whoever deletes in the same session needs no second one for it.
            self.wait_for_deliveries(0).await?;
            self.last_acknowledgements().await?;
        }
        self.quit().await?;
        if !deletes {
            self.wait_for_deliveries(0).await?;
            self.last_acknowledgements().await?;
        }
        if self.stopping() {
            return Ok(End::Shutdown);
        }
        let next = self.began + self.period();
        if !self.pending.is_empty() && !self.poked {
            self.wait_offline(next).await?;
            return Ok(End::Rest(Duration::ZERO));
        }
        let rest = next.saturating_duration_since(Instant::now());
        Ok(End::Rest(if self.poked { Duration::ZERO } else { rest }))
    }

    /// The mailbox is the queue: nothing is fetched until deliveries have made room. False: they don't, and the session ends.
    pub(super) async fn wait_for_room(&mut self) -> Result<bool, FetchError> {
        let enough = self.enough();
        self.show_full(enough)?;
        Ok(self.wait_for_deliveries(enough).await? == Waited::Enough)
    }

    /// So few undelivered messages make room for a good number of new ones.
    fn enough(&self) -> u64 {
        let cap = self.context.mailbox.max_undelivered.max(1);
        cap - (cap / 4).max(1)
    }

    fn undelivered(&self) -> Result<u64, FetchError> {
        let Context { mailbox, parts, .. } = &self.context;
        Ok(parts.spool.undelivered(&mailbox.name)?)
    }

    fn show_full(&self, enough: u64) -> Result<(), FetchError> {
        let undelivered = self.undelivered()?;
        if undelivered > enough {
            self.context.show.session(format!("{undelivered} messages wait to be delivered; the others stay in the mailbox until then"));
        }
        Ok(())
    }

    /// Waits until only `left` messages are undelivered, deleting on the way. Gives up when the deliveries stand still, or what is left waits
    /// for another attempt.
    async fn wait_for_deliveries(&mut self, left: u64) -> Result<Waited, FetchError> {
        let (mut before, mut until) = (u64::MAX, Instant::now() + LINGER);
        let mut told = self.undelivered()?;
        loop {
            let undelivered = self.undelivered()?;
            if undelivered <= left {
                return Ok(Waited::Enough);
            }
            let Context { mailbox, parts, .. } = &self.context;
            if parts.spool.deliverable(&mailbox.name)? == 0 {
                return Ok(Waited::GaveUp);
            }
            // What is marked stays in the spool until QUIT, so the rows are not read for every few of them.
            if told.saturating_sub(undelivered) >= WORTH {
                told = undelivered;
                self.acknowledge().await?;
            }
            if undelivered < before {
                (before, until) = (undelivered, Instant::now() + LINGER);
            }
            let Context {
                parts,
                signals,
                stops,
                ..
            } = &self.context;
            tokio::select! {
                () = signals.delivered.notified() => tokio::time::sleep(BREATH).await,
                () = parts.poke.notified() => {
                    self.poked = true;
                    return Ok(Waited::GaveUp);
                }
                () = stops.shutdown.cancelled() => return Ok(Waited::GaveUp),
                () = sleep_until(until.min(Instant::now() + LOOK)) => {
                    if Instant::now() >= until {
                        return Ok(Waited::GaveUp);
                    }
                }
            }
        }
    }

    /// Without a connection, until deliveries have made room or the next poll is due.
    async fn wait_offline(&mut self, next: Instant) -> Result<(), FetchError> {
        let enough = self.enough();
        self.show_full(enough)?;
        while self.undelivered()? > enough && Instant::now() < next {
            let Context {
                parts,
                signals,
                stops,
                ..
            } = &self.context;
            tokio::select! {
                () = signals.delivered.notified() => tokio::time::sleep(BREATH).await,
                () = parts.poke.notified() => return Ok(()),
                () = stops.shutdown.cancelled() => return Ok(()),
                () = sleep_until(next) => return Ok(()),
            }
        }
        Ok(())
    }

    /// At shutdown: the deliveries that run are let finish, and what they delivered is acknowledged.
    async fn last_acknowledgements(&mut self) -> Result<(), FetchError> {
        if self.stopping() {
            self.context.stops.drained.cancelled().await;
        }
        self.acknowledge().await
    }

    /// Delivered, and not yet told to the server in this session.
    fn due(&self) -> Result<Vec<(MessageId, u32)>, FetchError> {
        let Context { mailbox, parts, .. } = &self.context;
        let mut due = parts.spool.to_acknowledge(&mailbox.name, "INBOX", 0)?;
        due.retain(|(message, _)| !self.deleting.contains(message));
        Ok(due)
    }

    /// Acknowledges what is delivered: kept mail at once; a deletion is marked here, and counts with the QUIT.
    pub(super) async fn acknowledge(&mut self) -> Result<(), FetchError> {
        let due = self.due()?;
        if due.is_empty() {
            return Ok(());
        }
        let spool = self.context.parts.spool.clone();
        if self.context.mailbox.after == After::Keep {
            let messages = due.into_iter().map(|(message, _)| message).collect();
            spool.acknowledged(messages).await?;
            return Ok(());
        }
        let (mut listed, mut vanished) = (Vec::new(), Vec::new());
        for (message, uid) in due {
            match self.numbers.get(&uid) {
                Some(number) => listed.push((message, *number)),
                None if self.whole => vanished.push(message),
                None => {}
            }
        }
        if !vanished.is_empty() {
            spool.deleted(vanished).await?;
        }
        let ahead = if self.ahead() { AHEAD } else { 1 };
        for batch in listed.chunks(ahead) {
            self.delete(batch).await?;
        }
        Ok(())
    }

    async fn delete(&mut self, batch: &[(MessageId, u32)]) -> Result<(), FetchError> {
        let commands: String = batch
            .iter()
            .map(|(_, number)| format!("DELE {number}\r\n"))
            .collect();
        self.connection.send("DELE", &commands).await?;
        for (message, number) in batch {
            match self.connection.ok("DELE").await {
                Ok(_) => self.marked.push(*message),
                Err(FetchError::Refused(refusal)) => {
                    // Only this is repeated, in the next session.
                    tracing::warn!(
                        mailbox = self.context.mailbox.name,
                        number,
                        "a delivered message could not be deleted: {refusal}"
                    );
                    self.trouble(&refusal.to_string());
                }
                Err(e) => return Err(e),
            }
            self.deleting.insert(*message);
        }
        Ok(())
    }

    fn trouble(&self, why: &str) {
        let why = format!("delivered mail can't be deleted: {why}");
        self.context.show.trouble(Some(why));
    }

    /// QUIT, which is what deletes (RFC 1939 section 6). Without its `+OK` nothing is acknowledged.
    async fn quit(&mut self) -> Result<(), FetchError> {
        let marked = std::mem::take(&mut self.marked);
        self.connection.set_patience(QUIT);
        match self.connection.ask("QUIT", "QUIT").await {
            Ok(_) => {
                let count = marked.len();
                if count > 0 {
                    self.context.parts.spool.deleted(marked).await?;
                    tracing::debug!(mailbox = self.context.mailbox.name, count, "acknowledged");
                }
                if count == self.deleting.len() {
                    self.context.show.trouble(None);
                }
                Ok(())
            }
            Err(FetchError::Refused(refusal)) => {
                tracing::warn!(
                    mailbox = self.context.mailbox.name,
                    "the server may not have deleted everything: {refusal}"
                );
                self.trouble(&refusal.to_string());
                Ok(())
            }
            // Everything is done but the farewell.
            Err(FetchError::Again(_)) if marked.is_empty() => Ok(()),
            Err(e) => Err(e),
        }
    }
}
