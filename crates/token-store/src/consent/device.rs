//! A sign-in on another device (RFC 8628): the code goes to a person, and the provider is asked until it was entered.

use super::keep::{Asked, keep};
use super::{ConsentError, SignIn, consentable, not_begun};
use crate::exchange::{Grant, Polled, Trouble, expired};
use crate::store::{Device, DeviceEnd};
use crate::tokens::{Shared, capital};
use crate::{Secret, StoreError, TokenConfig, TokenError, TokenId, Tokens, configs, now};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// What `slow_down` adds to the pause, for this and all later questions (RFC 8628 section 3.5).
const SLOWER: i64 = 5_000;
/// Doubled at every question that got no answer (RFC 8628 section 3.5), up to this.
const PAUSE_CAP: i64 = 60_000;
/// Another process may begin a sign-in; this late it is seen at most.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// A sign-in on another device, as a person needs to see it.
#[derive(Debug, Clone)]
pub struct DeviceSignIn {
    /// The token config.
    pub config: String,
    /// The code to enter.
    pub user_code: Secret,
    /// Where.
    pub verification_uri: String,
    /// The same with the code in it, where the provider has that; for a QR code.
    pub complete_uri: Option<Secret>,
    /// When the code ends.
    pub expires_at: SystemTime,
    /// How it stands.
    pub state: DeviceState,
}

/// How a sign-in on another device stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeviceState {
    /// Nobody entered the code yet.
    Waiting,
    /// The token is stored.
    Granted {
        /// Who signed in, as far as the provider tells.
        signed_in_as: Option<String>,
    },
    /// It came to nothing; the current token was kept.
    Refused {
        /// Why, and what to do.
        words: String,
    },
}

impl Tokens {
    /// Asks the provider for a code. [`Tokens::follow_devices`] goes on from there, after a restart too; without a daemon,
    /// [`Tokens::poll_device`] does.
    ///
    /// # Errors
    /// When the config is switched off, its flow needs no person, or its endpoint has no code to give.
    pub async fn begin_device(
        &self,
        config: &str,
        sign_in: SignIn<'_>,
    ) -> Result<DeviceSignIn, TokenError> {
        let (stored, expected) = self.shared.store.read(|rows| {
            let expected = sign_in.expected(rows, config)?;
            Ok((rows.known_config(config)?, expected))
        })?;
        consentable(&stored)?;
        let started = self.shared.exchange.begin_device(&stored.entry).await;
        let started = started.map_err(|verdict| not_begun(config, verdict))?;
        let (now, pause) = (now(), millis(started.interval));
        let device = Device {
            config: config.to_owned(),
            fingerprint: configs::fingerprint(&stored.entry),
            device_code: started.device_code,
            user_code: started.user_code,
            verification_uri: started.verification_uri,
            complete_uri: started.complete_uri,
            pause,
            next_at: now + pause,
            expires_at: now + millis(started.life),
            expected,
            end: None,
        };
        let shown = shown(device.clone(), None);
        let entered = self
            .shared
            .store
            .write(move |rows| rows.begin_device(&device));
        entered.await?;
        self.shared.device_begun.notify_one();
        Ok(shown)
    }

    /// The sign-in of a config that is under way, or how the last one ended.
    ///
    /// # Errors
    /// When the database can't be read.
    pub fn device_sign_in(&self, config: &str) -> Result<Option<DeviceSignIn>, StoreError> {
        self.shared.store.read(|rows| {
            let Some(device) = rows.device(config)? else {
                return Ok(None);
            };
            let token = rows.token_if_any(&TokenId::of(config))?;
            Ok(Some(shown(device, token.and_then(|token| token.identity))))
        })
    }

