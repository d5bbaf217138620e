//! token-store against a token endpoint on loopback that rotates, punishes reuse, loses answers and talks nonsense.

// Clippy knows `#[test]` functions, not the helpers they share.
#![allow(clippy::unwrap_used)]

mod admins;
mod by_hand;
mod consents;
mod crowds;
mod definitions;
mod disk;
mod endpoint;
mod exchanges;
mod files;
mod grants;
mod life;
mod model;
mod refreshes;
mod submitters;
mod support;
mod transfer;
