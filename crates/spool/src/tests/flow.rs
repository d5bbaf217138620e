//! One message's way through the spool, in both directions.

use super::*;

#[tokio::test]
async fn an_inbound_message_is_claimed_delivered_acknowledged_and_its_key_stays() {
    let bench = Bench::new();
    let Taken::New(message) = bench.take_in(&key(7, 1), b"hello\r\n").await else {
        panic!("it is new");
    };
    assert_eq!(bench.spool.undelivered("support").unwrap(), 1);

    let claims = bench.claim_in().await;
    assert_eq!(claims.len(), 1);
    let claim = &claims[0];
    assert_eq!((claim.message, claim.attempt), (message, 1));
    assert_eq!((claim.size, &claim.key), (7, &Some(key(7, 1))));
    assert_eq!(claim.sha256, sha(b"hello\r\n"));
    assert_eq!(bench.read(message).await, b"hello\r\n");
    assert!(bench.claim_in().await.is_empty(), "a lease has one holder");

    bench.settle(claim.delivery, delivered()).await;
    assert_eq!(bench.spool.undelivered("support").unwrap(), 0);
    let waiting = bench.spool.to_acknowledge("support", "INBOX", 7).unwrap();
    assert_eq!(waiting, [(message, 1)]);

    bench.spool.acknowledged(vec![message]).await.unwrap();
    assert!(bench.spool.queue(None).unwrap().is_empty());
    assert_eq!(bench.count("SELECT count(*) FROM body"), 0);
    let unknown = bench.spool.unknown("support", "INBOX", 7, &[1, 2]).unwrap();
    assert_eq!(unknown, [2]);
    assert_eq!(bench.take_in(&key(7, 1), b"hello\r\n").await, Taken::Known);
    let counts = bench.spool.counts(Direction::In, "support").unwrap();
    assert_eq!(
        counts,
        Counts {
            done: 1,
            ..Counts::default()
        }
    );
}

#[tokio::test]
async fn an_outbound_message_goes_with_its_last_recipient() {
    let bench = Bench::new();
    let message = bench
        .take_out(
            "relay",
            &["a@x.example", "b@x.example", "a@x.example"],
            b"hi",
        )
        .await;
    let claims = bench.claim_out().await;
    let [claim] = &claims[..] else {
        panic!("one message, one claim: {claims:?}");
    };
    let addresses: Vec<_> = claim.recipients.iter().map(|r| &r.address[..]).collect();
    assert_eq!(
        addresses,
        ["a@x.example", "b@x.example"],
        "an exact repeat counts once"
    );
    assert_eq!(
        (claim.message, claim.eight_bit, claim.smtputf8),
        (message, true, false)
    );
    assert_eq!(claim.sha256, sha(b"hi"));

    bench
        .settle(claim.recipients[0].delivery, delivered())
        .await;
    bench.settle(claim.recipients[1].delivery, retry()).await;
    assert!(bench.spool.show(message).unwrap().is_some());

    bench.hands.pass(100);
    let again = bench.claim_out().await;
    assert_eq!(
        again[0].recipients.len(),
        1,
        "the delivered one is not sent again"
    );
    assert_eq!(again[0].recipients[0].attempt, 2);
    bench
        .settle(again[0].recipients[0].delivery, delivered())
        .await;
    assert!(bench.spool.show(message).unwrap().is_none());
    assert_eq!(bench.spool.counts(Direction::Out, "relay").unwrap().done, 2);
}

