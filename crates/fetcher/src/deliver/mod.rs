//! From the spool to the ticket system: claims what is due, runs the command, settles; beside the session, in its own task.
//!
//! Delivered is on disk before the mailbox is touched. The next command starts while the last outcome is being committed, but
//! begun and not settled are never more than one message beyond the commands that may run: so much a crash can double at most.

pub(crate) mod command;
mod exit;
mod record;
mod slump;

use std::collections::{HashSet, VecDeque};
use std::ffi::OsString;
use std::fs::File;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::ready;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use spool::{DeliveryId, Direction, InClaim, Outcome, Spool, SpoolError};
use token_store::accounts::Mailbox;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use self::command::Finished;
use self::exit::{Ending, outcome};
use self::slump::Slump;
use crate::imap::session::Signals;
use crate::show::Show;

/// Claimed at once while commands are quick.
const CLAIMS: usize = 32;
/// A command faster than this is quick.
const QUICK: Duration = Duration::from_millis(100);
/// Claims are renewed when fewer are left.
const LOW: usize = 8;
/// A hint may be lost: the spool is looked at after this in any case.
const LOOK: Duration = Duration::from_secs(60);
/// A delivery that is due but can't be claimed (somebody else's lease) is looked at again after this.
const LEASED: Duration = Duration::from_secs(1);
type Running = Pin<Box<dyn Future<Output = Ended> + Send>>;
type Claiming = Pin<Box<dyn Future<Output = Result<Vec<InClaim>, SpoolError>> + Send>>;
type Settling = Pin<Box<dyn Future<Output = Settled> + Send>>;

/// A command that ended, and how long it took.
struct Ended {
    claim: InClaim,
    finished: Finished,
    took: Duration,
}

/// An outcome that is on disk.
struct Settled {
    delivery: DeliveryId,
    /// It waits to be acknowledged now.
    delivered: bool,
}

/// Deliveries of one mailbox.
pub(crate) struct Deliveries {
    mailbox: Arc<Mailbox>,
    spool: Spool,
    signals: Arc<Signals>,
    show: Show,
    environment: Vec<(OsString, OsString)>,
    queue: VecDeque<InClaim>,
    /// What is claimed here and neither settled nor given back. A lease may end under a command that still runs (its outcome
    /// can't be written, say); what is claimed anew then must not be begun anew.
    mine: HashSet<DeliveryId>,
    /// The next claim of the queue, its message at hand before its turn comes.
    ready: Option<(InClaim, Result<File, Ending>)>,
    /// Polled by this task itself: a task each would cost two hops between threads per message.
    running: FuturesUnordered<Running>,
    settling: FuturesUnordered<Settling>,
    claiming: Option<Claiming>,
    /// Nothing was due at the last claim.
    idle: bool,
    slump: Slump,
    paused_until: Option<Instant>,
    quick: bool,
}

impl Deliveries {
    pub(crate) fn new(
        mailbox: Arc<Mailbox>,
        spool: Spool,
        signals: Arc<Signals>,
        show: Show,
    ) -> Self {
        Self {
            mailbox,
            spool,
            signals,
            show,
            environment: command::environment(),
            queue: VecDeque::new(),
            mine: HashSet::new(),
            ready: None,
            running: FuturesUnordered::new(),
            settling: FuturesUnordered::new(),
            claiming: None,
            idle: false,
            slump: Slump::new(),
            paused_until: None,
            quick: true,
        }
    }

    /// Delivers until shutdown; then no new claim, the commands that run end, their outcomes are written, other claims go back.
    pub(crate) async fn run(mut self, shutdown: CancellationToken) {
        let hint = self.spool.hint(Direction::In, &self.mailbox.name);
        let signals = self.signals.clone();
        self.put_back_left().await;
        loop {
            let stopping = shutdown.is_cancelled();
            if stopping {
                if self.running.is_empty() && self.settling.is_empty() && self.claiming.is_none() {
                    break;
                }
            } else {
                self.start().await;
                self.claim();
            }
            let look_at = self.look_at();
            tokio::select! {
                Some(ended) = self.running.next(), if !self.running.is_empty() => self.ended(ended).await,
                Some(settled) = self.settling.next(), if !self.settling.is_empty() => self.settled(&settled),
                claimed = next_claim(&mut self.claiming) => self.claimed(claimed),
                () = signals.taken.notified() => self.idle = false,
                () = hint.notified() => self.idle = false,
                () = sleep_until(look_at) => {
                    self.idle = false;
                    self.paused_until = self.paused_until.filter(|&until| until > Instant::now());
                }
                () = shutdown.cancelled(), if !stopping => {}
            }
        }
        self.put_back().await;
    }

