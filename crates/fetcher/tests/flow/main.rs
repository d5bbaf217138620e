//! The whole way in, against a server in memory: fetched, delivered to a real command, acknowledged.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod acknowledge;
mod contract;
mod fake;
mod folders;
mod gateway;
mod hanging;
mod held;
mod literals;
mod multitude;
mod offers;
mod poison;
mod pop3;
mod pop3_held;
mod pop3_lies;
mod restored;
mod throttled;
mod tokens;
mod trouble;
mod turns;
mod unchanged;

use std::time::Duration;

use fake::{Fake, Mail};
use fetcher::check;
use gateway::{ALL, Gateway, local, mail, sorted, until};
use spool::Direction;
use token_store::accounts::{After, Condition, StartFrom, Watch, Way};

#[test]
fn messages_of_all_sizes_arrive_byte_for_byte_in_order_and_leave_the_mailbox() {
    local(async {
        let (gateway, fake) = (Gateway::new(), Fake::start(ALL));
        let piece = 512 * 1024;
        let sizes = [
            100,
            5_000,
            piece - 1,
            piece,
            piece + 1,
            2 * piece,
            3 * piece,
            3 * piece + 17,
            700,
        ];
        let mails: Vec<Vec<u8>> = sizes
            .iter()
            .enumerate()
            .map(|(n, size)| mail(n, *size))
            .collect();
        for bytes in &mails {
            fake.add(bytes);
        }
        let running = gateway.start(gateway.mailbox(&fake, After::Delete));
        until("the mailbox is empty", || fake.look("INBOX").is_empty()).await;
        assert_eq!(gateway.delivered(), sorted(mails.clone()));
        let late = mail(99, 3_000);
        fake.add(&late);
        until("new mail is noticed while idle, and deleted", || {
            gateway.delivered().contains(&late) && fake.look("INBOX").is_empty()
        })
        .await;
        running.stop().await;
        let order = std::fs::read_to_string(gateway.folder.path().join("order")).unwrap();
        let expected: Vec<String> = (0..mails.len())
            .chain([99])
            .map(|n| n.to_string())
            .collect();
        assert_eq!(
            order.lines().collect::<Vec<_>>(),
            expected,
            "each exactly once, oldest first"
        );
        assert_eq!(
            gateway
                .parts
                .spool
                .counts(Direction::In, "support")
                .unwrap()
                .done,
            mails.len() as u64 + 1
        );
        assert_eq!(fake.asked(&["LOGOUT"]), ["LOGOUT"]);
        assert_eq!(gateway.condition(), Some(Condition::Stopped));
    });
}

#[test]
fn small_bodies_share_commands_and_large_ones_come_in_pieces() {
    local(async {
        let (gateway, fake) = (Gateway::new(), Fake::start(ALL));
        for n in 0..200 {
            fake.add(&mail(n, 4_000));
        }
        fake.add(&mail(200, 600_000));
        let running = gateway.start(gateway.mailbox(&fake, After::Delete));
        until("all are through", || fake.look("INBOX").is_empty()).await;
        running.stop().await;
        let bodies: Vec<String> = fake
            .asked(&["UID FETCH"])
            .into_iter()
            .filter(|l| l.contains("BODY"))
            .collect();
        assert_eq!(
            bodies,
            [
                "UID FETCH 1:200 (UID BODY.PEEK[])",
                "UID FETCH 201 (UID BODY.PEEK[]<0.524288>)",
                "UID FETCH 201 (UID BODY.PEEK[]<524288.524288>)",
            ]
        );
    });
}

