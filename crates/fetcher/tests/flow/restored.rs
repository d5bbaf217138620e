//! A mailbox that came back from a backup with its old numbers.

use token_store::accounts::After;

use crate::fake::{Fake, Mail};
use crate::gateway::{ALL, Gateway, local, mail, sorted, until};

#[test]
fn a_restored_snapshot_makes_no_second_ticket_and_mail_under_a_reused_uid_is_not_passed_over() {
    local(async {
        let (gateway, fake) = (Gateway::new(), Fake::start(ALL));
        let mut mails: Vec<Vec<u8>> = (0..5).map(|n| mail(n, 400)).collect();
        for bytes in &mails {
            fake.add(bytes);
        }
        let running = gateway.start(gateway.mailbox(&fake, After::Delete));
        until("all are through", || fake.look("INBOX").is_empty()).await;
        running.stop().await;
        // The state of yesterday, when there were two messages; since then somebody wrote.
        {
            let mut state = fake.state();
            let inbox = state.folders.get_mut("INBOX").unwrap();
            for uid in 1..=2 {
                let bytes = mails[uid as usize - 1].clone();
                inbox.mails.insert(
                    uid,
                    Mail {
                        bytes,
                        ..Mail::default()
                    },
                );
            }
            inbox.next = 3;
        }
        mails.push(mail(50, 400));
        assert_eq!(fake.add(&mails[5]), 3, "a UID that was given before");
        let running = gateway.start(gateway.mailbox(&fake, After::Delete));
        until("the new one is through", || {
            gateway.delivered().contains(&mails[5])
        })
        .await;
        until("and acknowledged", || {
            fake.look("INBOX").iter().all(|(uid, _)| *uid != 3)
        })
        .await;
        running.stop().await;
        assert_eq!(gateway.delivered(), sorted(mails));
        assert_eq!(
            fake.look("INBOX"),
            [(1, vec![]), (2, vec![])],
            "what was put back stays there"
        );
    });
}

#[test]
fn a_server_whose_uidnext_is_wrong_is_not_taken_for_one_that_went_back() {
    local(async {
        let (gateway, fake) = (Gateway::new(), Fake::start(ALL));
        for n in 0..3 {
            fake.add(&mail(n, 400));
        }
        let running = gateway.start(gateway.mailbox(&fake, After::Keep));
        until("all are through", || gateway.delivered().len() == 3).await;
        running.stop().await;
        fake.state().folders.get_mut("INBOX").unwrap().next = 2;
        let before = fake.asked(&["UID FETCH"]).len();
        let running = gateway.start(gateway.mailbox(&fake, After::Keep));
        until("it is looked at", || {
            fake.asked(&["UID FETCH"]).len() > before + 1
        })
        .await;
        running.stop().await;
        let after = fake.asked(&["UID FETCH"]);
        assert!(after[before].contains("2:*"), "{after:?}");
        assert!(
            !after[before..].iter().any(|line| line.contains("BODY")),
            "{after:?}"
        );
    });
}
