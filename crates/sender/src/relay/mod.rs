//! One relay: claims what is due, sends it over kept connections within the account's limits, settles per recipient.
mod carry;
mod check;
mod connect;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzz;
mod gate;
mod judge;
mod needs;
mod pace;
mod record;
mod runner;
mod sent;

#[cfg(test)]
mod tests;

pub use check::{Step, check, test};
pub use sent::{SentFolder, Wanted};

use crate::bounce;
pub(crate) use connect::Account;
use runner::Runner;
use spool::{Spool, schedule::Policy};
use std::sync::Arc;
use std::time::Duration;
use token_store::Tokens;
use token_store::accounts::{Board, Condition, Kind, Relay};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// What a relay's task works with.
#[derive(Clone)]
pub struct Parts {
    /// Where its messages are.
    pub spool: Spool,
    /// Where its tokens come from.
    pub tokens: Tokens,
    /// Where its condition is shown.
    pub board: Board,
    /// Try now: ends a pause of the relay (a token was renewed, a person asked).
    pub poke: Arc<Notify>,
    /// Looks into the Sent folder of its account, where the account has a mailbox.
    pub sent: Option<SentFolder>,
}

/// The times of a relay's retries; the defaults are what production uses, tests shorten them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Before a message's first retry: long enough for a restarted server, short enough to pass greylisting soon after.
    pub first: Duration,
    /// The longest pause between two tries of a message.
    pub longest: Duration,
    /// Before the one second try of a message in doubt: long enough for a person or a slow server to show that the first arrived.
    pub doubt_pause: Duration,
    /// The spool is looked at so often at least, because commands write to it beside the daemon.
    pub poll: Duration,
    /// The sender is told of a message that is tried for so long.
    pub late: Duration,
    /// An unused connection is kept so long; providers close them after one to five minutes.
    pub keep_connection: Duration,
    /// The relay named as fallback takes over after so long without a message sent: longer than a server's restart or a late
    /// token, shorter than a working day.
    pub fallback_after: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            first: Duration::from_secs(30),
            longest: Duration::from_secs(4 * 3600),
            doubt_pause: Duration::from_secs(300),
            poll: Duration::from_secs(5),
            late: Duration::from_secs(4 * 3600),
            keep_connection: Duration::from_secs(30),
            fallback_after: Duration::from_secs(3600),
        }
    }
}

impl Timing {
    fn policy(&self, keep_trying: Duration) -> Policy {
        Policy {
            first: self.first,
            longest: self.longest,
            keep_trying,
            attempts: None,
            refusals: 1,
            doubt_pause: self.doubt_pause,
        }
    }
}

/// Runs one relay until shutdown: claims what is due, sends over kept connections, settles per recipient. Errors end in the
/// board, the log and the message's own why, never here. On shutdown nothing new is begun, claims not yet begun are put
/// back, and this returns when the running exchanges have ended.
pub async fn relay(relay: Relay, parts: Parts, shutdown: CancellationToken) {
    relay_timed(relay, parts, Timing::default(), shutdown).await;
}

/// As [`relay()`], with other times.
pub async fn relay_timed(relay: Relay, parts: Parts, timing: Timing, shutdown: CancellationToken) {
    let (board, name) = (parts.board.clone(), relay.name.clone());
    if relay.paused {
        board.set(Kind::Relay, &name, Condition::Paused);
        shutdown.cancelled().await;
    } else {
        board.set(Kind::Relay, &name, Condition::Starting);
        let account = Arc::new(Account::new(relay, parts, timing, shutdown));
        let runner = Runner::new(Arc::clone(&account)).run();
        tokio::join!(runner, bounce::report(&account));
    }
    board.set(Kind::Relay, &name, Condition::Stopped);
}
