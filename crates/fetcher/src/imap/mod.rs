//! The IMAP client: a guarded connection, and the session that lists, fetches, acknowledges and waits.

mod acknowledge;
mod bodies;
mod capabilities;
mod connection;
mod folder;
mod guard;
mod listing;
mod names;
mod reading;
pub(crate) mod session;
mod sign_in;
mod watch;

pub(crate) use acknowledge::{check_target, delivered_to, find_trash, held_to};
pub(crate) use connection::Connection;
pub(crate) use listing::{Listed, Window, list, select};
pub(crate) use reading::{meaning, printable};
pub(crate) use sign_in::{
    DIAL, PATIENCE, connect, dialled, introduce, refused, replies, sign_in, target,
};

#[cfg(test)]
pub(crate) mod tests;
