//! Consent: a person signs in at the provider, and the code that comes back is exchanged for a token.
//!
//! State is 256 bits, bound to the session that began, good for ten minutes and for one use: its row is deleted, and
//! that commit answered, before the code is sent anywhere. PKCE S256 always; its verifier waits sealed in that row.

use crate::exchange::{Ask, Grant, Trouble, Verdict, one_line};
use crate::seal::digest;
use crate::store::{UnderWay, unknown};
use crate::tokens::{Shared, capital, invalid};
use crate::{Secret, StoreError, TokenConfig, TokenError, TokenId, Tokens, configs, now};
use oauth2::basic::BasicClient;
use oauth2::{AuthUrl, ClientId, CsrfToken, PkceCodeChallenge, RedirectUrl, Scope};
use provider_template::{Autofill, Request};
use reqwest::Url;
use std::sync::Arc;
use std::time::Duration;

/// Bytes of randomness in `state`.
const STATE_BYTES: u32 = 32;
/// How often the granted token is tried to be stored while the disk refuses: a person waits at the browser.
const COMMIT_TRIES: u32 = 20;
const COMMIT_PAUSE: Duration = Duration::from_millis(500);

/// The query of the redirect.
#[derive(Clone, Default, serde::Deserialize)]
pub struct CallbackAnswer {
    /// The state that was sent.
    pub state: Option<String>,
    /// The authorisation code.
    pub code: Option<String>,
    /// The provider's refusal.
    pub error: Option<String>,
    /// Its words.
    pub error_description: Option<String>,
    /// Who answers, where the provider says so (RFC 9207).
    pub iss: Option<String>,
}

/// State and code are as good as secrets until they are used.
impl std::fmt::Debug for CallbackAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CallbackAnswer")
            .field("error", &self.error)
            .field("error_description", &self.error_description)
            .finish_non_exhaustive()
    }
}

/// A consent that came back well.
#[derive(Debug, Clone)]
pub struct Consented {
    /// The token config that has a token now.
    pub config: String,
}

/// Why a consent came to nothing. The current token is kept in every case.
#[derive(Debug, thiserror::Error)]
pub enum ConsentError {
    /// No consent of this state waits in this session.
    #[error(
        "this sign-in link is unknown, was used already, is older than 10 minutes, or belongs to another browser \
         session; request the token again"
    )]
    Stale,
    /// The provider said no.
    #[error("the provider refused: {words}. {}", capital(.advice))]
    Refused {
        /// Its words.
        words: String,
        /// What to do.
        advice: String,
    },
    /// The token endpoint is away.
    #[error("{0}")]
    Later(String),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Tokens {
    /// Starts a consent: the provider's URL to send the person to. `session` binds it to a browser session or command.
    ///
    /// # Errors
    /// When the config is switched off, its flow needs no person, or its endpoint can't be found.
    pub async fn begin(
        &self,
        config: &str,
        redirect_uri: &str,
        session: &str,
        login_hint: Option<&str>,
    ) -> Result<String, TokenError> {
        let stored = self
            .shared
            .store
            .token_config(config)?
            .ok_or_else(|| unknown(config))?;
        if !stored.entry.valid {
            return Err(invalid(config));
        }
        if !stored.entry.config.flow.needs_person() {
            return Err(TokenError::Broken {
                words: format!(
                    "the token config {config} uses client credentials, which need no consent"
                ),
                advice: format!(
                    "its token comes by itself; `postern token refresh {config}` asks for one now"
                ),
            });
        }
        let base = self
            .shared
            .exchange
            .authorize_url(&stored.entry)
            .await
            .map_err(|verdict| no_url(config, verdict))?;
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let state = CsrfToken::new_random_len(STATE_BYTES);
        let verifier = Secret::new(verifier.secret().as_str());
        let digest_of_state = digest(state.secret());
        let url = authorisation_url(&stored, base, redirect_uri, state, challenge, login_hint)
            .map_err(|words| TokenError::Broken {
                words,
                advice: "correct the redirect URI".into(),
            })?;
        let under_way = UnderWay {
            config: config.to_owned(),
            fingerprint: configs::fingerprint(&stored.entry),
            redirect_uri: redirect_uri.to_owned(),
            verifier,
        };
        let session = digest(session);
        self.shared
            .store
            .write(move |rows| rows.begin_consent(&digest_of_state, &session, &under_way))
            .await?;
        Ok(url.into())
    }

    /// The callback: checks state and session, exchanges the code. An error keeps the current token.
    ///
    /// # Errors
    /// A stale state, the provider's refusal, or an endpoint that is away (then the consent must begin again).
    pub async fn complete(
        &self,
        session: &str,
        answer: CallbackAnswer,
    ) -> Result<Consented, ConsentError> {
        let state = answer
            .state
            .as_deref()
            .filter(|s| !s.is_empty())
            .ok_or(ConsentError::Stale)?;
        let (state, session) = (digest(state), digest(session));
        let taken = self
            .shared
            .store
            .write(move |rows| rows.take_consent(&state, &session))
            .await?;
        let under_way = taken.ok_or(ConsentError::Stale)?;
        if let Some(other) = self.other_issuer(&under_way.config, answer.iss.as_deref())? {
            return Err(declined(
                &format!("the answer is of another provider, {other}"),
                "",
            ));
        }
        if let Some(error) = answer.error.filter(|e| !e.is_empty()) {
            return Err(declined(
                &error,
                answer.error_description.as_deref().unwrap_or_default(),
            ));
        }
        let Some(code) = answer.code.filter(|c| !c.is_empty()).map(Secret::new) else {
            return Err(declined(
                "the provider sent neither a code nor an error",
                "",
            ));
        };
        let shared = self.shared.clone();
        // Its own task: a browser that goes away must not take the granted token with it.
        let exchanged = self
            .shared
            .tasks
            .spawn(async move { exchange_code(&shared, under_way, code).await });
        exchanged.await.map_err(|_| {
            ConsentError::Later("the exchange ended unexpectedly; request the token again".into())
        })?
    }
}

