//! What goes wrong elsewhere between mailbox and ticket system, and does not here; what other files test is not repeated.

use sha2::{Digest, Sha256};
use spool::{Direction, MessageId};
use token_store::accounts::{After, StartFrom, Watch};

use crate::fake::{Fake, Mail};
use crate::gateway::{ALL, Gateway, local, mail, sorted, until};

#[test]
fn the_queue_shows_the_sha256_of_the_exact_bytes() {
    local(async {
        let (gateway, fake) = (Gateway::new(), Fake::start(ALL));
        let bytes = mail(1, 5_000);
        fake.add(&bytes);
        let running = gateway.start(gateway.mailbox_with(&fake, After::Delete, "exit 75"));
        let spool = &gateway.parts.spool;
        until("it is taken in", || !spool.queue(None).unwrap().is_empty()).await;
        running.stop().await;
        let id = spool.queue(None).unwrap()[0].id;
        let shown = spool.show(MessageId(id)).unwrap().unwrap();
        let hash: String = Sha256::digest(&bytes)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(shown.sha256, hash);
    });
}

#[test]
fn a_message_whose_command_fails_is_neither_deleted_nor_marked_seen_and_is_shown() {
    for after in [After::Delete, After::Seen] {
        local(async {
            let (gateway, fake) = (Gateway::new(), Fake::start(ALL));
            fake.add(&mail(1, 300));
            let script = "echo no such queue >&2; exit 65";
            let running = gateway.start(gateway.mailbox_with(&fake, after.clone(), script));
            let spool = &gateway.parts.spool;
            until("the failure is shown", || {
                let rows = spool.queue(Some(Direction::In)).unwrap();
                rows.iter().any(|row| row.why.contains("exit code 65"))
            })
            .await;
            running.stop().await;
            assert_eq!(fake.look("INBOX"), [(1, vec![])]);
            assert_eq!(
                fake.asked(&["UID STORE", "UID EXPUNGE", "UID MOVE"]),
                [""; 0]
            );
        });
    }
}

#[test]
fn a_move_that_fails_after_the_delivery_is_repeated_alone() {
    local(async {
        let (gateway, fake) = (Gateway::new(), Fake::start(ALL));
        fake.add_folder("Done", 5);
        fake.state().refuse = vec![("UID MOVE", "NO [TRYCREATE] gone just now", 1)];
        fake.add(&mail(1, 300));
        let to = || After::Move {
            folder: "Done".into(),
            create: false,
        };
        let running = gateway.start(gateway.mailbox(&fake, to()));
        until("the move was refused", || {
            !fake.asked(&["UID MOVE"]).is_empty()
        })
        .await;
        running.stop().await;
        let running = gateway.start(gateway.mailbox(&fake, to()));
        until("it is moved", || fake.look("Done").len() == 1).await;
        running.stop().await;
        let order = std::fs::read_to_string(gateway.folder.path().join("order")).unwrap();
        assert_eq!(order.lines().count(), 1, "one ticket");
    });
}

#[test]
fn the_same_message_id_twice_or_none_at_all_are_messages_of_their_own() {
    local(async {
        let (gateway, fake) = (Gateway::new(), Fake::start(ALL));
        let with = |id: &str, text: &str| {
            format!("Subject: number 1\r\n{id}From: a@example.com\r\n\r\n{text}\r\n").into_bytes()
        };
        let mails = vec![
            with("Message-ID: <same@example.com>\r\n", "one"),
            with("Message-ID: <same@example.com>\r\n", "two"),
            with("", "three"),
            with("", "three"),
        ];
        for bytes in &mails {
            fake.add(bytes);
        }
        let running = gateway.start(gateway.mailbox(&fake, After::Delete));
        until("all are through", || fake.look("INBOX").is_empty()).await;
        running.stop().await;
        assert_eq!(gateway.delivered(), sorted(mails));
    });
}

#[test]
fn what_people_have_read_is_fetched_all_the_same_and_what_they_have_not_stays_unread() {
    local(async {
        let (gateway, fake) = (Gateway::new(), Fake::start(ALL));
        fake.add_mail(Mail {
            bytes: mail(1, 300),
            flags: ["\\Seen".to_owned()].into(),
            ..Mail::default()
        });
        fake.add(&mail(2, 300));
        let running = gateway.start(gateway.mailbox(&fake, After::Keep));
        until("both are delivered", || gateway.delivered().len() == 2).await;
        running.stop().await;
        assert_eq!(
            fake.look("INBOX"),
            [(1, vec!["\\Seen".to_owned()]), (2, vec![])]
        );
        let bodies = fake.asked(&["UID FETCH"]);
        assert!(
            bodies.iter().all(|line| !line.contains("BODY[")),
            "only ever peeked at: {bodies:?}"
        );
    });
}

