//! Limits: a full house, hasty and idle clients, and sessions that last too long.
use super::*;

impl Server {
    async fn with_limits(change: impl FnOnce(&mut Limits)) -> Self {
        Self::with(|rules| change(&mut rules.limits)).await
    }

    /// A connection without a greeting read.
    pub(super) async fn knock(&self) -> Talk {
        Talk::over(
            TcpStream::connect(self.address)
                .await
                .expect("a connection"),
        )
    }
}

#[tokio::test]
async fn a_full_house_says_421_and_closes_and_a_place_that_is_left_is_taken() {
    let server = Server::with_limits(|limits| limits.connections = 2).await;
    let (first, _second) = (server.talk().await, server.talk().await);
    let mut third = server.knock().await;
    assert!(third.reply().await.starts_with("421 4.3.2 Too many"));
    assert_eq!(third.code().await, "closed");
    drop(first);
    // The listener hears of the end in its own time.
    loop {
        let mut again = server.knock().await;
        match again.code().await.as_str() {
            "220" => break,
            code => assert_eq!(code, "421"),
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn one_address_gets_its_share_and_no_more() {
    let server = Server::with_limits(|limits| limits.connections_per_address = 1).await;
    let _first = server.talk().await;
    let mut second = server.knock().await;
    assert!(second.reply().await.starts_with("421 4.7.0 Too many"));
    assert_eq!(second.code().await, "closed");
}

#[tokio::test]
async fn hundreds_that_are_turned_away_and_stay_take_no_place() {
    let server = Server::with_limits(|limits| limits.connections = 1).await;
    let mut inside = server.talk().await;
    let mut outside = Vec::new();
    for _ in 0..300 {
        outside.push(server.knock().await);
    }
    for talk in &mut outside {
        assert!(["421", "closed"].contains(&talk.code().await.as_str()));
    }
    assert!(inside.ask("NOOP").await.starts_with("250"));
}

#[tokio::test]
async fn messages_beyond_the_rate_are_put_off_by_session_and_by_listener() {
    let server = Server::with_limits(|limits| {
        limits.rate_per_connection = Some(2);
        limits.rate = Some(3);
    })
    .await;
    let mail = "MAIL FROM:<a@helpdesk.example>";
    let mut first = server.talk().await;
    for code in ["250", "250", "451"] {
        assert_eq!(&first.ask(mail).await[..3], code);
        first.ask("RSET").await;
    }
    let mut second = server.talk().await;
    assert!(second.ask(mail).await.starts_with("250"));
    second.ask("RSET").await;
    let words = second.ask(mail).await;
    assert!(
        words.starts_with("451 4.7.1 No more than 3 messages"),
        "{words}"
    );
}

#[tokio::test]
async fn recipients_beyond_the_limit_go_with_another_message() {
    let server = Server::with_limits(|limits| limits.recipients = 2).await;
    let mut talk = server.talk().await;
    talk.ask("MAIL FROM:<a@helpdesk.example>").await;
    for (recipient, code) in [("b", "250"), ("c", "250"), ("b", "250"), ("d", "452")] {
        let reply = talk
            .ask(&format!("RCPT TO:<{recipient}@example.org>"))
            .await;
        assert_eq!(&reply[..3], code);
    }
    assert_eq!(talk.ask("DATA").await.get(..3), Some("354"));
    talk.say(format!("{MESSAGE}.\r\n")).await;
    assert_eq!(talk.code().await, "250");
    assert_eq!(server.stored().await[0].recipients.len(), 2);
}

#[tokio::test]
async fn commands_that_bring_no_message_end_a_session_and_a_message_starts_the_count_anew() {
    let server = Server::with_limits(|limits| limits.idle_commands = 6).await;
    let mut talk = server.talk().await;
    // EHLO was the first of them.
    for _ in 0..4 {
        assert!(talk.ask("NOOP").await.starts_with("250"));
    }
    talk.until_data().await;
    talk.say(format!("{MESSAGE}.\r\n")).await;
    assert_eq!(talk.code().await, "250");
    for _ in 0..6 {
        assert!(talk.ask("NOOP").await.starts_with("250"));
    }
    assert!(
        talk.reply()
            .await
            .starts_with("421 4.7.0 Too many commands")
    );
    assert_eq!(talk.code().await, "closed");
}

#[tokio::test]
async fn errors_end_a_session() {
    let server = Server::with_limits(|limits| limits.errors = 3).await;
    let mut talk = server.talk().await;
    for _ in 0..3 {
        assert!(talk.ask("FOO").await.starts_with("500"));
    }
    assert!(talk.reply().await.starts_with("421 4.7.0 Too many errors"));
    assert_eq!(talk.code().await, "closed");
}

#[tokio::test]
async fn silence_a_long_session_and_an_endless_message_are_ended_in_words() {
    let short = Duration::from_millis(80);
    let server = Server::with_limits(|limits| limits.command_timeout = short).await;
    let mut silent = server.talk().await;
    assert!(silent.reply().await.starts_with("421 4.4.2 No command"));

    let server = Server::with_limits(|limits| limits.session_timeout = short).await;
    let mut long = server.talk().await;
    let words = long.reply().await;
    assert!(words.starts_with("421 4.4.2 The session"), "{words}");

    let server = Server::with_limits(|limits| limits.data_timeout = short).await;
    let mut stalled = server.talk().await;
    stalled.until_data().await;
    stalled.say("Subject: x\r\n").await;
    assert!(stalled.reply().await.starts_with("421 4.4.2 The message"));

    let server = Server::with_limits(|limits| limits.message_timeout = short).await;
    let mut endless = server.talk().await;
    endless.until_data().await;
    let words = loop {
        let line = endless.stream.write_all(b"on and on\r\n").await;
        let mut heard = [0; 100];
        match endless.stream.try_read(&mut heard) {
            Ok(count) => break String::from_utf8_lossy(&heard[..count]).into_owned(),
            Err(_) => line.expect("the server listens until it says why not"),
        }
        tokio::task::yield_now().await;
    };
    assert!(
        words.starts_with("421 4.4.2 The message did not end"),
        "{words}"
    );
    assert_eq!(server.waiting(), 0);
}
