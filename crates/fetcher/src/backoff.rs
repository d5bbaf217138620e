//! Growing pauses with jitter; pure but for the random number.

use std::time::Duration;

/// Pauses that double from `first` to `longest`, each spread by 20 % so that accounts don't march in step.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    first: Duration,
    longest: Duration,
    failures: u32,
}

impl Backoff {
    pub(crate) const fn new(first: Duration, longest: Duration) -> Self {
        Self {
            first,
            longest,
            failures: 0,
        }
    }

    /// After a success.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    /// Whether nothing failed since the last success.
    pub(crate) fn is_fresh(&self) -> bool {
        self.failures == 0
    }

    /// The pause after one more failure; `random` in 0..1.
    pub(crate) fn pause(&mut self, random: f64) -> Duration {
        let doubled = self
            .first
            .saturating_mul(2_u32.saturating_pow(self.failures));
        self.failures = self.failures.saturating_add(1).min(30);
        doubled.min(self.longest).mul_f64(0.8 + 0.4 * random)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_start_anew_after_a_success() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(300));
        let pauses: Vec<u64> = (0..12).map(|_| backoff.pause(0.5).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
        backoff.reset();
        assert_eq!(backoff.pause(0.0), Duration::from_millis(800));
        assert_eq!(backoff.pause(1.0), Duration::from_millis(2400));
    }
}
