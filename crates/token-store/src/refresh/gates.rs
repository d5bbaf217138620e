//! The gates to the token endpoints: how many requests are under way, in all and to each, and each one's breaker.

use super::breaker::{Admission, Breaker, Turn};
use super::schedule::Lane;
use crate::clock::Clock;
use crate::exchange::{Blame, Verdict};
use crate::state::pace::{MINUTE, millis};
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};

/// Requests under way at once, in all: each is a connection and a few kilobytes.
const IN_ALL: usize = 64;
/// The same to one endpoint: at a fifth of a second each this refreshes 10,000 tokens within the lead of a quarter of
/// an hour three times over, and no provider takes it for an attack.
const PER_ENDPOINT: usize = 8;
/// Gates that nobody uses and of which nothing is known are swept beyond this many.
const KEPT: usize = 256;

/// All gates.
pub(crate) struct Gates {
    clock: Clock,
    in_all: Arc<Semaphore>,
    gates: Mutex<HashMap<Lane, Arc<Gate>>>,
}

/// The gate of one endpoint.
pub(crate) struct Gate {
    lane: Lane,
    slots: Arc<Semaphore>,
    breaker: Mutex<Breaker>,
    /// How many tokens wait for it; for the log.
    waiting: AtomicUsize,
}

/// The right to send one request.
pub(crate) struct Pass {
    gate: Arc<Gate>,
    client: String,
    probe: bool,
    reported: bool,
    clock: Clock,
    _slot: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

/// No request now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Closed {
    /// Why, in words.
    pub(crate) words: String,
    /// When to ask again.
    pub(crate) after: Duration,
}

/// Whether the scheduler may start one now.
pub(crate) enum Room {
    /// With these.
    Free(Slots),
    /// With these, as the only one: it tries whether the endpoint is back.
    Try(Slots),
    /// All are taken; a landing frees one.
    Full,
    /// The endpoint is away; look again after this.
    Closed(Duration),
}

/// A place in all queues, taken before the request is known.
pub(crate) struct Slots(OwnedSemaphorePermit, OwnedSemaphorePermit);

impl Gates {
    pub(crate) fn new(clock: Clock) -> Self {
        Self {
            clock,
            in_all: Arc::new(Semaphore::new(IN_ALL)),
            gates: Mutex::default(),
        }
    }

    /// The gate of an endpoint.
    pub(crate) fn at(&self, lane: &Lane) -> Arc<Gate> {
        let mut gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(gate) = gates.get(lane) {
            return gate.clone();
        }
        if gates.len() >= KEPT {
            gates.retain(|_, gate| Arc::strong_count(gate) > 1 || !gate.breaker().is_blank());
        }
        let gate = Arc::new(Gate {
            lane: lane.clone(),
            slots: Arc::new(Semaphore::new(PER_ENDPOINT)),
            breaker: Mutex::default(),
            waiting: AtomicUsize::new(0),
        });
        gates.insert(lane.clone(), gate.clone());
        gate
    }

    /// For the scheduler: a place if one is free at once. Askers that wait go first.
    pub(crate) fn room(&self, lane: &Lane, waiting: usize) -> Room {
        let gate = self.at(lane);
        gate.waiting.store(waiting, Ordering::Relaxed);
        let now = self.clock.read().steady;
        let breaker = gate.breaker();
        if let Some(until) = breaker.closed_until(now) {
            return Room::Closed(span(until - now));
        }
        let trying = breaker.outage().is_some();
        drop(breaker);
        let taken = |error: TryAcquireError| match error {
            TryAcquireError::Closed | TryAcquireError::NoPermits => Room::Full,
        };
        let slot = match gate.slots.clone().try_acquire_owned() {
            Ok(slot) => slot,
            Err(error) => return taken(error),
        };
        match self.in_all.clone().try_acquire_owned() {
            Ok(of_all) if trying => Room::Try(Slots(slot, of_all)),
            Ok(of_all) => Room::Free(Slots(slot, of_all)),
            Err(error) => taken(error),
        }
    }

    /// Waits for a place, in the order of asking.
    pub(crate) async fn queue(&self, gate: &Gate) -> Option<Slots> {
        // The endpoint's own first: who waits for a slow endpoint must not hold a place that others could use.
        let slot = gate.slots.clone().acquire_owned().await.ok()?;
        let of_all = self.in_all.clone().acquire_owned().await.ok()?;
        Some(Slots(slot, of_all))
    }

