//! The time, as an argument: seconds since 1970, and what to make of a clock that is set.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// Differences up to this are clocks being slewed and batches being slow, not a clock being set.
const JUMP: i64 = 60;

/// Both clocks at one moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reading {
    /// Since 1970; can be set, in both directions.
    pub(crate) wall: Duration,
    /// Since some moment of this process; only ever grows.
    pub(crate) steady: Duration,
}

/// Where the spool reads the time.
#[derive(Clone)]
pub(crate) struct Clock(Arc<dyn Fn() -> Reading + Send + Sync>);

impl Clock {
    /// The system's clocks.
    pub(crate) fn system() -> Self {
        let start = Instant::now();
        Self::new(move || Reading {
            wall: SystemTime::now()
                .duration_since(SystemTime::UNIX_EPOCH)
                .unwrap_or_default(),
            steady: start.elapsed(),
        })
    }

    /// A clock of the caller's.
    pub(crate) fn new(read: impl Fn() -> Reading + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }

    /// Both clocks now.
    pub(crate) fn read(&self) -> Reading {
        (self.0)()
    }

    /// Since 1970.
    pub(crate) fn wall(&self) -> Duration {
        self.read().wall
    }

    /// Seconds since 1970.
    pub(crate) fn seconds(&self) -> i64 {
        seconds(self.wall())
    }
}

/// Whole seconds, as the tables hold them.
pub(crate) fn seconds(span: Duration) -> i64 {
    i64::try_from(span.as_secs()).unwrap_or(i64::MAX)
}

/// Whole seconds, not shorter than `span`: what is due is never found undue.
pub(crate) fn seconds_up(span: Duration) -> i64 {
    seconds(span).saturating_add(i64::from(span.subsec_nanos() > 0))
}

/// How many seconds the wall clock was set by between two readings; 0 for less than a minute.
pub(crate) fn jump(before: Reading, now: Reading) -> i64 {
    let wall = seconds(now.wall) - seconds(before.wall);
    let steady = seconds(now.steady.saturating_sub(before.steady));
    let jump = wall - steady;
    if jump.abs() > JUMP { jump } else { 0 }
}
