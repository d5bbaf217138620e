//! The time, as an argument: both of the system's clocks, and what to make of one that was set.

use rustix::time::{ClockId, clock_gettime};
use std::sync::Arc;

/// Differences up to this are clocks being slewed, not a clock being set.
const JUMP: i64 = 60_000;

/// Both clocks at one moment, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// Since 1970; can be set, in both directions.
    pub wall: i64,
    /// Since some moment before this process began; only ever grows, and goes on while the machine sleeps.
    pub steady: i64,
}

/// Where the time is read.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Reading + Send + Sync>);

impl Clock {
    /// The system's clocks.
    #[must_use]
    pub fn system() -> Self {
        Self::new(|| Reading {
            wall: jiff::Timestamp::now().as_millisecond(),
            steady: milliseconds(ClockId::Boottime),
        })
    }

    /// A clock of the caller's.
    pub fn new(read: impl Fn() -> Reading + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }

    /// Both clocks now.
    #[must_use]
    pub fn read(&self) -> Reading {
        (self.0)()
    }

    /// Milliseconds since 1970.
    pub(crate) fn wall(&self) -> i64 {
        self.read().wall
    }
}

fn milliseconds(clock: ClockId) -> i64 {
    let at = clock_gettime(clock);
    at.tv_sec
        .saturating_mul(1000)
        .saturating_add(at.tv_nsec / 1_000_000)
}

/// By how much the wall clock was set between two readings; 0 for less than a minute.
pub(crate) fn jump(before: Reading, now: Reading) -> i64 {
    let wall = now.wall.saturating_sub(before.wall);
    let steady = now.steady.saturating_sub(before.steady);
    let jump = wall.saturating_sub(steady);
    if (-JUMP..=JUMP).contains(&jump) {
        0
    } else {
        jump
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_is_told_from_one_that_runs_or_sleeps() {
        let at = |wall, steady| Reading { wall, steady };
        let before = at(1_000_000, 5_000);
        assert_eq!(jump(before, at(1_030_000, 35_000)), 0);
        assert_eq!(jump(before, at(1_030_900, 35_000)), 0, "slewed");
        let slept = at(9_000_000, 8_005_000);
        assert_eq!(jump(before, slept), 0, "both clocks go on in sleep");
        assert_eq!(jump(before, at(4_630_000, 35_000)), 3_600_000);
        assert_eq!(jump(before, at(-2_570_000, 35_000)), -3_600_000);
        assert_eq!(jump(at(i64::MAX, 0), at(i64::MIN, 0)), i64::MIN);
    }

    #[test]
    fn the_systems_steady_clock_grows() {
        let clock = Clock::system();
        let first = clock.read();
        assert!(first.wall > 1_700_000_000_000 && first.steady > 0);
        assert!(clock.read().steady >= first.steady);
    }
}
