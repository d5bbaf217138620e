//! What a kill leaves, at each step of both ways.

use super::*;

#[tokio::test]
async fn inbound_a_kill_at_any_step_repeats_that_step_and_no_other() {
    let bench = Bench::new();
    let unknown = |bench: &Bench| bench.spool.unknown("support", "INBOX", 1, &[1]).unwrap();

    // Written, not taken in: fetched again, nothing left behind.
    let body = bench.body(&large(1), false).await;
    let dead = bench.killed();
    assert_eq!(unknown(&dead), [1]);
    assert!(dead.files().is_empty());

    // Taken in: delivered from the spool, not fetched again.
    let incoming = Incoming {
        key: key(1, 1),
        headline: headline("x"),
        provider_id: None,
        marks: Marks::default(),
        body,
    };
    bench.spool.take_in(incoming).await.unwrap();
    let dead = bench.killed();
    assert!(unknown(&dead).is_empty());
    assert_eq!(dead.claim_in().await[0].attempt, 1);

    // Claimed: due at once, and the attempt was counted, since the command may have run.
    let claim = bench.claim_in().await.remove(0);
    let dead = bench.killed();
    assert_eq!(dead.claim_in().await[0].attempt, 2);

    // Settled: only to be acknowledged.
    bench.settle(claim.delivery, delivered()).await;
    let dead = bench.killed();
    assert!(dead.claim_in().await.is_empty());
    assert_eq!(
        dead.spool.to_acknowledge("support", "INBOX", 1).unwrap(),
        [(claim.message, 1)]
    );

    // Acknowledged: gone, and still known.
    bench.spool.acknowledged(vec![claim.message]).await.unwrap();
    let dead = bench.killed();
    assert!(dead.spool.queue(None).unwrap().is_empty());
    assert!(unknown(&dead).is_empty());
    assert!(dead.files().is_empty());
}

#[tokio::test]
async fn outbound_what_was_claimed_comes_again_after_a_short_pause_and_counts_as_no_doubt() {
    let bench = Bench::new();
    bench.take_out("relay", &["a@x.example"], b"x").await;
    bench.claim_out().await;
    let bench = bench.reopen();
    assert!(bench.claim_out().await.is_empty());
    bench.hands.pass(5);
    let claim = bench.claim_out().await.remove(0);
    assert_eq!(claim.recipients[0].attempt, 2);
    let next = bench.settle(claim.recipients[0].delivery, in_doubt()).await;
    assert!(
        matches!(next, schedule::Next::Again { .. }),
        "the first doubt, not the second"
    );
}

#[tokio::test]
async fn a_job_that_fails_takes_no_other_of_its_group_with_it() {
    let bench = Bench::new();
    bench.take_in(&key(1, 1), b"x").await;
    let mut set = tokio::task::JoinSet::new();
    for uid in 2..=50 {
        let spool = bench.spool.clone();
        set.spawn(async move {
            if uid % 2 == 0 {
                let late = spool
                    .settle(
                        DeliveryId(i64::from(uid) + 1000),
                        delivered(),
                        None,
                        &policy(),
                    )
                    .await;
                assert!(matches!(late, Err(SpoolError::NotClaimed(_))));
            } else {
                let body = spool.body().finish(false).await.unwrap();
                let incoming = Incoming {
                    key: key(1, uid),
                    headline: Headline::default(),
                    provider_id: None,
                    marks: Marks::default(),
                    body,
                };
                assert!(matches!(
                    spool.take_in(incoming).await.unwrap(),
                    Taken::New(_)
                ));
            }
        });
    }
    set.join_all().await;
    assert_eq!(bench.spool.undelivered("support").unwrap(), 25);
}

#[tokio::test]
async fn files_follow_the_rows_when_a_job_is_rolled_back() {
    let bench = Bench::new();
    let Taken::New(message) = bench.take_in(&key(1, 1), &large(1)).await else {
        panic!("it is new");
    };
    let before = bench.files();
    let body = bench.body(&large(2), true).await;
    let failed = bench.spool.inner.writer.call(move |t| {
        crate::rows::drop_message(t, message)?;
        t.keep(body);
        Err::<(), _>(SpoolError::Misused("on purpose"))
    });
    assert!(matches!(failed.await, Err(SpoolError::Misused(_))));
    assert_eq!(bench.read(message).await, large(1));
    bench.spool.close().await;
    assert_eq!(bench.files(), before);
}

#[tokio::test]
async fn a_panic_inside_a_change_is_that_changes_alone() {
    let bench = Bench::new();
    let body = bench.body(&large(1), false).await;
    let change = bench.spool.inner.writer.call(move |t| {
        t.execute(
            "INSERT INTO folder (mailbox, name) VALUES ('support', 'INBOX')",
            (),
        )?;
        t.keep(body);
        if t.now > 0 {
            panic!("on purpose");
        }
        Ok(())
    });
    assert!(matches!(change.await, Err(SpoolError::Misused(_))));
    assert!(!bench.spool.folder_known("support", "INBOX").unwrap());
    assert!(bench.files().is_empty());
    assert!(matches!(
        bench.take_in(&key(1, 1), b"x").await,
        Taken::New(_)
    ));
}

