//! The text of messages: byte for byte into the spool, or not at all.
use super::*;

#[tokio::test]
async fn a_message_is_in_the_spool_byte_for_byte_when_250_is_said() {
    let server = Server::start().await;
    let mut talk = server.talk().await;
    talk.until_data().await;
    talk.say("Subject: hello\r\nFrom: A <a@helpdesk.example>\r\n\r\n..dot\r\n\r\nend\r\n.\r\n")
        .await;
    assert!(talk.reply().await.starts_with("250 2.0.0 "));
    let [claim] = server.stored().await.try_into().expect("one message");
    let (received, text) = server.text(&claim).await;
    assert!(
        received.starts_with("Received: from client.example ([127.0.0.1])\r\n\tby "),
        "{received}"
    );
    assert!(received.contains(" (Postern) with ESMTP id "), "{received}");
    assert_eq!(
        text,
        b"Subject: hello\r\nFrom: A <a@helpdesk.example>\r\n\r\n.dot\r\n\r\nend\r\n"
    );
    assert_eq!(
        (claim.sender.as_str(), claim.recipients[0].address.as_str()),
        ("a@helpdesk.example", "b@example.org")
    );
    assert!(!claim.eight_bit && !claim.smtputf8);
    talk.is_in_step().await;
}

fn missing() -> header::Missing {
    trace::missing("h", "0a1b2c3d4e5f", jiff::Timestamp::now())
}

#[tokio::test]
async fn date_and_message_id_are_added_where_they_are_missing_and_nothing_else_is_touched() {
    let server = Server::start().await;
    let mut talk = server.talk().await;
    talk.until_data().await;
    talk.say("Subject: hello\r\nBcc: x@example.org\r\n\r\nDate: in the body\r\n.\r\n")
        .await;
    assert!(talk.reply().await.starts_with("250 2.0.0 "));
    let [claim] = server.stored().await.try_into().expect("one message");
    let (_, text) = server.whole(&claim).await;
    let text = String::from_utf8(text).expect("text");
    let (before, rest) = text.split_once("Date: ").expect("a date");
    assert_eq!(before, "Subject: hello\r\nBcc: x@example.org\r\n");
    let (date, rest) = rest.split_once("\r\nMessage-ID: <").expect("an id");
    assert!(jiff::fmt::rfc2822::parse(date).is_ok(), "{date}");
    let (id, body) = rest.split_once(">\r\n\r\n").expect("an end of the header");
    assert!(id.contains('@') && id.len() > 20, "{id}");
    assert_eq!(body, "Date: in the body\r\n");
}

#[tokio::test]
async fn a_sender_that_no_relay_names_is_decided_by_the_headers_from() {
    let server = Server::start().await;
    let mut talk = server.talk().await;
    for (sender, from, code) in [
        ("x@elsewhere.example", "Desk <A@helpdesk.example>", "250"),
        ("", "a@helpdesk.example", "250"),
        ("x@elsewhere.example", "b@elsewhere.example", "550"),
        ("", "b@elsewhere.example", "550"),
        ("a@helpdesk.example", "b@elsewhere.example", "250"),
    ] {
        talk.say(format!(
            "MAIL FROM:<{sender}>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n"
        ))
        .await;
        assert_eq!(
            [talk.code().await, talk.code().await, talk.code().await],
            ["250", "250", "354"]
        );
        talk.say(format!("From: {from}\r\n\r\n.\r\n")).await;
        assert_eq!(talk.code().await, code, "{sender} {from}");
        talk.is_in_step().await;
    }
    assert_eq!(server.waiting(), 3);
}

