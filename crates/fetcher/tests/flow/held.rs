//! Mail that is held: moved out of the way, its body left to the mailbox, loops, and what Postern wrote itself.

use std::time::Duration;

use spool::{Direction, Headline, Local, MessageId, Own, OwnKind, QueueRow};
use token_store::accounts::{After, Condition, Failed, Watch};

use crate::fake::Fake;
use crate::gateway::{ALL, Gateway, local, mail, sorted, until};

/// Refuses everything until there is a file `cured`.
pub(crate) const SICK: &str =
    "[ -e \"$0/../cured\" ] || exit 75; cat > \"$0/$POSTERN_DELIVERY_ID\"";

impl Gateway {
    pub(crate) fn held(&self) -> Vec<QueueRow> {
        let mut rows = self.parts.spool.queue(Some(Direction::In)).unwrap();
        rows.retain(|row| row.state == "held");
        rows
    }

    pub(crate) fn cure(&self) {
        std::fs::write(self.folder.path().join("cured"), b"").unwrap();
    }

    /// Holds all there is, also what is being delivered, and gives it when it is held.
    pub(crate) async fn hold_all(&self, count: usize) -> Vec<MessageId> {
        let spool = &self.parts.spool;
        until("all is taken in", || {
            spool.queue(None).unwrap().len() == count
        })
        .await;
        let rows = spool.queue(None).unwrap();
        let messages: Vec<MessageId> = rows.iter().map(|row| MessageId(row.id)).collect();
        spool.hold(messages.clone(), "").await.unwrap();
        until("all is held", || self.held().len() == count).await;
        messages
    }

    /// Takes in a bounce of our own for the mailbox's command; its bytes.
    async fn bounce(&self, own: &Own) -> Vec<u8> {
        let spool = &self.parts.spool;
        let bytes = our_bounce(&spool.origin(own));
        let mut body = spool.body();
        body.write(&bytes).await.unwrap();
        let local = Local {
            mailbox: "support".into(),
            own: own.clone(),
            headline: Headline::default(),
            body: body.finish(true).await.unwrap(),
        };
        spool.take_in_local(local).await.unwrap();
        bytes
    }
}

fn our_bounce(origin: &str) -> Vec<u8> {
    format!(
        "From: MAILER-DAEMON@help.example\r\nSubject: number 7\r\nAuto-Submitted: auto-replied\r\nX-Postern-Origin: {origin}\r\n\r\n\
         It did not arrive.\r\n"
    )
    .into_bytes()
}

fn passed_servers(n: usize, servers: usize) -> Vec<u8> {
    let trace = "Received: from a.example\r\n\tby b.example; Mon, 1 Jun 2026 00:00:00 +0000\r\n";
    let mut bytes = trace.repeat(servers).into_bytes();
    bytes.extend(mail(n, 400));
    bytes
}

#[test]
fn held_mail_is_moved_out_of_the_way_and_still_delivered_when_a_person_says_so() {
    for capabilities in [ALL, "UIDPLUS", ""] {
        local(async {
            let (gateway, fake) = (Gateway::new(), Fake::start(capabilities));
            for n in 0..3 {
                fake.add(&mail(n, 400));
            }
            let mut mailbox = gateway.mailbox_with(&fake, After::Delete, SICK);
            mailbox.watch = Watch::Every(Duration::from_millis(50));
            mailbox.care.failed = Failed::Move {
                folder: "Failed".into(),
                create: true,
            };
            let running = gateway.start(mailbox);
            gateway.hold_all(3).await;
            until("all are moved", || {
                fake.look("Failed").len() == 3 && fake.look("INBOX").is_empty()
            })
            .await;
            fake.add(&mail(9, 400));
            gateway.cure();
            gateway.parts.spool.retry(None).await.unwrap();
            until("all are delivered", || gateway.delivered().len() == 4).await;
            until("and nothing is left to do", || {
                gateway.parts.spool.queue(None).unwrap().is_empty() && fake.look("INBOX").is_empty()
            })
            .await;
            running.stop().await;
            let mails = [0, 1, 2, 9].map(|n| mail(n, 400)).to_vec();
            assert_eq!(gateway.delivered(), sorted(mails));
            assert_eq!(fake.look("Failed").len(), 3, "those stay there for people");
        });
    }
}

