//! Mail that another relay takes over, and what a second try may be looked up for.

use super::*;

async fn claim(bench: &Bench, relay: &str) -> Vec<OutClaim> {
    let claims = bench.spool.claim_out(relay, 10, LEASE).await;
    claims.unwrap()
}

const LEASE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn what_waits_goes_to_the_other_relay_and_what_is_claimed_or_in_doubt_stays() {
    let bench = Bench::new();
    for recipient in [
        "due@x.example",
        "blocked@x.example",
        "doubt@x.example",
        "claimed@x.example",
    ] {
        bench.take_out("relay", &[recipient], b"x").await;
    }
    let claims = claim(&bench, "relay").await;
    bench
        .spool
        .release(vec![claims[0].recipients[0].delivery])
        .await
        .unwrap();
    bench
        .settle(claims[1].recipients[0].delivery, blocked())
        .await;
    bench
        .settle(claims[2].recipients[0].delivery, in_doubt())
        .await;
    bench.hands.pass(3600);
    assert_eq!(bench.spool.reroute("relay", "other", 1).await.unwrap(), 1);
    assert_eq!(bench.spool.reroute("relay", "other", 10).await.unwrap(), 1);
    assert_eq!(bench.spool.reroute("relay", "other", 10).await.unwrap(), 0);
    let moved = claim(&bench, "other").await;
    let to: Vec<&str> = moved
        .iter()
        .map(|c| c.recipients[0].address.as_str())
        .collect();
    assert_eq!(to, ["due@x.example", "blocked@x.example"]);
    for claim in moved {
        bench
            .settle(claim.recipients[0].delivery, delivered())
            .await;
    }
    assert_eq!(bench.spool.counts(Direction::Out, "other").unwrap().done, 2);
    bench
        .settle(claims[3].recipients[0].delivery, delivered())
        .await;
    assert_eq!(claim(&bench, "relay").await.len(), 1, "the one in doubt");
}

#[tokio::test]
async fn a_second_try_can_be_looked_up_while_no_other_copy_has_left_or_is_in_doubt() {
    let bench = Bench::new();
    bench
        .take_out("relay", &["a@x.example", "b@x.example"], b"x")
        .await;
    let first = claim(&bench, "relay").await.remove(0);
    assert_eq!(first.in_doubt, None, "it was never tried");
    for recipient in &first.recipients {
        bench.settle(recipient.delivery, in_doubt()).await;
    }
    bench.hands.pass(3600);
    let second = claim(&bench, "relay").await.remove(0);
    assert!(second.in_doubt.is_some(), "both were in one try");
    assert!(second.recipients.iter().all(|recipient| recipient.doubted));
    for recipient in &second.recipients {
        bench.settle(recipient.delivery, delivered()).await;
    }

    // One recipient's copy left before the other's try came into doubt: the copy that is found may be that one.
    bench
        .take_out("relay", &["c@x.example", "d@x.example"], b"y")
        .await;
    let first = claim(&bench, "relay").await.remove(0);
    bench
        .settle(first.recipients[0].delivery, delivered())
        .await;
    bench.settle(first.recipients[1].delivery, in_doubt()).await;
    bench.hands.pass(3600);
    let second = claim(&bench, "relay").await.remove(0);
    assert_eq!(second.in_doubt, None);
    bench
        .settle(second.recipients[0].delivery, delivered())
        .await;

    // Two tries, both in doubt.
    bench
        .take_out("relay", &["e@x.example", "f@x.example"], b"z")
        .await;
    let first = claim(&bench, "relay").await.remove(0);
    bench.settle(first.recipients[0].delivery, retry()).await;
    bench.settle(first.recipients[1].delivery, in_doubt()).await;
    bench.hands.pass(3600);
    let second = claim(&bench, "relay").await.remove(0);
    assert!(second.in_doubt.is_some(), "only one of the two left at all");
    bench
        .settle(second.recipients[0].delivery, in_doubt())
        .await;
    bench
        .spool
        .release(vec![second.recipients[1].delivery])
        .await
        .unwrap();
    let alone = claim(&bench, "relay").await.remove(0);
    assert_eq!((alone.recipients.len(), alone.in_doubt), (1, None));
}
