//! The whole way in by POP3, against the pretend provider: fetched, delivered, deleted when the server confirms it.

use std::time::Duration;

use sandbox::{Fault, Knobs, Provider, Service, Uidl};
use spool::Direction;
use token_store::accounts::{After, Condition, Mailbox, Protocol, StartFrom};
use tokio_util::sync::CancellationToken;

use crate::gateway::{FILE, Gateway, local, mail, sorted, until};

pub(crate) const USER: &str = "support@example.com";

/// A provider with a mailbox of these messages.
pub(crate) async fn provider(mails: &[Vec<u8>]) -> Provider {
    let provider = Provider::start(Knobs::default(), CancellationToken::new())
        .await
        .unwrap();
    provider.set_password(USER, "secret");
    mails
        .iter()
        .for_each(|bytes| provider.put_mail(USER, bytes.clone()));
    provider
}

pub(crate) fn pop3(mailbox: Mailbox) -> Mailbox {
    Mailbox {
        protocol: Protocol::Pop3,
        ..mailbox
    }
}

fn mailbox(gateway: &Gateway, provider: &Provider, after: After) -> Mailbox {
    pop3(gateway.mailbox_at(provider.pop3().port(), after, FILE))
}

/// A message as POP3 can carry it: its last line is closed.
pub(crate) fn closed(n: usize, size: usize) -> Vec<u8> {
    [mail(n, size), b"\r\n".to_vec()].concat()
}

pub(crate) fn left(provider: &Provider) -> usize {
    provider.folder(USER, "INBOX").len()
}

fn unacknowledged(gateway: &Gateway) -> u64 {
    let counts = gateway.parts.spool.counts(Direction::In, "support");
    counts.unwrap().unacknowledged
}

/// Until the session is over, and the next one is not due for minutes.
pub(crate) async fn rests(gateway: &Gateway) {
    until("the session is over", || {
        matches!(gateway.condition(), Some(Condition::Working { doing }) if doing.starts_with("waiting for the next poll"))
    })
    .await;
}

#[test]
fn messages_of_all_sizes_arrive_byte_for_byte_in_order_and_leave_the_mailbox() {
    local(async {
        let sizes = [
            100, 5_000, 16_383, 16_384, 262_144, 262_145, 700_000, 3_000_000, 700,
        ];
        let mails: Vec<Vec<u8>> = sizes
            .iter()
            .enumerate()
            .map(|(n, size)| closed(n, *size))
            .collect();
        let (gateway, provider) = (Gateway::new(), provider(&mails).await);
        let running = gateway.start(mailbox(&gateway, &provider, After::Delete));
        until("the mailbox is empty", || left(&provider) == 0).await;
        assert_eq!(gateway.delivered(), sorted(mails.clone()));
        rests(&gateway).await;
        assert_eq!(unacknowledged(&gateway), 0);
        assert_eq!(
            provider.counts().pop3_sign_ins,
            1,
            "deleted in the same session"
        );
        let late = closed(99, 3_000);
        provider.put_mail(USER, late.clone());
        gateway.parts.poke.notify_one();
        until("a poke fetches what is new", || {
            gateway.delivered().contains(&late) && left(&provider) == 0
        })
        .await;
        running.stop().await;
        let order = std::fs::read_to_string(gateway.folder.path().join("order")).unwrap();
        let expected: Vec<String> = (0..mails.len())
            .chain([99])
            .map(|n| n.to_string())
            .collect();
        assert_eq!(order.lines().collect::<Vec<_>>(), expected);
    });
}

#[test]
fn servers_that_can_less_are_served_as_well() {
    type Lack = fn(&mut sandbox::Features);
    let lacks: [Lack; 5] = [
        |f| f.pop3.capa = false,
        |f| f.pop3.pipelining = false,
        |f| f.pop3.top = false,
        |f| f.mechanisms = Vec::new(),
        |f| f.pop3.uidl = Uidl::Missing,
    ];
    for lack in lacks {
        local(async {
            let mails: Vec<Vec<u8>> = (0..20).map(|n| closed(n / 2, 900)).collect();
            let (gateway, provider) = (Gateway::new(), provider(&mails).await);
            provider.set_features(lack);
            let running = gateway.start(mailbox(&gateway, &provider, After::Delete));
            until("the mailbox is empty", || left(&provider) == 0).await;
            rests(&gateway).await;
            running.stop().await;
            assert_eq!(
                gateway.delivered(),
                sorted(mails),
                "two honest identical messages are two"
            );
        });
    }
}

