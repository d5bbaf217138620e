//! Reports to senders: what is owed, and that a report and the closing of what it is about are one commit.

use super::*;
use crate::report::{Owed, Report, Reporting};

const LATE: Duration = Duration::from_secs(4 * 3600);

impl Bench {
    fn owed(&self) -> Vec<Owed> {
        self.spool.owed_reports("relay", LATE).unwrap()
    }

    async fn report(&self, owed: Owed) -> Option<MessageId> {
        let own = Own::new(OwnKind::Bounce);
        let local = Local {
            mailbox: "support".into(),
            own,
            headline: headline("bounce"),
            body: self.body(b"a report", true).await,
        };
        let reporting = Reporting::Mailbox(local);
        self.spool.report(owed, reporting).await.unwrap()
    }

    async fn settle_once(&self, delivery: DeliveryId, outcome: Outcome) {
        let once = Policy {
            refusals: 1,
            ..policy()
        };
        self.spool
            .settle(delivery, outcome, None, &once)
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn a_refused_recipient_is_owed_a_report_and_closed_with_it_and_the_other_one_goes_on() {
    let bench = Bench::new();
    let message = bench
        .take_out("relay", &["a@x.example", "b@x.example"], b"x")
        .await;
    let claim = bench.claim_out().await.remove(0);
    bench
        .settle_once(claim.recipients[0].delivery, refused())
        .await;
    let [owed] = &bench.owed()[..] else {
        panic!("{:?}", bench.owed());
    };
    assert_eq!(
        (owed.report, owed.message, &owed.sender[..]),
        (Report::Failed, message, "desk@example.com")
    );
    assert_eq!(owed.recipients[0].address, "a@x.example");
    assert!(owed.recipients[0].why.contains("550 no"));

    let report = bench.report(owed.clone()).await.unwrap();
    assert!(bench.owed().is_empty());
    let claims = bench.claim_in().await;
    assert_eq!(claims.len(), 1);
    assert_eq!(claims[0].message, report);
    // The other recipient is still on its way, and the message ends with it.
    assert!(bench.spool.show(message).unwrap().is_some());
    bench
        .settle_once(claim.recipients[1].delivery, delivered())
        .await;
    assert!(bench.spool.show(message).unwrap().is_none());
}

#[tokio::test]
async fn a_report_handed_in_twice_or_after_a_retry_is_none() {
    let bench = Bench::new();
    let first = bench.take_out("relay", &["a@x.example"], b"x").await;
    let second = bench.take_out("relay", &["b@x.example"], b"y").await;
    for claim in bench.claim_out().await {
        bench
            .settle_once(claim.recipients[0].delivery, refused())
            .await;
    }
    let [one, two] = &bench.owed()[..] else {
        panic!("{:?}", bench.owed());
    };
    assert!(bench.report(one.clone()).await.is_some());
    assert!(bench.report(one.clone()).await.is_none());
    assert!(bench.spool.show(first).unwrap().is_none());
    bench.spool.retry(Some(vec![second])).await.unwrap();
    assert!(bench.report(two.clone()).await.is_none());
    assert!(bench.owed().is_empty());
    assert_eq!(bench.claim_in().await.len(), 1);
}

#[tokio::test]
async fn what_is_in_doubt_or_waits_for_its_account_or_has_no_sender_is_held_and_owed_nothing() {
    let bench = Bench::new();
    bench.take_out("relay", &["doubt@x.example"], b"x").await;
    let claim = bench.claim_out().await.remove(0);
    bench
        .settle_once(claim.recipients[0].delivery, in_doubt())
        .await;
    bench.hands.pass(3600);
    let claim = bench.claim_out().await.remove(0);
    bench
        .settle_once(claim.recipients[0].delivery, in_doubt())
        .await;
    for (sender, automatic, notify) in [
        ("", false, None),
        ("desk@example.com", true, None),
        ("desk@example.com", false, dsn::Notify::parse("NEVER")),
    ] {
        let outgoing = Outgoing {
            sender: sender.into(),
            relay: "relay".into(),
            recipients: vec![Recipient {
                address: "a@x.example".into(),
                notify,
                orcpt: None,
            }],
            ret: None,
            envid: None,
            automatic,
            conversation: None,
            smtputf8: false,
            eight_bit: false,
            headline: headline("out"),
            body: bench.body(b"x", true).await,
        };
        bench.spool.take_out(outgoing).await.unwrap();
        let claim = bench.claim_out().await.remove(0);
        bench
            .settle_once(claim.recipients[0].delivery, refused())
            .await;
    }
    let counts = bench.spool.counts(Direction::Out, "relay").unwrap();
    assert_eq!(counts.held, 4);
    assert_eq!(bench.owed(), []);
}

#[tokio::test]
async fn a_delay_is_told_once_and_the_time_of_a_blocked_account_does_not_count() {
    let bench = Bench::new();
    bench.take_out("relay", &["a@x.example"], b"x").await;
    let claim = bench.claim_out().await.remove(0);
    let delivery = claim.recipients[0].delivery;
    bench.settle(delivery, blocked()).await;
    bench.hands.pass(5 * 3600);
    assert_eq!(bench.owed(), []);
    let claim = bench.claim_out().await.remove(0);
    bench.settle(claim.recipients[0].delivery, retry()).await;
    bench.hands.pass(4 * 3600 - 1);
    assert_eq!(bench.owed(), []);
    bench.hands.pass(1);
    let [owed] = &bench.owed()[..] else {
        panic!("{:?}", bench.owed());
    };
    assert_eq!(owed.report, Report::Delayed);
    assert!(bench.report(owed.clone()).await.is_some());
    assert_eq!(bench.owed(), []);
    let counts = bench.spool.counts(Direction::Out, "relay").unwrap();
    assert_eq!(counts.waiting, 1, "it is still tried");
}

#[tokio::test]
async fn what_was_relayed_to_a_server_that_reports_nothing_ends_with_its_report() {
    let bench = Bench::new();
    let message = bench.take_out("relay", &["a@x.example"], b"x").await;
    let claim = bench.claim_out().await.remove(0);
    let delivery = claim.recipients[0].delivery;
    let why = "250 Ok".to_owned();
    bench.spool.settle_relayed(delivery, why).await.unwrap();
    // A person who retries everything sends nothing twice.
    bench.spool.retry(None).await.unwrap();
    assert!(bench.claim_out().await.is_empty());
    let [owed] = &bench.owed()[..] else {
        panic!("{:?}", bench.owed());
    };
    assert_eq!(owed.report, Report::Relayed);
    assert!(bench.report(owed.clone()).await.is_some());
    assert!(bench.spool.show(message).unwrap().is_none());
    assert_eq!(bench.spool.counts(Direction::Out, "relay").unwrap().done, 1);
}
