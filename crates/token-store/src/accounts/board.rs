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

impl Kind {
    /// `mailbox` or `relay`: in words, and the name of its table.
    pub fn word(self) -> &'static str {
        match self {
            Self::Mailbox => "mailbox",
            Self::Relay => "relay",
        }
    }
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
    /// Seconds since 1970: since when it is in trouble without a `Working` between; `None` when it is not.
    pub failing_since: Option<i64>,
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
                failing_since: None,
            });
        if light.condition != condition {
            light.condition = condition;
            light.since = now;
        }
        light.last_success = worked.or(light.last_success);
        match light.condition {
            Condition::Working { .. } | Condition::Paused => light.failing_since = None,
            Condition::Waiting { .. } | Condition::Blocked { .. } => {
                light.failing_since.get_or_insert(now);
            }
            // Begun anew: not yet known to be well.
            Condition::Starting | Condition::Stopped => {}
        }
    }

    /// The condition of one account, if it was ever set.
    #[must_use]
    pub fn get(&self, kind: Kind, name: &str) -> Option<Light> {
        self.lights().get(&(kind, name.to_owned())).cloned()
    }

    /// Every account whose condition was ever set.
    #[must_use]
    pub fn all(&self) -> Vec<(Kind, String, Light)> {
        let lights = self.lights();
        let all = lights
            .iter()
            .map(|((kind, name), light)| (*kind, name.clone(), light.clone()));
        all.collect()
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
        let since = light.failing_since;
        assert!(since.is_some());
        board.set(Kind::Mailbox, "a", Condition::Starting);
        assert_eq!(
            board.all()[0].2.failing_since,
            since,
            "not yet known to be well"
        );
        let doing = "waiting for new mail".to_owned();
        board.set(Kind::Mailbox, "a", Condition::Working { doing });
        assert_eq!(board.get(Kind::Mailbox, "a").unwrap().failing_since, None);
        board.remove(Kind::Mailbox, "a");
        assert!(board.get(Kind::Mailbox, "a").is_none());
    }
}
