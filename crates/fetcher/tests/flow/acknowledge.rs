//! Each way to acknowledge: its exact commands, and what is left in the mailbox.

use spool::Direction;
use token_store::accounts::{After, Condition};

use crate::fake::{Fake, Mail};
use crate::gateway::{ALL, Gateway, local, mail, sorted, until};

/// Two messages through a mailbox with this `after`; gives the commands that acknowledged them.
fn acknowledged_by(capabilities: &str, after: After, words: &[&str]) -> (Vec<String>, Fake) {
    let fake = Fake::start(capabilities);
    fake.add_folder("Done", 5);
    local(async {
        let gateway = Gateway::new();
        fake.add(&mail(1, 500));
        fake.add(&mail(2, 500));
        let running = gateway.start(gateway.mailbox(&fake, after));
        until("both are acknowledged", || {
            let counts = gateway
                .parts
                .spool
                .counts(Direction::In, "support")
                .unwrap();
            counts.done == 2 && counts.unacknowledged == 0
        })
        .await;
        running.stop().await;
        assert_eq!(gateway.delivered().len(), 2);
    });
    (fake.asked(words), fake)
}

const CHANGES: [&str; 5] = [
    "UID STORE",
    "UID EXPUNGE",
    "EXPUNGE",
    "UID MOVE",
    "UID COPY",
];

#[test]
fn delete_flags_and_expunges_only_our_own_uids() {
    let (asked, fake) = acknowledged_by(ALL, After::Delete, &CHANGES);
    assert_eq!(
        asked,
        ["UID STORE 1:2 +FLAGS.SILENT (\\Deleted)", "UID EXPUNGE 1:2"]
    );
    assert_eq!(fake.look("INBOX"), []);
}

#[test]
fn without_uidplus_a_plain_expunge_is_used_if_nobody_else_deleted_anything() {
    let (asked, fake) = acknowledged_by("IDLE", After::Delete, &CHANGES);
    assert_eq!(
        asked,
        ["UID STORE 1:2 +FLAGS.SILENT (\\Deleted)", "EXPUNGE"]
    );
    assert_eq!(fake.look("INBOX"), []);
}

#[test]
fn without_uidplus_others_deleted_mail_is_never_expunged() {
    local(async {
        let (gateway, fake) = (Gateway::new(), Fake::start("IDLE"));
        fake.add_mail(Mail {
            bytes: mail(0, 300),
            flags: ["\\Deleted".to_owned()].into(),
            ..Mail::default()
        });
        fake.add(&mail(1, 500));
        let running = gateway.start(gateway.mailbox(&fake, After::Delete));
        until("it is acknowledged", || {
            gateway
                .parts
                .spool
                .counts(Direction::In, "support")
                .unwrap()
                .done
                == 1
                && gateway
                    .parts
                    .spool
                    .counts(Direction::In, "support")
                    .unwrap()
                    .unacknowledged
                    == 0
        })
        .await;
        running.stop().await;
        assert_eq!(fake.asked(&["EXPUNGE"]), [""; 0]);
        let deleted = vec!["\\Deleted".to_owned()];
        assert_eq!(fake.look("INBOX"), [(1, deleted.clone()), (2, deleted)]);
        assert_eq!(
            gateway.delivered(),
            [mail(1, 500)],
            "what somebody deleted is not fetched"
        );
    });
}

#[test]
fn without_uidplus_our_own_flagged_mail_is_expunged_once_others_mail_is_gone() {
    local(async {
        let (gateway, fake) = (Gateway::new(), Fake::start("IDLE"));
        fake.add_mail(Mail {
            bytes: mail(0, 300),
            flags: ["\\Deleted".to_owned()].into(),
            ..Mail::default()
        });
        fake.add(&mail(1, 500));
        let running = gateway.start(gateway.mailbox(&fake, After::Delete));
        let acknowledged = |all: u64| {
            let counts = gateway.parts.spool.counts(Direction::In, "support");
            let counts = counts.unwrap();
            counts.done == all && counts.unacknowledged == 0
        };
        until("the first is flagged", || acknowledged(1)).await;
        {
            let mut state = fake.state();
            let inbox = state.folders.get_mut("INBOX").unwrap();
            inbox.mails.remove(&1);
        }
        fake.add(&mail(2, 500));
        fake.add(&mail(3, 500));
        until("the others are acknowledged", || acknowledged(3)).await;
        running.stop().await;
        assert_eq!(fake.look("INBOX"), [], "all of ours are gone");
    });
}

#[test]
fn seen_sets_only_the_flag() {
    let (asked, fake) = acknowledged_by(ALL, After::Seen, &CHANGES);
    assert_eq!(asked, ["UID STORE 1:2 +FLAGS.SILENT (\\Seen)"]);
    assert_eq!(fake.look("INBOX").len(), 2);
}

#[test]
fn keep_touches_nothing() {
    let (asked, fake) = acknowledged_by(ALL, After::Keep, &CHANGES);
    assert_eq!(asked, [""; 0]);
    assert_eq!(fake.look("INBOX"), [(1, vec![]), (2, vec![])]);
}

