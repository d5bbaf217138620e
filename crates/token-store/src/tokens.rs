//! `Tokens`: what the other rooms ask for, over the store, the exchange and the flights.

use crate::accounts::Auth;
use crate::exchange::{Exchange, one_line};
use crate::refresh::Flights;
use crate::state::{Access, State, Token};
use crate::{Secret, Store, StoreError, configs, now};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long an asker waits for a refresh; a little more than one exchange may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// The same when the present token still works.
const PATIENCE_AHEAD: Duration = Duration::from_secs(10);

/// An access token to present; `Debug` prints `***`.
#[derive(Debug, Clone)]
pub struct AccessToken {
    /// The token itself.
    pub secret: Secret,
    /// The token config it belongs to.
    pub config: String,
    /// Which write stored it: what [`Tokens::rejected`] compares.
    pub version: i64,
    /// When it ends, if the provider said so.
    pub expires_at: Option<SystemTime>,
}

/// What an account signs in with.
#[derive(Debug, Clone)]
pub enum Credential {
    /// A password.
    Password(Secret),
    /// An access token.
    Bearer(AccessToken),
}

/// Why there is no token now.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TokenError {
    /// A person must consent again, or has never consented.
    #[error("{words}. {}", capital(.advice))]
    NeedsConsent {
        /// What happened.
        words: String,
        /// What to do.
        advice: String,
    },
    /// The configuration must be mended.
    #[error("{words}. {}", capital(.advice))]
    Broken {
        /// What happened.
        words: String,
        /// What to do.
        advice: String,
    },
    /// Later; the token endpoint is away, or asks for patience.
    #[error("{words}")]
    Later {
        /// What happened.
        words: String,
        /// When to ask again.
        after: Duration,
    },
    /// No such token config.
    #[error("there is no token config named {0}; `postern token list` shows those that exist")]
    Unknown(String),
    /// The database failed.
    #[error("{0}")]
    Store(String),
}

impl From<StoreError> for TokenError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unknown { name, .. } => Self::Unknown(name),
            other => Self::Store(other.to_string()),
        }
    }
}

/// How [`Tokens`] reaches token endpoints.
#[derive(Debug, Clone, Default)]
pub struct TokensOptions {
    /// Trusted for token endpoints besides the system's roots (tests, private providers).
    pub ca_file: Option<PathBuf>,
}

/// Keeps tokens alive: exchange, refresh, consent. Clone is cheap (Arc inside).
#[derive(Clone)]
pub struct Tokens {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) store: Store,
    pub(crate) exchange: Exchange,
    pub(crate) flights: Flights,
    /// The tasks that carry a request to its committed answer. `run` drains them at shutdown.
    pub(crate) tasks: TaskTracker,
    /// A hint to `run` that a due date may have moved.
    pub(crate) changed: Notify,
    /// Set by `run` at shutdown: a commit that keeps failing is given up.
    pub(crate) stopping: CancellationToken,
}

