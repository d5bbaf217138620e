//! Opening what is ours, and refusing what is not.

use std::os::unix::fs::PermissionsExt;

use super::*;

fn refused(dir: &Path) -> String {
    match Spool::open(dir) {
        Ok(_) => panic!("it opened"),
        Err(error @ SpoolError::Unusable { .. }) => error.to_string(),
        Err(error) => panic!("not explained: {error}"),
    }
}

#[tokio::test]
async fn mail_is_readable_by_its_owner_alone() {
    let bench = Bench::new();
    bench.take_in(&key(1, 1), &large(1)).await;
    let mode = |name: &str| {
        std::fs::metadata(bench.dir.path().join(name))
            .unwrap()
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!(mode("spool.db"), 0o600);
    assert_eq!(mode("spool.db-wal"), 0o600);
    assert_eq!(mode("spool"), 0o700);
    assert_eq!(mode(&format!("spool/{}", bench.files()[0])), 0o600);
    let generous = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(bench.dir.path().join("spool"), generous).unwrap();
    let bench = bench.reopen();
    let mode = std::fs::metadata(bench.dir.path().join("spool"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o700, "and is made so again");
}

#[tokio::test]
async fn every_commit_waits_for_the_disk() {
    let bench = Bench::new();
    let settings = |t: &crate::tables::Tables<'_>| {
        let synchronous: i64 = t
            .conn
            .pragma_query_value(None, "synchronous", |row| row.get(0))?;
        let mode: String = t
            .conn
            .pragma_query_value(None, "journal_mode", |row| row.get(0))?;
        let keys: bool = t
            .conn
            .pragma_query_value(None, "foreign_keys", |row| row.get(0))?;
        Ok((synchronous, mode, keys))
    };
    let settings = bench.spool.inner.writer.call(settings).await.unwrap();
    assert_eq!(settings, (2, "wal".to_owned(), true), "2 is FULL");
}

#[test]
fn a_file_that_is_no_database_is_named_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(
        dir.path().join("spool.db"),
        "this is not a database, but long enough for one".repeat(50),
    )
    .unwrap();
    let message = refused(dir.path());
    assert!(
        message.contains("spool.db: this is not a database; move it away"),
        "{message}"
    );
}

#[test]
fn another_programs_database_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let conn = rusqlite::Connection::open(dir.path().join("spool.db")).unwrap();
    conn.execute_batch("CREATE TABLE message (id)").unwrap();
    drop(conn);
    let message = refused(dir.path());
    assert!(message.contains("another program's database"), "{message}");
}

#[tokio::test]
async fn a_damaged_database_is_told_from_a_whole_one() {
    let bench = Bench::new();
    for uid in 0..200 {
        bench.take_in(&key(1, uid), &[7; 5_000]).await;
    }
    let Bench { dir, spool, .. } = bench;
    drop(spool);
    let file = dir.path().join("spool.db");
    let mut bytes = std::fs::read(&file).unwrap();
    // The inner pages of the trees, which the check walks.
    for page in bytes.chunks_mut(4096).skip(2) {
        page[..16].fill(0xee);
    }
    std::fs::write(&file, bytes).unwrap();
    let message = refused(dir.path());
    assert!(message.contains("the database is damaged"), "{message}");
    assert!(message.contains(".recover"), "{message}");
}

#[tokio::test]
async fn a_newer_posterns_spool_is_not_touched() {
    let Bench { dir, spool, .. } = Bench::new();
    drop(spool);
    let conn = rusqlite::Connection::open(dir.path().join("spool.db")).unwrap();
    conn.pragma_update(None, "user_version", 99).unwrap();
    drop(conn);
    let message = refused(dir.path());
    assert!(message.contains("made by a newer Postern"), "{message}");
}

#[test]
fn the_migrations_are_valid_sql_in_order() {
    crate::open::MIGRATIONS.validate().unwrap();
}