#[tokio::test]
async fn a_submission_repeated_with_its_key_is_one_message_and_the_key_is_not_sent_on() {
    let server = Server::start().await;
    let mut talk = server.talk().await;
    let mut replies = Vec::new();
    for (sender, recipient, key) in [
        ("a@helpdesk.example", "b@example.org", "one"),
        ("a@helpdesk.example", "b@example.org", "one"),
        ("b@helpdesk.example", "b@example.org", "one"),
        ("a@helpdesk.example", "b@example.org", "two"),
        // The rest of the recipients comes with a message of its own and the same key.
        ("a@helpdesk.example", "c@example.org", "one"),
    ] {
        talk.say(format!(
            "MAIL FROM:<{sender}>\r\nRCPT TO:<{recipient}>\r\nDATA\r\n"
        ))
        .await;
        assert_eq!(
            [talk.code().await, talk.code().await, talk.code().await],
            ["250", "250", "354"]
        );
        talk.say(format!(
            "X-Postern-Idempotency-Key: {key}\r\nSubject: x\r\n\r\ny\r\n.\r\n"
        ))
        .await;
        replies.push(talk.reply().await);
    }
    assert!(
        replies[1].starts_with("250 2.0.0 Ok: accepted before as "),
        "{replies:?}"
    );
    let claims = server.stored().await;
    assert_eq!(claims.len(), 4, "{replies:?}");
    for claim in &claims {
        let (_, text) = server.text(claim).await;
        assert_eq!(text, b"Subject: x\r\n\r\ny\r\n");
    }
}

/// Each sequence stands inside a message and tries to be its end, with a second message behind it.
#[tokio::test]
async fn no_smuggled_message_gets_in_and_the_session_stays_in_step() {
    let server = Server::start().await;
    let mut talk = server.talk().await;
    for inner in [
        "\n.\n",
        "\n.\r\n",
        "\r\n.\n",
        "\r.\r",
        "\r.\r\n",
        "\r\n.\r",
        "\n.\r",
        "\r.\n",
        "\r\r\n.\r\r\n",
        "\r\n.\r\r\n",
        "\n\n.\r\n",
        "a\nb",
        "a\rb",
        "a\0b",
        "\r\n\0.\r\n",
        "\r\n.\0\r\n",
    ] {
        talk.until_data().await;
        talk.say(format!("Subject: x\r\n\r\nbody{inner}MAIL FROM:<evil@helpdesk.example>\r\nRCPT TO:<v@example.org>\r\nDATA\r\n")).await;
        talk.say("Subject: smuggled\r\n\r\nevil\r\n.\r\n").await;
        let reply = talk.reply().await;
        assert!(reply.starts_with("554 5.6.0"), "{inner:?}: {reply}");
        talk.is_in_step().await;
        assert!(talk.ask("RSET").await.starts_with("250"));
    }
    assert_eq!(server.waiting(), 0);
}

#[tokio::test]
async fn a_message_over_the_limit_is_refused_at_its_end_and_one_at_the_limit_is_taken() {
    let server = Server::start().await;
    let mut talk = server.talk().await;
    let line = format!("{}\r\n", "x".repeat(998));
    let most = line.repeat(100);
    for (text, code) in [
        (format!("{most}x\r\n"), "552"),
        (most.clone(), "250"),
        (most.repeat(30), "552"),
    ] {
        talk.until_data().await;
        talk.say(format!("{text}.\r\n")).await;
        assert_eq!(talk.code().await, code);
        talk.is_in_step().await;
    }
    let [claim] = server.stored().await.try_into().expect("one message");
    assert_eq!(server.text(&claim).await.1, most.as_bytes());
}

#[tokio::test]
async fn a_large_message_with_endless_lines_comes_through_as_it_is() {
    let server = Server::with_limit(8 << 20).await;
    let mut talk = server.talk().await;
    let text = format!(
        "Subject: long\r\n\r\n{}\r\n.{}\r\n",
        "y".repeat(3 << 20),
        "z".repeat(1 << 20)
    );
    talk.until_data().await;
    talk.say(text.replace("\r\n.", "\r\n..")).await;
    talk.say(".\r\n").await;
    assert_eq!(talk.code().await, "250");
    let [claim] = server.stored().await.try_into().expect("one message");
    assert!(
        server.text(&claim).await.1 == text.as_bytes(),
        "the text was changed"
    );
}

#[tokio::test]
async fn a_connection_lost_before_the_final_dot_leaves_nothing() {
    let server = Server::start().await;
    for end in ["", ".", ".\r", "half a line", "..\r\n"] {
        let mut talk = server.talk().await;
        talk.until_data().await;
        talk.say(format!("{MESSAGE}{end}")).await;
        talk.stream.shutdown().await.expect("a socket");
        assert_eq!(talk.code().await, "closed");
    }
    assert_eq!(server.waiting(), 0);
}

