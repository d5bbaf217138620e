//! Dialogues with an LMTP server that says exactly what the test wants, and nothing else.

use sandbox::script::{Script, Step};
use spool::Stored;

use super::*;

const HELLO: &str =
    "250-lmtp\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 SIZE 1000\r\n";
const PLAIN: &str = "250 lmtp\r\n";
const MAIL: &[u8] = b"Return-Path: <s@x.example>\r\nSubject: x\r\n\r\n.dot\r\nend\r\n";

fn job(bytes: &[u8], done_for: &[&str]) -> Job {
    Job {
        number: 7,
        id: "7-0123456789abcdef".into(),
        attempt: 1,
        sha256: "0".repeat(64),
        size: bytes.len() as u64,
        repeated: !done_for.is_empty(),
        done_for: done_for.iter().map(|to| (*to).to_owned()).collect(),
        message: Stored::Inline(bytes.to_vec()),
    }
}

fn mailer(script: &Script, to: &[&str]) -> Mailer {
    let lmtp = Lmtp {
        server: LmtpServer::Tcp("127.0.0.1".into(), script.address().port()),
        to: to.iter().map(|to| (*to).to_owned()).collect(),
    };
    Mailer::new(&lmtp, Duration::from_secs(20))
}

/// Greeting and hello, then these steps.
fn after(hello: &str, steps: impl IntoIterator<Item = Step>) -> Vec<Step> {
    let begin = [
        Step::send("220 lmtp ready\r\n"),
        Step::line("LHLO localhost"),
        Step::send(hello),
    ];
    begin.into_iter().chain(steps).collect()
}

fn say(text: &str) -> Step {
    Step::send(text)
}

fn hear(text: &str) -> Step {
    Step::line(text)
}

/// A whole message for one recipient, pipelined.
fn one_message(answer: &str) -> Vec<Step> {
    vec![
        hear("MAIL FROM:<s@x.example> SIZE="),
        hear("RCPT TO:<a@x>"),
        hear("DATA"),
        say("250 ok\r\n250 ok\r\n354 go\r\n"),
        Step::Until(".".into()),
        say(answer),
    ]
}

#[tokio::test]
async fn recipients_have_answers_of_their_own_and_a_repeat_is_for_the_rest_alone() {
    let first = after(
        HELLO,
        [
            hear("MAIL FROM:<s@x.example> SIZE=53 BODY=8BITMIME"),
            hear("RCPT TO:<a@x>"),
            hear("RCPT TO:<b@x>"),
            hear("RCPT TO:<c@x>"),
            hear("DATA"),
            say("250 ok\r\n250 ok\r\n550 5.1.1 nobody\r\n250 ok\r\n354 go\r\n"),
            Step::Until(".".into()),
            say("250 2.0.0 saved\r\n452 4.2.2 full\r\n"),
            // The same connection, for those that do not have it.
            hear("MAIL FROM:<s@x.example>"),
            hear("RCPT TO:<b@x>"),
            hear("RCPT TO:<c@x>"),
            hear("DATA"),
            say("250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n"),
            Step::Until(".".into()),
            say("250 saved\r\n250 saved\r\n"),
        ],
    );
    let script = Script::start(vec![first]).await.unwrap();
    let mailer = mailer(&script, &["a@x", "b@x", "c@x"]);
    let finished = mailer.deliver(job(MAIL, &[])).await;
    assert_eq!(finished.done_for, ["a@x"]);
    assert_eq!(
        finished.outcome,
        Outcome::Retry {
            why: "c@x: the message was answered 452 4.2.2 full".into(),
            after: None
        }
    );
    assert_eq!(
        finished.output.unwrap(),
        "a@x: the message was answered 250 2.0.0 saved\nb@x: RCPT was answered 550 5.1.1 nobody\nc@x: the message was answered 452 4.2.2 full\n"
    );
    let finished = mailer.deliver(job(MAIL, &["a@x"])).await;
    assert!(
        matches!(finished.outcome, Outcome::Delivered { .. }),
        "{finished:?}"
    );
    assert_eq!(finished.done_for, ["a@x", "b@x", "c@x"]);
    let again = mailer.deliver(job(MAIL, &["c@x", "a@x", "b@x"])).await;
    assert!(
        matches!(again.outcome, Outcome::Delivered { .. }),
        "nobody is left: {again:?}"
    );
    let heard = script.finished().await.unwrap();
    let text: Vec<&str> = heard[6..].iter().map(String::as_str).take(6).collect();
    assert_eq!(
        text,
        [
            "Return-Path: <s@x.example>",
            "Subject: x",
            "",
            "..dot",
            "end",
            "."
        ],
        "the text is the message's, its dots stuffed"
    );
}

