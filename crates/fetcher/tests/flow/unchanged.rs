//! CONDSTORE: a folder in which nothing changed is not listed again by the next session, and one in which anything did is.

use std::time::Duration;

use spool::MessageId;
use token_store::accounts::{After, Watch};

use crate::fake::Fake;
use crate::gateway::{FILE, Gateway, local, mail, until};

/// The server ends the session at the next poll; the listings of the one that follows.
async fn next_session(fake: &Fake) -> Vec<String> {
    let listings = || fake.asked(&["UID FETCH 1:*", "UID FETCH 4:*", "UID FETCH 5:*"]);
    let (before, selects) = (listings().len(), fake.asked(&["SELECT"]).len());
    fake.state().refuse = vec![("NOOP", "BAD not now", 1)];
    until("the next session has looked", || {
        fake.asked(&["SELECT"]).len() > selects && listings().len() > before
    })
    .await;
    let range = |line: &String| line.split(' ').nth(2).unwrap().to_owned();
    listings()[before..].iter().map(range).take(1).collect()
}

#[test]
fn only_what_may_have_changed_is_listed_again() {
    local(async {
        let (gateway, fake) = (
            Gateway::new(),
            Fake::start("IDLE UIDPLUS MOVE AUTH=PLAIN SASL-IR CONDSTORE"),
        );
        fake.state().modseq = Some(50);
        for n in 1..=2 {
            fake.add(&mail(n, 300));
        }
        let large = fake.add(&mail(3, 5_000));
        let mut mailbox = gateway.mailbox_with(&fake, After::Keep, FILE);
        mailbox.watch = Watch::Every(Duration::from_millis(50));
        mailbox.max_size = 2_000;
        let running = gateway.start(mailbox.clone());
        until("two are delivered", || gateway.delivered().len() == 2).await;
        until("the large one is held", || gateway.held().len() == 1).await;
        until("it waits", || gateway.waits_for_mail()).await;
        assert_eq!(next_session(&fake).await, ["4:*"], "nothing changed");
        assert_eq!(next_session(&fake).await, ["4:*"], "still");

        fake.state().modseq = Some(51);
        assert_eq!(next_session(&fake).await, ["1:*"], "a flag changed");
        assert_eq!(next_session(&fake).await, ["4:*"], "and nothing since");

        let held = gateway.held()[0].id;
        let spool = &gateway.parts.spool;
        spool.retry(Some(vec![MessageId(held)])).await.unwrap();
        assert_eq!(
            next_session(&fake).await,
            ["1:*"],
            "a person wants one again"
        );
        until("it is held again", || gateway.held().len() == 1).await;
        assert_ne!(gateway.held()[0].id, held);

        fake.state().modseq = None;
        assert_eq!(
            next_session(&fake).await,
            ["1:*"],
            "the server tells nothing"
        );
        fake.state().modseq = Some(52);
        assert_eq!(next_session(&fake).await, ["1:*"], "or anew");
        assert_eq!(next_session(&fake).await, ["4:*"]);

        fake.state().modseq = Some(53);
        fake.add(&mail(4, 300));
        assert_eq!(next_session(&fake).await, ["1:*"], "one came");
        until("it is delivered", || gateway.delivered().len() == 3).await;
        running.stop().await;
        assert_eq!(large, 3);
        let selects = fake.asked(&["SELECT"]);
        assert!(
            selects
                .iter()
                .all(|select| select == "SELECT \"INBOX\" (CONDSTORE)"),
            "{selects:?}"
        );
    });
}

/// So many fetches of the second message bring no body.
fn answer_nothing(fake: &Fake, times: usize) {
    let mut state = fake.state();
    let mails = &mut state.folders.get_mut("INBOX").unwrap().mails;
    mails.get_mut(&2).unwrap().empty = times;
}

#[test]
fn a_message_that_is_still_owed_keeps_the_folder_from_being_taken_for_known() {
    local(async {
        let (gateway, fake) = (
            Gateway::new(),
            Fake::start("IDLE UIDPLUS MOVE AUTH=PLAIN SASL-IR CONDSTORE"),
        );
        fake.state().modseq = Some(50);
        for n in 1..=3 {
            fake.add(&mail(n, 300));
        }
        answer_nothing(&fake, 1_000);
        let mut mailbox = gateway.mailbox_with(&fake, After::Keep, FILE);
        mailbox.watch = Watch::Every(Duration::from_millis(50));
        let running = gateway.start(mailbox);
        until("two are delivered", || gateway.delivered().len() == 2).await;
        assert_eq!(next_session(&fake).await, ["1:*"]);
        answer_nothing(&fake, 0);
        until("it has come", || gateway.delivered().len() == 3).await;
        running.stop().await;
    });
}
