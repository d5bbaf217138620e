//! Refreshing: one flight per token whoever asks, its answer committed before anyone sees it, and the task that
//! refreshes ahead of need.

use crate::exchange::Verdict;
use crate::state::{Landed, Seen, State};
use crate::store::Due;
use crate::tokens::{Shared, invalid, present, why_not};
use crate::{
    AccessToken, StoreError, TokenConfig, TokenError, TokenId, Tokens, configs, grants, now,
};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

/// Another process' refresh ends within its exchange's deadline; after that its lock is a riddle.
const LOCK_TIMEOUT: Duration = Duration::from_secs(120);
/// The command line may write beside the daemon; its changes are seen this late at most.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// A flight that could not even change its row is repeated after this, doubled up to [`LOOK_AGAIN`].
const FRUITLESS_PAUSE: Duration = Duration::from_millis(500);
/// Pauses between tries to commit a granted token while the disk refuses.
const COMMIT_PAUSE: Duration = Duration::from_millis(200);
const COMMIT_PAUSE_CAP: Duration = Duration::from_secs(10);
/// Tries that remain when the process is told to stop.
const LAST_COMMITS: u32 = 10;

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
}

impl Drop for Landing {
    fn drop(&mut self) {
        self.shared.flights.lock().remove(&self.id);
        self.shared.changed.notify_one();
    }
}

impl Tokens {
    /// Joins the flight of this token, or starts it. Dropping the future leaves the flight flying.
    pub(crate) async fn join(&self, id: &TokenId, forced: bool) -> Outcome {
        let mut outcome = self.take_off(id, forced);
        let landed = outcome.wait_for(Option::is_some).await;
        match landed.ok().and_then(|outcome| outcome.clone()) {
            Some(outcome) => outcome,
            None => Err(TokenError::Later {
                words: format!("the refresh of {id} ended unexpectedly"),
                after: Duration::from_secs(1),
            }),
        }
    }