    /// Asks the provider whether the code was entered, if it is time to. Says how long to wait until the next question; None when
    /// the sign-in is over.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn poll_device(&self, config: &str) -> Result<Option<Duration>, StoreError> {
        let (shared, name) = (self.shared.clone(), config.to_owned());
        // Its own task: who goes away must not take the granted token with it.
        let asked = self
            .shared
            .tasks
            .spawn(async move { ask_if_due(&shared, &name).await });
        asked
            .await
            .unwrap_or_else(|error| Err(StoreError::Database(error.to_string())))
    }

    /// Asks about every sign-in under way, each at its own pace, until shutdown.
    pub async fn follow_devices(&self, shutdown: CancellationToken) {
        let mut questions = JoinSet::new();
        let mut asking: HashSet<String> = HashSet::new();
        loop {
            let under_way = self.shared.store.read(|rows| rows.devices_under_way());
            let under_way = under_way.unwrap_or_else(|error| {
                tracing::error!(%error, "the sign-ins on other devices could not be read");
                Vec::new()
            });
            let mut wait = LOOK_AGAIN;
            for (config, at) in under_way {
                let left = u64::try_from(at - now()).unwrap_or(0);
                if asking.contains(&config) {
                    continue;
                }
                if left > 0 {
                    wait = wait.min(Duration::from_millis(left));
                    continue;
                }
                let (tokens, name) = (self.clone(), config.clone());
                asking.insert(config);
                questions.spawn(async move {
                    if let Err(error) = tokens.poll_device(&name).await {
                        tracing::error!(token = %name, %error, "a sign-in on another device");
                    }
                    name
                });
            }
            tokio::select! {
                () = shutdown.cancelled() => break,
                Some(asked) = questions.join_next() => if let Ok(config) = asked {
                    asking.remove(&config);
                },
                () = self.shared.device_begun.notified() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
        // A question under way may bring the token; it has its own deadline.
        while questions.join_next().await.is_some() {}
    }
}

async fn ask_if_due(shared: &Arc<Shared>, config: &str) -> Result<Option<Duration>, StoreError> {
    let (stored, device) = shared
        .store
        .read(|rows| Ok((rows.known_config(config)?, rows.device(config)?)))?;
    let Some(device) = device.filter(|device| device.end.is_none()) else {
        return Ok(None);
    };
    let now = now();
    if now >= device.expires_at {
        end(shared, config, expired()).await?;
        return Ok(None);
    }
    if configs::fingerprint(&stored.entry) != device.fingerprint {
        let trouble = Trouble {
            words: "the token config names another client now".into(),
            advice: "request the token again".into(),
        };
        end(shared, config, trouble).await?;
        return Ok(None);
    }
    if now < device.next_at {
        return Ok(Some(until(device.next_at.min(device.expires_at))));
    }
    // Written down before the question goes out: neither a crash nor a second process makes it ask too often.
    let pause = device.pause;
    let at = now + pause;
    if !schedule(shared, config, device.next_at, pause, at).await? {
        return Ok(Some(until(at)));
    }
    let polled = shared
        .exchange
        .poll_device(&stored.entry, &device.device_code)
        .await;
    let next = next(&polled, pause);
    match polled {
        Polled::Granted(grant) => {
            granted(shared, &stored, device, grant).await?;
            return Ok(None);
        }
        Polled::Over(trouble) => {
            end(shared, config, trouble).await?;
            return Ok(None);
        }
        Polled::Pending | Polled::SlowDown | Polled::Later(_) => {}
    }
    let (pause, wait) = next;
    let next_at = crate::now() + wait;
    schedule(shared, config, at, pause, next_at).await?;
    Ok(Some(until(next_at.min(device.expires_at))))
}

/// The pause from now on, and the wait before the next question. Pure.
fn next(polled: &Polled, pause: i64) -> (i64, i64) {
    match polled {
        Polled::SlowDown => (pause + SLOWER, pause + SLOWER),
        Polled::Later(after) => {
            let slower = (pause * 2).min(PAUSE_CAP.max(pause));
            (slower, slower.max(after.map_or(0, millis)))
        }
        _ => (pause, pause),
    }
}

async fn granted(
    shared: &Arc<Shared>,
    stored: &TokenConfig,
    device: Device,
    grant: Grant,
) -> Result<(), StoreError> {
    let asked = Asked {
        config: device.config,
        fingerprint: device.fingerprint,
        expected: device.expected,
        by_device: true,
    };
    let config = asked.config.clone();
    match keep(shared, stored, asked, grant).await {
        Err(ConsentError::Store(error)) => Err(error),
        Err(error) => {
            tracing::warn!(token = %config, %error, "a sign-in on another device came to nothing");
            Ok(())
        }
        Ok(_) => Ok(()),
    }
}

async fn schedule(
    shared: &Shared,
    config: &str,
    seen: i64,
    pause: i64,
    next_at: i64,
) -> Result<bool, StoreError> {
    let config = config.to_owned();
    shared
        .store
        .write(move |rows| rows.schedule_device(&config, seen, pause, next_at))
        .await
}

async fn end(shared: &Shared, config: &str, trouble: Trouble) -> Result<(), StoreError> {
    let words = format!("{}. {}", trouble.words, capital(&trouble.advice));
    tracing::info!(token = %config, "a sign-in on another device came to nothing: {words}");
    let config = config.to_owned();
    shared
        .store
        .write(move |rows| rows.end_device(&config, DeviceEnd::Refused(words)))
        .await
}

fn shown(device: Device, identity: Option<String>) -> DeviceSignIn {
    let expires = Duration::from_millis(u64::try_from(device.expires_at).unwrap_or(0));
    DeviceSignIn {
        config: device.config,
        user_code: device.user_code,
        verification_uri: device.verification_uri,
        complete_uri: device.complete_uri,
        expires_at: SystemTime::UNIX_EPOCH + expires,
        state: match device.end {
            None => DeviceState::Waiting,
            Some(DeviceEnd::Granted) => DeviceState::Granted {
                signed_in_as: identity,
            },
            Some(DeviceEnd::Refused(words)) => DeviceState::Refused { words },
        },
    }
}

fn until(at: i64) -> Duration {
    Duration::from_millis(u64::try_from(at - now()).unwrap_or(0))
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_down_adds_five_seconds_for_good_and_silence_doubles_the_pause() {
        assert_eq!(next(&Polled::Pending, 5_000), (5_000, 5_000));
        assert_eq!(next(&Polled::SlowDown, 5_000), (10_000, 10_000));
        assert_eq!(next(&Polled::SlowDown, 10_000), (15_000, 15_000));
        assert_eq!(next(&Polled::Later(None), 5_000), (10_000, 10_000));
        assert_eq!(next(&Polled::Later(None), 40_000), (60_000, 60_000));
        assert_eq!(next(&Polled::Later(None), 300_000), (300_000, 300_000));
        let asked = Polled::Later(Some(Duration::from_secs(90)));
        assert_eq!(next(&asked, 5_000), (10_000, 90_000));
    }
}
