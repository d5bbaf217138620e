//! Crowds of tokens at one endpoint: an outage is one line in the log, hours of sleep end in a queue, a minute in which all
//! expire is over before it comes.

use crate::life::{HOUR, adjustable, apps, count, running, tokens, within};
use crate::support::Rig;
use std::io::Write;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, UNIX_EPOCH};
use token_store::{Clock, TokenError};
use tokio::task::JoinSet;

/// A log in memory.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// Lines at `info` and above, which is what a daemon writes unless it is told otherwise.
    fn told(&self) -> Vec<String> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        let told = text
            .lines()
            .filter(|line| !line.contains(" DEBUG ") && !line.contains(" TRACE "));
        told.map(str::to_owned).collect()
    }

    fn lines(&self) -> usize {
        let bytes = self.0.lock().unwrap();
        bytes.iter().filter(|byte| **byte == b'\n').count()
    }
}

#[tokio::test]
async fn an_outage_is_one_line_when_it_begins_and_one_when_it_ends_however_many_tokens_wait() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_max_level(tracing_subscriber::filter::LevelFilter::DEBUG)
        .with_writer(move || writer.clone())
        .finish();
    // With one subscriber alone, whichever test comes by a line first decides for all of them whether it is written.
    let _other = tracing::Dispatch::new(tracing::subscriber::NoSubscriber::default());
    // Tests run on one thread each, and so does what they spawn.
    let _guard = tracing::subscriber::set_default(subscriber);
    let rig = Rig::new().await;
    for _ in 0..1000 {
        let answer = (503, String::new(), "<html>down</html>".to_owned());
        rig.endpoint.world().canned.push_back(answer);
    }
    let mut tasks = JoinSet::new();
    let stop = running(&rig.tokens, &mut tasks);
    apps(&rig, 500).await;
    within(30, "the breaker opens", || rig.tokens.outages().len() == 1).await;
    for n in 0..500 {
        let asked = rig.tokens.access(format!("app-{n:05}").as_str()).await;
        assert!(matches!(asked, Err(TokenError::Later { .. })), "{asked:?}");
    }
    // Tries that fail are part of the same outage.
    for n in 0..3 {
        let name = format!("app-{n:05}");
        rig.tokens.refresh(name.as_str()).await.unwrap_err();
    }
    let told = log.told();
    assert_eq!(told.len(), 1, "{told:#?}");
    assert!(
        told[0].contains(" WARN ") && told[0].contains("is away") && told[0].contains("503"),
        "{told:?}"
    );
    rig.endpoint.world().canned.clear();
    rig.tokens.refresh("app-00000").await.unwrap();
    within(60, "all have a token", || {
        count(&rig, "refreshes > 0") == 500
    })
    .await;
    let told = log.told();
    assert_eq!(told.len(), 2, "{told:#?}");
    assert!(
        told[1].contains(" INFO ") && told[1].contains("answers again"),
        "{told:?}"
    );
    let lines = log.lines();
    assert!(lines > 500, "{lines} lines, the finest included");
    stop.cancel();
    tasks.join_all().await;
}

