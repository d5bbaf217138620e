//! The times of a reply's tries as production has them, whatever chance and outages do.
use super::*;
use proptest::prelude::*;
use spool::Outcome;
use spool::schedule::{History, Next, next};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

/// One try: the pause that the relay asks for, the number that chance gives, and how long the account was blocked before it.
#[derive(Debug, Clone)]
struct Try {
    asked: Option<Duration>,
    random: f64,
    blocked: Duration,
}

fn tries(asking: bool) -> impl Strategy<Value = Vec<Try>> {
    let seconds = |range: std::ops::Range<u64>| range.prop_map(Duration::from_secs);
    let longest = if asking { 2 * 86_400 } else { 1 };
    let asked = prop::option::of(seconds(0..longest));
    // Ten of these are less than the thirty days after which a person is asked.
    let blocked = prop_oneof![8 => Just(Duration::ZERO), 1 => seconds(0..2 * 86_400)];
    let one = (asked, 0.0..=1.0, blocked).prop_map(|(asked, random, blocked)| Try {
        asked,
        random,
        blocked,
    });
    prop::collection::vec(one, 1..10)
}

/// A message that never goes through: how long it was tried, and the pauses between its tries.
fn live(tries: &[Try]) -> (Duration, Vec<Duration>) {
    let policy = Timing::default().policy(5 * DAY);
    let (mut tried_for, mut blocked_for) = (Duration::ZERO, Duration::ZERO);
    let mut pauses = Vec::new();
    loop {
        let now = &tries[pauses.len() % tries.len()];
        if pauses.len() < tries.len() {
            blocked_for += now.blocked;
        }
        let history = History {
            attempts: u32::try_from(pauses.len()).expect("few") + 1,
            refusals: 0,
            doubts: 0,
            age: tried_for + blocked_for,
            blocked_for,
        };
        let outcome = Outcome::Retry {
            why: "451 4.3.0 later".to_owned(),
            after: now.asked,
        };
        match next(&policy, history, &outcome, now.random) {
            Next::Again { after } => {
                tried_for += after;
                pauses.push(after);
            }
            Next::Hold { .. } => return (tried_for, pauses),
            other => panic!("{other:?}"),
        }
    }
}

proptest! {
    #[test]
    fn the_first_retry_comes_within_a_minute_the_pauses_grow_to_four_hours_and_the_last_try_after_five_days(
        tries in tries(false)
    ) {
        let (tried_for, pauses) = live(&tries);
        prop_assert!(pauses[0] <= MINUTE && pauses[0] >= Duration::from_secs(20));
        let (last, grown) = pauses.split_last().expect("it is retried");
        for (n, pause) in grown.iter().enumerate() {
            let middle = (Timing::default().first * (1 << n.min(20))).min(4 * HOUR);
            prop_assert!(*pause >= middle.mul_f64(0.8) && *pause <= middle.mul_f64(1.2), "pause {n}: {pause:?}");
        }
        prop_assert!(*last <= (4 * HOUR).mul_f64(1.2));
        // Time in which the account was blocked is not among them.
        prop_assert!(tried_for >= 5 * DAY && tried_for < 5 * DAY + MINUTE, "{tried_for:?}");
        prop_assert!((30..=60).contains(&pauses.len()), "{} tries", pauses.len() + 1);
    }

    #[test]
    fn whatever_pauses_a_relay_asks_for_the_message_is_tried_at_least_daily_and_for_five_days(
        tries in tries(true)
    ) {
        let (tried_for, pauses) = live(&tries);
        prop_assert!(pauses.iter().all(|pause| *pause <= DAY));
        prop_assert!(tried_for >= 5 * DAY && tried_for < 5 * DAY + MINUTE, "{tried_for:?}");
    }

    #[test]
    fn while_the_account_is_blocked_nothing_is_used_up_and_it_is_looked_at_at_least_every_four_hours(
        attempts in 0_u32..60, tried in 0_u64..5 * 86_400, blocked in 0_u64..30 * 86_400, random in 0.0..=1.0
    ) {
        let policy = Timing::default().policy(5 * DAY);
        let (tried, blocked_for) = (Duration::from_secs(tried), Duration::from_secs(blocked));
        let history = History { attempts, refusals: 0, doubts: 0, age: tried + blocked_for, blocked_for };
        let outcome = Outcome::Blocked { why: "no consent".to_owned(), after: None };
        let Next::Wait { after } = next(&policy, history, &outcome, random) else {
            panic!("it waits");
        };
        prop_assert!(after >= Duration::from_secs(20) && after <= (4 * HOUR).mul_f64(1.2), "{after:?}");
    }
}
