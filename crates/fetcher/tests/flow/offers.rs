//! What a server offers decides what is asked of it.

use spool::{Direction, MessageId};
use token_store::accounts::{After, Condition};

use crate::fake::{Fake, Mail};
use crate::gateway::{ALL, Gateway, local, mail, sorted, until};

/// One message through a server with these capabilities; gives all commands.
fn asked_by(capabilities: &str, prepare: impl FnOnce(&Fake)) -> (Vec<String>, Fake) {
    let fake = Fake::start(capabilities);
    prepare(&fake);
    local(async {
        let gateway = Gateway::new();
        fake.add(&mail(1, 500));
        let mut mailbox = gateway.mailbox(&fake, After::Delete);
        mailbox.trash_on_delete = capabilities.contains("X-GM-EXT-1");
        let running = gateway.start(mailbox);
        until("it is through", || fake.look("INBOX").is_empty()).await;
        running.stop().await;
        assert_eq!(gateway.delivered(), [mail(1, 500)]);
    });
    (fake.asked(&[""]), fake)
}

#[test]
fn a_server_that_offers_nothing_is_asked_nothing_more() {
    let (asked, _) = asked_by("AUTH=PLAIN", |_| {});
    let extensions = ["ID", "ENABLE", "IDLE", "STATUS", "UID EXPUNGE", "UID MOVE"];
    for command in &asked {
        assert!(
            !extensions.iter().any(|e| command.starts_with(e)),
            "{asked:#?}"
        );
    }
    assert_eq!(
        asked[0], "AUTHENTICATE PLAIN",
        "no initial response without SASL-IR"
    );
}

#[test]
fn a_server_of_imap4rev2_alone_works_and_its_folders_are_named_in_utf8() {
    let fake = Fake::start("IMAP4rev2 IDLE UIDPLUS MOVE AUTH=PLAIN SASL-IR");
    fake.add_folder("Entwürfe & mehr", 5);
    local(async {
        let gateway = Gateway::new();
        fake.add_to(
            "Entwürfe & mehr",
            Mail {
                bytes: mail(1, 500),
                ..Mail::default()
            },
        );
        let mut mailbox = gateway.mailbox(&fake, After::Delete);
        mailbox.folders = vec!["Entwürfe & mehr".into()];
        let running = gateway.start(mailbox);
        until("it is through", || fake.look("Entwürfe & mehr").is_empty()).await;
        running.stop().await;
        assert_eq!(gateway.delivered(), [mail(1, 500)]);
    });
    assert_eq!(fake.asked(&["SELECT"]), ["SELECT \"Entwürfe & mehr\""]);
}

#[test]
fn a_server_that_is_no_imap4rev1_waits_for_a_person() {
    local(async {
        let (gateway, fake) = (Gateway::new(), Fake::start("IMAP4 AUTH=PLAIN"));
        let running = gateway.start(gateway.mailbox(&fake, After::Delete));
        until("it is shown", || {
            matches!(gateway.condition(), Some(Condition::Blocked { why }) if why.contains("neither IMAP4rev1 nor IMAP4rev2"))
        })
        .await;
        running.stop().await;
    });
}

#[test]
fn who_we_are_is_told_where_that_is_offered_and_a_refusal_does_no_harm() {
    let (asked, _) = asked_by(&format!("{ALL} ID"), |_| {});
    let who = format!(
        r#"ID ("name" "Postern" "version" "{}")"#,
        env!("CARGO_PKG_VERSION")
    );
    assert_eq!(
        asked[1], who,
        "right after the sign-in: some providers let nobody select before"
    );
    let (asked, _) = asked_by(&format!("{ALL} ID ENABLE UTF8=ACCEPT"), |fake| {
        fake.state().refuse = vec![("ID", "BAD what", 1), ("ENABLE", "NO not now", 1)];
    });
    assert!(asked.contains(&who) && asked.contains(&"ENABLE UTF8=ACCEPT".to_owned()));
}

#[test]
fn utf8_is_agreed_on_where_that_is_offered_and_folders_are_named_in_it() {
    let fake = Fake::start(&format!("{ALL} ENABLE UTF8=ACCEPT"));
    local(async {
        let gateway = Gateway::new();
        fake.add(&mail(1, 500));
        let to = After::Move {
            folder: "Erledigt für heute".into(),
            create: true,
        };
        let running = gateway.start(gateway.mailbox(&fake, to));
        until("it is through", || fake.look("INBOX").is_empty()).await;
        running.stop().await;
    });
    assert_eq!(
        fake.asked(&["ENABLE", "CREATE", "UID MOVE"]),
        [
            "ENABLE UTF8=ACCEPT",
            "CREATE \"Erledigt für heute\"",
            "UID MOVE 1 \"Erledigt für heute\""
        ]
    );
}

