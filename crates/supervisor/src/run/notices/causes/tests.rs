//! Tables of how things stand, and what an administrator must then see.

use super::*;
use provider_template::Notifications;
use spool::Headline;
use std::collections::BTreeMap;
use token_store::notices::{Channel, Told};
use token_store::{Failure, TokenId};

const NOW: i64 = 1_795_514_400;

fn world() -> World {
    World {
        now: NOW,
        settled: true,
        free: Some(1 << 40),
        ..World::default()
    }
}

fn token(config: &str, kind: TroubleKind) -> TokenTrouble {
    TokenTrouble {
        id: TokenId::of(config),
        kind,
        failure: Some(Failure {
            at: NOW,
            words: "invalid_grant: gone. (HTTP status 400).".into(),
            advice: "request a new token".into(),
        }),
        expired_at: Some(NOW - 60),
        endpoint: "login.example/token".into(),
        attempts: 9,
        notifications: Notifications {
            expired_token: false,
            expired_refresh_token: true,
        },
        used_by: vec![format!("mailbox {config}")],
    }
}

fn account(
    name: &str,
    condition: Condition,
    failing_since: Option<i64>,
) -> (Account, String, Light) {
    let light = Light {
        condition,
        since: NOW,
        last_success: None,
        failing_since,
    };
    (Account::Mailbox, name.to_owned(), light)
}

fn waiting() -> Condition {
    Condition::Waiting {
        why: "no answer from imap.example".into(),
        until: NOW + 9,
    }
}

/// A notice about each cause, open.
fn told(causes: &[Cause]) -> Vec<Notice> {
    let notice = |(id, cause): (usize, &Cause)| Notice {
        id: i64::try_from(id).unwrap(),
        cause: cause.clone(),
        since: NOW,
        cleared_at: None,
        told: BTreeMap::new(),
    };
    causes.iter().enumerate().map(notice).collect()
}

fn shown(world: &World) -> Vec<String> {
    let line = |cause: Cause| {
        format!(
            "{} | {} | {} | {}",
            cause.kind.key(),
            cause.about,
            cause.words,
            cause.advice
        )
    };
    causes(world).into_iter().map(line).collect()
}

#[test]
fn a_token_is_told_of_by_what_is_worst_about_it_and_says_who_waits() {
    let mut never = token("new", TroubleKind::NeedsConsent);
    never.failure = None;
    let tokens = vec![
        token("a", TroubleKind::Broken),
        token("b", TroubleKind::NeedsConsent),
        never,
        token("c", TroubleKind::RefreshExpired(NOW - 86_400)),
        token("d", TroubleKind::RefreshEnding(NOW + 86_400)),
    ];
    let request = |name: &str| {
        format!("request a new token, on the tokens page or with `postern token request {name}`")
    };
    assert_eq!(
        shown(&World { tokens, ..world() }),
        [
            "configuration | token a | the provider refuses the configuration: invalid_grant: gone. (HTTP status 400); \
             waiting for it: mailbox a | request a new token"
                .to_owned(),
            "consent_needed | token b | a person must sign in again: invalid_grant: gone. (HTTP status 400); \
             waiting for it: mailbox b | request a new token"
                .to_owned(),
            format!("consent_needed | token new | no token was requested yet; waiting for it: mailbox new | {}", request("new")),
            format!("refresh_token_expired | token c | the refresh token ended on 2026-11-23 | {}", request("c")),
            format!(
                "refresh_token_ending | token d | the refresh token ends on 2026-11-25, and no refresh has moved that date | {}",
                request("d")
            ),
        ]
    );
}

#[test]
fn refresh_tokens_are_told_of_as_their_configs_want_and_access_tokens_too() {
    let mut quiet = token("quiet", TroubleKind::RefreshExpired(NOW));
    quiet.notifications.expired_refresh_token = false;
    let mut loud = token("loud", TroubleKind::Stuck);
    loud.notifications.expired_token = true;
    let lines = shown(&World {
        tokens: vec![quiet, loud],
        ..world()
    });
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(
        lines[0].starts_with(
            "endpoint_failing | endpoint login.example/token | the token loud has ended"
        )
    );
    assert!(
        lines[1].starts_with("token_expired | token loud | the access token ended on 2026-11-24")
    );
}

#[test]
fn one_outage_of_a_provider_is_one_notice_however_many_tokens_and_mailboxes_it_stops() {
    let mut tokens = Vec::new();
    let mut accounts = Vec::new();
    for number in 0..10_000 {
        let name = format!("t{number:05}");
        let mut stuck = token(&name, TroubleKind::Stuck);
        stuck.notifications.expired_token = true;
        accounts.push(account(&name, waiting(), Some(NOW - 2 * FAILING)));
        tokens.push(stuck);
    }
    let lines = shown(&World {
        tokens,
        accounts,
        ..world()
    });
    assert_eq!(
        lines,
        [
            "endpoint_failing | endpoint login.example/token | 10000 tokens have ended (t00000, t00001, t00002 and 9997 more), and \
          no request for a new one succeeds: invalid_grant: gone. (HTTP status 400) | request a new token"
        ]
    );
}

