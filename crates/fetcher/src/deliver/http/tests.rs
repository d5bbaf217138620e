//! Requests as they are on the wire, and answers of every kind.

use sandbox::script::{Script, Step};
use token_store::Secret;

use super::*;

const MAIL: &[u8] = b"Subject: x\r\n\r\nhello\r\n";

fn job(bytes: &[u8]) -> Job {
    Job {
        number: 7,
        id: "7-0123456789abcdef".into(),
        attempt: 2,
        sha256: "ab".repeat(32),
        size: bytes.len() as u64,
        repeated: true,
        done_for: Vec::new(),
        message: Stored::Inline(bytes.to_vec()),
    }
}

fn http(url: String) -> Http {
    Http {
        url,
        secret: Secret::new("s3cret"),
        ca_file: None,
    }
}

fn poster(script: &Script) -> Poster {
    let url = format!("http://{}/in/mail?queue=1", script.address());
    Poster::new(
        &http(url),
        "désk",
        "desk@x.example",
        Duration::from_secs(20),
    )
}

/// Hears a request of [`MAIL`] and answers.
fn exchange(answer: &str) -> Vec<Step> {
    vec![
        Step::line("POST /in/mail?queue=1 HTTP/1.1"),
        Step::Until("hello".into()),
        Step::send(answer),
    ]
}

const OK: &str = "HTTP/1.1 202 Accepted\r\nContent-Length: 9\r\n\r\nticket 7\n";

#[tokio::test]
async fn a_request_carries_the_exact_bytes_and_what_they_are_recognised_by() {
    let script = Script::start(vec![exchange(OK)]).await.unwrap();
    let finished = poster(&script).deliver(job(MAIL)).await;
    assert_eq!(
        finished.outcome,
        Outcome::Delivered {
            why: "HTTP 202 Accepted".into()
        }
    );
    assert_eq!(
        finished.output.as_deref(),
        Some("HTTP 202 Accepted\nticket 7")
    );
    let heard = script.finished().await.unwrap();
    let value = |name: &str| {
        let line = heard.iter().find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then_some(value)
        });
        line.unwrap_or_else(|| panic!("no {name} in {heard:?}"))
            .to_owned()
    };
    assert_eq!(value("content-type"), "message/rfc822");
    assert_eq!(value("content-length"), MAIL.len().to_string());
    assert_eq!(
        value("host"),
        format!("127.0.0.1:{}", value("host").rsplit_once(':').unwrap().1)
    );
    assert_eq!(value("x-postern-mailbox"), "désk");
    assert_eq!(value("x-postern-envelope-to"), "desk@x.example");
    assert_eq!(value("x-postern-delivery-id"), "7-0123456789abcdef");
    assert_eq!(value("x-postern-attempt"), "2");
    assert_eq!(value("x-postern-sha256"), "ab".repeat(32));
    let key = sign::Key::new(&Secret::new("s3cret"));
    let (signature, _) = key
        .sign(&value("x-postern-timestamp"), Stored::Inline(MAIL.to_vec()))
        .await
        .unwrap();
    assert_eq!(value("x-postern-signature"), format!("sha256={signature}"));
    let end = heard.iter().position(String::is_empty).unwrap();
    assert_eq!(heard[end + 1..], ["Subject: x", "", "hello"]);
}

#[tokio::test]
async fn a_large_message_is_streamed_from_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("body");
    let bytes = b"0123456789abcde\n".repeat(100_000);
    std::fs::write(&path, &bytes).unwrap();
    let dialogue = vec![
        Step::Until(String::new()),
        Step::Until("last".into()),
        Step::send(OK),
    ];
    let script = Script::start(vec![dialogue]).await.unwrap();
    let mut large = job(&bytes);
    std::fs::write(&path, [&bytes[..], b"last\n"].concat()).unwrap();
    large.size += 5;
    large.message = Stored::File(std::fs::File::open(&path).unwrap());
    let finished = poster(&script).deliver(large).await;
    assert!(
        matches!(finished.outcome, Outcome::Delivered { .. }),
        "{finished:?}"
    );
    let heard = script.finished().await.unwrap();
    assert_eq!(
        heard
            .iter()
            .filter(|line| *line == "0123456789abcde")
            .count(),
        100_000
    );
}

#[tokio::test]
async fn messages_share_a_connection_and_one_that_was_closed_meanwhile_costs_nothing() {
    let both: Vec<Step> = exchange(OK).into_iter().chain(exchange(OK)).collect();
    let script = Script::start(vec![both, exchange(OK)]).await.unwrap();
    let poster = poster(&script);
    for _ in 0..3 {
        let finished = poster.deliver(job(MAIL)).await;
        assert!(
            matches!(finished.outcome, Outcome::Delivered { .. }),
            "{finished:?}"
        );
    }
    script.finished().await.unwrap();
}