impl Tokens {
    /// Who answered, if that is not who was asked: its code must not be shown to this provider (RFC 9207 section 2.4).
    /// A config that names its endpoints without an issuer can't tell.
    fn other_issuer<'a>(
        &self,
        config: &str,
        iss: Option<&'a str>,
    ) -> Result<Option<&'a str>, StoreError> {
        let stored = self.shared.store.token_config(config)?;
        let known = stored.and_then(|stored| stored.entry.config.postern.discovery);
        let same = |known: &str, iss: &str| {
            // A placeholder for the tenant is filled in by the provider.
            known.contains('{') || known.trim_end_matches('/') == iss.trim_end_matches('/')
        };
        Ok(match (known.as_deref(), iss) {
            (Some(known), Some(iss)) if !known.is_empty() && !same(known, iss) => Some(iss),
            _ => None,
        })
    }
}

async fn exchange_code(
    shared: &Arc<Shared>,
    under_way: UnderWay,
    code: Secret,
) -> Result<Consented, ConsentError> {
    let stored = shared
        .store
        .token_config(&under_way.config)?
        .ok_or_else(|| unknown(&under_way.config))?;
    if configs::fingerprint(&stored.entry) != under_way.fingerprint {
        // The code was given to another client; this one could not redeem it.
        return Err(ConsentError::Stale);
    }
    let ask = Ask::Code {
        code: &code,
        redirect_uri: &under_way.redirect_uri,
        verifier: &under_way.verifier,
    };
    let grant = match shared.exchange.ask(&stored.entry, ask).await {
        Verdict::Granted(grant) => grant,
        Verdict::Retry { trouble, .. } => {
            return Err(ConsentError::Later(format!(
                "{}; request the token again",
                trouble.words
            )));
        }
        Verdict::AskPerson(Trouble { words, advice })
        | Verdict::FixConfiguration(Trouble { words, advice }) => {
            return Err(ConsentError::Refused { words, advice });
        }
    };
    let config = under_way.config.clone();
    let mut left = COMMIT_TRIES;
    let (under_way, grant) = (Arc::new(under_way), Arc::new(grant));
    // The provider may have ended the former grant with this one, so that nothing but memory holds a living token.
    while let Err(error) = store_grant(shared, under_way.clone(), grant.clone()).await {
        left -= 1;
        if left == 0 || matches!(error, StoreError::Unknown { .. }) {
            return Err(error.into());
        }
        tracing::error!(token = %config, %error, "a granted token is not on disk yet; trying again");
        tokio::time::sleep(COMMIT_PAUSE).await;
    }
    shared.changed.notify_one();
    tracing::info!(token = %config, "consented");
    Ok(Consented { config })
}

