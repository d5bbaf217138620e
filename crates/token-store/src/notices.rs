//! What an administrator must see: one notice for each thing that is wrong, told once by every channel, again each day while it lasts,
//! and once more when it is mended.
//!
//! Notices follow levels, not events: whoever knows how things stand lists their [`Cause`]s, and [`Store::reconcile`] opens a notice for
//! each that is new and clears those that are gone. What a channel still has to tell of a notice ([`Notice::owed`]) follows from the row
//! alone, so a restart tells nothing twice, and a channel that fails is tried again without the others.

mod reconcile;
#[cfg(test)]
mod tests;
mod troubles;

pub use troubles::{TokenTrouble, TroubleKind};

use crate::state::pace::doubled;
use crate::{Store, StoreError};
pub(crate) use reconcile::Change;
use std::collections::BTreeMap;
use std::fmt;

const HOUR: i64 = 3600;
/// While it lasts, a notice is told again this often.
const REPEAT: i64 = 24 * HOUR;
/// Something that comes and goes is told of no more often than this by one channel.
const CALM: i64 = HOUR;
/// First pause before a channel that failed is tried again with a notice, doubled up to the cap.
const RETRY_FIRST: i64 = 30;
const RETRY_CAP: i64 = HOUR;
/// Cleared notices stay for so long, to be looked up.
const KEPT: i64 = 7 * 24 * HOUR;

/// What kind of thing is wrong.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A person must sign in at the provider.
    ConsentNeeded,
    /// The provider refuses the configuration.
    Configuration,
    /// A refresh token is known to have ended.
    RefreshTokenExpired,
    /// A refresh token is in its last days.
    RefreshTokenEnding,
    /// An access token has ended and no new one came.
    TokenExpired,
    /// A token endpoint does not answer as one.
    EndpointFailing,
    /// A mailbox or relay does not work.
    AccountFailing,
    /// Mail waits for a person.
    HeldMail,
    /// Copies of held mail will be given up here soon, for their age or their size.
    HeldMailEnding,
    /// What was left for the daemon while it was down is refused.
    DroppedMail,
    /// The disk of the spool is nearly full.
    DiskLow,
    /// Notices cannot be told by a channel.
    ChannelFailing,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 12] = [
        Self::ConsentNeeded,
        Self::Configuration,
        Self::RefreshTokenExpired,
        Self::RefreshTokenEnding,
        Self::TokenExpired,
        Self::EndpointFailing,
        Self::AccountFailing,
        Self::HeldMail,
        Self::HeldMailEnding,
        Self::DroppedMail,
        Self::DiskLow,
        Self::ChannelFailing,
    ];

    /// Its word in tables, variables and JSON.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::ConsentNeeded => "consent_needed",
            Self::Configuration => "configuration",
            Self::RefreshTokenExpired => "refresh_token_expired",
            Self::RefreshTokenEnding => "refresh_token_ending",
            Self::TokenExpired => "token_expired",
            Self::EndpointFailing => "endpoint_failing",
            Self::AccountFailing => "account_failing",
            Self::HeldMail => "held_mail",
            Self::HeldMailEnding => "held_mail_ending",
            Self::DroppedMail => "dropped_mail",
            Self::DiskLow => "disk_low",
            Self::ChannelFailing => "channel_failing",
        }
    }

    /// The kind of that word.
    #[must_use]
    pub fn from_key(key: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.key() == key)
    }
}

/// What a notice is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum About {
    /// A token config.
    Token(String),
    /// A token endpoint, by host and path.
    Endpoint(String),
    /// A mailbox.
    Mailbox(String),
    /// A relay.
    Relay(String),
    /// A channel of notices.
    Channel(String),
    /// Where messages are left while the daemon is down.
    DropDirectory,
    /// The disk of the spool.
    Disk,
}

impl fmt::Display for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token(name) => write!(f, "token {name}"),
            Self::Endpoint(name) => write!(f, "endpoint {name}"),
            Self::Mailbox(name) => write!(f, "mailbox {name}"),
            Self::Relay(name) => write!(f, "relay {name}"),
            Self::Channel(name) => write!(f, "channel {name}"),
            Self::DropDirectory => f.write_str("drop directory"),
            Self::Disk => f.write_str("disk"),
        }
    }
}

impl About {
    /// Reads what `Display` writes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "disk" => return Some(Self::Disk),
            "drop directory" => return Some(Self::DropDirectory),
            _ => {}
        }
        let (what, name) = text.split_once(' ')?;
        let name = name.to_owned();
        Some(match what {
            "token" => Self::Token(name),
            "endpoint" => Self::Endpoint(name),
            "mailbox" => Self::Mailbox(name),
            "relay" => Self::Relay(name),
            "channel" => Self::Channel(name),
            _ => return None,
        })
    }
}

impl serde::Serialize for About {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Something that is wrong at this moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// Of which kind.
    pub kind: Kind,
    /// About what. There is one cause for a kind and what it is about.
    pub about: About,
    /// What is wrong, to be read after what it is about and a colon. Nothing in it should change by itself from one look to the next.
    pub words: String,
    /// What to do.
    pub advice: String,
}

/// How an administrator is told; the admin page shows what is open in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    /// A command.
    Command,
    /// An HTTP request.
    Webhook,
    /// A mail through a relay.
    Mail,
}

impl Channel {
    /// Every channel.
    pub const ALL: [Self; 3] = [Self::Command, Self::Webhook, Self::Mail];

    /// Its word.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Command => "command",
            Self::Webhook => "webhook",
            Self::Mail => "mail",
        }
    }
}