#[test]
fn move_uses_move_where_there_is_one() {
    let to = After::Move {
        folder: "Done".into(),
        create: false,
    };
    let (asked, fake) = acknowledged_by(ALL, to, &CHANGES);
    assert_eq!(asked, ["UID MOVE 1:2 \"Done\""]);
    assert_eq!((fake.look("INBOX").len(), fake.look("Done").len()), (0, 2));
}

#[test]
fn move_without_move_copies_and_deletes_our_own_uids() {
    let to = After::Move {
        folder: "Done".into(),
        create: false,
    };
    let (asked, fake) = acknowledged_by("IDLE UIDPLUS", to, &CHANGES);
    assert_eq!(
        asked,
        [
            "UID COPY 1:2 \"Done\"",
            "UID STORE 1:2 +FLAGS.SILENT (\\Deleted)",
            "UID EXPUNGE 1:2"
        ]
    );
    assert_eq!((fake.look("INBOX").len(), fake.look("Done").len()), (0, 2));
}

#[test]
fn a_missing_target_is_created_if_that_is_allowed() {
    let to = After::Move {
        folder: "New".into(),
        create: true,
    };
    let (asked, fake) = acknowledged_by(ALL, to, &["LIST", "CREATE", "UID MOVE"]);
    assert_eq!(
        asked,
        [
            "LIST \"\" \"New\"",
            "CREATE \"New\"",
            "UID MOVE 1:2 \"New\""
        ]
    );
    assert_eq!(fake.look("New").len(), 2);
}

#[test]
fn a_target_that_is_missing_or_the_source_blocks_before_anything_is_delivered() {
    for (folder, says) in [("Nowhere", "does not exist"), ("inbox", "fetched from")] {
        local(async {
            let (gateway, fake) = (Gateway::new(), Fake::start(ALL));
            fake.add(&mail(1, 500));
            let running = gateway.start(gateway.mailbox(
                &fake,
                After::Move {
                    folder: folder.into(),
                    create: false,
                },
            ));
            until("a person is asked", || matches!(gateway.condition(), Some(Condition::Blocked { why }) if why.contains(says))).await;
            running.stop().await;
            assert_eq!(gateway.delivered(), Vec::<Vec<u8>>::new());
        });
    }
}

#[test]
fn a_refused_acknowledgement_is_repeated_alone() {
    local(async {
        let (gateway, fake) = (Gateway::new(), Fake::start(ALL));
        fake.state().refuse = vec![("UID STORE", "NO [NOPERM] not now", 1)];
        fake.add(&mail(1, 500));
        let running = gateway.start(gateway.mailbox(&fake, After::Delete));
        until("the trouble is shown", || {
            matches!(gateway.condition(), Some(Condition::Working { doing }) if doing.contains("[NOPERM] not now"))
        })
        .await;
        fake.add(&mail(2, 500));
        until("the next one is delivered all the same", || {
            gateway.delivered().len() == 2
        })
        .await;
        // Shutdown tries once more.
        running.stop().await;
        assert_eq!(fake.look("INBOX"), []);
        assert_eq!(gateway.delivered().len(), 2, "nothing was delivered again");
        assert_eq!(
            gateway
                .parts
                .spool
                .counts(Direction::In, "support")
                .unwrap()
                .unacknowledged,
            0
        );
    });
}

#[test]
fn several_folders_are_fetched_and_acknowledged_each_in_its_own() {
    local(async {
        let (gateway, fake) = (Gateway::new(), Fake::start(ALL));
        fake.add_folder("Spam", 77);
        fake.add(&mail(1, 300));
        fake.state().folders.get_mut("Spam").unwrap().mails.insert(
            9,
            Mail {
                bytes: mail(2, 300),
                ..Mail::default()
            },
        );
        fake.state().folders.get_mut("Spam").unwrap().next = 10;
        let mut mailbox = gateway.mailbox(&fake, After::Delete);
        mailbox.folders.push("Spam".into());
        let running = gateway.start(mailbox);
        until("both folders are empty", || {
            fake.look("INBOX").is_empty() && fake.look("Spam").is_empty()
        })
        .await;
        running.stop().await;
        assert_eq!(
            gateway.delivered(),
            sorted(vec![mail(1, 300), mail(2, 300)])
        );
    });
}

#[test]
fn a_read_only_folder_is_refused_unless_mail_is_kept() {
    local(async {
        let (gateway, fake) = (Gateway::new(), Fake::start(ALL));
        fake.add(&mail(1, 300));
        fake.state().folders.get_mut("INBOX").unwrap().read_only = true;
        let running = gateway.start(gateway.mailbox(&fake, After::Delete));
        until("a person is asked", || matches!(gateway.condition(), Some(Condition::Blocked { why }) if why.contains("read-only"))).await;
        running.stop().await;
        let running = gateway.start(gateway.mailbox(&fake, After::Keep));
        until("it comes", || gateway.delivered().len() == 1).await;
        running.stop().await;
    });
}