#[tokio::test]
async fn claims_come_oldest_first_and_within_their_limit() {
    let bench = Bench::new();
    for uid in 1..=5 {
        bench
            .take_in(&key(1, uid), format!("{uid}").as_bytes())
            .await;
        bench
            .take_out("relay", &["a@x.example", "b@x.example"], b"x")
            .await;
        bench.hands.pass(1);
    }
    let uids = |claims: Vec<InClaim>| {
        claims
            .iter()
            .map(|c| c.key.as_ref().unwrap().uid)
            .collect::<Vec<_>>()
    };
    let first = bench.spool.claim_in("support", 2, LEASE).await.unwrap();
    bench.settle(first[0].delivery, retry()).await;
    bench.spool.release(vec![first[1].delivery]).await.unwrap();
    assert_eq!(
        uids(bench.spool.claim_in("support", 2, LEASE).await.unwrap()),
        [2, 3]
    );
    bench.hands.pass(100);
    assert_eq!(
        uids(bench.claim_in().await),
        [4, 5, 1],
        "the failed one waits its turn"
    );

    let two = bench.spool.claim_out("relay", 2, LEASE).await.unwrap();
    assert_eq!(
        two.iter().map(|c| c.recipients.len()).collect::<Vec<_>>(),
        [2, 2]
    );
    assert_eq!(bench.claim_out().await.len(), 3);
}

#[tokio::test]
async fn an_ended_lease_is_due_again_and_a_late_outcome_changes_nothing() {
    let bench = Bench::new();
    bench.take_in(&key(1, 1), b"x").await;
    let lost = bench.claim_in().await.remove(0);
    let due = bench.spool.next_due(Direction::In, "support").unwrap();
    assert_eq!(due, Some(LEASE));
    bench.hands.pass(599);
    assert!(bench.claim_in().await.is_empty());
    bench
        .spool
        .extend(vec![lost.delivery], LEASE)
        .await
        .unwrap();
    bench.hands.pass(599);
    assert!(bench.claim_in().await.is_empty(), "an extended lease holds");
    bench.hands.pass(1);
    let second = bench.claim_in().await.remove(0);
    assert_eq!((second.delivery, second.attempt), (lost.delivery, 2));
    bench.settle(second.delivery, delivered()).await;

    let late = bench
        .spool
        .settle(lost.delivery, retry(), None, &policy())
        .await;
    assert!(matches!(late, Err(SpoolError::NotClaimed(id)) if id == lost.delivery));
    let waiting = bench.spool.to_acknowledge("support", "INBOX", 1).unwrap();
    assert_eq!(waiting.len(), 1, "it is still delivered");
}

#[tokio::test]
async fn a_released_claim_has_not_been_tried() {
    let bench = Bench::new();
    bench.take_in(&key(1, 1), b"x").await;
    let claim = bench.claim_in().await.remove(0);
    bench.spool.release(vec![claim.delivery]).await.unwrap();
    assert_eq!(bench.claim_in().await[0].attempt, 1);
}

#[tokio::test]
async fn a_claim_whose_caller_went_away_is_put_back() {
    let bench = Bench::new();
    bench.take_in(&key(1, 1), b"x").await;
    // Polled once, so that the claim is queued, and then dropped, as a select! would.
    let mut claim = Box::pin(bench.spool.claim_in("support", 1, LEASE));
    let queued = std::future::poll_fn(|cx| std::task::Poll::Ready(claim.as_mut().poll(cx))).await;
    assert!(queued.is_pending());
    drop(claim);
    // The writer claims, finds nobody, and releases: then the next claim is a first attempt.
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    let claims = loop {
        let claims = bench.claim_in().await;
        if !claims.is_empty() || std::time::Instant::now() > deadline {
            break claims;
        }
    };
    assert_eq!(claims[0].attempt, 1);
}