    fn take_off(&self, id: &TokenId, forced: bool) -> watch::Receiver<Option<Outcome>> {
        let (tell, outcome) = watch::channel(None);
        if let Some(flying) = self.shared.flights.enter(id, &outcome) {
            return flying;
        }
        let landing = Landing {
            shared: self.shared.clone(),
            id: id.clone(),
        };
        let shared = self.shared.clone();
        // Its own task: an asker that goes away must not take a granted token with it.
        self.shared.tasks.spawn(async move {
            let outcome = fly(&shared, &landing.id, forced).await;
            if let Err(error) = &outcome {
                tracing::warn!(token = %landing.id, %error, "no access token");
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
        };
        let done = self.shared.tasks.spawn(async move {
            let (outcome, done) = work.await;
            drop(landing);
            tell.send_replace(Some(outcome));
            done
        });
        done.await.ok()
    }

    /// Refreshes ahead of need, for every token, until shutdown; then waits until the flights under way have landed.
    pub async fn run(&self, shutdown: CancellationToken) {
        let mut started = HashMap::new();
        loop {
            let next = match self.shared.store.read(|rows| rows.dues()) {
                Ok(dues) => self.start_due(dues, &mut started),
                Err(error) => {
                    tracing::error!(%error, "the tokens' due dates could not be read");
                    Instant::now() + LOOK_AGAIN
                }
            };
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = self.shared.changed.notified() => {}
                () = sleep_until(next) => {}
            }
        }
        self.shared.stopping.cancel();
        self.land().await;
    }

    /// Waits until every request under way has landed on disk. For commands that end without [`Tokens::run`].
    pub async fn land(&self) {
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }

    /// Starts what is due; says when to look again.
    fn start_due(&self, dues: Vec<Due>, started: &mut HashMap<TokenId, Started>) -> Instant {
        let (now, at) = (now(), Instant::now());
        let mut next = at + LOOK_AGAIN;
        started.retain(|id, _| dues.iter().any(|due| due.id == *id));
        for due in dues {
            let Some(due_at) = due.at else { continue };
            let wait = u64::try_from(due_at.saturating_sub(now)).unwrap_or(0);
            // Still due at the very date it was started for: that flight changed nothing.
            let fruitless = started
                .get(&due.id)
                .filter(|before| before.due_at == due_at)
                .copied();
            let start = fruitless.map_or(at, |before| before.until);
            let start = start.max(at + Duration::from_millis(wait).min(LOOK_AGAIN));
            if start > at {
                next = next.min(start);
                continue;
            }
            // Nobody waits for it: its outcome is in the row.
            drop(self.take_off(&due.id, false));
            let pause = fruitless.map_or(FRUITLESS_PAUSE, |b| (b.pause * 2).min(LOOK_AGAIN));
            let until = at + pause;
            next = next.min(until);
            let this = Started {
                due_at,
                pause,
                until,
            };
            started.insert(due.id, this);
        }
        next
    }
}

/// What `run` started for a token last.
#[derive(Clone, Copy)]
struct Started {
    due_at: i64,
    pause: Duration,
    until: Instant,
}

/// One flight: at most one request, and its answer on disk.
async fn fly(shared: &Shared, id: &TokenId, forced: bool) -> Outcome {
    let lock = timeout(LOCK_TIMEOUT, shared.store.refresh_lock().enter()).await;
    let _alone = match lock {
        Ok(Ok(guard)) => guard,
        Ok(Err(error)) => return Err(TokenError::Store(format!("the refresh lock: {error}"))),
        Err(_) => {
            let words = format!("another process holds the refresh lock; token {id} waits for it");
            return Err(TokenError::Later {
                words,
                after: Duration::from_secs(10),
            });
        }
    };
    let (stored, token) = shared
        .store
        .read(|rows| Ok((rows.known_config(&id.config)?, rows.token(id)?)))?;
    if !stored.entry.valid {
        return Err(invalid(&id.config));
    }
    let now = now();
    if !forced {
        // Somebody else was quicker: the flight before this one, or another process.
        if let Some(access) = token.usable(now).filter(|_| !token.wants_refresh(now)) {
            return Ok(present(id, access));
        }
        if token.pause(now).is_some() {
            return Err(why_not(id, &token, now));
        }
    }
    let asked = grants::next(&shared.exchange, &stored.entry, id, &token).await;
    let Some(verdict) = asked else {
        return dried_up(shared, id).await;
    };
    keep(shared, &stored, id, token.seen(), Arc::new(verdict)).await
}

/// There is no refresh token: hand out what still lives, or say that a person is needed.
async fn dried_up(shared: &Shared, id: &TokenId) -> Outcome {
    let name = id.clone();
    let token = shared
        .store
        .write(move |rows| {
            let mut token = rows.token(&name)?;
            let (seen, now) = (token.version, now());
            let ended = token.refresh.is_none() && token.usable(now).is_none();
            if ended && token.state == State::Ready {
                token.ran_dry(now);
                rows.put_token(&name, seen, &token)?;
            }
            Ok(token)
        })
        .await?;
    let now = now();
    let usable = token.usable(now).map(|access| present(id, access));
    usable.ok_or_else(|| why_not(id, &token, now))
}

/// Commits what came of a request, and answers with what the row then says. While the disk refuses, an answer with a token
/// in it is kept in memory and tried again: it may hold the only living refresh token. Only after the commit is an access
/// token handed out.
async fn keep(
    shared: &Shared,
    stored: &TokenConfig,
    id: &TokenId,
    seen: Seen,
    verdict: Arc<Verdict>,
) -> Outcome {
    let fingerprint = configs::fingerprint(&stored.entry);
    let granted = matches!(*verdict, Verdict::Granted(_));
    let precious = granted || verdict.refresh_token().is_some();
    let mut pause = COMMIT_PAUSE;
    let mut left = LAST_COMMITS;
    loop {
        match commit(shared, id, &fingerprint, seen, verdict.clone()).await {
            Ok(outcome) => {
                if granted {
                    tracing::info!(token = %id, "refreshed");
                }
                return outcome;
            }
            Err(error @ StoreError::Unknown { .. }) => return Err(error.into()),
            Err(error) if left == 0 || !precious => return Err(error.into()),
            Err(error) => {
                tracing::error!(token = %id, %error, "a granted token is not on disk yet; trying again")
            }
        }
        tokio::select! {
            () = shared.stopping.cancelled() => {
                left -= 1;
                sleep(COMMIT_PAUSE).await;
            }
            () = sleep(pause) => {}
        }
        pause = (pause * 2).min(COMMIT_PAUSE_CAP);
    }
}

async fn commit(
    shared: &Shared,
    id: &TokenId,
    fingerprint: &str,
    seen: Seen,
    verdict: Arc<Verdict>,
) -> Result<Outcome, StoreError> {
    let (id, fingerprint, luck) = (id.clone(), fingerprint.to_owned(), fastrand::f64());
    shared
        .store
        .write(move |rows| {
            let mut token = rows.token(&id)?;
            let (version, now) = (token.version, now());
            // Deleted and made anew under the same name, for another client: this answer is not for it.
            let landed = match &*verdict {
                verdict if rows.fingerprint_of(&id.config)? != fingerprint => Landed::Late {
                    spare: verdict.refresh_token().cloned(),
                },
                Verdict::Granted(grant) => token.refreshed(seen, grant, now, luck),
                failure => token.failed(seen, failure, now, luck),
            };
            match landed {
                Landed::Applied => rows.put_token(&id, version, &token)?,
                Landed::Late { spare: Some(spare) } => {
                    let why = "the answer came after the token had been replaced";
                    rows.keep_aside(&id, &fingerprint, &spare, now, why)?;
                }
                Landed::Late { spare: None } => {}
            }
            // A failure that changed the row is told, even when an earlier access token still lives.
            let granted = matches!(*verdict, Verdict::Granted(_));
            let usable = token.usable(now).map(|access| present(&id, access));
            Ok(usable
                .filter(|_| granted || token.version == version)
                .ok_or_else(|| why_not(&id, &token, now)))
        })
        .await
}
