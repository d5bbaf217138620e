//! What a repeated delivery is told of the attempts before it.

use super::*;

#[tokio::test]
async fn a_delivery_knows_whether_it_was_begun_before_and_who_has_it() {
    let bench = Bench::new();
    bench.take_in(&key(1, 1), b"xyz").await;
    let claim = bench.claim_in().await.remove(0);
    assert_eq!((claim.repeated, claim.done_for.len()), (false, 0));
    bench.spool.release(vec![claim.delivery]).await.unwrap();
    let claim = bench.claim_in().await.remove(0);
    assert!(!claim.repeated, "given back untouched");

    let some = vec!["a@x.example".to_owned(), "b@x.example".to_owned()];
    bench
        .spool
        .handed_to(claim.delivery, some.clone())
        .await
        .unwrap();
    let bench = bench.reopen();
    let claim = bench.claim_in().await.remove(0);
    assert!(claim.repeated, "its process was killed");
    assert_eq!(claim.done_for, some);

    let once = Policy {
        refusals: 1,
        ..policy()
    };
    bench
        .spool
        .settle(claim.delivery, refused(), None, &once)
        .await
        .unwrap();
    assert_eq!(bench.spool.retry(None).await.unwrap(), 1);
    let claim = bench.claim_in().await.remove(0);
    assert_eq!(claim.attempt, 1, "a person had it begun anew");
    assert!(claim.repeated, "and still it may have been delivered");
    assert_eq!(claim.done_for, some);
}

#[tokio::test]
async fn a_spool_keeps_its_name_and_no_other_has_it() {
    let bench = Bench::new();
    let name = bench.spool.instance().to_owned();
    assert_eq!(name.len(), 16);
    assert_ne!(Bench::new().spool.instance(), name);
    assert_eq!(bench.reopen().spool.instance(), name);
}
