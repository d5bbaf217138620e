//! How fast: messages a minute, and pauses after failures; pure, with the time and the randomness as arguments.
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::Instant;

/// The window that providers count messages in.
const MINUTE: Duration = Duration::from_secs(60);
/// The first pause after a failure, and the longest.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(300);

/// At most so many messages in any 60 seconds, as the server counts them. It may count a message at any moment between its beginning and its
/// answer, so a message counts from the one until 60 seconds after the other. A bucket that refills steadily would let twice the rate
/// through in the minute after a pause.
#[derive(Debug)]
pub(crate) struct Pace {
    limit: Option<usize>,
    running: usize,
    ended: VecDeque<Instant>,
}

impl Pace {
    /// None is no limit. `sent`: how long ago messages ended before this began, the oldest first.
    pub(crate) fn new(
        per_minute: Option<u32>,
        sent: impl IntoIterator<Item = Duration>,
        now: Instant,
    ) -> Self {
        let limit = per_minute.map(|rate| usize::try_from(rate.max(1)).unwrap_or(usize::MAX));
        let ended = sent.into_iter().filter_map(|ago| now.checked_sub(ago));
        Self {
            limit,
            running: 0,
            ended: ended.collect(),
        }
    }

    /// When the next message may begin, if nothing that runs now is taken back; None is now.
    pub(crate) fn not_before(&mut self, now: Instant) -> Option<Instant> {
        let limit = self.limit?;
        while self
            .ended
            .front()
            .is_some_and(|first| *first + MINUTE <= now)
        {
            self.ended.pop_front();
        }
        if self.running + self.ended.len() < limit {
            return None;
        }
        Some(self.ended.front().map_or(now, |first| *first) + MINUTE)
    }

    /// A message begins.
    pub(crate) fn begin(&mut self) {
        self.running += 1;
    }

    /// It has its answer, or will have none.
    pub(crate) fn end(&mut self, now: Instant) {
        self.running = self.running.saturating_sub(1);
        if self.limit.is_some() {
            self.ended.push_back(now);
        }
    }

    /// It never came to be sent.
    pub(crate) fn take_back(&mut self) {
        self.running = self.running.saturating_sub(1);
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
    use proptest::prelude::*;

    #[test]
    fn no_minute_sees_more_messages_than_the_rate() {
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let mut pace = Pace::new(Some(3), [], start);
        for second in [0, 10, 20] {
            assert_eq!(pace.not_before(at(second)), None);
            pace.begin();
        }
        // The third is under way: it counts, and nobody knows until when.
        pace.end(at(5));
        pace.end(at(25));
        assert_eq!(pace.not_before(at(26)), Some(at(65)));
        assert_eq!(pace.not_before(at(65)), None);
        pace.begin();
        assert_eq!(pace.not_before(at(66)), Some(at(85)));
        pace.take_back();
        assert_eq!(pace.not_before(at(66)), None);
        assert_eq!(Pace::new(None, [], start).not_before(start), None);
    }

    #[test]
    fn what_was_sent_before_a_restart_counts() {
        let start = Instant::now() + MINUTE;
        let ago = [50, 2].map(Duration::from_secs);
        let mut pace = Pace::new(Some(2), ago, start);
        assert_eq!(
            pace.not_before(start),
            Some(start + Duration::from_secs(10))
        );
        let mut pace = Pace::new(Some(3), ago, start);
        assert_eq!(pace.not_before(start), None);
    }

    proptest! {
        /// 500 messages wait for three connections and thirty a minute, each as slow as chance will have it; the server counts each at
        /// some moment of its life.
        #[test]
        fn however_slow_the_server_is_it_never_counts_more_than_the_rate_nor_much_less(
            lives in prop::collection::vec((1_u64..4000, 0.0..=1.0), 500)
        ) {
            let start = Instant::now();
            let mut pace = Pace::new(Some(30), [], start);
            let mut now = start;
            let mut running: Vec<Instant> = Vec::new();
            let mut counted: Vec<Duration> = Vec::new();
            let mut longest = Duration::ZERO;
            for (life, moment) in lives {
                loop {
                    running.sort();
                    while running.first().is_some_and(|end| *end <= now) {
                        pace.end(running.remove(0));
                    }
                    let next = running.first().copied();
                    let may = match pace.not_before(now) {
                        _ if running.len() >= 3 => next,
                        None => break,
                        Some(at) => Some(next.map_or(at, |end| end.min(at))),
                    };
                    now = may.expect("something ends").max(now);
                }
                let life = Duration::from_millis(life);
                pace.begin();
                running.push(now + life);
                counted.push(now + life.mul_f64(moment) - start);
                longest = longest.max(life);
            }
            counted.sort();
            for window in counted.windows(31) {
                prop_assert!(window[30] - window[0] >= MINUTE, "{window:?}");
            }
            // Sixteen full minutes for what is over the first thirty; at most the burst's own time is lost in each.
            let took = now - start;
            let burst = longest * 30 / 3;
            prop_assert!(took <= (MINUTE + burst) * 16, "{took:?}");
        }
    }

    #[test]
    fn pauses_double_to_five_minutes_and_are_spread() {
        let seconds: Vec<u64> = (1..12).map(|n| backoff(n, 0.5).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert_eq!(backoff(u32::MAX, 0.0), Duration::from_secs(225));
        assert_eq!(backoff(3, 1.0), Duration::from_secs(5));
    }
}
