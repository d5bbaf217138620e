//! Submission: sign-in in every way, envelope, bytes, and failures on order.
use super::talk::{Talk, start};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sandbox::{Fault, Provider, Service, Submitted};

const USER: &str = "helpdesk@sandbox.test";

async fn greeted(provider: &Provider) -> Talk {
    let mut talk = Talk::to(provider.smtp()).await;
    talk.expect("", "220 sandbox ESMTP ready\r\n").await;
    talk.expect(
        "EHLO me\r\n",
        "250-sandbox\r\n250-SIZE 157286400\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n\
         250-ENHANCEDSTATUSCODES\r\n250 AUTH XOAUTH2 OAUTHBEARER PLAIN LOGIN\r\n",
    )
    .await;
    talk
}

fn xoauth2(token: &str) -> String {
    STANDARD.encode(format!("user={USER}\x01auth=Bearer {token}\x01\x01"))
}

async fn signed_in(provider: &Provider) -> Talk {
    let mut talk = greeted(provider).await;
    let payload = xoauth2(&provider.access_token(USER));
    talk.expect(
        &format!("AUTH XOAUTH2 {payload}\r\n"),
        "235 2.7.0 signed in\r\n",
    )
    .await;
    talk
}

#[tokio::test]
async fn a_pipelined_message_arrives_byte_for_byte_for_the_recipients_that_were_taken() {
    let running = start().await;
    let mut talk = signed_in(&running.provider).await;
    talk.expect(
        "MAIL FROM:<a@sandbox.test> BODY=8BITMIME SIZE=99\r\nRCPT TO:<reject@x.test>\r\nRCPT TO:<b@x.test>\r\n\
         RCPT TO:<defer@x.test>\r\nRCPT TO:<full@x.test>\r\nDATA\r\n",
        "250 2.1.0 fine\r\n550 5.1.1 there is no such mailbox\r\n250 2.1.5 fine\r\n\
         451 4.3.0 try again later\r\n452 4.2.2 the mailbox is full\r\n354 go ahead\r\n",
    )
    .await;
    talk.expect(
        "Subject: ü\r\n\r\n..\r\n..dot\r\nbare\nlf\r\n.\r\nQUIT\r\n",
        "250 2.0.0 taken\r\n221 2.0.0 see you\r\n",
    )
    .await;
    let taken = running.provider.take_submitted();
    let expected = Submitted {
        at: taken[0].at,
        user: USER.to_owned(),
        sender: "a@sandbox.test".to_owned(),
        recipients: vec!["b@x.test".to_owned()],
        parameters: vec!["BODY=8BITMIME SIZE=99".to_owned(), String::new()],
        bytes: "Subject: ü\r\n\r\n.\r\n.dot\r\nbare\nlf\r\n".into(),
    };
    assert_eq!(taken, [expected]);
    assert_eq!(running.provider.submitted(), []);
}

#[tokio::test]
async fn chunks_and_wishes_are_taken_where_they_are_offered() {
    let running = start().await;
    let mut talk = signed_in(&running.provider).await;
    running
        .provider
        .set_features(|features| features.smtp_extensions = vec!["CHUNKING", "DSN"]);
    talk.expect(
        "MAIL FROM:<a@sandbox.test> RET=HDRS\r\nBDAT 3\r\nabcRCPT TO:<b@x.test> NOTIFY=NEVER\r\n\
         BDAT 4\r\n.\r\n.BDAT 3 LAST\r\nx\r\nBDAT x\r\n",
        "250 2.1.0 fine\r\n503 5.5.1 no valid recipients\r\n250 2.1.5 fine\r\n250 2.0.0 4 bytes\r\n\
         250 2.0.0 taken\r\n501 5.5.4 expected a number\r\n",
    )
    .await;
    let submitted = running.provider.take_submitted();
    assert_eq!(submitted[0].bytes, b".\r\n.x\r\n");
    assert_eq!(submitted[0].parameters, ["RET=HDRS", "NOTIFY=NEVER"]);
}

#[tokio::test]
async fn each_mechanism_signs_in_with_and_without_an_initial_response() {
    let running = start().await;
    let provider = &running.provider;
    provider.set_password(USER, "pass");
    let token = provider.access_token(USER);
    let bearer = STANDARD.encode(format!("n,a={USER},\x01auth=Bearer {token}\x01\x01"));
    let plain = STANDARD.encode(format!("\0{USER}\0pass"));
    for (mechanism, payload) in [
        ("XOAUTH2", &xoauth2(&token)),
        ("OAUTHBEARER", &bearer),
        ("PLAIN", &plain),
    ] {
        let mut talk = greeted(provider).await;
        let with = format!("AUTH {mechanism} {payload}\r\n");
        talk.expect(&with, "235 2.7.0 signed in\r\n").await;
        let mut talk = greeted(provider).await;
        talk.expect(&format!("AUTH {mechanism}\r\n"), "334 \r\n")
            .await;
        talk.expect(&format!("{payload}\r\n"), "235 2.7.0 signed in\r\n")
            .await;
    }
    let mut talk = greeted(provider).await;
    let (user, password) = (STANDARD.encode(USER), STANDARD.encode("pass"));
    talk.expect("AUTH LOGIN\r\n", "334 VXNlcm5hbWU6\r\n").await;
    talk.expect(&format!("{user}\r\n"), "334 UGFzc3dvcmQ6\r\n")
        .await;
    talk.expect(&format!("{password}\r\n"), "235 2.7.0 signed in\r\n")
        .await;
    assert_eq!(provider.counts().smtp_sign_ins, 7);
}