#[tokio::test]
async fn eight_bit_text_and_smtputf8_are_recorded_where_they_are_needed() {
    let server = Server::start().await;
    let mut talk = server.talk().await;
    for (mail, text) in [
        (
            "MAIL FROM:<a@helpdesk.example>",
            "Subject: x\r\n\r\ngrün\r\n",
        ),
        (
            "MAIL FROM:<a@helpdesk.example> BODY=8BITMIME SMTPUTF8",
            "Subject: x\r\n\r\nplain\r\n",
        ),
        (
            "MAIL FROM:<a@helpdesk.example> SMTPUTF8",
            "Subject: grün\r\n\r\nplain\r\n",
        ),
        (
            "MAIL FROM:<jörg@münchen.example> SMTPUTF8",
            "Subject: x\r\n\r\nplain\r\n",
        ),
    ] {
        assert!(talk.ask(mail).await.starts_with("250"));
        assert!(talk.ask("RCPT TO:<b@example.org>").await.starts_with("250"));
        assert!(talk.ask("DATA").await.starts_with("354"));
        talk.say(format!("{text}.\r\n")).await;
        assert_eq!(talk.code().await, "250");
    }
    let needs: Vec<(bool, bool)> = server
        .stored()
        .await
        .iter()
        .map(|c| (c.eight_bit, c.smtputf8))
        .collect();
    assert_eq!(
        needs,
        [(true, false), (false, false), (true, true), (false, true)]
    );
}

#[tokio::test]
async fn a_quoted_local_part_is_stored_with_its_quotes() {
    let server = Server::start().await;
    let mut talk = server.talk().await;
    let tricky = r#""a> SIZE=1 X"@example.org"#;
    assert!(
        talk.ask("MAIL FROM:<a@helpdesk.example>")
            .await
            .starts_with("250")
    );
    assert!(
        talk.ask(&format!("RCPT TO:<{tricky}>"))
            .await
            .starts_with("250")
    );
    assert!(talk.ask("DATA").await.starts_with("354"));
    talk.say(".\r\n").await;
    assert_eq!(talk.code().await, "250");
    let [claim] = server.stored().await.try_into().expect("one message");
    assert_eq!(claim.recipients[0].address, tricky);
    assert_eq!(server.text(&claim).await.1, b"");
}

/// The session is not bound for ever to a client that was refused and goes on all the same.
#[tokio::test(start_paused = true)]
async fn the_rest_of_a_refused_message_is_read_for_five_minutes_and_no_longer() {
    let folder = tempfile::tempdir().expect("a folder");
    let spool = Spool::open(folder.path()).expect("a spool");
    let (near, far) = tokio::io::duplex(4096);
    let mut lines = wire::lines::Lines::new(far, Duration::from_secs(180));
    let rules = Rules {
        max_size: 100,
        bare_newlines: BareNewlines::Refuse,
    };
    let intake = intake::Intake::begin(spool.body(), "Received: x\r\n", missing(), rules).await;
    let begun = tokio::time::Instant::now();
    let dripping = async {
        let mut near = near;
        loop {
            near.write_all(&[b'x'; 60]).await.expect("it is read");
            tokio::time::sleep(Duration::from_secs(10)).await;
        }
    };
    let broken = tokio::select! {
        received = intake::receive(&mut lines, intake) => received.err(),
        () = dripping => unreachable!("it drips for ever"),
    };
    assert!(
        matches!(broken, Some(intake::Broken::Endless)),
        "{broken:?}"
    );
    assert_eq!(begun.elapsed().as_secs() / 60, 5);
}

#[tokio::test]
async fn a_message_that_goes_round_in_a_loop_is_refused_and_a_far_travelled_one_is_not() {
    let server = Server::start().await;
    let mut talk = server.talk().await;
    for (passed, reply) in [(100, "250 2.0.0 "), (101, "554 5.4.6 ")] {
        talk.until_data().await;
        let header =
            "received: from a by b;\r\n\tTue, 14 Nov 2023 22:13:20 +0000\r\n".repeat(passed);
        talk.say(format!(
            "{header}Subject: x\r\n\r\nReceived: in the body\r\n.\r\n"
        ))
        .await;
        let heard = talk.reply().await;
        assert!(heard.starts_with(reply), "{passed}: {heard}");
    }
    assert_eq!(server.stored().await.len(), 1);
}
