//! Framing over an in-memory pipe: every split, every cap, every kind of end.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::*;

const LIMIT: Duration = Duration::from_secs(60);

fn pair() -> (Lines<DuplexStream>, DuplexStream) {
    let (ours, theirs) = duplex(1 << 20);
    (Lines::new(ours, LIMIT), theirs)
}

/// Lines over `bytes` and then the end of the file.
async fn fed(bytes: &[u8]) -> Lines<DuplexStream> {
    let (lines, mut peer) = pair();
    peer.write_all(bytes).await.unwrap();
    lines
}

fn line(bytes: &[u8], crlf: bool) -> Line {
    Line {
        bytes: bytes.to_vec(),
        crlf,
    }
}

#[tokio::test]
async fn lines_are_the_same_wherever_the_input_is_split() {
    let input = b"one\r\n\r\nbare\nin\rside\r\r\n\0nul\r\n";
    let expected = [
        line(b"one", true),
        line(b"", true),
        line(b"bare", false),
        line(b"in\rside\r", true),
        line(b"\0nul", true),
    ];
    for split in 0..=input.len() {
        let (mut lines, mut peer) = pair();
        let (head, tail) = input.split_at(split);
        peer.write_all(head).await.unwrap();
        let reader = async {
            let mut got = Vec::new();
            for _ in &expected {
                got.push(lines.line(20).await.unwrap());
            }
            assert!(matches!(lines.line(20).await, Err(LineError::Closed)));
            got
        };
        let writer = async move {
            tokio::task::yield_now().await;
            peer.write_all(tail).await.unwrap();
        };
        let (got, ()) = tokio::join!(reader, writer);
        assert_eq!(got, expected, "split at {split}");
    }
}

#[tokio::test]
async fn a_line_may_be_as_long_as_the_cap_and_not_a_byte_longer() {
    for end in ["\r\n", "\n"] {
        let mut lines = fed(format!("12345{end}").as_bytes()).await;
        assert_eq!(lines.line(5).await.unwrap().bytes, b"12345");
        let mut lines = fed(format!("123456{end}next{end}").as_bytes()).await;
        assert!(matches!(
            lines.line(5).await,
            Err(LineError::TooLong { cap: 5 })
        ));
        lines.skip_line(100).await.unwrap();
        assert_eq!(lines.line(5).await.unwrap().bytes, b"next");
    }
}

#[tokio::test]
async fn an_endless_line_is_refused_while_it_arrives_and_skipped_only_so_far() {
    let (mut lines, mut peer) = pair();
    peer.write_all(&[b'x'; 200_000]).await.unwrap();
    assert!(matches!(
        lines.line(1000).await,
        Err(LineError::TooLong { cap: 1000 })
    ));
    assert!(
        lines.buffered().len() <= 2 * READ_SIZE,
        "no more is held than was needed to see it"
    );
    assert!(matches!(
        lines.skip_line(50_000).await,
        Err(LineError::TooLong { cap: 50_000 })
    ));
}

#[tokio::test]
async fn skipping_works_wherever_the_over_long_line_is_split() {
    let input = b"too long a line\r\nok\r\n";
    for split in 0..=input.len() {
        let (mut lines, mut peer) = pair();
        let (head, tail) = input.split_at(split);
        peer.write_all(head).await.unwrap();
        let reader = async {
            assert!(matches!(
                lines.line(3).await,
                Err(LineError::TooLong { .. })
            ));
            lines.skip_line(100).await.unwrap();
            lines.line(3).await.unwrap()
        };
        let writer = async move {
            tokio::task::yield_now().await;
            peer.write_all(tail).await.unwrap();
        };
        let (got, ()) = tokio::join!(reader, writer);
        assert_eq!(got, line(b"ok", true), "split at {split}");
    }
}

#[tokio::test]
async fn a_buffer_that_grew_for_a_long_line_is_given_back() {
    let mut input = vec![b'x'; 500_000];
    input.extend_from_slice(b"\r\nshort\r\n");
    let mut lines = fed(&input).await;
    assert_eq!(lines.line(1 << 20).await.unwrap().bytes.len(), 500_000);
    lines.line(10).await.unwrap();
    assert!(lines.buf.capacity() <= KEEP_SIZE);
}

#[tokio::test]
async fn the_end_in_the_middle_of_a_line_is_closed_and_never_a_line() {
    let mut lines = fed(b"whole\r\nhalf").await;
    assert_eq!(lines.line(10).await.unwrap().bytes, b"whole");
    assert!(matches!(lines.line(10).await, Err(LineError::Closed)));
    assert!(matches!(lines.skip_line(10).await, Err(LineError::Closed)));
}