#[test]
fn start_from_now_leaves_what_is_there_also_after_a_restart_and_in_an_empty_folder() {
    for there in [3, 0] {
        local(async {
            let (gateway, fake) = (Gateway::new(), Fake::start(ALL));
            for n in 0..there {
                fake.add(&mail(n, 300));
            }
            let mut mailbox = gateway.mailbox(&fake, After::Delete);
            mailbox.start_from = StartFrom::Now;
            let running = gateway.start(mailbox.clone());
            until("it waits for mail", || matches!(gateway.condition(), Some(Condition::Working { doing }) if doing.contains("waiting"))).await;
            running.stop().await;
            fake.add(&mail(50, 300));
            let running = gateway.start(mailbox);
            until("only the new one comes", || {
                gateway.delivered() == [mail(50, 300)]
            })
            .await;
            running.stop().await;
            assert_eq!(fake.look("INBOX").len(), there);
        });
    }
}

#[test]
fn start_from_a_date_leaves_older_mail_and_takes_what_has_no_date() {
    local(async {
        let (gateway, fake) = (Gateway::new(), Fake::start(ALL));
        for (n, date) in [
            "31-Dec-2025 23:59:59 +0000",
            "01-Jan-2026 00:00:00 +0000",
            "",
            "01-Jan-2026 00:30:00 +0100",
        ]
        .iter()
        .enumerate()
        {
            fake.add_mail(Mail {
                bytes: mail(n, 300),
                date: (*date).into(),
                ..Mail::default()
            });
        }
        let mut mailbox = gateway.mailbox(&fake, After::Keep);
        // 2026-01-01.
        mailbox.start_from = StartFrom::Date(1_767_225_600);
        let running = gateway.start(mailbox);
        until("two come", || gateway.delivered().len() == 2).await;
        running.stop().await;
        assert_eq!(
            gateway.delivered(),
            sorted(vec![mail(1, 300), mail(2, 300)])
        );
    });
}

#[test]
fn polling_works_without_idle_and_long_pauses_log_out() {
    local(async {
        let (gateway, fake) = (Gateway::new(), Fake::start("UIDPLUS"));
        fake.add(&mail(1, 300));
        let mut mailbox = gateway.mailbox(&fake, After::Delete);
        mailbox.watch = Watch::Every(Duration::from_millis(50));
        let running = gateway.start(mailbox.clone());
        until("the first is through", || fake.look("INBOX").is_empty()).await;
        fake.add(&mail(2, 300));
        until("the second is through", || {
            gateway.delivered().len() == 2 && fake.look("INBOX").is_empty()
        })
        .await;
        assert_eq!(
            fake.state().connections,
            1,
            "a short pause keeps the connection"
        );
        running.stop().await;
        mailbox.watch = Watch::Every(Duration::from_secs(3600));
        let running = gateway.start(mailbox);
        until("it logs out", || fake.asked(&["LOGOUT"]).len() == 2).await;
        fake.add(&mail(3, 300));
        gateway.parts.poke.notify_one();
        until("a poke fetches", || gateway.delivered().len() == 3).await;
        running.stop().await;
        assert_eq!(fake.asked(&["IDLE"]), [""; 0]);
    });
}

#[test]
fn shutdown_lets_the_running_command_end_and_acknowledges_it() {
    local(async {
        let (gateway, fake) = (Gateway::new(), Fake::start(ALL));
        fake.add(&mail(1, 300));
        fake.add(&mail(2, 300));
        let script = "touch \"$0/../begun\"; while [ ! -e \"$0/../go\" ]; do sleep 0.02; done; cat > \"$0/$POSTERN_DELIVERY_ID\"";
        let running = gateway.start(gateway.mailbox_with(&fake, After::Delete, script));
        until("it begins", || gateway.folder.path().join("begun").exists()).await;
        running.shutdown.cancel();
        std::fs::write(gateway.folder.path().join("go"), b"").unwrap();
        running.stop().await;
        assert_eq!(
            gateway.delivered(),
            [mail(1, 300)],
            "the second one is not begun"
        );
        assert_eq!(fake.look("INBOX"), [(2, vec![])]);
        let queue = gateway.parts.spool.queue(Some(Direction::In)).unwrap();
        assert_eq!(
            (queue.len(), queue[0].attempts),
            (1, 0),
            "its claim went back untouched"
        );
    });
}

