//! POP3 servers that lie or break off: literal dialogues, and nothing but whole messages comes out of them.

use std::time::Duration;

use sandbox::script::{Script, Step};
use spool::Direction;
use token_store::accounts::{After, Condition, Mailbox, Watch};

use crate::gateway::{FILE, Gateway, local, until};
use crate::pop3::pop3;

/// A session up to the listing of these sizes, answered line by line.
fn session(sizes: &[usize]) -> Vec<Step> {
    let list: String = (1..)
        .zip(sizes)
        .map(|(n, size)| format!("{n} {size}\r\n"))
        .collect();
    let uidl: String = (1..=sizes.len()).map(|n| format!("{n} u{n}\r\n")).collect();
    vec![
        Step::send("+OK hello\r\n"),
        Step::line("CAPA"),
        Step::send("-ERR what?\r\n"),
        Step::line("USER support@example.com"),
        Step::send("+OK\r\n"),
        Step::line("PASS secret"),
        Step::send("+OK\r\n"),
        Step::line("LIST"),
        Step::Send(format!("+OK\r\n{list}.\r\n").into_bytes()),
        Step::line("UIDL"),
        Step::Send(format!("+OK\r\n{uidl}.\r\n").into_bytes()),
    ]
}

fn and(mut session: Vec<Step>, more: &[(&str, &str)]) -> Vec<Step> {
    for (line, answer) in more {
        session.push(Step::line(line));
        session.push(Step::send(answer));
    }
    session
}

async fn start(dialogues: Vec<Vec<Step>>) -> (Gateway, Script, Mailbox) {
    let gateway = Gateway::new();
    let script = Script::start(dialogues).await.unwrap();
    let mailbox = gateway.mailbox_at(script.address().port(), After::Delete, FILE);
    // The dialogues follow each other without a person.
    let mailbox = Mailbox {
        watch: Watch::Every(Duration::from_millis(100)),
        ..pop3(mailbox)
    };
    (gateway, script, mailbox)
}

#[test]
fn the_end_of_the_connection_inside_a_message_is_no_end_and_nothing_is_deleted() {
    for cut in [
        "",
        "+OK",
        "+OK\r\n",
        "+OK\r\nSubject: x\r\n\r\nbody\r\n",
        "+OK\r\nSubject: x\r\n\r\nbody\r\n.",
        "+OK\r\nSubject: x\r\n\r\nbody\n.\r\n",
    ] {
        local(async {
            let broken = and(session(&[30]), &[("RETR 1", cut)]);
            let whole = and(
                session(&[30]),
                &[
                    ("RETR 1", "+OK\r\nSubject: x\r\n\r\n..dot\r\n.\r\n"),
                    ("DELE 1", "+OK\r\n"),
                    ("QUIT", "+OK\r\n"),
                ],
            );
            let (gateway, script, mailbox) = start(vec![broken, whole]).await;
            let running = gateway.start(mailbox);
            until("the whole one is delivered", || {
                gateway.delivered().len() == 1
            })
            .await;
            script.finished().await.unwrap();
            running.stop().await;
            assert_eq!(
                gateway.delivered(),
                [b"Subject: x\r\n\r\n.dot\r\n".to_vec()]
            );
        });
    }
}

#[test]
fn an_empty_body_or_half_of_one_is_not_taken_in_until_the_server_insists() {
    local(async {
        let half = "+OK\r\nSubject: half\r\n\r\n.\r\n";
        let look = || {
            let answers = [
                ("RETR 1", "+OK\r\n.\r\n"),
                ("RETR 2", half),
                ("QUIT", "+OK\r\n"),
            ];
            and(session(&[100, 1000]), &answers)
        };
        let last = and(
            session(&[100, 1000]),
            &[
                ("RETR 1", "+OK\r\n.\r\n"),
                ("RETR 2", half),
                ("DELE 2", "+OK\r\n"),
                ("QUIT", "+OK\r\n"),
            ],
        );
        let (gateway, script, mailbox) = start(vec![look(), look(), look(), last]).await;
        let running = gateway.start(mailbox);
        until("the half one is believed", || {
            gateway.delivered() == [b"Subject: half\r\n\r\n".to_vec()]
        })
        .await;
        script.finished().await.unwrap();
        running.stop().await;
    });
}

