//! Bodies, small and large, whole and torn.

use super::*;
use crate::body::CHUNK;

#[tokio::test]
async fn fifty_megabytes_pass_through_one_chunk_of_memory() {
    let bench = Bench::new();
    let piece: Vec<u8> = (0..100_000u32).map(|i| (i % 253) as u8).collect();
    let mut body = bench.spool.body();
    for _ in 0..500 {
        body.write(&piece).await.unwrap();
        assert!(body.memory() <= CHUNK, "{} bytes held", body.memory());
    }
    assert_eq!(body.len(), 50_000_000);
    let body = body.finish(true).await.unwrap();
    let mut hasher = <sha2::Sha256 as sha2::Digest>::new();
    for _ in 0..500 {
        sha2::Digest::update(&mut hasher, &piece);
    }
    assert_eq!(
        body.sha256,
        <[u8; 32]>::from(sha2::Digest::finalize(hasher))
    );
    let incoming = Incoming {
        key: key(1, 1),
        headline: headline("big"),
        provider_id: None,
        marks: Marks::default(),
        body,
    };
    let Taken::New(message) = bench.spool.take_in(incoming).await.unwrap() else {
        panic!("it is new");
    };
    let Stored::File(file) = bench.spool.open_body(message).await.unwrap() else {
        panic!("it is a file");
    };
    assert_eq!(file.metadata().unwrap().len(), 50_000_000);
}

#[tokio::test]
async fn bodies_of_every_size_around_a_chunk_come_back_byte_for_byte() {
    let bench = Bench::new();
    for (uid, size) in (1..).zip([0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK + 7]) {
        let bytes: Vec<u8> = (0..size).map(|i| (i % 249) as u8).collect();
        let mut body = bench.spool.body();
        for part in bytes.chunks(77_777) {
            body.write(part).await.unwrap();
        }
        let body = body.finish(false).await.unwrap();
        assert_eq!(body.len, size as u64);
        let incoming = Incoming {
            key: key(1, uid),
            headline: headline("x"),
            provider_id: None,
            marks: Marks::default(),
            body,
        };
        let Taken::New(message) = bench.spool.take_in(incoming).await.unwrap() else {
            panic!("it is new");
        };
        assert_eq!(bench.read(message).await, bytes, "{size} bytes");
        assert_eq!(
            bench.files().len() as i64,
            bench.count("SELECT count(*) FROM message WHERE place = 'file'")
        );
    }
    assert_eq!(bench.files().len(), 3, "up to a chunk it is a row");
}

#[tokio::test]
async fn what_is_not_taken_leaves_nothing() {
    let bench = Bench::new();
    let mut unfinished = bench.spool.body();
    unfinished.write(&large(1)).await.unwrap();
    assert_eq!(bench.files().len(), 1);
    drop(unfinished);
    assert!(bench.files().is_empty());

    let untaken = bench.body(&large(1), true).await;
    assert_eq!(bench.files().len(), 1);
    drop(untaken);
    assert!(bench.files().is_empty());
}

#[tokio::test]
async fn a_cancelled_write_spoils_its_body_and_leaves_nothing() {
    let bench = Bench::new();
    let mut body = bench.spool.body();
    body.write(&vec![1; CHUNK]).await.unwrap();
    let bytes = vec![2; CHUNK];
    let mut write = Box::pin(body.write(&bytes));
    let polled = std::future::poll_fn(|cx| std::task::Poll::Ready(write.as_mut().poll(cx))).await;
    assert!(polled.is_pending());
    drop(write);
    assert!(matches!(
        body.write(b"x").await,
        Err(SpoolError::Misused(_))
    ));
    assert!(matches!(
        body.finish(false).await,
        Err(SpoolError::Misused(_))
    ));
    wait_for(|| bench.files().is_empty());
}

#[tokio::test]
async fn the_file_of_a_message_goes_after_its_message() {
    let bench = Bench::new();
    bench.take_in(&key(1, 1), &large(1)).await;
    bench.take_out("relay", &["a@x.example"], &large(2)).await;
    assert_eq!(bench.files().len(), 2);
    let claim = bench.claim_in().await.remove(0);
    bench.settle(claim.delivery, delivered()).await;
    assert_eq!(bench.files().len(), 2);
    bench.spool.acknowledged(vec![claim.message]).await.unwrap();
    let claim = bench.claim_out().await.remove(0);
    bench
        .settle(claim.recipients[0].delivery, delivered())
        .await;
    wait_for(|| bench.files().is_empty());
}