#[tokio::test]
async fn after_eight_hours_asleep_nothing_expired_is_handed_out_and_all_are_refreshed_eight_at_a_time()
 {
    // Boot time goes on in sleep; where it doesn't, sleep looks like a clock that was set.
    for steady_goes_on in [true, false] {
        let rig = Rig::new().await;
        rig.endpoint.world().delay = Duration::from_millis(5);
        apps(&rig, 200).await;
        let (clock, wall, steady) = adjustable();
        let tokens = tokens(&rig, clock.clone());
        let mut tasks = JoinSet::new();
        let stop = running(&tokens, &mut tasks);
        within(60, "all have a token", || {
            count(&rig, "refreshes = 1") == 200
        })
        .await;
        if steady_goes_on {
            steady.fetch_add(8 * HOUR, Ordering::SeqCst);
        }
        wall.fetch_add(8 * HOUR, Ordering::SeqCst);
        let ended = format!("expires_at < {}", clock.read().wall);
        assert_eq!(count(&rig, &ended), 200, "all expired meanwhile");
        rig.endpoint.world().most_at_once = 0;
        // The askers are there first, all mailboxes at once; then the task wakes up.
        let mut askers = JoinSet::new();
        for n in 0..100 {
            let (tokens, clock) = (tokens.clone(), clock.clone());
            askers.spawn(async move {
                let token = tokens.access(format!("app-{n:05}").as_str()).await.unwrap();
                let ends = token.expires_at.unwrap().duration_since(UNIX_EPOCH);
                i64::try_from(ends.unwrap().as_millis()).unwrap() - clock.read().wall
            });
        }
        tokens.look_at("wake");
        let woken = Instant::now();
        let left = askers.join_all().await;
        assert_eq!(left.iter().filter(|left| **left < HOUR / 2).count(), 0);
        within(60, "all have a new token", || {
            count(&rig, "refreshes = 2") == 200
        })
        .await;
        assert!(woken.elapsed() < Duration::from_secs(40));
        assert_eq!(count(&rig, &ended), 0);
        assert_eq!(rig.endpoint.count(), 400, "one request for each");
        let most = rig.endpoint.world().most_at_once;
        assert!((2..=8).contains(&most), "{most} requests at once");
        stop.cancel();
        tasks.join_all().await;
    }
}

/// How many real tokens expire within the same minute; `POSTERN_TEST_LONG=1` takes all that are promised.
fn crowd() -> usize {
    let long = std::env::var_os("POSTERN_TEST_LONG").is_some_and(|value| value == "1");
    if long { 10_000 } else { 2_000 }
}

#[tokio::test]
async fn tokens_that_expire_in_the_same_minute_are_one_request_each_eight_at_a_time_in_time_and_spread_from_then_on()
 {
    let rig = Rig::new().await;
    let (crowd, all) = (crowd(), i64::try_from(crowd()).unwrap());
    rig.endpoint.world().delay = Duration::from_millis(2);
    let mut tasks = JoinSet::new();
    let stop = running(&rig.tokens, &mut tasks);
    let begun = Instant::now();
    apps(&rig, crowd).await;
    within(300, "all have a token", || {
        count(&rig, "refreshes = 1") == all
    })
    .await;
    let first = begun.elapsed();
    stop.cancel();
    tasks.join_all().await;

    // Due at one moment, and over within a minute: the earliest a minute and a half from now.
    let now = Clock::system().read().wall;
    let (due, over) = (now + 3_000, now + 90_000);
    let end = format!("({over} + CAST(substr(config, 5) AS INTEGER) % 60 * 1000)");
    let connection = rusqlite::Connection::open(rig.database()).unwrap();
    let sql = format!("UPDATE token SET refresh_at = {due}, expires_at = {end}");
    connection.execute(&sql, []).unwrap();
    let before = rig.endpoint.count();
    rig.endpoint.world().most_at_once = 0;
    let tokens = tokens(&rig, Clock::system());
    let mut tasks = JoinSet::new();
    let stop = running(&tokens, &mut tasks);
    let begun = Instant::now();
    within(300, "all have a new token", || {
        count(&rig, "refreshes = 2") == all
    })
    .await;
    let second = begun.elapsed();
    let most = rig.endpoint.world().most_at_once;
    // Thirty seconds before its end a token is not handed out any more: who asks then would have to wait.
    let late = count(&rig, &format!("obtained_at > {end} - 30000"));
    let asked = rig.endpoint.count() - before;
    println!(
        "{crowd} tokens: the first in {first:?}, renewed in {second:?}, {asked} requests, {most} at once, {late} late"
    );
    assert_eq!((asked, late), (crowd, 0));
    assert!((2..=8).contains(&most), "{most} requests at once");
    // A quarter of an hour before the end at the latest, and not in the same minute again.
    assert_eq!(count(&rig, "expires_at - refresh_at < 900000"), 0);
    let by_minute = format!(
        "refresh_at / 60000 IN (SELECT refresh_at / 60000 FROM token WHERE refresh_at IS NOT NULL
        GROUP BY 1 HAVING count(*) > {})",
        crowd * 3 / 5
    );
    assert_eq!(count(&rig, &by_minute), 0);
    stop.cancel();
    tasks.join_all().await;
}
