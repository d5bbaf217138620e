//! Taking a grant back, at the provider first; and asking the provider what a token is good for.

use crate::exchange::{Kind, Trouble, Verdict};
use crate::tokens::{Shared, present, why_not};
use crate::{AccessToken, TokenConfig, TokenError, TokenId, Tokens, configs, now};
use serde_json::{Map, Value};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// Another process' refresh ends within its exchange's deadline; after that its lock is a riddle.
const LOCK_TIMEOUT: Duration = Duration::from_secs(120);

/// What the provider says of an access token (RFC 7662 section 2.2).
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Introspection {
    /// Whether it is good.
    pub active: bool,
    /// For what.
    pub scope: Option<String>,
    /// Until when, in seconds since 1970.
    pub exp: Option<i64>,
    /// Whose it is: the user name, else the subject.
    pub sub: Option<String>,
}

impl Introspection {
    fn read(fields: &Map<String, Value>) -> Self {
        let text = |name: &str| fields.get(name).and_then(Value::as_str).map(str::to_owned);
        Self {
            active: fields.get("active") == Some(&Value::Bool(true)),
            scope: text("scope"),
            exp: fields.get("exp").and_then(Value::as_i64),
            sub: text("username").or_else(|| text("sub")),
        }
    }
}

impl Tokens {
    /// Takes a grant back: at the provider, and once it has said yes, here. With `forget` only here. This is the one way by which
    /// a refresh token goes without being replaced.
    ///
    /// # Errors
    /// When there is nothing to take back, the provider has no endpoint for it, or did not say yes; then everything is as it was.
    pub async fn revoke(&self, config: &str, forget: bool) -> Result<(), TokenError> {
        let id = TokenId::of(config);
        let stored = self.shared.store.read(|rows| rows.known_config(config))?;
        if !stored.entry.config.flow.needs_person() {
            return Err(TokenError::Broken {
                words: format!("nobody consented for {config}, so there is no consent to take back"),
                advice: "switch the token config off (valid: false), and withdraw the client's or account's rights at the provider".into(),
            });
        }
        let work = take_back(self.shared.clone(), stored, forget);
        // A refresh beside it could bring a token that outlives it.
        let done = self.alone(&id, work).await;
        done.unwrap_or_else(|| {
            Err(TokenError::Later {
                words: "the revocation ended unexpectedly".into(),
                after: Duration::from_secs(1),
            })
        })
    }

    /// What the provider says of a token; one is had first if need be.
    ///
    /// # Errors
    /// When there is no token, or the provider has no endpoint for this, or it doesn't answer.
    pub async fn introspect(
        &self,
        id: impl Into<TokenId> + Send,
    ) -> Result<Introspection, TokenError> {
        let token = self.access(id).await?;
        let config = &token.id.config;
        let stored = self.shared.store.read(|rows| rows.known_config(config))?;
        let asked = self
            .shared
            .exchange
            .introspect(&stored.entry, &token.secret);
        match asked.await {
            Some(Ok(fields)) => Ok(Introspection::read(&fields)),
            Some(Err(verdict)) => Err(failed(verdict)),
            None => Err(TokenError::Broken {
                words: format!("{config} has no introspection endpoint"),
                advice: "give one (endpoints.introspect), if the provider has it".into(),
            }),
        }
    }
}

/// The whole errand, and what those get who asked for the token meanwhile.
async fn take_back(
    shared: Arc<Shared>,
    stored: TokenConfig,
    forget: bool,
) -> (Result<AccessToken, TokenError>, Result<(), TokenError>) {
    let id = TokenId::of(&stored.entry.name);
    let done = take_back_alone(&shared, &stored, &id, forget).await;
    let left = shared.store.read(|rows| rows.token(&id));
    let left = left.map_err(TokenError::from).and_then(|token| {
        let now = now();
        let usable = token.usable(now).map(|access| present(&id, access));
        usable.ok_or_else(|| why_not(&id, &token, now))
    });
    (left, done)
}

async fn take_back_alone(
    shared: &Shared,
    stored: &TokenConfig,
    id: &TokenId,
    forget: bool,
) -> Result<(), TokenError> {
    let lock = timeout(LOCK_TIMEOUT, shared.store.refresh_lock().enter()).await;
    let _alone = lock
        .map_err(|_| TokenError::Later {
            words: format!("another process holds the refresh lock; token {id} waits for it"),
            after: Duration::from_secs(10),
        })?
        .map_err(|error| TokenError::Store(format!("the refresh lock: {error}")))?;
    let token = shared.store.read(|rows| rows.token(id))?;
    let refresh = token.refresh.map(|refresh| (refresh.secret, Kind::Refresh));
    let access = token.access.map(|access| (access.secret, Kind::Access));
    let Some((secret, kind)) = refresh.or(access) else {
        return Err(TokenError::Broken {
            words: format!("{id} has no token to take back"),
            advice: "nothing to do here; the account's page of connected apps at the provider says what it still allows".into(),
        });
    };
    if !forget {
        match shared.exchange.revoke(&stored.entry, &secret, kind).await {
            Some(Ok(())) => {}
            Some(Err(verdict)) => return Err(failed(verdict)),
            None => return Err(by_hand(id)),
        }
    }
    let (name, fingerprint) = (id.clone(), configs::fingerprint(&stored.entry));
    let forgotten = shared.store.write(move |rows| {
        let mut token = rows.token(&name)?;
        let seen = token.version;
        token.revoked(now());
        rows.forget_aside_of(&name, &fingerprint)?;
        rows.put_token(&name, seen, &token)
    });
    forgotten.await?;
    tracing::info!(token = %id, forgotten_here_only = forget, "the grant was taken back");
    Ok(())
}

fn by_hand(id: &TokenId) -> TokenError {
    TokenError::Broken {
        words: format!("the provider of {id} has no address where a token can be taken back"),
        advice: format!(
            "withdraw the app at the provider (on the account's page of connected apps, or in the tenant's enterprise applications), \
             then `postern token revoke {} --forget` removes the token here",
            id.config
        ),
    }
}

fn failed(verdict: Verdict) -> TokenError {
    match verdict {
        Verdict::Granted(_) => TokenError::Later {
            words: "the provider answered with a token".into(),
            after: Duration::from_secs(10),
        },
        Verdict::Retry { trouble, after, .. } => TokenError::Later {
            words: trouble.words,
            after: after.unwrap_or(Duration::from_secs(10)),
        },
        Verdict::AskPerson(Trouble { words, advice })
        | Verdict::FixConfiguration(Trouble { words, advice }) => {
            TokenError::Broken { words, advice }
        }
    }
}
