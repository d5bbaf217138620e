//! Folders that come, go, change their UIDVALIDITY, and have awkward names.

use token_store::accounts::{After, Condition, StartFrom};

use crate::fake::{Fake, Mail};
use crate::gateway::{ALL, Gateway, local, mail, sorted, until};

fn plain(n: usize) -> Mail {
    Mail {
        bytes: mail(n, 300),
        date: format!("{:02}-Jan-2026 10:00:00 +0000", n % 28 + 1),
        ..Mail::default()
    }
}

#[test]
fn a_folder_that_was_deleted_or_renamed_is_shown_and_the_others_go_on() {
    local(async {
        let (gateway, fake) = (Gateway::new(), Fake::start(ALL));
        fake.add_folder("Sales", 70);
        fake.add_to("Sales", plain(1));
        let mut mailbox = gateway.mailbox(&fake, After::Keep);
        mailbox.folders = vec!["Sales".into(), "INBOX".into()];
        mailbox.poll = std::time::Duration::from_millis(100);
        let running = gateway.start(mailbox);
        until("the first comes", || gateway.delivered().len() == 1).await;

        let sales = fake.state().folders.remove("Sales").unwrap();
        // Some servers end the sessions of a folder that goes; the next session finds it missing.
        fake.state().refuse = vec![("NOOP", "NO [NONEXISTENT] the folder is gone", 1)];
        until("it is shown", || {
            matches!(gateway.condition(), Some(Condition::Working { doing })
                if doing.contains("the folder Sales can't be opened") && doing.contains("renamed or deleted"))
        })
        .await;
        fake.add_mail(plain(2));
        until("the other folder goes on", || {
            gateway.delivered().len() == 2
        })
        .await;

        fake.state().folders.insert("Sales".into(), sales);
        fake.renumber("Sales", 71);
        fake.add_to("Sales", plain(3));
        until("it is back, and only what is new comes", || {
            gateway.delivered().len() == 3
        })
        .await;
        until("it is shown no more", || {
            matches!(gateway.condition(), Some(Condition::Working { doing }) if !doing.contains("Sales"))
        })
        .await;
        running.stop().await;
        assert_eq!(
            gateway.delivered(),
            sorted(vec![mail(1, 300), mail(2, 300), mail(3, 300)])
        );
    });
}

#[test]
fn folders_with_foreign_letters_and_quotes_are_fetched_and_moved_to() {
    local(async {
        let (gateway, fake) = (Gateway::new(), Fake::start(ALL));
        // As the server knows them: in modified UTF-7.
        let folders = [
            ("Entw&APw-rfe &- mehr", "Entwürfe & mehr"),
            ("say \"hi\" \\ bye", "say \"hi\" \\ bye"),
            ("&ZeVnLIqe-", "日本語"),
        ];
        let mut mailbox = gateway.mailbox(
            &fake,
            After::Move {
                folder: "Erledigt \"für\" heute".into(),
                create: true,
            },
        );
        mailbox.folders = folders.iter().map(|(_, name)| (*name).to_owned()).collect();
        for (n, (wire, _)) in folders.into_iter().enumerate() {
            fake.add_folder(wire, 5);
            fake.add_to(wire, plain(n));
        }
        let running = gateway.start(mailbox);
        let done = "Erledigt \"f&APw-r\" heute";
        until("all are moved", || {
            fake.state()
                .folders
                .get(done)
                .is_some_and(|f| f.mails.len() == 3)
        })
        .await;
        running.stop().await;
        assert_eq!(gateway.delivered().len(), 3);
    });
}

#[test]
fn mail_that_the_first_start_left_out_stays_out_after_a_change_of_uidvalidity() {
    for start_from in [StartFrom::Now, StartFrom::Date(1_767_916_800)] {
        local(async {
            let (gateway, fake) = (Gateway::new(), Fake::start(ALL));
            // Before 2026-01-09, and two of a kind among them.
            for n in [1, 2, 3, 3] {
                fake.add_mail(plain(n));
            }
            let mut mailbox = gateway.mailbox(&fake, After::Keep);
            mailbox.start_from = start_from;
            let running = gateway.start(mailbox.clone());
            until("it waits", || gateway.waits_for_mail()).await;
            fake.add_mail(plain(20));
            until("new mail comes", || gateway.delivered().len() == 1).await;
            running.stop().await;

            fake.renumber("INBOX", 2000);
            fake.add_mail(plain(21));
            // A copy of an old message that was put there meanwhile is one more than was left out.
            fake.add_mail(plain(2));
            for _ in 0..2 {
                let running = gateway.start(mailbox.clone());
                until("only what is new comes", || gateway.delivered().len() == 3).await;
                until("it waits", || gateway.waits_for_mail()).await;
                running.stop().await;
            }
            assert_eq!(
                gateway.delivered(),
                sorted(vec![mail(20, 300), mail(21, 300), mail(2, 300)])
            );
        });
    }
}

#[test]
fn a_mailbox_restored_from_a_backup_makes_no_second_ticket_and_loses_none() {
    local(async {
        let (gateway, fake) = (Gateway::new(), Fake::start(ALL));
        for n in 0..6 {
            fake.add_mail(plain(n));
        }
        let running = gateway.start(gateway.mailbox(&fake, After::Keep));
        until("all are delivered", || gateway.delivered().len() == 6).await;
        running.stop().await;
        // The backup is older than the last two, and something came while it was restored.
        fake.renumber("INBOX", 3000);
        {
            let mut state = fake.state();
            let mails = &mut state.folders.get_mut("INBOX").unwrap().mails;
            let newest: Vec<u32> = mails.keys().rev().take(2).copied().collect();
            mails.retain(|uid, _| !newest.contains(uid));
        }
        fake.add_mail(plain(7));
        let running = gateway.start(gateway.mailbox(&fake, After::Keep));
        until("the new one is delivered", || {
            gateway.delivered().len() == 7
        })
        .await;
        until("it waits", || gateway.waits_for_mail()).await;
        running.stop().await;
        let order = std::fs::read_to_string(gateway.folder.path().join("order")).unwrap();
        assert_eq!(order.lines().count(), 7, "each once");
    });
}

#[test]
fn mail_that_was_delivered_before_uidvalidity_changed_is_still_acknowledged_after() {
    local(async {
        let (gateway, fake) = (Gateway::new(), Fake::start(ALL));
        fake.state().refuse = vec![("UID STORE", "NO [NOPERM] not now", 9)];
        fake.add_mail(plain(1));
        let running = gateway.start(gateway.mailbox(&fake, After::Delete));
        until("it is delivered", || gateway.delivered().len() == 1).await;
        running.stop().await;
        fake.renumber("INBOX", 2000);
        fake.state().refuse.clear();
        let running = gateway.start(gateway.mailbox(&fake, After::Delete));
        until("it leaves under its new UID", || {
            fake.look("INBOX").is_empty()
        })
        .await;
        running.stop().await;
        assert_eq!(gateway.delivered().len(), 1);
    });
}
