//! The loop of one relay: look for what is due, begin what may begin, wait for whatever comes first.
mod claims;

use super::carry::{Carried, carry};
use super::connect::Account;
use super::gate::{Back, Gate};
use super::judge::Trouble;
use super::pace::Pace;
use super::record::{record, release};
use crate::smtp_client::Client;
use spool::{DeliveryId, Direction, OutClaim, Outcome};
use std::collections::{HashMap, VecDeque};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use token_store::accounts::{Condition, Kind};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, sleep_until};
use tracing::{error, info, warn};
use wire::dial::Stream;

/// Deliveries that are settled in one go when the relay can't work; new mail waits no longer than for these.
const BATCH: usize = 250;

/// A connection between two messages.
struct Kept {
    client: Client<Stream>,
    since: Instant,
}

/// The state of one relay's loop.
pub(crate) struct Runner {
    account: Arc<Account>,
    queue: VecDeque<OutClaim>,
    /// When the first of the queue was claimed, or earlier.
    queued_since: Instant,
    kept: Vec<Kept>,
    running: JoinSet<Carried>,
    /// What each running task has claimed, in case it panics.
    claimed: HashMap<Id, Vec<DeliveryId>>,
    farewells: JoinSet<()>,
    gate: Gate,
    pace: Pace,
    look_at: Instant,
    shown: Option<Condition>,
    /// The reason that was logged last, until a message goes through.
    paused_for: Option<String>,
}

impl Runner {
    pub(crate) fn new(account: Arc<Account>) -> Self {
        Self {
            queue: VecDeque::new(),
            queued_since: Instant::now(),
            kept: Vec::new(),
            running: JoinSet::new(),
            claimed: HashMap::new(),
            farewells: JoinSet::new(),
            gate: Gate::new(account.relay.connections),
            pace: Pace::new(account.relay.rate, sent_before(&account), Instant::now()),
            look_at: Instant::now(),
            shown: None,
            paused_for: None,
            account,
        }
    }

    /// Until shutdown, and until what runs then has ended.
    pub(crate) async fn run(mut self) {
        let account = Arc::clone(&self.account);
        let hint = account.parts.spool.hint(Direction::Out, account.name());
        self.put_back_left_behind().await;
        self.look_at_the_token().await;
        loop {
            // Listening begins before looking, so that nothing that happens in between goes unnoticed.
            let mut hinted = pin!(hint.notified());
            hinted.as_mut().enable();
            let mut poked = pin!(account.parts.poke.notified());
            poked.as_mut().enable();

            let blocked = self.gate.shut().is_some_and(|shut| shut.blocked);
            self.gate.tick(Instant::now());
            if blocked && self.gate.shut().is_none() {
                self.look_at_the_token().await;
            }
            self.retire();
            self.put_back_stale().await;
            self.look().await;
            self.begin();
            self.show();
            let wake = self.wake();
            tokio::select! {
                biased;
                () = account.shutdown.cancelled() => break,
                Some(ended) = self.running.join_next_with_id() => self.ended(ended).await,
                () = poked => {
                    self.gate.open();
                    self.unblock().await;
                }
                () = hinted => self.look_at = Instant::now(),
                Some(_) = self.farewells.join_next() => {}
                () = sleep_until(wake) => {}
            }
        }
        self.drain().await;
    }

    /// Without a token the first reply would be the first to find out: the board says so from the start.
    async fn look_at_the_token(&mut self) {
        let account = Arc::clone(&self.account);
        tokio::select! {
            () = account.shutdown.cancelled() => {}
            credential = account.credential() => {
                if let Err(trouble @ Trouble::Blocked { .. }) = credential {
                    self.stop(&trouble).await;
                }
            }
        }
    }

    /// Begins as many messages as connections and rate allow. A connection that is being closed is one to the server.
    fn begin(&mut self) {
        let now = Instant::now();
        while self.gate.shut().is_none()
            && self.running.len() + self.farewells.len() < self.gate.slots()
            && self.pace.not_before(now).is_none()
        {
            let Some(claim) = self.queue.pop_front() else {
                return;
            };
            self.pace.begin();
            let deliveries = deliveries_of(&claim);
            let kept = self.kept.pop().map(|kept| kept.client);
            let task = self
                .running
                .spawn(carry(Arc::clone(&self.account), claim, kept));
            self.claimed.insert(task.id(), deliveries);
        }
    }

