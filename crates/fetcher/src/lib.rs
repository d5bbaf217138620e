//! The fetcher: mailbox -> spool -> ticket system -> acknowledge.
//!
//! One mailbox is one call of [`run`], which is two tasks side by side. The *session* signs in, lists what is new by UID or UIDL,
//! streams each body into the spool (take in), acknowledges what is delivered, and waits for more. The *deliveries* claim what is due
//! in the spool, hand the exact bytes to the ticket system (a command's standard input, LMTP, an HTTP endpoint, a maildir), and
//! settle. They share nothing but the spool and two hints; what must survive is a row there.
//!
//! What must hold:
//! - A message is on disk as delivered before its mailbox is touched, and only our own UIDs are ever touched.
//! - A command that was refused is never an empty mailbox: only a tagged OK, or POP3's +OK, is success, and every other end of a
//!   session is an error of this one mailbox, followed by a pause that grows.
//! - An empty body, or one cut short, is never taken in.
//! - A folder that can't be opened and a message that can't be fetched are shown, and stop no other.
//! - Whatever a server sends, memory and waiting are bounded, and a panic in the parser ends one session.
//! - The mailbox is the queue: with `max_undelivered` messages waiting nothing more is fetched.
//!
//! Who calls: the supervisor, one task per mailbox; `postern check` calls [`check`], and a relay that is in doubt [`is_sent`].
//!
//! Where to read on: `task` (sessions, one after the other), `imap::session` and `pop3::session` (one of them), `imap::bodies` and
//! `pop3::bodies` (the fetching), `refusal` (what a refusal means), `imap::guard` and `imap::connection` (what stands between
//! us and the parser), `deliver` (the deliveries; `deliver::carrier` is where the ways part).

mod backoff;
mod check;
mod credential;
mod deliver;
mod error;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
mod headline;
mod imap;
mod loops;
mod pop3;
mod refusal;
mod sent;
mod session;
mod show;
mod task;

use std::fmt::Write as _;
use std::sync::Arc;

use spool::Spool;
use token_store::Tokens;
use token_store::accounts::Board;

pub use check::{Step, check, check_deliveries, check_server};
pub use sent::is_sent;
pub use session::peer;
pub use task::run;

/// What a mailbox's task works with.
#[derive(Clone)]
pub struct Parts {
    /// Every message in flight.
    pub spool: Spool,
    /// Credentials.
    pub tokens: Tokens,
    /// Where the mailbox's condition is shown.
    pub board: Board,
    /// Fetch now: ends an idle wait or a backoff.
    pub poke: Arc<tokio::sync::Notify>,
}

/// Lower-case hexadecimal.
fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            // Writing to a String can't fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}
