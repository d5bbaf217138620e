//! Order within a conversation, and what is done to everything that a relay has due.

use super::*;

impl Bench {
    /// A message of a conversation.
    async fn say(&self, conversation: Option<&str>, recipients: &[&str]) -> MessageId {
        let outgoing = Outgoing {
            sender: "desk@example.com".into(),
            relay: "relay".into(),
            recipients: recipients.iter().map(|r| (*r).into()).collect(),
            ret: None,
            envid: None,
            automatic: false,
            conversation: conversation.map(str::to_owned),
            smtputf8: false,
            eight_bit: true,
            headline: headline("out"),
            body: self.body(b"x", true).await,
        };
        self.spool.take_out(outgoing).await.unwrap()
    }

    async fn settle_due(&self, outcome: Outcome, limit: usize) -> usize {
        let policy = policy();
        let settled = self.spool.settle_due("relay", outcome, &policy, limit);
        settled.await.unwrap()
    }

    fn state(&self, message: MessageId) -> String {
        self.spool.show(message).unwrap().unwrap().row.state
    }

    fn due_in(&self) -> Option<u64> {
        let due = self.spool.next_due(Direction::Out, "relay").unwrap();
        due.map(|due| due.as_secs())
    }
}

fn messages(claims: &[OutClaim]) -> Vec<MessageId> {
    claims.iter().map(|claim| claim.message).collect()
}

fn only(claims: &[OutClaim]) -> DeliveryId {
    assert_eq!(claims.len(), 1);
    assert_eq!(claims[0].recipients.len(), 1);
    claims[0].recipients[0].delivery
}

#[tokio::test]
async fn a_later_message_waits_for_an_earlier_one_of_its_conversation_and_others_pass() {
    let bench = Bench::new();
    let first = bench.say(Some("c@x"), &["Ann@x.example"]).await;
    let delivery = only(&bench.claim_out().await);
    let second = bench
        .say(Some("c@x"), &["ann@x.example", "bob@x.example"])
        .await;
    let other = bench.say(Some("d@x"), &["ann@x.example"]).await;
    let none = bench.say(None, &["ann@x.example"]).await;

    // The first is on its way: its recipient's next message waits, everybody else's does not.
    let claims = bench.claim_out().await;
    assert_eq!(messages(&claims), [second, other, none]);
    let to: Vec<&str> = claims[0].recipients.iter().map(|r| &*r.address).collect();
    assert_eq!(to, ["bob@x.example"]);

    // It waits for a retry: the same, and nobody is woken for nothing.
    bench.settle(delivery, retry()).await;
    assert!(bench.claim_out().await.is_empty());
    let due = bench.due_in().unwrap();
    assert!((48..=72).contains(&due), "{due}");

    // Both are due: the first comes first, although it became due later.
    bench.hands.pass(80);
    let again = bench.claim_out().await;
    assert_eq!(messages(&again), [first]);
    bench.settle(only(&again), delivered()).await;
    assert_eq!(bench.due_in(), Some(0));
    assert_eq!(messages(&bench.claim_out().await), [second]);
}

/// A reader named twice, spelt differently, is two recipients of one message, and neither waits for the other.
#[tokio::test]
async fn a_message_does_not_wait_for_itself() {
    let bench = Bench::new();
    bench
        .say(Some("c@x"), &["ann@x.example", "Ann@X.example"])
        .await;
    let claims = bench.claim_out().await;
    assert_eq!(claims[0].recipients.len(), 2);
}

#[tokio::test]
async fn nobody_waits_for_what_is_held_or_was_taken_an_hour_ago() {
    let bench = Bench::new();
    bench.say(Some("c@x"), &["ann@x.example"]).await;
    let delivery = only(&bench.claim_out().await);
    bench.settle(delivery, retry()).await;
    let second = bench.say(Some("c@x"), &["ann@x.example"]).await;
    bench.hands.pass(3599);
    let delivery = only(&bench.claim_out().await);
    // Not due before tomorrow; one second later it is nobody's concern any more.
    let tomorrow = Outcome::Retry {
        why: "451 later".into(),
        after: Some(Duration::from_secs(86_400)),
    };
    bench.settle(delivery, tomorrow).await;
    assert!(bench.claim_out().await.is_empty());
    bench.hands.pass(1);
    assert_eq!(messages(&bench.claim_out().await), [second]);

    let bench = Bench::new();
    let first = bench.say(Some("c@x"), &["ann@x.example"]).await;
    let second = bench.say(Some("c@x"), &["ann@x.example"]).await;
    bench.spool.hold(vec![first], "").await.unwrap();
    assert_eq!(messages(&bench.claim_out().await), [second]);
}

#[tokio::test]
async fn time_in_which_the_account_was_blocked_ends_nobodys_patience() {
    let bench = Bench::new();
    let first = bench.say(Some("c@x"), &["ann@x.example"]).await;
    let second = bench.say(Some("c@x"), &["ann@x.example"]).await;
    assert_eq!(bench.settle_due(blocked(), 100).await, 2);
    bench.hands.pass(5 * 86_400);
    bench.spool.unblock(Direction::Out, "relay").await.unwrap();
    let claims = bench.claim_out().await;
    assert_eq!(messages(&claims), [first]);
    bench.settle(only(&claims), retry()).await;
    assert!(
        bench.claim_out().await.is_empty(),
        "the first still has time"
    );
    bench.hands.pass(100);
    let claims = bench.claim_out().await;
    bench.settle(only(&claims), delivered()).await;
    assert_eq!(messages(&bench.claim_out().await), [second]);
}

