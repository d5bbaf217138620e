//! Refreshing: one request whoever asks, rotation, lost answers, rejections, pauses, and the task ahead of need.

use crate::support::{Rig, eventually};
use std::sync::Arc;
use std::time::{Duration, Instant};
use token_store::state::State;
use token_store::{Secret, TokenError};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

#[tokio::test]
async fn a_thousand_askers_of_one_expired_token_are_one_request() {
    let rig = Arc::new(Rig::seeded().await);
    {
        let mut world = rig.endpoint.world();
        world.rotate = true;
        world.delay = Duration::from_millis(50);
    }
    let mut askers = JoinSet::new();
    for _ in 0..1000 {
        let rig = rig.clone();
        askers.spawn(async move { rig.tokens.access("t").await.unwrap().secret });
    }
    let tokens = askers.join_all().await;
    assert!(tokens.iter().all(|t| *t == tokens[0]));
    assert_eq!(rig.endpoint.count(), 1);
}

#[tokio::test]
async fn two_processes_on_one_file_make_one_request() {
    let rig = Rig::seeded().await;
    {
        let mut world = rig.endpoint.world();
        world.rotate = true;
        world.punish_reuse = true;
        world.delay = Duration::from_millis(100);
    }
    let other = rig.beside();
    let (one, two) = tokio::join!(rig.tokens.access("t"), other.access("t"));
    assert_eq!(one.unwrap().secret, two.unwrap().secret);
    assert_eq!(rig.endpoint.count(), 1);
}

#[tokio::test]
async fn rotation_is_followed_step_by_step_even_where_reuse_is_punished() {
    let rig = Rig::seeded().await;
    {
        let mut world = rig.endpoint.world();
        world.rotate = true;
        world.punish_reuse = true;
    }
    for n in 1..=5 {
        rig.tokens.refresh("t").await.unwrap();
        assert_eq!(rig.endpoint.count(), n);
        assert_eq!(rig.status("t").refreshes, n as u64);
    }
    assert_eq!(rig.endpoint.world().living.len(), 1);
}

#[tokio::test]
async fn a_rotated_refresh_token_is_on_disk_before_the_access_token_is_handed_out() {
    let rig = Rig::seeded().await;
    rig.endpoint.world().rotate = true;
    rig.tokens.access("t").await.unwrap();
    // Killed right here: what another process finds in the file must work.
    let other = rig.beside();
    other.refresh("t").await.unwrap();
}

#[tokio::test]
async fn an_answer_is_stored_even_when_its_asker_is_gone() {
    let rig = Rig::seeded().await;
    {
        let mut world = rig.endpoint.world();
        world.rotate = true;
        world.delay = Duration::from_millis(100);
    }
    let asked = tokio::time::timeout(Duration::from_millis(20), rig.tokens.access("t")).await;
    assert!(asked.is_err(), "given up before the answer");
    eventually("the answer is stored", || rig.status("t").refreshes == 1).await;
    rig.endpoint.world().delay = Duration::ZERO;
    rig.tokens.refresh("t").await.unwrap();
}

#[tokio::test]
async fn a_lost_answer_keeps_the_refresh_token_and_is_tried_again() {
    let rig = Rig::seeded().await;
    rig.endpoint.world().lose = 1;
    let error = rig.tokens.access("t").await.unwrap_err();
    assert!(matches!(error, TokenError::Later { .. }), "{error}");
    let asked_again = rig.tokens.access("t").await.unwrap_err();
    assert!(
        matches!(asked_again, TokenError::Later { after, .. } if after <= Duration::from_secs(2))
    );
    assert_eq!(rig.endpoint.count(), 1, "the pause is kept");
    rig.tokens.refresh("t").await.unwrap();
    assert_eq!(rig.status("t").failure, None);
}

#[tokio::test]
async fn a_dead_grant_asks_for_the_person_and_names_the_command() {
    let rig = Rig::new().await;
    let never = rig.tokens.access("t").await.unwrap_err();
    assert!(matches!(&never, TokenError::NeedsConsent { .. }), "{never}");
    assert!(
        never.to_string().contains("postern token request t"),
        "{never}"
    );
    rig.tokens
        .seed("t", Secret::new("never-valid"))
        .await
        .unwrap();
    let dead = rig.tokens.access("t").await.unwrap_err();
    assert!(matches!(&dead, TokenError::NeedsConsent { .. }), "{dead}");
    assert!(
        dead.to_string().contains("unknown or spent")
            && dead.to_string().contains("postern token request")
    );
    rig.tokens.access("t").await.unwrap_err();
    assert_eq!(
        rig.endpoint.count(),
        1,
        "a dead grant is not asked again by every session"
    );
    assert_eq!(rig.status("t").state, State::NeedsConsent);
}

