//! The board: how every account fares at this moment. In memory only; it starts empty with the process.

use jiff::Timestamp;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How an account fares at this moment; shown by status and pages.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Condition {
    /// Its task has begun.
    Starting,
    /// All is well.
    Working {
        /// In words: `waiting for new mail`, `fetching 12 of 50`.
        doing: String,
    },
    /// Failed; tried again by itself.
    Waiting {
        /// What happened, in the server's words.
        why: String,
        /// Seconds since 1970.
        until: i64,
    },
    /// Waits for a person: consent, configuration.
    Blocked {
        /// What to do.
        why: String,
    },
    /// Switched off by a person.
    Paused,
    /// Its task has ended.
    Stopped,
}

/// Which kind of account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// One to fetch.
    Mailbox,
    /// One to send through.
    Relay,
}

/// A condition, since when, and when it last worked.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Light {
    /// The condition.
    pub condition: Condition,
    /// Seconds since 1970; unchanged while the same condition is set again.
    pub since: i64,
    /// Seconds since 1970 of the last `Working`.
    pub last_success: Option<i64>,
}

/// The conditions of all accounts; Clone shares.
#[derive(Clone, Default)]
pub struct Board {
    lights: Arc<Mutex<BTreeMap<(Kind, String), Light>>>,
}

impl Board {
    /// Sets a condition (`Working` also stamps `last_success`).
    pub fn set(&self, kind: Kind, name: &str, condition: Condition) {
        let now = Timestamp::now().as_second();
        let worked = matches!(condition, Condition::Working { .. }).then_some(now);
        let mut lights = self.lights();
        let light = lights
            .entry((kind, name.to_owned()))
            .or_insert_with(|| Light {
                condition: condition.clone(),
                since: now,
                last_success: None,
            });
        if light.condition != condition {
            light.condition = condition;
            light.since = now;
        }
        light.last_success = worked.or(light.last_success);
    }

    /// The condition of one account, if it was ever set.
    #[must_use]
    pub fn get(&self, kind: Kind, name: &str) -> Option<Light> {
        self.lights().get(&(kind, name.to_owned())).cloned()
    }

    /// Forgets an account.
    pub fn remove(&self, kind: Kind, name: &str) {
        self.lights().remove(&(kind, name.to_owned()));
    }

    fn lights(&self) -> MutexGuard<'_, BTreeMap<(Kind, String), Light>> {
        self.lights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_keeps_the_time_of_the_last_success() {
        let board = Board::default();
        board.set(Kind::Mailbox, "a", Condition::Starting);
        assert_eq!(board.get(Kind::Mailbox, "a").unwrap().last_success, None);
        board.set(
            Kind::Mailbox,
            "a",
            Condition::Working {
                doing: "waiting for new mail".into(),
            },
        );
        board.set(
            Kind::Mailbox,
            "a",
            Condition::Blocked {
                why: "consent".into(),
            },
        );
        let light = board.get(Kind::Mailbox, "a").unwrap();
        assert!(light.last_success.is_some());
        assert!(
            board.get(Kind::Relay, "a").is_none(),
            "a relay of the same name is another account"
        );
        board.remove(Kind::Mailbox, "a");
        assert!(board.get(Kind::Mailbox, "a").is_none());
    }
}