const GMAIL: &str = "IDLE UIDPLUS MOVE AUTH=PLAIN SASL-IR SPECIAL-USE LIST-EXTENDED X-GM-EXT-1";

fn add_trash(fake: &Fake) {
    // "Trash" in another language, in modified UTF-7, as Gmail names it.
    let name = "[Gmail]/&BBoEPgRABDcEOAQ9BDA-";
    fake.add_folder(name, 9);
    fake.state().folders.get_mut(name).unwrap().special = "\\Trash";
}

#[test]
fn on_gmail_a_deleted_message_goes_to_the_trash_whatever_its_name() {
    let (asked, fake) = asked_by(GMAIL, add_trash);
    assert!(
        asked.contains(&"LIST (SPECIAL-USE) \"\" \"*\"".to_owned()),
        "{asked:#?}"
    );
    assert!(asked.contains(&"UID MOVE 1 \"[Gmail]/&BBoEPgRABDcEOAQ9BDA-\"".to_owned()));
    assert_eq!(fake.look("[Gmail]/&BBoEPgRABDcEOAQ9BDA-").len(), 1);
    assert_eq!(fake.asked(&["UID STORE", "UID EXPUNGE"]), [""; 0]);
}

#[test]
fn without_a_trash_that_is_shown_a_message_is_deleted_from_its_folder() {
    let (asked, _) = asked_by(GMAIL, |_| {});
    assert!(asked.contains(&"UID EXPUNGE 1".to_owned()), "{asked:#?}");
}

#[test]
fn gmails_own_number_of_a_message_is_in_the_record() {
    local(async {
        let (gateway, fake) = (Gateway::new(), Fake::start(GMAIL));
        let sizes = [300, 600_000];
        for (n, size) in sizes.into_iter().enumerate() {
            fake.add_mail(Mail {
                bytes: mail(n, size),
                gm: 1_278_455_344_230_334_865 + n as u64,
                ..Mail::default()
            });
        }
        let running = gateway.start(gateway.mailbox_with(&fake, After::Delete, "exit 75"));
        let spool = &gateway.parts.spool;
        until("both are taken in", || {
            spool.queue(Some(Direction::In)).unwrap().len() == 2
        })
        .await;
        running.stop().await;
        let rows = spool.queue(Some(Direction::In)).unwrap();
        let ids = rows.iter().map(|row| {
            let shown = spool.show(MessageId(row.id)).unwrap().unwrap();
            shown.provider_id.unwrap()
        });
        assert_eq!(
            ids.collect::<Vec<_>>(),
            ["1278455344230334865", "1278455344230334866"]
        );
    });
}

#[test]
fn a_gmail_message_under_two_labels_is_one_ticket() {
    local(async {
        let (gateway, fake) = (Gateway::new(), Fake::start(GMAIL));
        fake.add_folder("Support", 7);
        for (folder, n, gm) in [("INBOX", 1, 11), ("Support", 1, 11), ("Support", 2, 12)] {
            fake.add_to(
                folder,
                Mail {
                    bytes: mail(n, 500),
                    gm,
                    ..Mail::default()
                },
            );
        }
        let mut mailbox = gateway.mailbox(&fake, After::Keep);
        mailbox.folders.push("Support".into());
        for _ in 0..2 {
            let running = gateway.start(mailbox.clone());
            until("it waits", || gateway.waits_for_mail()).await;
            until("two are delivered", || gateway.delivered().len() == 2).await;
            running.stop().await;
        }
        assert_eq!(
            gateway.delivered(),
            sorted(vec![mail(1, 500), mail(2, 500)])
        );
    });
}

#[test]
fn a_poll_asks_a_folder_that_is_not_open_for_its_status_and_opens_it_only_when_something_came() {
    local(async {
        let (gateway, fake) = (Gateway::new(), Fake::start(ALL));
        fake.add_folder("Spam", 77);
        let mut mailbox = gateway.mailbox(&fake, After::Keep);
        mailbox.folders.push("Spam".into());
        mailbox.poll = std::time::Duration::from_millis(50);
        let running = gateway.start(mailbox);
        until("it polls", || fake.asked(&["STATUS \"Spam\""]).len() >= 5).await;
        assert_eq!(fake.asked(&["SELECT \"Spam\""]).len(), 1);
        fake.add_to(
            "Spam",
            Mail {
                bytes: mail(1, 300),
                ..Mail::default()
            },
        );
        until("new mail is found by the next poll", || {
            gateway.delivered() == [mail(1, 300)]
        })
        .await;
        running.stop().await;
    });
}
