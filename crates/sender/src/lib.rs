//! reply -> spool -> provider: the submission server and the relays.
//!
//! The flow of a reply, in the order of the modules:
//! 1. [`listen()`] speaks SMTP with the helpdesk. At MAIL the [`Routes`] say which relay serves the sender; the text
//!    streams into a spool body, by DATA with its dots unstuffed or by BDAT octet for octet, one `Received:` field before
//!    it, Date and Message-ID where they are missing, and nothing else touched. `250` is said only after the spool has
//!    committed the message with one delivery for each recipient and what its sender wants to be told.
//! 2. [`relay()`] claims what is due for one relay and hands each message to a kept connection of the SMTP client
//!    (`smtp_client`): TLS or STARTTLS, sign-in with a fresh token, envelope pipelined, text streamed and stuffed.
//! 3. Every recipient's reply is judged by one table (`relay::judge`) and settled for itself. What an answer says about
//!    the account (sign-in, quota, too many connections) stops the relay for a while, and never uses up a message.
//!
//! What must hold:
//! - No `250` before the commit, and nothing in the spool without the final dot or the last chunk.
//! - Only CRLF.CRLF ends a message, in both directions, and only its count a chunk; no octet of either is read as a command.
//! - A connection whose exchange did not end cleanly is never used again, so that no reply is taken for another's.
//! - From the moment the final dot may have left until its answer is known, a failure is *in doubt*, never *retry*.
//! - At most one chunk of a message is in memory; secrets are in no log line.
//!
//! The supervisor calls [`listen()`] for each submission listener, [`relay()`] for each relay, and [`check`] for
//! `postern check`. All of them run until their shutdown token, and own every task they start.

mod address;
mod bounce;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
mod handover;
mod listen;
mod relay;
mod routes;
mod smtp_client;

pub use handover::{Envelope, HandedOver, HandoverError, Refused, hand_over};
pub use listen::{
    BareNewlines, CertificateFiles, Desk, Entrance, Limits, Listen, Listener, Post, Protection,
    SocketFile, Submission, converse, listen,
};
pub use relay::{Parts, SentFolder, Step, Timing, Wanted, check, relay, relay_timed, test};
pub use routes::Routes;

/// This host's name, for the greeting, EHLO and Received.
fn host_name() -> String {
    let uname = rustix::system::uname();
    let name = uname.nodename().to_string_lossy();
    let is_name = !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.');
    if is_name {
        name.into_owned()
    } else {
        "localhost".to_owned()
    }
}
