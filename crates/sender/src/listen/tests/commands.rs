//! Commands: what is offered, what is refused and how, and that the session stays in step.
use super::*;

#[tokio::test]
async fn ehlo_offers_what_is_there_and_nothing_else() {
    let server = Server::start().await;
    let mut talk = server.talk().await;
    let offer = talk.ask("EHLO [127.0.0.1]").await;
    let keywords: Vec<&str> = offer.lines().skip(1).map(|line| &line[4..]).collect();
    assert_eq!(
        keywords,
        [
            "PIPELINING",
            "SIZE 100000",
            "8BITMIME",
            "SMTPUTF8",
            "ENHANCEDSTATUSCODES",
            "DSN",
            "CHUNKING"
        ]
    );
    assert_eq!(talk.ask("HELO x").await.lines().count(), 1);
}

#[tokio::test]
async fn a_pipelined_batch_is_answered_in_order_and_in_one_piece() {
    let server = Server::start().await;
    let mut talk = server.talk().await;
    talk.say(
        "MAIL FROM:<a@helpdesk.example> SIZE=10\r\nRCPT TO:<b@example.org>\r\nRCPT TO:<not valid>\r\nRCPT TO:<c@example.org>\r\n\
         RSET\r\nNOOP\r\nVRFY b\r\nMAIL FROM:<a@helpdesk.example>\r\nRCPT TO:<d@example.org>\r\nDATA\r\n",
    )
    .await;
    for code in [
        "250", "250", "501", "250", "250", "250", "252", "250", "250", "354",
    ] {
        assert_eq!(talk.code().await, code);
    }
    talk.say(format!(
        "{MESSAGE}.\r\nMAIL FROM:<a@helpdesk.example>\r\nQUIT\r\n"
    ))
    .await;
    for code in ["250", "250", "221", "closed"] {
        assert_eq!(talk.code().await, code);
    }
    let [claim] = server.stored().await.try_into().expect("one message");
    assert_eq!(claim.recipients.len(), 1);
    assert_eq!(server.text(&claim).await.1, MESSAGE.as_bytes());
}

/// Each line, said after EHLO or in the state that the lines before it made, and the reply it gets.
#[tokio::test]
async fn every_bad_command_gets_its_reply_and_nothing_is_spooled() {
    let server = Server::start().await;
    let long = format!("NOOP {}", "x".repeat(3000));
    let mail = "MAIL FROM:<a@helpdesk.example>";
    for dialogue in [
        &[
            ("RCPT TO:<b@c>", "503 5.5.1"),
            ("DATA", "503 5.5.1"),
            ("NOOP", "250"),
        ][..],
        &[
            (mail, "250"),
            (mail, "503 5.5.1"),
            ("DATA", "554 5.5.1"),
            ("RSET", "250"),
            ("DATA", "503 5.5.1"),
        ],
        &[
            (mail, "250"),
            ("EHLO again", "250"),
            ("RCPT TO:<b@c>", "503 5.5.1"),
        ],
        &[(long.as_str(), "500 5.5.6"), ("NOOP", "250")],
        &[
            ("NOOP\0", "500 5.5.2"),
            ("NO\rOP", "500 5.5.2"),
            ("FOO", "500 5.5.2"),
            ("", "500 5.5.2"),
        ],
        &[
            ("AUTH PLAIN AHUAcA==", "502 5.5.1"),
            ("STARTTLS", "502 5.5.1"),
        ],
        &[("RCPT TO:<b@c>", "503 5.5.1"), ("DATA", "503 5.5.1")],
        &[
            ("MAIL FROM:<jörg@münchen.example>", "553 5.6.7"),
            ("MAIL FROM:<jörg@münchen.example> SMTPUTF8", "250"),
        ],
        &[
            (mail, "250"),
            ("RCPT TO:<jörg@c>", "553 5.6.7"),
            ("RCPT TO:<postmaster>", "550 5.1.3"),
            ("DATA", "554 5.5.1"),
        ],
        &[
            ("MAIL FROM:<a@helpdesk.example> SIZE=100001", "552 5.3.4"),
            ("DATA", "503 5.5.1"),
        ],
        &[(
            "MAIL FROM:<a@helpdesk.example> SIZE=99999999999999999999",
            "552 5.3.4",
        )],
        &[
            ("MAIL FROM:<a@helpdesk.example> RET=ALL", "501 5.5.4 RET"),
            (mail, "250"),
            ("RCPT TO:<b@c> NOTIFY=NEVER,DELAY", "501 5.5.4 NOTIFY"),
            ("RCPT TO:<b@c> RET=FULL", "555 5.5.4"),
        ],
        &[
            ("RSET x", "501 5.5.4"),
            ("QUIT now", "501 5.5.4"),
            ("MAIL", "501 5.5.2"),
            ("EHLO", "501 5.5.4"),
        ],
    ] {
        let mut talk = server.talk().await;
        for (line, expected) in dialogue {
            let reply = talk.ask(line).await;
            assert!(reply.starts_with(expected), "{line:?}: {reply}");
        }
        talk.is_in_step().await;
    }
    assert_eq!(server.waiting(), 0);
}

