//! What waits for a person: since when, how much, why.

use super::*;

/// Takes a message in and has it refused until it is held.
async fn hold_one(bench: &Bench, uid: u32, bytes: &[u8]) -> MessageId {
    let Taken::New(message) = bench.take_in(&key(1, uid), bytes).await else {
        panic!("it is new");
    };
    let once = Policy {
        refusals: 1,
        ..policy()
    };
    for claim in bench.claim_in().await {
        bench
            .spool
            .settle(claim.delivery, refused(), None, &once)
            .await
            .unwrap();
    }
    message
}

#[tokio::test]
async fn the_report_tells_of_each_account_how_much_is_held_since_when_and_why() {
    let bench = Bench::new();
    assert_eq!(bench.spool.held_report().unwrap(), []);
    hold_one(&bench, 1, b"first").await;
    bench.hands.pass(100);
    hold_one(&bench, 2, &large(1)).await;
    bench.hands.pass(5);
    let huge = Unfetchable {
        key: key(1, 3),
        headline: headline("huge"),
        size: 1 << 40,
        why: "larger than max_size".into(),
    };
    bench.spool.hold_unfetched(huge).await.unwrap();
    bench.take_in(&key(1, 4), b"not held").await;
    let out = bench
        .take_out("relay", &["a@x.example", "b@x.example"], b"xyz")
        .await;
    for recipient in &bench.claim_out().await[0].recipients {
        for _ in 0..2 {
            bench.settle(recipient.delivery, refused()).await;
            bench.hands.pass(100);
            bench.claim_out().await;
        }
    }
    assert_eq!(bench.spool.show(out).unwrap().unwrap().row.state, "held");

    let reports = bench.spool.held_report().unwrap();
    let [inbound, outbound] = &reports[..] else {
        panic!("two accounts: {reports:#?}");
    };
    let start = START as i64;
    assert_eq!(
        (inbound.direction, &inbound.account[..]),
        (Direction::In, "support")
    );
    assert_eq!((inbound.count, inbound.bytes), (3, 5 + 400_000));
    assert_eq!((inbound.oldest_at, inbound.newest_at), (start, start + 105));
    assert_eq!(inbound.newest, headline("huge"));
    assert_eq!(inbound.last_error, "larger than max_size");
    assert_eq!(
        (outbound.direction, &outbound.account[..]),
        (Direction::Out, "relay")
    );
    assert_eq!(
        (outbound.count, outbound.bytes),
        (1, 3),
        "two recipients, one message"
    );
    assert_eq!(outbound.last_error, "refused 2 times, at last: 550 no");
}

#[tokio::test]
async fn what_is_retried_is_held_no_more_and_a_clock_that_is_set_changes_no_age() {
    let bench = Bench::new();
    let message = hold_one(&bench, 1, b"x").await;
    bench.hands.pass(50);
    bench.hands.set_by(-10_000);
    bench.take_in(&key(1, 2), b"y").await;
    let report = bench.spool.held_report().unwrap().remove(0);
    assert_eq!(report.oldest_at, START as i64 - 10_000);
    bench.spool.retry(Some(vec![message])).await.unwrap();
    assert_eq!(bench.spool.held_report().unwrap(), []);
}
