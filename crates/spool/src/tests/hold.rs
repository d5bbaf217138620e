//! What a person holds, and gives back.

use super::held::hold_one;
use super::*;

impl Bench {
    fn row(&self, message: MessageId) -> QueueRow {
        self.spool.show(message).unwrap().unwrap().row
    }

    async fn hold(&self, message: MessageId) -> u64 {
        self.spool.hold(vec![message], "ask Ann").await.unwrap()
    }
}

#[tokio::test]
async fn what_waits_is_held_with_the_persons_reason_and_its_last_one() {
    let bench = Bench::new();
    let message = bench
        .take_out("relay", &["a@x.example", "b@x.example"], b"x")
        .await;
    let claim = bench.claim_out().await.remove(0);
    bench.settle(claim.recipients[0].delivery, retry()).await;
    bench.settle(claim.recipients[1].delivery, blocked()).await;
    assert_eq!(bench.hold(message).await, 1);
    let row = bench.row(message);
    assert_eq!(
        (&row.state[..], row.next_seconds),
        ("held", None),
        "{row:#?}"
    );
    assert_eq!(row.why, "held by a person: ask Ann; before that: exit 75");
    bench.hands.pass(10 * 86_400);
    assert!(bench.claim_out().await.is_empty());
    assert_eq!(bench.hold(message).await, 0, "it is held already");
    assert_eq!(bench.spool.hold(vec![MessageId(99)], "").await.unwrap(), 0);
}

#[tokio::test]
async fn what_is_released_goes_on_where_it_was_and_its_clock_stood_still() {
    let bench = Bench::new();
    let message = bench.take_out("relay", &["a@x.example"], b"x").await;
    let delivery = bench.claim_out().await[0].recipients[0].delivery;
    bench.settle(delivery, retry()).await;
    bench.hold(message).await;
    // Longer than keep_trying.
    bench.hands.pass(20 * 86_400);
    assert_eq!(bench.spool.release_held(vec![message]).await.unwrap(), 1);
    let claim = bench.claim_out().await.remove(0);
    assert_eq!(claim.recipients[0].attempt, 2);
    bench.settle(delivery, retry()).await;
    assert_eq!(bench.row(message).state, "due", "its time is not over");
    assert_eq!(
        bench.spool.release_held(vec![message]).await.unwrap(),
        0,
        "it is not held"
    );
}

#[tokio::test]
async fn one_that_the_schedule_gave_up_gets_one_more_attempt_when_released() {
    let bench = Bench::new();
    let message = hold_one(&bench, 1, b"x").await;
    bench.spool.release_held(vec![message]).await.unwrap();
    let claim = bench.claim_in().await.remove(0);
    assert_eq!(claim.attempt, 2);
    bench.settle(claim.delivery, refused()).await;
    assert_eq!(bench.row(message).why, "refused 2 times, at last: 550 no");
}

#[tokio::test]
async fn what_is_on_its_way_is_held_when_its_attempt_has_failed_and_not_when_it_has_not() {
    let bench = Bench::new();
    let Taken::New(fails) = bench.take_in(&key(1, 1), b"fails").await else {
        panic!("it is new");
    };
    let Taken::New(passes) = bench.take_in(&key(1, 2), b"passes").await else {
        panic!("it is new");
    };
    let claims = bench.claim_in().await;
    assert_eq!(bench.hold(fails).await + bench.hold(passes).await, 2);
    let entry = bench.spool.show(fails).unwrap().unwrap();
    assert_eq!(entry.row.state, "claimed");
    assert_eq!(
        entry.deliveries[0].hold_wanted.as_deref(),
        Some("held by a person: ask Ann")
    );
    bench.settle(claims[0].delivery, retry()).await;
    bench.settle(claims[1].delivery, delivered()).await;
    let row = bench.row(fails);
    assert_eq!(
        (&row.state[..], &row.why[..]),
        (
            "held",
            "held by a person: ask Ann; its last attempt: exit 75"
        )
    );
    assert_eq!(bench.row(passes).state, "delivered");
    // The wish is fulfilled: a retry is a retry.
    bench.spool.retry(Some(vec![fails])).await.unwrap();
    let claim = bench.claim_in().await.remove(0);
    bench.settle(claim.delivery, retry()).await;
    assert_eq!(bench.row(fails).state, "due");
}

#[tokio::test]
async fn a_wish_to_hold_outlives_whoever_had_the_claim() {
    for ending in 0..4 {
        let bench = Bench::new();
        let message = bench.take_out("relay", &["a@x.example"], b"x").await;
        let delivery = bench.claim_out().await[0].recipients[0].delivery;
        bench.hold(message).await;
        let bench = match ending {
            0 => bench.reopen(),
            1 => {
                bench.spool.release(vec![delivery]).await.unwrap();
                bench
            }
            2 => {
                let released = bench.spool.release_account(Direction::Out, "relay").await;
                assert_eq!(released.unwrap(), 1);
                bench
            }
            _ => {
                bench.hands.pass(3_600);
                bench
            }
        };
        assert!(bench.claim_out().await.is_empty(), "{ending}");
        let row = bench.row(message);
        assert_eq!(
            (&row.state[..], &row.why[..]),
            ("held", "held by a person: ask Ann"),
            "{ending}"
        );
        assert_eq!(bench.spool.held_report().unwrap()[0].count, 1);
        assert_eq!(bench.spool.next_due(Direction::Out, "relay").unwrap(), None);
    }
}

#[tokio::test]
async fn a_wish_to_hold_can_be_taken_back() {
    let bench = Bench::new();
    let message = bench.take_out("relay", &["a@x.example"], b"x").await;
    let delivery = bench.claim_out().await[0].recipients[0].delivery;
    bench.hold(message).await;
    assert_eq!(bench.spool.release_held(vec![message]).await.unwrap(), 1);
    bench.settle(delivery, retry()).await;
    assert_eq!(bench.row(message).state, "due");
}

#[tokio::test]
async fn a_person_may_choose_very_many_and_mail_does_not_wait_for_all_of_them() {
    let bench = Bench::new();
    let mut messages = Vec::new();
    for _ in 0..600 {
        messages.push(bench.take_out("relay", &["a@x.example"], b"x").await);
    }
    let accounts = bench.spool.accounts_of(&messages).unwrap();
    assert_eq!(accounts, [(Direction::Out, "relay".to_owned())]);
    let before = bench.spool.commits();
    assert_eq!(bench.spool.hold(messages.clone(), "").await.unwrap(), 600);
    assert!(
        bench.spool.commits() - before >= 3,
        "in steps, with room for others in between"
    );
    assert_eq!(bench.spool.retry(None).await.unwrap(), 600);
    assert_eq!(bench.spool.delete(messages).await.unwrap(), 600);
    assert!(bench.spool.queue(None).unwrap().is_empty());
}
