//! One message on its way to the ticket system, and how that ended.

use std::fs::File;

use spool::{InClaim, Outcome};

use super::patience::Patience;

/// A message about to be delivered.
pub(crate) struct Job {
    /// The same for every attempt, also after a restart.
    pub(crate) id: String,
    /// This attempt's number, from 1.
    pub(crate) attempt: u32,
    /// Of the message, in hexadecimal.
    pub(crate) sha256: String,
    /// The message.
    pub(crate) message: Ready,
}

/// A message, opened before its turn came: a file at its beginning.
pub(crate) type Ready = File;

impl Job {
    /// Of a claim, its message opened.
    pub(crate) fn new(claim: &InClaim, message: Ready) -> Self {
        let sha256 = crate::hex(&claim.sha256);
        Self {
            // The row's number alone would come again in a new database.
            id: format!("{}-{}", claim.message.0, &sha256[..16]),
            attempt: claim.attempt,
            sha256,
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
}

impl Finished {
    /// Repeated as usual.
    pub(crate) fn new(outcome: Outcome, output: Option<String>) -> Self {
        Self {
            outcome,
            patience: Patience::Usual,
            output,
        }
    }
}