    /// When there is something to do again, if nothing happens before.
    fn wake(&mut self) -> Instant {
        let now = Instant::now();
        let mut wake = now + self.account.timing.poll;
        if let Some(shut) = self.gate.shut() {
            wake = wake.min(shut.until);
        } else if self.queue.len() < self.gate.slots() {
            wake = wake.min(self.look_at.max(now));
        }
        if !self.queue.is_empty() {
            wake = self.pace.not_before(now).map_or(wake, |at| wake.min(at));
        }
        let keep = self.account.timing.keep_connection;
        self.kept
            .iter()
            .map(|kept| kept.since + keep)
            .fold(wake, Instant::min)
    }

    async fn ended(&mut self, ended: Result<(Id, Carried), JoinError>) {
        let carried = match ended {
            Ok((id, carried)) => {
                self.claimed.remove(&id);
                carried
            }
            Err(panic) => return self.panicked(&panic).await,
        };
        let most = self.account.relay.messages_per_connection;
        let may_go_on = |client: &Client<Stream>| most.is_none_or(|most| client.carried < most);
        if let Some(client) = carried.client {
            if !may_go_on(&client) {
                self.farewells.spawn(client.quit());
            } else {
                self.kept.push(Kept {
                    client,
                    since: Instant::now(),
                });
            }
        }
        if carried.worked && carried.trouble.is_none() {
            self.paused_for = None;
            match self.gate.worked() {
                Some(Back::Blocked) => self.unblock().await,
                Some(Back::Outage) => self.hurry().await,
                None => {}
            }
        }
        match carried.untouched {
            Some(claim) => {
                self.pace.take_back();
                self.queue.push_front(claim);
            }
            None => self.pace.end(Instant::now()),
        }
        if let Some(trouble) = carried.trouble {
            self.stop(&trouble).await;
        }
    }

    /// What waited for the account is due now.
    async fn unblock(&mut self) {
        self.look_at = Instant::now();
        if let Err(error) = self
            .account
            .parts
            .spool
            .unblock(Direction::Out, self.account.name())
            .await
        {
            warn!(relay = self.account.name(), %error, "mail that waited for the account waits a little longer");
        }
    }

    /// What was tried while the relay was away is due now: its next try may be hours off.
    async fn hurry(&mut self) {
        self.look_at = Instant::now();
        if let Err(error) = self.account.parts.spool.hurry(self.account.name()).await {
            warn!(relay = self.account.name(), %error, "mail waits for its next try, although the relay is back");
        }
    }

    /// Where it was when it failed nobody knows, so its message may have gone out.
    async fn panicked(&mut self, panic: &JoinError) {
        error!(relay = self.account.name(), error = %panic, "sending a message failed inside Postern; the others go on");
        self.pace.end(Instant::now());
        for delivery in self.claimed.remove(&panic.id()).unwrap_or_default() {
            let why = "sending failed inside Postern; the log has more".to_owned();
            record(&self.account, delivery, Outcome::InDoubt { why }).await;
        }
    }

    /// Shuts the gate, and does with the claims at hand what the trouble says.
    async fn stop(&mut self, trouble: &Trouble) {
        let now = Instant::now();
        let pause = self.gate.shut_for(trouble, now, fastrand::f64());
        // A relay that waits for a person looks again and again; one line says so.
        if self.paused_for.as_deref() != Some(trouble.why()) {
            warn!(
                relay = self.account.name(),
                why = trouble.why(),
                pause = pause.as_secs(),
                "the relay pauses"
            );
            self.paused_for = Some(trouble.why().to_owned());
        }
        let claims = std::mem::take(&mut self.queue);
        let why = trouble.why().to_owned();
        let after = Some(pause);
        match trouble {
            Trouble::Blocked { .. } => {
                self.settle_all(&claims, Outcome::Blocked { why, after })
                    .await;
            }
            Trouble::Later { .. } if self.gate.is_outage(now) => {
                self.settle_all(&claims, Outcome::Retry { why, after })
                    .await;
            }
            _ => {
                release(
                    &self.account,
                    claims.iter().flat_map(deliveries_of).collect(),
                )
                .await
            }
        }
        if self.gate.is_down(now, self.account.timing.fallback_after) {
            self.pass_on().await;
        }
    }

