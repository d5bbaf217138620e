//! Many tokens in one task: spread, few requests at a time, outages of an endpoint, a clock that is set, a disk that is full.

use crate::support::{Rig, eventually, key};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};
use token_store::{Clock, Reading, Secret, Store, TokenError, Tokens, TokensOptions};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub(crate) const HOUR: i64 = 3_600_000;

/// The system's clocks, and what a test adds to the wall clock and to the steady one.
pub(crate) fn adjustable() -> (Clock, Arc<AtomicI64>, Arc<AtomicI64>) {
    let (wall, steady) = (Arc::new(AtomicI64::new(0)), Arc::new(AtomicI64::new(0)));
    let (system, by, steady_by) = (Clock::system(), wall.clone(), steady.clone());
    let clock = Clock::new(move || {
        let now = system.read();
        Reading {
            wall: now.wall + by.load(Ordering::SeqCst),
            steady: now.steady + steady_by.load(Ordering::SeqCst),
        }
    });
    (clock, wall, steady)
}

pub(crate) fn tokens(rig: &Rig, clock: Clock) -> Tokens {
    let store = Store::open_at(&rig.database(), key(), clock).unwrap();
    Tokens::new(store, TokensOptions::default()).unwrap()
}

/// `count` token rows of app configs, all alike: obtained, due and ending at these moments.
fn plant(rig: &Rig, count: usize, obtained: i64, due: i64, ends: i64) {
    let connection = rusqlite::Connection::open(rig.database()).unwrap();
    let sql = format!(
        "INSERT INTO token_config (name, valid, flow, fingerprint, endpoint, entry, client_secret)
            SELECT printf('app-%06d', value), valid, flow, fingerprint, endpoint, replace(entry, 'app', printf('app-%06d', value)),
                x'00' FROM token_config, generate_series(1, {count}) WHERE name = 'app';
         INSERT INTO token (config, version, generation, state, access_token, access_version, obtained_at, expires_at, refresh_at)
            SELECT name, 1, 0, 'ready', x'00', 1, {obtained}, {ends}, {due} FROM token_config WHERE name LIKE 'app-%'"
    );
    connection
        .execute_batch(&sql.replace(
            &format!("generate_series(1, {count})"),
            &format!("(WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < {count}) SELECT value FROM n)"),
        ))
        .unwrap();
}

