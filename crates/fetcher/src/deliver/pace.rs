//! Messages a minute to the ticket system; pure, with the time as an argument.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

const MINUTE: Duration = Duration::from_secs(60);

/// At most so many deliveries begin in any 60 seconds. It keeps the times of the last ones: a bucket that refills steadily
/// would let twice the rate through in the minute after a pause.
#[derive(Debug)]
pub(crate) struct Pace {
    limit: Option<usize>,
    begun: VecDeque<Instant>,
}

impl Pace {
    /// None is no limit. What began before this process did is not known: it is taken to have begun evenly spread over the last
    /// minute, so that a start, or many of them in a row, opens no flood.
    pub(crate) fn new(per_minute: Option<u32>, now: Instant) -> Self {
        let limit = per_minute.map(|rate| rate.max(1));
        let spread = limit.map_or(0..0, |limit| 0..limit);
        let begun = spread
            .filter_map(|n| {
                let ago = MINUTE - MINUTE.mul_f64(f64::from(n) / f64::from(limit?));
                now.checked_sub(ago)
            })
            .collect();
        Self {
            limit: limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX)),
            begun,
        }
    }

    /// When the next delivery may begin; None is now.
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

    /// A delivery begins.
    pub(crate) fn note(&mut self, now: Instant) {
        if self.limit.is_some() {
            self.begun.push_back(now);
        }
    }

    /// How long so many deliveries take at this rate, at most.
    pub(crate) fn span(&self, deliveries: usize) -> Duration {
        let Some(limit) = self.limit else {
            return Duration::ZERO;
        };
        let minutes = u32::try_from(deliveries / limit + 2).unwrap_or(u32::MAX);
        MINUTE.saturating_mul(minutes)
    }

    /// The limit, in words, for those who wonder why mail waits.
    pub(crate) fn words(&self, waiting: u64) -> String {
        format!(
            "{waiting} messages wait for the ticket system, which is given {} a minute",
            self.limit.unwrap_or_default()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_minute_sees_more_deliveries_than_the_rate_and_none_waits_needlessly() {
        let mut now = Instant::now() + MINUTE * 5;
        let mut pace = Pace::new(Some(6), now - MINUTE * 5);
        let mut begun: Vec<Instant> = Vec::new();
        for _ in 0..40 {
            if let Some(at) = pace.not_before(now) {
                assert!(at > now && at <= now + MINUTE);
                now = at;
            }
            assert_eq!(pace.not_before(now), None);
            pace.note(now);
            begun.push(now);
            // Deliveries take their time, unevenly.
            now += Duration::from_millis(fastrand::u64(0..4_000));
        }
        for window in begun.windows(7) {
            assert!(window[6] - window[0] >= MINUTE);
        }
        let most = begun[39] - begun[0];
        assert!(most < MINUTE * 7, "40 at 6 a minute took {most:?}");
    }

    #[test]
    fn a_start_begins_at_the_steady_rate_so_that_restarts_open_no_flood() {
        let start = Instant::now() + MINUTE;
        let (mut now, mut begun) = (start, Vec::new());
        let mut pace = Pace::new(Some(6), start);
        while begun.len() < 6 {
            now = pace.not_before(now).unwrap_or(now);
            pace.note(now);
            begun.push((now - start).as_secs());
        }
        assert_eq!(begun, [0, 10, 20, 30, 40, 50]);
    }

    #[test]
    fn without_a_limit_nothing_waits_and_nothing_is_kept() {
        let now = Instant::now();
        let mut pace = Pace::new(None, now);
        for _ in 0..1000 {
            assert_eq!(pace.not_before(now), None);
            pace.note(now);
        }
        assert!(pace.begun.is_empty());
        assert_eq!(pace.span(1_000_000), Duration::ZERO);
        assert_eq!(Pace::new(Some(2), now).span(40), MINUTE * 22);
    }
}
