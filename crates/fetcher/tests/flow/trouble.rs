//! Servers, messages and ticket systems that don't do as they should: nothing is lost, nothing doubled.

use std::time::Duration;

use spool::{DeliveryId, Direction};
use token_store::accounts::{After, Condition, Mailbox};

use crate::fake::{Fake, Mail};
use crate::gateway::{ALL, Gateway, local, mail, sorted, until};

#[test]
fn a_refused_listing_is_an_error_and_never_an_empty_mailbox() {
    for (answer, shown) in [
        ("NO [UNAVAILABLE] backend down", "backend down"),
        ("BAD what", "answered UID FETCH with BAD"),
        ("NO gone", "answered UID FETCH with NO"),
    ] {
        local(async {
            let (gateway, fake) = (Gateway::new(), Fake::start(ALL));
            fake.add(&mail(1, 500));
            fake.state().refuse = vec![("UID FETCH", answer, 1)];
            let running = gateway.start(gateway.mailbox(&fake, After::Delete));
            until("it is shown", || matches!(gateway.condition(), Some(Condition::Waiting { why, .. }) if why.contains(shown))).await;
            gateway.parts.poke.notify_one();
            until("the next session delivers", || {
                gateway.delivered().len() == 1
            })
            .await;
            running.stop().await;
        });
    }
}

#[test]
fn an_empty_or_cut_body_is_never_delivered_but_fetched_again() {
    local(async {
        let (gateway, fake) = (Gateway::new(), Fake::start(ALL));
        let whole = mail(1, 3_000);
        fake.add_mail(Mail {
            bytes: whole.clone(),
            empty: 1,
            ..Mail::default()
        });
        // Cut once, and once more when the end is asked for.
        fake.add_mail(Mail {
            bytes: mail(2, 3_000),
            cut: Some((2, 700)),
            ..Mail::default()
        });
        fake.add(&mail(3, 400));
        let running = gateway.start(gateway.mailbox(&fake, After::Delete));
        until("the whole one is delivered", || {
            gateway.delivered() == [mail(3, 400)] && fake.look("INBOX").len() == 2
        })
        .await;
        gateway.parts.poke.notify_one();
        until("the others come at the next look", || {
            gateway.delivered().len() == 3
        })
        .await;
        running.stop().await;
        assert_eq!(
            gateway.delivered(),
            sorted(vec![whole, mail(2, 3_000), mail(3, 400)])
        );
    });
}

#[test]
fn a_size_that_is_only_an_estimate_does_not_keep_mail_back() {
    local(async {
        let (gateway, fake) = (Gateway::new(), Fake::start(ALL));
        let mails = [
            mail(1, 3_000),
            mail(2, 300_000),
            mail(3, 600_000),
            mail(4, 300_000),
        ];
        for (bytes, told) in mails.iter().zip([3_500, 310_000, 550_000, 200_000]) {
            fake.add_mail(Mail {
                bytes: bytes.clone(),
                size: Some(told),
                ..Mail::default()
            });
        }
        let running = gateway.start(gateway.mailbox(&fake, After::Delete));
        until("all are through", || fake.look("INBOX").is_empty()).await;
        running.stop().await;
        assert_eq!(gateway.delivered(), sorted(mails.to_vec()));
    });
}

#[test]
fn a_size_that_is_a_lie_ends_in_pieces_and_not_in_an_endless_error() {
    local(async {
        let (gateway, fake) = (Gateway::new(), Fake::start(ALL));
        let huge = mail(1, 3_000_000);
        fake.add_mail(Mail {
            bytes: huge.clone(),
            size: Some(10),
            ..Mail::default()
        });
        let running = gateway.start(gateway.mailbox(&fake, After::Delete));
        until("it is through", || fake.look("INBOX").is_empty()).await;
        running.stop().await;
        assert_eq!(gateway.delivered(), [huge]);
    });
}

#[test]
fn a_message_over_the_limit_is_held_with_its_headers_and_never_fetched() {
    local(async {
        let (gateway, fake) = (Gateway::new(), Fake::start(ALL));
        fake.add(&mail(1, 400_000));
        // Its size is a lie: noticed while it comes.
        fake.add_mail(Mail {
            bytes: mail(2, 900_000),
            size: Some(290_000),
            ..Mail::default()
        });
        fake.add(&mail(3, 500));
        let mut mailbox = gateway.mailbox(&fake, After::Delete);
        mailbox.max_size = 300_000;
        let running = gateway.start(mailbox);
        until("the small one is through", || {
            gateway.delivered() == [mail(3, 500)]
        })
        .await;
        until("the big ones are held", || {
            gateway
                .parts
                .spool
                .counts(Direction::In, "support")
                .unwrap()
                .held
                == 2
        })
        .await;
        running.stop().await;
        let queue = gateway.parts.spool.queue(Some(Direction::In)).unwrap();
        let mut subjects: Vec<&str> = queue
            .iter()
            .filter(|r| r.state == "held")
            .map(|r| r.subject.as_str())
            .collect();
        subjects.sort_unstable();
        assert_eq!(subjects, ["number 1", "number 2"]);
        assert_eq!(
            fake.asked(&["UID FETCH 1 "]),
            ["UID FETCH 1 (UID BODY.PEEK[HEADER]<0.65536>)"]
        );
    });
}

