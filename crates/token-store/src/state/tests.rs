//! Tables of transitions: time and luck are values, so nothing waits.

use super::pace::MINUTE;
use super::*;
use crate::exchange::Blame;
use std::time::Duration;

pub(super) const NOW: i64 = 1_795_514_400_000;

pub(super) fn grant(access: &str, life: Option<u64>, refresh: Option<&str>) -> Grant {
    Grant {
        access: Secret::new(access),
        expires_in: life.map(Duration::from_secs),
        refresh: refresh.map(Secret::new),
        ..Grant::default()
    }
}

fn trouble(words: &str) -> Trouble {
    Trouble {
        words: words.into(),
        advice: "do".into(),
    }
}

pub(super) fn retry(after: Option<u64>) -> Verdict {
    Verdict::Retry {
        trouble: trouble("away"),
        after: after.map(Duration::from_secs),
        refresh: None,
        blame: Blame::Token,
    }
}

/// Consented with an hour's access token and the refresh token R0.
pub(super) fn ready() -> Token {
    let mut token = Token::new(true);
    token.consented(&grant("A0", Some(3600), Some("R0")), NOW, 0.5);
    token
}

fn refresh_token(token: &Token) -> &str {
    token.refresh.as_ref().map_or("", |r| r.secret.expose())
}

fn access_token(token: &Token) -> &str {
    token.access.as_ref().map_or("", |a| a.secret.expose())
}

#[test]
fn a_rotated_refresh_token_replaces_the_old_one_and_an_absent_one_keeps_it() {
    let mut token = ready();
    let seen = token.seen();
    assert_eq!(
        token.refreshed(seen, &grant("A1", Some(60), Some("R1")), NOW, 0.5),
        Landed::Applied
    );
    assert_eq!((access_token(&token), refresh_token(&token)), ("A1", "R1"));
    let seen = token.seen();
    assert_eq!(
        token.refreshed(seen, &grant("A2", Some(60), None), NOW, 0.5),
        Landed::Applied
    );
    assert_eq!((access_token(&token), refresh_token(&token)), ("A2", "R1"));
    assert_eq!(token.refreshes, 2);
}

#[test]
fn an_answer_that_comes_after_a_newer_consent_changes_nothing_and_its_refresh_token_is_handed_back()
{
    let mut token = ready();
    let seen = token.seen();
    token.consented(&grant("A9", Some(3600), Some("R9")), NOW, 0.5);
    let before = token.clone();
    let landed = token.refreshed(seen, &grant("A1", Some(60), Some("R1")), NOW, 0.5);
    assert_eq!(
        landed,
        Landed::Late {
            spare: Some(Secret::new("R1"))
        }
    );
    assert_eq!(
        token.failed(seen, &Verdict::AskPerson(trouble("revoked")), NOW, 0.5),
        Landed::Late { spare: None }
    );
    assert_eq!(token, before);
}

#[test]
fn a_rotated_token_lands_even_when_the_row_was_written_meanwhile() {
    // A rejection raises the version, but the row still holds the refresh token that was spent.
    let mut token = ready();
    let seen = token.seen();
    let version = token.access.as_ref().unwrap().version;
    assert!(token.rejected(version, NOW + MINUTE * 10, 0.5));
    assert_eq!(
        token.refreshed(seen, &grant("A1", Some(60), Some("R1")), NOW, 0.5),
        Landed::Applied
    );
    assert_eq!((access_token(&token), refresh_token(&token)), ("A1", "R1"));
    // A consent without a refresh token keeps its own access token, yet takes the rotated refresh token.
    let seen = token.seen();
    token.consented(&grant("C", Some(3600), None), NOW, 0.5);
    assert_eq!(
        token.refreshed(seen, &grant("A2", Some(60), Some("R2")), NOW, 0.5),
        Landed::Applied
    );
    assert_eq!((access_token(&token), refresh_token(&token)), ("C", "R2"));
}

#[test]
fn no_failure_drops_a_refresh_token_or_a_living_access_token() {
    let verdicts = [
        retry(None),
        retry(Some(u64::MAX)),
        Verdict::AskPerson(trouble("revoked")),
        Verdict::FixConfiguration(trouble("secret")),
    ];
    let states = [
        State::Ready,
        State::Ready,
        State::NeedsConsent,
        State::Broken,
    ];
    for (verdict, state) in verdicts.iter().zip(states) {
        let mut token = ready();
        for _ in 0..100 {
            let seen = token.seen();
            assert_eq!(token.failed(seen, verdict, NOW, 0.99), Landed::Applied);
        }
        assert_eq!(refresh_token(&token), "R0");
        assert_eq!(token.usable(NOW).unwrap().secret.expose(), "A0");
        assert_eq!(token.state, state);
        assert!(token.pause(NOW).unwrap() <= Duration::from_secs(30 * 3600));
        assert!(
            token.due_at(true, RefreshLife::default(), NOW).is_some(),
            "even then it is asked again some day"
        );
    }
}