#[tokio::test]
async fn outcomes_end_as_the_schedule_says_and_keep_their_reason() {
    let bench = Bench::new();
    let message = bench.take_out("relay", &["a@x.example"], b"x").await;
    let delivery = bench.claim_out().await[0].recipients[0].delivery;
    bench.settle(delivery, in_doubt()).await;
    let due = bench.spool.next_due(Direction::Out, "relay").unwrap();
    assert_eq!(due, Some(Duration::from_secs(900)));
    bench.hands.pass(900);
    bench.claim_out().await;
    let output = format!("{}the end", "ä".repeat(70_000));
    bench
        .spool
        .settle(delivery, in_doubt(), Some(output), &policy())
        .await
        .unwrap();
    let entry = bench.spool.show(message).unwrap().unwrap();
    assert_eq!(entry.row.state, "held");
    assert!(
        entry.row.why.starts_with("in doubt twice"),
        "{}",
        entry.row.why
    );
    let kept = entry.deliveries[0].output.as_deref().unwrap();
    assert!(kept.len() <= 65_536 && kept.ends_with("äthe end"));
    assert_eq!(bench.spool.next_due(Direction::Out, "relay").unwrap(), None);
}

#[tokio::test]
async fn refusals_of_a_command_are_counted_across_restarts() {
    let mut bench = Bench::new();
    let Taken::New(message) = bench.take_in(&key(1, 1), b"x").await else {
        panic!("it is new");
    };
    for expected in ["due", "held"] {
        let claim = bench.claim_in().await.remove(0);
        bench.settle(claim.delivery, refused()).await;
        assert_eq!(
            bench.spool.show(message).unwrap().unwrap().row.state,
            expected
        );
        bench.hands.pass(3600);
        bench = bench.reopen();
    }
    assert!(
        bench.claim_in().await.is_empty(),
        "held mail waits for a person"
    );
}

#[tokio::test]
async fn a_blocked_account_stops_attempts_and_the_retry_clock() {
    let bench = Bench::new();
    let message = bench.take_out("relay", &["a@x.example"], b"x").await;
    // Blocked for 20 days, looked at daily: far longer than keep_trying.
    for _ in 0..20 {
        let claims = bench.claim_out().await;
        assert_eq!(claims[0].recipients[0].attempt, 1, "no attempt is counted");
        bench
            .settle(claims[0].recipients[0].delivery, blocked())
            .await;
        assert_eq!(
            bench.spool.show(message).unwrap().unwrap().row.state,
            "waiting"
        );
        bench.hands.pass(86_400);
    }
    let claims = bench.claim_out().await;
    bench
        .settle(claims[0].recipients[0].delivery, retry())
        .await;
    assert_eq!(bench.spool.show(message).unwrap().unwrap().row.state, "due");
    // Now it counts: five days later it is held.
    bench.hands.pass(5 * 86_400);
    let claims = bench.claim_out().await;
    bench
        .settle(claims[0].recipients[0].delivery, retry())
        .await;
    assert_eq!(
        bench.spool.show(message).unwrap().unwrap().row.state,
        "held"
    );
}

#[tokio::test]
async fn mail_blocked_for_thirty_days_is_held() {
    let bench = Bench::new();
    let message = bench.take_out("relay", &["a@x.example"], b"x").await;
    for _ in 0..2 {
        let claims = bench.claim_out().await;
        bench
            .settle(claims[0].recipients[0].delivery, blocked())
            .await;
        bench.hands.pass(30 * 86_400);
    }
    let row = bench.spool.show(message).unwrap().unwrap().row;
    assert_eq!(row.state, "held");
    assert_eq!(
        row.why,
        "its account could not work for 30 d: 535 consent is gone"
    );
}

#[tokio::test]
async fn mail_flows_at_once_when_its_account_works_again() {
    let bench = Bench::new();
    bench.take_out("relay", &["a@x.example"], b"x").await;
    let claims = bench.claim_out().await;
    bench
        .settle(claims[0].recipients[0].delivery, blocked())
        .await;
    assert!(bench.claim_out().await.is_empty());
    assert_eq!(
        bench.spool.unblock(Direction::Out, "relay").await.unwrap(),
        1
    );
    assert_eq!(bench.claim_out().await.len(), 1);
}

