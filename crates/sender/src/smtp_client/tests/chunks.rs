//! BDAT: probed before it is trusted with bytes, pipelined with the envelope after that, in pieces, and given up for DATA.
use super::*;

const OFFER: &str = "250-mx.example\r\n250-PIPELINING\r\n250 CHUNKING\r\n";
const FIRST: [Act; 5] = [
    Hear("MAIL FROM:<a@b.example>"),
    Hear("RCPT TO:<one@x>"),
    Hear("BDAT 10"),
    Swallow("Subject: x".len()),
    Say("250 ok\r\n250 ok\r\n250 10 octets\r\n"),
];
/// As lines: the chunk's text is not stuffed.
const REST: [Act; 6] = [
    Hear("BDAT 15 LAST"),
    Hear(""),
    Hear(""),
    Hear(".dot"),
    Hear("end"),
    Say("250 2.0.0 queued\r\n"),
];
/// What a warm connection is told in one breath.
const BREATH: [Act; 7] = [
    Hear("MAIL FROM:<a@b.example>"),
    Hear("RCPT TO:<one@x>"),
    Hear("BDAT 25 LAST"),
    Hear("Subject: x"),
    Hear(""),
    Hear(".dot"),
    Hear("end"),
];

fn acts(parts: &[&[Act]]) -> Vec<Act> {
    parts.concat()
}

fn queued(sent: &Sent<DuplexStream>) {
    assert_eq!(
        all_shown(sent),
        ["the end of the message: 250 2.0.0 queued"]
    );
}

