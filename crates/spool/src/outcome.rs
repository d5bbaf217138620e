//! How a delivery ended, each with its why.

use std::time::Duration;

/// How a delivery ended. `why` holds the peer's own words (exit code, SMTP reply).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The ticket system, or the relay, took it.
    Delivered {
        /// The peer's own words.
        why: String,
    },
    /// This message, later.
    Retry {
        /// The peer's own words.
        why: String,
        /// The pause that the peer asked for.
        after: Option<Duration>,
    },
    /// For good.
    Refused {
        /// The peer's own words.
        why: String,
    },
    /// The peer may have taken it: the answer to the final dot was lost.
    InDoubt {
        /// What happened instead of an answer.
        why: String,
    },
    /// The account can't work now (consent, configuration, quota). The message's attempts and its
    /// retry clock don't run.
    Blocked {
        /// What the account lacks.
        why: String,
        /// The pause that the peer asked for.
        after: Option<Duration>,
    },
}

impl Outcome {
    /// The peer's own words.
    pub fn why(&self) -> &str {
        match self {
            Self::Delivered { why }
            | Self::Retry { why, .. }
            | Self::Refused { why }
            | Self::InDoubt { why }
            | Self::Blocked { why, .. } => why,
        }
    }
}
