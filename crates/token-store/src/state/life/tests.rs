//! When tokens are due and end, by clocks that run, sleep and are set.

use super::super::pace::{MINUTE, SECOND};
use super::super::tests::{NOW, grant, ready, retry};
use super::*;

const DAY: i64 = 24 * HOUR;
const UNKNOWN: RefreshLife = RefreshLife {
    idle: None,
    whole: None,
};

fn idle(days: i64) -> RefreshLife {
    RefreshLife {
        idle: Some(days * DAY),
        whole: None,
    }
}

#[test]
fn a_token_is_due_ahead_of_its_end_and_never_more_often_than_a_quarter_of_its_life() {
    // Life; the earliest and the latest moment it is due, before its end.
    for (life, earliest, latest) in [
        (3600, 1125, 900),
        (1800, 1125, 900),
        (86_400, 10_800, 8640),
        (600, 375, 300),
        (5, 3, 2),
    ] {
        let dues = [0.0, 0.3, 0.7, 1.0].map(|luck| {
            let mut token = ready();
            let seen = token.seen();
            token.refreshed(seen, &grant("A", Some(life), None), NOW, luck);
            token.due_at(true, UNKNOWN, NOW).unwrap()
        });
        let end = NOW + i64::try_from(life).unwrap() * SECOND;
        for due in dues {
            let before = (end - due) / SECOND;
            assert!((latest..=earliest).contains(&before), "{life}: {before}");
            assert!(due - NOW >= (end - NOW) / 4, "{life}");
        }
        assert!(dues[0] > dues[3], "luck spreads");
    }
}

#[test]
fn a_clock_set_back_makes_no_token_valid_for_years() {
    let token = ready();
    assert_eq!(
        token.due_at(true, UNKNOWN, NOW),
        Some(token.access.as_ref().unwrap().refresh_at)
    );
    for years in [1, 30] {
        let then = NOW - years * 365 * DAY;
        assert!(token.wants_refresh(then), "its age is unknown");
        assert_eq!(token.due_at(true, UNKNOWN, then), Some(i64::MIN));
        assert!(
            token.usable(then).is_some(),
            "what may still work is presented while the refresh fails"
        );
    }
    assert!(!token.wants_refresh(NOW - 30 * SECOND), "a slewed clock");
}

#[test]
fn a_pause_written_before_the_clock_was_set_back_is_over() {
    let mut token = ready();
    let seen = token.seen();
    token.failed(seen, &retry(Some(3600)), NOW, 0.5);
    assert_eq!(token.pause(NOW), Some(Duration::from_secs(3600)));
    assert_eq!(token.pause(NOW - 10 * MINUTE), None);
    assert_eq!(token.pause(NOW - 365 * DAY), None);
    // Without a failure beside it, a pause is believed up to the longest there is.
    token.failure = None;
    token.retry_at = Some(NOW + 40 * HOUR);
    assert_eq!(token.pause(NOW), None);
    token.retry_at = Some(NOW + 24 * HOUR);
    assert!(token.pause(NOW).is_some());
}

#[test]
fn a_token_from_the_future_that_is_refused_is_not_taken_for_a_young_one() {
    let mut token = ready();
    let version = token.access.as_ref().unwrap().version;
    assert!(token.rejected(version, NOW - DAY, 0.5));
    assert_eq!((token.refusals, token.retry_at), (1, None));
    let mut young = ready();
    young.refusals = 1;
    young.rejected(version, NOW + SECOND, 0.5);
    assert_eq!(young.refusals, 2);
}

#[test]
fn a_refresh_token_is_used_before_it_dies_of_disuse() {
    let mut token = ready();
    // An access token without an end is no reason to leave the refresh token alone.
    token.access.as_mut().unwrap().refresh_at = i64::MAX;
    assert_eq!(token.due_at(true, idle(90), NOW), Some(NOW + 72 * DAY));
    let seen = token.seen();
    token.refreshed(seen, &grant("A", Some(3600), None), NOW + 60 * DAY, 0.5);
    token.access.as_mut().unwrap().refresh_at = i64::MAX;
    assert_eq!(
        token.due_at(true, idle(90), NOW + 60 * DAY),
        Some(NOW + 132 * DAY),
        "a refresh is a use, also where nothing rotates"
    );
}

#[test]
fn a_refresh_token_with_a_known_end_is_refreshed_ahead_of_it_once_and_announced_when_that_does_not_help()
 {
    let mut token = ready();
    let mut with_end = grant("A", Some(86_400 * 30), Some("R"));
    with_end.refresh_expires_in = Some(Duration::from_secs(86_400 * 10));
    let seen = token.seen();
    token.refreshed(seen, &with_end, NOW, 0.5);
    let end = RefreshEnd {
        at: NOW + 10 * DAY,
        soon: false,
    };
    assert_eq!(token.refresh_end(UNKNOWN, NOW), Some(end));
    assert_eq!(token.due_at(true, UNKNOWN, NOW), Some(NOW + 9 * DAY));
    // It is refreshed; the provider rotates, and the end stays where it was.
    let mut rotated = grant("B", Some(86_400 * 30), Some("S"));
    rotated.refresh_expires_in = Some(Duration::from_secs(86_400 + 1));
    let seen = token.seen();
    token.refreshed(seen, &rotated, NOW + 9 * DAY, 0.5);
    let due = token.due_at(true, UNKNOWN, NOW + 9 * DAY).unwrap();
    assert!(due > NOW + 10 * DAY, "no second try: {due}");
    let told = token.refresh_end(UNKNOWN, NOW + 9 * DAY).unwrap();
    assert!(told.soon && told.at == NOW + 10 * DAY + SECOND, "{told:?}");
    // Another provider moves the end with each refresh.
    rotated.refresh_expires_in = Some(Duration::from_secs(86_400 * 10));
    let seen = token.seen();
    token.refreshed(seen, &rotated, NOW + 9 * DAY, 0.5);
    assert!(!token.refresh_end(UNKNOWN, NOW + 9 * DAY).unwrap().soon);
}

#[test]
fn a_refresh_token_ends_at_the_earlier_of_its_date_and_its_disuse() {
    let mut token = ready();
    assert_eq!(token.refresh_end(UNKNOWN, NOW), None);
    let ends = |token: &Token, now| token.refresh_end(idle(10), now).map(|e| (e.at, e.soon));
    assert_eq!(ends(&token, NOW), Some((NOW + 10 * DAY, false)));
    assert_eq!(ends(&token, NOW + 9 * DAY), Some((NOW + 10 * DAY, true)));
    token.refresh.as_mut().unwrap().expires_at = Some(NOW + 5 * DAY);
    assert_eq!(ends(&token, NOW), Some((NOW + 5 * DAY, false)));
    token.refresh.as_mut().unwrap().expires_at = None;
    let whole = RefreshLife {
        whole: Some(7 * DAY),
        ..idle(10)
    };
    let by_template = token.refresh_end(whole, NOW).unwrap();
    assert_eq!(by_template.at, NOW + 7 * DAY);
    token.refresh = None;
    assert_eq!(ends(&token, NOW), None);
}
