//! The authorisation code: the URL that a person is sent to, and the answer that the browser brings.

use super::keep::{Asked, keep};
use super::url::authorisation_url;
use super::{CallbackAnswer, ConsentError, Consented, SignIn, consentable, declined, not_begun};
use crate::exchange::{Ask, Trouble, Verdict, same_issuer};
use crate::seal::digest;
use crate::store::{UnderWay, unknown};
use crate::tokens::Shared;
use crate::{Secret, StoreError, TokenError, Tokens, configs};
use oauth2::{CsrfToken, PkceCodeChallenge};
use std::sync::Arc;

/// Bytes of randomness in `state`.
const STATE_BYTES: u32 = 32;

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
        sign_in: SignIn<'_>,
    ) -> Result<String, TokenError> {
        let (stored, expected) = self.shared.store.read(|rows| {
            let expected = sign_in.expected(rows, config)?;
            Ok((rows.known_config(config)?, expected))
        })?;
        consentable(&stored)?;
        let base = self
            .shared
            .exchange
            .authorize_url(&stored.entry)
            .await
            .map_err(|verdict| not_begun(config, verdict))?;
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let state = CsrfToken::new_random_len(STATE_BYTES);
        let verifier = Secret::new(verifier.secret().as_str());
        let digest_of_state = digest(state.secret());
        let hint = expected.as_deref();
        let url = authorisation_url(&stored, base, redirect_uri, state, challenge, hint).map_err(
            |words| TokenError::Broken {
                words,
                advice: "correct the redirect URI".into(),
            },
        )?;
        let under_way = UnderWay {
            config: config.to_owned(),
            fingerprint: configs::fingerprint(&stored.entry),
            redirect_uri: redirect_uri.to_owned(),
            verifier,
            expected,
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
    /// A stale state, the provider's refusal, another person, or an endpoint that is away (then the consent must begin again).
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

    /// Who answered, if that is not who was asked: its code must not be shown to this provider (RFC 9207 section 2.4).
    /// A config that names its endpoints without an issuer can't tell.
    fn other_issuer<'a>(
        &self,
        config: &str,
        iss: Option<&'a str>,
    ) -> Result<Option<&'a str>, StoreError> {
        let stored = self.shared.store.token_config(config)?;
        let known = stored.and_then(|stored| stored.entry.config.postern.discovery);
        Ok(match (known.as_deref(), iss) {
            (Some(known), Some(iss)) if !known.is_empty() && !same_issuer(known, iss) => Some(iss),
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
    let asked = Asked {
        config: under_way.config,
        fingerprint: under_way.fingerprint,
        expected: under_way.expected,
        by_device: false,
    };
    keep(shared, &stored, asked, grant).await
}