#[tokio::test]
async fn answers_that_are_no_success_are_kept_with_the_message() {
    let cases = [
        (
            "HTTP/1.1 503 Busy\r\nRetry-After: 120\r\nContent-Length: 4\r\n\r\nlock",
            'r',
            Some(120),
        ),
        (
            "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\nContent-Length: 0\r\n\r\n",
            'r',
            None,
        ),
        ("HTTP/1.1 422 No\r\nContent-Length: 3\r\n\r\nbad", 'R', None),
        (
            "HTTP/1.0 200 OK\r\n\r\nto the end of the connection",
            'D',
            None,
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
            'D',
            None,
        ),
        (
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n",
            'D',
            None,
        ),
    ];
    for (answer, expected, pause) in cases {
        let script = Script::start(vec![exchange(answer)]).await.unwrap();
        let finished = poster(&script).deliver(job(MAIL)).await;
        let got = match &finished.outcome {
            Outcome::Delivered { .. } => ('D', None),
            Outcome::Refused { .. } => ('R', None),
            Outcome::Retry { after, .. } => ('r', after.map(|after| after.as_secs())),
            other => panic!("{other:?}"),
        };
        assert_eq!(got, (expected, pause), "{answer}");
        assert!(finished.output.is_some(), "{answer}");
    }
}

#[tokio::test]
async fn an_endless_answer_is_read_no_further_than_it_is_kept() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n";
    let body = "x".repeat(300_000);
    let dialogue = [exchange(head), vec![Step::send(&body), Step::Stall]].concat();
    let script = Script::start(vec![dialogue]).await.unwrap();
    let finished = poster(&script).deliver(job(MAIL)).await;
    assert!(
        matches!(finished.outcome, Outcome::Delivered { .. }),
        "{:?}",
        finished.outcome
    );
    assert!(finished.output.unwrap().len() < 65_000 + 1_000);
    script.finished().await.unwrap();
}

#[tokio::test]
async fn no_answer_and_nonsense_are_tried_again() {
    let mut closed = exchange("");
    closed.pop();
    let nonsense = exchange("* OK IMAP4rev1 ready\r\n");
    for (dialogue, words) in [
        (closed, "may have the message"),
        (nonsense, "no answer"),
        (vec![Step::Close], ""),
    ] {
        let script = Script::start(vec![dialogue]).await.unwrap();
        let finished = poster(&script).deliver(job(MAIL)).await;
        assert!(
            matches!(&finished.outcome, Outcome::Retry { why, .. } if why.contains(words)),
            "{finished:?}"
        );
    }
    let silent = [exchange(""), vec![Step::Stall]].concat();
    let script = Script::start(vec![silent]).await.unwrap();
    let mut slow = poster(&script);
    slow.longest = Duration::from_millis(300);
    let finished = slow.deliver(job(MAIL)).await;
    assert!(
        finished
            .outcome
            .why()
            .contains("no answer from 127.0.0.1 within 0 s"),
        "{finished:?}"
    );
}

#[tokio::test]
async fn a_message_that_changed_on_disk_is_never_posted_as_if_it_were_whole() {
    for (size, what) in [(22, "shorter"), (20, "longer")] {
        let script = Script::start(vec![vec![Step::Stall]]).await.unwrap();
        let mut changed = job(MAIL);
        changed.size = size;
        let finished = poster(&script).deliver(changed).await;
        assert!(
            matches!(&finished.outcome, Outcome::Retry { why, .. } if why.contains(what)),
            "{finished:?}"
        );
    }
}

#[tokio::test]
async fn what_is_configured_wrong_blocks_the_account_and_shows_no_secret() {
    let mut wrong = http("https://desk.example.com/mail?key=hunter2".into());
    wrong.ca_file = Some("/nonexistent/ca.pem".into());
    let poster = Poster::new(&wrong, "desk", "desk", Duration::from_secs(5));
    let finished = poster.deliver(job(MAIL)).await;
    assert!(
        matches!(&finished.outcome, Outcome::Blocked { why, .. } if why.contains("/nonexistent/ca.pem")),
        "{finished:?}"
    );
    for url in [
        "http://desk.example.com/?hunter2",
        "ftp://localhost/?hunter2",
        "nonsense?hunter2",
    ] {
        let why = look(&http(url.into())).await.unwrap_err();
        assert!(!why.contains("hunter2"), "{why}");
    }
}