#[tokio::test]
async fn everything_due_is_settled_at_once_and_what_waits_for_its_turn_too() {
    let bench = Bench::new();
    let first = bench.say(Some("c@x"), &["ann@x.example"]).await;
    let second = bench.say(Some("c@x"), &["ann@x.example"]).await;
    let wished = bench.say(None, &["ann@x.example"]).await;
    let elsewhere = bench.take_out("other", &["a@x.example"], b"x").await;
    for expected in [2, 1, 0] {
        assert_eq!(bench.settle_due(blocked(), 2).await, expected);
    }
    for message in [first, second, wished] {
        let row = bench.spool.show(message).unwrap().unwrap().row;
        assert_eq!((row.state.as_str(), row.attempts), ("waiting", 0));
        assert_eq!(row.why, "535 consent is gone");
    }
    assert_eq!(bench.state(elsewhere), "due");

    // An outage counts: each has its own next try, until the relay is back.
    bench.spool.unblock(Direction::Out, "relay").await.unwrap();
    assert_eq!(bench.settle_due(retry(), 100).await, 3);
    assert_eq!(bench.spool.show(first).unwrap().unwrap().row.attempts, 1);
    assert!(bench.claim_out().await.is_empty());
    assert_eq!(bench.spool.hurry("relay").await.unwrap(), 3);
    assert_eq!(messages(&bench.claim_out().await), [first, wished]);
}

#[tokio::test]
async fn what_is_in_doubt_is_not_hurried() {
    let bench = Bench::new();
    bench.say(None, &["ann@x.example"]).await;
    let delivery = only(&bench.claim_out().await);
    bench.settle(delivery, in_doubt()).await;
    assert_eq!(bench.spool.hurry("relay").await.unwrap(), 0);
    assert_eq!(bench.due_in(), Some(900));
}

/// Twenty conversations, whatever becomes of each try, claimed by several at once: each recipient gets its messages in order.
#[tokio::test]
async fn whatever_fails_each_conversation_arrives_in_its_order() {
    let mut rng = fastrand::Rng::with_seed(7);
    for _ in 0..20 {
        let bench = Bench::new();
        let mut conversation = std::collections::HashMap::new();
        for n in 0..60 {
            let talk = format!("{}@x", rng.u8(..20));
            let message = bench.say(Some(&talk), &["ann@x.example"]).await;
            conversation.insert(message, (talk, n));
        }
        let mut arrived: std::collections::HashMap<String, usize> = Default::default();
        let mut in_hand: Vec<OutClaim> = Vec::new();
        let mut done = 0;
        while done < 60 {
            let limit = rng.usize(1..8);
            in_hand.extend(bench.spool.claim_out("relay", limit, LEASE).await.unwrap());
            rng.shuffle(&mut in_hand);
            match in_hand.pop() {
                // A third try works, so that nobody's patience ends.
                Some(claim) if claim.recipients[0].attempt > 2 || rng.u8(..3) > 0 => {
                    let (talk, n) = &conversation[&claim.message];
                    let before = arrived.insert(talk.clone(), *n);
                    assert!(before.is_none_or(|before| before < *n), "{talk}: {n}");
                    bench
                        .settle(claim.recipients[0].delivery, delivered())
                        .await;
                    done += 1;
                }
                Some(claim) => {
                    bench.settle(claim.recipients[0].delivery, retry()).await;
                }
                None => {}
            }
            bench.hands.pass(rng.u64(..3));
        }
    }
}

#[tokio::test]
async fn the_turn_of_a_message_costs_one_look_into_an_index() {
    let bench = Bench::new();
    bench.say(Some("c@x"), &["ann@x.example"]).await;
    let conn = rusqlite::Connection::open(bench.dir.path().join("spool.db")).unwrap();
    let sql = format!(
        "EXPLAIN QUERY PLAN SELECT message FROM delivery d WHERE direction = 'out' AND account = :relay AND due_at <= :now AND {} ORDER BY due_at, id",
        crate::thread::ITS_TURN
    );
    let mut statement = conn.prepare(&sql).unwrap();
    let named = rusqlite::named_params! {":relay": "relay", ":now": 1, ":patience": 1};
    let plan = statement.query_map(named, |row| row.get::<_, String>(3));
    let plan: Vec<String> = plan.unwrap().map(|line| line.unwrap()).collect();
    let plan = plan.join("\n");
    assert!(
        plan.contains("delivery_due") && plan.contains("delivery_thread"),
        "{plan}"
    );
    assert!(
        !plan.contains("SCAN") && !plan.contains("TEMP B-TREE"),
        "{plan}"
    );
}

#[tokio::test]
async fn what_left_in_the_last_minute_is_known_after_a_restart_each_message_once() {
    let bench = Bench::new();
    for recipients in [&["a@x.example"][..], &["b@x.example", "c@x.example"]] {
        bench.take_out("relay", recipients, b"x").await;
        for recipient in bench.claim_out().await.remove(0).recipients {
            bench.settle(recipient.delivery, delivered()).await;
        }
        bench.hands.pass(40);
    }
    let bench = bench.reopen();
    let sent = |seconds: &[u64]| -> Vec<Duration> {
        seconds.iter().copied().map(Duration::from_secs).collect()
    };
    assert_eq!(bench.spool.sent("relay").unwrap(), sent(&[39]));
    assert_eq!(bench.spool.sent("other").unwrap(), []);
    bench.hands.pass(22);
    assert_eq!(bench.spool.sent("relay").unwrap(), []);
}
