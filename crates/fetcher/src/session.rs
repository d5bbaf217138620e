//! What a session of either protocol works with, what it leaves to the next one, and how it ends.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use spool::Keeping;
use token_store::accounts::Mailbox;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::Parts;
use crate::show::Show;

/// Whose servers a mailbox knocks at, and as whom: what one of them asks for says nothing of another.
#[must_use]
pub fn peer(mailbox: &Mailbox) -> String {
    format!("{} at {}:{}", mailbox.user, mailbox.host, mailbox.port)
}

/// How long, and how much, a mailbox's held mail is kept here.
pub(crate) fn keeping(mailbox: &Mailbox) -> Keeping {
    Keeping {
        held_for: mailbox.care.held_for,
        max_held: mailbox.care.max_held,
    }
}

/// How the parts of a mailbox wake each other; hints, which may be lost.
#[derive(Debug, Default)]
pub(crate) struct Signals {
    /// A message was taken in.
    pub(crate) taken: Notify,
    /// A message was delivered: acknowledge it.
    pub(crate) delivered: Notify,
}

/// Why a session ended well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Shutdown,
    /// Logged out until the next poll.
    Rest(Duration),
}

/// When to stop.
#[derive(Debug, Clone)]
pub(crate) struct Stops {
    /// No more fetching.
    pub(crate) shutdown: CancellationToken,
    /// No delivery runs any more: what is delivered now is all.
    pub(crate) drained: CancellationToken,
}

/// Everything a session works with.
pub(crate) struct Context {
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) parts: Parts,
    pub(crate) signals: Arc<Signals>,
    pub(crate) memory: Arc<Memory>,
    pub(crate) stops: Stops,
    pub(crate) show: Show,
}

/// What a mailbox's sessions leave to the next one; all of it may be lost.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// A session got as far as a listing: the backoff starts anew.
    pub(crate) worked: AtomicBool,
    /// What only IMAP sessions leave.
    pub(crate) imap: crate::imap::Memory,
    /// What only POP3 sessions leave.
    pub(crate) pop3: crate::pop3::Memory,
}
