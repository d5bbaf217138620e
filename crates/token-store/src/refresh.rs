//! Refreshing: one flight per token whoever asks, few requests at a time to each token endpoint, and the task that
//! refreshes ahead of need.
//!
//! [`flight`] is one refresh, from its row to its answer on disk. [`gates`] let requests through: so many at a time, and
//! while an endpoint is away one at a time ([`breaker`]). [`run`] starts flights by the [`schedule`].

mod breaker;
mod flight;
mod gates;
mod run;
mod schedule;

pub(crate) use gates::Gates;
pub use run::Workload;

use crate::tokens::Shared;
use crate::{AccessToken, TokenError, TokenId, Tokens};
use flight::{Flight, fly};
use gates::Slots;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

type Outcome = Result<AccessToken, TokenError>;

/// The flights under way.
#[derive(Default)]
pub(crate) struct Flights {
    under_way: Mutex<HashMap<TokenId, watch::Receiver<Option<Outcome>>>>,
}

impl Flights {
    fn lock(&self) -> MutexGuard<'_, HashMap<TokenId, watch::Receiver<Option<Outcome>>>> {
        self.under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a flight on the board, unless one of this token flies already: that one.
    fn enter(
        &self,
        id: &TokenId,
        outcome: &watch::Receiver<Option<Outcome>>,
    ) -> Option<watch::Receiver<Option<Outcome>>> {
        let mut flights = self.lock();
        if let Some(flying) = flights.get(id) {
            return Some(flying.clone());
        }
        flights.insert(id.clone(), outcome.clone());
        None
    }
}

/// Takes the flight off the board however it ends, a panic included.
struct Landing {
    shared: Arc<Shared>,
    id: TokenId,
    /// Milliseconds in which another one would not change anything either.
    pause: i64,
}

impl Drop for Landing {
    fn drop(&mut self) {
        self.shared.flights.lock().remove(&self.id);
        let (id, pause) = (self.id.clone(), self.pause);
        let landed = crate::store::Change::Landed { id, pause };
        self.shared.store.changes().add([landed]);
    }
}

/// An endpoint that does not answer, as the gates know it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Outage {
    /// Host and path of the token endpoint.
    pub endpoint: String,
    /// Seconds since 1970.
    pub since: i64,
    /// When it is tried next. Seconds since 1970.
    pub next_try: i64,
    /// How the last request failed.
    pub words: String,
}

impl Tokens {
    /// Joins the flight of this token, or starts it. Dropping the future leaves the flight flying.
    pub(crate) async fn join(&self, id: &TokenId, forced: bool) -> Outcome {
        let mut outcome = self.take_off(id, forced, None);
        let landed = outcome.wait_for(Option::is_some).await;
        match landed.ok().and_then(|outcome| outcome.clone()) {
            Some(outcome) => outcome,
            None => Err(TokenError::Later {
                words: format!("the refresh of {id} ended unexpectedly"),
                after: Duration::from_secs(1),
            }),
        }
    }

    /// `slots`: the scheduler's place at the gate; others wait for theirs.
    fn take_off(
        &self,
        id: &TokenId,
        forced: bool,
        slots: Option<Slots>,
    ) -> watch::Receiver<Option<Outcome>> {
        let (tell, outcome) = watch::channel(None);
        if let Some(flying) = self.shared.flights.enter(id, &outcome) {
            return flying;
        }
        let mut landing = Landing {
            shared: self.shared.clone(),
            id: id.clone(),
            pause: 0,
        };
        let shared = self.shared.clone();
        // Its own task: an asker that goes away must not take a granted token with it.
        self.shared.tasks.spawn(async move {
            let flight = Flight {
                id: &landing.id,
                forced,
            };
            let outcome = fly(&shared, flight, slots).await;
            if let Err(TokenError::Later { after, .. }) = &outcome {
                landing.pause = i64::try_from(after.as_millis()).unwrap_or(i64::MAX);
            }
            // Off the board first, so that who asks from now on looks into the database.
            drop(landing);
            tell.send_replace(Some(outcome));
        });
        outcome
    }

    /// Does something with a token while no refresh of it flies. Who asks for the token meanwhile waits, and gets the outcome.
    /// None when it panicked.
    pub(crate) async fn alone<T: Send + 'static>(
        &self,
        id: &TokenId,
        work: impl Future<Output = (Outcome, T)> + Send + 'static,
    ) -> Option<T> {
        let (tell, outcome) = watch::channel(None);
        while let Some(mut flying) = self.shared.flights.enter(id, &outcome) {
            // Landed, or ended without a word: either way it is off the board.
            let _ = flying.wait_for(Option::is_some).await;
        }
        let landing = Landing {
            shared: self.shared.clone(),
            id: id.clone(),
            pause: 0,
        };
        let done = self.shared.tasks.spawn(async move {
            let (outcome, done) = work.await;
            drop(landing);
            tell.send_replace(Some(outcome));
            done
        });
        done.await.ok()
    }

    /// Waits until every request under way has landed on disk. For commands that end without [`Tokens::run`].
    pub async fn land(&self) {
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }

    /// The token endpoints that do not answer; their tokens wait.
    #[must_use]
    pub fn outages(&self) -> Vec<Outage> {
        let now = self.shared.store.clock().read();
        // The gates count by the steady clock.
        let date = |steady: i64| (now.wall + (steady - now.steady)).div_euclid(1000);
        let outages = self.shared.gates.outages().into_iter();
        outages
            .map(|(endpoint, since, next, words)| Outage {
                endpoint: endpoint.to_string(),
                since: date(since),
                next_try: date(next),
                words,
            })
            .collect()
    }
}
