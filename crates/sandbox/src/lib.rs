//! A pretend provider (OAuth, IMAP, POP3, SMTP submission) on loopback, for `postern demo` and for tests.
//!
//! It speaks the real protocols without TLS, so that the parts of Postern that meet a provider meet this one through the
//! very same code, and it holds everything in memory, so that a test or the demo can look at what a provider would know:
//! what is left in a mailbox, what was submitted, which refresh tokens were used, and how often.
//!
//! The flow through it: [`Provider::start`] binds four listeners. The OAuth server (`oauth`) hands out access tokens
//! against codes and refresh tokens, and says by introspection whom a token belongs to. The IMAP server (`imap`), the POP3
//! server (`pop3`) and the submission server (`smtp`) take those tokens, or passwords, and read and write the one `state::State`.
//!
//! What must hold:
//! - Bytes are sacred: a message comes out of a mailbox, and into the list of submissions, exactly as it was put in.
//! - It is as strict as a provider: one use per code, PKCE checked, expired tokens refused, a used refresh token punished.
//! - Everything that goes wrong at real providers can be asked for: a [`Fault`] replaces, delays or loses one answer.
//! - No lock is held across an await, every wait has an end, and every task ends with the shutdown token.
//!
//! [`script`] is the other half: a server that lies, by playing dialogues literally.
//!
//! Used by the supervisor's demo, and as a dev-dependency by whoever talks to providers.

mod fault;
mod folders;
mod grants;
mod http;
mod imap;
mod knobs;
mod oauth;
mod pages;
mod pop3;
mod provider;
pub mod script;
mod sign_in;
mod smtp;
mod state;

pub use fault::{Fault, Service};
pub use knobs::{Addresses, Features, Knobs, Pop3Features, Uidl};
pub use provider::Provider;
pub use state::{ProviderCounts, Submitted};