#[test]
fn check_tells_each_step_and_changes_nothing() {
    local(async {
        let (gateway, fake) = (Gateway::new(), Fake::start(ALL));
        fake.add(&mail(1, 300));
        fake.add(&mail(2, 300));
        let to = After::Move {
            folder: "Later".into(),
            create: true,
        };
        let mailbox = gateway.mailbox(&fake, to);
        let steps = check(&mailbox, &gateway.parts.tokens).await;
        let found: Vec<String> = steps
            .iter()
            .map(|s| format!("{}: {}", s.what, s.found.as_ref().unwrap()))
            .collect();
        assert_eq!(
            found[0],
            "the command of mailbox support: /bin/sh is there and executable"
        );
        assert!(
            found
                .iter()
                .any(|f| f == "the folder INBOX: has 2 messages; a first start fetches 2"),
            "{found:#?}"
        );
        assert!(
            found
                .last()
                .unwrap()
                .contains("does not exist; it is created when it is needed"),
            "{found:#?}"
        );
        assert_eq!(fake.asked(&["SELECT", "CREATE", "UID STORE"]), [""; 0]);

        let mut wrong = mailbox.clone();
        wrong.deliver.way = Way::command(vec!["/nonexistent/reader".into()]);
        wrong.folders = vec!["Nowhere".into()];
        let steps = check(&wrong, &gateway.parts.tokens).await;
        assert!(
            steps[0]
                .found
                .as_ref()
                .unwrap_err()
                .contains("/nonexistent/reader")
        );
        assert!(
            steps
                .last()
                .unwrap()
                .found
                .as_ref()
                .unwrap_err()
                .contains("NO [NONEXISTENT] no such folder")
        );
    });
}

#[test]
fn as_many_commands_run_at_once_as_are_allowed_and_not_more() {
    local(async {
        let (gateway, fake) = (Gateway::new(), Fake::start(ALL));
        for n in 0..9 {
            fake.add(&mail(n, 300));
        }
        // Each waits until three run, and tells how many it saw.
        let script = "cd \"$0/..\"; touch \"run.$POSTERN_DELIVERY_ID\"; n=0; \
            until [ $(ls run.* | wc -l) -ge 3 ] || [ $n -ge 500 ]; do sleep 0.01; n=$((n+1)); done; \
            ls run.* | wc -l >> seen; sleep 0.1; rm \"run.$POSTERN_DELIVERY_ID\"";
        let mut mailbox = gateway.mailbox_with(&fake, After::Delete, script);
        mailbox.deliver.concurrency = 3;
        let running = gateway.start(mailbox);
        until("all are through", || fake.look("INBOX").is_empty()).await;
        running.stop().await;
        let seen = std::fs::read_to_string(gateway.folder.path().join("seen")).unwrap();
        let seen: Vec<u32> = seen.lines().map(|l| l.trim().parse().unwrap()).collect();
        assert_eq!(seen.iter().max(), Some(&3), "{seen:?}");
    });
}

#[test]
fn a_fetch_that_a_person_asks_for_lists_the_whole_folder_again() {
    local(async {
        let (gateway, fake) = (Gateway::new(), Fake::start(ALL));
        let earlier = fake.add_mail(Mail {
            bytes: mail(1, 500),
            flags: ["\\Deleted".to_owned()].into(),
            ..Mail::default()
        });
        fake.add(&mail(2, 500));
        let running = gateway.start(gateway.mailbox(&fake, After::Keep));
        until("the other one is delivered", || {
            gateway.delivered() == [mail(2, 500)]
        })
        .await;
        {
            let mut state = fake.state();
            let inbox = state.folders.get_mut("INBOX").unwrap();
            inbox.mails.get_mut(&earlier).unwrap().flags.clear();
        }
        gateway.parts.poke.notify_one();
        until("what was undeleted is delivered too", || {
            gateway.delivered() == sorted(vec![mail(1, 500), mail(2, 500)])
        })
        .await;
        running.stop().await;
    });
}