    /// Everything that is due ends so: its clock stops or runs, and the queue says why.
    async fn settle_all(&self, claims: &VecDeque<OutClaim>, outcome: Outcome) {
        let at_hand = claims.iter().flat_map(deliveries_of);
        let recorded = at_hand.map(|delivery| record(&self.account, delivery, outcome.clone()));
        futures_util::future::join_all(recorded).await;
        let (spool, policy) = (&self.account.parts.spool, &self.account.policy);
        loop {
            let settled = spool
                .settle_due(self.account.name(), outcome.clone(), policy, BATCH)
                .await;
            match settled {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) => {
                    return warn!(relay = self.account.name(), %error, "why mail waits could not be noted");
                }
            }
        }
    }

    /// Closes connections that were not needed for a while.
    fn retire(&mut self) {
        let keep = self.account.timing.keep_connection;
        for kept in self
            .kept
            .extract_if(.., |kept| kept.since.elapsed() >= keep)
        {
            self.farewells.spawn(kept.client.quit());
        }
    }

    /// Nothing new; what runs may end.
    async fn drain(mut self) {
        let unstarted = self
            .queue
            .drain(..)
            .flat_map(|claim| deliveries_of(&claim))
            .collect();
        release(&self.account, unstarted).await;
        if !self.running.is_empty() {
            info!(
                relay = self.account.name(),
                messages = self.running.len(),
                "waiting for messages on their way"
            );
        }
        while let Some(ended) = self.running.join_next_with_id().await {
            match ended {
                Ok((_, carried)) => {
                    release(
                        &self.account,
                        carried.untouched.iter().flat_map(deliveries_of).collect(),
                    )
                    .await;
                    carried
                        .client
                        .map(|client| self.farewells.spawn(client.quit()));
                }
                Err(panic) => self.panicked(&panic).await,
            }
        }
        for kept in self.kept.drain(..) {
            self.farewells.spawn(kept.client.quit());
        }
        while self.farewells.join_next().await.is_some() {}
    }

    /// Keeps the board true.
    fn show(&mut self) {
        let condition = match (self.gate.shut(), self.running.len()) {
            (Some(shut), _) if shut.blocked => Condition::Blocked {
                why: shut.why.clone(),
            },
            (Some(shut), _) => Condition::Waiting {
                why: shut.why.clone(),
                until: unix_time(shut.until),
            },
            (None, 0) => Condition::Working {
                doing: "waiting for mail to send".to_owned(),
            },
            (None, 1) => Condition::Working {
                doing: "sending a message".to_owned(),
            },
            (None, count) => Condition::Working {
                doing: format!("sending {count} messages"),
            },
        };
        if self.shown.as_ref() != Some(&condition) {
            self.account
                .parts
                .board
                .set(Kind::Relay, self.account.name(), condition.clone());
            self.shown = Some(condition);
        }
    }
}

/// How long ago messages went out before this task began: the rate holds over a restart too.
fn sent_before(account: &Account) -> Vec<Duration> {
    let sent = account.parts.spool.sent(account.name());
    sent.unwrap_or_else(|error| {
        warn!(relay = account.name(), %error, "what was sent in the last minute is not known");
        Vec::new()
    })
}

fn deliveries_of(claim: &OutClaim) -> Vec<DeliveryId> {
    claim
        .recipients
        .iter()
        .map(|recipient| recipient.delivery)
        .collect()
}

/// A moment of the runtime's clock as seconds since 1970.
fn unix_time(at: Instant) -> i64 {
    let then = SystemTime::now() + at.saturating_duration_since(Instant::now());
    let since = then.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