    /// Starts as many commands as may run, within the window of open outcomes; then gets the next message ready while they run.
    async fn start(&mut self) {
        let concurrency = if self.slump.probing() {
            1
        } else {
            self.mailbox.deliver.concurrency.max(1)
        };
        while self.paused_until.is_none() {
            if self.ready.is_none() {
                let Some(claim) = self.queue.pop_front() else {
                    return;
                };
                let message = Self::message(self.spool.clone(), &claim).await;
                self.ready = Some((claim, message));
            }
            let open = self.running.len() + self.settling.len();
            if self.running.len() >= concurrency || open > concurrency {
                return;
            }
            let Some((claim, message)) = self.ready.take() else {
                return;
            };
            let mailbox = self.mailbox.clone();
            let environment = self.environment_of(&claim);
            let mut running: Running = Box::pin(async move {
                let begun = Instant::now();
                let deliver = &mailbox.deliver;
                let finished = match message {
                    Ok(message) => {
                        command::run(&deliver.command, environment, message, deliver.timeout).await
                    }
                    Err(ending) => Finished {
                        ending,
                        output: None,
                    },
                };
                Ended {
                    claim,
                    finished,
                    took: begun.elapsed(),
                }
            });
            // The first poll starts the command; it runs while the next message is made ready.
            self.running.push(match running.as_mut().now_or_never() {
                Some(ended) => Box::pin(ready(ended)),
                None => running,
            });
        }
    }

    /// A message as the command's standard input.
    async fn message(spool: Spool, claim: &InClaim) -> Result<File, Ending> {
        match spool.open_body(claim.message).await {
            Ok(stored) => command::stdin(stored)
                .map_err(|e| Ending::NotStarted(format!("no file in memory for the message: {e}"))),
            Err(e @ (SpoolError::Torn { .. } | SpoolError::Gone(_))) => {
                Err(Ending::NoMessage(e.to_string()))
            }
            Err(e) => Err(Ending::NotStarted(e.to_string())),
        }
    }

    /// The command's environment for one message.
    fn environment_of(&self, claim: &InClaim) -> Vec<(OsString, OsString)> {
        let sha256 = crate::hex(&claim.sha256);
        // The same for every attempt, also after a restart: the row's number alone would come again in a new database.
        let id = format!("{}-{}", claim.message.0, &sha256[..16]);
        let own = [
            ("POSTERN_MAILBOX", self.mailbox.name.clone()),
            ("POSTERN_DELIVERY_ID", id),
            ("POSTERN_ATTEMPT", claim.attempt.to_string()),
            ("POSTERN_SHA256", sha256),
            ("POSTERN_ENVELOPE_TO", self.mailbox.user.clone()),
        ];
        let own = own
            .into_iter()
            .map(|(name, value)| (OsString::from(name), OsString::from(value)));
        self.environment.iter().cloned().chain(own).collect()
    }

    /// Claims more before the last claims run out.
    fn claim(&mut self) {
        if self.claiming.is_some()
            || self.idle
            || self.paused_until.is_some()
            || self.queue.len() >= LOW
        {
            return;
        }
        let deliver = &self.mailbox.deliver;
        let concurrency = deliver.concurrency.max(1);
        let limit = match (self.slump.probing(), self.quick) {
            (true, _) => 1,
            (false, true) => CLAIMS,
            (false, false) => concurrency + 1,
        };
        if self.queue.len() >= limit || (self.slump.probing() && !self.running.is_empty()) {
            return;
        }
        // Long enough for every claim to be last in the queue behind commands that all time out.
        let turns = u32::try_from((limit + LOW) / concurrency + 2).unwrap_or(u32::MAX);
        let lease = deliver
            .timeout
            .saturating_mul(turns)
            .saturating_add(Duration::from_secs(60));
        let (spool, name) = (self.spool.clone(), self.mailbox.name.clone());
        self.claiming = Some(Box::pin(async move {
            spool.claim_in(&name, limit, lease).await
        }));
    }

