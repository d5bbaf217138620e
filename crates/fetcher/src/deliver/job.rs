//! One message on its way to the ticket system, and how that ended.

use spool::{InClaim, Outcome, Stored};

use super::patience::Patience;

/// A message about to be delivered.
pub(crate) struct Job {
    /// The message's number in its spool.
    pub(crate) number: i64,
    /// The same for every attempt, also after a restart.
    pub(crate) id: String,
    /// This attempt's number, from 1.
    pub(crate) attempt: u32,
    /// Of the message, in hexadecimal.
    pub(crate) sha256: String,
    /// Bytes.
    pub(crate) size: u64,
    /// It was begun before, so the ticket system may know it.
    pub(crate) repeated: bool,
    /// Recipients that have it already.
    pub(crate) done_for: Vec<String>,
    /// The message, in the form that its delivery needs.
    pub(crate) message: Stored,
}

impl Job {
    /// Of a claim, its message opened.
    pub(crate) fn new(claim: &InClaim, message: Stored) -> Self {
        let sha256 = crate::hex(&claim.sha256);
        Self {
            number: claim.message.0,
            // The row's number alone would come again in a new database.
            id: format!("{}-{}", claim.message.0, &sha256[..16]),
            attempt: claim.attempt,
            sha256,
            size: claim.size,
            repeated: claim.repeated,
            done_for: claim.done_for.clone(),
            message,
        }
    }
}

/// How a delivery ended.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) outcome: Outcome,
    /// How long it is worth repeating.
    pub(crate) patience: Patience,
    /// What the command wrote, or the server said.
    pub(crate) output: Option<String>,
    /// All recipients that have it now, where there are several.
    pub(crate) done_for: Vec<String>,
}

impl Finished {
    /// Repeated as usual.
    pub(crate) fn new(outcome: Outcome, output: Option<String>) -> Self {
        Self {
            outcome,
            patience: Patience::Usual,
            output,
            done_for: Vec::new(),
        }
    }
}