#[tokio::test]
async fn a_command_beside_the_daemon_disturbs_no_lease() {
    let bench = Bench::new();
    bench.take_in(&key(1, 1), b"x").await;
    let held = bench.take_out("relay", &["a@x.example"], b"y").await;
    let claim = bench.claim_in().await.remove(0);
    let out = bench.claim_out().await.remove(0);
    bench
        .spool
        .settle(
            out.recipients[0].delivery,
            super::refused(),
            None,
            &Policy {
                refusals: 1,
                ..policy()
            },
        )
        .await
        .unwrap();

    let beside = Spool::open_beside(bench.dir.path()).unwrap();
    beside.check_integrity().unwrap();
    assert_eq!(
        beside.queue(Some(Direction::In)).unwrap()[0].state,
        "claimed"
    );
    assert_eq!(
        beside.delete(vec![claim.message]).await.unwrap(),
        0,
        "it is being delivered"
    );
    assert_eq!(beside.retry(Some(vec![held])).await.unwrap(), 1);
    drop(beside);
    bench.settle(claim.delivery, delivered()).await;
    assert_eq!(
        bench.spool.show(held).unwrap().unwrap().row.state,
        "due",
        "the daemon sees the command's work"
    );
}

#[test]
fn a_command_makes_no_spool_where_there_is_none() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(
        Spool::open_beside(dir.path()),
        Err(SpoolError::Unusable { .. })
    ));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_closed_spool_has_done_what_was_asked_and_takes_no_more() {
    let bench = Bench::new();
    let jobs: Vec<_> = (1..=300)
        .map(|uid| {
            let (spool, body) = (bench.spool.clone(), bench.spool.body());
            async move {
                let body = body.finish(false).await.unwrap();
                spool
                    .take_in(Incoming {
                        key: key(1, uid),
                        headline: Headline::default(),
                        provider_id: None,
                        marks: Marks::default(),
                        body,
                    })
                    .await
            }
        })
        .collect();
    let mut set = tokio::task::JoinSet::new();
    jobs.into_iter().for_each(|job| {
        set.spawn(job);
    });
    let results = set.join_all().await;
    assert!(results.iter().all(|r| r.is_ok()));
    bench.spool.close().await;
    bench.spool.close().await;
    assert!(matches!(
        bench.spool.release(vec![]).await,
        Err(SpoolError::Closed)
    ));
    assert_eq!(
        bench.spool.queue(None).unwrap().len(),
        300,
        "reads still work"
    );
}

#[tokio::test]
async fn concurrent_callers_share_commits() {
    let bench = Bench::new();
    let before = bench.spool.commits();
    let mut set = tokio::task::JoinSet::new();
    for uid in 1..=500 {
        let spool = bench.spool.clone();
        set.spawn(async move {
            let mut body = spool.body();
            body.write(&[b'x'; 4096]).await.unwrap();
            let body = body.finish(false).await.unwrap();
            spool
                .take_in(Incoming {
                    key: key(1, uid),
                    headline: Headline::default(),
                    provider_id: None,
                    marks: Marks::default(),
                    body,
                })
                .await
                .unwrap()
        });
    }
    set.join_all().await;
    let commits = bench.spool.commits() - before;
    assert!(commits <= 100, "500 messages took {commits} commits");
}

#[tokio::test]
async fn a_spool_of_the_second_version_keeps_its_mail_and_gets_conversations() {
    let dir = tempfile::tempdir().unwrap();
    let mut conn = rusqlite::Connection::open(dir.path().join("spool.db")).unwrap();
    conn.pragma_update(None, "journal_mode", "WAL").unwrap();
    conn.pragma_update(None, "application_id", 0x5053_544e)
        .unwrap();
    crate::open::MIGRATIONS.to_version(&mut conn, 2).unwrap();
    conn.execute_batch(&format!(
        "INSERT INTO message (direction, account, sender, header_from, header_subject, header_message_id, size, sha256, place, durable, taken_at)
           VALUES ('out', 'relay', 'desk@example.com', 'f', 's', 'm', 1, x'{}', 'inline', 1, {START});
         INSERT INTO body VALUES (1, x'78');
         INSERT INTO delivery (message, direction, account, recipient, state, due_at, since) VALUES (1, 'out', 'relay', 'a@x.example', 'due', {START}, {START});",
        "00".repeat(32)
    ))
    .unwrap();
    drop(conn);
    let hands = Hands::default();
    let spool = Spool::open_at(dir.path(), hands.clock()).unwrap();
    let bench = Bench { dir, hands, spool };
    let waiting = bench.spool.counts(Direction::Out, "relay").unwrap().waiting;
    assert_eq!(waiting, 1, "what was there is counted");
    let claims = bench.claim_out().await;
    assert_eq!(claims.len(), 1);
    assert_eq!(bench.read(claims[0].message).await, b"x");
    assert_eq!(
        bench.count("SELECT count(*) FROM delivery WHERE thread IS NULL"),
        1
    );
}