pub(crate) fn running(tokens: &Tokens, tasks: &mut JoinSet<()>) -> CancellationToken {
    let (tokens, stop) = (tokens.clone(), CancellationToken::new());
    let stopped = stop.clone();
    tasks.spawn(async move { tokens.run(stopped).await });
    stop
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_hundred_thousand_tokens_are_read_once_and_then_only_what_changes() {
    let rig = Rig::seeded().await;
    rig.import(rig.app_entry("app")).await;
    let now = Clock::system().read().wall;
    plant(&rig, 100_000, now, now + HOUR, now + 2 * HOUR);
    let before = resident_kib();
    let tokens = tokens(&rig, Clock::system());
    let mut tasks = JoinSet::new();
    let stop = running(&tokens, &mut tasks);
    let loaded = || tokens.workload().tokens >= 100_002;
    let end = Instant::now() + Duration::from_secs(60);
    while !loaded() {
        assert!(Instant::now() < end, "{:?}", tokens.workload());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let grown = resident_kib().saturating_sub(before);
    assert!(grown < 120 * 1024, "{grown} KiB for 100,000 tokens");
    let read = tokens.workload().rows_read;
    for n in 1..=20 {
        tokens.refresh("t").await.unwrap();
        eventually("the change was looked at", || {
            tokens.workload().rows_read > read + n
        })
        .await;
    }
    let looked = tokens.workload().rows_read - read;
    assert!(looked < 200, "{looked} rows read for 20 changes");
    stop.cancel();
    tasks.join_all().await;
}

/// App configs without a token: all of them are due.
pub(crate) async fn apps(rig: &Rig, count: usize) {
    let entries = (0..count).map(|n| rig.app_entry(&format!("app-{n:05}")));
    rig.store().import(entries.collect(), true).await.unwrap();
}

pub(crate) fn count(rig: &Rig, of: &str) -> i64 {
    let connection = rusqlite::Connection::open(rig.database()).unwrap();
    let sql = format!("SELECT count(*) FROM token WHERE config LIKE 'app-%' AND {of}");
    connection.query_row(&sql, [], |row| row.get(0)).unwrap()
}

pub(crate) async fn within(seconds: u64, what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(seconds);
    while !condition() {
        assert!(Instant::now() < end, "never happened: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn an_outage_costs_a_few_requests_touches_a_few_rows_and_ends_for_all_with_one_that_works() {
    let rig = Rig::new().await;
    for _ in 0..500 {
        let answer = (503, String::new(), "<html>down</html>".to_owned());
        rig.endpoint.world().canned.push_back(answer);
    }
    let mut tasks = JoinSet::new();
    let stop = running(&rig.tokens, &mut tasks);
    apps(&rig, 300).await;
    within(30, "the breaker opens", || rig.tokens.outages().len() == 1).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (asked, marked) = (rig.endpoint.count(), count(&rig, "failure_at IS NOT NULL"));
    assert!(asked <= 14, "{asked} requests to an endpoint that is away");
    assert!(marked <= 8, "{marked} rows say so");
    let outage = rig.tokens.outages().remove(0);
    assert!(outage.endpoint.ends_with("/token"), "{outage:?}");
    assert!(outage.words.contains("503"), "{outage:?}");
    // Who asks hears at once, and no request is sent.
    let Err(TokenError::Later { words, after }) = rig.tokens.access("app-00200").await else {
        panic!("a token from an endpoint that is away")
    };
    assert!(words.contains("503") && after > Duration::ZERO, "{words}");
    assert_eq!(rig.endpoint.count(), asked);
    // A person may try, and the others follow when it works.
    rig.tokens.refresh("app-00200").await.unwrap_err();
    assert_eq!(rig.endpoint.count(), asked + 1);
    rig.endpoint.world().canned.clear();
    rig.tokens.refresh("app-00200").await.unwrap();
    assert_eq!(rig.tokens.outages(), []);
    within(60, "all have a token", || {
        count(&rig, "refreshes > 0") == 300
    })
    .await;
    stop.cancel();
    tasks.join_all().await;
}

#[tokio::test]
async fn one_dead_grant_does_not_close_the_endpoint_for_others() {
    let rig = Rig::seeded().await;
    for n in 0..20 {
        let name = format!("dead-{n}");
        rig.import(rig.entry(&name)).await;
        rig.tokens
            .seed(&name, Secret::new("never-valid"))
            .await
            .unwrap();
        rig.tokens.access(name.as_str()).await.unwrap_err();
    }
    assert_eq!(rig.tokens.outages(), []);
    rig.tokens.access("t").await.unwrap();
}

#[tokio::test]
async fn a_client_that_is_asked_for_patience_is_patient_with_all_its_tokens() {
    let rig = Rig::new().await;
    apps(&rig, 50).await;
    let throttled = (
        429,
        "Retry-After: 600\r\n".to_owned(),
        r#"{"error":"slow_down"}"#.to_owned(),
    );
    rig.endpoint.world().canned.push_back(throttled);
    rig.tokens.access("app-00000").await.unwrap_err();
    for n in 1..50 {
        let asked = rig.tokens.access(format!("app-{n:05}").as_str()).await;
        let Err(TokenError::Later { after, .. }) = asked else {
            panic!("{asked:?}")
        };
        assert!(after > Duration::from_secs(500), "{after:?}");
    }
    assert_eq!(rig.endpoint.count(), 1);
    assert_eq!(rig.tokens.outages(), []);
}

#[tokio::test]
async fn a_clock_set_back_by_years_and_one_set_forward_are_both_followed_without_a_storm() {
    let rig = Rig::new().await;
    apps(&rig, 200).await;
    let (clock, added, _) = adjustable();
    let tokens = tokens(&rig, clock);
    let mut tasks = JoinSet::new();
    let stop = running(&tokens, &mut tasks);
    within(60, "all have a token", || {
        count(&rig, "refreshes = 1") == 200
    })
    .await;
    for (times, jump) in [(2, -3 * 365 * 24 * HOUR), (3, 24 * HOUR)] {
        added.fetch_add(jump, Ordering::SeqCst);
        tokens.look_at("wake");
        let asked = rig.endpoint.count();
        tokio::time::sleep(Duration::from_millis(500)).await;
        let at_once = rig.endpoint.count() - asked;
        assert!(at_once < 60, "{at_once} of 200 at once");
        let of = format!("refreshes = {times}");
        within(60, "all have a new token", || count(&rig, &of) == 200).await;
    }
    assert_eq!(rig.endpoint.count(), 600);
    stop.cancel();
    tasks.join_all().await;
}
