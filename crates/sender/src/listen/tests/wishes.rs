//! What a client wants to be told (RFC 3461) is stored with the message and with each recipient.
use super::*;

#[tokio::test]
async fn ret_envid_notify_and_orcpt_reach_the_spool() {
    let server = Server::start().await;
    let mut talk = server.talk().await;
    talk.say(
        "MAIL FROM:<a@helpdesk.example> RET=FULL ENVID=QQ+2b1\r\n\
         RCPT TO:<b@example.org> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;old@example.org\r\n\
         RCPT TO:<c@example.org> NOTIFY=NEVER\r\nRCPT TO:<d@example.org>\r\n\
         RCPT TO:<c@example.org> NOTIFY=FAILURE\r\nRCPT TO:<b@example.org>\r\nDATA\r\n",
    )
    .await;
    for code in ["250", "250", "250", "250", "250", "250", "354"] {
        assert_eq!(talk.code().await, code);
    }
    talk.say(format!("{MESSAGE}.\r\n")).await;
    assert_eq!(talk.code().await, "250");
    let [claim] = server.stored().await.try_into().expect("one message");
    assert_eq!(
        (claim.ret, claim.envid.as_deref()),
        (Some(spool::dsn::Ret::Full), Some("QQ+2B1"))
    );
    let wishes: Vec<_> = claim
        .recipients
        .iter()
        .map(|r| (r.notify.map(|n| n.to_string()), r.orcpt.as_deref()))
        .collect();
    assert_eq!(
        wishes,
        [
            // Named twice, once without a wish: the RFC's default, which tells of failures.
            (None, Some("rfc822;old@example.org")),
            (Some("FAILURE".to_owned()), None),
            (None, None),
        ]
    );
}

/// RFC 5321 section 4.5.3.1.3, RFC 3461 section 4: the longest of everything at once.
#[tokio::test]
async fn the_longest_commands_that_the_rfcs_allow_are_taken() {
    let server = Server::start().await;
    let mut talk = server.talk().await;
    let address = |domain: &str| format!("{}@{domain}", "l".repeat(253 - domain.len()));
    let (sender, recipient) = (address("helpdesk.example"), address("example.org"));
    let envid = "e".repeat(100);
    let orcpt = format!("rfc822;{}", "o".repeat(493));
    let mail = format!(
        "MAIL FROM:<{sender}> SIZE=00000000000000000010 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID={envid}"
    );
    let rcpt = format!("RCPT TO:<{recipient}> NOTIFY=SUCCESS,FAILURE,DELAY ORCPT={orcpt}");
    for line in [&mail, &rcpt] {
        let reply = talk.ask(line).await;
        assert!(reply.starts_with("250"), "{line}: {reply}");
    }
    let noop = format!("NOOP {}", "x".repeat(2048 - 5));
    assert!(talk.ask(&noop).await.starts_with("250"));
    assert!(talk.ask(&format!("{noop}x")).await.starts_with("500 5.5.6"));
    assert!(talk.ask("DATA").await.starts_with("354"));
    talk.say(format!("{MESSAGE}.\r\n")).await;
    assert_eq!(talk.code().await, "250");
    let [claim] = server.stored().await.try_into().expect("one message");
    assert_eq!((claim.sender, claim.envid), (sender, Some(envid)));
    assert_eq!(claim.recipients[0].address, recipient);
    assert_eq!(claim.recipients[0].orcpt, Some(orcpt));
}

#[tokio::test]
async fn bare_line_ends_are_repaired_where_the_operator_says_so() {
    let server = Server::with(|rules| rules.bare_newlines = BareNewlines::Repair).await;
    let mut talk = server.talk().await;
    talk.until_data().await;
    talk.say("Subject: x\n\nline\r.\rone\n.\n..two\r\n.\r.\r\n.\r\n")
        .await;
    assert_eq!(talk.code().await, "250");
    let chunk = "Subject: x\n\nline\r\n.\r\n.\n";
    talk.say(format!(
        "MAIL FROM:<a@helpdesk.example>\r\nRCPT TO:<b@example.org>\r\nBDAT {} LAST\r\n{chunk}",
        chunk.len()
    ))
    .await;
    for _ in 0..3 {
        assert_eq!(talk.code().await, "250");
    }
    let claims = server.stored().await;
    let texts = [
        server.text(&claims[0]).await.1,
        server.text(&claims[1]).await.1,
    ];
    assert_eq!(
        String::from_utf8_lossy(&texts[0]),
        "Subject: x\r\n\r\nline\r\n.\r\none\r\n.\r\n..two\r\n\r\n.\r\n"
    );
    assert_eq!(
        String::from_utf8_lossy(&texts[1]),
        "Subject: x\r\n\r\nline\r\n.\r\n.\r\n"
    );
}