#[test]
fn a_refresh_token_in_an_answer_of_no_other_use_replaces_the_one_it_was_made_from() {
    let useless = || Verdict::Retry {
        trouble: trouble("no access token"),
        after: None,
        refresh: Some(Secret::new("R1")),
        blame: Blame::Token,
    };
    let mut token = ready();
    let seen = token.seen();
    assert_eq!(token.failed(seen, &useless(), NOW, 0.5), Landed::Applied);
    assert_eq!((access_token(&token), refresh_token(&token)), ("A0", "R1"));

    let mut token = ready();
    let seen = token.seen();
    token.consented(&grant("A1", Some(60), None), NOW, 0.5);
    assert_eq!(token.failed(seen, &useless(), NOW, 0.5), Landed::Applied);
    assert_eq!((access_token(&token), refresh_token(&token)), ("A1", "R1"));

    let mut token = ready();
    let seen = token.seen();
    token.consented(&grant("A2", Some(60), Some("R2")), NOW, 0.5);
    let spare = Some(Secret::new("R1"));
    assert_eq!(
        token.failed(seen, &useless(), NOW, 0.5),
        Landed::Late { spare }
    );
    assert_eq!(refresh_token(&token), "R2");
}

#[test]
fn pauses_grow_to_a_cap_and_a_servers_retry_after_is_obeyed() {
    let mut token = ready();
    let mut pauses = Vec::new();
    for _ in 0..14 {
        let seen = token.seen();
        token.failed(seen, &retry(None), NOW, 0.5);
        pauses.push(token.pause(NOW).unwrap().as_secs());
    }
    assert_eq!(pauses[..5], [1, 2, 4, 8, 16]);
    assert_eq!(pauses.last(), Some(&600));
    let seen = token.seen();
    token.failed(seen, &retry(Some(1800)), NOW, 0.5);
    assert_eq!(token.pause(NOW), Some(Duration::from_secs(1800)));
    let seen = token.seen();
    token.refreshed(seen, &grant("A1", Some(60), None), NOW, 0.5);
    assert_eq!((token.pause(NOW), token.attempts), (None, 0));
    // A new kind of trouble starts at its own first pause.
    for _ in 0..3 {
        let seen = token.seen();
        token.failed(seen, &retry(None), NOW, 0.5);
    }
    let seen = token.seen();
    token.failed(seen, &Verdict::AskPerson(trouble("revoked")), NOW, 0.5);
    assert_eq!(token.pause(NOW), Some(Duration::from_secs(3600)));
}

#[test]
fn refresh_comes_ahead_of_need_and_never_more_often_than_a_quarter_of_the_life() {
    for (life, latest_lead) in [
        (2, 1),
        (5, 2),
        (60, 30),
        (1800, 900),
        (3600, 900),
        (86_400, 8640),
    ] {
        for luck in [0.0, 0.5, 0.99] {
            let end = NOW + life * SECOND;
            let at = refresh_at(NOW, Some(end), luck);
            assert!(at - NOW >= life * SECOND / 4, "life {life}, luck {luck}");
            assert!(end - at >= latest_lead * SECOND, "life {life}, luck {luck}");
        }
    }
    assert!(refresh_at(NOW, None, 0.5) > NOW);
}

#[test]
fn a_token_is_usable_until_shortly_before_its_end_and_short_lives_get_short_margins() {
    let mut token = Token::new(false);
    assert!(token.usable(NOW).is_none() && token.wants_refresh(NOW));
    token.refreshed(token.seen(), &grant("A", Some(3600), None), NOW, 0.0);
    assert!(token.usable(NOW + 3569 * SECOND).is_some());
    assert!(token.usable(NOW + 3571 * SECOND).is_none());
    token.refreshed(token.seen(), &grant("B", Some(4), None), NOW, 0.0);
    assert!(token.usable(NOW + 2900).is_some() && token.usable(NOW + 3001).is_none());
    assert!(!token.wants_refresh(NOW + 1999) && token.wants_refresh(NOW + 2000));
    token.refreshed(token.seen(), &grant("C", None, None), NOW, 0.0);
    assert!(
        token.usable(NOW + HOUR * 1000).is_some(),
        "without a date only the server can say it ended"
    );
}

