//! Consent: a person signs in at the provider, and what comes back is exchanged for a token.
//!
//! [`code`]: in a browser that comes back to us, or whose address the person pastes. State is 256 bits, bound to the session
//! that began, good for ten minutes and for one use: its row is deleted, and that commit answered, before the code is sent
//! anywhere. PKCE S256 always; its verifier waits sealed in that row.
//!
//! [`device`]: on any device, by a code. The row is the truth: who finds it due asks, and a restart goes on with it.
//!
//! Either way the person is compared with whom the token is for ([`person`]) before anything is stored ([`keep`]).

mod code;
mod device;
mod keep;
mod person;
mod url;

pub use device::{DeviceSignIn, DeviceState};

use crate::exchange::{Trouble, Verdict, one_line};
use crate::store::Rows;
use crate::tokens::{capital, invalid};
use crate::{StoreError, TokenConfig, TokenError};
use oauth2::url::form_urlencoded;
use std::time::Duration;

/// Who has to sign in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignIn<'a> {
    /// The user of the mailboxes and relays that use the token; anybody where they don't agree on one.
    ForAccounts,
    /// This one.
    As(&'a str),
    /// Anybody: a person who may open a shared mailbox.
    Anybody,
}

impl SignIn<'_> {
    /// The one user to be expected, for the provider's page and for the check.
    fn expected(self, rows: &Rows<'_>, config: &str) -> Result<Option<String>, StoreError> {
        let mut users = match self {
            Self::As(user) if !user.trim().is_empty() => return Ok(Some(user.trim().to_owned())),
            Self::Anybody => return Ok(None),
            Self::As(_) | Self::ForAccounts => rows.subjects_of(config)?,
        };
        let one = users.pop().filter(|_| users.is_empty());
        Ok(one.map(|id| id.subject))
    }
}

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

impl CallbackAnswer {
    /// Reads a query: `code=...&state=...`.
    #[must_use]
    pub fn from_query(query: &str) -> Self {
        let mut answer = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let slot = match &*name {
                "state" => &mut answer.state,
                "code" => &mut answer.code,
                "error" => &mut answer.error,
                "error_description" => &mut answer.error_description,
                "iss" => &mut answer.iss,
                _ => continue,
            };
            *slot = Some(value.into_owned());
        }
        answer
    }

    /// Reads what a person copied out of the browser: the address it ended on, or only its query. None when there is neither a
    /// code nor a refusal in it, or no state.
    #[must_use]
    pub fn from_pasted(text: &str) -> Option<Self> {
        // Mail programs and terminals break long lines.
        let text: String = text.split_whitespace().collect();
        let text = text.trim_matches(['"', '\'', '<', '>']);
        let query = text.split_once('?').map_or(text, |(_, query)| query);
        let query = query.split('#').next().unwrap_or_default();
        let answer = Self::from_query(query);
        (answer.state.is_some() && (answer.code.is_some() || answer.error.is_some()))
            .then_some(answer)
    }
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
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Consented {
    /// The token config that has a token now.
    pub config: String,
    /// Who signed in, as far as the provider tells.
    pub signed_in_as: Option<String>,
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
    /// Another person signed in than the one that the token is for.
    #[error("{}. {}", .0.words(), capital(&.0.advice()))]
    OtherPerson(OtherPerson),
    /// The token endpoint is away.
    #[error("{0}")]
    Later(String),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Who signed in, and who should have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtherPerson {
    /// Who did.
    pub signed_in: String,
    /// Who should have.
    pub expected: String,
}

impl OtherPerson {
    /// What happened.
    #[must_use]
    pub fn words(&self) -> String {
        let Self {
            signed_in,
            expected,
        } = self;
        format!("{signed_in} signed in, but the token is for {expected}")
    }

    /// What to do.
    #[must_use]
    pub fn advice(&self) -> String {
        let Self {
            signed_in,
            expected,
        } = self;
        format!(
            "sign in as {expected} (a private window forgets who is signed in); if {signed_in} may open that mailbox and is \
             meant to, request the token again and allow anybody to sign in (on the command line: --any-user)"
        )
    }
}

/// What stands between a config and a consent.
fn consentable(stored: &TokenConfig) -> Result<(), TokenError> {
    let config = &stored.entry.name;
    if !stored.entry.valid {
        return Err(invalid(config));
    }
    if stored.entry.config.flow.needs_person() {
        return Ok(());
    }
    Err(TokenError::Broken {
        words: format!("the token config {config} needs nobody's consent"),
        advice: format!(
            "its token comes by itself; `postern token refresh {config}` asks for one now"
        ),
    })
}

/// An endpoint that is needed first did not do its part.
fn not_begun(config: &str, verdict: Verdict) -> TokenError {
    match verdict {
        Verdict::FixConfiguration(Trouble { words, advice })
        | Verdict::AskPerson(Trouble { words, advice }) => TokenError::Broken { words, advice },
        Verdict::Retry { trouble, after, .. } => TokenError::Later {
            words: trouble.words,
            after: after.unwrap_or(Duration::from_secs(10)),
        },
        Verdict::Granted(_) => TokenError::Later {
            words: format!("the authorisation endpoint of {config} is not known yet"),
            after: Duration::from_secs(10),
        },
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_pasted_may_be_the_address_its_query_or_broken_over_lines() {
        for text in [
            "http://127.0.0.1:8025/oauth2/callback?state=s%3D&code=4%2F0a#",
            "  https://help.example/cb?code=4/0a&session_state=x&state=s%3D\n",
            "?code=4%2F0a&state=s%3D",
            "code=4%2F0a&state=s%3D",
            "\"http://localhost/cb?code=4%2F\n0a&st\n  ate=s%3D\"",
        ] {
            let answer = CallbackAnswer::from_pasted(text).unwrap();
            assert_eq!(answer.code.as_deref(), Some("4/0a"), "{text}");
            assert_eq!(answer.state.as_deref(), Some("s="), "{text}");
        }
        let refused = CallbackAnswer::from_pasted("http://l/cb?error=access_denied&state=s");
        assert_eq!(refused.unwrap().error.as_deref(), Some("access_denied"));
        for text in [
            "",
            "yes",
            "http://127.0.0.1/cb",
            "code=only",
            "state=only",
            "https://id.example/authorize?client_id=c&state=s&redirect_uri=http%3A%2F%2Fl",
        ] {
            assert!(CallbackAnswer::from_pasted(text).is_none(), "{text}");
        }
    }
}
