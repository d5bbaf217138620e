//! From the spool to the ticket system: claims what is due, hands it over, settles; beside the session, in its own task.
//!
//! Delivered is on disk before the mailbox is touched. The next delivery starts while the last outcome is being committed, but
//! begun and not settled are never more than one message beyond those that may run: so much a crash can double at most.

mod carrier;
mod check;
mod claims;
mod command;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzz;
mod http;
mod job;
mod lmtp;
mod maildir;
mod pace;
mod patience;
mod reading;
mod record;
mod slump;

use std::collections::{HashSet, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::ready;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use spool::{DeliveryId, Direction, InClaim, Outcome, Spool, SpoolError, Stored};
use token_store::accounts::Mailbox;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

pub(crate) use self::check::check;

use self::carrier::Carrier;
use self::claims::next_claim;
use self::job::{Finished, Job};
use self::pace::Pace;
use self::slump::Slump;
use crate::session::Signals;
use crate::show::Show;

/// A delivery faster than this is quick.
const QUICK: Duration = Duration::from_millis(100);
type Running = Pin<Box<dyn Future<Output = Ended> + Send>>;
type Claiming = Pin<Box<dyn Future<Output = Result<Vec<InClaim>, SpoolError>> + Send>>;
type Settling = Pin<Box<dyn Future<Output = Settled> + Send>>;

/// A delivery that ended, and how long it took.
struct Ended {
    claim: InClaim,
    finished: Finished,
    took: Duration,
}

/// An outcome that is on disk.
struct Settled {
    delivery: DeliveryId,
    /// The mailbox has something to be told.
    tell: bool,
}

/// Deliveries of one mailbox.
pub(crate) struct Deliveries {
    mailbox: Arc<Mailbox>,
    spool: Spool,
    signals: Arc<Signals>,
    show: Show,
    carrier: Arc<Carrier>,
    queue: VecDeque<InClaim>,
    /// What is claimed here and neither settled nor given back. A lease may end under a delivery that still runs (its outcome
    /// can't be written, say); what is claimed anew then must not be begun anew.
    mine: HashSet<DeliveryId>,
    /// The next claim of the queue, its message at hand before its turn comes.
    ready: Option<(InClaim, Result<Stored, Outcome>)>,
    /// Polled by this task itself: a task each would cost two hops between threads per message.
    running: FuturesUnordered<Running>,
    settling: FuturesUnordered<Settling>,
    claiming: Option<Claiming>,
    /// Nothing was due at the last claim.
    idle: bool,
    slump: Slump,
    paused_until: Option<Instant>,
    /// Messages a minute.
    pace: Pace,
    /// The next delivery may begin then.
    throttled_until: Option<Instant>,
    quick: bool,
}

impl Deliveries {
    pub(crate) fn new(
        mailbox: Arc<Mailbox>,
        spool: Spool,
        signals: Arc<Signals>,
        show: Show,
    ) -> Self {
        let carrier = Carrier::new(&mailbox, spool.instance());
        let pace = Pace::new(mailbox.care.rate, Instant::now());
        Self {
            mailbox,
            spool,
            signals,
            show,
            carrier: Arc::new(carrier),
            queue: VecDeque::new(),
            mine: HashSet::new(),
            ready: None,
            running: FuturesUnordered::new(),
            settling: FuturesUnordered::new(),
            claiming: None,
            idle: false,
            slump: Slump::new(),
            paused_until: None,
            pace,
            throttled_until: None,
            quick: true,
        }
    }

    /// Delivers until shutdown; then no new claim, the deliveries that run end, their outcomes are written, other claims go back.
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
                    if self.running.is_empty() {
                        self.carrier.rest().await;
                    }
                }
                () = shutdown.cancelled(), if !stopping => {}
            }
        }
        self.put_back().await;
        self.carrier.rest().await;
    }

    /// Starts as many deliveries as may run, within the window of open outcomes; then gets the next message ready while they run.
    async fn start(&mut self) {
        let concurrency = if self.slump.probing() {
            1
        } else {
            self.mailbox.deliver.concurrency.max(1)
        };
        if self.throttled_until.take().is_some() && self.ready.is_none() && self.queue.is_empty() {
            self.show.delivery(None);
        }
        while self.paused_until.is_none() {
            if self.ready.is_none() {
                let Some(claim) = self.queue.pop_front() else {
                    return;
                };
                let message =
                    Self::message(&self.spool.clone(), &self.carrier.clone(), &claim).await;
                self.ready = Some((claim, message));
            }
            let open = self.running.len() + self.settling.len();
            if self.running.len() >= concurrency || open > concurrency {
                return;
            }
            self.throttled_until = self.pace.not_before(Instant::now());
            if self.throttled_until.is_some() {
                self.show.delivery(self.backlog());
                return;
            }
            let Some((claim, message)) = self.ready.take() else {
                return;
            };
            let carrier = self.carrier.clone();
            self.pace.note(Instant::now());
            let mut running: Running = Box::pin(async move {
                let begun = Instant::now();
                let finished = match message {
                    Ok(message) => carrier.deliver(Job::new(&claim, message)).await,
                    Err(outcome) => Finished::new(outcome, None),
                };
                Ended {
                    claim,
                    finished,
                    took: begun.elapsed(),
                }
            });
            // The first poll starts it; it runs while the next message is made ready.
            self.running.push(match running.as_mut().now_or_never() {
                Some(ended) => Box::pin(ready(ended)),
                None => running,
            });
        }
    }

    /// A message, ready to be delivered.
    async fn message(spool: &Spool, carrier: &Carrier, claim: &InClaim) -> Result<Stored, Outcome> {
        let later = |why| Outcome::Retry { why, after: None };
        match spool.open_body(claim.message).await {
            Ok(stored) => carrier
                .ready(stored)
                .map_err(|e| later(format!("no file in memory for the message: {e}"))),
            Err(e @ (SpoolError::Torn { .. } | SpoolError::Gone(_))) => {
                Err(Outcome::Refused { why: e.to_string() })
            }
            Err(e) => Err(later(e.to_string())),
        }
    }

    async fn ended(&mut self, ended: Ended) {
        let Ended {
            claim,
            finished,
            took,
        } = ended;
        let outcome = &finished.outcome;
        let name = &self.mailbox.name;
        record::log(name, &claim, outcome, finished.output.as_deref(), took);
        self.quick = took < QUICK;
        let pause = self.slump.after(outcome, fastrand::f64());
        let told = match outcome {
            Outcome::Retry { why, .. } | Outcome::Blocked { why, .. } if pause.is_some() => {
                Some(format!("deliveries fail and pause: {why}"))
            }
            _ => self.backlog(),
        };
        let delivery = claim.delivery;
        let settle = record::settle(
            self.spool.clone(),
            self.mailbox.name.clone(),
            delivery,
            finished,
        );
        let settled = move |tell| Settled { delivery, tell };
        let mut settling: Settling = Box::pin(settle.map(settled));
        // The first poll queues it with the writer, which commits while the next delivery is started.
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

    /// What waits because of the rate, in words.
    fn backlog(&self) -> Option<String> {
        self.throttled_until?;
        let waiting = self.spool.undelivered(&self.mailbox.name).ok()?;
        Some(self.pace.words(waiting))
    }

    fn settled(&mut self, settled: &Settled) {
        self.mine.remove(&settled.delivery);
        if settled.tell {
            self.signals.delivered.notify_one();
        }
    }
}
