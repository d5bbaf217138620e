//! When a message is the same message.

use super::*;

#[tokio::test]
async fn a_key_taken_in_twice_is_one_message() {
    let bench = Bench::new();
    assert!(matches!(
        bench.take_in(&key(1, 1), b"x").await,
        Taken::New(_)
    ));
    assert_eq!(bench.take_in(&key(1, 1), b"x").await, Taken::Known);
    assert_eq!(bench.take_in(&key(1, 1), &large(1)).await, Taken::Known);
    assert_eq!(bench.spool.queue(None).unwrap().len(), 1);
    assert!(bench.files().is_empty(), "the repeat's file is gone");
}

#[tokio::test]
async fn two_honest_identical_messages_are_two() {
    let bench = Bench::new();
    assert!(matches!(
        bench.take_in(&key(1, 1), b"x").await,
        Taken::New(_)
    ));
    assert!(matches!(
        bench.take_in(&key(1, 2), b"x").await,
        Taken::New(_)
    ));
}

#[tokio::test]
async fn known_bytes_under_a_new_uidvalidity_are_matched_one_to_one() {
    let bench = Bench::new();
    // Two of a kind, one of another; all delivered, the first acknowledged.
    for (uid, bytes) in [(1, b"twin"), (2, b"twin"), (3, b"solo")] {
        bench.take_in(&key(1, uid), bytes).await;
    }
    for claim in bench.claim_in().await {
        bench.settle(claim.delivery, delivered()).await;
    }
    let waiting = bench.spool.to_acknowledge("support", "INBOX", 1).unwrap();
    bench.spool.acknowledged(vec![waiting[0].0]).await.unwrap();

    // The folder comes back under uidvalidity 2, in another order, with a third twin and news.
    let unknown = bench
        .spool
        .unknown("support", "INBOX", 2, &[10, 11, 12, 13, 14])
        .unwrap();
    assert_eq!(unknown, [10, 11, 12, 13, 14]);
    assert_eq!(bench.take_in(&key(2, 10), b"solo").await, Taken::Known);
    assert_eq!(bench.take_in(&key(2, 11), b"twin").await, Taken::Known);
    assert_eq!(bench.take_in(&key(2, 12), b"twin").await, Taken::Known);
    assert!(matches!(
        bench.take_in(&key(2, 13), b"twin").await,
        Taken::New(_)
    ));
    assert!(matches!(
        bench.take_in(&key(2, 14), b"news").await,
        Taken::New(_)
    ));

    // What was delivered and not acknowledged follows its new UID, and can be acknowledged.
    let mut follows: Vec<u32> = bench
        .spool
        .to_acknowledge("support", "INBOX", 2)
        .unwrap()
        .iter()
        .map(|(_, uid)| *uid)
        .collect();
    follows.sort_unstable();
    assert_eq!(follows.len(), 2);
    assert!(follows.contains(&10));
    assert!(
        bench
            .spool
            .to_acknowledge("support", "INBOX", 1)
            .unwrap()
            .is_empty()
    );
    assert!(
        bench
            .spool
            .unknown("support", "INBOX", 2, &[10, 11, 12, 13, 14])
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn of_two_twins_the_one_still_in_the_spool_is_matched_first() {
    let bench = Bench::new();
    bench.take_in(&key(1, 1), b"twin").await;
    bench.take_in(&key(1, 2), b"twin").await;
    let claims = bench.claim_in().await;
    bench.settle(claims[0].delivery, delivered()).await;
    // The first was deleted in the mailbox; only the second comes back, and must be acknowledged.
    bench
        .spool
        .acknowledged(vec![claims[0].message])
        .await
        .unwrap();
    assert_eq!(bench.take_in(&key(2, 1), b"twin").await, Taken::Known);
    bench.settle(claims[1].delivery, delivered()).await;
    let waiting = bench.spool.to_acknowledge("support", "INBOX", 2).unwrap();
    assert_eq!(waiting, [(claims[1].message, 1)]);
}

#[tokio::test]
async fn an_undelivered_message_keeps_flowing_under_its_new_uid() {
    let bench = Bench::new();
    bench.take_in(&key(1, 5), b"x").await;
    let claim = bench.claim_in().await.remove(0);
    assert_eq!(bench.take_in(&key(2, 9), b"x").await, Taken::Known);
    bench.settle(claim.delivery, delivered()).await;
    let waiting = bench.spool.to_acknowledge("support", "INBOX", 2).unwrap();
    assert_eq!(waiting, [(claim.message, 9)]);
}

#[tokio::test]
async fn the_same_bytes_in_another_folder_or_mailbox_are_another_message() {
    let bench = Bench::new();
    bench.take_in(&key(1, 1), b"x").await;
    let folder = Key {
        folder: "Other".into(),
        ..key(2, 1)
    };
    let mailbox = Key {
        mailbox: "sales".into(),
        ..key(2, 1)
    };
    assert!(matches!(bench.take_in(&folder, b"x").await, Taken::New(_)));
    assert!(matches!(bench.take_in(&mailbox, b"x").await, Taken::New(_)));
}

#[tokio::test]
async fn delivered_mail_that_left_the_mailbox_with_the_old_uidvalidity_is_not_waited_for() {
    let bench = Bench::new();
    bench.take_in(&key(1, 1), b"gone").await;
    bench.take_in(&key(1, 2), b"stays").await;
    for claim in bench.claim_in().await {
        bench.settle(claim.delivery, delivered()).await;
    }
    bench.take_in(&key(2, 1), b"stays").await;
    let dropped = bench.spool.drop_stale("support", "INBOX", 2).await.unwrap();
    assert_eq!(dropped, 1);
    assert_eq!(
        bench
            .spool
            .counts(Direction::In, "support")
            .unwrap()
            .unacknowledged,
        1
    );
}

#[tokio::test]
async fn what_cannot_be_fetched_is_held_once_and_fetched_anew_when_retried() {
    let bench = Bench::new();
    let huge = |uidvalidity, uid| Unfetchable {
        key: key(uidvalidity, uid),
        headline: Headline {
            subject: "s".repeat(500),
            ..headline("")
        },
        size: 500_000_000,
        why: "larger than max_size".into(),
    };
    let Taken::New(message) = bench.spool.hold_unfetched(huge(1, 1)).await.unwrap() else {
        panic!("it is new");
    };
    assert_eq!(
        bench.spool.hold_unfetched(huge(1, 1)).await.unwrap(),
        Taken::Known
    );
    assert_eq!(
        bench.spool.hold_unfetched(huge(2, 4)).await.unwrap(),
        Taken::Known,
        "a new uidvalidity, the same message"
    );
    assert!(bench.claim_in().await.is_empty());
    assert!(matches!(
        bench.spool.open_body(message).await,
        Err(SpoolError::Gone(_))
    ));
    let row = bench.spool.show(message).unwrap().unwrap().row;
    assert_eq!(
        (&row.state[..], &row.why[..]),
        ("held", "larger than max_size")
    );
    assert_eq!(row.subject.len(), 200);

    assert!(
        bench
            .spool
            .unknown("support", "INBOX", 2, &[4])
            .unwrap()
            .is_empty()
    );
    assert_eq!(bench.spool.retry(None).await.unwrap(), 1);
    assert_eq!(
        bench.spool.unknown("support", "INBOX", 2, &[4]).unwrap(),
        [4]
    );
    assert!(bench.spool.queue(None).unwrap().is_empty());
}

#[tokio::test]
async fn a_start_from_now_marks_the_folder_even_when_it_is_empty() {
    let bench = Bench::new();
    assert!(!bench.spool.folder_known("support", "INBOX").unwrap());
    bench
        .spool
        .leave_out("support", "INBOX", 1, vec![])
        .await
        .unwrap();
    assert!(bench.spool.folder_known("support", "INBOX").unwrap());
    bench
        .spool
        .leave_out("support", "INBOX", 1, [3, 4].map(nameless).to_vec())
        .await
        .unwrap();
    assert_eq!(
        bench
            .spool
            .unknown("support", "INBOX", 1, &[3, 4, 5])
            .unwrap(),
        [5]
    );
}

#[tokio::test]
async fn unknown_uids_are_found_in_dense_and_in_sparse_folders() {
    let bench = Bench::new();
    let seen: Vec<u32> = (1..=5_000)
        .chain((6..=2_000).map(|i| i * 1_000_003))
        .collect();
    bench
        .spool
        .leave_out(
            "support",
            "INBOX",
            1,
            seen.iter().copied().map(nameless).collect(),
        )
        .await
        .unwrap();
    let asked: Vec<u32> = seen
        .iter()
        .flat_map(|uid| [*uid, uid ^ 0x4000_0000])
        .chain([u32::MAX, 0])
        .collect();
    let known: std::collections::HashSet<u32> = seen.into_iter().collect();
    let expected: Vec<u32> = asked
        .iter()
        .copied()
        .filter(|uid| !known.contains(uid))
        .collect();
    assert_eq!(
        bench.spool.unknown("support", "INBOX", 1, &asked).unwrap(),
        expected
    );
    assert_eq!(
        bench.spool.unknown("support", "INBOX", 2, &asked).unwrap(),
        asked,
        "another uidvalidity knows none"
    );
}

/// A message of which the server tells neither size nor time.
fn nameless(uid: u32) -> Fingerprint {
    Fingerprint {
        uid,
        size: None,
        arrived: None,
    }
}

fn print(uid: u32, size: u32, arrived: i64) -> Fingerprint {
    Fingerprint {
        uid,
        size: Some(size),
        arrived: Some(arrived),
    }
}

#[tokio::test]
async fn what_the_first_start_left_out_is_known_again_under_a_new_uidvalidity_one_for_one() {
    let bench = Bench::new();
    let spool = &bench.spool;
    let before = vec![
        print(1, 100, 7),
        print(2, 100, 7),
        print(3, 200, 8),
        nameless(4),
    ];
    spool
        .leave_out("support", "INBOX", 1, before)
        .await
        .unwrap();
    assert!(!spool.left_out_elsewhere("support", "INBOX", 1).unwrap());
    assert!(spool.left_out_elsewhere("support", "INBOX", 2).unwrap());

    let now = vec![
        print(11, 200, 8),
        print(12, 100, 7),
        print(13, 100, 7),
        // A third of a kind, another size, another second, and one without a name are new.
        print(14, 100, 7),
        print(15, 201, 8),
        print(16, 200, 9),
        nameless(17),
    ];
    let known = spool.recognise("support", "INBOX", 2, now).await.unwrap();
    assert_eq!(known, [11, 12, 13]);
    let unknown = spool.unknown("support", "INBOX", 2, &[11, 12, 13, 14, 15, 16, 17]);
    assert_eq!(unknown.unwrap(), [14, 15, 16, 17]);
    assert!(!spool.left_out_elsewhere("support", "INBOX", 2).unwrap());

    // And once more, as backups are restored twice.
    let again = vec![print(1, 100, 7), print(2, 200, 8)];
    let known = spool.recognise("support", "INBOX", 3, again).await.unwrap();
    assert_eq!(known, [1, 2]);
}

#[tokio::test]
async fn a_message_the_provider_shows_in_two_folders_is_one_also_after_a_restart() {
    let mut bench = Bench::new();
    let incoming = async |bench: &Bench, folder: &str, uid, id: &str, bytes: &[u8]| {
        let incoming = Incoming {
            key: Key {
                folder: folder.into(),
                ..key(1, uid)
            },
            headline: headline("in"),
            provider_id: Some(id.into()),
            marks: Marks::default(),
            body: bench.body(bytes, false).await,
        };
        bench.spool.take_in(incoming).await.unwrap()
    };
    let Taken::New(id) = incoming(&bench, "INBOX", 1, "1278455344230334865", b"x").await else {
        panic!()
    };
    let shown = bench.spool.show(id).unwrap().unwrap();
    assert_eq!(shown.provider_id.as_deref(), Some("1278455344230334865"));
    for claim in bench.claim_in().await {
        bench.settle(claim.delivery, delivered()).await;
    }
    bench.spool.acknowledged(vec![id]).await.unwrap();
    bench = bench.reopen();
    assert_eq!(
        incoming(&bench, "Label", 9, "1278455344230334865", b"x").await,
        Taken::Known
    );
    assert!(
        bench
            .spool
            .unknown("support", "Label", 1, &[9])
            .unwrap()
            .is_empty(),
        "it is not fetched again"
    );
    assert!(matches!(
        incoming(&bench, "Label", 10, "1278455344230334866", b"x").await,
        Taken::New(_)
    ));
}

#[tokio::test]
async fn what_is_only_flagged_is_remembered_across_restarts_and_forgotten_with_its_uidvalidity() {
    let bench = Bench::new();
    bench.take_in(&key(1, 1), b"x").await;
    let uids = std::collections::BTreeSet::from([1, 2, 9]);
    bench
        .spool
        .set_flagged("support", "INBOX", 1, uids.clone())
        .await
        .unwrap();
    let bench = bench.reopen();
    assert_eq!(bench.spool.flagged("support", "INBOX", 1).unwrap(), uids);
    assert!(
        bench
            .spool
            .flagged("support", "INBOX", 2)
            .unwrap()
            .is_empty()
    );
    bench
        .spool
        .set_flagged("support", "INBOX", 2, [5].into())
        .await
        .unwrap();
    assert!(
        bench
            .spool
            .flagged("support", "INBOX", 1)
            .unwrap()
            .is_empty()
    );
}
