//! What is said beside the addresses: DSN wishes where they are offered, and what a server cannot take of a message.
use super::*;
use spool::dsn::{Notify, Ret};

const DSN: &str = "250-mx.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 DSN\r\n";
const TEXT_TAKEN: [Act; 2] = [
    Body("Subject: x\r\n\r\n..dot\r\nend\r\n.\r\n"),
    Say("250 2.0.0 queued\r\n"),
];

fn text() -> Pieces {
    Pieces::of(Stored::Inline(TEXT.to_vec()))
}

fn wishful<'a>(recipients: &'a [To<'a>]) -> Envelope<'a> {
    Envelope {
        ret: Some(Ret::Hdrs),
        envid: Some("QQ+2B1"),
        ..envelope(recipients)
    }
}

#[tokio::test(start_paused = true)]
async fn wishes_are_passed_on_where_dsn_is_offered_and_left_out_where_it_is_not() {
    let recipients = [
        To {
            address: "one@x",
            notify: Notify::parse("SUCCESS,FAILURE"),
            orcpt: Some("rfc822;who+2Bever@y"),
        },
        To {
            address: "two@x",
            notify: Notify::parse("NEVER"),
            orcpt: None,
        },
        to("three@x"),
    ];
    let head = [
        Hear("MAIL FROM:<a@b.example> RET=HDRS ENVID=QQ+2B1"),
        Hear("RCPT TO:<one@x> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;who+2Bever@y"),
        Hear("RCPT TO:<two@x> NOTIFY=NEVER"),
        Hear("RCPT TO:<three@x>"),
        Hear("DATA"),
        Say("250 ok\r\n250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n"),
    ];
    let acts: Vec<Act> = head.into_iter().chain(TEXT_TAKEN).collect();
    let sent = with(DSN, &acts, |client| async {
        client.send(wishful(&recipients), text()).await
    })
    .await;
    assert!(sent.connection.is_some());
    let head = [
        Hear("MAIL FROM:<a@b.example> SIZE=25"),
        Hear("RCPT TO:<one@x>"),
        Hear("RCPT TO:<two@x>"),
        Hear("RCPT TO:<three@x>"),
        Hear("DATA"),
        Say("250 ok\r\n250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n"),
    ];
    let acts: Vec<Act> = head.into_iter().chain(TEXT_TAKEN).collect();
    let sent = with(ALL, &acts, |client| async {
        client.send(wishful(&recipients), text()).await
    })
    .await;
    assert!(sent.connection.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_wish_that_would_be_a_command_of_its_own_is_left_out() {
    let evil = To {
        address: "one@x",
        notify: None,
        orcpt: Some("rfc822;a b\r\nRCPT TO:<z@x>"),
    };
    let head = [
        Hear("MAIL FROM:<a@b.example>"),
        Hear("RCPT TO:<one@x>"),
        Hear("DATA"),
        Say("250 ok\r\n250 ok\r\n354 go\r\n"),
    ];
    let acts: Vec<Act> = head.into_iter().chain(TEXT_TAKEN).collect();
    with(DSN, &acts, |client| async {
        let recipients = [evil];
        let envelope = Envelope {
            envid: Some("a SIZE=1\r\nRSET"),
            ..envelope(&recipients)
        };
        client.send(envelope, text()).await
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_address_beyond_ascii_is_refused_alone_and_the_message_goes_to_the_others_without_smtputf8()
 {
    let recipients = [
        to("one@x"),
        to("m\u{fc}ller@x"),
        to("bad address@x"),
        to("two@x"),
    ];
    let offer = "250-mx.example\r\n250 PIPELINING\r\n";
    let head = [
        Hear("MAIL FROM:<a@b.example>"),
        Hear("RCPT TO:<one@x>"),
        Hear("RCPT TO:<two@x>"),
        Hear("DATA"),
        Say("250 ok\r\n250 ok\r\n550 5.1.1 no\r\n354 go\r\n"),
    ];
    let acts: Vec<Act> = head.into_iter().chain(TEXT_TAKEN).collect();
    let sent = with(offer, &acts, |client| async {
        let envelope = Envelope {
            smtputf8: true,
            ..envelope(&recipients)
        };
        client.send(envelope, text()).await
    })
    .await;
    let shown = all_shown(&sent);
    assert_eq!(shown[0], "the end of the message: 250 2.0.0 queued");
    assert!(
        shown[1].starts_with("impossible: 5.6.7 the address m\u{fc}ller@x"),
        "{shown:?}"
    );
    assert!(shown[2].starts_with("impossible: 5.1.3 "), "{shown:?}");
    assert_eq!(shown[3], "RCPT: 550 5.1.1 no");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_sent_says_why_with_its_status_code() {
    let ascii = [to("one@x")];
    let fits = envelope(&ascii);
    let small = "250-mx.example\r\n250 SIZE 20\r\n";
    let evil = Envelope {
        sender: "a@b> SIZE=1 <",
        ..fits
    };
    let utf8 = Envelope {
        smtputf8: true,
        utf8_header: true,
        ..fits
    };
    let sender = Envelope {
        smtputf8: true,
        sender: "m\u{fc}ller@x",
        ..fits
    };
    let eight = Envelope {
        eight_bit: true,
        ..fits
    };
    for (offer, envelope, expected) in [
        (
            small,
            fits,
            "5.3.4 the message has 25 bytes, and the server takes at most 20",
        ),
        (BARE, evil, "5.1.7 the sender"),
        (BARE, utf8, "5.6.9 header fields beyond ASCII"),
        (BARE, sender, "5.6.7 the sender m\u{fc}ller@x"),
        (BARE, eight, "5.6.3 the message has 8-bit text"),
    ] {
        let acts = [Hear("QUIT"), Say("221 bye\r\n")];
        with(offer, &acts, |client| async move {
            let sent = client.send(envelope, text()).await;
            let answer = shown(&sent.answers[0]);
            assert!(
                answer.starts_with(&format!("impossible: {expected}")),
                "{answer}"
            );
            sent.connection.expect("in step").quit().await;
        })
        .await;
    }
}