#[test]
fn a_name_that_identical_messages_share_loses_none_of_them_and_doubles_none() {
    local(async {
        let mails = [
            closed(1, 900),
            closed(1, 900),
            closed(2, 900),
            closed(1, 900),
        ];
        let (gateway, provider) = (Gateway::new(), provider(&mails).await);
        provider.set_features(|f| f.pop3.uidl = Uidl::Digest);
        let running = gateway.start(mailbox(&gateway, &provider, After::Keep));
        until("all four are delivered", || gateway.delivered().len() == 4).await;
        rests(&gateway).await;
        provider.put_mail(USER, closed(1, 900));
        gateway.parts.poke.notify_one();
        until("a fifth is another one", || gateway.delivered().len() == 5).await;
        rests(&gateway).await;
        running.stop().await;
        let running = gateway.start(mailbox(&gateway, &provider, After::Keep));
        rests(&gateway).await;
        running.stop().await;
        assert_eq!(gateway.delivered().len(), 5);
    });
}

#[test]
fn a_quit_that_gets_lost_before_or_after_the_deletion_delivers_nothing_twice() {
    for (uidl, fault) in [
        (Uidl::Unique, Fault::Drop),
        (Uidl::Unique, Fault::Lose),
        (
            Uidl::Unique,
            Fault::Reply("-ERR some messages not removed".into()),
        ),
        (Uidl::Missing, Fault::Drop),
        (Uidl::Missing, Fault::Lose),
        (Uidl::Digest, Fault::Drop),
    ] {
        local(async {
            let mails: Vec<Vec<u8>> = (0..5).map(|n| closed(n, 900)).collect();
            let (gateway, provider) = (Gateway::new(), provider(&mails).await);
            provider.set_features(|f| f.pop3.uidl = uidl);
            provider.fault(Service::Pop3, "QUIT", 1, fault);
            let running = gateway.start(mailbox(&gateway, &provider, After::Delete));
            until("the deletions wait for their confirmation", || {
                gateway.delivered().len() == 5 && unacknowledged(&gateway) == 5
            })
            .await;
            until("and get it in a later session", || {
                gateway.parts.poke.notify_one();
                left(&provider) == 0 && unacknowledged(&gateway) == 0
            })
            .await;
            running.stop().await;
            let order = std::fs::read_to_string(gateway.folder.path().join("order")).unwrap();
            assert_eq!(order.lines().count(), 5, "each was delivered once");
        });
    }
}

#[test]
fn mail_that_is_kept_comes_once_also_when_the_server_names_it_anew() {
    local(async {
        let mails: Vec<Vec<u8>> = (0..6).map(|n| closed(n, 900)).collect();
        let (gateway, provider) = (Gateway::new(), provider(&mails).await);
        let running = gateway.start(mailbox(&gateway, &provider, After::Keep));
        until("all are delivered", || {
            gateway.delivered().len() == 6 && unacknowledged(&gateway) == 0
        })
        .await;
        rests(&gateway).await;
        running.stop().await;
        let retrieved = provider.counts().pop3_retrieved;
        let running = gateway.start(mailbox(&gateway, &provider, After::Keep));
        rests(&gateway).await;
        running.stop().await;
        assert_eq!(
            provider.counts().pop3_retrieved,
            retrieved,
            "known by their names"
        );

        provider.set_uidvalidity(USER, "INBOX", 77);
        provider.put_mail(USER, closed(7, 900));
        let running = gateway.start(mailbox(&gateway, &provider, After::Keep));
        until("the new one comes", || gateway.delivered().len() == 7).await;
        rests(&gateway).await;
        running.stop().await;
        let order = std::fs::read_to_string(gateway.folder.path().join("order")).unwrap();
        assert_eq!(order.lines().count(), 7);
        assert_eq!(left(&provider), 7);
    });
}

#[test]
fn what_lies_there_at_the_first_start_is_left_out_if_so_wished() {
    let dated =
        |n: usize, date: &str| [format!("Date: {date}\r\n").into_bytes(), closed(n, 900)].concat();
    for (start_from, expected) in [
        (StartFrom::All, 4),
        (StartFrom::Now, 1),
        // 2026-02-02; the message without a date is fetched.
        (StartFrom::Date(1_769_990_400), 3),
    ] {
        local(async {
            let mails = [
                dated(1, "Sun, 01 Feb 2026 10:00:00 +0000"),
                dated(2, "Mon, 02 Feb 2026 10:00:00 +0000"),
                closed(3, 900),
            ];
            let (gateway, provider) = (Gateway::new(), provider(&mails).await);
            let mailbox = Mailbox {
                start_from,
                ..mailbox(&gateway, &provider, After::Keep)
            };
            let running = gateway.start(mailbox);
            rests(&gateway).await;
            provider.put_mail(USER, dated(4, "Sun, 01 Feb 2026 10:00:00 +0000"));
            gateway.parts.poke.notify_one();
            until("all that counts is delivered", || {
                gateway.delivered().len() == expected
            })
            .await;
            rests(&gateway).await;
            running.stop().await;
            assert_eq!(gateway.delivered().len(), expected);
        });
    }
}

