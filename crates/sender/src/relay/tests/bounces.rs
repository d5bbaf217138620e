//! What the sender is told: into a ticket command or by the relay, once, and never about a report.
use super::*;
use spool::{InClaim, Stored};
use std::io::Read;
use token_store::accounts::BouncesTo;

const LEASE: Duration = Duration::from_secs(60);

impl House {
    async fn with_bounces(to: BouncesTo) -> Self {
        let mut house = Self::build().await;
        house.relay.bounces_to = Some(to);
        house
    }

    fn refuse(&self, recipient: &str) {
        let words = "550 5.1.1 nobody of that name".to_owned();
        self.provider.fault(
            Service::Smtp,
            &format!("RCPT TO:<{recipient}>"),
            1,
            Fault::Reply(words),
        );
    }

    /// What waits for the mailbox's ticket command.
    pub(super) async fn reports(&self) -> Vec<InClaim> {
        let claims = self.parts.spool.claim_in("tickets", 10, LEASE).await;
        let claims = claims.expect("a spool");
        let all = claims.iter().map(|claim| claim.delivery).collect();
        self.parts.spool.release(all).await.expect("a spool");
        claims
    }

    pub(super) async fn text_of(&self, message: MessageId) -> String {
        let mut text = String::new();
        match self.parts.spool.open_body(message).await.expect("a body") {
            Stored::Inline(bytes) => text = String::from_utf8(bytes).expect("text"),
            Stored::File(mut file) => drop(file.read_to_string(&mut text).expect("text")),
        }
        text
    }
}

#[tokio::test]
async fn refused_recipients_come_back_to_the_ticket_command_in_one_report_and_leave_the_queue() {
    let mut house = House::with_bounces(BouncesTo::Mailbox("tickets".to_owned())).await;
    house.refuse("bad@x.example");
    house.refuse("worse@x.example");
    house
        .put(&["bad@x.example", "good@x.example", "worse@x.example"])
        .await;
    house.start();
    until("there is a report", async || {
        !house.reports().await.is_empty()
    })
    .await;
    house.until_sent(1).await;
    let [report] = &house.reports().await[..] else {
        panic!("one report for the message");
    };
    let text = house.text_of(report.message).await;
    for word in [
        "From: Mail Delivery System <MAILER-DAEMON@",
        "Auto-Submitted: auto-replied",
        "X-Postern-Origin: ",
        "Final-Recipient: rfc822; bad@x.example\r\nAction: failed\r\nStatus: 5.1.1",
        "Final-Recipient: rfc822; worse@x.example\r\nAction: failed",
        "Subject: hello",
    ] {
        assert!(text.contains(word), "{word}: {text}");
    }
    assert!(!text.contains("good@x.example"), "{text}");
    house.stop().await;
}

#[tokio::test]
async fn a_report_by_relay_has_the_null_sender_and_is_held_when_it_is_refused_itself() {
    let mut house = House::with_bounces(BouncesTo::Address("boss@x.example".to_owned())).await;
    house.refuse("bad@x.example");
    house.put(&["bad@x.example"]).await;
    house.start();
    house.until_sent(1).await;
    let submitted = house.provider.submitted();
    assert_eq!(submitted[0].sender, "");
    assert_eq!(submitted[0].recipients, ["boss@x.example"]);
    let text = String::from_utf8_lossy(&submitted[0].bytes).into_owned();
    assert!(
        text.starts_with(&format!("From: Mail Delivery System <{USER}>\r\n")),
        "{text}"
    );

    house.refuse("bad@x.example");
    house.refuse("boss@x.example");
    house.put(&["bad@x.example"]).await;
    until("the report is held, and nothing else is left", async || {
        let queue = house.queue();
        queue.len() == 1 && queue[0].state == "held" && queue[0].to == ["boss@x.example"]
    })
    .await;
    house.stop().await;
}

#[tokio::test]
async fn a_late_message_is_reported_once_and_goes_on_being_tried() {
    let mut house = House::with_bounces(BouncesTo::Mailbox("tickets".to_owned())).await;
    house.timing.late = Duration::from_secs(1);
    house.timing.first = Duration::from_secs(2);
    house.provider.fault(
        Service::Smtp,
        "RCPT TO:<slow@x.example>",
        2,
        Fault::Reply("451 4.7.1 greylisted".to_owned()),
    );
    house.put(&["slow@x.example"]).await;
    house.start();
    until("there is a report", async || {
        !house.reports().await.is_empty()
    })
    .await;
    let text = house.text_of(house.reports().await[0].message).await;
    assert!(text.contains("Action: delayed\r\nStatus: 4.7.1"), "{text}");
    house.until_sent(1).await;
    assert_eq!(house.reports().await.len(), 1);
    house.stop().await;
}