#[test]
fn a_folder_for_held_mail_that_is_missing_is_told_before_anything_is_fetched() {
    local(async {
        let (gateway, fake) = (Gateway::new(), Fake::start(ALL));
        fake.add(&mail(1, 400));
        let mut mailbox = gateway.mailbox(&fake, After::Delete);
        mailbox.care.failed = Failed::Move {
            folder: "Failed".into(),
            create: false,
        };
        let running = gateway.start(mailbox);
        until("a person is asked", || {
            matches!(gateway.condition(), Some(Condition::Blocked { why })
                if why.contains("Failed, where held mail shall go, does not exist"))
        })
        .await;
        running.stop().await;
        assert_eq!(gateway.delivered(), Vec::<Vec<u8>>::new());
    });
}

#[test]
fn a_body_over_its_time_is_left_to_the_mailbox_and_fetched_again_when_retried() {
    local(async {
        let (gateway, fake) = (Gateway::new(), Fake::start(ALL));
        for n in 0..2 {
            fake.add(&mail(n, 400));
        }
        let mut mailbox = gateway.mailbox_with(&fake, After::Delete, SICK);
        mailbox.watch = Watch::Every(Duration::from_millis(50));
        mailbox.care.max_held = 0;
        let running = gateway.start(mailbox);
        let messages = gateway.hold_all(2).await;
        let kept = |at: usize| {
            let entry = gateway.parts.spool.show(messages[at]).unwrap();
            entry.is_some_and(|entry| entry.kept)
        };
        until("the mailbox alone keeps them", || !kept(0) && !kept(1)).await;
        assert_eq!(gateway.held().len(), 2, "they stay listed");
        gateway.cure();
        gateway.parts.spool.retry(None).await.unwrap();
        gateway.parts.poke.notify_one();
        until("they are fetched again and delivered", || {
            fake.look("INBOX").is_empty()
        })
        .await;
        running.stop().await;
        assert_eq!(
            gateway.delivered(),
            sorted(vec![mail(0, 400), mail(1, 400)])
        );
    });
}

#[test]
fn a_body_that_the_mailbox_has_no_more_is_kept_however_old() {
    local(async {
        let (gateway, fake) = (Gateway::new(), Fake::start(ALL));
        let gone = fake.add(&mail(1, 400));
        let flagged = fake.add(&mail(2, 400));
        let mut mailbox = gateway.mailbox_with(&fake, After::Delete, SICK);
        mailbox.watch = Watch::Every(Duration::from_millis(50));
        let running = gateway.start(mailbox.clone());
        let messages = gateway.hold_all(2).await;
        running.stop().await;
        let inbox = |change: &dyn Fn(&mut crate::fake::Folder)| {
            change(fake.state().folders.get_mut("INBOX").unwrap());
        };
        inbox(&|folder| {
            folder.mails.remove(&gone);
            let mail = folder.mails.get_mut(&flagged).unwrap();
            mail.flags.insert("\\Deleted".into());
        });
        mailbox.care.max_held = 0;
        let running = gateway.start(mailbox);
        let asked = || fake.asked(&["UID FETCH 1:2 "]).len();
        let before = asked();
        until("it was looked for", || asked() >= before + 3).await;
        for message in messages {
            let entry = gateway.parts.spool.show(message).unwrap().unwrap();
            assert!(entry.kept);
        }
        running.stop().await;
    });
}

