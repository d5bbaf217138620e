//! What follows which outcome, as tables.

use super::*;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

/// In the middle of the spread: pauses come out as the policy names them.
const MIDDLE: f64 = 0.5;

fn policy() -> Policy {
    Policy {
        first: MINUTE,
        longest: HOUR,
        keep_trying: 5 * DAY,
        attempts: None,
        refusals: 1,
        doubt_pause: 15 * MINUTE,
    }
}

fn fresh(attempts: u32) -> History {
    History {
        attempts,
        refusals: 0,
        doubts: 0,
        age: Duration::ZERO,
        blocked_for: Duration::ZERO,
    }
}

fn retry(after: Option<Duration>) -> Outcome {
    Outcome::Retry {
        why: "451 later".into(),
        after,
    }
}

fn blocked(after: Option<Duration>) -> Outcome {
    Outcome::Blocked {
        why: "no consent".into(),
        after,
    }
}

fn held(next: Next) -> String {
    match next {
        Next::Hold { why } => why,
        other => panic!("expected it to be held, got {other:?}"),
    }
}

#[test]
fn delivered_is_done_whatever_went_before() {
    let tired = History {
        attempts: 99,
        refusals: 9,
        doubts: 9,
        age: 99 * DAY,
        blocked_for: Duration::ZERO,
    };
    let outcome = Outcome::Delivered { why: "ok".into() };
    assert_eq!(next(&policy(), tired, &outcome, MIDDLE), Next::Done);
}

#[test]
fn retries_double_from_the_first_pause_to_the_longest() {
    let expected = [1, 2, 4, 8, 16, 32, 60, 60, 60];
    for (attempts, minutes) in (1..).zip(expected) {
        assert_eq!(
            next(&policy(), fresh(attempts), &retry(None), MIDDLE),
            Next::Again {
                after: minutes * MINUTE
            },
            "after attempt {attempts}"
        );
    }
    let many = next(&policy(), fresh(u32::MAX), &retry(None), MIDDLE);
    assert_eq!(many, Next::Again { after: HOUR });
}

#[test]
fn retries_are_spread_by_a_fifth_either_way() {
    for (random, seconds) in [(0.0, 48), (0.5, 60), (1.0, 72)] {
        assert_eq!(
            next(&policy(), fresh(1), &retry(None), random),
            Next::Again {
                after: Duration::from_secs(seconds)
            }
        );
    }
}

#[test]
fn a_peer_may_ask_for_a_longer_pause_but_not_for_a_shorter_one_nor_for_a_week() {
    for (asked, given) in [(1, 60), (7_200, 7_200), (7 * 86_400, 86_400)] {
        assert_eq!(
            next(
                &policy(),
                fresh(1),
                &retry(Some(Duration::from_secs(asked))),
                MIDDLE
            ),
            Next::Again {
                after: Duration::from_secs(given)
            },
            "asked for {asked} s"
        );
    }
}

#[test]
fn the_last_try_comes_when_the_time_is_up_and_after_it_the_message_is_held() {
    let almost = History {
        age: 5 * DAY - 10 * MINUTE,
        ..fresh(40)
    };
    assert_eq!(
        next(&policy(), almost, &retry(None), MIDDLE),
        Next::Again { after: 10 * MINUTE }
    );
    let over = History {
        age: 5 * DAY,
        ..fresh(41)
    };
    let why = held(next(&policy(), over, &retry(None), MIDDLE));
    assert_eq!(why, "gave up after 5 d (41 attempts), at last: 451 later");
}

#[test]
fn blocked_time_does_not_count_towards_giving_up() {
    let waited = History {
        age: 20 * DAY,
        blocked_for: 19 * DAY,
        ..fresh(3)
    };
    assert_eq!(
        next(&policy(), waited, &retry(None), MIDDLE),
        Next::Again { after: 4 * MINUTE }
    );
}

#[test]
fn a_cap_on_attempts_holds_with_the_last_reason() {
    let capped = Policy {
        attempts: Some(3),
        ..policy()
    };
    assert!(matches!(
        next(&capped, fresh(2), &retry(None), MIDDLE),
        Next::Again { .. }
    ));
    let why = held(next(&capped, fresh(3), &retry(None), MIDDLE));
    assert_eq!(why, "gave up after 3 attempts, at last: 451 later");
}

#[test]
fn a_refusal_is_believed_at_once_by_relays_and_at_the_third_time_by_commands() {
    let refused = Outcome::Refused {
        why: "550 no such user".into(),
    };
    let at_once = held(next(&policy(), fresh(1), &refused, MIDDLE));
    assert_eq!(at_once, "refused: 550 no such user");

    let patient = Policy {
        refusals: 3,
        ..policy()
    };
    for (refusals, minutes) in [(0, 1), (1, 2)] {
        let history = History {
            refusals,
            ..fresh(refusals + 1)
        };
        assert_eq!(
            next(&patient, history, &refused, MIDDLE),
            Next::Again {
                after: minutes * MINUTE
            }
        );
    }
    let third = History {
        refusals: 2,
        ..fresh(3)
    };
    let why = held(next(&patient, third, &refused, MIDDLE));
    assert_eq!(why, "refused 3 times, at last: 550 no such user");
}

#[test]
fn a_doubt_is_tried_once_more_after_its_pause_and_a_second_one_is_held() {
    let doubt = Outcome::InDoubt {
        why: "connection lost after the final dot".into(),
    };
    assert_eq!(
        next(&policy(), fresh(1), &doubt, 0.9),
        Next::Again { after: 15 * MINUTE }
    );
    let second = History {
        doubts: 1,
        ..fresh(2)
    };
    let why = held(next(&policy(), second, &doubt, MIDDLE));
    assert!(why.starts_with("in doubt twice"), "{why}");
    assert!(
        why.ends_with("connection lost after the final dot"),
        "{why}"
    );
}

#[test]
fn a_blocked_account_is_looked_at_ever_more_rarely_and_its_mail_held_after_thirty_days() {
    for (blocked_for, pause) in [
        (Duration::ZERO, MINUTE),
        (4 * MINUTE, 2 * MINUTE),
        (30 * DAY - MINUTE, HOUR),
    ] {
        let history = History {
            age: blocked_for,
            blocked_for,
            ..fresh(1)
        };
        assert_eq!(
            next(&policy(), history, &blocked(None), MIDDLE),
            Next::Wait { after: pause },
            "blocked for {blocked_for:?}"
        );
    }
    let month = History {
        age: 30 * DAY,
        blocked_for: 30 * DAY,
        ..fresh(1)
    };
    let why = held(next(&policy(), month, &blocked(None), MIDDLE));
    assert_eq!(why, "its account could not work for 30 d: no consent");
}

#[test]
fn a_blocked_account_that_says_when_is_asked_then() {
    assert_eq!(
        next(&policy(), fresh(1), &blocked(Some(10 * MINUTE)), MIDDLE),
        Next::Wait { after: 10 * MINUTE }
    );
}

#[test]
fn clock_and_counters_at_their_ends_do_no_harm() {
    let extreme = History {
        attempts: u32::MAX,
        refusals: u32::MAX,
        doubts: u32::MAX,
        age: Duration::MAX,
        blocked_for: Duration::MAX,
    };
    for outcome in [
        retry(Some(Duration::MAX)),
        blocked(Some(Duration::MAX)),
        Outcome::Refused { why: "no".into() },
        Outcome::InDoubt { why: "?".into() },
    ] {
        for random in [f64::MIN, f64::MAX] {
            let _: Next = next(&policy(), extreme, &outcome, random);
        }
    }
}
