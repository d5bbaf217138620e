//! `Tokens`: what the other rooms ask for, over the store, the exchange and the flights.

use crate::accounts::Auth;
use crate::exchange::{Exchange, one_line};
use crate::refresh::{Flights, Gates, Workload};
use crate::state::{Access, State, Token};
use crate::transfer::refresh_word;
use crate::{Secret, Store, StoreError, TokenId, configs};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::sync::{Notify, broadcast};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long an asker waits for a refresh; a little more than one exchange may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// The same when the present token still works.
const PATIENCE_AHEAD: Duration = Duration::from_secs(10);

/// Consents that may wait for whoever follows them; a hint that is lost costs its accounts their next pause.
const CONSENTS: usize = 64;

/// An access token to present; `Debug` prints `***`.
#[derive(Debug, Clone)]
pub struct AccessToken {
    /// The token itself.
    pub secret: Secret,
    /// Which token it is of.
    pub id: TokenId,
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
    /// A hint that a sign-in on another device has begun.
    pub(crate) device_begun: Notify,
    /// Names of token configs that a person consented for.
    pub(crate) consents: broadcast::Sender<String>,
    pub(crate) gates: Gates,
    workload: Mutex<Workload>,
    /// Set by `run` at shutdown: a commit that keeps failing is given up.
    pub(crate) stopping: CancellationToken,
}

impl Shared {
    /// Milliseconds since 1970.
    pub(crate) fn now(&self) -> i64 {
        self.store.clock().wall()
    }

