//! What a mailbox presents and to whom: the address to dial, the SASL answers, and what a refused sign-in means.

use std::collections::VecDeque;
use std::time::Duration;

use token_store::accounts::Mailbox;
use token_store::{Credential, TokenError};
use wire::dial::{DialError, Target, Tls};
use wire::sasl::{self, Mechanism};

use crate::error::{FetchError, Refusal};
use crate::refusal::{Blame, blame, printable};

/// Bounds each step of connecting.
pub(crate) const DIAL: Duration = Duration::from_secs(30);
/// Where a mailbox is.
pub(crate) fn target(mailbox: &Mailbox) -> Target {
    let tls = match mailbox.tls {
        provider_template::Tls::Implicit => Tls::Implicit,
        provider_template::Tls::Starttls => Tls::StartTls,
        provider_template::Tls::None => Tls::None,
    };
    Target {
        host: mailbox.host.clone(),
        port: mailbox.port,
        tls,
    }
}

/// What a failed dial means.
pub(crate) fn dialled(e: DialError) -> FetchError {
    match e {
        DialError::CaFile { .. } => FetchError::Blocked(e.to_string()),
        other => FetchError::Again(other.to_string()),
    }
}

/// The answers of an exchange, base64, in order.
pub(crate) fn replies(
    mechanism: Mechanism,
    mailbox: &Mailbox,
    credential: &Credential,
) -> Result<VecDeque<String>, FetchError> {
    let user = &mailbox.user;
    let secret = match credential {
        Credential::Bearer(token) => token.secret.expose(),
        Credential::Password(password) => password.expose(),
    };
    let replies = match mechanism {
        Mechanism::Xoauth2 => sasl::xoauth2(user, secret).map(|r| vec![r]),
        Mechanism::Oauthbearer => {
            sasl::oauthbearer(user, &mailbox.host, mailbox.port, secret).map(|r| vec![r])
        }
        Mechanism::Plain => sasl::plain(user, secret).map(|r| vec![r]),
        Mechanism::Login => sasl::login(user).and_then(|u| Ok(vec![u, sasl::login(secret)?])),
    };
    replies
        .map(VecDeque::from)
        .map_err(|e| FetchError::Blocked(e.to_string()))
}

/// A refused sign-in, with what the error challenge said.
pub(crate) fn refused(
    refusal: Refusal,
    challenge: Option<sasl::ErrorChallenge>,
    user: &str,
    credential: &Credential,
) -> FetchError {
    let blame = blame(&refusal, challenge.is_some());
    let mut why = refusal.to_string();
    if let Some(challenge) = challenge {
        let parts = [
            ("status", &challenge.status),
            ("scope", &challenge.scope),
            ("schemes", &challenge.schemes),
        ];
        let mut said: Vec<String> = parts
            .iter()
            .filter_map(|(name, value)| value.as_ref().map(|v| format!("{name} {}", printable(v))))
            .collect();
        if said.is_empty() {
            said.push(printable(&challenge.raw));
        }
        why = format!("{why} ({})", said.join(", "));
    }
    match (blame, credential) {
        (Blame::Nobody, _) => FetchError::Again(why),
        (Blame::Account, _) => FetchError::Denied(format!(
            "{why}. The credential is not to blame: see at the provider that {user} may use IMAP and that this sign-in has the right to the mailbox"
        )),
        (Blame::Credential, Credential::Bearer(token)) => FetchError::TokenRefused {
            why,
            token: Box::new(token.clone()),
        },
        (Blame::Credential, Credential::Password(_)) => FetchError::PasswordRefused(why),
    }
}

/// What a token that can't be had means.
pub(crate) fn no_token(e: TokenError) -> FetchError {
    match e {
        TokenError::NeedsConsent { .. } | TokenError::Broken { .. } | TokenError::Unknown(_) => {
            FetchError::Blocked(e.to_string())
        }
        TokenError::Later { ref words, after } => FetchError::NoToken {
            why: words.clone(),
            after: Some(after),
        },
        TokenError::Store(why) => FetchError::NoToken { why, after: None },
    }
}