#[test]
fn tokens_that_ended_while_the_host_slept_are_no_outage_yet() {
    let with = |attempts: [u32; 2]| World {
        tokens: attempts
            .into_iter()
            .map(|attempts| TokenTrouble {
                attempts,
                ..token("a", TroubleKind::Stuck)
            })
            .collect(),
        ..world()
    };
    assert_eq!(causes(&with([0, LASTING_TRIES - 1])), []);
    assert_eq!(causes(&with([0, LASTING_TRIES])).len(), 1);
    // One request at a time tries an endpoint that is away: no token alone has failed so often then.
    let mut away = with([0, 1]);
    let outage = |since| Outage {
        endpoint: "login.example/token".into(),
        since,
        next_try: NOW + 9,
        words: "no answer".into(),
    };
    away.outages = vec![outage(NOW - LASTING + 1)];
    assert_eq!(causes(&away), []);
    away.outages = vec![outage(NOW - LASTING)];
    assert_eq!(causes(&away).len(), 1);
}

#[test]
fn a_config_that_gives_tokens_to_many_users_is_one_notice() {
    let tokens = ["a@x", "b@x", "c@x", "d@x"].map(|subject| {
        let mut broken = token("all", TroubleKind::Broken);
        broken.id = TokenId::for_subject("all", subject);
        broken
    });
    let lines = shown(&World {
        tokens: tokens.to_vec(),
        ..world()
    });
    assert_eq!(lines.len(), 1);
    assert!(
        lines[0].contains("so it is for a@x, b@x, c@x and 1 more"),
        "{lines:?}"
    );
}

#[test]
fn an_account_is_told_of_after_an_hour_or_when_it_waits_for_somebody_and_until_it_works() {
    let blocked = Condition::Blocked {
        why: "the folder INBOX.Old is missing.".into(),
    };
    let working = Condition::Working {
        doing: "waiting for new mail".into(),
    };
    let fares = |condition: Condition, since| World {
        accounts: vec![account("a", condition, since)],
        ..world()
    };
    assert_eq!(shown(&fares(waiting(), Some(NOW - FAILING + 1))), [""; 0]);
    assert_eq!(shown(&fares(working.clone(), None)), [""; 0]);
    let long = causes(&fares(waiting(), Some(NOW - FAILING)));
    assert_eq!(
        long[0].words,
        "has not worked for an hour: no answer from imap.example"
    );
    let at_once = causes(&fares(blocked, Some(NOW)));
    assert_eq!(
        at_once[0].words,
        "waits for you: the folder INBOX.Old is missing"
    );

    let after = |condition, settled| World {
        known: told(&long),
        settled,
        ..fares(condition, None)
    };
    // Begun anew, or failing again since a moment: it is not mended.
    assert_eq!(causes(&after(Condition::Starting, true)), long);
    assert_eq!(causes(&after(waiting(), true)), long);
    assert_eq!(causes(&after(working, true)), []);
    assert_eq!(causes(&after(Condition::Paused, true)), []);
    // Not there yet after a start, and not there any more.
    let gone = |settled| World {
        known: told(&long),
        settled,
        ..world()
    };
    assert_eq!(causes(&gone(false)), long);
    assert_eq!(causes(&gone(true)), []);
}

#[test]
fn an_account_whose_token_is_told_of_is_not_told_of_as_well() {
    let mut both = world();
    both.tokens = vec![token("a", TroubleKind::NeedsConsent)];
    let why = "a person must sign in".to_owned();
    both.accounts = vec![account("a", Condition::Blocked { why }, Some(NOW))];
    assert_eq!(causes(&both).len(), 1);
    both.accounts.push(account(
        "b",
        Condition::Blocked { why: "else".into() },
        Some(NOW),
    ));
    assert_eq!(causes(&both).len(), 2);
}

#[test]
fn held_mail_is_one_notice_for_each_account_with_its_count() {
    let report = |direction, count| HeldReport {
        account: "support".into(),
        direction,
        count,
        bytes: 1,
        oldest_at: NOW,
        oldest_body_at: Some(NOW),
        newest_at: NOW,
        newest: Headline::default(),
        last_error: "exit code 65.".into(),
    };
    let lines = shown(&World {
        held: vec![report(Direction::In, 1), report(Direction::Out, 12)],
        ..world()
    });
    assert!(lines[0].starts_with("held_mail | mailbox support | 1 message is held (mail for the ticket system); of the last one: exit code 65 |"));
    assert!(lines[1].starts_with("held_mail | relay support | 12 messages are held (replies); of the last one: exit code 65 |"));
}

