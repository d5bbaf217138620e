//! One message after another: envelopes, texts, answers, and what is lost or in doubt.
use super::*;

#[tokio::test(start_paused = true)]
async fn a_pipelined_message_goes_out_stuffed_and_every_recipient_has_its_own_answer() {
    let acts = [
        Hear("MAIL FROM:<a@b.example> SIZE=25"),
        Hear("RCPT TO:<one@x>"),
        Hear("RCPT TO:<two@x>"),
        Hear("RCPT TO:<three@x>"),
        Hear("DATA"),
        Say("250 ok\r\n250 ok\r\n550 5.1.1 no such user\r\n451 4.2.1 busy\r\n354 go\r\n"),
        Body("Subject: x\r\n\r\n..dot\r\nend\r\n.\r\n"),
        Say("250 2.0.0 queued\r\n"),
        Hear("MAIL FROM:<a@b.example> SIZE=25"),
        Hear("RCPT TO:<four@x>"),
        Hear("DATA"),
        Say("250 ok\r\n250 ok\r\n354 go\r\n"),
        Body("Subject: x\r\n\r\n..dot\r\nend\r\n.\r\n"),
        Say("554 5.6.0 rejected\r\n"),
        Hear("QUIT"),
        Say("221 bye\r\n"),
    ];
    with(ALL, &acts, |client| async {
        let sent = send(client, &["one@x", "two@x", "three@x"]).await;
        assert_eq!(
            all_shown(&sent),
            [
                "the end of the message: 250 2.0.0 queued",
                "RCPT: 550 5.1.1 no such user",
                "RCPT: 451 4.2.1 busy"
            ]
        );
        let sent = send(sent.connection.expect("in step"), &["four@x"]).await;
        assert_eq!(
            all_shown(&sent),
            ["the end of the message: 554 5.6.0 rejected"]
        );
        sent.connection.expect("in step").quit().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn without_pipelining_each_reply_is_awaited_and_data_is_not_said_for_nobody() {
    let acts = [
        Hear("MAIL FROM:<a@b.example>"),
        Say("250 ok\r\n"),
        Hear("RCPT TO:<one@x>"),
        Say("550 no\r\n"),
        Hear("RCPT TO:<two@x>"),
        Say("450 later\r\n"),
        Hear("RSET"),
        Say("250 ok\r\n"),
        Hear("MAIL FROM:<a@b.example>"),
        Say("451 not now\r\n"),
        Hear("RSET"),
        Say("250 ok\r\n"),
        Hear("MAIL FROM:<a@b.example>"),
        Say("250 ok\r\n"),
        Hear("RCPT TO:<one@x>"),
        Say("251 forwarded\r\n"),
        Hear("DATA"),
        Say("354 go\r\n"),
        Body("Subject: x\r\n\r\n..dot\r\nend\r\n.\r\n"),
        Say("250 ok\r\n"),
    ];
    with(BARE, &acts, |client| async {
        let sent = send(client, &["one@x", "two@x"]).await;
        assert_eq!(all_shown(&sent), ["RCPT: 550 no", "RCPT: 450 later"]);
        let sent = send(sent.connection.expect("in step"), &["one@x", "two@x"]).await;
        assert_eq!(all_shown(&sent), ["MAIL: 451 not now", "MAIL: 451 not now"]);
        let sent = send(sent.connection.expect("in step"), &["one@x"]).await;
        assert_eq!(all_shown(&sent), ["the end of the message: 250 ok"]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn if_all_recipients_are_refused_and_data_is_not_the_server_gets_an_empty_message() {
    let acts = [
        Swallow("MAIL FROM:<a@b.example> SIZE=25\r\nRCPT TO:<one@x>\r\nDATA\r\n".len()),
        Say("250 ok\r\n550 no\r\n354 go\r\n"),
        Body(".\r\n"),
        Say("250 taken, whatever it was\r\n"),
        Hear("MAIL FROM:<a@b.example> SIZE=25"),
        Swallow("RCPT TO:<two@x>\r\nDATA\r\n".len()),
        Say("550 5.7.1 not you\r\n503 mail first\r\n354 go all the same\r\n"),
        Body(".\r\n"),
        Say("554 nothing to do\r\n"),
        Hear("MAIL FROM:<a@b.example> SIZE=25"),
        Swallow("RCPT TO:<three@x>\r\nDATA\r\n".len()),
        Say("250 ok\r\n550 no\r\n554 no valid recipients\r\n"),
        Hear("RSET"),
        Say("250 ok\r\n"),
        Hear("MAIL FROM:<a@b.example> SIZE=25"),
        Swallow("RCPT TO:<four@x>\r\nDATA\r\n".len()),
        Say("250 ok\r\n250 ok\r\n452 disk full\r\n"),
    ];
    with(ALL, &acts, |client| async {
        let sent = send(client, &["one@x"]).await;
        assert_eq!(all_shown(&sent), ["RCPT: 550 no"]);
        let sent = send(sent.connection.expect("in step"), &["two@x"]).await;
        assert_eq!(all_shown(&sent), ["MAIL: 550 5.7.1 not you"]);
        let sent = send(sent.connection.expect("in step"), &["three@x"]).await;
        assert_eq!(all_shown(&sent), ["RCPT: 550 no"]);
        let sent = send(sent.connection.expect("in step"), &["four@x"]).await;
        assert_eq!(all_shown(&sent), ["DATA: 452 disk full"]);
        assert!(sent.connection.is_some());
    })
    .await;
}

/// What the server does after the envelope, and what each recipient's answer must begin with.
#[tokio::test(start_paused = true)]
async fn a_failure_is_lost_before_the_final_dot_and_in_doubt_after_it() {
    let head = [
        Swallow("MAIL FROM:<a@b.example> SIZE=25\r\nRCPT TO:<one@x>\r\nDATA\r\n".len()),
        Say("250 ok\r\n250 ok\r\n"),
    ];
    let text = Body("Subject: x\r\n\r\n..dot\r\nend\r\n.\r\n");
    for (acts, expected, minutes) in [
        (&[Hang][..], "lost: at DATA: nothing heard", 5),
        (&[], "lost: at DATA: the connection was closed", 0),
        (
            &[Say("421 4.3.0 going down\r\n")],
            "DATA: 421 4.3.0 going down",
            0,
        ),
        (
            &[Say("250 what?\r\n")],
            "lost: the server answered DATA with 250",
            0,
        ),
        (
            &[Say("garbage\r\n")],
            "lost: at DATA: the server does not speak SMTP",
            0,
        ),
        (
            &[Say("354 go\r\n"), text, Hang],
            "in doubt: at the end of the message: nothing heard",
            10,
        ),
        (
            &[Say("354 go\r\n"), text],
            "in doubt: at the end of the message: the connection was closed",
            0,
        ),
        (
            &[Say("354 go\r\n"), text, Say("250-half\r\n")],
            "in doubt: at the end of the message: the connection",
            0,
        ),
        (
            &[Say("354 go\r\n"), text, Say("nonsense\r\n")],
            "in doubt: at the end of the message: the server does not",
            0,
        ),
        (
            &[Say("354 go\r\n"), text, Say("354 again\r\n")],
            "in doubt: the server answered the end of the message with 354",
            0,
        ),
        (
            &[Say("354 go\r\n"), text, Say("421 4.3.0 not taken\r\n")],
            "the end of the message: 421 4.3.0 not taken",
            0,
        ),
    ] {
        let acts: Vec<Act> = head.iter().chain(acts).copied().collect();
        let begun = Instant::now();
        let sent = with(ALL, &acts, |client| async {
            send(client, &["one@x"]).await
        })
        .await;
        assert!(
            shown(&sent.answers[0]).starts_with(expected),
            "{:?} is not {expected:?}",
            shown(&sent.answers[0])
        );
        assert!(
            sent.connection.is_none(),
            "{expected}: the connection must not be used again"
        );
        assert_eq!(begun.elapsed().as_secs() / 60, minutes, "{expected}");
        assert!(!sent.untouched, "{expected}: the server had begun");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_in_the_middle_of_the_text_is_heard() {
    let size = 4 << 20;
    let text = vec![b'x'; size];
    let acts = [
        Hear("MAIL FROM:<a@b.example> SIZE=4194304"),
        Hear("RCPT TO:<one@x>"),
        Hear("DATA"),
        Say("250 ok\r\n250 ok\r\n354 go\r\n"),
        Swallow(100_000),
        Say("552 5.3.4 too big after all\r\n"),
    ];
    let offer = "250-mx.example\r\n250-PIPELINING\r\n250 SIZE\r\n";
    let sent = with(offer, &acts, |client| async {
        let recipients = [to("one@x")];
        let envelope = Envelope {
            size: size as u64,
            ..envelope(&recipients)
        };
        client
            .send(envelope, Pieces::of(Stored::Inline(text)))
            .await
    })
    .await;
    assert_eq!(
        all_shown(&sent),
        ["the end of the message: 552 5.3.4 too big after all"]
    );
    assert!(sent.connection.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_kept_connection_that_was_closed_meanwhile_has_not_touched_the_message() {
    for acts in [&[][..], &[Say("421 4.4.2 idle too long\r\n")]] {
        let sent = with(ALL, acts, |client| async { send(client, &["one@x"]).await }).await;
        assert!(
            sent.untouched && sent.connection.is_none(),
            "{:?}",
            all_shown(&sent)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_server_cannot_take_is_not_sent_and_the_connection_lives_on() {
    let small = "250-mx.example\r\n250-SIZE 20\r\n250 8BITMIME\r\n";
    let one = [to("x@y")];
    let fits = Envelope {
        size: 10,
        ..envelope(&one)
    };
    let evil = [to("x@y>\r\nRCPT TO:<z@y")];
    let evil_sender = "a@b> SIZE=1 <";
    for (offer, envelope, expected) in [
        (small, envelope(&one), "25 bytes"),
        (
            small,
            Envelope {
                smtputf8: true,
                utf8_header: true,
                ..fits
            },
            "SMTPUTF8",
        ),
        (
            BARE,
            Envelope {
                eight_bit: true,
                ..fits
            },
            "8BITMIME",
        ),
        (
            BARE,
            Envelope {
                recipients: &evil,
                ..fits
            },
            "not an address",
        ),
        (
            BARE,
            Envelope {
                sender: evil_sender,
                ..fits
            },
            "not an address",
        ),
    ] {
        // A server that hears anything but QUIT fails the test.
        let acts = [Hear("QUIT"), Say("221 bye\r\n")];
        with(offer, &acts, |client| async move {
            let sent = client
                .send(envelope, Pieces::of(Stored::Inline(TEXT.to_vec())))
                .await;
            let answer = shown(&sent.answers[0]);
            assert!(
                answer.starts_with("impossible: ") && answer.contains(expected),
                "{answer}"
            );
            sent.connection.expect("in step").quit().await;
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_stored_message_that_is_not_whole_never_gets_its_final_dot() {
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(&TEXT[..10]).expect("a disk");
    let acts = [
        Swallow("MAIL FROM:<a@b.example> SIZE=25\r\nRCPT TO:<one@x>\r\nDATA\r\n".len()),
        Say("250 ok\r\n250 ok\r\n354 go\r\n"),
        Hang,
    ];
    let sent = with(ALL, &acts, |client| async {
        use std::io::Seek;
        (&file).rewind().expect("a file");
        client
            .send(envelope(&[to("one@x")]), Pieces::of(Stored::File(file)))
            .await
    })
    .await;
    assert_eq!(
        all_shown(&sent),
        ["lost: the stored message has 10 bytes instead of 25"]
    );
    assert!(sent.connection.is_none());
}

#[tokio::test(start_paused = true)]
async fn many_recipients_go_in_batches_that_cannot_fill_both_sides_buffers() {
    let addresses: Vec<String> = (0..200).map(|n| format!("r{n}@x.example")).collect();
    let recipients: Vec<&str> = addresses.iter().map(String::as_str).collect();
    let (near, far) = tokio::io::duplex(4096);
    let server = async {
        let mut lines = Lines::new(far, Duration::from_secs(3600));
        lines
            .send(format!("220 mx\r\n{ALL}").as_bytes())
            .await
            .expect("a client");
        let long = "x".repeat(500);
        loop {
            let line = lines.line(4096).await.expect("a client").bytes;
            match &line[..4] {
                b"EHLO" => {}
                b"DATA" => break lines.send(b"354 go\r\n").await.expect("a client"),
                _ => lines
                    .send(format!("250 {long}\r\n").as_bytes())
                    .await
                    .expect("a client"),
            }
        }
        while lines.line(4096).await.expect("a client").bytes != b"." {}
        lines.send(b"250 ok\r\n").await.expect("a client");
    };
    let client = async {
        let client = Client::greet(near, "me", Patience::default())
            .await
            .expect("a greeting");
        send(client, &recipients).await
    };
    let (sent, ()) = tokio::join!(client, server);
    assert_eq!(sent.answers.len(), 200);
    assert!(
        sent.answers
            .iter()
            .all(|answer| shown(answer) == "the end of the message: 250 ok")
    );
}

/// The trap of the shifted replies: a send that was given up must take its connection with it.
#[tokio::test]
async fn a_cancelled_send_closes_its_connection() {
    let (near, far) = tokio::io::duplex(4096);
    let mut server = Lines::new(far, Duration::from_secs(10));
    server
        .send(format!("220 mx\r\n{ALL}").as_bytes())
        .await
        .expect("a client");
    let client = Client::greet(near, "me", Patience::default())
        .await
        .expect("a greeting");
    let given_up = tokio::time::timeout(Duration::from_millis(20), send(client, &["one@x"])).await;
    assert!(given_up.is_err());
    for expected in ["EHLO", "MAIL", "RCPT", "DATA"] {
        assert_eq!(
            &server.line(4096).await.expect("what was sent").bytes[..4],
            expected.as_bytes()
        );
    }
    assert!(matches!(server.line(4096).await, Err(LineError::Closed)));
}
