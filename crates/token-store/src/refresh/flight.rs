//! One flight: at most one request, and its answer on disk before anyone sees it.

use super::Outcome;
use super::gates::{Closed, Pass, Slots};
use super::schedule::Lane;
use crate::exchange::Verdict;
use crate::state::{Landed, Seen, State, Token};
use crate::store::RefreshGuard;
use crate::tokens::{Shared, invalid, present, why_not};
use crate::{StoreError, TokenConfig, TokenError, TokenId, configs, grants};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// Another process' refresh ends within its exchange's deadline; after that its lock is a riddle.
const LOCK_TIMEOUT: Duration = Duration::from_secs(120);
/// Pauses between tries to commit a granted token while the disk refuses.
const COMMIT_PAUSE: Duration = Duration::from_millis(200);
const COMMIT_PAUSE_CAP: Duration = Duration::from_secs(10);
/// Tries that remain when the process is told to stop.
const LAST_COMMITS: u32 = 10;

/// What is to be refreshed.
#[derive(Clone, Copy)]
pub(super) struct Flight<'a> {
    pub(super) id: &'a TokenId,
    /// A person asked: pauses don't count.
    pub(super) forced: bool,
}

/// What a flight reads before it asks.
struct Row {
    config: TokenConfig,
    token: Token,
}

/// Flies.
pub(super) async fn fly(shared: &Shared, flight: Flight<'_>, slots: Option<Slots>) -> Outcome {
    // A look before the queue: who needs nothing, or may not ask, does not stand in it.
    let seen = match look(shared, flight)? {
        Ok(row) => row,
        Err(outcome) => return outcome,
    };
    let lane = Lane::from(configs::endpoint(&seen.config.entry));
    let client = &seen.config.entry.config.client_id;
    let gate = shared.gates.at(&lane);
    if !flight.forced {
        shared
            .gates
            .look(&gate, client)
            .map_err(|closed| later(flight.id, closed))?;
    }
    let slots = match slots {
        Some(slots) => slots,
        None => {
            tokio::select! {
                slots = shared.gates.queue(&gate) => slots.ok_or_else(|| stopping(flight.id))?,
                () = shared.stopping.cancelled() => return Err(stopping(flight.id)),
            }
        }
    };
    let _alone = alone(shared, flight.id).await?;
    // Somebody else was quicker: the flight before this one, or another process.
    let row = match look(shared, flight)? {
        Ok(row) => row,
        Err(outcome) => return outcome,
    };
    // Held until the answer is on disk: while the disk refuses, no more is asked for than can be kept in memory.
    let mut pass = shared
        .gates
        .pass(&gate, client, flight.forced, slots)
        .map_err(|closed| later(flight.id, closed))?;
    ask(shared, flight.id, &row, &mut pass).await
}

/// The row, or what there is to say without a request.
fn look(shared: &Shared, flight: Flight<'_>) -> Result<Result<Row, Outcome>, StoreError> {
    let Flight { id, forced } = flight;
    let (config, token) = shared
        .store
        .read(|rows| Ok((rows.known_config(&id.config)?, rows.token(id)?)))?;
    if !config.entry.valid {
        return Ok(Err(Err(invalid(&id.config))));
    }
    let now = shared.store.clock().wall();
    if !forced {
        if let Some(access) = token.usable(now).filter(|_| !token.wants_refresh(now)) {
            return Ok(Err(Ok(present(id, access))));
        }
        if token.pause(now).is_some() {
            return Ok(Err(Err(why_not(id, &token, now))));
        }
    }
    Ok(Ok(Row { config, token }))
}

async fn alone<'a>(shared: &'a Shared, id: &TokenId) -> Result<RefreshGuard<'a>, TokenError> {
    match timeout(LOCK_TIMEOUT, shared.store.refresh_lock().enter()).await {
        Ok(Ok(guard)) => Ok(guard),
        Ok(Err(error)) => Err(TokenError::Store(format!("the refresh lock: {error}"))),
        Err(_) => Err(TokenError::Later {
            words: format!("another process holds the refresh lock; token {id} waits for it"),
            after: Duration::from_secs(10),
        }),
    }
}

async fn ask(shared: &Shared, id: &TokenId, row: &Row, pass: &mut Pass) -> Outcome {
    let Row { config, token } = row;
    let asked = grants::next(&shared.exchange, &config.entry, id, token).await;
    let Some(verdict) = asked else {
        return dried_up(shared, id).await;
    };
    let away = pass.report(&verdict, fastrand::f64());
    match (&verdict, away) {
        // No word about this token, and ten thousand rows would say the same.
        (Verdict::Retry { trouble, .. }, Some(after)) if verdict.refresh_token().is_none() => {
            let words = format!("token {id}: {}", trouble.words);
            Err(TokenError::Later { words, after })
        }
        _ => keep(shared, config, id, token.seen(), Arc::new(verdict)).await,
    }
}

/// There is no refresh token: hand out what still lives, or say that a person is needed.
async fn dried_up(shared: &Shared, id: &TokenId) -> Outcome {
    let (name, clock) = (id.clone(), shared.store.clock().clone());
    let token = shared
        .store
        .write(move |rows| {
            let mut token = rows.token(&name)?;
            let (seen, now) = (token.version, clock.wall());
            let ended = token.refresh.is_none() && token.usable(now).is_none();
            if ended && token.state == State::Ready {
                token.ran_dry(now);
                rows.put_token(&name, seen, &token)?;
            }
            Ok(token)
        })
        .await?;
    let now = shared.store.clock().wall();
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
    let mut told = false;
    loop {
        match commit(shared, id, &fingerprint, seen, verdict.clone()).await {
            Ok(outcome) => {
                tell(id, &verdict, &outcome);
                return outcome;
            }
            Err(error @ StoreError::Unknown { .. }) => return Err(error.into()),
            Err(error) if left == 0 || !precious => {
                tracing::error!(token = %id, %error, lost = precious, "the answer could not be stored");
                return Err(error.into());
            }
            Err(error) if !told => {
                told = true;
                tracing::error!(token = %id, %error, "a granted token is not on disk yet; it is kept in memory and tried again");
            }
            Err(_) => {}
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

fn tell(id: &TokenId, verdict: &Verdict, outcome: &Outcome) {
    match (verdict, outcome) {
        (Verdict::Granted(_), _) => tracing::debug!(token = %id, "refreshed"),
        // It passes by itself, or the gate tells of it once for all tokens.
        (Verdict::Retry { .. }, Err(error)) => {
            tracing::debug!(token = %id, %error, "no access token")
        }
        (_, Err(error)) => tracing::warn!(token = %id, %error, "no access token"),
        (_, Ok(_)) => {}
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
    let clock = shared.store.clock().clone();
    shared
        .store
        .write(move |rows| {
            let mut token = rows.token(&id)?;
            let (version, now) = (token.version, clock.wall());
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

fn later(id: &TokenId, closed: Closed) -> TokenError {
    TokenError::Later {
        words: format!("token {id}: {}", closed.words),
        after: closed.after,
    }
}

fn stopping(id: &TokenId) -> TokenError {
    TokenError::Later {
        words: format!("token {id}: the program is ending"),
        after: Duration::from_secs(1),
    }
}
