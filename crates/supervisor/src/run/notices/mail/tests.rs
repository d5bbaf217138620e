//! Which relay a notice takes, what one mail holds, and how it is marked.

use super::*;
use crate::run::plan::Account;
use crate::run::plan::tests::relay;
use std::collections::BTreeMap;
use token_store::notices::{About, Cause, Told};

const NOW: i64 = 1_795_514_400;
const DAY: i64 = 24 * 3600;

fn a_relay(name: &str, senders: &[&str]) -> Relay {
    let Account::Relay(mut made) = relay(name, "smtp.example") else {
        panic!("a relay");
    };
    made.senders = senders.iter().map(|s| (*s).to_owned()).collect();
    made.user = format!("{name}@user.example");
    *made
}

fn working(names: &[&str]) -> Board {
    let board = Board::default();
    for name in names {
        let doing = "waiting for mail to send".to_owned();
        board.set(Kind::Relay, name, Condition::Working { doing });
    }
    board
}

#[test]
fn a_notice_goes_through_a_relay_that_works_and_from_an_address_that_it_serves() {
    let relays = [
        a_relay("all", &["*"]),
        a_relay("b", &["@b.example", "desk@b.example"]),
        a_relay("c", &["desk@c.example"]),
    ];
    let pick = |up: &[&str], from: Option<&str>| choose(&relays, &working(up), from);
    let some = |relay: &str, from: &str| Some((relay.to_owned(), from.to_owned()));
    assert_eq!(
        pick(&["all", "b", "c"], None),
        some("all", "all@user.example")
    );
    assert_eq!(pick(&["b", "c"], None), some("b", "desk@b.example"));
    assert_eq!(
        pick(&["b", "c"], Some("Desk@C.example")),
        some("c", "Desk@C.example")
    );
    assert_eq!(
        pick(&["b", "c"], Some("other@b.example")),
        some("b", "other@b.example")
    );
    // The one that serves it is away: told all the same, in another relay's own name.
    assert_eq!(
        pick(&["b"], Some("desk@c.example")),
        some("b", "desk@b.example")
    );
    assert_eq!(
        pick(&["all"], Some("any@where.example")),
        some("all", "any@where.example")
    );
    assert_eq!(pick(&[], None), None);
    let board = working(&[]);
    board.set(
        Kind::Relay,
        "c",
        Condition::Blocked {
            why: "consent".into(),
        },
    );
    assert_eq!(
        choose(&relays, &board, None),
        None,
        "the broken one is not asked"
    );
}

fn notice(id: i64, raised_at: Option<i64>) -> Notice {
    let told = Told {
        raised_at,
        ..Told::default()
    };
    Notice {
        id,
        cause: Cause {
            kind: token_store::notices::Kind::HeldMail,
            about: About::Mailbox(format!("box {id}")),
            words: "3 messages are held – 🙂".into(),
            advice: "look".into(),
        },
        since: NOW - DAY,
        cleared_at: None,
        told: BTreeMap::from([(Channel::Mail, told)]),
    }
}

#[test]
fn what_lasts_is_one_mail_a_day_and_joins_a_mail_that_is_written_anyhow() {
    let told = |ids: Vec<(&Notice, Telling)>| -> Vec<(i64, Telling)> {
        ids.into_iter()
            .map(|(notice, telling)| (notice.id, telling))
            .collect()
    };
    let fresh = notice(1, Some(NOW - 60));
    let half = notice(2, Some(NOW - TOGETHER));
    let due = notice(3, Some(NOW - DAY));
    let new = notice(4, None);
    assert_eq!(told(owed(&[fresh.clone(), half.clone()], NOW)), []);
    assert_eq!(
        told(owed(&[fresh.clone(), half.clone(), due], NOW)),
        [(2, Telling::Repeated), (3, Telling::Repeated)]
    );
    let all = [fresh, half, new];
    assert_eq!(
        told(owed(&all, NOW)),
        [(4, Telling::Raised), (2, Telling::Repeated)]
    );
    assert_eq!(
        key(&owed(&all, NOW)),
        key(&owed(&all, NOW + 5)),
        "the same mail"
    );
    let mut later = all.clone();
    later[1].told.insert(
        Channel::Mail,
        Told {
            raised_at: Some(NOW),
            ..Told::default()
        },
    );
    assert_ne!(key(&owed(&all, NOW)), key(&owed(&later, NOW)));
}

#[test]
fn the_mail_says_that_no_person_wrote_it_and_who_did() {
    let one = Tidings::of(&notice(7, None), Telling::Raised);
    let to = ["root@example.com".to_owned(), "ops@example.com".to_owned()];
    let (text, headline) = compose(
        "desk@b.example",
        &to,
        std::slice::from_ref(&one),
        "inst; notice; 0123456789abcdef",
    )
    .unwrap();
    let text = String::from_utf8(text).unwrap();
    for line in [
        "From: Postern <desk@b.example>",
        "To: root@example.com, ops@example.com",
        "Subject: [Postern] mailbox box 7: held mail",
        "Auto-Submitted: auto-generated",
        "X-Postern-Origin: inst; notice; 0123456789abcdef",
    ] {
        assert!(text.contains(&format!("{line}\r\n")), "{line}\n{text}");
    }
    assert!(text.is_ascii(), "no relay needs 8BITMIME for it");
    assert!(text.contains(&format!("Message-ID: {}\r\n", headline.message_id)));
    assert!(text.contains("Date: ") && headline.message_id.ends_with("@b.example>"));
    let parsed = mail_parser::MessageParser::default()
        .parse(text.as_bytes())
        .unwrap();
    let body = parsed.body_text(0).unwrap();
    assert!(
        body.contains("mailbox box 7: 3 messages are held – 🙂.\r\n  What to do: look."),
        "{body}"
    );
}

#[test]
fn a_subject_of_several_counts_them_and_a_long_list_is_cut() {
    let many: Vec<Tidings> = (0..150)
        .map(|id| {
            Tidings::of(
                &notice(id, None),
                if id < 2 {
                    Telling::Mended
                } else {
                    Telling::Raised
                },
            )
        })
        .collect();
    assert_eq!(subject(&many), "[Postern] 150 notices: 148 new, 2 mended");
    let text = text(&many);
    assert!(text.contains("mailbox box 0: mended. It was: 3 messages"));
    assert!(text.contains("And 50 more; `postern notices` lists them all."));
}

#[tokio::test(start_paused = true)]
async fn a_cascade_of_failures_is_few_mails() {
    let mut purse = Purse::default();
    let mut written = 0;
    for _ in 0..3600 / 5 {
        if purse.has_one(Instant::now()) {
            purse.take();
            written += 1;
        }
        tokio::time::advance(Duration::from_secs(5)).await;
    }
    assert_eq!(written, BURST + 11);
}
