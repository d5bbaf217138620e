//! Responses that lie: each ends as a clean error of the command, soon, and in little memory.

use std::time::Instant;

use super::*;
use crate::imap::listing::{Selected, list};

const FETCH: &str = "UID FETCH 1:* (UID FLAGS RFC822.SIZE)";

/// The error of a command that was answered so.
async fn trap(answer: &[u8], close: bool) -> String {
    let mut connection = answered(answer.to_vec(), close).await;
    let begun = Instant::now();
    let ended = connection.run("UID FETCH", FETCH, |_| {}).await;
    assert!(
        begun.elapsed() < Duration::from_secs(3),
        "bounded: {:?}",
        begun.elapsed()
    );
    ended.expect_err("only a tagged OK is success").to_string()
}

#[tokio::test]
async fn no_bad_bye_and_the_end_of_the_connection_are_errors_with_the_servers_words() {
    for (answer, says) in [
        (
            &b"TAG NO [UNAVAILABLE] backend down\r\n"[..],
            "NO [UNAVAILABLE] backend down",
        ),
        (b"TAG BAD what\r\n", "BAD what"),
        (b"", "closed the connection before it answered UID FETCH"),
        (b"* BYE shutting down\r\n", "BYE shutting down"),
        (b"A999 OK done\r\n", "another command's tag"),
        (b"+ more?\r\n", "asked for more"),
    ] {
        let said = trap(answer, true).await;
        assert!(said.contains(says), "{said}");
    }
}

#[tokio::test]
async fn silence_ends_after_the_patience() {
    assert!(
        trap(b"", false)
            .await
            .contains("no answer to UID FETCH within 0 s")
    );
    assert!(trap(b"* 1 FETCH (UID 1", false).await.contains("no answer"));
}

#[tokio::test]
async fn nesting_literals_and_lines_are_stopped_before_the_parser_sees_them() {
    let mut deep = b"* 1 FETCH (UID 1 BODYSTRUCTURE ".to_vec();
    deep.extend(std::iter::repeat_n(b'(', 1500));
    assert!(trap(&deep, false).await.contains("nested lists"));
    for literal in ["4000000000", "5000000000", "500000000"] {
        let said = trap(
            format!("* 1 FETCH (UID 1 BODY[] {{{literal}}}\r\nabc").as_bytes(),
            false,
        )
        .await;
        assert!(
            said.contains(&format!("a literal of {literal} bytes")),
            "{said}"
        );
    }
    let mut search = b"* SEARCH".to_vec();
    for n in 1_000_000..1_600_000 {
        search.extend_from_slice(format!(" {n}").as_bytes());
    }
    assert!(trap(&search, false).await.contains("longer than"));
}

#[tokio::test]
async fn an_endless_line_is_stopped_and_costs_no_memory() {
    let (port, server) = serve(|peer| {
        peer.say(CAPS);
        peer.tag();
        peer.say(b"* OK ");
        let block = vec![b'x'; 1_000_000];
        for _ in 0..600 {
            if peer.out.write_all(&block).is_err() {
                return;
            }
            peer.got.push("a million".into());
        }
    });
    let (mut connection, _) = connect(&mailbox(port), SOON).await.unwrap();
    let said = connection
        .run("UID FETCH", FETCH, |_| {})
        .await
        .unwrap_err()
        .to_string();
    drop(connection);
    assert!(said.contains("longer than"), "{said}");
    assert!(
        server.join().unwrap().len() < 50,
        "the server could not pour its 600 MB into us"
    );
}

#[tokio::test]
async fn what_cannot_be_parsed_is_an_error_that_never_quotes_mail() {
    for answer in [
        &b"* ESEARCH (TAG \"A1\") UID ALL 1:3\r\nTAG OK done\r\n"[..],
        b"* NAMESPACE ((\"\" \"/\")) NIL NIL\r\nTAG OK\r\n",
        b"* STATUS INBOX (MESSAGES 3 SIZE 12345)\r\nTAG OK\r\n",
        b"nonsense\r\n",
    ] {
        let said = trap(answer, true).await;
        assert!(said.contains("is no IMAP"), "{said}");
    }
    let secret =
        b"* 1 FETCH (UID 1 BODY[] {30}\r\nSubject: very secret\r\n\r\nbody!!! WEIRD)\r\nTAG OK\r\n";
    let said = trap(secret, true).await;
    assert!(
        !said.contains("secret") && !said.contains("body!!!"),
        "{said}"
    );
}

#[tokio::test]
async fn dates_of_nil_and_foreign_letters_after_a_code_panic_nothing() {
    let answer =
        "* OK [ALERT]é\r\n* 1 FETCH (UID 1 INTERNALDATE NIL RFC822.SIZE 5)\r\nTAG OK [ALERT]ü\r\n";
    let mut connection = answered(answer.as_bytes().to_vec(), true).await;
    connection.exists = 1;
    let selected = Selected {
        uidvalidity: 1,
        uidnext: None,
        read_only: false,
        modseq: None,
    };
    let (listed, _) = list(&mut connection, &mut Window::new(), selected, true)
        .await
        .unwrap();
    assert_eq!(
        listed,
        [Listed {
            uid: 1,
            size: Some(5),
            deleted: false,
            arrived: None
        }]
    );
}

#[tokio::test]
async fn greetings_of_bye_preauth_nonsense_and_silence_are_errors() {
    for (greeting, says) in [
        (&b"* BYE too busy\r\n"[..], "BYE too busy"),
        (b"* PREAUTH you are root\r\n", "PREAUTH"),
        (b"* 3 EXISTS\r\n", "greeting is none"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "is no IMAP"),
        (b"", "no greeting"),
    ] {
        let (port, _) = serve(move |peer| {
            peer.say(greeting);
            std::thread::sleep(Duration::from_secs(2));
        });
        let said = connect(&mailbox(port), SOON).await.unwrap_err().to_string();
        assert!(said.contains(says), "{said}");
    }
}

#[tokio::test]
async fn bytes_before_tls_are_an_injection_and_starttls_must_be_offered() {
    for (answer, says) in [
        (
            &b"TAG OK go\r\n* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\n"[..],
            "before TLS began",
        ),
        (b"TAG OK go\r\n* OK inj", "before TLS began"),
        (b"TAG NO not today\r\n", "NO not today"),
    ] {
        let (port, _) = serve(move |peer| {
            peer.say(b"* OK [CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED] ready\r\n");
            let tag = peer.tag();
            peer.say(
                String::from_utf8_lossy(answer)
                    .replacen("TAG", &tag, 1)
                    .as_bytes(),
            );
            std::thread::sleep(Duration::from_secs(1));
        });
        let starttls = Mailbox {
            tls: Tls::Starttls,
            ..mailbox(port)
        };
        let said = connect(&starttls, SOON).await.unwrap_err().to_string();
        assert!(said.contains(says), "{said}");
    }
    let (port, server) = serve(|peer| {
        peer.say(CAPS);
        peer.hear();
    });
    let said = connect(
        &Mailbox {
            tls: Tls::Starttls,
            ..mailbox(port)
        },
        SOON,
    )
    .await
    .unwrap_err()
    .to_string();
    assert!(said.contains("does not offer STARTTLS"), "{said}");
    assert_eq!(
        server.join().unwrap(),
        [""],
        "nothing was sent in the clear"
    );
}
