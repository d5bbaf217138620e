//! How things stand at one moment: everything that a cause can come from, gathered.

use std::collections::BTreeMap;

use spool::{Direction, HeldReport};
use token_store::Outage;
use token_store::accounts::{Care, Kind, Light};
use token_store::notices::{Channel, Notice, TokenTrouble};

use super::super::Handle;
use super::tell::is_on;

/// How things stand.
#[derive(Debug, Default)]
pub(super) struct World {
    /// Seconds since 1970.
    pub(super) now: i64,
    /// Tokens that are not well.
    pub(super) tokens: Vec<TokenTrouble>,
    /// Token endpoints that do not answer.
    pub(super) outages: Vec<Outage>,
    /// The accounts that run, and how each fares.
    pub(super) accounts: Vec<(Kind, String, Light)>,
    /// Every account has had the time to appear, so one that is not there is gone.
    pub(super) settled: bool,
    /// What is held.
    pub(super) held: Vec<HeldReport>,
    /// How much of it each mailbox keeps, and for how long.
    pub(super) care: BTreeMap<String, Care>,
    /// What is refused of the drop directory, in words.
    pub(super) dropped: Vec<String>,
    /// Bytes free where the spool lies; None: not known.
    pub(super) free: Option<u64>,
    /// The notices as they are.
    pub(super) known: Vec<Notice>,
    /// The channels that are switched on.
    pub(super) channels: Vec<Channel>,
}

/// Looks around. Takes milliseconds, or more when very many tokens are not well.
pub(super) fn look(handle: &Handle, settled: bool) -> anyhow::Result<World> {
    let now = jiff::Timestamp::now();
    let store = handle.tokens().store();
    let channels = handle.notices();
    let on = Channel::ALL.into_iter().filter(|c| is_on(&channels, *c));
    let held = handle.spool().held_report()?;
    let mailboxes = match held.iter().any(|report| report.direction == Direction::In) {
        true => store.mailboxes()?,
        false => Vec::new(),
    };
    Ok(World {
        now: now.as_second(),
        tokens: store.token_troubles(now.as_millisecond())?,
        outages: handle.tokens().outages(),
        accounts: handle.board().all(),
        settled,
        held,
        care: mailboxes.into_iter().map(|m| (m.name, m.care)).collect(),
        dropped: handle.refused_drops(),
        free: handle.spool().free_bytes().ok(),
        known: store.notices()?,
        channels: on.collect(),
    })
}
