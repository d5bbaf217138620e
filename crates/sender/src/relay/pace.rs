//! How fast: messages a minute, and pauses after failures; pure, with the time and the randomness as arguments.
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::Instant;

/// The window that providers count messages in.
const MINUTE: Duration = Duration::from_secs(60);
/// The first pause after a failure, and the longest.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(300);

/// At most so many messages in any 60 seconds. It keeps the times of the last ones: a bucket that refills steadily would
/// let twice the rate through in the minute after a pause.
#[derive(Debug)]
pub(crate) struct Pace {
    limit: Option<usize>,
    begun: VecDeque<Instant>,
}

impl Pace {
    /// None is no limit.
    pub(crate) fn new(per_minute: Option<u32>) -> Self {
        let limit = per_minute.map(|rate| usize::try_from(rate.max(1)).unwrap_or(usize::MAX));
        Self {
            limit,
            begun: VecDeque::new(),
        }
    }

    /// When the next message may begin; None is now.
    pub(crate) fn not_before(&mut self, now: Instant) -> Option<Instant> {
        let limit = self.limit?;
        while self
            .begun
            .front()
            .is_some_and(|first| *first + MINUTE <= now)
        {
            self.begun.pop_front();
        }
        match self.begun.len() < limit {
            true => None,
            false => self.begun.front().map(|first| *first + MINUTE),
        }
    }

    /// A message begins.
    pub(crate) fn note(&mut self, now: Instant) {
        if self.limit.is_some() {
            self.begun.push_back(now);
        }
    }

    /// The last one never came to be sent.
    pub(crate) fn take_back(&mut self) {
        self.begun.pop_back();
    }

    /// More claims than this could not begin within a minute.
    pub(crate) fn limit(&self) -> usize {
        self.limit.unwrap_or(usize::MAX)
    }
}

/// The pause after the n-th failure in a row (from 1): doubling, with `random` in 0..1 spreading it by a quarter either way,
/// so that relays that failed together do not come back together.
pub(crate) fn backoff(failures: u32, random: f64) -> Duration {
    let doubled = FIRST.saturating_mul(1 << failures.saturating_sub(1).min(16));
    doubled.min(LONGEST).mul_f64(0.75 + random / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_minute_sees_more_messages_than_the_rate() {
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let mut pace = Pace::new(Some(3));
        for second in [0, 10, 20] {
            assert_eq!(pace.not_before(at(second)), None);
            pace.note(at(second));
        }
        assert_eq!(pace.not_before(at(21)), Some(at(60)));
        assert_eq!(pace.not_before(at(60)), None);
        pace.note(at(60));
        assert_eq!(pace.not_before(at(61)), Some(at(70)));
        pace.take_back();
        assert_eq!(pace.not_before(at(61)), None);
        assert_eq!(Pace::new(None).not_before(start), None);
    }

    #[test]
    fn pauses_double_to_five_minutes_and_are_spread() {
        let seconds: Vec<u64> = (1..12).map(|n| backoff(n, 0.5).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert_eq!(backoff(u32::MAX, 0.0), Duration::from_secs(225));
        assert_eq!(backoff(3, 1.0), Duration::from_secs(5));
    }
}
