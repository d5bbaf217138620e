//! Notices that a ticket system is down: most deliveries fail in a row, whatever the message; pure.

use std::time::Duration;

use spool::Outcome;

use crate::backoff::Backoff;

/// Failures in a row, of different messages, after which it is the ticket system and not the mail.
const IN_A_ROW: u32 = 5;
/// Pauses between two probes.
const FIRST: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_secs(300);

/// Counts failures in a row.
#[derive(Debug)]
pub(crate) struct Slump {
    failed: u32,
    backoff: Backoff,
}

impl Slump {
    pub(crate) const fn new() -> Self {
        Self {
            failed: 0,
            backoff: Backoff::new(FIRST, LONGEST),
        }
    }

    /// After a delivery: how long to pause before the next one, a single probe; None to go on.
    pub(crate) fn after(&mut self, outcome: &Outcome, random: f64) -> Option<Duration> {
        if !matches!(outcome, Outcome::Retry { .. } | Outcome::Blocked { .. }) {
            self.failed = 0;
            self.backoff.reset();
            return None;
        }
        self.failed = self.failed.saturating_add(1);
        (self.failed >= IN_A_ROW).then(|| self.backoff.pause(random))
    }

    /// Whether only one delivery at a time is to be tried.
    pub(crate) fn probing(&self) -> bool {
        self.failed >= IN_A_ROW
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_failures_in_a_row_are_a_slump_and_one_success_ends_it() {
        let failed = Outcome::Retry {
            why: String::new(),
            after: None,
        };
        let mut slump = Slump::new();
        for _ in 0..4 {
            assert_eq!(slump.after(&failed, 0.5), None);
        }
        assert!(!slump.probing());
        let pauses: Vec<u64> = (0..8)
            .map(|_| slump.after(&failed, 0.5).unwrap().as_secs())
            .collect();
        assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 300, 300]);
        assert!(slump.probing());
        assert_eq!(
            slump.after(&Outcome::Refused { why: String::new() }, 0.5),
            None,
            "it answers: it is up"
        );
        assert!(!slump.probing());
    }
}
