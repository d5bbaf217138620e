//! Bounces and notices of our own: to the ticket command once, and no further.

use super::*;

impl Bench {
    async fn take_in_local(&self, own: &Own, bytes: &[u8]) -> MessageId {
        let local = Local {
            mailbox: "support".into(),
            own: own.clone(),
            headline: headline("own"),
            body: self.body(bytes, true).await,
        };
        self.spool.take_in_local(local).await.unwrap()
    }

    /// A message that came through the mailbox, with what its header tells.
    async fn take_in_marked(&self, key: &Key, marks: Marks) -> Taken {
        let incoming = Incoming {
            key: key.clone(),
            headline: headline("own"),
            provider_id: None,
            marks,
            body: self.body(b"a bounce", false).await,
        };
        self.spool.take_in(incoming).await.unwrap()
    }
}

fn ours(own: &Own) -> Marks {
    Marks {
        own: Some(own.clone()),
        hold: None,
    }
}

#[tokio::test]
async fn a_bounce_of_our_own_is_delivered_like_the_rest_and_then_gone() {
    let bench = Bench::new();
    bench.take_in(&key(1, 1), b"before").await;
    let own = Own::new(OwnKind::Bounce);
    let message = bench.take_in_local(&own, &large(1)).await;
    let bench = bench.reopen();
    let claims = bench.claim_in().await;
    assert_eq!(claims[1].message, message, "in its turn");
    assert_eq!(claims[1].key, None);
    assert_eq!(bench.read(message).await, large(1));
    bench.settle(claims[1].delivery, retry()).await;
    bench.hands.pass(100);
    let claim = bench.claim_in().await.remove(0);
    assert_eq!((claim.message, claim.attempt), (message, 2));
    bench.settle(claim.delivery, delivered()).await;
    assert!(bench.spool.show(message).unwrap().is_none());
    let bench = bench.reopen();
    assert!(bench.files().is_empty());
    let counts = bench.spool.counts(Direction::In, "support").unwrap();
    assert_eq!((counts.done, counts.unacknowledged), (1, 0));
}

#[tokio::test]
async fn what_comes_back_of_our_own_is_held_and_says_that_it_is_a_loop() {
    let bench = Bench::new();
    let own = Own::new(OwnKind::Bounce);
    bench.take_in_local(&own, b"a bounce").await;
    let delivery = bench.claim_in().await[0].delivery;
    bench.settle(delivery, delivered()).await;
    for uid in 1..=3 {
        let taken = bench.take_in_marked(&key(1, uid), ours(&own)).await;
        assert!(matches!(taken, Taken::New(_)));
    }
    assert!(bench.claim_in().await.is_empty());
    let queue = bench.spool.queue(None).unwrap();
    assert_eq!(queue.len(), 3);
    assert!(
        queue
            .iter()
            .all(|row| row.state == "held" && row.why.contains("a loop")),
        "{queue:#?}"
    );
    // A person may have it delivered all the same.
    let first = MessageId(queue[0].id);
    bench.spool.retry(Some(vec![first])).await.unwrap();
    assert_eq!(bench.claim_in().await.len(), 1);
}

#[tokio::test]
async fn a_bounce_that_first_comes_through_the_mailbox_is_let_through_once() {
    let bench = Bench::new();
    let own = Own::new(OwnKind::Notice);
    bench.take_in_marked(&key(1, 1), ours(&own)).await;
    bench.take_in_marked(&key(1, 2), ours(&own)).await;
    let sales = Key {
        mailbox: "sales".into(),
        ..key(1, 1)
    };
    bench.take_in_marked(&sales, ours(&own)).await;
    assert_eq!(bench.claim_in().await.len(), 1);
    let other = bench.spool.claim_in("sales", 9, LEASE).await.unwrap();
    assert_eq!(other.len(), 1, "another mailbox has not seen it");
}

#[tokio::test]
async fn a_message_in_a_loop_is_held_at_once_with_its_reason() {
    let bench = Bench::new();
    let marks = Marks {
        hold: Some("it passed 51 servers".into()),
        own: None,
    };
    bench.take_in_marked(&key(1, 1), marks).await;
    assert!(bench.claim_in().await.is_empty());
    let row = bench.spool.queue(None).unwrap().remove(0);
    assert_eq!(
        (&row.state[..], &row.why[..]),
        ("held", "it passed 51 servers")
    );
}

#[tokio::test]
async fn only_this_installations_own_mail_is_known_by_its_header() {
    let bench = Bench::new();
    let own = Own::new(OwnKind::Bounce);
    let origin = bench.spool.origin(&own);
    assert_eq!(bench.spool.own(&origin), Some(own.clone()));
    assert_eq!(bench.reopen().spool.own(&origin), Some(own));
    let other = Bench::new();
    assert_eq!(other.spool.own(&origin), None);
    let instance = origin.split(';').next().unwrap();
    for nonsense in [
        String::new(),
        instance.to_owned(),
        format!("{instance}; bounce"),
        format!("{instance}; ticket; 0123456789abcdef"),
        format!("{instance}; bounce; 0123"),
        format!("{origin}; more"),
    ] {
        assert_eq!(other.spool.own(&nonsense), None, "{nonsense}");
    }
}

#[tokio::test]
async fn a_message_of_our_own_must_be_on_disk_before_it_is_taken() {
    let bench = Bench::new();
    let local = Local {
        mailbox: "support".into(),
        own: Own::new(OwnKind::Bounce),
        headline: headline("own"),
        body: bench.body(&large(1), false).await,
    };
    let refused = bench.spool.take_in_local(local).await;
    assert!(matches!(refused, Err(SpoolError::Misused(_))));
    assert!(bench.files().is_empty());
}