#[tokio::test(start_paused = true)]
async fn silence_ends_every_wait() {
    let (ours, _peer) = duplex(4);
    let mut lines = Lines::new(ours, LIMIT);
    let late = |result: Result<(), LineError>| {
        assert!(matches!(result, Err(LineError::Timeout { after }) if after == LIMIT));
    };
    late(lines.line(10).await.map(drop));
    late(lines.skip_line(10).await);
    late(lines.chunk().await.map(drop));
    late(lines.take(1).await.map(drop));
    late(lines.send(b"more than the pipe takes").await);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_drips_cannot_stretch_one_line_beyond_the_timeout() {
    let (mut lines, mut peer) = pair();
    let started = Instant::now();
    let drip = async {
        loop {
            peer.write_all(b"x").await.unwrap();
            tokio::time::sleep(Duration::from_secs(50)).await;
        }
    };
    tokio::select! {
        ended = lines.line(1000) => assert!(matches!(ended, Err(LineError::Timeout { .. }))),
        () = drip => unreachable!("it drips for ever"),
    }
    assert_eq!(started.elapsed(), LIMIT);
}

#[tokio::test]
async fn a_read_dropped_midway_loses_nothing() {
    let (mut lines, mut peer) = pair();
    for piece in [&b"fir"[..], b"st\r", b"\nsec"] {
        let before = lines.buffered().len();
        peer.write_all(piece).await.unwrap();
        tokio::select! {
            biased;
            got = lines.line(10) => assert_eq!(got.unwrap().bytes, b"first"),
            () = tokio::task::yield_now() => assert!(lines.buffered().len() > before),
        }
    }
    peer.write_all(b"ond\r\n").await.unwrap();
    assert_eq!(lines.line(10).await.unwrap().bytes, b"second");
}

#[tokio::test]
async fn a_body_streams_in_chunks_and_the_next_line_follows_it() {
    let body = vec![7u8; 300_000];
    let mut input = b"{300000}\r\n".to_vec();
    input.extend_from_slice(&body);
    input.extend_from_slice(b")\r\n");
    let mut lines = fed(&input).await;
    lines.line(20).await.unwrap();
    let mut left = body.len();
    while left > 0 {
        let chunk = lines.chunk().await.unwrap();
        assert!(!chunk.is_empty() && chunk.len() <= READ_SIZE);
        let used = chunk.len().min(left);
        assert!(chunk[..used].iter().all(|byte| *byte == 7));
        left -= used;
        lines.consume(used);
    }
    assert_eq!(lines.line(20).await.unwrap(), line(b")", true));
    assert!(lines.chunk().await.unwrap().is_empty(), "end of file");
}

#[tokio::test]
async fn a_short_literal_is_taken_whole_or_not_at_all() {
    let mut lines = fed(b"abcdef\r\nxy").await;
    assert_eq!(lines.take(0).await.unwrap(), b"");
    assert_eq!(lines.take(6).await.unwrap(), b"abcdef");
    assert_eq!(lines.line(1).await.unwrap(), line(b"", true));
    assert!(matches!(lines.take(3).await, Err(LineError::Closed)));
    assert_eq!(lines.buffered(), b"xy");
}

#[tokio::test]
async fn bytes_from_before_tls_never_cross_the_switch() {
    let mut lines = fed(b"220 go ahead\r\n250 injected\r\n").await;
    lines.line(100).await.unwrap();
    assert!(matches!(
        lines.into_stream(),
        Err(LineError::Injected { count: 14 })
    ));
    let mut clean = fed(b"220 go ahead\r\n").await;
    clean.line(100).await.unwrap();
    assert!(clean.into_stream().is_ok());
}

#[tokio::test]
async fn parts_carry_what_was_not_used() {
    let mut lines = fed(b"a\r\nrest").await;
    lines.line(10).await.unwrap();
    let (_stream, rest) = lines.into_parts();
    assert_eq!(rest, b"rest");
}

#[tokio::test]
async fn what_is_sent_arrives_and_close_ends_it() {
    let (mut lines, mut peer) = pair();
    lines.put(b"DATA ").await.unwrap();
    lines.send(b"done\r\n").await.unwrap();
    lines.close().await.unwrap();
    let mut got = Vec::new();
    peer.read_to_end(&mut got).await.unwrap();
    assert_eq!(got, b"DATA done\r\n");
}
