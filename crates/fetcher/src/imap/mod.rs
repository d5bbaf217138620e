//! The IMAP client: a guarded connection, and the session that lists, fetches, acknowledges and waits.

mod acknowledge;
mod bodies;
mod capabilities;
mod connection;
mod folder;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzz;
mod guard;
mod listing;
mod names;
mod reading;
mod session;
mod sign_in;
mod watch;

pub(crate) use acknowledge::{check_target, delivered_to, find_special, find_trash, held_to};
pub(crate) use connection::Connection;
pub(crate) use listing::{Listed, Opening, Window, list, select};
pub(crate) use names::quoted;
pub(crate) use session::{Memory, run};
pub(crate) use sign_in::{PATIENCE, connect, introduce, sign_in};

#[cfg(test)]
pub(crate) mod tests;
