//! Reports as they are read by people, ticket systems and mail_parser.

use super::*;
use mail_parser::{MessageParser, MimeHeaders};
use provider_template::Tls;
use spool::{DeliveryId, Headline, MessageId, Spool};
use std::time::Duration;
use token_store::Secret;
use token_store::accounts::{Auth, Sasl};

const ORIGINAL: &[u8] =
    b"Subject: [Ticket#7] answer\r\nFrom: desk@x.test\r\n\r\nbody\r\n--report-id--\r\n";

fn relay() -> Relay {
    Relay {
        name: "out".to_owned(),
        template: None,
        host: "smtp.x.test".to_owned(),
        port: 587,
        tls: Tls::Starttls,
        tls_ca_file: None,
        user: "desk@x.test".to_owned(),
        auth: Auth::Password(Secret::new("x")),
        sasl: Sasl::Auto,
        senders: vec!["desk@x.test".to_owned()],
        connections: 1,
        rate: None,
        keep_trying: Duration::from_secs(5 * 86_400),
        bounces_to: None,
        fallback: None,
        send_as: None,
        recipients: None,
        messages_per_connection: None,
        no_initial_response: false,
        paused: false,
        declared_in: None,
    }
}

fn owed(report: Report, ret: Option<Ret>) -> Owed {
    Owed {
        report,
        message: MessageId(7),
        sender: "desk@x.test".to_owned(),
        ret,
        envid: Some("a+2Bb".to_owned()),
        taken_at: 1_700_000_000,
        headline: Headline {
            from: "desk@x.test".to_owned(),
            subject: "[Ticket#7] answer".to_owned(),
            message_id: "orig@x.test".to_owned(),
        },
        recipients: vec![OwedRecipient {
            delivery: DeliveryId(1),
            address: "who@y.test".to_owned(),
            orcpt: Some("rfc822;wh+6F@y.test".to_owned()),
            why: "refused: 550 5.1.1 No such user here (in answer to RCPT)".to_owned(),
        }],
    }
}

/// The report as it lies in the spool.
async fn written(owed: &Owed) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a folder");
    let spool = Spool::open(folder.path()).expect("a spool");
    let relay = relay();
    let letter = Letter {
        owed,
        relay: &relay,
        host: "helpdesk.test",
        author: "MAILER-DAEMON@helpdesk.test",
        reader: "desk@x.test",
        origin: "1; bounce; 2".to_owned(),
        id: "id",
        now: Timestamp::from_second(1_700_000_100).expect("a date"),
    };
    let mut writer = spool.body();
    let original = Ok(Stored::Inline(ORIGINAL.to_vec()));
    compose(&letter, original, &mut writer)
        .await
        .expect("a disk");
    let body = writer.finish(true).await.expect("a disk");
    let local = spool::Local {
        mailbox: "m".to_owned(),
        own: spool::Own::new(spool::OwnKind::Bounce),
        headline: Headline::default(),
        body,
    };
    let id = spool.take_in_local(local).await.expect("a commit");
    match spool.open_body(id).await.expect("a body") {
        Stored::Inline(bytes) => bytes,
        Stored::File(_) => panic!("a report is small"),
    }
}

#[tokio::test]
async fn a_failure_is_a_multipart_report_with_words_fields_and_the_originals_header() {
    let bytes = written(&owed(Report::Failed, None)).await;
    let text = String::from_utf8(bytes.clone()).expect("text");
    assert!(text.lines().all(|line| line.len() < 998) && !text.replace("\r\n", "").contains('\n'));
    let message = MessageParser::default().parse(&bytes).expect("a message");
    let kind = message.content_type().expect("a type");
    assert_eq!(
        (kind.ctype(), kind.subtype()),
        ("multipart", Some("report"))
    );
    assert_eq!(kind.attribute("report-type"), Some("delivery-status"));
    assert_eq!(message.subject(), Some("Undeliverable: [Ticket#7] answer"));
    assert_eq!(message.in_reply_to().as_text(), Some("orig@x.test"));
    assert_eq!(
        message.header("Auto-Submitted").and_then(|h| h.as_text()),
        Some("auto-replied")
    );
    let words = message.body_text(0).expect("words").into_owned();
    assert!(
        words.contains("<who@y.test>:") && words.contains("550 5.1.1 No such user here"),
        "{words}"
    );
    let status = text
        .split("message/delivery-status")
        .nth(1)
        .expect("the second part");
    for field in [
        "Reporting-MTA: dns; helpdesk.test\r\n",
        "Original-Envelope-Id: a+b\r\n",
        "Arrival-Date: Tue, 14 Nov 2023 22:13:20 +0000\r\n\r\n",
        "Original-Recipient: rfc822;who@y.test\r\nFinal-Recipient: rfc822; who@y.test\r\nAction: failed\r\nStatus: 5.1.1\r\n",
        "Remote-MTA: dns; smtp.x.test\r\nDiagnostic-Code: smtp; 550 5.1.1 No such user here\r\n",
    ] {
        assert!(status.contains(field), "{field}: {status}");
    }
    assert!(text.ends_with("Content-Type: text/rfc822-headers\r\nContent-Transfer-Encoding: 8bit\r\n\r\nSubject: [Ticket#7] answer\r\nFrom: desk@x.test\r\n\r\n--report-id--\r\n"), "{text}");
}

#[tokio::test]
async fn ret_full_carries_all_of_it_unless_it_is_very_large() {
    let owed = owed(Report::Failed, Some(Ret::Full));
    let text = String::from_utf8(written(&owed).await).expect("text");
    let original = String::from_utf8(ORIGINAL.to_vec()).expect("text");
    assert!(
        text.contains(&format!(
            "Content-Type: message/rfc822\r\nContent-Transfer-Encoding: 8bit\r\n\r\n{original}"
        )),
        "{text}"
    );
    let inline = |size: u64| Stored::Inline(vec![b'x'; usize::try_from(size).expect("a size")]);
    assert!(returns_all(&owed, &inline(WHOLE)));
    assert!(!returns_all(&owed, &inline(WHOLE + 1)));
}

#[tokio::test]
async fn a_delay_says_until_when_it_is_tried_and_carries_the_header_whatever_was_asked() {
    let text =
        String::from_utf8(written(&owed(Report::Delayed, Some(Ret::Full))).await).expect("text");
    assert!(
        text.contains("Subject: Delayed: [Ticket#7] answer\r\n"),
        "{text}"
    );
    assert!(
        text.contains("Action: delayed\r\nStatus: 4.0.0\r\n"),
        "{text}"
    );
    assert!(
        text.contains("Will-Retry-Until: Sun, 19 Nov 2023 22:13:20 +0000\r\n"),
        "{text}"
    );
    assert!(
        text.contains("text/rfc822-headers") && !text.contains("message/rfc822\r\n"),
        "{text}"
    );
}

#[test]
fn what_a_client_encoded_is_decoded_or_left_out() {
    assert_eq!(from_xtext("a+2Bb+3D"), Some("a+b=".to_owned()));
    for wrong in ["a+0D+0Ab", "+", "+2", "+zz", "ü"] {
        assert_eq!(from_xtext(wrong), None, "{wrong}");
    }
    assert_eq!(original_recipient("no-type"), None);
}

#[test]
fn long_words_are_wrapped_and_indented() {
    let text = wrapped(&format!("    {}", "word ".repeat(40)));
    assert!(
        text.lines()
            .all(|line| line.starts_with("    ") && line.len() <= WIDTH),
        "{text}"
    );
    assert_eq!(text.split_whitespace().count(), 40);
}
