//! Pauses that servers asked for, over restarts, other servers, and clocks that are set.

use super::*;

const PEER: &str = "desk@example.com at imap.example.com:993";

fn told(seconds: u64) -> Pause {
    Pause {
        kind: PauseKind::Told,
        why: "the server asks for a pause".into(),
        left: Duration::from_secs(seconds),
    }
}

impl Bench {
    async fn keep(&self, pause: &Pause) {
        let kept = self
            .spool
            .keep_pause(Direction::In, "desk", PEER, pause)
            .await;
        kept.unwrap();
    }

    fn left(&self) -> Vec<(PauseKind, u64)> {
        let pauses = self.spool.pauses(Direction::In, "desk", PEER).unwrap();
        let left = |pause: Pause| (pause.kind, pause.left.as_secs());
        pauses.into_iter().map(left).collect()
    }
}

#[tokio::test]
async fn a_pause_outlives_the_process_and_ends_with_its_time() {
    let bench = Bench::new();
    bench.keep(&told(300)).await;
    let bench = bench.reopen();
    bench.hands.pass(100);
    assert_eq!(bench.left(), [(PauseKind::Told, 201)]);
    bench.hands.pass(201);
    assert_eq!(bench.left(), []);
    bench.keep(&told(60)).await;
    let bench = bench.reopen();
    assert_eq!(bench.left(), [(PauseKind::Told, 61)], "it is replaced");
}

#[tokio::test]
async fn a_pause_holds_for_its_account_its_direction_and_its_server_alone() {
    let bench = Bench::new();
    bench.keep(&told(300)).await;
    let spool = &bench.spool;
    for (direction, account, peer) in [
        (Direction::Out, "desk", PEER),
        (Direction::In, "sales", PEER),
        (Direction::In, "desk", "desk@example.com at elsewhere:993"),
    ] {
        assert_eq!(spool.pauses(direction, account, peer).unwrap(), []);
    }
}

#[tokio::test]
async fn the_servers_own_time_comes_first_and_a_person_ends_all_of_them() {
    let bench = Bench::new();
    for kind in [PauseKind::Turn, PauseKind::Guessed, PauseKind::Told] {
        bench.keep(&Pause { kind, ..told(9) }).await;
    }
    let kinds = |left: Vec<(PauseKind, u64)>| left.into_iter().map(|(kind, _)| kind);
    assert!(kinds(bench.left()).eq(PauseKind::ALL));
    let end = |kinds: &'static [PauseKind]| bench.spool.end_pauses(Direction::In, "desk", kinds);
    end(&[PauseKind::Told]).await.unwrap();
    assert!(kinds(bench.left()).eq([PauseKind::Guessed, PauseKind::Turn]));
    end(&PauseKind::ALL).await.unwrap();
    assert_eq!(bench.reopen().left(), []);
}

#[tokio::test]
async fn neither_a_server_nor_a_clock_makes_a_pause_longer_than_a_day() {
    let bench = Bench::new();
    bench.keep(&told(10 * 86_400)).await;
    assert_eq!(bench.left(), [(PauseKind::Told, 86_400)]);
    bench.keep(&told(300)).await;
    bench.hands.set_by(-30 * 86_400);
    assert_eq!(
        bench.left(),
        [(PauseKind::Told, 86_400)],
        "until it is followed"
    );
    // The writer follows the clock with its next job.
    bench
        .keep(&Pause {
            kind: PauseKind::Turn,
            ..told(5)
        })
        .await;
    assert_eq!(bench.left()[0], (PauseKind::Told, 301));
}

#[tokio::test]
async fn a_spool_of_the_version_before_gets_the_table_and_keeps_its_mail() {
    let dir = tempfile::tempdir().unwrap();
    let mut conn = crate::open::connect(&dir.path().join("spool.db")).unwrap();
    conn.pragma_update(None, "application_id", 0x5053_544e)
        .unwrap();
    crate::open::MIGRATIONS.to_version(&mut conn, 2).unwrap();
    conn.execute_batch(
        "INSERT INTO message (direction, account, header_from, header_subject, header_message_id, size, place, durable, taken_at)
         VALUES ('in', 'desk', '', 'kept', '', 1, 'none', 1, 1)",
    )
    .unwrap();
    drop(conn);
    let hands = Hands::default();
    let spool = Spool::open_at(dir.path(), hands.clock()).unwrap();
    let bench = Bench { dir, hands, spool };
    assert_eq!(bench.count("SELECT count(*) FROM message"), 1);
    bench.keep(&told(60)).await;
    assert_eq!(bench.left().len(), 1);
}
