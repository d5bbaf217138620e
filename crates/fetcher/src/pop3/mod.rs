//! The POP3 client: a session that lists, fetches, deletes what is delivered, and leaves.
//!
//! POP3 has no way to wait for mail, and a session locks the maildrop for everybody else. So a session is short: sign in, LIST and UIDL
//! (`listing`), RETR what the spool doesn't know (`bodies`), DELE what is delivered by then, QUIT. Deletions count when the server has said
//! `+OK` to QUIT, and not before; until then they stay to be acknowledged, in this session or a later one.
//!
//! What must hold besides: the end of the connection is never the end of a message, and a message that a server names by no UIDL, or by one
//! that has been another's, is known by its bytes.

mod bodies;
mod capabilities;
mod check;
mod connection;
mod ending;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzz;
mod held;
mod listing;
mod memory;
mod reply;
mod session;
mod sign_in;
mod taking;
mod turn;
mod unstuff;

pub(crate) use check::check;
pub(crate) use memory::Memory;
pub(crate) use session::run;

#[cfg(test)]
mod tests;