#[test]
fn a_mailbox_has_one_session_at_a_time_however_often_it_is_poked() {
    local(async {
        let (gateway, fake) = (Gateway::new(), Fake::start(ALL));
        // Each listing fails now and then, so that sessions end and begin.
        fake.state().refuse = vec![("UID FETCH", "BAD what", 4)];
        for n in 0..20 {
            fake.add(&mail(n, 300));
        }
        let running = gateway.start(gateway.mailbox(&fake, After::Delete));
        until("all are through", || {
            gateway.parts.poke.notify_one();
            fake.look("INBOX").is_empty()
        })
        .await;
        running.stop().await;
        let state = fake.state();
        assert!(state.connections >= 4, "{}", state.connections);
        assert_eq!(state.most_open, 1);
    });
}

#[test]
fn a_poll_comes_beside_idle_and_idle_is_issued_again_after_it() {
    local(async {
        let (gateway, fake) = (Gateway::new(), Fake::start(ALL));
        let mut mailbox = gateway.mailbox(&fake, After::Keep);
        mailbox.poll = std::time::Duration::from_millis(100);
        let running = gateway.start(mailbox.clone());
        until("three polls came beside IDLE", || {
            fake.asked(&["UID FETCH", "NOOP"]).len() >= 7 && fake.asked(&["IDLE"]).len() >= 4
        })
        .await;
        assert_eq!(fake.state().connections, 1);
        running.stop().await;
        // Without IDLE the same.
        mailbox.watch = Watch::Every(mailbox.poll);
        let idles = fake.asked(&["IDLE"]).len();
        let running = gateway.start(mailbox);
        until("it is delivered", || {
            fake.look("INBOX").len() == 1 || fake.add(&mail(1, 300)) > 0
        })
        .await;
        until("it is delivered", || gateway.delivered().len() == 1).await;
        running.stop().await;
        assert_eq!(fake.asked(&["IDLE"]).len(), idles);
    });
}

#[test]
fn check_tells_how_many_messages_a_first_start_would_fetch() {
    for (start_from, expected) in [
        (StartFrom::All, "a first start fetches 3"),
        (StartFrom::Now, "a first start fetches 0"),
        (StartFrom::Date(1_767_225_600), "a first start fetches 2"),
    ] {
        local(async {
            let (gateway, fake) = (Gateway::new(), Fake::start(ALL));
            for date in [
                "31-Dec-2025 23:59:59 +0000",
                "01-Jan-2026 00:00:00 +0000",
                "02-Jan-2026 00:00:00 +0000",
            ] {
                fake.add_mail(Mail {
                    bytes: mail(1, 300),
                    date: date.into(),
                    ..Mail::default()
                });
            }
            let mut mailbox = gateway.mailbox(&fake, After::Delete);
            mailbox.start_from = start_from;
            let steps = fetcher::check(&mailbox, &gateway.parts.tokens).await;
            let found = steps.iter().filter_map(|step| step.found.as_ref().ok());
            assert!(
                found.clone().any(|words| words.contains(expected)),
                "{:?}",
                found.collect::<Vec<_>>()
            );
        });
    }
}

#[test]
fn our_own_flagged_mail_is_remembered_over_a_restart_until_it_can_be_expunged() {
    local(async {
        let (gateway, fake) = (Gateway::new(), Fake::start("IDLE"));
        fake.add_mail(Mail {
            bytes: mail(0, 300),
            flags: ["\\Deleted".to_owned()].into(),
            ..Mail::default()
        });
        fake.add(&mail(1, 300));
        let acknowledged = |all: u64| {
            let counts = gateway.parts.spool.counts(Direction::In, "support");
            let counts = counts.unwrap();
            counts.done == all && counts.unacknowledged == 0
        };
        let running = gateway.start(gateway.mailbox(&fake, After::Delete));
        until("it is flagged", || acknowledged(1)).await;
        running.stop().await;
        assert_eq!(
            fake.look("INBOX").len(),
            2,
            "nobody else's mail is expunged"
        );

        fake.state()
            .folders
            .get_mut("INBOX")
            .unwrap()
            .mails
            .remove(&1);
        fake.add(&mail(2, 300));
        let running = gateway.start(gateway.mailbox(&fake, After::Delete));
        until("the next one is acknowledged", || acknowledged(2)).await;
        running.stop().await;
        assert_eq!(fake.look("INBOX"), [], "both of ours are gone");
    });
}
