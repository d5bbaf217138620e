//! The control socket: one JSON line asks, one JSON line answers.
//!
//! root and the daemon's own user may ask everything; whoever else reaches the socket, by its group, may see the status,
//! fetch an access token and hand over mail.

mod client;
mod quick;
mod server;

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};
use token_store::Tokens;

pub(crate) use client::{Client, ClientError};
pub(crate) use quick::ask_at_once;
pub(crate) use server::{Listener, serve};

/// Longest question; a command names at most some thousand messages.
const LONGEST_QUESTION: usize = 1 << 20;

/// What a command asks of the daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Question {
    /// The report of `postern status`.
    Status,
    /// A usable access token.
    Access {
        config: String,
        /// Who signs in with it; empty: the only user there is.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        user: String,
    },
    /// Refresh now.
    Refresh {
        config: String,
        #[serde(default, skip_serializing_if = "String::is_empty")]
        subject: String,
    },
    /// The redirect of a consent that this command began.
    Complete {
        session: String,
        state: Option<String>,
        code: Option<String>,
        error: Option<String>,
        error_description: Option<String>,
        iss: Option<String>,
    },
    /// Take a grant back.
    Revoke {
        config: String,
        /// Only here, not at the provider.
        forget: bool,
    },
    /// What the provider says of a token.
    Introspect { config: String, subject: String },
    /// A command changed a token config in the database.
    TokensChanged { config: String },
    /// A command changed mailboxes or relays in the database.
    AccountsChanged,
    /// Fetch a mailbox now.
    Fetch {
        mailbox: String,
        /// Also before a time that its server named.
        #[serde(default)]
        now: bool,
    },
    /// Make messages due now; None: all.
    Retry { messages: Option<Vec<i64>> },
    /// Hold messages, with a person's reason.
    Hold { messages: Vec<i64>, reason: String },
    /// Give held messages back to the schedule.
    Release { messages: Vec<i64> },
    /// Drop messages.
    Delete { messages: Vec<i64> },
    /// Tell a test by every channel of notices.
    TestNotices,
    /// Seal everything with a new key.
    RotateKey {
        /// Its text; None: the daemon makes one.
        key: Option<KeyText>,
    },
    /// Read the configuration again.
    Reload,
    /// After the answer the connection is a submission session.
    Sendmail,
}

/// A sealing key on its way; prints `***`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeyText(pub(crate) String);

impl std::fmt::Debug for KeyText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// What the daemon answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    /// Done; what was asked for.
    Done(serde_json::Value),
    /// Not done.
    Failed(Failure),
}

/// An access token, as a command gets it. It is seen by no log: nothing prints an answer.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Handed {
    pub(crate) token: String,
    /// Who signs in with it, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<String>,
    /// Seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) expires_at: Option<u64>,
}

impl Handed {
    /// A usable access token of a config, for the user who was named or for the only one who signs in with it.
    pub(crate) async fn of(
        tokens: &Tokens,
        config: &str,
        user: String,
    ) -> Result<Self, token_store::TokenError> {
        let mut users = tokens.store().account_users(config)?;
        let user = match (user.is_empty(), users.len()) {
            (false, _) => Some(user),
            (true, 1) => users.pop(),
            (true, _) => None,
        };
        let id = tokens.token_id(config, user.as_deref().unwrap_or_default())?;
        let token = tokens.access(id).await?;
        let since = |at: std::time::SystemTime| at.duration_since(std::time::UNIX_EPOCH);
        let seconds = token.expires_at.and_then(|at| since(at).ok());
        Ok(Self {
            token: token.secret.expose().to_owned(),
            user,
            expires_at: seconds.map(|since| since.as_secs()),
        })
    }
}

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failure {
    pub(crate) kind: FailureKind,
    pub(crate) words: String,
}

/// What the asking command does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FailureKind {
    /// The question itself was wrong: a name that doesn't exist.
    Unknown,
    /// Later.
    Temporary,
    /// A person must consent.
    Consent,
    /// The configuration must be mended.
    Configuration,
    /// The asking user may not.
    Forbidden,
    /// The daemon failed.
    Internal,
}

impl Failure {
    pub(crate) fn new(kind: FailureKind, words: impl Into<String>) -> Self {
        Self {
            kind,
            words: words.into(),
        }
    }
}

impl From<token_store::TokenError> for Failure {
    fn from(error: token_store::TokenError) -> Self {
        use token_store::TokenError;
        let kind = match &error {
            TokenError::NeedsConsent { .. } => FailureKind::Consent,
            TokenError::Broken { .. } => FailureKind::Configuration,
            TokenError::Later { .. } => FailureKind::Temporary,
            TokenError::Unknown(_) => FailureKind::Unknown,
            TokenError::Store(_) => FailureKind::Internal,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<token_store::ConsentError> for Failure {
    fn from(error: token_store::ConsentError) -> Self {
        use token_store::ConsentError;
        let kind = match &error {
            ConsentError::Stale => FailureKind::Unknown,
            ConsentError::Refused { .. } | ConsentError::OtherPerson(_) => FailureKind::Consent,
            ConsentError::Later(_) => FailureKind::Temporary,
            ConsentError::Store(_) => FailureKind::Internal,
        };
        Self::new(kind, error.to_string())
    }
}

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Peer {
    /// root, or the daemon's own user.
    Master,
    /// Somebody whom the socket's group let in.
    Guest,
}

impl Peer {
    fn of(uid: u32, own: u32) -> Self {
        if uid == 0 || uid == own {
            Self::Master
        } else {
            Self::Guest
        }
    }

    fn may(self, question: &Question) -> bool {
        self == Self::Master
            || matches!(
                question,
                Question::Status | Question::Access { .. } | Question::Sendmail
            )
    }
}
