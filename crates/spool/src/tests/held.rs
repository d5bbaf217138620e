//! What waits for a person: since when, how much, why.

use super::*;

/// Takes a message in and has it refused until it is held.
pub(super) async fn hold_one(bench: &Bench, uid: u32, bytes: &[u8]) -> MessageId {
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

#[tokio::test]
async fn our_own_notice_that_is_held_is_counted_and_not_told_of_again() {
    let bench = Bench::new();
    let own = Own::new(OwnKind::Notice);
    let incoming = Incoming {
        key: key(1, 1),
        headline: headline("held mail"),
        provider_id: None,
        marks: Marks {
            hold: Some("a loop".into()),
            own: Some(own),
        },
        body: bench.body(b"x", false).await,
    };
    bench.spool.take_in(incoming).await.unwrap();
    let report = bench.spool.held_report().unwrap().remove(0);
    assert_eq!((report.count, report.newest_at), (1, 0));
    hold_one(&bench, 2, b"x").await;
    let report = bench.spool.held_report().unwrap().remove(0);
    assert_eq!((report.count, report.newest_at), (2, START as i64));
}

const KEEPING: Keeping = Keeping {
    held_for: Duration::from_secs(30 * 86_400),
    max_held: 1_000_000,
};

#[tokio::test]
async fn a_body_over_its_time_is_given_up_and_the_message_stays_and_comes_again_when_retried() {
    let bench = Bench::new();
    let over = |bench: &Bench| {
        bench
            .spool
            .over_time("support", "INBOX", 1, &KEEPING)
            .unwrap()
    };
    let old = hold_one(&bench, 1, &large(1)).await;
    bench.hands.pass(29 * 86_400);
    let young = hold_one(&bench, 2, b"young").await;
    assert_eq!(over(&bench), []);
    bench.hands.pass(86_400);
    assert_eq!(over(&bench), [(old, 1)]);
    bench.spool.give_up(vec![old, young]).await.unwrap();
    let bench = bench.reopen();
    assert_eq!(over(&bench), []);
    assert!(bench.files().is_empty());
    let entry = bench.spool.show(old).unwrap().unwrap();
    assert_eq!((&entry.row.state[..], entry.kept), ("held", false));
    assert!(entry.row.why.contains("a retry fetches it"), "{entry:#?}");
    let report = bench.spool.held_report().unwrap().remove(0);
    assert_eq!(
        (report.count, report.bytes, report.oldest_body_at),
        (2, 0, None)
    );
    bench.spool.retry(Some(vec![old])).await.unwrap();
    assert_eq!(
        bench.spool.unknown("support", "INBOX", 1, &[1, 2]).unwrap(),
        [1]
    );
}

#[tokio::test]
async fn what_is_too_much_goes_oldest_first_and_what_is_not_held_any_more_stays() {
    let bench = Bench::new();
    let mut held = Vec::new();
    for uid in 1..=4 {
        held.push((hold_one(&bench, uid, &large(uid as u8)).await, uid));
        bench.hands.pass(10);
    }
    let over = |bench: &Bench, uidvalidity| {
        bench
            .spool
            .over_time("support", "INBOX", uidvalidity, &KEEPING)
            .unwrap()
    };
    assert_eq!(over(&bench, 1), held[..2]);
    assert_eq!(over(&bench, 2), [], "a UID of another time names nothing");
    // A person was faster.
    bench.spool.retry(Some(vec![held[0].0])).await.unwrap();
    bench.spool.give_up(vec![held[0].0]).await.unwrap();
    assert_eq!(bench.read(held[0].0).await, large(1));
}

#[tokio::test]
async fn what_was_moved_out_of_the_way_is_kept_here_and_needs_no_acknowledgement() {
    let bench = Bench::new();
    let message = hold_one(&bench, 1, &large(1)).await;
    let aside = |bench: &Bench| bench.spool.to_move_aside("support", "INBOX", 1).unwrap();
    assert_eq!(aside(&bench), [(message, 1)]);
    bench.spool.moved_aside(vec![message]).await.unwrap();
    assert_eq!(aside(&bench), []);
    bench.hands.pass(60 * 86_400);
    let over = bench.spool.over_time("support", "INBOX", 1, &KEEPING);
    assert_eq!(
        over.unwrap(),
        [],
        "no session can see it in its folder any more"
    );
    bench.spool.give_up(vec![message]).await.unwrap();
    bench.spool.retry(None).await.unwrap();
    let claim = bench.claim_in().await.remove(0);
    assert_eq!(bench.read(message).await, large(1));
    bench.settle(claim.delivery, delivered()).await;
    assert!(bench.spool.show(message).unwrap().is_none());
    assert_eq!(
        bench.spool.unknown("support", "INBOX", 1, &[1]).unwrap(),
        []
    );
}