#[tokio::test]
async fn a_commit_that_fails_fails_its_jobs_and_takes_their_files() {
    let bench = Bench::new();
    let body = bench.body(&large(1), true).await;
    let failed = bench.spool.inner.writer.call(move |t| {
        t.keep(body);
        // A reference to nothing, which SQLite looks at only when it commits.
        t.execute("PRAGMA defer_foreign_keys = ON", ())?;
        t.execute("INSERT INTO body (message, bytes) VALUES (99, x'')", ())
    });
    assert!(matches!(failed.await, Err(SpoolError::Database { .. })));
    assert!(bench.files().is_empty());
    assert_eq!(bench.count("SELECT count(*) FROM body"), 0);
    assert!(matches!(
        bench.take_in(&key(1, 1), b"x").await,
        Taken::New(_)
    ));
}

#[tokio::test]
async fn a_transaction_that_sqlite_gives_up_fails_what_ran_in_it_and_the_rest_gets_another() {
    let bench = Bench::new();
    // Holds the writer until three jobs wait: they are one group.
    let (open, gate) = std::sync::mpsc::channel::<()>();
    let hold = bench.spool.inner.writer.call(move |_| {
        gate.recv().unwrap();
        Ok(())
    });
    let body = bench.body(&large(1), false).await;
    let before = bench.spool.take_in(Incoming {
        key: key(1, 1),
        headline: headline("before"),
        provider_id: None,
        marks: Marks::default(),
        body,
    });
    let gives_up = bench.spool.inner.writer.call(|t| {
        t.execute("ROLLBACK", ())?;
        Err::<(), _>(SpoolError::Busy)
    });
    let body = bench.body(b"x", false).await;
    let after = bench.spool.take_in(Incoming {
        key: key(1, 2),
        headline: headline("after"),
        provider_id: None,
        marks: Marks::default(),
        body,
    });
    let queued = async {
        tokio::task::yield_now().await;
        open.send(()).unwrap();
    };
    let (_, before, gives_up, after, ()) = tokio::join!(hold, before, gives_up, after, queued);
    assert!(matches!(before, Err(SpoolError::Full { .. })), "{before:?}");
    assert!(matches!(gives_up, Err(SpoolError::Busy)), "{gives_up:?}");
    assert!(matches!(after, Ok(Taken::New(_))), "{after:?}");
    assert!(bench.files().is_empty());
    let unknown = bench.spool.unknown("support", "INBOX", 1, &[1, 2]).unwrap();
    assert_eq!(unknown, [1]);
}

#[tokio::test]
async fn a_busy_database_changes_nothing_and_the_body_goes() {
    let bench = Bench::new();
    let other = rusqlite::Connection::open(bench.dir.path().join("spool.db")).unwrap();
    bench
        .spool
        .inner
        .writer
        .call(|t| Ok(t.conn.busy_timeout(Duration::from_millis(1))?))
        .await
        .unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let body = bench.body(&large(1), false).await;
    let incoming = Incoming {
        key: key(1, 1),
        headline: headline("x"),
        provider_id: None,
        marks: Marks::default(),
        body,
    };
    let answer = bench.spool.take_in(incoming).await;
    assert!(matches!(answer, Err(SpoolError::Busy)), "{answer:?}");
    assert!(bench.files().is_empty());
    other.execute_batch("ROLLBACK").unwrap();
    assert!(matches!(
        bench.take_in(&key(1, 1), b"x").await,
        Taken::New(_)
    ));
}

#[tokio::test]
async fn a_full_disk_is_told_as_such_and_the_spool_works_on_when_there_is_room() {
    let bench = Bench::new();
    bench.take_in(&key(1, 1), b"x").await;
    // SQLite's own limit stands in for the disk's.
    let limit = |pages: i64| {
        let spool = bench.spool.clone();
        async move {
            spool
                .inner
                .writer
                .call(move |t| Ok(t.conn.pragma_update(None, "max_page_count", pages)?))
                .await
        }
    };
    limit(20).await.unwrap();
    let body = bench.body(&vec![1; 200_000], false).await;
    let incoming = Incoming {
        key: key(1, 2),
        headline: headline("x"),
        provider_id: None,
        marks: Marks::default(),
        body,
    };
    let answer = bench.spool.take_in(incoming).await;
    assert!(matches!(answer, Err(SpoolError::Full { .. })), "{answer:?}");
    limit(1_000_000).await.unwrap();
    assert!(matches!(
        bench.take_in(&key(1, 2), b"y").await,
        Taken::New(_)
    ));
    assert_eq!(bench.claim_in().await.len(), 2);
}
