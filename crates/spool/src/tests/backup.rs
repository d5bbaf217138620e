//! A copy made while mail goes on, and what its restoring holds.

use super::*;

/// Copies the spool into a folder beside it and opens the copy.
async fn copied(bench: &Bench, name: &str) -> Bench {
    let dir = tempfile::tempdir_in(bench.dir.path()).unwrap();
    let to = dir.path().join(name);
    std::fs::create_dir(&to).unwrap();
    bench.spool.copy_into(&to).await.unwrap();
    let hands = bench.hands.clone();
    // In a folder of its own, so that the copy outlives the original.
    let dir = copy(&to);
    let spool = Spool::open_at(dir.path(), hands.clock()).unwrap();
    Bench { dir, hands, spool }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_made_while_mail_goes_through_is_one_whole_moment() {
    let bench = Bench::new();
    let flow = async {
        for round in 0..60 {
            let body = large(round);
            bench.take_in(&key(1, u32::from(round) + 1), &body).await;
            bench.take_out("relay", &["a@x.example"], &body).await;
            for claim in bench.claim_in().await {
                bench.settle(claim.delivery, delivered()).await;
                bench.spool.acknowledged(vec![claim.message]).await.unwrap();
            }
            for claim in bench.claim_out().await {
                bench
                    .settle(claim.recipients[0].delivery, delivered())
                    .await;
            }
        }
    };
    let copies = async {
        let mut with_bodies = 0;
        for round in 0..12 {
            let copy = copied(&bench, &round.to_string()).await;
            for row in copy.spool.queue(None).unwrap() {
                assert_ne!(row.state, "held", "{row:#?}");
                if row.state == "delivered" {
                    continue;
                }
                assert_eq!(copy.read(MessageId(row.id)).await.len(), 400_000);
                with_bodies += 1;
            }
            let named = copy.count("SELECT count(*) FROM message WHERE file IS NOT NULL");
            assert_eq!(copy.files().len() as i64, named);
        }
        with_bodies
    };
    let ((), with_bodies) = tokio::join!(flow, copies);
    assert!(with_bodies > 0, "no copy fell between take in and delivery");
}

#[tokio::test]
async fn a_restored_spool_sends_nothing_by_itself() {
    let bench = Bench::new();
    let reply = bench
        .take_out("relay", &["a@x.example", "b@x.example"], &large(1))
        .await;
    let question = bench.take_in(&key(1, 1), b"x").await;
    assert!(matches!(question, Taken::New(_)));
    let copy = copied(&bench, "copy").await;
    assert_eq!(copy.spool.hold_all("restored").await.unwrap(), 2);
    copy.hands.pass(30 * 86_400);
    assert!(copy.claim_out().await.is_empty());
    assert!(copy.claim_in().await.is_empty());
    for row in copy.spool.queue(None).unwrap() {
        assert_eq!((&row.state[..], &row.why[..]), ("held", "restored"));
    }
    // What a person releases goes on.
    assert_eq!(copy.spool.release_held(vec![reply]).await.unwrap(), 1);
    let claim = copy.claim_out().await.remove(0);
    assert_eq!(claim.recipients.len(), 2);
    assert_eq!(copy.read(reply).await, large(1));
}

#[test]
fn the_database_as_it_was_before_an_upgrade_is_kept_for_a_week() {
    let dir = tempfile::tempdir().unwrap();
    let database = dir.path().join("spool.db");
    let conn = crate::open::connect(&database).unwrap();
    conn.execute_batch(include_str!("../migrations/0001-spool.sql"))
        .unwrap();
    conn.execute_batch(
        "PRAGMA user_version = 1; PRAGMA application_id = 0x5053544e;
         INSERT INTO message (direction, account, sender, header_from, header_subject, header_message_id, size, place, durable, taken_at)
           VALUES ('out', 'relay', 'desk@example.com', '', '', '', 1, 'inline', 1, 1800000000);
         INSERT INTO body VALUES (1, x'78');
         INSERT INTO delivery (message, direction, account, recipient, state, due_at, since)
           VALUES (1, 'out', 'relay', 'a@x.example', 'due', 1800000000, 1800000000);",
    )
    .unwrap();
    drop(conn);
    let open = || Spool::open_at(dir.path(), Hands::default().clock()).unwrap();
    assert_eq!(open().queue(None).unwrap().len(), 1);
    let former = dir.path().join("spool.db.version-1");
    let conn = rusqlite::Connection::open(&former).unwrap();
    let kept = conn.query_row("SELECT recipient FROM delivery", (), |row| {
        row.get::<_, String>(0)
    });
    assert_eq!(kept.unwrap(), "a@x.example");
    drop(conn);
    open();
    assert!(former.exists());
    let file = std::fs::File::open(&former).unwrap();
    let last_week = std::time::SystemTime::now() - crate::backup::UPGRADE_KEPT;
    file.set_modified(last_week).unwrap();
    open();
    assert!(!former.exists());
}