    /// Whether the endpoint may be asked at all, before anything waits for a place.
    pub(crate) fn look(&self, gate: &Gate, client: &str) -> Result<(), Closed> {
        let now = self.clock.read().steady;
        match gate.breaker().held_until(client, now) {
            Some((until, words)) => Err(gate.closed(until - now, &words)),
            None => Ok(()),
        }
    }

    /// The right to send one request of `client`.
    pub(crate) fn pass(
        &self,
        gate: &Arc<Gate>,
        client: &str,
        by_person: bool,
        Slots(slot, of_all): Slots,
    ) -> Result<Pass, Closed> {
        let now = self.clock.read().steady;
        let admission = gate.breaker().admit(client, by_person, now);
        let probe = match admission {
            Admission::Go => false,
            Admission::Probe => true,
            Admission::Wait { until, words } => return Err(gate.closed(until - now, &words)),
        };
        Ok(Pass {
            gate: gate.clone(),
            client: client.to_owned(),
            probe,
            reported: false,
            clock: self.clock.clone(),
            _slot: slot,
            _of_all: of_all,
        })
    }

    /// The endpoints that are away: name, since when and until when (steady milliseconds), how the last request failed.
    pub(crate) fn outages(&self) -> Vec<(Lane, i64, i64, String)> {
        let gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        let mut outages: Vec<_> = gates
            .iter()
            .filter_map(|(lane, gate)| {
                let breaker = gate.breaker();
                let (since, next, words) = breaker.outage()?;
                Some((lane.clone(), since, next, words.to_owned()))
            })
            .collect();
        outages.sort();
        outages
    }
}

impl Gate {
    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn closed(&self, left: i64, why: &str) -> Closed {
        Closed {
            words: format!("the token endpoint {} is not asked now: {why}", self.lane),
            after: span(left),
        }
    }

    fn tell(&self, turn: &Turn, words: &str, now: i64) {
        let (endpoint, waiting) = (&self.lane, self.waiting.load(Ordering::Relaxed));
        match turn {
            Turn::Opened { failures, next } => tracing::warn!(
                %endpoint,
                failures,
                waiting,
                "the token endpoint is away ({words}); its tokens wait, the next try is in {} s",
                span(next - now).as_secs()
            ),
            Turn::Closed { lasted, probes } => tracing::info!(
                %endpoint,
                tries = probes,
                waiting,
                "the token endpoint answers again, after {} min; its tokens go on",
                lasted / MINUTE
            ),
            Turn::Held { until } => tracing::warn!(
                %endpoint,
                waiting,
                "the token endpoint asks for patience; the tokens of this client wait {} s",
                span(until - now).as_secs()
            ),
        }
    }
}

impl Pass {
    /// Tells the gate how the request ended. While the endpoint is away, which concerns no single token: for how long
    /// nothing is sent there.
    pub(crate) fn report(&mut self, verdict: &Verdict, luck: f64) -> Option<Duration> {
        self.reported = true;
        let now = self.clock.read().steady;
        let mut breaker = self.gate.breaker();
        let (turn, words) = match verdict {
            Verdict::Retry {
                trouble,
                after,
                blame: Blame::Endpoint,
                ..
            } => {
                let asked = after.map(millis);
                let turn = breaker.away(self.probe, &trouble.words, asked, now, luck);
                (turn, trouble.words.as_str())
            }
            Verdict::Retry {
                after: Some(after),
                blame: Blame::Client,
                ..
            } => {
                let back = breaker.answered(now);
                (breaker.hold(&self.client, millis(*after), now).or(back), "")
            }
            _ => (breaker.answered(now), ""),
        };
        let away = breaker.outage().map(|(_, next, _)| span(next - now));
        drop(breaker);
        if let Some(turn) = turn {
            self.gate.tell(&turn, words, now);
        }
        away
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if !self.reported && self.probe {
            self.gate.breaker().abandoned();
        }
    }
}

fn span(left: i64) -> Duration {
    Duration::from_millis(u64::try_from(left).unwrap_or(0))
}