#[test]
fn the_mailbox_is_the_queue_when_the_ticket_system_is_down() {
    local(async {
        let (gateway, fake) = (Gateway::new(), Fake::start(ALL));
        for n in 0..40 {
            fake.add(&mail(n, 300));
        }
        let mut mailbox =
            gateway.mailbox_with(&fake, After::Delete, "echo no database >&2; exit 75");
        mailbox.max_undelivered = 10;
        let running = gateway.start(mailbox.clone());
        until("fetching pauses", || {
            matches!(gateway.condition(), Some(Condition::Working { doing }) if doing.contains("10 messages wait") && doing.contains("exit code 75"))
        })
        .await;
        assert_eq!(gateway.parts.spool.undelivered("support").unwrap(), 10);
        running.stop().await;
        assert_eq!(
            fake.look("INBOX").len(),
            40,
            "nothing leaves before it is delivered"
        );
        // The ticket system is back.
        gateway.parts.spool.retry(None).await.unwrap();
        let running = gateway.start(Mailbox {
            max_undelivered: 10,
            ..gateway.mailbox(&fake, After::Delete)
        });
        until("all are through", || fake.look("INBOX").is_empty()).await;
        running.stop().await;
        assert_eq!(gateway.delivered().len(), 40);
    });
}

#[test]
fn a_message_that_fails_does_not_stop_those_behind_it_and_its_words_are_kept() {
    local(async {
        let (gateway, fake) = (Gateway::new(), Fake::start(ALL));
        for n in 0..5 {
            fake.add(&mail(n, 300));
        }
        let script = "if grep -q 'number 1$' >/dev/null; then echo broken charset >&2; exit 1; fi; touch \"$0/$POSTERN_DELIVERY_ID\"";
        let script = script.replace("number 1$", "number 1");
        let running = gateway.start(gateway.mailbox_with(&fake, After::Delete, &script));
        until("four are through", || {
            fake.look("INBOX").len() == 1 && gateway.delivered().len() == 4
        })
        .await;
        running.stop().await;
        let queue = gateway.parts.spool.queue(Some(Direction::In)).unwrap();
        assert_eq!(queue.len(), 1);
        let shown = gateway
            .parts
            .spool
            .show(spool::MessageId(queue[0].id))
            .unwrap()
            .unwrap();
        assert!(
            shown.deliveries[0].why.contains("exit code 1"),
            "{}",
            shown.deliveries[0].why
        );
        assert_eq!(
            shown.deliveries[0].output.as_deref(),
            Some("stderr:\nbroken charset\n")
        );
    });
}

#[test]
fn a_changed_uidvalidity_delivers_nothing_twice() {
    local(async {
        let (gateway, fake) = (Gateway::new(), Fake::start(ALL));
        fake.add(&mail(1, 300));
        fake.add(&mail(1, 300));
        let running = gateway.start(gateway.mailbox(&fake, After::Keep));
        until("two honest identical messages are two", || {
            gateway.delivered().len() == 2
        })
        .await;
        running.stop().await;
        {
            let mut state = fake.state();
            let inbox = state.folders.get_mut("INBOX").unwrap();
            inbox.uidvalidity = 2000;
            inbox.mails = std::mem::take(&mut inbox.mails)
                .into_iter()
                .map(|(uid, mail)| (uid + 100, mail))
                .collect();
            inbox.next = 103;
        }
        fake.add(&mail(2, 300));
        let running = gateway.start(gateway.mailbox(&fake, After::Keep));
        until("the new one comes", || gateway.delivered().len() == 3).await;
        running.stop().await;
        let order = std::fs::read_to_string(gateway.folder.path().join("order")).unwrap();
        assert_eq!(order.lines().count(), 3);
    });
}

