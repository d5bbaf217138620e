//! The protocol of the control socket: what travels, and who may ask what.

use super::*;

#[test]
fn questions_and_answers_are_single_json_lines_that_read_back_as_they_were() {
    let questions = [
        Question::Status,
        Question::Access {
            config: "support".into(),
            user: String::new(),
        },
        Question::Refresh {
            config: "support".into(),
            subject: "anna@example.com".into(),
        },
        Question::Retry { messages: None },
        Question::Retry {
            messages: Some(vec![1, 2]),
        },
        Question::Hold {
            messages: vec![4],
            reason: "ask Ann\n".into(),
        },
        Question::Release { messages: vec![4] },
        Question::Delete { messages: vec![3] },
        Question::Complete {
            session: "s".into(),
            state: Some("x\ny".into()),
            code: None,
            error: None,
            error_description: None,
            iss: Some("https://id.example".into()),
        },
        Question::Reload,
    ];
    for question in questions {
        let line = serde_json::to_string(&question).unwrap();
        assert!(!line.contains('\n'), "{line}");
        assert_eq!(serde_json::from_str::<Question>(&line).unwrap(), question);
    }
    let failed = Answer::Failed(Failure::new(FailureKind::Consent, "nobody consented"));
    let line = serde_json::to_string(&failed).unwrap();
    assert_eq!(
        line,
        r#"{"failed":{"kind":"consent","words":"nobody consented"}}"#
    );
    assert_eq!(serde_json::from_str::<Answer>(&line).unwrap(), failed);
}

#[test]
fn a_question_that_is_not_known_is_refused_rather_than_guessed() {
    for line in [
        "",
        "{}",
        r#"{"ask":"format_disk"}"#,
        r#"{"ask":"fetch"}"#,
        r#"{"ask":"access","config":"a","more":1}"#,
    ] {
        assert!(serde_json::from_str::<Question>(line).is_err(), "{line}");
    }
}

#[test]
fn the_sockets_group_may_see_the_status_and_fetch_a_token_and_nothing_else() {
    let ask = |question: fn(String, String) -> Question| question("a".into(), "b".into());
    let all = [
        (Question::Status, true),
        (ask(|config, user| Question::Access { config, user }), true),
        (
            ask(|config, subject| Question::Refresh { config, subject }),
            false,
        ),
        (
            Question::Revoke {
                config: "a".into(),
                forget: true,
            },
            false,
        ),
        (
            ask(|config, subject| Question::Introspect { config, subject }),
            false,
        ),
        (Question::TokensChanged { config: "a".into() }, false),
        (
            Question::Fetch {
                mailbox: "a".into(),
                now: true,
            },
            false,
        ),
        (Question::Retry { messages: None }, false),
        (
            Question::Hold {
                messages: vec![],
                reason: String::new(),
            },
            false,
        ),
        (Question::Release { messages: vec![] }, false),
        (Question::Delete { messages: vec![] }, false),
        (Question::TestNotices, false),
        (Question::Reload, false),
    ];
    for (question, guest) in all {
        assert_eq!(Peer::of(1001, 999).may(&question), guest, "{question:?}");
        assert!(
            Peer::of(999, 999).may(&question) && Peer::of(0, 999).may(&question),
            "{question:?}"
        );
    }
}

#[tokio::test]
async fn a_socket_that_a_killed_daemon_left_is_replaced_and_a_living_one_is_not() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run/control.sock");
    assert!(matches!(
        Client::reach(&path).await,
        Err(ClientError::NoDaemon { .. })
    ));
    let first = Listener::bind(&path).unwrap();
    assert_eq!(
        std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o660
    );
    Client::reach(&path).await.unwrap();
    let second = Listener::bind(&path).map(|_| ()).unwrap_err();
    assert_eq!(second.kind(), std::io::ErrorKind::AddrInUse);
    // A process that is killed closes the socket and leaves the file.
    let leftover = dir.path().join("run/leftover.sock");
    drop(std::os::unix::net::UnixListener::bind(&leftover).unwrap());
    assert!(matches!(
        Client::reach(&leftover).await,
        Err(ClientError::NoDaemon { .. })
    ));
    let _third = Listener::bind(&leftover).unwrap();

    // A path that names somebody's file by mistake: the file stays.
    let precious = dir.path().join("run/precious");
    std::fs::write(&precious, "precious").unwrap();
    let error = Listener::bind(&precious).map(|_| ()).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::AlreadyExists);
    assert_eq!(std::fs::read(&precious).unwrap(), b"precious");
    Client::reach(&leftover).await.unwrap();
    drop(first);
    assert!(!path.exists());
}
