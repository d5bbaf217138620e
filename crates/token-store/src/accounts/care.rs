//! What a mailbox does about mail that fails, goes round in a loop, or comes in floods.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What is done about mail that is held, and how much is too much. Every field has a default, so that definitions
/// of an earlier version can be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Care {
    /// What happens in the mailbox to a message that is held.
    pub failed: Failed,
    /// How long the body of a held message is kept in the spool while the mailbox has it too. Nothing is lost at the
    /// end: the message stays listed, and the mailbox keeps its copy.
    pub held_for: Duration,
    /// The bodies of held messages beyond so many bytes are given up in the same way, the oldest first.
    pub max_held: u64,
    /// Messages a minute that the ticket system is given.
    pub rate: Option<u32>,
    /// A message with more `Received` fields is held: it goes round in a loop.
    pub max_received: u32,
}

/// What happens in the mailbox to a message that is held.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Failed {
    /// It stays where it is.
    #[default]
    Keep,
    /// Moved (IMAP only).
    Move {
        /// The target folder.
        folder: String,
        /// Made when it doesn't exist.
        create: bool,
    },
}

impl Care {
    /// Long enough for a holiday.
    pub const HELD_FOR: Duration = Duration::from_secs(30 * 86_400);
    /// Some thousand messages of ordinary size; little beside the disks of today.
    pub const MAX_HELD: u64 = 1 << 30;
    /// What Postfix takes for a loop (`hopcount_limit`).
    pub const MAX_RECEIVED: u32 = 50;
}

impl Default for Care {
    fn default() -> Self {
        Self {
            failed: Failed::default(),
            held_for: Self::HELD_FOR,
            max_held: Self::MAX_HELD,
            rate: None,
            max_received: Self::MAX_RECEIVED,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_definition_of_an_earlier_version_gets_the_defaults() {
        assert_eq!(serde_json::from_str::<Care>("{}").unwrap(), Care::default());
    }
}