#[tokio::test]
async fn a_refused_sender_is_told_what_to_do() {
    let server = Server::start().await;
    let mut talk = server.talk().await;
    talk.say("MAIL FROM:<x@elsewhere.example>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n")
        .await;
    assert_eq!(
        [talk.code().await, talk.code().await, talk.code().await],
        ["250", "250", "354"]
    );
    talk.say("From: y@elsewhere.example\r\n\r\n.\r\n").await;
    let reply = talk.reply().await;
    for word in [
        "550 5.7.1",
        "x@elsewhere.example",
        "y@elsewhere.example",
        "senders",
        "postern.yaml",
    ] {
        assert!(reply.contains(word), "{word}: {reply}");
    }
}

#[tokio::test]
async fn before_ehlo_there_is_no_mail() {
    let server = Server::start().await;
    let mut talk = Talk::over(
        TcpStream::connect(server.address)
            .await
            .expect("a connection"),
    );
    assert_eq!(talk.code().await, "220");
    assert!(
        talk.ask("MAIL FROM:<a@helpdesk.example>")
            .await
            .starts_with("503 5.5.1")
    );
    assert!(talk.ask("HELO old.example").await.starts_with("250 "));
    talk.until_data().await;
    talk.say(format!("{MESSAGE}.\r\n")).await;
    assert_eq!(talk.code().await, "250");
    let [claim] = server.stored().await.try_into().expect("one message");
    assert!(server.text(&claim).await.0.contains(" with SMTP id "));
}

#[tokio::test]
async fn command_lines_that_end_with_a_bare_lf_are_refused() {
    let server = Server::start().await;
    let mut talk = server.talk().await;
    talk.say("MAIL FROM:<a@helpdesk.example>\nNOOP\r\n").await;
    assert!(talk.reply().await.starts_with("500 5.5.2"));
    assert_eq!(talk.code().await, "250");
    assert!(talk.ask("DATA").await.starts_with("503"));
}

#[tokio::test]
async fn a_client_that_only_makes_mistakes_is_shown_out() {
    let server = Server::start().await;
    let mut talk = server.talk().await;
    for _ in 0..19 {
        assert!(talk.ask("GET / HTTP/1.1").await.starts_with("500"));
    }
    assert!(talk.ask("Host: x").await.starts_with("500"));
    assert!(talk.reply().await.starts_with("421 4.7.0"));
    assert_eq!(talk.code().await, "closed");
}

#[tokio::test]
async fn too_many_recipients_and_too_little_disk_are_temporary() {
    let server = Server::with_limit(u64::MAX / 4).await;
    let mut talk = server.talk().await;
    // No test machine has so much free disk.
    let huge = format!("MAIL FROM:<a@helpdesk.example> SIZE={}", u64::MAX / 8);
    assert!(talk.ask(&huge).await.starts_with("452 4.3.1"));
    assert!(
        talk.ask("MAIL FROM:<a@helpdesk.example>")
            .await
            .starts_with("250")
    );
    let batch: String = (0..1002)
        .map(|n| format!("RCPT TO:<r{n}@example.org>\r\n"))
        .collect();
    talk.say(batch).await;
    for number in 0..1002 {
        let reply = talk.reply().await;
        assert!(
            reply.starts_with(if number < 1000 { "250" } else { "452 4.5.3" }),
            "{number}: {reply}"
        );
    }
    assert!(
        talk.ask("RCPT TO:<r7@example.org>")
            .await
            .starts_with("250"),
        "one that is there already is no new one"
    );
    assert!(talk.ask("DATA").await.starts_with("354"));
    talk.say(format!("{MESSAGE}.\r\n")).await;
    assert_eq!(talk.code().await, "250");
    assert_eq!(server.stored().await[0].recipients.len(), 1000);
}

#[tokio::test(start_paused = true)]
async fn a_silent_client_is_let_go_after_five_minutes() {
    let folder = tempfile::tempdir().expect("a folder");
    let spool = Spool::open(folder.path()).expect("a spool");
    let (_, routes) = watch::channel(Arc::new(Routes::default()));
    let shared = Shared {
        host: "h".into(),
        rules: Rules {
            max_size: MAX_SIZE,
            bare_newlines: BareNewlines::Refuse,
        },
        limits: Limits::default(),
        guests: Guests::new(Limits::default()),
        door: Door::default(),
        users: None,
        routes,
        spool,
        shutdown: CancellationToken::new(),
    };
    let (near, far) = tokio::io::duplex(4096);
    let begun = tokio::time::Instant::now();
    let session = Session::new(far, Client::new("local".into(), None), Arc::new(shared)).run();
    let (heard, _) = tokio::join!(
        async {
            let mut heard = String::new();
            let mut near = near;
            near.read_to_string(&mut heard).await.expect("a stream");
            heard
        },
        session
    );
    assert!(heard.contains("421 4.4.2"), "{heard}");
    assert!(begun.elapsed() >= Duration::from_secs(300));
}