#[tokio::test]
async fn a_server_without_pipelining_is_asked_one_by_one() {
    let dialogue = after(
        PLAIN,
        [
            hear("MAIL FROM:<s@x.example>"),
            say("250 ok\r\n"),
            hear("RCPT TO:<a@x>"),
            say("550 no\r\n"),
            hear("RCPT TO:<b@x>"),
            say("250 ok\r\n"),
            hear("DATA"),
            say("354 go\r\n"),
            Step::Until(".".into()),
            say("250 saved\r\n"),
            // Nobody is accepted: no DATA.
            hear("MAIL"),
            say("250 ok\r\n"),
            hear("RCPT TO:<a@x>"),
            say("550 no\r\n"),
            hear("RSET"),
            say("250 ok\r\n"),
            // The sender is refused: no RCPT.
            hear("MAIL"),
            say("451 4.3.0 later\r\n"),
            hear("RSET"),
            say("250 ok\r\n"),
            hear("QUIT"),
            say("221 bye\r\n"),
        ],
    );
    let script = Script::start(vec![dialogue]).await.unwrap();
    let both = mailer(&script, &["a@x", "b@x"]);
    let finished = both.deliver(job(MAIL, &[])).await;
    assert!(
        matches!(finished.outcome, Outcome::Refused { .. }),
        "{finished:?}"
    );
    assert_eq!(finished.done_for, ["b@x"]);
    let finished = both.deliver(job(MAIL, &["b@x"])).await;
    assert!(
        matches!(finished.outcome, Outcome::Refused { .. }),
        "{finished:?}"
    );
    let finished = both.deliver(job(MAIL, &["b@x"])).await;
    assert_eq!(
        finished.outcome.why(),
        "a@x: MAIL was answered 451 4.3.0 later"
    );
    both.rest().await;
    script.finished().await.unwrap();
}

#[tokio::test]
async fn a_kept_connection_that_the_server_has_ended_costs_nothing() {
    for last in ["", "421 4.4.2 idle for too long\r\n"] {
        let first = after(
            HELLO,
            one_message("250 saved\r\n").into_iter().chain([say(last)]),
        );
        let second = after(HELLO, one_message("250 saved\r\n"));
        let script = Script::start(vec![first, second]).await.unwrap();
        let mailer = mailer(&script, &["a@x"]);
        for _ in 0..2 {
            let finished = mailer.deliver(job(MAIL, &[])).await;
            assert!(
                matches!(finished.outcome, Outcome::Delivered { .. }),
                "{finished:?}"
            );
        }
        script.finished().await.unwrap();
    }
}

#[tokio::test]
async fn a_connection_that_breaks_after_the_final_dot_is_tried_again_and_says_what_may_follow() {
    let mut steps = one_message("");
    steps.pop();
    let script = Script::start(vec![after(HELLO, steps)]).await.unwrap();
    let finished = mailer(&script, &["a@x"]).deliver(job(MAIL, &[])).await;
    let Outcome::Retry { why, .. } = finished.outcome else {
        panic!("{finished:?}")
    };
    assert!(why.contains("it may have arrived and come again"), "{why}");
    assert!(finished.done_for.is_empty());
}

#[tokio::test]
async fn a_server_that_never_answers_costs_the_mailboxs_time_and_no_more() {
    let mut steps = one_message("");
    *steps.last_mut().unwrap() = Step::Stall;
    let script = Script::start(vec![after(HELLO, steps)]).await.unwrap();
    let mut mailer = mailer(&script, &["a@x"]);
    mailer.longest = Duration::from_millis(300);
    let finished = mailer.deliver(job(MAIL, &[])).await;
    assert!(
        finished.outcome.why().contains("took longer than"),
        "{finished:?}"
    );
    assert!(
        finished.outcome.why().contains("may have arrived"),
        "{finished:?}"
    );
}