#[test]
fn what_needs_names_or_top_is_refused_where_there_are_none() {
    type Lack = fn(&mut sandbox::Features);
    let no_uidl: Lack = |f| f.pop3.uidl = Uidl::Missing;
    let no_top: Lack = |f| f.pop3.top = false;
    for (lack, after, start_from, word) in [
        (no_uidl, After::Keep, StartFrom::All, "no UIDL"),
        (no_uidl, After::Delete, StartFrom::Now, "no UIDL"),
        (no_top, After::Delete, StartFrom::Date(0), "needs TOP"),
        (no_top, After::Seen, StartFrom::All, "can neither mark"),
    ] {
        local(async {
            let (gateway, provider) = (Gateway::new(), provider(&[closed(1, 900)]).await);
            provider.set_features(lack);
            let mailbox = Mailbox {
                start_from,
                ..mailbox(&gateway, &provider, after)
            };
            let running = gateway.start(mailbox);
            until("it is shown", || {
                matches!(gateway.condition(), Some(Condition::Blocked { why }) if why.contains(word))
            })
            .await;
            running.stop().await;
            assert_eq!(gateway.delivered().len(), 0);
        });
    }
}

#[test]
fn a_message_over_the_limit_is_held_with_its_headers_and_never_fetched() {
    local(async {
        let mails = [closed(1, 400_000), closed(2, 500)];
        let (gateway, provider) = (Gateway::new(), provider(&mails).await);
        let mailbox = Mailbox {
            max_size: 300_000,
            ..mailbox(&gateway, &provider, After::Delete)
        };
        let running = gateway.start(mailbox);
        until("the small one is through", || left(&provider) == 1).await;
        rests(&gateway).await;
        gateway.parts.poke.notify_one();
        until("another session comes by", || {
            provider.counts().pop3_sign_ins == 2
        })
        .await;
        running.stop().await;
        let queue = gateway.parts.spool.queue(Some(Direction::In)).unwrap();
        assert_eq!(
            queue.iter().map(|r| r.subject.as_str()).collect::<Vec<_>>(),
            ["number 1"]
        );
        assert_eq!(provider.counts().pop3_retrieved, 1);
    });
}

#[test]
fn the_mailbox_is_the_queue_when_the_ticket_system_is_down() {
    local(async {
        let mails: Vec<Vec<u8>> = (0..40).map(|n| closed(n, 300)).collect();
        let (gateway, provider) = (Gateway::new(), provider(&mails).await);
        let down = "echo no database >&2; exit 75";
        let mut mailbox = pop3(gateway.mailbox_at(provider.pop3().port(), After::Delete, down));
        mailbox.max_undelivered = 10;
        let running = gateway.start(mailbox.clone());
        until("fetching pauses", || {
            matches!(gateway.condition(), Some(Condition::Working { doing }) if doing.contains("10 messages wait"))
        })
        .await;
        assert_eq!(gateway.parts.spool.undelivered("support").unwrap(), 10);
        running.stop().await;
        assert_eq!(left(&provider), 40, "nothing leaves before it is delivered");
        // The ticket system is back.
        gateway.parts.spool.retry(None).await.unwrap();
        let up = gateway.mailbox_at(provider.pop3().port(), After::Delete, FILE);
        let running = gateway.start(Mailbox {
            max_undelivered: 10,
            ..pop3(up)
        });
        until("all are through", || left(&provider) == 0).await;
        running.stop().await;
        assert_eq!(gateway.delivered().len(), 40);
    });
}

#[test]
fn a_maildrop_in_use_is_waited_for_and_a_login_delay_is_obeyed() {
    local(async {
        let (gateway, provider) = (Gateway::new(), provider(&[closed(1, 900)]).await);
        let in_use = Fault::Reply("-ERR [IN-USE] another session has it".into());
        provider.fault(Service::Pop3, "AUTH", 1, in_use);
        provider.set_features(|f| f.pop3.login_delay = Some(3600));
        let running = gateway.start(mailbox(&gateway, &provider, After::Delete));
        until("it is shown in the server's words", || {
            matches!(gateway.condition(), Some(Condition::Waiting { why, .. }) if why.contains("[IN-USE] another session"))
        })
        .await;
        gateway.parts.poke.notify_one();
        until("the next session delivers", || left(&provider) == 0).await;
        rests(&gateway).await;
        gateway.parts.poke.notify_one();
        until("a poke waits for the server's leave", || {
            matches!(gateway.condition(), Some(Condition::Working { doing }) if doing.contains("LOGIN-DELAY"))
        })
        .await;
        assert_eq!(provider.counts().pop3_sign_ins, 1);
        running.stop().await;
    });
}

