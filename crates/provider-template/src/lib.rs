//! A provider as data: endpoints, scopes, hosts, limits and quirks, read and written in the exchange format.
//!
//! The exchange format is the YAML that Znuny and OTRS Community Edition administrators export: a list of entries, or one entry, each with
//! `Name`, `Config` and `ValidID`. A provider template is such an entry with empty client fields; a token config is one with them filled.
//! Postern's own additions (hosts, limits, quirks, notes, variables, discovery) live under the one key `Postern` in `Config`, so that a
//! file stays readable for the others.
//!
//! The flow:
//! - [`Library::load`] gathers the built-in templates and those of a folder.
//! - [`Entry::order`] makes a token config from a template: variables substituted, endpoints overridden, every mistake by its field;
//!   [`Entry::edited`] changes one.
//! - [`read`] and [`write()`] are import and export. [`Entry::mistakes`] says what would keep an imported entry from working, and
//!   [`Entry::remarks`] what works, but could be better.
//!
//! What must hold:
//! - What was read is written back: unknown keys stay, in the map where they stood. `read(write(x)) == x`, and
//!   `write(read(write(x))) == write(x)` byte for byte.
//! - No message quotes a value of the document, since any of them may be a secret.
//! - A broken file in the templates folder is a problem beside the others, never a stop.
//! - No endpoint is http beyond loopback.
//!
//! Called by token-store (token configs), fetcher and sender (hosts, limits, quirks), web-admin (forms) and supervisor (files, import,
//! export, check). It opens no socket and keeps no state.

mod additions;
mod check;
mod entry;
mod flow;
mod format;
mod key_file;
mod library;
mod order;
mod pem;
mod placeholder;
mod secret;
mod url;

pub use additions::{
    Additions, Algorithm, Assertion, Bearer, FurtherEndpoints, Host, Limits, Quirks,
    ServiceAccount, Tls, Variable,
};
pub use check::Mistake;
pub use entry::{Answer, Autofill, Config, Entry, Notifications, Request, Requests};
pub use flow::Flow;
pub use format::{Problem, read, write};
pub use key_file::KeyFile;
pub use library::{Library, Override};
pub use order::{Edit, Endpoints, Order};
pub use secret::Secret;
pub use url::url_is_safe;