#[tokio::test]
async fn refusals_of_a_whole_message_are_read_to_their_end() {
    let dialogue = after(
        HELLO,
        [
            hear("MAIL"),
            hear("RCPT"),
            hear("DATA"),
            say("550 5.7.1 not you\r\n503 5.5.1 MAIL first\r\n503 5.5.1 RCPT first\r\n"),
            hear("RSET"),
            say("250 ok\r\n"),
            hear("MAIL"),
            hear("RCPT"),
            hear("DATA"),
            say("250 ok\r\n250 ok\r\n451 4.3.2 going down\r\n"),
            hear("RSET"),
            say("250 ok\r\n"),
        ],
    );
    let script = Script::start(vec![dialogue]).await.unwrap();
    let mailer = mailer(&script, &["a@x"]);
    let finished = mailer.deliver(job(MAIL, &[])).await;
    assert_eq!(
        finished.outcome,
        Outcome::Refused {
            why: "a@x: MAIL was answered 550 5.7.1 not you".into()
        }
    );
    let finished = mailer.deliver(job(MAIL, &[])).await;
    assert_eq!(
        finished.outcome.why(),
        "a@x: DATA was answered 451 4.3.2 going down"
    );
    script.finished().await.unwrap();
}

#[tokio::test]
async fn what_a_server_cannot_take_is_never_sent() {
    let script = Script::start(vec![after(HELLO, []), after(PLAIN, [])])
        .await
        .unwrap();
    let big = vec![b'x'; 1001];
    let finished = mailer(&script, &["a@x"]).deliver(job(&big, &[])).await;
    assert_eq!(
        finished.outcome,
        Outcome::Refused {
            why: "a@x: it has 1001 bytes, and the server takes 1000".into()
        }
    );
    let finished = mailer(&script, &["j\u{f6}rg@x"])
        .deliver(job(MAIL, &[]))
        .await;
    assert!(
        finished.outcome.why().contains("needs SMTPUTF8"),
        "{finished:?}"
    );
    assert_eq!(
        script.finished().await.unwrap(),
        ["LHLO localhost", "LHLO localhost"]
    );
}

#[tokio::test]
async fn servers_that_lie_or_are_none_are_told_in_words_and_tried_again() {
    let cases = [
        (
            vec![
                say("220 smtp\r\n"),
                hear("LHLO"),
                say("502 5.5.2 unknown\r\n"),
            ],
            "is it an LMTP server?",
        ),
        (vec![say("* OK IMAP4rev1\r\n")], "does not speak SMTP"),
        (vec![say("554 no\r\n")], "greeted with 554 no"),
        (vec![Step::Close], "closed"),
        (
            after(
                HELLO,
                [
                    hear("MAIL"),
                    hear("RCPT"),
                    hear("DATA"),
                    say("250 ok\r\n550 no\r\n354 go\r\n"),
                ],
            ),
            "RCPT was answered 550 no",
        ),
        (
            after(
                HELLO,
                [
                    hear("MAIL"),
                    hear("RCPT"),
                    hear("DATA"),
                    say("250 ok\r\n250 ok\r\n354 go\r\n250 saved\r\n"),
                ],
            ),
            "not asked for",
        ),
        (
            after(
                HELLO,
                [
                    hear("MAIL"),
                    hear("RCPT"),
                    hear("DATA"),
                    say("250 ok\r\n250 ok\r\n250 odd\r\n"),
                ],
            ),
            "makes no sense",
        ),
    ];
    for (dialogue, words) in cases {
        let script = Script::start(vec![dialogue]).await.unwrap();
        let finished = mailer(&script, &["a@x"]).deliver(job(MAIL, &[])).await;
        assert!(
            finished.outcome.why().contains(words),
            "{words}: {finished:?}"
        );
        assert!(
            !matches!(finished.outcome, Outcome::Delivered { .. }),
            "{finished:?}"
        );
    }
    let nowhere = Lmtp {
        server: LmtpServer::Unix("/nonexistent/lmtp".into()),
        to: vec!["a@x".into()],
    };
    let finished = Mailer::new(&nowhere, Duration::from_secs(5))
        .deliver(job(MAIL, &[]))
        .await;
    assert!(
        finished
            .outcome
            .why()
            .contains("no connection to /nonexistent/lmtp"),
        "{finished:?}"
    );
    assert!(look(&nowhere).await.is_err());
}

#[tokio::test]
async fn a_look_says_hello_and_goodbye_and_sends_nothing() {
    let dialogue = after(HELLO, [hear("QUIT"), say("221 bye\r\n")]);
    let script = Script::start(vec![dialogue]).await.unwrap();
    let lmtp = Lmtp {
        server: LmtpServer::Tcp("localhost".into(), script.address().port()),
        to: vec!["a@x".into()],
    };
    assert_eq!(
        look(&lmtp).await.unwrap(),
        "answers; it offers PIPELINING, 8BITMIME, SMTPUTF8, SIZE 1000"
    );
    script.finished().await.unwrap();
}
