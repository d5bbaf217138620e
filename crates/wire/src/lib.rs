//! Bytes on a socket, without mail policy: dialling, lines and literals, SASL payloads.
//!
//! What the mail protocols have in common lives here, and nothing that any one of them decides:
//!
//! - [`dial`] turns a [`dial::Target`] into a [`dial::Stream`]: name, TCP, TLS, each step under its own deadline. A [`dial::Trust`] is
//!   built once per account and says whom a TLS peer must be vouched for by. Failures say in people's words what is wrong with a
//!   certificate.
//! - [`accept`] is TLS as a server: a [`accept::Certificate`] comes from PEM files and follows them when they are renewed.
//! - [`lines`] frames a stream: [`lines::Lines`] hands out lines up to a cap, and the rest of a body chunk by chunk, so that memory
//!   stays at one buffer however large the message. It works on any stream, so tests feed it literal bytes.
//! - [`sasl`] builds what SASL mechanisms send and reads what servers answer; pure functions.
//! - [`smtp`] reads replies and stuffs dots, for the clients of SMTP and of LMTP.
//! - [`printable`] makes a stranger's bytes fit for a log line.
//!
//! The flow of a client: `connect`, `Lines::new`, greeting, capabilities, perhaps STARTTLS (`Lines::into_stream`, `Stream::start_tls`,
//! `Lines::new` again), then a SASL payload, then the protocol.
//!
//! What must hold:
//! - No wait without a deadline, and a read that is dropped half-way loses no byte.
//! - Nothing that arrived before TLS began is ever believed after it ([`lines::Lines::into_stream`]).
//! - No secret with a control character leaves ([`sasl`]), so no credential can end a line early.
//! - A line's cap is checked while it arrives, not after.
//!
//! Called by the fetcher's and the sender's clients, the submission listener and the pretend provider of the demo.

pub mod accept;
pub mod dial;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
pub mod lines;
mod printable;
pub mod sasl;
pub mod smtp;

pub use printable::printable;