impl Tokens {
    /// # Errors
    /// When the CA file can't be used.
    pub fn new(store: Store, options: TokensOptions) -> Result<Self, TokenError> {
        let exchange =
            Exchange::new(options.ca_file.as_deref()).map_err(|words| TokenError::Broken {
                words,
                advice: "correct the CA file".into(),
            })?;
        let shared = Shared {
            store,
            exchange,
            flights: Flights::default(),
            tasks: TaskTracker::new(),
            changed: Notify::new(),
            stopping: CancellationToken::new(),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// The database under it.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.shared.store
    }

    /// A usable access token: the stored one while it is good and not rejected, else one refresh (single flight,
    /// whoever asks). When a refresh that was only ahead of need fails, the stored one is given.
    ///
    /// # Errors
    /// Why there is none now, and what to do about it.
    pub async fn access(&self, config: &str) -> Result<AccessToken, TokenError> {
        let now = now();
        let (valid, token) = self
            .shared
            .store
            .read(|rows| Ok((rows.is_valid(config)?, rows.token(config)?)))?;
        if !valid {
            return Err(invalid(config));
        }
        let Some(access) = token.usable(now) else {
            return self.join_for(PATIENCE, config).await;
        };
        if !token.wants_refresh(now) || token.pause(now).is_some() {
            return Ok(present(config, access));
        }
        match self.join_for(PATIENCE_AHEAD, config).await {
            Err(error @ TokenError::Unknown(_)) => Err(error),
            // The failure is in the row, and shown; mail goes on while this token lives.
            Err(_) => Ok(present(config, access)),
            refreshed => refreshed,
        }
    }

    async fn join_for(&self, patience: Duration, config: &str) -> Result<AccessToken, TokenError> {
        timeout(patience, self.join(config, false))
            .await
            .unwrap_or_else(|_| {
                let words = format!(
                    "the refresh of {config} takes longer than {} seconds",
                    patience.as_secs()
                );
                Err(TokenError::Later {
                    words,
                    after: Duration::from_secs(5),
                })
            })
    }

    /// Password or bearer for an account.
    ///
    /// # Errors
    /// As [`Tokens::access`].
    pub async fn credential(&self, auth: &Auth) -> Result<Credential, TokenError> {
        match auth {
            Auth::Password(password) => Ok(Credential::Password(password.clone())),
            Auth::Token(config) => self.access(config).await.map(Credential::Bearer),
        }
    }

    /// A server rejected this very token; the next [`Tokens::access`] refreshes, unless a newer one is there already.
    /// Fresh tokens rejected in a row are followed by growing pauses, not by a storm of refreshes.
    ///
    /// # Errors
    /// When it can't be written down.
    pub async fn rejected(&self, token: &AccessToken) -> Result<(), StoreError> {
        let (config, version) = (token.config.clone(), token.version);
        let luck = fastrand::f64();
        self.shared
            .store
            .write(move |rows| {
                let mut token = rows.token(&config)?;
                let seen = token.version;
                if token.rejected(version, now(), luck) {
                    rows.put_token(&config, seen, &token)?;
                }
                Ok(())
            })
            .await?;
        self.shared.changed.notify_one();
        Ok(())
    }

    /// Refreshes now, also when a pause is still to keep (single flight all the same).
    ///
    /// # Errors
    /// As [`Tokens::access`].
    pub async fn refresh(&self, config: &str) -> Result<AccessToken, TokenError> {
        let before = self
            .shared
            .store
            .read(|rows| rows.token(config))?
            .seen()
            .access;
        let first = self.join(config, true).await?;
        if Some(first.version) != before {
            return Ok(first);
        }
        // The flight that was joined had found the token good enough; this one will not.
        self.join(config, true).await
    }

    /// Stores a refresh token obtained elsewhere; the token is Ready and refreshed on first use.
    ///
    /// # Errors
    /// When the config doesn't exist or takes no refresh token.
    pub async fn seed(&self, config: &str, refresh_token: Secret) -> Result<(), StoreError> {
        let text = refresh_token.expose().trim();
        if text.is_empty() || text.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(StoreError::Invalid {
                name: config.to_owned(),
                why: "a refresh token is one word without spaces or line ends".into(),
            });
        }
        let (config, secret) = (config.to_owned(), Secret::new(text));
        self.shared
            .store
            .write(move |rows| {
                let entry = rows.known_config(&config)?.entry;
                if !entry.config.flow.has_refresh_token() {
                    let why = "its flow is client credentials, which needs no refresh token".into();
                    return Err(StoreError::Invalid { name: config, why });
                }
                let mut token = rows.token(&config)?;
                let (seen, now) = (token.version, now());
                let old = token
                    .seeded(secret.clone(), now)
                    .filter(|old| *old != secret);
                if let Some(old) = old {
                    let why = "another refresh token was seeded";
                    rows.keep_aside(&config, &configs::fingerprint(&entry), &old, now, why)?;
                }
                rows.put_token(&config, seen, &token)
            })
            .await?;
        self.shared.changed.notify_one();
        Ok(())
    }
}

pub(crate) fn invalid(config: &str) -> TokenError {
    TokenError::Broken {
        words: format!("the token config {config} is switched off (valid: false)"),
        advice: "switch it on, or let the account use another one".into(),
    }
}

pub(crate) fn present(config: &str, access: &Access) -> AccessToken {
    let end = access.expires_at.and_then(|ms| u64::try_from(ms).ok());
    AccessToken {
        secret: access.secret.clone(),
        config: config.to_owned(),
        version: access.version,
        expires_at: end.map(|ms| SystemTime::UNIX_EPOCH + Duration::from_millis(ms)),
    }
}

/// Why a token has nothing to hand out, from its row.
pub(crate) fn why_not(config: &str, token: &Token, now: i64) -> TokenError {
    let (words, advice) = match &token.failure {
        Some(failure) => (
            sentence(config, &failure.words),
            sentence("", &failure.advice),
        ),
        None => (
            format!("no token was requested yet for {config}"),
            format!("request one on the tokens page, or with `postern token request {config}`"),
        ),
    };
    match token.state {
        State::NeedsConsent => TokenError::NeedsConsent { words, advice },
        State::Broken => TokenError::Broken { words, advice },
        State::Ready => TokenError::Later {
            words,
            after: token.pause(now).unwrap_or(Duration::from_secs(1)),
        },
    }
}

/// An advice as a sentence of its own.
pub(crate) fn capital(advice: &str) -> String {
    let mut rest = advice.chars();
    match rest.next() {
        Some(first) => first.to_uppercase().chain(rest).collect(),
        None => String::new(),
    }
}

fn sentence(config: &str, words: &str) -> String {
    let words = one_line(words);
    let words = words.trim_end_matches('.');
    if config.is_empty() {
        words.to_owned()
    } else {
        format!("token {config}: {words}")
    }
}
