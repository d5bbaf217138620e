//! How long a delivery is worth repeating: the schedules of inbound mail.

use std::time::Duration;

use spool::schedule::Policy;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// How long a failed delivery is repeated before a person decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// Soon at first, hourly later, held after five days; a refusal gets three tries, since exit codes lie.
    Usual,
    /// The failure looks the same whether it passes or not: as many tries as it takes to get from Friday evening past Monday morning.
    Weekend,
    /// Every try may leave something behind: few, and far apart.
    Few,
    /// Repeating it would do harm.
    HoldAtOnce,
}

const USUAL: Policy = Policy {
    first: Duration::from_secs(30),
    longest: Duration::from_secs(HOUR),
    keep_trying: Duration::from_secs(5 * DAY),
    attempts: None,
    refusals: 3,
    doubt_pause: Duration::from_secs(10 * MINUTE),
};
/// Nine pauses that double make 4 hours, and twenty of 3 hours make two and a half days.
const WEEKEND: Policy = Policy {
    longest: Duration::from_secs(3 * HOUR),
    attempts: Some(30),
    ..USUAL
};
/// After 15 and 30 minutes, one and two hours: a restart of the ticket system, or a backup's lock, is over by then.
const FEW: Policy = Policy {
    first: Duration::from_secs(15 * MINUTE),
    longest: Duration::from_secs(2 * HOUR),
    attempts: Some(5),
    ..USUAL
};
const HOLD_AT_ONCE: Policy = Policy {
    refusals: 1,
    ..USUAL
};

impl Patience {
    /// The schedule.
    pub(crate) fn policy(self) -> &'static Policy {
        match self {
            Self::Usual => &USUAL,
            Self::Weekend => &WEEKEND,
            Self::Few => &FEW,
            Self::HoldAtOnce => &HOLD_AT_ONCE,
        }
    }
}

#[cfg(test)]
mod tests {
    use spool::Outcome;
    use spool::schedule::{History, Next, next};

    use super::*;

    /// Fails for ever; how often it was tried, and for how long, until it was held.
    fn until_held(patience: Patience, outcome: &Outcome) -> (u32, Duration) {
        let mut history = History {
            attempts: 0,
            refusals: 0,
            doubts: 0,
            age: Duration::ZERO,
            blocked_for: Duration::ZERO,
        };
        loop {
            history.attempts += 1;
            match next(patience.policy(), history, outcome, 0.5) {
                Next::Again { after } => history.age += after,
                Next::Hold { .. } => return (history.attempts, history.age),
                other => panic!("{other:?}"),
            }
            if matches!(outcome, Outcome::Refused { .. }) {
                history.refusals += 1;
            }
        }
    }

    #[test]
    fn what_fails_for_ever_is_held_after_its_time() {
        let retry = Outcome::Retry {
            why: "75".into(),
            after: None,
        };
        let refused = Outcome::Refused { why: "65".into() };
        let (attempts, age) = until_held(Patience::Usual, &retry);
        assert!(attempts > 100 && age >= Duration::from_secs(5 * DAY));
        let (attempts, age) = until_held(Patience::Weekend, &retry);
        assert_eq!(attempts, 30);
        let weekend = Duration::from_secs(62 * HOUR)..Duration::from_secs(72 * HOUR);
        assert!(weekend.contains(&age), "{age:?}");
        let (attempts, age) = until_held(Patience::Few, &retry);
        assert_eq!((attempts, age), (5, Duration::from_secs(225 * MINUTE)));
        assert_eq!(until_held(Patience::Usual, &refused).0, 3);
        assert_eq!(until_held(Patience::HoldAtOnce, &refused).0, 1);
    }
}