#[tokio::test]
async fn a_refused_token_is_explained_before_the_535_and_nothing_else_is_open() {
    let running = start().await;
    let provider = &running.provider;
    let token = provider.access_token(USER);
    provider.expire_access_tokens();
    let mut talk = greeted(provider).await;
    talk.expect(
        "MAIL FROM:<a@b>\r\n",
        "530 5.7.0 authentication required\r\n",
    )
    .await;
    let challenge = STANDARD.encode(r#"{"status":"401","schemes":"bearer","scope":"mail"}"#);
    talk.expect(
        &format!("AUTH XOAUTH2 {}\r\n", xoauth2(&token)),
        &format!("334 {challenge}\r\n"),
    )
    .await;
    talk.expect("\r\n", "535 5.7.8 the credentials were refused\r\n")
        .await;
    let other = provider.access_token("other@sandbox.test");
    talk.say(&format!("AUTH XOAUTH2 {}\r\n\r\n", xoauth2(&other)))
        .await;
    let answer = talk.ask("", "535").await;
    assert_eq!(answer.len(), 2, "{answer:?}");
    assert_eq!(provider.counts().refused, 2);
}

#[tokio::test]
async fn too_large_a_message_is_refused_by_its_announcement_and_by_its_bytes() {
    let running = start().await;
    running
        .provider
        .set_features(|features| features.max_size = 10);
    let mut talk = Talk::to(running.provider.smtp()).await;
    talk.ask("EHLO me\r\n", "250 ").await;
    let payload = xoauth2(&running.provider.access_token(USER));
    talk.ask(&format!("AUTH XOAUTH2 {payload}\r\n"), "235")
        .await;
    let too_large = "552 5.3.4 the message is too large\r\n";
    talk.expect("MAIL FROM:<a@b> SIZE=11\r\n", too_large).await;
    talk.ask("MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n", "354")
        .await;
    talk.expect("12345678901\r\n.\r\n", too_large).await;
    talk.expect("NOOP\r\n", "250 2.0.0 fine\r\n").await;
    assert_eq!(running.provider.submitted(), []);
}

#[tokio::test]
async fn one_recipient_can_be_deferred_and_the_connection_lost_after_the_final_dot() {
    let running = start().await;
    let provider = &running.provider;
    provider.fault(Service::Smtp, ".", 1, Fault::Lose);
    provider.fault(Service::Smtp, ".", 1, Fault::Drop);
    let full = Fault::Reply("452 4.3.1 disk full".to_owned());
    provider.fault(Service::Smtp, ".", 1, full);
    // A fault can be meant for one recipient only.
    let deferred = Fault::Reply("451 4.3.0 once".to_owned());
    provider.fault(Service::Smtp, "RCPT TO:<b@", 1, deferred);
    let mut talk = signed_in(provider).await;
    talk.expect(
        "MAIL FROM:<a@b>\r\nrcpt to:<a@x>\r\nrcpt to:<b@x>\r\nRCPT TO:<b@x>\r\n",
        "250 2.1.0 fine\r\n250 2.1.5 fine\r\n451 4.3.0 once\r\n250 2.1.5 fine\r\n",
    )
    .await;
    for (kept, closed) in [(1, true), (1, true), (1, false)] {
        let mut talk = signed_in(provider).await;
        talk.ask("MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n", "354")
            .await;
        talk.say("x\r\n.\r\n").await;
        if closed {
            assert!(talk.is_closed().await);
        } else {
            assert_eq!(talk.line().await, "452 4.3.1 disk full");
        }
        assert_eq!(provider.submitted().len(), kept);
    }
}

#[tokio::test]
async fn commands_out_of_order_are_refused() {
    let running = start().await;
    let mut talk = signed_in(&running.provider).await;
    talk.expect("RCPT TO:<a@b>\r\n", "503 5.5.1 MAIL first\r\n")
        .await;
    talk.expect("DATA\r\n", "503 5.5.1 MAIL first\r\n").await;
    talk.expect("MAIL FROM:<>\r\n", "250 2.1.0 fine\r\n").await;
    talk.expect("MAIL FROM:<>\r\n", "503 5.5.1 one message at a time\r\n")
        .await;
    talk.expect("DATA\r\n", "554 5.5.1 no valid recipients\r\n")
        .await;
    talk.expect("RSET\r\n", "250 2.0.0 forgotten\r\n").await;
    talk.expect(
        "MAIL FROM:<a@b> XYZ\r\n",
        "555 5.5.4 XYZ is not offered\r\n",
    )
    .await;
    talk.expect("WHAT\r\n", "500 5.5.1 this command is unknown here\r\n")
        .await;
}
