//! The queue, and what a person does with it.

use super::*;

#[tokio::test]
async fn the_queue_shows_what_needs_attention_first_of_each_message() {
    let bench = Bench::new();
    let message = bench
        .take_out("relay", &["a@x.example", "b@x.example"], b"xyz")
        .await;
    let claim = bench.claim_out().await.remove(0);
    bench.settle(claim.recipients[0].delivery, retry()).await;
    let once = Policy {
        refusals: 1,
        ..policy()
    };
    bench
        .spool
        .settle(
            claim.recipients[1].delivery,
            refused(),
            Some("RCPT: 550".into()),
            &once,
        )
        .await
        .unwrap();
    bench.hands.pass(10);
    let queue = bench.spool.queue(Some(Direction::Out)).unwrap();
    assert_eq!(queue.len(), 1);
    let row = &queue[0];
    assert_eq!(
        (row.id, &row.direction[..], &row.account[..]),
        (message.0, "out", "relay")
    );
    assert_eq!((&row.state[..], &row.why[..]), ("held", "refused: 550 no"));
    assert_eq!(row.to, ["a@x.example", "b@x.example"]);
    assert_eq!((row.size, row.attempts, row.age_seconds), (3, 1, 10));
    assert!(
        (38..=62).contains(&row.next_seconds.unwrap()),
        "{:?}",
        row.next_seconds
    );
    assert!(bench.spool.queue(Some(Direction::In)).unwrap().is_empty());

    let entry = bench.spool.show(message).unwrap().unwrap();
    assert_eq!(entry.message_id, "<1@example.net>");
    assert_eq!(
        entry.sha256,
        "3608bca1e44ea6c4d268eb6db02260269892c0b42b86bbf1e77a6fa16c3c9282"
    );
    assert_eq!(entry.deliveries[1].output.as_deref(), Some("RCPT: 550"));
    assert_eq!(entry.deliveries[0].state, "due");
    assert_eq!(
        bench.spool.message_headline(message).unwrap().unwrap(),
        headline("out")
    );
    let counts = bench.spool.counts(Direction::Out, "relay").unwrap();
    assert_eq!((counts.waiting, counts.held, counts.done), (1, 1, 0));
}

#[tokio::test]
async fn a_retried_held_message_starts_anew() {
    let bench = Bench::new();
    let Taken::New(message) = bench.take_in(&key(1, 1), b"x").await else {
        panic!("it is new");
    };
    for _ in 0..2 {
        let claim = bench.claim_in().await.remove(0);
        bench.settle(claim.delivery, refused()).await;
        bench.hands.pass(6 * 86_400);
    }
    assert_eq!(
        bench.spool.show(message).unwrap().unwrap().row.state,
        "held"
    );
    assert_eq!(
        bench
            .spool
            .retry(Some(vec![message, message, MessageId(99)]))
            .await
            .unwrap(),
        1
    );
    let claim = bench.claim_in().await.remove(0);
    assert_eq!(claim.attempt, 1);
    // Older than keep_trying, but not since the retry.
    bench.settle(claim.delivery, retry()).await;
    assert_eq!(bench.spool.show(message).unwrap().unwrap().row.state, "due");
    assert_eq!(
        bench.spool.retry(None).await.unwrap(),
        1,
        "due later becomes due now"
    );
    assert_eq!(bench.claim_in().await[0].attempt, 2, "its attempts go on");
    assert_eq!(
        bench.spool.retry(None).await.unwrap(),
        0,
        "claimed is left alone"
    );
}

#[tokio::test]
async fn a_deleted_message_is_gone_and_its_key_stays() {
    let bench = Bench::new();
    let Taken::New(message) = bench.take_in(&key(1, 1), &large(1)).await else {
        panic!("it is new");
    };
    let claim = bench.claim_in().await.remove(0);
    assert_eq!(
        bench.spool.delete(vec![message]).await.unwrap(),
        0,
        "it is being delivered"
    );
    bench.settle(claim.delivery, retry()).await;
    assert_eq!(
        bench
            .spool
            .delete(vec![message, message, MessageId(99)])
            .await
            .unwrap(),
        1
    );
    assert!(bench.spool.show(message).unwrap().is_none());
    assert!(
        bench
            .spool
            .unknown("support", "INBOX", 1, &[1])
            .unwrap()
            .is_empty()
    );
    let late = bench
        .spool
        .settle(claim.delivery, delivered(), None, &policy())
        .await;
    assert!(matches!(late, Err(SpoolError::NotClaimed(_))));
}

#[tokio::test]
async fn acknowledging_what_is_not_delivered_loses_nothing() {
    let bench = Bench::new();
    let Taken::New(message) = bench.take_in(&key(1, 1), b"x").await else {
        panic!("it is new");
    };
    bench
        .spool
        .acknowledged(vec![message, MessageId(99)])
        .await
        .unwrap();
    assert_eq!(bench.claim_in().await.len(), 1);
}

#[tokio::test]
async fn an_id_is_never_given_twice() {
    let bench = Bench::new();
    let first = bench.take_out("relay", &["a@x.example"], b"x").await;
    let delivery = bench.claim_out().await[0].recipients[0].delivery;
    bench.settle(delivery, delivered()).await;
    let bench = bench.reopen();
    let second = bench.take_out("relay", &["a@x.example"], b"x").await;
    assert!(second > first);
    assert!(bench.claim_out().await[0].recipients[0].delivery > delivery);
}

#[tokio::test]
async fn the_disks_free_space_is_told_in_bytes() {
    let bench = Bench::new();
    assert!(bench.spool.free_bytes().unwrap() > 1_000_000);
}