    pub(crate) fn workload(&self) -> MutexGuard<'_, Workload> {
        self.workload.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
        let gates = Gates::new(store.clock().clone());
        let shared = Shared {
            store,
            exchange,
            flights: Flights::default(),
            tasks: TaskTracker::new(),
            device_begun: Notify::new(),
            consents: broadcast::Sender::new(CONSENTS),
            gates,
            workload: Mutex::default(),
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

    /// The names of token configs as a person consents for them, by whichever door: accounts that waited can go on. A hint only,
    /// what counts is the row.
    #[must_use]
    pub fn consents(&self) -> broadcast::Receiver<String> {
        self.shared.consents.subscribe()
    }

    /// A usable access token: the stored one while it is good and not rejected, else one refresh (single flight,
    /// whoever asks). When a refresh that was only ahead of need fails, the stored one is given.
    ///
    /// # Errors
    /// Why there is none now, and what to do about it.
    pub async fn access(&self, id: impl Into<TokenId> + Send) -> Result<AccessToken, TokenError> {
        let id = id.into();
        let now = self.shared.now();
        let token = self.open(&id).await?;
        let Some(access) = token.usable(now) else {
            return self.join_for(PATIENCE, &id).await;
        };
        if !token.wants_refresh(now) || token.pause(now).is_some() {
            return Ok(present(&id, access));
        }
        match self.join_for(PATIENCE_AHEAD, &id).await {
            Err(error @ TokenError::Unknown(_)) => Err(error),
            // The failure is in the row, and shown; mail goes on while this token lives.
            Err(_) => Ok(present(&id, access)),
            refreshed => refreshed,
        }
    }

    /// The row of a token that may be used. That of a subject is made at its first use.
    async fn open(&self, id: &TokenId) -> Result<Token, TokenError> {
        let (standing, token) = self
            .shared
            .store
            .read(|rows| Ok((rows.standing(&id.config)?, rows.token_if_any(id)?)))?;
        if !standing.valid {
            return Err(invalid(&id.config));
        }
        if let Some(wrong) = wrong_subject(id, standing.per_subject) {
            return Err(wrong);
        }
        if let Some(token) = token {
            return Ok(token);
        }
        let id = id.clone();
        let made = self.shared.store.write(move |rows| {
            if let Some(present) = rows.token_if_any(&id)? {
                return Ok(present);
            }
            let token = Token::new(false);
            rows.insert_token(&id, &token)?;
            Ok(token)
        });
        Ok(made.await?)
    }

    async fn join_for(&self, patience: Duration, id: &TokenId) -> Result<AccessToken, TokenError> {
        timeout(patience, self.join(id, false))
            .await
            .unwrap_or_else(|_| {
                let words = format!(
                    "the refresh of {id} takes longer than {} seconds",
                    patience.as_secs()
                );
                Err(TokenError::Later {
                    words,
                    after: Duration::from_secs(5),
                })
            })
    }

    /// Password or bearer for an account that signs in as `user`.
    ///
    /// # Errors
    /// As [`Tokens::access`].
    pub async fn credential(&self, auth: &Auth, user: &str) -> Result<Credential, TokenError> {
        match auth {
            Auth::Password(password) => Ok(Credential::Password(password.clone())),
            Auth::Token(config) => {
                let id = self.token_id(config, user)?;
                self.access(&id).await.map(Credential::Bearer)
            }
        }
    }

    /// Which token an account that signs in as `user` uses: the config's only one, or that of the user.
    ///
    /// # Errors
    /// When there is no such token config.
    pub fn token_id(&self, config: &str, user: &str) -> Result<TokenId, StoreError> {
        let standing = self.shared.store.read(|rows| rows.standing(config))?;
        Ok(if standing.per_subject {
            TokenId::for_subject(config, user)
        } else {
            TokenId::of(config)
        })
    }

    /// A server rejected this very token; the next [`Tokens::access`] refreshes, unless a newer one is there already.
    /// Fresh tokens rejected in a row are followed by growing pauses, not by a storm of refreshes.
    ///
    /// # Errors
    /// When it can't be written down.
    pub async fn rejected(&self, token: &AccessToken) -> Result<(), StoreError> {
        let (id, version) = (token.id.clone(), token.version);
        let (luck, now) = (fastrand::f64(), self.shared.now());
        self.shared
            .store
            .write(move |rows| {
                let mut token = rows.token(&id)?;
                let seen = token.version;
                if token.rejected(version, now, luck) {
                    rows.put_token(&id, seen, &token)?;
                }
                Ok(())
            })
            .await
    }

    /// Refreshes now, also when a pause is still to keep (single flight all the same).
    ///
    /// # Errors
    /// As [`Tokens::access`].
    pub async fn refresh(&self, id: impl Into<TokenId> + Send) -> Result<AccessToken, TokenError> {
        let id = id.into();
        let before = self.open(&id).await?.seen().access;
        let first = self.join(&id, true).await?;
        if Some(first.version) != before {
            return Ok(first);
        }
        // The flight that was joined had found the token good enough; this one will not.
        self.join(&id, true).await
    }

    /// Stores a refresh token obtained elsewhere; the token is Ready and refreshed on first use.
    ///
    /// # Errors
    /// When the config doesn't exist or takes no refresh token.
    pub async fn seed(&self, config: &str, refresh_token: Secret) -> Result<(), StoreError> {
        let secret = refresh_word(config, &refresh_token)?;
        let id = TokenId::of(config);
        let now = self.shared.now();
        self.shared
            .store
            .write(move |rows| {
                let entry = rows.known_config(&id.config)?.entry;
                let flow = entry.config.flow;
                if !flow.has_refresh_token() {
                    let why = format!("its flow is {}, which needs no refresh token", flow.key());
                    let name = id.config;
                    return Err(StoreError::Invalid { name, why });
                }
                let mut token = rows.token(&id)?;
                let seen = token.version;
                let old = token
                    .seeded(secret.clone(), now)
                    .filter(|old| *old != secret);
                if let Some(old) = old {
                    let why = "another refresh token was seeded";
                    rows.keep_aside(&id, &configs::fingerprint(&entry), &old, now, why)?;
                }
                rows.put_token(&id, seen, &token)
            })
            .await
    }
}

pub(crate) fn invalid(config: &str) -> TokenError {
    TokenError::Broken {
        words: format!("the token config {config} is switched off (valid: false)"),
        advice: "switch it on, or let the account use another one".into(),
    }
}

/// A config with one token was asked for a subject's, or the other way round.
fn wrong_subject(id: &TokenId, per_subject: bool) -> Option<TokenError> {
    let config = &id.config;
    let (words, advice) = match (per_subject, id.subject.is_empty()) {
        (true, true) => (
            format!("the token config {config} gives a token for each mailbox user"),
            "say for which one (on the command line: --user ADDRESS)",
        ),
        (false, false) => (
            format!("the token config {config} gives one token, whoever uses it"),
            "leave the user out",
        ),
        _ => return None,
    };
    Some(TokenError::Broken {
        words,
        advice: advice.into(),
    })
}

pub(crate) fn present(id: &TokenId, access: &Access) -> AccessToken {
    let end = access.expires_at.and_then(|ms| u64::try_from(ms).ok());
    AccessToken {
        secret: access.secret.clone(),
        id: id.clone(),
        version: access.version,
        expires_at: end.map(|ms| SystemTime::UNIX_EPOCH + Duration::from_millis(ms)),
    }
}

/// Why a token has nothing to hand out, from its row.
pub(crate) fn why_not(id: &TokenId, token: &Token, now: i64) -> TokenError {
    let (words, advice) = match &token.failure {
        Some(failure) => (
            format!("token {id}: {}", bare(&failure.words)),
            bare(&failure.advice),
        ),
        None => (
            format!("no token was requested yet for {id}"),
            format!(
                "request one on the tokens page, or with `postern token request {}`",
                id.config
            ),
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

/// Words on one line, without the full stop that whoever quotes them sets.
fn bare(words: &str) -> String {
    one_line(words).trim_end_matches('.').to_owned()
}
