//! Limits of one message and one connection, another sender's name, another relay that takes over, and the Sent folder that is asked.
use super::*;
use crate::Wanted;
use std::sync::Mutex;

const SUBMITTED: &[u8] = b"Received: from a ([127.0.0.1])\r\n\tby b (Postern) with ESMTP id 0a1b2c3d4e5f;\r\n\tnow\r\nSubject: x\r\n\r\nx\r\n";

#[tokio::test]
async fn more_recipients_than_the_server_takes_go_in_several_messages() {
    let mut house = House::build().await;
    house.relay.recipients = Some(2);
    let recipients = [
        "a@x.example",
        "b@x.example",
        "c@x.example",
        "d@x.example",
        "e@x.example",
    ];
    house.put(&recipients).await;
    house.start();
    house.until_sent(3).await;
    let mut counts: Vec<usize> = house
        .provider
        .submitted()
        .iter()
        .map(|s| s.recipients.len())
        .collect();
    counts.sort_unstable();
    assert_eq!(counts, [1, 2, 2]);
}

#[tokio::test]
async fn a_connection_carries_no_more_messages_than_it_may() {
    let mut house = House::build().await;
    house.relay.connections = 1;
    house.relay.messages_per_connection = Some(2);
    for number in 0..5 {
        house.put(&[&format!("r{number}@x.example")]).await;
    }
    house.start();
    house.until_sent(5).await;
    assert_eq!(house.provider.counts().smtp_sign_ins, 3);
}

#[tokio::test]
async fn send_as_is_the_envelope_sender_of_all_but_reports() {
    let mut house = House::build().await;
    house.relay.send_as = Some("shared@helpdesk.example".to_owned());
    house.put(&["one@x.example"]).await;
    let null = |outgoing: &mut Outgoing| outgoing.sender = String::new();
    house.put_as(&["two@x.example"], TEXT, null).await;
    house.start();
    house.until_sent(2).await;
    for submitted in house.provider.submitted() {
        let expected = match submitted.recipients[0].as_str() {
            "one@x.example" => "shared@helpdesk.example",
            _ => "",
        };
        assert_eq!(submitted.sender, expected);
    }
}

#[tokio::test]
async fn a_relay_that_cannot_send_for_long_passes_its_mail_on_and_keeps_it_without_a_fallback() {
    let mut house = House::build().await;
    house.timing.fallback_after = Duration::from_secs(1);
    house.provider.revoke(USER);
    house.put(&["one@x.example"]).await;
    house.start();
    until("it waits", async || house.queue()[0].state == "waiting").await;
    house.stop().await;
    assert_eq!(house.queue()[0].account, "out");

    house.relay.fallback = Some("other".to_owned());
    house.stop = CancellationToken::new();
    house.start();
    until("the relay is blocked", async || {
        matches!(house.condition(), Some(Condition::Blocked { .. }))
    })
    .await;
    until("it is passed on", async || {
        house.parts.poke.notify_one();
        house.queue()[0].account == "other"
    })
    .await;
    assert_eq!(house.queue()[0].state, "due");
    house.stop().await;
}

/// A Sent folder that answers so, and what it was asked.
fn folder(answer: Result<bool, String>) -> (crate::SentFolder, Arc<Mutex<Vec<Wanted>>>) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let inner = Arc::clone(&asked);
    let look: crate::SentFolder = Arc::new(move |wanted| {
        inner.lock().expect("no panic").push(wanted);
        let answer = answer.clone();
        Box::pin(async move { answer })
    });
    (look, asked)
}

#[tokio::test]
async fn what_is_in_the_sent_folder_is_not_sent_again_and_what_is_not_there_is() {
    for (answer, sent) in [
        (Ok(true), 1),
        (Ok(false), 2),
        (Err("no such folder".to_owned()), 2),
    ] {
        let mut house = House::build().await;
        let (look, asked) = folder(answer.clone());
        house.parts.sent = Some(look);
        house.provider.fault(Service::Smtp, ".", 1, Fault::Lose);
        let named =
            |outgoing: &mut Outgoing| outgoing.headline.message_id = "m1@x.example".to_owned();
        house
            .put_as(&["one@x.example", "two@x.example"], SUBMITTED, named)
            .await;
        house.start();
        until("it is done", async || house.queue().is_empty()).await;
        assert_eq!(house.provider.submitted().len(), sent, "{answer:?}");
        let wanted = Wanted {
            message_id: "m1@x.example".to_owned(),
            received: "id 0a1b2c3d4e5f".to_owned(),
        };
        assert_eq!(*asked.lock().expect("no panic"), [wanted]);
        house.stop().await;
    }
}

#[tokio::test]
async fn a_message_without_our_trace_line_is_not_looked_up() {
    let mut house = House::build().await;
    let (look, asked) = folder(Ok(true));
    house.parts.sent = Some(look);
    house.provider.fault(Service::Smtp, ".", 1, Fault::Lose);
    let named = |outgoing: &mut Outgoing| outgoing.headline.message_id = "m1@x.example".to_owned();
    house.put_as(&["one@x.example"], TEXT, named).await;
    house.start();
    until("it is done", async || house.queue().is_empty()).await;
    assert_eq!(house.provider.submitted().len(), 2);
    assert!(asked.lock().expect("no panic").is_empty());
}