#[test]
fn copies_of_held_mail_are_told_of_long_before_they_are_given_up() {
    let care = token_store::accounts::Care::default();
    let (days, full) = (86_400, care.max_held);
    let with = |oldest_body_at, bytes, direction| World {
        held: vec![HeldReport {
            account: "support".into(),
            direction,
            count: 1,
            bytes,
            oldest_at: 0,
            oldest_body_at,
            // Only a notice of our own is held: that is not told of.
            newest_at: 0,
            newest: Headline::default(),
            last_error: String::new(),
        }],
        care: BTreeMap::from([("support".to_owned(), care.clone())]),
        ..world()
    };
    let fresh = with(Some(NOW - 20 * days + 1), full / 3 * 2 - 1, Direction::In);
    assert_eq!(causes(&fresh), []);
    let old = causes(&with(Some(NOW - 20 * days), 1, Direction::In));
    assert_eq!(old[0].kind, Kind::HeldMailEnding);
    assert!(
        old[0].words.contains("given up here from 2026-12-04 on"),
        "{old:?}"
    );
    let large = causes(&with(None, full / 3 * 2, Direction::In));
    assert!(
        large[0].words.contains("two thirds of max_held"),
        "{large:?}"
    );
    assert_eq!(causes(&with(Some(0), full, Direction::Out)), []);
}

#[test]
fn a_full_disk_is_told_of_until_there_is_clearly_more_room() {
    let with = |free, known| World {
        free: Some(free),
        known,
        ..world()
    };
    assert_eq!(causes(&with(DISK_LOW, Vec::new())), []);
    let low = causes(&with(DISK_LOW - 1, Vec::new()));
    assert_eq!(low[0].about, About::Disk);
    assert_eq!(causes(&with(DISK_WELL - 1, told(&low))), low);
    assert_eq!(causes(&with(DISK_WELL, told(&low))), []);
    assert_eq!(
        causes(&World {
            free: None,
            ..world()
        }),
        []
    );
}

#[test]
fn a_channel_that_fails_for_long_is_told_of_by_the_others_until_it_tells_again() {
    let failing = |tries, cleared_at| {
        let mut notice = told(&causes(&World {
            free: Some(0),
            ..world()
        }))
        .remove(0);
        let state = Told {
            tries,
            error: Some("hooks.example answered 500".into()),
            ..Told::default()
        };
        notice.told.insert(Channel::Webhook, state);
        notice.cleared_at = cleared_at;
        notice
    };
    let with = |known: Vec<Notice>| World {
        known,
        channels: vec![Channel::Webhook],
        ..world()
    };
    assert_eq!(causes(&with(vec![failing(CHANNEL_TRIES - 1, None)])), []);
    let found = causes(&with(vec![failing(CHANNEL_TRIES, None)]));
    assert_eq!(found[0].about, About::Channel("webhook".into()));
    assert_eq!(
        found[0].words,
        "notices cannot be told this way: hooks.example answered 500"
    );
    let mut known = told(&found);
    known.push(failing(1, None));
    assert_eq!(causes(&with(known)).len(), 1, "one failure keeps it open");
    assert_eq!(causes(&with(told(&found))), [], "nothing is owed any more");
    assert_eq!(
        causes(&with(vec![failing(9, Some(NOW))])),
        [],
        "nobody waits for it any more"
    );
    let mut off = with(vec![failing(CHANNEL_TRIES, None)]);
    off.channels.clear();
    assert_eq!(causes(&off), []);
}

#[test]
fn nothing_wrong_is_nothing_to_tell() {
    assert_eq!(causes(&world()), []);
}

#[test]
fn what_is_refused_of_the_drop_directory_is_one_notice_in_the_words_of_the_refusal() {
    assert_eq!(causes(&world()), []);
    let refused = |count: usize| World {
        dropped: vec!["/drop/new-1, from uid 998: 550 5.7.1 No relay serves it.".to_owned(); count],
        ..world()
    };
    let [one] = &causes(&refused(1))[..] else {
        panic!("one cause");
    };
    assert_eq!(
        (one.kind, &one.about),
        (Kind::DroppedMail, &About::DropDirectory)
    );
    assert_eq!(
        one.words,
        "1 message that `postern sendmail` left while no daemon ran is refused: /drop/new-1, from uid 998: 550 5.7.1 No relay serves it"
    );
    let [three] = &causes(&refused(3))[..] else {
        panic!("one cause");
    };
    assert!(
        three.words.starts_with("3 messages that"),
        "{}",
        three.words
    );
}