#[tokio::test]
async fn a_clock_set_back_delays_nothing_and_one_set_ahead_ages_nothing() {
    for set in [-86_400 * 365, 86_400 * 365] {
        let bench = Bench::new();
        let Taken::New(message) = bench.take_in(&key(1, 1), b"x").await else {
            panic!("it is new");
        };
        let claim = bench.claim_in().await.remove(0);
        bench.settle(claim.delivery, retry()).await;
        bench.hands.set_by(set);
        // Anything written makes the writer look at the clock.
        bench.take_in(&key(1, 2), b"y").await;
        let due = bench.spool.next_due(Direction::In, "support").unwrap();
        assert!(due.unwrap() <= Duration::from_secs(72), "{due:?}");
        bench.hands.pass(72);
        let again = bench.claim_in().await;
        let claim = again.iter().find(|c| c.message == message).unwrap();
        bench.settle(claim.delivery, retry()).await;
        let row = bench.spool.show(message).unwrap().unwrap().row;
        assert_eq!((&row.state[..], row.attempts), ("due", 2));
        assert!((0..=300).contains(&row.age_seconds), "{}", row.age_seconds);
    }
}

#[tokio::test]
async fn a_clock_set_back_between_two_processes_delays_nothing() {
    let bench = Bench::new();
    bench.take_in(&key(1, 1), b"x").await;
    bench.hands.set_by(-86_400);
    let bench = bench.reopen();
    assert_eq!(bench.claim_in().await.len(), 1);
}

#[tokio::test]
async fn every_waiter_of_an_account_gets_the_hint_also_when_it_was_busy() {
    let bench = Bench::new();
    let deliverer = bench.spool.hint(Direction::In, "support");
    let session = bench.spool.hint(Direction::In, "support");
    let other = bench.spool.hint(Direction::In, "sales");
    bench.take_in(&key(1, 1), b"x").await;
    let deadline = Duration::from_secs(10);
    tokio::time::timeout(deadline, deliverer.notified())
        .await
        .unwrap();
    tokio::time::timeout(deadline, session.notified())
        .await
        .unwrap();
    let quiet = tokio::time::timeout(Duration::ZERO, other.notified()).await;
    assert!(quiet.is_err(), "another account's loop sleeps on");
}

fn sha(bytes: &[u8]) -> [u8; 32] {
    use sha2::Digest;
    sha2::Sha256::digest(bytes).into()
}

#[tokio::test]
async fn a_clock_set_ahead_ends_no_lease_and_time_does() {
    let bench = Bench::new();
    bench.take_in(&key(1, 1), b"m").await;
    assert_eq!(bench.claim_in().await.len(), 1);
    bench.hands.set_by(86_400);
    assert!(
        bench.claim_in().await.is_empty(),
        "its command runs still: it would get the message twice at a time"
    );
    bench.hands.pass(LEASE.as_secs() + 1);
    assert_eq!(bench.claim_in().await.len(), 1);
}

#[tokio::test]
async fn what_a_dead_claimant_left_is_put_back_for_this_account_and_direction_alone() {
    let bench = Bench::new();
    bench.take_in(&key(1, 1), b"m").await;
    bench.take_out("relay", &["a@example.net"], b"o").await;
    assert_eq!(bench.claim_in().await.len(), 1);
    assert_eq!(bench.claim_out().await.len(), 1);
    let release = async |direction, account| {
        let released = bench.spool.release_account(direction, account).await;
        released.unwrap()
    };
    assert_eq!(release(Direction::In, "other").await, 0);
    assert_eq!(release(Direction::Out, "support").await, 0);
    assert!(bench.claim_in().await.is_empty());

    assert_eq!(release(Direction::In, "support").await, 1);
    let again = bench.claim_in().await;
    assert_eq!(again[0].attempt, 2, "the attempt stays counted");

    assert_eq!(release(Direction::Out, "relay").await, 1);
    assert!(
        bench.claim_out().await.is_empty(),
        "the relay may still have it on a dead connection"
    );
    bench.hands.pass(5);
    assert_eq!(bench.claim_out().await.len(), 1);
}