#[test]
fn a_message_that_goes_round_in_circles_is_held_and_its_fellows_pass() {
    local(async {
        let (gateway, fake) = (Gateway::new(), Fake::start(ALL));
        fake.add(&passed_servers(1, 51));
        fake.add(&passed_servers(2, 50));
        fake.add(
            b"X-Loop: support@example.com\r\nSubject: number 3\r\n\r\nan answer to an answer\r\n",
        );
        fake.add(&mail(4, 400));
        let running = gateway.start(gateway.mailbox(&fake, After::Delete));
        until("the others are through", || {
            gateway.delivered().len() == 2 && fake.look("INBOX").len() == 2
        })
        .await;
        until("the loops are held", || gateway.held().len() == 2).await;
        running.stop().await;
        let held = gateway.held();
        assert!(held[0].why.contains("passed 51 servers"), "{held:#?}");
        assert!(
            held[1]
                .why
                .contains("X-Loop field names support@example.com"),
            "{held:#?}"
        );
        assert_eq!(
            fake.look("INBOX"),
            [(1, vec![]), (3, vec![])],
            "and stay in the mailbox"
        );
    });
}

#[test]
fn our_own_bounces_reach_the_command_once_and_never_loop() {
    local(async {
        let (gateway, fake) = (Gateway::new(), Fake::start(ALL));
        let spool = gateway.parts.spool.clone();
        let mut mailbox = gateway.mailbox(&fake, After::Delete);
        mailbox.watch = Watch::Every(Duration::from_millis(50));
        let running = gateway.start(mailbox);
        // One of our own making, and the ticket system sends it back to the mailbox again and again.
        let own = Own::new(OwnKind::Bounce);
        let bounce = gateway.bounce(&own).await;
        until("it is delivered", || {
            gateway.delivered() == [bounce.clone()]
        })
        .await;
        for round in 1..=3 {
            fake.add(&bounce);
            until("it is held", || gateway.held().len() == round).await;
        }
        // Another one first comes through the mailbox, as `bounces_to: {address: ...}` has it: once.
        let other = our_bounce(&spool.origin(&Own::new(OwnKind::Bounce)));
        fake.add(&other);
        fake.add(&other);
        until("it is delivered once", || {
            gateway.delivered().len() == 2 && gateway.held().len() == 4
        })
        .await;
        // Another installation's bounces are mail like any other.
        let foreign = our_bounce("0011223344556677; bounce; 0123456789abcdef");
        fake.add(&foreign);
        fake.add(&foreign);
        until("both are delivered", || gateway.delivered().len() == 4).await;
        until("all but the held ones leave the mailbox", || {
            fake.look("INBOX").len() == 4
        })
        .await;
        running.stop().await;
        let held = gateway.held();
        assert!(
            held.iter().all(|row| row.why.contains("a loop")),
            "{held:#?}"
        );
        let counts = spool.counts(Direction::In, "support").unwrap();
        assert_eq!((counts.done, counts.waiting, counts.held), (4, 0, 4));
    });
}

#[test]
fn a_flood_reaches_the_command_at_the_rate_and_the_backlog_is_shown() {
    local(async {
        let (gateway, fake) = (Gateway::new(), Fake::start(ALL));
        for n in 0..12 {
            fake.add(&mail(n, 300));
        }
        let mut mailbox = gateway.mailbox(&fake, After::Delete);
        mailbox.care.rate = Some(60);
        let running = gateway.start(mailbox);
        let begun = tokio::time::Instant::now();
        until("the backlog is shown", || {
            matches!(gateway.condition(), Some(Condition::Working { doing })
                if doing.contains("messages wait for the ticket system, which is given 60 a minute"))
        })
        .await;
        until("four are through", || gateway.delivered().len() >= 4).await;
        let took = begun.elapsed();
        assert!(took >= Duration::from_millis(2_900), "{took:?}");
        running.stop().await;
        assert!(gateway.delivered().len() <= 5 + usize::try_from(took.as_secs()).unwrap());
    });
}