#[tokio::test(start_paused = true)]
async fn the_first_message_asks_with_a_few_bytes_and_the_next_goes_in_one_breath_with_its_envelope()
{
    let taken = [Say("250 ok\r\n250 ok\r\n250 2.0.0 queued\r\n")];
    let all = acts(&[&FIRST, &REST, &BREATH, &taken]);
    with(OFFER, &all, |client| async {
        let first = send(client, &["one@x"]).await;
        queued(&first);
        let second = send(first.connection.expect("in step"), &["one@x"]).await;
        queued(&second);
        assert!(second.connection.is_some() && !second.chunking_refused);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_message_whose_first_line_is_empty_has_nothing_to_ask_with_and_goes_by_data() {
    let all = [
        Hear("MAIL FROM:<a@b.example>"),
        Hear("RCPT TO:<one@x>"),
        Hear("DATA"),
        Say("250 ok\r\n250 ok\r\n354 go\r\n"),
        Body("\r\n..x\r\n.\r\n"),
        Say("250 2.0.0 queued\r\n"),
    ];
    let sent = with(OFFER, &all, |client| async {
        let recipients = [to("one@x")];
        let text = b"\r\n.x\r\n".to_vec();
        let envelope = Envelope {
            size: text.len() as u64,
            ..envelope(&recipients)
        };
        client
            .send(envelope, Pieces::of(Stored::Inline(text)))
            .await
    })
    .await;
    queued(&sent);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_was_silent_for_a_while_is_asked_again_first() {
    let all = acts(&[&FIRST, &REST, &FIRST, &REST]);
    with(OFFER, &all, |client| async {
        let first = send(client, &["one@x"]).await;
        tokio::time::advance(Duration::from_secs(2)).await;
        queued(&send(first.connection.expect("in step"), &["one@x"]).await);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn without_pipelining_there_are_no_chunks() {
    let all = [
        Hear("MAIL FROM:<a@b.example>"),
        Say("250 ok\r\n"),
        Hear("RCPT TO:<one@x>"),
        Say("250 ok\r\n"),
        Hear("DATA"),
        Say("354 go\r\n"),
        Body("Subject: x\r\n\r\n..dot\r\nend\r\n.\r\n"),
        Say("250 2.0.0 queued\r\n"),
    ];
    let offer = "250-mx.example\r\n250 CHUNKING\r\n";
    queued(
        &with(offer, &all, |client| async {
            send(client, &["one@x"]).await
        })
        .await,
    );
}

#[tokio::test(start_paused = true)]
async fn a_server_that_lied_gets_no_line_of_the_message_as_a_command() {
    for refusal in [
        "502 5.5.1 what?",
        "500 5.5.2 unknown",
        "551 5.7.1 not like this",
    ] {
        let refused: &'static str = format!("250 ok\r\n250 ok\r\n{refusal}\r\n").leak();
        let all = acts(&[&FIRST[..4], &[Say(refused)]]);
        let sent = with(OFFER, &all, |client| async {
            send(client, &["one@x"]).await
        })
        .await;
        assert!(
            shown(&sent.answers[0]).starts_with("lost: the server refused a chunk"),
            "{refusal}"
        );
        assert!(sent.chunking_refused && sent.untouched && sent.connection.is_none());
    }
    let later = Say("250 ok\r\n250 ok\r\n451 4.3.0 later\r\n");
    let all = acts(&[&FIRST[..4], &[later]]);
    let sent = with(OFFER, &all, |client| async {
        send(client, &["one@x"]).await
    })
    .await;
    assert_eq!(all_shown(&sent), ["BDAT: 451 4.3.0 later"]);
    assert!(!sent.chunking_refused && sent.connection.is_some());
}

#[tokio::test(start_paused = true)]
async fn nothing_follows_a_first_chunk_that_nobody_is_left_for() {
    let refused = Say("250 ok\r\n550 5.1.1 no\r\n554 5.5.1 no valid recipients\r\n");
    let reset = [refused, Hear("RSET"), Say("250 ok\r\n")];
    let all = acts(&[&FIRST[..4], &reset, &FIRST, &REST]);
    with(OFFER, &all, |client| async {
        let sent = send(client, &["one@x"]).await;
        assert_eq!(all_shown(&sent), ["RCPT: 550 5.1.1 no"]);
        queued(&send(sent.connection.expect("in step"), &["one@x"]).await);
    })
    .await;
}

/// What the server does once it has all of a message that went in one breath, and the recipient's answer.
#[tokio::test(start_paused = true)]
async fn one_breath_is_in_doubt_from_the_first_byte_unless_the_server_says_otherwise() {
    for (after, expected, untouched) in [
        (&[Hang][..], "in doubt: at MAIL: nothing heard", false),
        (&[], "in doubt: at MAIL: the connection was closed", false),
        (
            &[Say("250 ok\r\n")],
            "in doubt: at RCPT: the connection was closed",
            false,
        ),
        (
            &[Say("250 ok\r\n250 ok\r\n")],
            "in doubt: at the end of the message: the connection",
            false,
        ),
        (
            &[Say("250 ok\r\n250 ok\r\n250 ok\r\n250 ok\r\n")],
            "in doubt: the server sent a reply",
            false,
        ),
        (
            &[Say("250 ok\r\n354 what?\r\n")],
            "in doubt: the server answered RCPT with 354",
            false,
        ),
        (
            &[Say("421 4.4.2 too long idle\r\n")],
            "MAIL: 421 4.4.2",
            true,
        ),
        (
            &[Say("250 ok\r\n250 ok\r\n421 4.3.0 going down\r\n")],
            "the end of the message: 421 4.3.0",
            false,
        ),
        (
            &[Say("250 ok\r\n550 5.1.1 no\r\n")],
            "RCPT: 550 5.1.1 no",
            false,
        ),
        (
            &[Say("250 ok\r\n250 ok\r\n502 5.5.1 BDAT?\r\n")],
            "lost: the server refused a chunk",
            true,
        ),
    ] {
        let all = acts(&[&FIRST, &REST, &BREATH, after]);
        let sent = with(OFFER, &all, |client| async {
            let first = send(client, &["one@x"]).await;
            send(first.connection.expect("in step"), &["one@x"]).await
        })
        .await;
        let shown = shown(&sent.answers[0]);
        assert!(shown.starts_with(expected), "{shown:?} is not {expected:?}");
        assert!(sent.connection.is_none(), "{expected}");
        assert_eq!(sent.untouched, untouched, "{expected}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_breath_that_is_refused_leaves_the_connection_to_a_reset() {
    let full = [
        Say("250 ok\r\n250 ok\r\n552 5.2.2 full\r\n"),
        Hear("RSET"),
        Say("250 ok\r\n"),
    ];
    let taken = [Say("250 ok\r\n250 ok\r\n250 2.0.0 queued\r\n")];
    let all = acts(&[&FIRST, &REST, &BREATH, &full, &BREATH, &taken]);
    with(OFFER, &all, |client| async {
        let first = send(client, &["one@x"]).await;
        let second = send(first.connection.expect("in step"), &["one@x"]).await;
        assert_eq!(
            all_shown(&second),
            ["the end of the message: 552 5.2.2 full"]
        );
        queued(&send(second.connection.expect("in step"), &["one@x"]).await);
    })
    .await;
}

/// A server that counts: chunks in, replies out, and the text put together again.
async fn count_chunks(stream: DuplexStream, refuse_after: Option<usize>) -> (Vec<u8>, Vec<usize>) {
    let mut lines = Lines::new(stream, Duration::from_secs(3600));
    let (mut text, mut chunks) = (Vec::new(), Vec::new());
    lines
        .send(format!("220 mx\r\n{OFFER}").as_bytes())
        .await
        .expect("a client");
    while let Ok(line) = lines.line(4096).await {
        let line = String::from_utf8(line.bytes).expect("text");
        let mut reply = "250 ok\r\n";
        if let Some(rest) = line.strip_prefix("BDAT ") {
            let size: usize = rest
                .split(' ')
                .next()
                .and_then(|n| n.parse().ok())
                .expect("a size");
            text.extend(lines.take(size).await.expect("the chunk"));
            chunks.push(size);
            if refuse_after.is_some_and(|most| chunks.len() > most) {
                reply = "552 5.3.4 too much\r\n";
            }
        } else if line.starts_with("EHLO") {
            continue;
        }
        if lines.send(reply.as_bytes()).await.is_err() || line.ends_with("LAST") {
            break;
        }
    }
    (text, chunks)
}

async fn send_large(near: DuplexStream, text: &[u8]) -> Sent<DuplexStream> {
    let client = Client::greet(near, "me", Patience::default())
        .await
        .expect("a greeting");
    let recipients = [to("one@x")];
    let envelope = Envelope {
        size: text.len() as u64,
        ..envelope(&recipients)
    };
    client
        .send(envelope, Pieces::of(Stored::Inline(text.to_vec())))
        .await
}

#[tokio::test(start_paused = true)]
async fn a_large_message_goes_in_pieces_and_arrives_byte_for_byte() {
    for size in [40, 65_535, 65_536, 65_537, 131_072, 3_000_000] {
        let line = b".a line that is not stuffed\r\n";
        let mut text: Vec<u8> = line.iter().copied().cycle().take(size).collect();
        text.truncate(size.saturating_sub(2));
        text.extend_from_slice(b"\r\n");
        let (near, far) = tokio::io::duplex(1 << 16);
        let (sent, (arrived, chunks)) =
            tokio::join!(send_large(near, &text), count_chunks(far, None));
        assert_eq!(
            all_shown(&sent),
            ["the end of the message: 250 ok"],
            "{size}"
        );
        assert!(arrived == text, "{size}: the text was changed");
        // A piece that ends within a line end goes with the next one.
        assert!(chunks.iter().all(|c| *c <= 131_072), "{chunks:?}");
        assert!(chunks.len() > size / 131_072, "{chunks:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_a_chunk_is_heard_before_the_last_one_leaves() {
    let text = b"0123456789abcdef\r\n".repeat(100_000);
    let (near, far) = tokio::io::duplex(1 << 16);
    let (sent, (arrived, _)) = tokio::join!(send_large(near, &text), count_chunks(far, Some(3)));
    assert_eq!(
        all_shown(&sent),
        ["the end of the message: 552 5.3.4 too much"]
    );
    assert!(sent.connection.is_none() && arrived.len() < text.len());
}
