//! Accounts and tokens, all of accounts.db: the only room that unseals a secret.
//!
//! **What it is.** [`Store`] is the database: token configs, their tokens, mailboxes, relays, administrators. Reads are
//! sync and take microseconds; writes go through one thread and return after their commit. [`Tokens`] keeps tokens
//! alive over it: it exchanges, refreshes and asks for consent.
//!
//! **The flow.** An account's task asks [`Tokens::credential`]. While the stored access token is good it comes from
//! the database; else the askers of one token join a single flight:
//!
//! ```text
//! refresh lock -> read the row -> one HTTP exchange -> Verdict -> pure transition -> commit -> the askers' answer
//! ```
//!
//! When the mail server refuses a token, the task says so by [`Tokens::rejected`] and asks again. [`Tokens::run`]
//! refreshes everything ahead of need. A person's consent goes out by [`Tokens::begin`] and comes back by
//! [`Tokens::complete`], or begins with [`Tokens::begin_device`] and is waited for by [`Tokens::follow_devices`]. The one
//! way out is [`Tokens::revoke`].
//!
//! **What must hold.**
//! - No failure destroys a refresh token. It is replaced by a newer one or kept; one that loses its place (the config
//!   names another client, its file no longer names it, an answer came too late) is kept aside, sealed.
//! - A rotated refresh token is on disk before the access token that came with it is handed out.
//! - Once a request was sent, its answer is awaited and stored even when nobody waits for it any more.
//! - One request in flight per token, in this process and beside it.
//! - Every secret is sealed for its own row and column; an error or a log line never holds one.
//!
//! **Who calls it.** The fetcher and the sender for credentials, the web page and the command line for everything
//! else, the supervisor to open it and to run it. Token configs come from provider-template.

pub mod accounts;
pub mod admins;
mod clock;
mod configs;
mod consent;
mod exchange;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
mod grants;
pub mod notices;
mod password;
mod refresh;
mod revoke;
pub mod seal;
pub mod state;
mod status;
mod store;
pub mod submitters;
mod token_id;
mod tokens;
pub mod transfer;

pub use clock::{Clock, Reading};
pub use consent::{
    CallbackAnswer, ConsentError, Consented, DeviceSignIn, DeviceState, OtherPerson, SignIn,
};
pub use provider_template::Secret;
pub use refresh::{Outage, Workload};
pub use revoke::Introspection;
pub use status::TokenStatus;
pub use store::{Store, StoreError};
pub use token_id::TokenId;
pub use tokens::{AccessToken, Credential, TokenError, Tokens, TokensOptions};

use provider_template::Entry;

/// A token config as stored: the entry (secret included, in memory only), who declared it.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenConfig {
    /// The config in exchange form.
    pub entry: Entry,
    /// The template it was made from.
    pub template: Option<String>,
    /// The file that declares it; `None`: made by command line or page.
    pub declared_in: Option<String>,
}

/// What an import did with an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Imported {
    /// It is new.
    Added,
    /// It was overwritten.
    Changed,
    /// It was the same already.
    Unchanged,
    /// The name exists, and overwriting was not asked for.
    LeftAlone,
}

/// What an edit of a token config did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edited {
    /// It was the same already.
    Unchanged,
    /// It is changed, and its token goes on.
    Changed,
    /// It is changed, and names another client or endpoint: the refresh token of the former is kept aside.
    TokenAside,
}

/// Why a token config was not made or changed.
#[derive(Debug, thiserror::Error)]
pub enum AddError {
    /// What is wrong, by field.
    #[error("{}", .0.iter().map(|m| format!("{}: {}", m.field, m.why)).collect::<Vec<_>>().join("; "))]
    Mistakes(Vec<provider_template::Mistake>),
    /// The store refused, or failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The last failure of a token, for people.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Failure {
    /// Seconds since 1970.
    pub at: i64,
    /// What happened, in the provider's own words.
    pub words: String,
    /// What to do.
    pub advice: String,
}

/// Milliseconds since 1970.
pub(crate) fn now() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}
