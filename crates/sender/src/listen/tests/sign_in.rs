//! Signing in: every way there is, every way it fails, and what a user may send.
use super::*;
use std::time::Instant;

const MAIL: &str = "MAIL FROM:<a@helpdesk.example>";
/// NUL znuny NUL secret-word
const RIGHT: &str = "AHpudW55AHNlY3JldC13b3Jk";
/// NUL znuny NUL wrong-word
const WRONG: &str = "AHpudW55AHdyb25nLXdvcmQ=";

impl Server {
    /// A listener of this machine where znuny signs in with the secret word.
    async fn with_users(change: impl FnOnce(&mut Submission)) -> Self {
        let server = Self::with(|rules| {
            rules.sign_in = true;
            change(rules);
        })
        .await;
        server.let_in("znuny", None).await;
        server
    }

    pub(super) async fn let_in(&self, name: &str, senders: Option<&[&str]>) {
        let senders = senders.map(|all| all.iter().map(ToString::to_string).collect());
        let password = Secret::new("secret-word");
        let set = self.users.set_submitter(name, password, senders).await;
        set.expect("a user");
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Talk<S> {
    /// One reply after another begins as it should.
    pub(super) async fn dialogue(&mut self, lines: &[(&str, &str)]) {
        for (line, expected) in lines {
            let reply = self.ask(line).await;
            assert!(reply.starts_with(expected), "{line}: {reply}");
        }
    }
}

#[tokio::test]
async fn every_client_signs_in_by_the_way_it_knows() {
    let server = Server::with_users(|_| {}).await;
    let right = format!("AUTH PLAIN {RIGHT}");
    let ways: [&[(&str, &str)]; 6] = [
        &[(&right, "235 2.7.0")],
        &[("auth plain", "334 \r\n"), (RIGHT, "235")],
        &[
            ("AUTH LOGIN", "334 VXNlcm5hbWU6\r\n"),
            ("em51bnk=", "334 UGFzc3dvcmQ6\r\n"),
            ("c2VjcmV0LXdvcmQ=", "235"),
        ],
        &[
            ("AUTH LOGIN em51bnk=", "334 UGFz"),
            ("c2VjcmV0LXdvcmQ=", "235"),
        ],
        // A failed one before it spoils nothing.
        &[("AUTH PLAIN !", "501"), (&right, "235")],
        &[("AUTH PLAIN =", "535"), (&right, "235")],
    ];
    for way in ways {
        let mut talk = server.talk().await;
        assert!(talk.ask(MAIL).await.starts_with("530 5.7.0"));
        talk.dialogue(way).await;
        talk.dialogue(&[
            (&right, "503"),
            ("MAIL FROM:<a@helpdesk.example> AUTH=<>", "250"),
        ])
        .await;
        talk.dialogue(&[("RCPT TO:<b@example.org>", "250"), ("DATA", "354")])
            .await;
        talk.say(format!("{MESSAGE}.\r\n")).await;
        assert_eq!(talk.code().await, "250");
    }
    let claims = server.stored().await;
    assert_eq!(claims.len(), ways.len());
    let (received, _) = server.whole(&claims[0]).await;
    assert!(received.contains(" with ESMTPA id "), "{received}");
    assert!(!received.contains("znuny"), "{received}");
}

#[tokio::test]
async fn each_mistake_of_an_exchange_has_its_reply_and_the_session_stays_in_step() {
    let server = Server::with_users(|_| {}).await;
    let mut talk = server.knock().await;
    assert_eq!(talk.code().await, "220");
    talk.dialogue(&[
        ("AUTH PLAIN", "503"),
        ("HELO x", "250"),
        ("AUTH PLAIN", "503"),
    ])
    .await;
    let offer = talk.ask("EHLO x").await;
    assert!(offer.contains("250 AUTH PLAIN LOGIN\r\n"), "{offer}");
    assert!(!offer.contains("STARTTLS"), "{offer}");
    let long = "A".repeat(20_000);
    talk.dialogue(&[
        ("AUTH", "501"),
        ("AUTH SCRAM-SHA-256", "504 5.5.4"),
        ("AUTH PLAIN", "334"),
        ("*", "501 5.7.0"),
        ("AUTH LOGIN", "334"),
        ("*", "501 5.7.0"),
        ("AUTH LOGIN em51bnk=", "334"),
        ("not base64", "501 5.5.2"),
        ("AUTH LOGIN /w==", "501 5.5.2"),
        ("AUTH PLAIN", "334"),
        (&long, "500 5.5.6"),
        // Another user than the one who signs in.
        ("AUTH PLAIN b3RoZXIAem51bnkAc2VjcmV0LXdvcmQ=", "535"),
        (MAIL, "530"),
        ("RCPT TO:<b@example.org>", "503"),
        ("DATA", "503"),
        ("NOOP", "250"),
    ])
    .await;
    let mut bare = server.talk().await;
    assert!(bare.ask("AUTH PLAIN").await.starts_with("334"));
    bare.say(format!("{RIGHT}\n")).await;
    assert!(bare.reply().await.starts_with("500 5.5.2"));
    assert!(bare.ask(MAIL).await.starts_with("530"));
}

#[tokio::test]
async fn three_wrong_passwords_end_a_connection_and_slow_the_address_down() {
    let server = Server::with_users(|_| {}).await;
    let (wrong, right) = (format!("AUTH PLAIN {WRONG}"), format!("AUTH PLAIN {RIGHT}"));
    let mut known = server.talk().await;
    known.dialogue(&[(&right, "235")]).await;
    let mut talk = server.talk().await;
    talk.dialogue(&[(&wrong, "535 5.7.8"), (&wrong, "535"), (&wrong, "535")])
        .await;
    assert!(talk.reply().await.starts_with("421 4.7.0"));
    assert_eq!(talk.code().await, "closed");
    // The next one waits; a client whose password was right a while ago does not wait behind it.
    let begun = Instant::now();
    let mut again = server.talk().await;
    again.say(format!("{wrong}\r\n")).await;
    let mut known = server.talk().await;
    known.dialogue(&[(&right, "235")]).await;
    let known = begun.elapsed();
    assert_eq!(again.code().await, "535");
    let slowed = begun.elapsed();
    assert!(slowed >= Duration::from_secs(1), "{slowed:?}");
    assert!(known < slowed, "{known:?} {slowed:?}");
}

#[tokio::test]
async fn a_shutdown_does_not_wait_for_a_guesser() {
    let mut server = Server::with_users(|_| {}).await;
    let wrong = format!("AUTH PLAIN {WRONG}");
    for _ in 0..2 {
        server
            .talk()
            .await
            .dialogue(&[(&wrong, "535"), (&wrong, "535")])
            .await;
    }
    let mut talk = server.talk().await;
    talk.say(format!("{wrong}\r\n")).await;
    let begun = Instant::now();
    server.shutdown.cancel();
    assert!(talk.reply().await.starts_with("421 4.3.2"));
    drop(talk);
    assert!(
        server
            .tasks
            .join_next()
            .await
            .is_some_and(|task| task.is_ok())
    );
    assert!(
        begun.elapsed() < Duration::from_millis(1900),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test]
async fn a_user_sends_as_their_own_senders_alone() {
    let server = Server::with_users(|_| {}).await;
    server.let_in("znuny", Some(&["a@helpdesk.example"])).await;
    let mut talk = server.talk().await;
    let right = format!("AUTH PLAIN {RIGHT}");
    talk.dialogue(&[
        (&right, "235"),
        ("MAIL FROM:<b@helpdesk.example>", "553 5.7.1 The user znuny"),
        ("MAIL FROM:<A@Helpdesk.Example>", "250"),
        ("RSET", "250"),
    ])
    .await;
    // A null sender is whoever the header says.
    for (from, code) in [("b", "553"), ("a", "250")] {
        talk.dialogue(&[
            ("MAIL FROM:<>", "250"),
            ("RCPT TO:<c@example.org>", "250"),
            ("DATA", "354"),
        ])
        .await;
        talk.say(format!("From: <{from}@helpdesk.example>\r\n\r\nx\r\n.\r\n"))
            .await;
        assert_eq!(talk.code().await, code);
    }
}

#[tokio::test]
async fn a_users_rate_counts_all_their_sessions() {
    let server = Server::with_users(|rules| rules.limits.rate_per_user = Some(2)).await;
    server.let_in("other", None).await;
    let znuny = format!("AUTH PLAIN {RIGHT}");
    let other = "AUTH PLAIN AG90aGVyAHNlY3JldC13b3Jk".to_owned();
    for (sign_in, expected) in [
        (&znuny, "250"),
        (&znuny, "250"),
        (&znuny, "451"),
        (&other, "250"),
    ] {
        let mut talk = server.talk().await;
        talk.dialogue(&[(sign_in, "235"), (MAIL, expected)]).await;
    }
}

#[tokio::test]
async fn a_user_who_is_changed_or_removed_meanwhile_signs_in_again() {
    let server = Server::with_users(|_| {}).await;
    let right = format!("AUTH PLAIN {RIGHT}");
    let mut talk = server.talk().await;
    talk.dialogue(&[(&right, "235"), (MAIL, "250"), ("RSET", "250")])
        .await;
    server.let_in("znuny", Some(&["b@helpdesk.example"])).await;
    talk.dialogue(&[(MAIL, "530"), (&right, "235"), (MAIL, "553")])
        .await;
    let removed = server.users.delete_submitter("znuny").await;
    removed.expect("there is that user");
    talk.dialogue(&[("MAIL FROM:<b@helpdesk.example>", "530"), (&right, "535")])
        .await;
}

#[tokio::test]
async fn a_stranger_holds_no_place_for_long_and_a_user_does() {
    let brief = Duration::from_millis(1500);
    let server = Server::with_users(|rules| rules.limits.sign_in_timeout = brief).await;
    let mut user = server.talk().await;
    user.dialogue(&[(&format!("AUTH PLAIN {RIGHT}"), "235")])
        .await;
    let mut stranger = server.talk().await;
    let words = stranger.reply().await;
    assert!(
        words.starts_with("421 4.7.0 Nobody has signed in"),
        "{words}"
    );
    user.dialogue(&[(MAIL, "250")]).await;
}

#[tokio::test]
async fn a_listener_without_users_offers_no_sign_in() {
    let server = Server::start().await;
    let mut talk = server.talk().await;
    assert!(!talk.ask("EHLO x").await.contains("AUTH"));
    talk.dialogue(&[
        ("AUTH PLAIN", "502"),
        ("STARTTLS", "502"),
        ("MAIL FROM:<a@helpdesk.example> AUTH=<>", "555"),
        (MAIL, "250"),
    ])
    .await;
}