#[tokio::test]
async fn an_outbound_body_that_may_not_be_on_disk_is_refused() {
    let bench = Bench::new();
    let outgoing = Outgoing {
        sender: String::new(),
        relay: "relay".into(),
        recipients: vec!["a@x.example".into()],
        ret: None,
        envid: None,
        automatic: false,
        conversation: None,
        smtputf8: false,
        eight_bit: false,
        headline: Headline::default(),
        body: bench.body(&large(1), false).await,
    };
    assert!(matches!(
        bench.spool.take_out(outgoing).await,
        Err(SpoolError::Misused(_))
    ));
    assert!(bench.files().is_empty());
    assert!(bench.spool.queue(None).unwrap().is_empty());
}

#[tokio::test]
async fn orphans_are_swept_at_the_start() {
    let bench = Bench::new();
    bench.take_in(&key(1, 1), &large(1)).await;
    let named = bench.files();
    let orphan = format!("spool/{:032x}", 7);
    std::fs::write(bench.dir.path().join(orphan), b"x").unwrap();
    let notes = bench.dir.path().join("spool/notes");
    std::fs::write(&notes, b"a person's").unwrap();
    let bench = bench.reopen();
    std::fs::remove_file(notes).unwrap();
    assert_eq!(bench.files(), named);
}

#[tokio::test]
async fn a_torn_inbound_body_is_fetched_again() {
    type Tear = fn(&Path);
    let tears: [Tear; 3] = [
        |file| std::fs::write(file, &large(1)[..100_000]).unwrap(),
        |file| std::fs::write(file, vec![0; 400_000]).unwrap(),
        |file| std::fs::remove_file(file).unwrap(),
    ];
    for tear in tears {
        let bench = Bench::new();
        bench.take_in(&key(1, 1), b"whole").await;
        bench.take_in(&key(1, 2), &large(1)).await;
        tear(&bench.dir.path().join("spool").join(&bench.files()[0]));
        let bench = bench.reopen();
        assert!(bench.files().is_empty());
        assert_eq!(
            bench.spool.unknown("support", "INBOX", 1, &[1, 2]).unwrap(),
            [2]
        );
        assert!(matches!(
            bench.take_in(&key(1, 2), &large(1)).await,
            Taken::New(_)
        ));
        assert_eq!(bench.claim_in().await.len(), 2);
    }
}

#[tokio::test]
async fn a_body_that_outlives_its_session_is_made_durable_and_later_damage_is_shown() {
    let bench = Bench::new();
    let Taken::New(message) = bench.take_in(&key(1, 1), &large(1)).await else {
        panic!("it is new");
    };
    assert_eq!(bench.count("SELECT durable FROM message"), 0);
    let claim = bench.claim_in().await.remove(0);
    bench.settle(claim.delivery, retry()).await;
    assert_eq!(bench.count("SELECT durable FROM message"), 1);

    std::fs::write(
        bench.dir.path().join("spool").join(&bench.files()[0]),
        b"cut",
    )
    .unwrap();
    let bench = bench.reopen();
    let row = bench.spool.show(message).unwrap().unwrap().row;
    assert_eq!(
        row.state, "held",
        "a mailbox may not hold it any more, so it is not just forgotten"
    );
    assert!(row.why.starts_with("its body is damaged: "), "{}", row.why);
    assert_eq!(bench.spool.retry(None).await.unwrap(), 1);
    assert_eq!(
        bench.spool.unknown("support", "INBOX", 1, &[1]).unwrap(),
        [1]
    );
}

#[tokio::test]
async fn a_damaged_outbound_body_is_held_and_never_sent() {
    let bench = Bench::new();
    let message = bench.take_out("relay", &["a@x.example"], &large(1)).await;
    let file = bench.dir.path().join("spool").join(&bench.files()[0]);
    std::fs::write(&file, b"cut").unwrap();
    assert!(matches!(
        bench.spool.open_body(message).await,
        Err(SpoolError::Torn { .. })
    ));
    let bench = bench.reopen();
    assert!(bench.claim_out().await.is_empty());
    let row = bench.spool.show(message).unwrap().unwrap().row;
    assert_eq!(row.state, "held");
    assert!(row.why.contains("has 3 of 400000 bytes"), "{}", row.why);
}

/// Files go beside the writing, a moment after the commit.
fn wait_for(done: impl Fn() -> bool) {
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while !done() {
        assert!(std::time::Instant::now() < deadline, "waited for 10 s");
        std::thread::yield_now();
    }
}
