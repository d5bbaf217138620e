//! What a server offers decides how a message goes, or that it cannot: chunks, wishes, 8-bit text, addresses beyond ASCII.
use super::*;
use spool::dsn::{Notify, Ret};
use token_store::accounts::BouncesTo;

const DSN: [&str; 3] = ["PIPELINING", "8BITMIME", "DSN"];

impl House {
    async fn with_extensions(extensions: &[&'static str]) -> Self {
        let house = Self::build().await;
        let extensions = extensions.to_vec();
        house
            .provider
            .set_features(|features| features.smtp_extensions = extensions);
        house
    }

    /// A recipient who is to be told of everything.
    async fn put_wishful(&self, recipient: &str) -> MessageId {
        self.put_as(&[recipient], TEXT, |outgoing| {
            outgoing.ret = Some(Ret::Hdrs);
            outgoing.envid = Some("Q+2B1".to_owned());
            outgoing.recipients[0].notify = Notify::parse("SUCCESS,FAILURE,DELAY");
            outgoing.recipients[0].orcpt = Some("rfc822;who@y".to_owned());
        })
        .await
    }

    async fn report(&self) -> String {
        let reports = self.reports().await;
        let [report] = &reports[..] else {
            panic!("{} reports", reports.len());
        };
        self.text_of(report.message).await
    }
}

#[tokio::test]
async fn messages_leave_in_chunks_where_the_server_offers_them_and_arrive_byte_for_byte() {
    let mut house = House::with_extensions(&["PIPELINING", "CHUNKING"]).await;
    house.relay.connections = 1;
    let large = [b"Subject: x\r\n\r\n".to_vec(), b".line\r\n".repeat(300_000)].concat();
    for number in 0..5 {
        house.put(&[&format!("r{number}@x.example")]).await;
    }
    house.put_text(&["large@x.example"], &large).await;
    house.put(&["last@x.example"]).await;
    house.start();
    house.until_sent(7).await;
    for submitted in house.provider.submitted() {
        let large_one = submitted.recipients == ["large@x.example"];
        let expected = if large_one { &large[..] } else { TEXT };
        assert!(submitted.bytes == expected, "{:?}", submitted.recipients);
    }
    assert_eq!(house.provider.counts().smtp_sign_ins, 1);
}

#[tokio::test]
async fn a_lost_answer_to_the_last_chunk_is_tried_once_more_and_then_held() {
    let mut house = House::with_extensions(&["PIPELINING", "CHUNKING"]).await;
    house.provider.fault(Service::Smtp, ".", 5, Fault::Lose);
    house.put(&["one@x.example"]).await;
    house.start();
    until("held in doubt", async || house.queue()[0].state == "held").await;
    assert_eq!(house.provider.submitted().len(), 2);
    assert!(house.queue()[0].why.contains("in doubt"));
}

#[tokio::test]
async fn a_server_that_lies_about_chunking_is_asked_once_and_gets_data() {
    let mut house = House::with_extensions(&["PIPELINING", "CHUNKING"]).await;
    house.relay.connections = 1;
    let unknown = || Fault::Reply("502 5.5.1 what?".to_owned());
    house.provider.fault(Service::Smtp, "BDAT", 1, unknown());
    house.start();
    for number in 1..=3 {
        house.put(&[&format!("r{number}@x.example")]).await;
        house.until_sent(number).await;
        // A new connection knows it too: a BDAT would meet this, and need one connection more.
        house.provider.drop_connections(Service::Smtp);
        house.provider.fault(Service::Smtp, "BDAT", 1, Fault::Drop);
    }
    let sent = house.provider.submitted();
    assert!(sent.iter().all(|submitted| submitted.bytes == TEXT));
    assert_eq!(house.provider.counts().smtp_sign_ins, 4, "no BDAT was met");
}

#[tokio::test]
async fn wishes_pass_on_to_a_server_that_keeps_them_and_nothing_is_reported_here() {
    let mut house = House::with_extensions(&DSN).await;
    house.relay.bounces_to = Some(BouncesTo::Mailbox("tickets".to_owned()));
    house.put_wishful("one@x.example").await;
    house.start();
    house.until_sent(1).await;
    assert_eq!(
        house.provider.submitted()[0].parameters,
        [
            "SIZE=29 RET=HDRS ENVID=Q+2B1",
            "NOTIFY=SUCCESS,FAILURE,DELAY ORCPT=rfc822;who@y"
        ]
    );
    house.stop().await;
    assert!(house.parts.spool.queue(None).expect("a queue").is_empty());
}

#[tokio::test]
async fn for_a_server_without_dsn_the_sender_is_told_here_that_it_left_and_the_message_is_done() {
    let mut house = House::build().await;
    house.relay.bounces_to = Some(BouncesTo::Mailbox("tickets".to_owned()));
    house.put_wishful("one@x.example").await;
    house.start();
    house.until_sent(1).await;
    assert_eq!(house.provider.submitted()[0].parameters[1], "");
    let text = house.report().await;
    for word in [
        "Original-Envelope-Id: Q+1\r\n",
        "Original-Recipient: rfc822;who@y\r\n",
        "Final-Recipient: rfc822; one@x.example\r\nAction: relayed\r\nStatus: 2.0.0\r\n",
        "Diagnostic-Code: smtp; 250 2.0.0 taken",
        "Subject: Relayed: ",
    ] {
        assert!(text.contains(word), "{word}: {text}");
    }
    house.stop().await;
}

#[tokio::test]
async fn without_anybody_to_tell_or_without_the_wish_a_message_that_left_is_simply_done() {
    let mut house = House::build().await;
    house.put_wishful("one@x.example").await;
    house.start();
    house.until_sent(1).await;
    house.stop().await;

    let mut house = House::build().await;
    house.relay.bounces_to = Some(BouncesTo::Mailbox("tickets".to_owned()));
    house.put(&["one@x.example"]).await;
    let silent = |outgoing: &mut Outgoing| outgoing.recipients[0].notify = Notify::parse("NEVER");
    house.put_as(&["reject@x.example"], TEXT, silent).await;
    house.start();
    until("one left, one is held", async || {
        let queue = house.queue();
        queue.len() == 1 && queue[0].state == "held" && house.provider.submitted().len() == 1
    })
    .await;
    house.stop().await;
    assert!(
        house
            .parts
            .spool
            .owed_reports("out", Duration::ZERO)
            .expect("a spool")
            .is_empty()
    );
}

#[tokio::test]
async fn what_the_server_cannot_take_bounces_with_the_reason_and_its_status_and_is_not_sent() {
    let mut house = House::with_extensions(&["PIPELINING"]).await;
    house.relay.bounces_to = Some(BouncesTo::Mailbox("tickets".to_owned()));
    house
        .provider
        .set_features(|features| features.max_size = 1000);
    house.put_text(&["big@x.example"], &b"x".repeat(2000)).await;
    house.start();
    until("it left the queue with its report", async || {
        house.queue().is_empty()
    })
    .await;
    let text = house.report().await;
    assert!(
        text.contains("Action: failed\r\nStatus: 5.3.4\r\n"),
        "{text}"
    );
    let words: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let why = "the message has 2000 bytes, and the server takes at most 1000";
    assert!(words.contains(why), "{text}");
    assert!(house.provider.submitted().is_empty());
    house.stop().await;
}

#[tokio::test]
async fn text_that_only_was_declared_as_8_bit_is_sent_and_text_that_is_so_bounces() {
    let mut house = House::with_extensions(&["PIPELINING"]).await;
    let declared = |outgoing: &mut Outgoing| {
        outgoing.eight_bit = true;
        outgoing.smtputf8 = true;
    };
    house.put_as(&["ascii@x.example"], TEXT, declared).await;
    let body = "Subject: x\r\n\r\nm\u{fc}ller\r\n".as_bytes();
    house.put_as(&["body@x.example"], body, declared).await;
    let header = "Subject: m\u{fc}ller\r\n\r\nx\r\n".as_bytes();
    house.put_as(&["header@x.example"], header, declared).await;
    house.start();
    until("one sent, two held", async || {
        let queue = house.queue();
        house.provider.submitted().len() == 1
            && queue.len() == 2
            && queue.iter().all(|row| row.state == "held")
    })
    .await;
    let sent = &house.provider.submitted()[0];
    assert_eq!(sent.recipients, ["ascii@x.example"]);
    assert_eq!(sent.parameters[0], "SIZE=29");
    let whys: Vec<String> = house.queue().into_iter().map(|row| row.why).collect();
    assert!(
        whys.iter()
            .any(|why| why.contains("5.6.3 the message has 8-bit text")),
        "{whys:?}"
    );
    assert!(
        whys.iter().any(|why| why.contains("5.6.9 header fields")),
        "{whys:?}"
    );
}

#[tokio::test]
async fn of_several_recipients_only_those_that_need_smtputf8_bounce() {
    let mut house = House::with_extensions(&["PIPELINING"]).await;
    let declared = |outgoing: &mut Outgoing| outgoing.smtputf8 = true;
    let recipients = ["one@x.example", "m\u{fc}ller@x.example"];
    house.put_as(&recipients, TEXT, declared).await;
    house.start();
    until("one sent, one held", async || {
        house.provider.submitted().len() == 1 && house.queue()[0].state == "held"
    })
    .await;
    assert_eq!(house.provider.submitted()[0].recipients, ["one@x.example"]);
    assert!(
        house.queue()[0].why.contains("5.6.7"),
        "{}",
        house.queue()[0].why
    );
}
