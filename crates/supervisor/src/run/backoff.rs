//! How long a task that ended unexpectedly waits before it starts again; pure.

use std::time::Duration;

/// After the first unexpected end.
const FIRST: Duration = Duration::from_secs(2);
/// Doubling stops here: a broken account asks for attention in the log twelve times an hour, not more.
const LONGEST: Duration = Duration::from_secs(300);
/// A task that ran this long has recovered; its next failure counts as the first.
const RECOVERED: Duration = Duration::from_secs(600);

/// Restarts of one task.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The pause after a run of this length; `random` in 0..1 spreads it by 20 % either way.
    pub(crate) fn pause(&mut self, ran_for: Duration, random: f64) -> Duration {
        if ran_for >= RECOVERED {
            self.failures = 0;
        }
        // 2 s doubled eight times is beyond the cap; more would only overflow.
        let doubled = FIRST * 2u32.pow(self.failures.min(8));
        self.failures = self.failures.saturating_add(1);
        doubled.min(LONGEST).mul_f64(0.8 + 0.4 * random)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_cap_and_start_over_after_a_long_run() {
        let mut backoff = Backoff::default();
        let short = Duration::from_secs(1);
        let pauses: Vec<u64> = (0..10)
            .map(|_| backoff.pause(short, 0.5).as_secs())
            .collect();
        assert_eq!(pauses, [2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert_eq!(backoff.pause(RECOVERED, 0.5).as_secs(), 2);
    }

    #[test]
    fn jitter_stays_within_a_fifth() {
        assert_eq!(
            Backoff::default().pause(Duration::ZERO, 0.0),
            Duration::from_millis(1_600)
        );
        assert_eq!(
            Backoff::default().pause(Duration::ZERO, 1.0),
            Duration::from_millis(2_400)
        );
    }
}