#[test]
fn a_shutdown_deletes_what_the_running_command_still_delivers() {
    local(async {
        let (gateway, provider) = (Gateway::new(), provider(&[closed(1, 900)]).await);
        let slow = format!(
            "touch \"$0/../began\"; until [ -e \"$0/../go\" ]; do sleep 0.02; done; {FILE}"
        );
        let mailbox = gateway.mailbox_at(provider.pop3().port(), After::Delete, &slow);
        let running = gateway.start(pop3(mailbox));
        let began = gateway.folder.path().join("began");
        until("the command runs", || began.exists()).await;
        running.shutdown.cancel();
        std::fs::write(gateway.folder.path().join("go"), "").unwrap();
        running.stop().await;
        assert_eq!((left(&provider), unacknowledged(&gateway)), (0, 0));
    });
}

#[test]
fn a_refused_password_is_shown_and_not_tried_again_soon() {
    local(async {
        let (gateway, provider) = (Gateway::new(), provider(&[]).await);
        provider.set_password(USER, "another");
        let running = gateway.start(mailbox(&gateway, &provider, After::Delete));
        until("it is shown", || {
            matches!(gateway.condition(), Some(Condition::Waiting { why, .. })
                if why.contains("[AUTH] the credentials were refused") && why.contains("Check user and password"))
        })
        .await;
        running.stop().await;
        assert_eq!(provider.counts().refused, 1);
    });
}

#[test]
fn check_says_what_it_finds_and_changes_nothing() {
    local(async {
        let mails = [closed(1, 900), closed(2, 40_000)];
        let (gateway, provider) = (Gateway::new(), provider(&mails).await);
        let mailbox = Mailbox {
            max_size: 30_000,
            ..mailbox(&gateway, &provider, After::Delete)
        };
        let steps = fetcher::check(&mailbox, &gateway.parts.tokens).await;
        let found: Vec<&str> = steps
            .iter()
            .map(|step| step.found.as_deref().unwrap())
            .collect();
        assert!(found[2].contains("RESP-CODES"), "{found:?}");
        assert_eq!(
            found.last().unwrap(),
            &"has 2 messages; a first start fetches 2; 1 are over max_size and only held"
        );
        assert_eq!((left(&provider), provider.counts().pop3_retrieved), (2, 0));
        let wrong = Mailbox {
            after: After::Seen,
            ..mailbox
        };
        let steps = fetcher::check(&wrong, &gateway.parts.tokens).await;
        let why = steps.last().unwrap().found.as_ref().unwrap_err();
        assert!(why.contains("can neither mark messages"), "{why}");
    });
}

/// A session that dies anywhere: `Fault::Drop` at each command in turn, then all is well.
#[test]
fn a_connection_that_breaks_at_any_command_loses_and_doubles_nothing() {
    for at in [
        "GREETING", "CAPA", "AUTH", "LIST", "UIDL", "RETR 1", "RETR 3", "DELE 2", "DELE 3",
    ] {
        for fault in [Fault::Drop, Fault::Lose, Fault::Cut(4), Fault::Cut(60)] {
            local(async {
                let mails: Vec<Vec<u8>> = (0..3).map(|n| closed(n, 900)).collect();
                let (gateway, provider) = (Gateway::new(), provider(&mails).await);
                provider.fault(Service::Pop3, at, 1, fault);
                let running = gateway.start(mailbox(&gateway, &provider, After::Delete));
                until("all is through", || {
                    gateway.parts.poke.notify_one();
                    left(&provider) == 0 && unacknowledged(&gateway) == 0
                })
                .await;
                running.stop().await;
                assert_eq!(gateway.delivered(), sorted(mails), "{at}");
                let order = std::fs::read_to_string(gateway.folder.path().join("order")).unwrap();
                assert_eq!(order.lines().count(), 3, "{at}");
            });
        }
    }
}

#[test]
fn a_backlog_far_above_the_cap_is_worked_off_without_a_poll_in_between() {
    local(async {
        let mails: Vec<Vec<u8>> = (0..120).map(|n| closed(n, 300)).collect();
        let (gateway, provider) = (Gateway::new(), provider(&mails).await);
        let mailbox = Mailbox {
            max_undelivered: 7,
            poll: Duration::from_secs(3600),
            ..mailbox(&gateway, &provider, After::Delete)
        };
        let running = gateway.start(mailbox);
        until("all are through", || left(&provider) == 0).await;
        running.stop().await;
        let order = std::fs::read_to_string(gateway.folder.path().join("order")).unwrap();
        let expected: Vec<String> = (0..120).map(|n| n.to_string()).collect();
        assert_eq!(order.lines().collect::<Vec<_>>(), expected);
    });
}
