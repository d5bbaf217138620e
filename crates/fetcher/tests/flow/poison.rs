//! Messages that a server can't give, or over which connections break; accounts that hang. The others go on.

use std::time::{Duration, Instant};

use spool::Direction;
use token_store::accounts::{After, Condition, Mailbox};

use crate::fake::{Fake, Mail, State};
use crate::gateway::{ALL, Gateway, local, mail, sorted, until};

fn plain(n: usize) -> Mail {
    Mail {
        bytes: mail(n, 300),
        ..Mail::default()
    }
}

fn mend(fake: &Fake) {
    for mail in fake
        .state()
        .folders
        .get_mut("INBOX")
        .unwrap()
        .mails
        .values_mut()
    {
        (mail.refused, mail.breaks) = (false, false);
    }
}

#[test]
fn a_message_that_the_server_refuses_to_give_stops_no_other_and_is_shown() {
    local(async {
        let (gateway, fake) = (Gateway::new(), Fake::start(ALL));
        for n in 0..10 {
            fake.add_mail(Mail {
                refused: n == 4,
                ..plain(n)
            });
        }
        let running = gateway.start(gateway.mailbox(&fake, After::Delete));
        until("the others are through", || fake.look("INBOX").len() == 1).await;
        assert_eq!(gateway.delivered().len(), 9);
        until("the one that stays is shown", || {
            gateway.parts.poke.notify_one();
            matches!(gateway.condition(), Some(Condition::Working { doing })
                if doing.contains("a message in INBOX can't be fetched") && doing.contains("[SERVERBUG] this message is damaged"))
        })
        .await;
        mend(&fake);
        until("it comes once the server gives it", || {
            gateway.parts.poke.notify_one();
            fake.look("INBOX").is_empty()
        })
        .await;
        running.stop().await;
        assert_eq!(fake.state().connections, 1, "a NO costs no connection");
    });
}

#[test]
fn a_message_over_which_every_connection_breaks_is_put_behind_the_others() {
    local(async {
        let (gateway, fake) = (Gateway::new(), Fake::start(ALL));
        for n in 0..10 {
            fake.add_mail(Mail {
                breaks: n == 4,
                ..plain(n)
            });
        }
        let running = gateway.start(gateway.mailbox(&fake, After::Delete));
        until("the others are through", || {
            // Nobody has time for the backoff here.
            gateway.parts.poke.notify_one();
            fake.look("INBOX").len() == 1
        })
        .await;
        assert_eq!(gateway.delivered().len(), 9);
        until("it is shown", || {
            gateway.parts.poke.notify_one();
            matches!(gateway.condition(), Some(Condition::Working { doing })
                if doing.contains("the connection broke each time it was fetched"))
        })
        .await;
        assert!(fake.state().connections < 8);
        running.stop().await;
    });
}

#[test]
fn a_folder_that_others_change_while_it_is_fetched_loses_nothing() {
    fn others(state: &mut State) {
        let inbox = state.folders.get_mut("INBOX").unwrap();
        inbox.mails.remove(&1);
        inbox.mails.remove(&5);
        inbox.mails.insert(inbox.next, plain(90));
        inbox.next += 1;
    }
    local(async {
        let (gateway, fake) = (Gateway::new(), Fake::start(ALL));
        for n in 0..8 {
            fake.add_mail(plain(n));
        }
        // Between the listing and the bodies, and once more between the bodies and what comes next.
        fake.state().before = vec![
            ("UID FETCH 1:8", others),
            ("UID STORE", |state| {
                let inbox = state.folders.get_mut("INBOX").unwrap();
                inbox.mails.insert(inbox.next, plain(91));
                inbox.next += 1;
            }),
        ];
        let running = gateway.start(gateway.mailbox(&fake, After::Delete));
        let left = [1, 2, 3, 5, 6, 7, 90, 91];
        until("all that is there is delivered", || {
            gateway.delivered().len() == left.len() && fake.look("INBOX").is_empty()
        })
        .await;
        running.stop().await;
        assert_eq!(
            gateway.delivered(),
            sorted(left.map(|n| mail(n, 300)).to_vec())
        );
    });
}

#[test]
fn an_account_that_hangs_in_whatever_state_costs_the_others_no_time() {
    for state in [
        "GREETING",
        "AUTHENTICATE",
        "SELECT",
        "UID FETCH 1:*",
        "UID FETCH 1 ",
        "UID STORE",
        "IDLE",
    ] {
        local(async {
            let (gateway, hanging) = (Gateway::new(), Fake::start(ALL));
            hanging.state().hang = Some(state);
            hanging.add_mail(plain(99));
            let name = |mailbox: Mailbox, n: usize| Mailbox {
                name: format!("account {n}"),
                ..mailbox
            };
            let mut running =
                vec![gateway.start(name(gateway.mailbox(&hanging, After::Delete), 0))];
            until("it hangs", || {
                state == "GREETING" && hanging.state().open == 1
                    || !hanging.asked(&[state]).is_empty()
            })
            .await;
            let begun = Instant::now();
            let good: Vec<Fake> = (1..4).map(|_| Fake::start(ALL)).collect();
            for (n, fake) in (1..).zip(&good) {
                for m in 0..5 {
                    fake.add_mail(plain(10 * n + m));
                }
                running.push(gateway.start(name(gateway.mailbox(fake, After::Delete), n)));
            }
            until("the others are through", || {
                good.iter().all(|fake| fake.look("INBOX").is_empty())
            })
            .await;
            assert!(begun.elapsed() < Duration::from_secs(8), "{state}");
            for running in running {
                running.shutdown.cancel();
            }
        });
    }
}

#[test]
fn a_body_that_is_in_the_spool_is_not_fetched_again_however_often_its_delivery_fails() {
    local(async {
        let (gateway, fake) = (Gateway::new(), Fake::start(ALL));
        fake.add_mail(plain(1));
        fake.add_mail(Mail {
            bytes: mail(2, 400_000),
            ..Mail::default()
        });
        let mut mailbox = gateway.mailbox_with(&fake, After::Delete, "exit 75");
        mailbox.max_size = 300_000;
        for round in 0..3 {
            let running = gateway.start(mailbox.clone());
            until("both are in the spool", || {
                gateway
                    .parts
                    .spool
                    .queue(Some(Direction::In))
                    .unwrap()
                    .len()
                    == 2
            })
            .await;
            until("it waits", || gateway.waits_for_mail()).await;
            let looks = fake.asked(&["NOOP"]).len();
            gateway.parts.poke.notify_one();
            until("it looks again", || fake.asked(&["NOOP"]).len() > looks).await;
            running.stop().await;
            let bodies = fake.asked(&["UID FETCH 1 (", "UID FETCH 2 ("]);
            assert_eq!(
                bodies,
                [
                    "UID FETCH 1 (UID BODY.PEEK[])",
                    "UID FETCH 2 (UID BODY.PEEK[HEADER]<0.65536>)"
                ],
                "round {round}"
            );
        }
        let counts = gateway
            .parts
            .spool
            .counts(Direction::In, "support")
            .unwrap();
        assert_eq!(
            (counts.waiting, counts.held),
            (1, 1),
            "too big is held once, and shown"
        );
    });
}