/// What a channel has told of a notice. Seconds since 1970.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    /// Last told that it is open.
    pub raised_at: Option<i64>,
    /// Last told that it is mended.
    pub mended_at: Option<i64>,
    /// Failures in a row.
    pub tries: u32,
    /// Not tried before this.
    pub retry_at: Option<i64>,
    /// Why the last try failed.
    pub error: Option<String>,
}

/// What is to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Telling {
    /// It is new.
    Raised,
    /// It lasts.
    Repeated,
    /// It is over.
    Mended,
}

impl Telling {
    /// Its word.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Raised => "raised",
            Self::Repeated => "repeated",
            Self::Mended => "mended",
        }
    }
}

/// A notice as its row has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Never given twice.
    pub id: i64,
    /// What is wrong, as it was when somebody last looked.
    pub cause: Cause,
    /// Seconds since 1970.
    pub since: i64,
    /// Seconds since 1970; `None` while it is open.
    pub cleared_at: Option<i64>,
    /// What each channel has told.
    pub told: BTreeMap<Channel, Told>,
}

impl Notice {
    /// Whether it lasts.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.cleared_at.is_none()
    }

    /// What a channel has told of it.
    #[must_use]
    pub fn told(&self, channel: Channel) -> Told {
        self.told.get(&channel).cloned().unwrap_or_default()
    }

    /// How a channel fails to tell what it still has to tell of it.
    #[must_use]
    pub fn failing(&self, channel: Channel) -> Option<&Told> {
        let told = self.told.get(&channel).filter(|told| told.tries > 0)?;
        (self.is_open() || told.raised_at > told.mended_at).then_some(told)
    }

    /// What a channel has to tell of it now.
    #[must_use]
    pub fn owed(&self, channel: Channel, now: i64) -> Option<Telling> {
        let told = self.told(channel);
        // A pause that a clock set back since has made endless is over.
        let paused = told
            .retry_at
            .is_some_and(|at| (now + 1..=now + RETRY_CAP * 2).contains(&at));
        if paused {
            return None;
        }
        let (telling, due) = match (told.raised_at, told.mended_at) {
            (None, _) if self.is_open() => (Telling::Raised, i64::MIN),
            (Some(raised), Some(mended)) if self.is_open() && mended >= raised => {
                (Telling::Raised, raised + CALM)
            }
            (Some(raised), _) if self.is_open() => (Telling::Repeated, raised + REPEAT),
            (Some(raised), mended) if mended.is_none_or(|at| at < raised) => {
                (Telling::Mended, i64::MIN)
            }
            // What nobody heard of need not be mended for them.
            _ => return None,
        };
        (now >= due).then_some(telling)
    }
}

/// What [`Store::reconcile`] changed, for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reconciled {
    /// New, or back.
    pub raised: Vec<Cause>,
    /// Gone.
    pub cleared: Vec<Cause>,
}

impl Store {
    /// The open notices, and those that were cleared in the last days; the open ones first, each part by age.
    ///
    /// # Errors
    /// When the database can't be read.
    pub fn notices(&self) -> Result<Vec<Notice>, StoreError> {
        self.read(|rows| rows.notices())
    }

    /// Opens a notice for each cause that has none, clears those without a cause, and keeps their words true.
    /// `now` in seconds since 1970.
    ///
    /// # Errors
    /// When the database fails; nothing was changed then.
    pub async fn reconcile(&self, causes: Vec<Cause>, now: i64) -> Result<Reconciled, StoreError> {
        let changes = |known: &[Notice]| reconcile::reconcile(known, &causes, now);
        if self.read(|rows| Ok(changes(&rows.notices()?).is_empty()))? {
            return Ok(Reconciled {
                raised: Vec::new(),
                cleared: Vec::new(),
            });
        }
        self.write(move |rows| {
            let known = rows.notices()?;
            let mut done = Reconciled {
                raised: Vec::new(),
                cleared: Vec::new(),
            };
            for change in reconcile::reconcile(&known, &causes, now) {
                rows.change_notice(&change, now)?;
                match change {
                    Change::Raise(cause) | Change::Reopen(_, cause) => done.raised.push(cause),
                    Change::Clear(_, cause) => done.cleared.push(cause),
                    Change::Reword(..) | Change::Forget(_) => {}
                }
            }
            Ok(done)
        })
        .await
    }

    /// A channel has told these. `now` in seconds since 1970.
    ///
    /// # Errors
    /// When the database fails: they will be told again.
    pub async fn told(
        &self,
        channel: Channel,
        told: Vec<(i64, Telling)>,
        now: i64,
    ) -> Result<(), StoreError> {
        self.write(move |rows| {
            for (notice, telling) in &told {
                rows.notice_told(*notice, channel, *telling, now)?;
            }
            Ok(())
        })
        .await
    }

    /// A channel could not tell these; they are tried again after a pause. `luck` is from 0 to 1.
    ///
    /// # Errors
    /// When the database fails: they are tried again at once.
    pub async fn not_told(
        &self,
        channel: Channel,
        notices: Vec<i64>,
        error: &str,
        now: i64,
        luck: f64,
    ) -> Result<(), StoreError> {
        let error = crate::exchange::one_line(error);
        self.write(move |rows| {
            for notice in &notices {
                let pause = |tries| doubled(RETRY_FIRST, tries, RETRY_CAP, luck);
                rows.notice_not_told(*notice, channel, &error, |tries| now + pause(tries))?;
            }
            Ok(())
        })
        .await
    }
}