#[test]
fn a_message_that_breaks_every_connection_keeps_the_others_back_only_twice() {
    local(async {
        let broken = || and(session(&[20, 20]), &[("RETR 1", "+OK\r\nS: x\r\n")]);
        let around = and(
            session(&[20, 20]),
            &[
                ("RETR 2", "+OK\r\nS: second\r\n\r\n.\r\n"),
                ("RETR 1", "+OK\r\nS: x\r\n"),
            ],
        );
        let (gateway, script, mailbox) = start(vec![broken(), broken(), around]).await;
        let running = gateway.start(mailbox);
        until("the second is delivered", || {
            gateway.delivered() == [b"S: second\r\n\r\n".to_vec()]
        })
        .await;
        script.finished().await.unwrap();
        running.stop().await;
    });
}

#[test]
fn a_refused_message_keeps_no_other_back_and_a_refused_deletion_is_repeated_alone() {
    local(async {
        let first = and(
            session(&[20, 20]),
            &[
                ("RETR 1", "-ERR can't open it\r\n"),
                ("RETR 2", "+OK\r\nS: second\r\n\r\n.\r\n"),
                ("DELE 2", "-ERR locked\r\n"),
                ("QUIT", "+OK\r\n"),
            ],
        );
        let second = and(
            session(&[20, 20]),
            &[
                ("RETR 1", "+OK\r\nS: first\r\n\r\n.\r\n"),
                ("DELE 2", "+OK\r\n"),
                ("DELE 1", "+OK\r\n"),
                ("QUIT", "+OK\r\n"),
            ],
        );
        let (gateway, script, mailbox) = start(vec![first, second]).await;
        let running = gateway.start(mailbox);
        until("the refusal is shown", || {
            matches!(gateway.condition(), Some(Condition::Working { doing }) if doing.contains("can't be deleted: the server answered DELE with -ERR locked"))
        })
        .await;
        until("both are delivered", || gateway.delivered().len() == 2).await;
        let heard = script.finished().await.unwrap();
        running.stop().await;
        let deletions = heard.iter().filter(|line| line.starts_with("DELE"));
        assert_eq!(deletions.count(), 3);
    });
}

#[test]
fn a_body_that_never_ends_is_held_and_costs_one_connection() {
    local(async {
        let mut lie = and(
            session(&[20, 20]),
            &[("RETR 1", "+OK\r\nSubject: endless\r\n\r\n")],
        );
        for _ in 0..90 {
            lie.push(Step::Send(vec![b'x'; 65_536]));
        }
        let after = and(
            session(&[20, 20]),
            &[
                ("RETR 2", "+OK\r\nS: second\r\n\r\n.\r\n"),
                ("DELE 2", "+OK\r\n"),
                ("QUIT", "+OK\r\n"),
            ],
        );
        // The client hangs up inside the lie, which is an error of that dialogue: it is played as two scripts.
        let (gateway, script, mut mailbox) = start(vec![lie]).await;
        mailbox.max_size = 1_000_000;
        let running = gateway.start(mailbox.clone());
        until("it is held", || {
            let counts = gateway.parts.spool.counts(Direction::In, "support");
            counts.unwrap().held == 1
        })
        .await;
        running.stop().await;
        drop(script);
        let script = Script::start(vec![after]).await.unwrap();
        mailbox.port = script.address().port();
        let running = gateway.start(mailbox);
        until("the other one comes", || gateway.delivered().len() == 1).await;
        script.finished().await.unwrap();
        running.stop().await;
        let queue = gateway.parts.spool.queue(Some(Direction::In)).unwrap();
        assert_eq!(queue[0].subject, "endless");
    });
}

#[test]
fn nonsense_instead_of_an_answer_ends_the_session_and_is_shown() {
    for (answer, shown) in [
        ("HTTP/1.1 200 OK\r\n", "nonsense: HTTP/1.1 200 OK"),
        (
            "-ERR [SYS/TEMP] backend down\r\n",
            "[SYS/TEMP] backend down",
        ),
        (
            "-ERR Too many simultaneous connections\r\n",
            "Too many simultaneous",
        ),
    ] {
        local(async {
            let (gateway, script, mailbox) = start(vec![vec![Step::send(answer)]]).await;
            let running = gateway.start(mailbox);
            until("it is shown", || {
                matches!(gateway.condition(), Some(Condition::Waiting { why, .. }) if why.contains(shown))
            })
            .await;
            running.stop().await;
            drop(script);
        });
    }
}
