//! Why a mailbox's session ended, split by what its task does next.

use std::time::Duration;

use token_store::AccessToken;

/// Why a session ended, or a command failed. The message is for people; the variant is for the caller.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    /// The connection is unusable (closed, silent, nonsense): a new one after a growing pause.
    #[error("{0}")]
    Again(String),
    /// A command was answered NO or BAD, or the server said BYE; the connection may still be good after a NO.
    #[error("{0}")]
    Refused(Refusal),
    /// The server asks for patience, with a time or by a response code.
    #[error("{why}")]
    Patience {
        /// The server's words.
        why: String,
        /// The time it named, if it named one.
        after: Option<Duration>,
    },
    /// A quota is used up: hours rather than seconds.
    #[error("{0}")]
    Quota(String),
    /// A body came far longer than announced: a new session, in which bodies are fetched in pieces only.
    #[error("{0}")]
    TooLong(String),
    /// The session outlived its token: a new session at once, with a fresh token.
    #[error("{why}")]
    TokenExpired {
        /// The server's words.
        why: String,
        /// The token that this session was opened with.
        token: Option<Box<AccessToken>>,
    },
    /// The server refused this very token.
    #[error("{why}")]
    TokenRefused {
        /// The server's words.
        why: String,
        /// The token that was presented.
        token: Box<AccessToken>,
    },
    /// The server refused user name and password.
    #[error("{0}. Check user and password of this mailbox")]
    PasswordRefused(String),
    /// The server knows who this is and lets nobody in until a person changes something there; the credential is not to blame.
    #[error("{0}")]
    Denied(String),
    /// Waits for a person: consent, or the configuration.
    #[error("{0}")]
    Blocked(String),
    /// The token endpoint, or the store of tokens, can't answer now.
    #[error("no access token: {why}")]
    NoToken {
        /// What the token store said.
        why: String,
        /// When it is worth asking again.
        after: Option<Duration>,
    },
    /// This host's disk or database.
    #[error("the spool: {0}")]
    Spool(#[from] spool::SpoolError),
}

/// How a command was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    /// NO: the command could not be carried out.
    No,
    /// BAD: the server did not understand it.
    Bad,
    /// BYE: the server ends the connection.
    Bye,
    /// -ERR, POP3's only one.
    Err,
}

/// A server's refusal in its own words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// What was asked, without arguments (they may be secret).
    pub(crate) command: &'static str,
    /// NO, BAD, BYE or -ERR.
    pub(crate) status: Status,
    /// The response code in upper case, without brackets and arguments.
    pub(crate) code: Option<String>,
    /// The server's text, the code included.
    pub(crate) text: String,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let status = match self.status {
            Status::No => "NO",
            Status::Bad => "BAD",
            Status::Bye => "BYE",
            Status::Err => "-ERR",
        };
        match self.status {
            Status::Bye => write!(f, "the server ended the connection: BYE {}", self.text),
            _ => write!(
                f,
                "the server answered {} with {status} {}",
                self.command, self.text
            ),
        }
    }
}
