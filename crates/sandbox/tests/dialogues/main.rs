//! Dialogues with the pretend provider, by literal bytes over TCP.
#![allow(clippy::unwrap_used, reason = "a test fails where it unwraps")]

mod grants;
mod imap;
mod oauth;
mod smtp;
mod talk;