#[test]
fn one_rejection_allows_one_refresh_and_fresh_tokens_rejected_in_a_row_are_followed_by_pauses() {
    let mut token = ready();
    let version = token.access.as_ref().unwrap().version;
    assert!(token.rejected(version, NOW + SECOND, 0.5));
    assert!(
        !token.rejected(version, NOW + SECOND, 0.5),
        "told by a second session"
    );
    assert_eq!((token.usable(NOW), token.pause(NOW)), (None, None));
    let mut pauses = Vec::new();
    for _ in 0..9 {
        token.refreshed(token.seen(), &grant("A", Some(3600), None), NOW, 0.5);
        let version = token.access.as_ref().unwrap().version;
        assert!(token.rejected(version, NOW + SECOND, 0.5));
        pauses.push(token.pause(NOW + SECOND).unwrap().as_secs());
    }
    assert_eq!(pauses, [30, 60, 120, 240, 480, 960, 1800, 1800, 1800]);
    assert_eq!(token.state, State::Ready, "the provider still gives tokens");
    // One that lived its time and was then refused is no reason for a pause.
    token.refreshed(token.seen(), &grant("A", Some(3600), None), NOW, 0.5);
    let version = token.access.as_ref().unwrap().version;
    assert!(token.rejected(version, NOW + 40 * MINUTE, 0.5));
    assert_eq!(token.pause(NOW + 40 * MINUTE), None);
}

#[test]
fn a_rejection_of_an_older_token_is_ignored() {
    let mut token = ready();
    let old = token.access.as_ref().unwrap().version;
    token.refreshed(token.seen(), &grant("A1", Some(3600), None), NOW, 0.5);
    assert!(!token.rejected(old, NOW, 0.5));
    assert!(token.usable(NOW).is_some());
}

#[test]
fn a_consent_without_refresh_token_keeps_the_old_one_and_says_so() {
    let mut token = ready();
    token.consented(&grant("C", Some(60), None), NOW, 0.5);
    assert_eq!(refresh_token(&token), "R0");
    assert!(token.failure.as_ref().unwrap().words.contains("was kept"));
    let mut token = Token::new(true);
    token.consented(&grant("C", Some(60), None), NOW, 0.5);
    assert_eq!(token.state, State::Ready);
    assert!(token.failure.as_ref().unwrap().words.contains("mail stops"));
    assert_eq!(token.due_at(false, RefreshLife::default(), NOW), None);
    token.ran_dry(NOW + HOUR);
    assert_eq!(token.state, State::NeedsConsent);
}

#[test]
fn another_client_displaces_the_grant_and_going_back_restores_it() {
    let mut token = ready();
    assert_eq!(token.client_changed(true, None), Some(Secret::new("R0")));
    assert_eq!(
        (token.state, access_token(&token)),
        (State::NeedsConsent, "")
    );
    let kept = Refresh {
        secret: Secret::new("R0"),
        obtained_at: NOW,
        expires_at: None,
    };
    assert_eq!(token.client_changed(true, Some(kept)), None);
    assert_eq!((token.state, refresh_token(&token)), (State::Ready, "R0"));
    let mut app = Token::new(false);
    assert_eq!(app.client_changed(false, None), None);
    assert_eq!(app.state, State::Ready, "client credentials need no person");
}

#[test]
fn a_mended_configuration_is_tried_at_once() {
    let mut token = ready();
    token.failed(
        token.seen(),
        &Verdict::FixConfiguration(trouble("secret")),
        NOW,
        0.5,
    );
    assert!(token.due_at(true, RefreshLife::default(), NOW).unwrap() > NOW);
    token.mended(true, ("mail", "mail"), NOW);
    assert_eq!(token.state, State::Ready);
    assert!(token.due_at(true, RefreshLife::default(), NOW).unwrap() <= NOW);
}

#[test]
fn times_at_the_edge_of_what_a_clock_holds_do_not_overflow() {
    let mut token = ready();
    for now in [0, i64::MAX / 2, i64::MAX - 1000] {
        token.refreshed(token.seen(), &grant("A", Some(u64::MAX), None), now, 1.0);
        let version = token.access.as_ref().unwrap().version;
        token.failed(token.seen(), &retry(Some(u64::MAX)), now, 1.0);
        assert!(token.pause(now).is_some());
        token.rejected(version, now, 1.0);
    }
}