async fn store_grant(
    shared: &Shared,
    under_way: Arc<UnderWay>,
    grant: Arc<Grant>,
) -> Result<(), StoreError> {
    let luck = fastrand::f64();
    shared
        .store
        .write(move |rows| {
            let UnderWay {
                config,
                fingerprint,
                ..
            } = &*under_way;
            let (id, now) = (TokenId::of(config), now());
            if rows.fingerprint_of(config)? == *fingerprint {
                let mut token = rows.token(&id)?;
                let seen = token.version;
                token.consented(&grant, now, luck);
                return rows.put_token(&id, seen, &token);
            }
            // The config changed its client while the person signed in: this grant is for the former one.
            match &grant.refresh {
                Some(spare) => rows.keep_aside(
                    &id,
                    fingerprint,
                    spare,
                    now,
                    "consented for a former client",
                ),
                None => Ok(()),
            }
        })
        .await
}

/// The standard parameters by the oauth2 crate, then the config's own over them.
fn authorisation_url(
    stored: &TokenConfig,
    base: Url,
    redirect_uri: &str,
    state: CsrfToken,
    challenge: PkceCodeChallenge,
    login_hint: Option<&str>,
) -> Result<Url, String> {
    let config = &stored.entry.config;
    let redirect = RedirectUrl::new(redirect_uri.to_owned())
        .map_err(|e| format!("the redirect URI {redirect_uri}: {e}"))?;
    let state_text = state.secret().clone();
    let client = BasicClient::new(ClientId::new(config.client_id.clone()))
        .set_auth_uri(AuthUrl::from_url(base))
        .set_redirect_uri(redirect);
    let mut request = client
        .authorize_url(move || state)
        .set_pkce_challenge(challenge);
    if !config.scope.trim().is_empty() {
        request = request.add_scope(Scope::new(config.scope.clone()));
    }
    let (mut url, _) = request.url();
    let empty = Request::default();
    let own = config
        .requests
        .authorization_code
        .as_ref()
        .unwrap_or(&empty);
    for (field, value) in &own.parameters {
        set(&mut url, field, value);
    }
    for (field, what) in &own.autofilled {
        match what {
            Autofill::ClientId => set(&mut url, field, &config.client_id),
            Autofill::RedirectUrl => set(&mut url, field, redirect_uri),
            Autofill::Scope => set(&mut url, field, &config.scope),
            Autofill::State => set(&mut url, field, &state_text),
            // A URL is seen by the browser and by logs: no secret belongs there, whatever the document says.
            Autofill::ClientSecret | Autofill::AuthorizationCode | Autofill::RefreshToken => {}
        }
    }
    if let Some(hint) = login_hint.filter(|hint| !hint.is_empty()) {
        set(&mut url, "login_hint", hint);
    }
    Ok(url)
}

/// Replaces a query parameter, or adds it. PKCE and state are ours alone.
fn set(url: &mut Url, field: &str, value: &str) {
    if value.is_empty() || matches!(field, "code_challenge" | "code_challenge_method") {
        return;
    }
    let mut pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    match pairs.iter_mut().find(|(known, _)| known == field) {
        Some(_) if field == "state" => return,
        Some((_, present)) => value.clone_into(present),
        None => pairs.push((field.to_owned(), value.to_owned())),
    }
    url.query_pairs_mut().clear().extend_pairs(pairs);
}

fn declined(error: &str, description: &str) -> ConsentError {
    let words = if description.is_empty() {
        error.to_owned()
    } else {
        format!("{error}: {description}")
    };
    let advice = match error {
        "access_denied" | "consent_required" | "interaction_required" | "login_required" => {
            "sign in again as the mailbox's user and accept, or ask the organisation's administrator to grant consent"
        }
        "temporarily_unavailable" | "server_error" => "try again in a few minutes",
        _ => {
            "compare client id, redirect URI and scope with the app registration, then request the token again"
        }
    };
    ConsentError::Refused {
        words: one_line(&words),
        advice: advice.into(),
    }
}

fn no_url(config: &str, verdict: Verdict) -> TokenError {
    match verdict {
        Verdict::FixConfiguration(Trouble { words, advice }) => {
            TokenError::Broken { words, advice }
        }
        Verdict::Retry { trouble, after, .. } => TokenError::Later {
            words: trouble.words,
            after: after.unwrap_or(Duration::from_secs(10)),
        },
        Verdict::AskPerson(_) | Verdict::Granted(_) => TokenError::Later {
            words: format!("the authorisation endpoint of {config} is not known yet"),
            after: Duration::from_secs(10),
        },
    }
}
