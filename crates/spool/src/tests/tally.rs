//! The counts that are kept as the spool changes are those that a recount finds.

use super::*;

/// An account's deliveries: waiting, held, delivered.
type Backlog = (String, i64, i64, i64);

/// What a recount finds, and what is kept.
pub(super) fn recounted(dir: &std::path::Path) -> (Vec<Backlog>, Vec<Backlog>) {
    let conn = rusqlite::Connection::open(dir.join("spool.db")).unwrap();
    let read = |sql: &str| {
        let mut statement = conn.prepare(sql).unwrap();
        let rows = statement.query_map((), |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        });
        rows.unwrap().map(|row| row.unwrap()).collect::<Vec<_>>()
    };
    (
        read(
            "SELECT direction || ' ' || account, count(*) FILTER (WHERE due_at IS NOT NULL),
               count(*) FILTER (WHERE state = 'held'), count(*) FILTER (WHERE state = 'delivered')
             FROM delivery GROUP BY direction, account ORDER BY 1",
        ),
        read(
            "SELECT direction || ' ' || account, waiting, held, delivered FROM backlog
             WHERE waiting <> 0 OR held <> 0 OR delivered <> 0 ORDER BY 1",
        ),
    )
}

#[tokio::test]
async fn hours_are_counted_and_old_ones_go() {
    let bench = Bench::new();
    let deliver = async |uid: u32| {
        bench.take_in(&key(1, uid), b"x").await;
        let claims = bench.claim_in().await;
        bench.settle(claims[0].delivery, delivered()).await;
    };
    deliver(1).await;
    deliver(2).await;
    bench.hands.pass(3600);
    deliver(3).await;
    let hourly = |hours| bench.spool.delivered_hourly(Direction::In, hours).unwrap();
    assert_eq!(hourly(3), [0, 2, 1]);
    assert_eq!(hourly(1), [1]);
    assert_eq!(
        bench.spool.delivered_hourly(Direction::Out, 2).unwrap(),
        [0, 0]
    );
    bench.hands.pass(29 * 24 * 3600);
    assert_eq!(hourly(10_000).len(), 720);
    assert_eq!(hourly(720).iter().sum::<u64>(), 3);
    bench.hands.pass(2 * 24 * 3600);
    deliver(4).await;
    assert_eq!(hourly(720).iter().sum::<u64>(), 1);
    assert_eq!(bench.count("SELECT count(*) FROM hourly"), 1);
}

#[tokio::test]
async fn the_backlog_is_what_a_recount_finds_after_each_step_of_a_message() {
    let bench = Bench::new();
    let same = |waiting, held, unacknowledged, done| {
        let (recount, kept) = recounted(bench.dir.path());
        assert_eq!(recount, kept);
        let counts = bench.spool.counts(Direction::In, "support").unwrap();
        let wanted = Counts {
            waiting,
            held,
            unacknowledged,
            done,
        };
        assert_eq!(counts, wanted);
        let all = bench.spool.all_counts().unwrap();
        assert_eq!(all[&(Direction::In, "support".to_owned())], wanted);
    };
    bench.take_in(&key(1, 1), b"x").await;
    bench.take_in(&key(1, 2), b"y").await;
    same(2, 0, 0, 0);
    let claims = bench.claim_in().await;
    same(2, 0, 0, 0);
    bench.settle(claims[0].delivery, delivered()).await;
    same(1, 0, 1, 1);
    bench.spool.release(vec![claims[1].delivery]).await.unwrap();
    let message = claims[1].message;
    bench.spool.hold(vec![message], "a look").await.unwrap();
    same(0, 1, 1, 1);
    bench
        .spool
        .acknowledged(vec![claims[0].message])
        .await
        .unwrap();
    same(0, 1, 0, 1);
    bench.spool.release_held(vec![message]).await.unwrap();
    same(1, 0, 0, 1);
    bench.spool.delete(vec![message]).await.unwrap();
    same(0, 0, 0, 1);
}
