//! Mail of our own making: bounces and notices, into a mailbox's ticket command once, however often they come back.

use rusqlite::params;

use crate::body::Body;
use crate::error::{Result, SpoolError};
use crate::inbound::insert_delivery;
use crate::rows::{NewMessage, insert_message};
use crate::tables::Tables;
use crate::{Direction, Headline, MessageId, Spool};

/// The header field that tells our own mail from everybody else's; its value is [`Spool::origin`]'s.
pub const ORIGIN_HEADER: &str = "X-Postern-Origin";

/// A message of our own making.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Own {
    /// What it is.
    pub kind: OwnKind,
    /// Which one; no two have the same.
    pub id: String,
}

/// What a message of our own making is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnKind {
    /// A report that a reply could not be delivered, or is late.
    Bounce,
    /// Something an administrator must see.
    Notice,
}

/// What its header section tells of a fetched message, beside what lists show.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Marks {
    /// Held at once, with this reason: it goes round in a loop.
    pub hold: Option<String>,
    /// It is one of ours.
    pub own: Option<Own>,
}

/// A message of our own making, for a mailbox's ticket command.
pub struct Local {
    /// Whose ticket command.
    pub mailbox: String,
    /// What it is; its header says the same in [`ORIGIN_HEADER`].
    pub own: Own,
    /// For lists.
    pub headline: Headline,
    /// Finished durable: there is no other copy.
    pub body: Body,
}

impl OwnKind {
    /// The word in the header and in the tables.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Bounce => "bounce",
            Self::Notice => "notice",
        }
    }

    fn from_word(word: &str) -> Option<Self> {
        [Self::Bounce, Self::Notice]
            .into_iter()
            .find(|kind| kind.as_str() == word)
    }
}

impl Own {
    /// A new one.
    pub fn new(kind: OwnKind) -> Self {
        Self {
            kind,
            id: format!("{:016x}", fastrand::u64(..)),
        }
    }
}

impl Spool {
    /// What the field [`ORIGIN_HEADER`] of one of our own messages says: whose, what, which.
    pub fn origin(&self, own: &Own) -> String {
        format!("{}; {}; {}", self.inner.instance, own.kind.as_str(), own.id)
    }

    /// Reads such a field. None: another installation's, or nonsense.
    pub fn own(&self, origin: &str) -> Option<Own> {
        let mut words = origin.split(';').map(str::trim);
        let (instance, kind, id) = (words.next()?, words.next()?, words.next()?);
        let known_form = id.len() == 16 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        (instance == self.inner.instance && known_form && words.next().is_none()).then_some(())?;
        Some(Own {
            kind: OwnKind::from_word(kind)?,
            id: id.to_ascii_lowercase(),
        })
    }

    /// Takes in a message of our own making. It is claimed and delivered like all others of the mailbox; then it goes, for there is
    /// nothing to acknowledge.
    pub async fn take_in_local(&self, local: Local) -> Result<MessageId> {
        if !local.body.durable() {
            return Err(SpoolError::Misused(
                "a message of our own making was finished without waiting for the disk",
            ));
        }
        self.inner
            .writer
            .call(move |t| insert_local(t, local))
            .await
    }
}

/// As [`Spool::take_in_local`], inside a transaction.
pub(crate) fn insert_local(t: &Tables<'_>, local: Local) -> Result<MessageId> {
    let Local {
        mailbox,
        own,
        headline,
        body,
    } = local;
    came_before(t, &mailbox, &own)?;
    let id = insert_message(
        t,
        NewMessage {
            direction: Direction::In,
            account: &mailbox,
            headline: &headline,
            key: None,
            envelope: None,
            size: body.len,
            body: Some(body),
            own: Some(&own),
        },
    )?;
    insert_delivery(t, id, &mailbox, None)?;
    Ok(id)
}

/// Whether the mailbox's ticket command has one of ours already; if not, it has now.
pub(crate) fn came_before(t: &Tables<'_>, mailbox: &str, own: &Own) -> Result<bool> {
    let inserted = t.execute(
        "INSERT INTO own (mailbox, id, at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
        params![mailbox, own.id, t.now],
    )?;
    Ok(inserted == 0)
}

/// Why a fetched message is held at once, if it is.
pub(crate) fn looping(t: &Tables<'_>, mailbox: &str, marks: &Marks) -> Result<Option<String>> {
    if let Some(why) = &marks.hold {
        return Ok(Some(why.clone()));
    }
    let Some(own) = &marks.own else {
        return Ok(None);
    };
    Ok(came_before(t, mailbox, own)?.then(|| {
        format!(
            "this {} was written by Postern, went to the ticket command before, and came back: a loop",
            own.kind.as_str()
        )
    }))
}

/// A loop returns within days; after a year nothing comes back.
const REMEMBERED: i64 = 365 * 86_400;

/// Forgets what is too old to come back.
pub(crate) fn forget_old(t: &Tables<'_>) -> Result<()> {
    t.execute("DELETE FROM own WHERE at < ?", [t.now - REMEMBERED])?;
    Ok(())
}