#[tokio::test]
async fn a_failure_ahead_of_need_leaves_the_living_token_in_use() {
    let rig = Rig::seeded().await;
    rig.endpoint.world().life = Some(4);
    let first = rig.tokens.access("t").await.unwrap();
    for _ in 0..50 {
        rig.endpoint.world().canned.push_back((
            400,
            String::new(),
            r#"{"error":"invalid_grant"}"#.into(),
        ));
    }
    // Past half its life a refresh is due; it fails; the token still works for a while.
    tokio::time::sleep(Duration::from_millis(2100)).await;
    let second = rig.tokens.access("t").await.unwrap();
    assert_eq!(first.secret, second.secret);
    assert_eq!(
        (rig.endpoint.count(), rig.status("t").state),
        (2, State::NeedsConsent)
    );
}

#[tokio::test]
async fn tokens_of_five_seconds_cause_no_storm() {
    let rig = Arc::new(Rig::seeded().await);
    {
        let mut world = rig.endpoint.world();
        world.rotate = true;
        world.punish_reuse = true;
        world.life = Some(5);
    }
    let stop = CancellationToken::new();
    let mut tasks = JoinSet::new();
    let (runner, stopped) = (rig.tokens.clone(), stop.clone());
    tasks.spawn(async move { runner.run(stopped).await });
    let end = Instant::now() + Duration::from_secs(7);
    while Instant::now() < end {
        let token = rig.tokens.access("t").await.unwrap();
        let left = token
            .expires_at
            .unwrap()
            .duration_since(std::time::SystemTime::now())
            .unwrap();
        assert!(
            left > Duration::from_secs(1),
            "handed out with {left:?} left"
        );
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    stop.cancel();
    tasks.join_all().await;
    // Due at 2.25 to 2.5 seconds of age: the first at once, then at most three more in seven seconds.
    assert!(
        (3..=4).contains(&rig.endpoint.count()),
        "{} requests",
        rig.endpoint.count()
    );
}

#[tokio::test]
async fn a_rejected_token_is_refreshed_once_whoever_says_so() {
    let rig = Rig::seeded().await;
    let old = rig.tokens.access("t").await.unwrap();
    for _ in 0..20 {
        rig.tokens.rejected(&old).await.unwrap();
    }
    let fresh = rig.tokens.access("t").await.unwrap();
    assert_ne!(fresh.secret, old.secret);
    rig.tokens.rejected(&old).await.unwrap();
    assert_eq!(
        rig.tokens.access("t").await.unwrap().secret,
        fresh.secret,
        "a late word about the old one"
    );
    assert_eq!(rig.endpoint.count(), 2);
}

#[tokio::test]
async fn fresh_tokens_rejected_again_and_again_are_followed_by_a_pause_not_a_storm() {
    let rig = Rig::seeded().await;
    let mut last = Ok(());
    for _ in 0..50 {
        match rig.tokens.access("t").await {
            Ok(token) => rig.tokens.rejected(&token).await.unwrap(),
            Err(error) => last = Err(error),
        }
    }
    let Err(TokenError::Later { words, after }) = last else {
        panic!("{last:?}")
    };
    assert!(
        words.contains("the mail server refused 2 fresh access tokens"),
        "{words}"
    );
    assert!(after > Duration::from_secs(15));
    assert_eq!(rig.endpoint.count(), 2);
}

#[tokio::test]
async fn run_refreshes_what_was_seeded_beside_it_and_leaves_in_order() {
    let rig = Rig::new().await;
    let stop = CancellationToken::new();
    let mut tasks = JoinSet::new();
    let (runner, stopped) = (rig.tokens.clone(), stop.clone());
    tasks.spawn(async move { runner.run(stopped).await });
    rig.endpoint.world().delay = Duration::from_millis(100);
    let planted = rig.endpoint.world().plant();
    rig.tokens.seed("t", Secret::new(planted)).await.unwrap();
    eventually("the request was sent", || rig.endpoint.count() == 1).await;
    // Told to stop while the answer is on its way: it is awaited and stored.
    stop.cancel();
    tasks.join_all().await;
    assert_eq!(rig.status("t").refreshes, 1);
}

#[tokio::test]
async fn a_config_that_is_switched_off_or_unknown_gives_no_token() {
    let rig = Rig::seeded().await;
    rig.tokens.access("t").await.unwrap();
    let mut entry = rig.entry("t");
    entry.valid = false;
    rig.import(entry).await;
    let off = rig.tokens.access("t").await.unwrap_err();
    assert!(off.to_string().contains("switched off"), "{off}");
    rig.import(rig.entry("t")).await;
    rig.tokens.access("t").await.unwrap();
    assert!(matches!(
        rig.tokens.access("nobody").await,
        Err(TokenError::Unknown(_))
    ));
    assert!(matches!(
        rig.tokens.refresh("nobody").await,
        Err(TokenError::Unknown(_))
    ));
}

#[tokio::test]
async fn a_granted_token_waits_in_memory_while_the_disk_refuses_and_lands_when_it_gives_in() {
    let rig = Rig::seeded().await;
    rig.endpoint.world().rotate = true;
    let disk = rusqlite::Connection::open(rig.database()).unwrap();
    disk.execute_batch(
        "CREATE TRIGGER full BEFORE UPDATE ON token BEGIN SELECT RAISE(ABORT, 'disk full'); END",
    )
    .unwrap();
    let tokens = rig.tokens.clone();
    let mut asker = JoinSet::new();
    asker.spawn(async move { tokens.access("t").await });
    eventually("the request was sent", || rig.endpoint.count() == 1).await;
    let early = tokio::time::timeout(Duration::from_millis(300), asker.join_next()).await;
    assert!(
        early.is_err(),
        "handed out before it was on disk: {early:?}"
    );
    disk.execute_batch("DROP TRIGGER full").unwrap();
    let token = asker.join_next().await.unwrap().unwrap().unwrap();
    assert_eq!(
        rig.endpoint.count(),
        1,
        "the grant was kept, not asked for again"
    );
    assert_eq!(rig.tokens.access("t").await.unwrap().secret, token.secret);
    rig.tokens.refresh("t").await.unwrap();
}

#[tokio::test]
async fn a_token_without_refresh_token_ends_in_a_request_for_consent_and_no_storm() {
    let rig = Rig::new().await;
    {
        let mut world = rig.endpoint.world();
        world.withhold_refresh = true;
        world.life = Some(1);
    }
    crate::consents::consent(&rig).await;
    let token = rig.tokens.access("t").await.unwrap();
    rig.tokens.rejected(&token).await.unwrap();
    for _ in 0..20 {
        let error = rig.tokens.access("t").await.unwrap_err();
        assert!(matches!(&error, TokenError::NeedsConsent { .. }), "{error}");
    }
    assert_eq!(rig.endpoint.count(), 1, "the consent's own request");
}

/// A wider scope in a newer template must not end a grant that works: nobody has consented to it yet.
#[tokio::test]
async fn a_changed_scope_is_asked_for_at_the_next_consent_and_refreshes_go_on_with_the_granted_one()
{
    let rig = Rig::seeded().await;
    rig.tokens.refresh("t").await.unwrap();
    let mut wider = rig.entry("t");
    wider.config.scope = "mail pop".into();
    rig.import(wider).await;
    let asked = |rig: &Rig| rig.endpoint.world().requests.last().unwrap()["scope"].clone();
    rig.tokens.refresh("t").await.unwrap();
    assert_eq!(asked(&rig), "mail");
    crate::consents::consent(&rig).await;
    rig.tokens.refresh("t").await.unwrap();
    assert_eq!(asked(&rig), "mail pop");

    // A scope that the provider refuses is mended by an edit.
    let canned = (400, String::new(), r#"{"error":"invalid_scope"}"#.into());
    rig.endpoint.world().canned.push_back(canned);
    rig.tokens.refresh("t").await.unwrap_err();
    rig.import(rig.entry("t")).await;
    rig.tokens.refresh("t").await.unwrap();
    assert_eq!(asked(&rig), "mail");
}
