//! Mailbox and relay definitions: types, checks, rows; and the board of their present condition.

mod board;
mod by_hand;
mod care;
mod declare;
mod deliver;
mod order;
mod order_of;
mod span;

pub use board::{Board, Condition, Kind, Light};
pub use by_hand::{Change, Defined, Definition};
pub use care::{Care, Failed};
pub use deliver::{Deliver, Http, Lmtp, LmtpServer, Preset, TicketCommand, Way};
pub use order::{Given, Order};
pub use span::{show_duration, show_size};

use crate::{Secret, Store, StoreError};
use provider_template::{Entry, Tls};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

/// One remote account to fetch. Serialised (rows, `--json`) without its password and without the secret of an HTTP delivery.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Mailbox {
    /// Unique among mailboxes.
    pub name: String,
    /// The provider template that gives host, port, TLS and quirks where no token config does.
    #[serde(default)]
    pub template: Option<String>,
    /// How it is fetched.
    #[serde(default)]
    pub protocol: Protocol,
    /// The server's host name.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the connection is protected.
    pub tls: Tls,
    /// Trusted besides the system's roots.
    pub tls_ca_file: Option<PathBuf>,
    /// Who signs in; for a shared mailbox its own address.
    pub user: String,
    /// What with.
    pub auth: Auth,
    /// Which SASL mechanism.
    pub sasl: Sasl,
    /// The folders to fetch, INBOX by default.
    pub folders: Vec<String>,
    /// Fetching pauses at this many undelivered messages; the mailbox is the queue.
    pub max_undelivered: u64,
    /// How new mail is noticed.
    pub watch: Watch,
    /// With IDLE: a poll all the same, this often.
    pub poll: Duration,
    /// What the first fetch takes.
    pub start_from: StartFrom,
    /// Larger messages are held with their headers, in bytes.
    pub max_size: u64,
    /// Where messages go.
    pub deliver: Deliver,
    /// What happens to a delivered message in the mailbox.
    pub after: After,
    /// What is done about mail that fails, loops, or comes in floods.
    #[serde(default)]
    pub care: Care,
    /// Not fetched for now.
    pub paused: bool,
    /// Minutes after which IDLE is issued again (template's quirk; default 25).
    pub idle_minutes: u32,
    /// A deleted message goes to the folder for trash (template's quirk): deleting it would only take a label off it.
    #[serde(default)]
    pub trash_on_delete: bool,
    /// POP3: the token only after the server's `+` (template's quirk).
    #[serde(default)]
    pub pop3_two_line_auth: bool,
    /// The file that declares it; `None`: made by command line or page.
    pub declared_in: Option<String>,
}

/// The protocol of a mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// IMAP4 (RFC 9051, RFC 3501).
    #[default]
    Imap,
    /// POP3 (RFC 1939).
    Pop3,
}

/// What an account signs in with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "AuthRow", into = "AuthRow")]
pub enum Auth {
    /// The access token of the token config of this name.
    Token(String),
    /// A password.
    Password(Secret),
}

/// `Auth` as it is serialised: the password is never part of it.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum AuthRow {
    Token(String),
    Password,
}

impl From<AuthRow> for Auth {
    fn from(row: AuthRow) -> Self {
        match row {
            AuthRow::Token(config) => Self::Token(config),
            AuthRow::Password => Self::Password(Secret::default()),
        }
    }
}

impl From<Auth> for AuthRow {
    fn from(auth: Auth) -> Self {
        match auth {
            Auth::Token(config) => Self::Token(config),
            Auth::Password(_) => Self::Password,
        }
    }
}

/// The SASL mechanism to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sasl {
    /// By what the server offers.
    #[default]
    Auto,
    /// XOAUTH2 (Google's and Microsoft's).
    Xoauth2,
    /// OAUTHBEARER (RFC 7628).
    Oauthbearer,
    /// PLAIN (RFC 4616).
    Plain,
    /// LOGIN.
    Login,
}

/// How new mail is noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Watch {
    /// IMAP IDLE (RFC 2177).
    Idle,
    /// A poll this often.
    Every(Duration),
}

/// What the first fetch of a mailbox takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StartFrom {
    /// Everything that is there.
    All,
    /// Only what comes later.
    Now,
    /// Seconds since 1970, UTC midnight of the date.
    Date(i64),
}

/// What happens to a delivered message in the mailbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum After {
    /// Deleted and expunged.
    Delete,
    /// Marked `\Seen`.
    Seen,
    /// Left as it is.
    Keep,
    /// Moved.
    Move {
        /// The target folder.
        folder: String,
        /// Made when it doesn't exist.
        create: bool,
    },
}

/// One remote submission service to send through. Serialised without its password.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Relay {
    /// Unique among relays.
    pub name: String,
    /// The provider template that gives host, port, TLS, limits and quirks where no token config does.
    #[serde(default)]
    pub template: Option<String>,
    /// The server's host name.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the connection is protected.
    pub tls: Tls,
    /// Trusted besides the system's roots.
    pub tls_ca_file: Option<PathBuf>,
    /// Who signs in.
    pub user: String,
    /// What with.
    pub auth: Auth,
    /// Which SASL mechanism.
    pub sasl: Sasl,
    /// Envelope senders it serves: `a@b`, `@b`, `*`.
    pub senders: Vec<String>,
    /// Connections at the same time.
    pub connections: usize,
    /// Messages a minute.
    pub rate: Option<u32>,
    /// How long a message is tried before it is given up.
    pub keep_trying: Duration,
    /// Who is told of what could not be delivered; `None`: it is held.
    #[serde(default)]
    pub bounces_to: Option<BouncesTo>,
    /// Another relay's name, which takes over while this one can't send for long.
    #[serde(default)]
    pub fallback: Option<String>,
    /// The envelope sender that the server is given in place of a message's own; the null sender stays.
    #[serde(default)]
    pub send_as: Option<String>,
    /// Recipients of one message; more are sent in several.
    #[serde(default)]
    pub recipients: Option<usize>,
    /// Messages over one connection.
    #[serde(default)]
    pub messages_per_connection: Option<usize>,
    /// Token only after 334 (template's quirk).
    pub no_initial_response: bool,
    /// Not sent through for now.
    pub paused: bool,
    /// The file that declares it; `None`: made by command line or page.
    pub declared_in: Option<String>,
}

/// Where reports about undeliverable replies go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BouncesTo {
    /// Into this mailbox's ticket command.
    Mailbox(String),
    /// By the same relay to this address.
    Address(String),
}

/// What a configuration file declares.
#[derive(Debug, Clone, Default)]
pub struct Declared {
    /// Template name and the entry made from it.
    pub token_configs: Vec<(String, Entry)>,
    /// Mailboxes; their `declared_in` is set by the store.
    pub mailboxes: Vec<Mailbox>,
    /// Relays; their `declared_in` is set by the store.
    pub relays: Vec<Relay>,
}

impl Store {
    /// All mailboxes, by name.
    ///
    /// # Errors
    /// When the database can't be read.
    pub fn mailboxes(&self) -> Result<Vec<Mailbox>, StoreError> {
        self.read(|rows| rows.accounts())
    }

    /// All relays, by name.
    ///
    /// # Errors
    /// When the database can't be read.
    pub fn relays(&self) -> Result<Vec<Relay>, StoreError> {
        self.read(|rows| rows.accounts())
    }
}