#[test]
fn a_refused_password_is_shown_and_not_tried_again_soon() {
    local(async {
        let (gateway, fake) = (Gateway::new(), Fake::start(ALL));
        fake.state().refuse = vec![(
            "AUTHENTICATE",
            "NO [AUTHENTICATIONFAILED] Invalid credentials",
            9,
        )];
        let running = gateway.start(gateway.mailbox(&fake, After::Delete));
        until("it is shown", || {
            matches!(gateway.condition(), Some(Condition::Waiting { why, .. })
                if why.contains("[AUTHENTICATIONFAILED] Invalid credentials") && why.contains("Check user and password"))
        })
        .await;
        running.stop().await;
        assert_eq!(fake.asked(&["AUTHENTICATE"]).len(), 1);
    });
}

#[test]
fn the_command_knows_a_message_again_at_its_next_attempt_also_after_a_restart() {
    local(async {
        let (gateway, fake) = (Gateway::new(), Fake::start(ALL));
        fake.add(&mail(1, 300));
        let script = "echo $POSTERN_MAILBOX $POSTERN_ENVELOPE_TO $POSTERN_ATTEMPT $POSTERN_DELIVERY_ID $POSTERN_SHA256 >> \"$0/../log\"; exit 75";
        let log = gateway.folder.path().join("log");
        let lines = || {
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            text.lines().map(str::to_owned).collect::<Vec<_>>()
        };
        for attempts in 1..=2 {
            let running = gateway.start(gateway.mailbox_with(&fake, After::Delete, script));
            until("an attempt is made", || lines().len() == attempts).await;
            running.stop().await;
            gateway.parts.spool.retry(None).await.unwrap();
        }
        let lines = lines();
        let (first, second) = (
            lines[0].replace(" 1 ", " N "),
            lines[1].replace(" 2 ", " N "),
        );
        assert_eq!(first, second, "all but the attempt's number is the same");
        assert!(
            first.starts_with("support support@example.com N "),
            "{first}"
        );
        assert_eq!(first.split(' ').nth(4).map(str::len), Some(64), "{first}");
    });
}

#[test]
fn a_lease_that_ends_under_a_running_command_starts_no_second_one() {
    local(async {
        let (gateway, fake) = (Gateway::new(), Fake::start(ALL));
        fake.add(&mail(1, 500));
        let script = "echo x >> \"$0/starts\"; until [ -e \"$0/../go\" ]; do sleep 0.05; done";
        let mut mailbox = gateway.mailbox_with(&fake, After::Delete, script);
        mailbox.deliver.concurrency = 2;
        let running = gateway.start(mailbox);
        let starts = || std::fs::read_to_string(gateway.got().join("starts")).unwrap_or_default();
        until("the command runs", || !starts().is_empty()).await;

        let spool = &gateway.parts.spool;
        let id = spool.queue(None).unwrap()[0].id;
        spool
            .extend(vec![DeliveryId(id)], Duration::ZERO)
            .await
            .unwrap();
        // The deliveries look again when the lease, which is a second now, is over.
        fake.add(&mail(2, 500));
        until("the first is claimed anew", || {
            spool.queue(None).unwrap()[0].attempts == 2
        })
        .await;
        std::fs::write(gateway.folder.path().join("go"), "").unwrap();
        until("all is acknowledged", || fake.look("INBOX").is_empty()).await;
        running.stop().await;
        assert_eq!(starts(), "x\nx\n", "one start for each message");
    });
}

#[test]
fn an_alert_of_the_server_is_shown_to_the_administrator() {
    local(async {
        let (gateway, fake) = (Gateway::new(), Fake::start(ALL));
        fake.state().refuse = vec![("NOOP", "OK [ALERT] Maintenance on Sunday", 1)];
        let running = gateway.start(gateway.mailbox(&fake, After::Delete));
        until("it waits", || gateway.waits_for_mail()).await;
        gateway.parts.poke.notify_one();
        until("it is shown", || {
            matches!(gateway.condition(), Some(Condition::Working { doing })
                if doing.contains("the server says: Maintenance on Sunday"))
        })
        .await;
        running.stop().await;
    });
}

#[test]
fn an_account_that_may_not_use_imap_waits_for_a_person_and_its_credential_is_not_blamed() {
    for words in [
        "NO [ALERT] Your account is not enabled for IMAP use. (Failure)",
        "NO [AUTHORIZATIONFAILED] No right to this mailbox",
    ] {
        local(async {
            let (gateway, fake) = (Gateway::new(), Fake::start(ALL));
            fake.state().refuse = vec![("AUTHENTICATE", words, 9)];
            let running = gateway.start(gateway.mailbox(&fake, After::Delete));
            until("it is shown", || {
                matches!(gateway.condition(), Some(Condition::Blocked { why })
                    if why.contains(words) && why.contains("The credential is not to blame"))
            })
            .await;
            running.stop().await;
            assert_eq!(fake.asked(&["AUTHENTICATE"]).len(), 1, "it knocks rarely");
        });
    }
}