    fn claimed(&mut self, claimed: Result<Vec<InClaim>, SpoolError>) {
        match claimed {
            Ok(claims) => {
                self.idle = claims.is_empty();
                // Outcomes on disk first: what a person had retried since then is to be begun again.
                while let Some(Some(settled)) = self.settling.next().now_or_never() {
                    self.settled(&settled);
                }
                let mine = &mut self.mine;
                self.queue
                    .extend(claims.into_iter().filter(|c| mine.insert(c.delivery)));
            }
            Err(e) => {
                tracing::error!(
                    mailbox = self.mailbox.name,
                    "deliveries can't be claimed: {e}"
                );
                self.paused_until = Some(Instant::now() + record::AGAIN);
            }
        }
    }

    /// When to look at the spool, or go on, without being told.
    fn look_at(&self) -> Instant {
        let now = Instant::now();
        if let Some(until) = self.paused_until {
            return until;
        }
        if !self.idle || !self.queue.is_empty() {
            return now + LOOK;
        }
        let due = self
            .spool
            .next_due(Direction::In, &self.mailbox.name)
            .ok()
            .flatten();
        now + due.map_or(LOOK, |d| d.clamp(LEASED, LOOK))
    }

    async fn ended(&mut self, ended: Ended) {
        let Ended {
            claim,
            finished,
            took,
        } = ended;
        let outcome = outcome(&finished.ending);
        record::log(&claim, &outcome, finished.output.as_deref(), took);
        self.quick = took < QUICK;
        let delivered = matches!(outcome, Outcome::Delivered { .. });
        let pause = self.slump.after(&outcome, fastrand::f64());
        let told = match &outcome {
            Outcome::Retry { why, .. } if pause.is_some() => {
                Some(format!("deliveries fail and pause: {why}"))
            }
            _ => None,
        };
        let delivery = claim.delivery;
        let settle = record::settle(
            self.spool.clone(),
            self.mailbox.name.clone(),
            delivery,
            outcome,
            finished.output,
        );
        let settled = Settled {
            delivery,
            delivered,
        };
        let mut settling: Settling = Box::pin(settle.map(|()| settled));
        // The first poll queues it with the writer, which commits while the next command is started.
        match settling.as_mut().now_or_never() {
            Some(settled) => self.settled(&settled),
            None => self.settling.push(settling),
        }
        self.show.delivery(told);
        if let Some(pause) = pause {
            tracing::warn!(
                mailbox = self.mailbox.name,
                seconds = pause.as_secs(),
                "deliveries fail in a row: a pause"
            );
            self.paused_until = Some(Instant::now() + pause);
            self.put_back().await;
        }
    }

    fn settled(&mut self, settled: &Settled) {
        self.mine.remove(&settled.delivery);
        if settled.delivered {
            self.signals.delivered.notify_one();
        }
    }

    /// At the start: this task is the mailbox's only claimant, so what is claimed is of one that panicked.
    async fn put_back_left(&mut self) {
        let name = &self.mailbox.name;
        match self.spool.release_account(Direction::In, name).await {
            Ok(0) => {}
            Ok(claims) => tracing::info!(mailbox = name, claims, "put back what was left claimed"),
            // Their lease ends by itself.
            Err(e) => tracing::warn!(mailbox = name, "left claims could not be put back: {e}"),
        }
    }

    /// Gives claims back that were not begun.
    async fn put_back(&mut self) {
        let ready = self.ready.take().map(|(claim, _)| claim);
        let claims: Vec<DeliveryId> = ready
            .into_iter()
            .chain(self.queue.drain(..))
            .map(|c| c.delivery)
            .collect();
        for claim in &claims {
            self.mine.remove(claim);
        }
        if !claims.is_empty()
            && let Err(e) = self.spool.release(claims).await
        {
            // Their lease ends by itself.
            tracing::warn!(
                mailbox = self.mailbox.name,
                "claims could not be given back: {e}"
            );
        }
    }
}

/// The claim under way; never, if there is none.
async fn next_claim(claiming: &mut Option<Claiming>) -> Result<Vec<InClaim>, SpoolError> {
    match claiming {
        Some(claim) => {
            let claimed = claim.await;
            *claiming = None;
            claimed
        }
        None => std::future::pending().await,
    }
}
