//! The gateway in this process: started, asked through its socket, reloaded and drained. Its servers are away; that is enough here.

use std::path::Path;
use std::time::Duration;

use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{Gateway, LockError, OpenError, ReloadError, StartError};
use crate::config::Config;
use crate::control::{Client, ClientError, FailureKind, Question};

/// Long enough for a busy machine, short enough to be seen as a hang.
const SOON: Duration = Duration::from_secs(20);

fn relay(name: &str, more: &str) -> String {
    format!(
        "  - {{name: {name}, host: 127.0.0.1, port: 9, tls: none, user: u, auth: {{password: p}}, senders: [{name}@help.example], {more}}}\n"
    )
}

fn config(dir: &Path, relays: &str) -> Config {
    let dir = dir.display();
    let text = format!(
        "state_dir: {dir}/s\nkey: {{file: {dir}/key}}\ncontrol_socket: {dir}/c.sock\ndrop_dir: {dir}/drop\nweb: off\nsubmission: [{{listen: 127.0.0.1:0}}]\nrelays:\n{relays}"
    );
    Config::from_text(Path::new("postern.yaml"), &text).unwrap()
}

async fn stop(gateway: Gateway, shutdown: &CancellationToken) {
    shutdown.cancel();
    tokio::time::timeout(SOON, gateway.drain(|_| {}))
        .await
        .expect("idle rooms end at once");
}

#[tokio::test]
async fn one_gateway_keeps_a_state_directory_and_leaves_it_free_when_it_has_drained() {
    let dir = tempfile::tempdir().unwrap();
    let shutdown = CancellationToken::new();
    let first = Gateway::start(config(dir.path(), &relay("a", "")), shutdown.clone())
        .await
        .unwrap();
    let [sender::Listen::Tcp(address)] = first.submission() else {
        panic!("one listener: {:?}", first.submission());
    };
    assert_ne!(address.port(), 0);
    assert_eq!(first.page(), None);
    let second = Gateway::start(config(dir.path(), &relay("a", "")), shutdown.clone()).await;
    let Err(StartError::Open(OpenError::Lock(LockError::Held { holder, .. }))) = second else {
        panic!("two at once")
    };
    assert!(holder.starts_with("postern run"), "{holder}");
    stop(first, &shutdown).await;
    assert!(!dir.path().join("c.sock").exists());
    let shutdown = CancellationToken::new();
    let third = Gateway::start(config(dir.path(), &relay("a", "")), shutdown.clone())
        .await
        .unwrap();
    stop(third, &shutdown).await;
}

#[tokio::test]
async fn a_reload_changes_what_differs_and_says_what_takes_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let shutdown = CancellationToken::new();
    let gateway = Gateway::start(
        config(dir.path(), &format!("{}{}", relay("a", ""), relay("b", ""))),
        shutdown.clone(),
    )
    .await
    .unwrap();
    let handle = gateway.handle().clone();
    let same = config(dir.path(), &format!("{}{}", relay("a", ""), relay("b", "")));
    assert_eq!(handle.reload(same).await.unwrap(), ["nothing has changed"]);

    let mut changed = config(
        dir.path(),
        &format!(
            "{}{}",
            relay("b", "connections: 7"),
            relay("c", "paused: true")
        ),
    );
    changed.log.level = tracing::Level::DEBUG;
    assert_eq!(
        handle.reload(changed).await.unwrap(),
        [
            "relay c starts",
            "relay b restarts with its new settings",
            "relay a ends: it is no longer configured",
            "log has changed in the file; that takes effect at the next restart",
        ]
    );
    let report = handle.status().unwrap();
    let names: Vec<&str> = report
        .relays
        .iter()
        .map(|relay| relay.name.as_str())
        .collect();
    assert_eq!(names, ["b", "c"]);
    let mut told = config(
        dir.path(),
        &format!(
            "{}{}",
            relay("b", "connections: 7"),
            relay("c", "paused: true")
        ),
    );
    told.log.level = tracing::Level::DEBUG;
    told.notices.mail_to = vec!["root@example.com".to_owned()];
    assert_eq!(
        handle.reload(told).await.unwrap(),
        [
            "notices are told by other channels",
            "log has changed in the file; that takes effect at the next restart",
        ]
    );
    assert_eq!(handle.notices().mail_to, ["root@example.com"]);
    // The file that the gateway was started from does not exist: nothing changes, and the file is named.
    let error = handle.reload_file().await.unwrap_err();
    assert!(
        matches!(&error, ReloadError::Mistakes(_))
            && error
                .to_string()
                .contains("postern.yaml:1:1: cannot be read"),
        "{error}"
    );
    assert_eq!(handle.status().unwrap().relays.len(), 2);
    stop(gateway, &shutdown).await;
}

#[tokio::test]
async fn commands_are_answered_through_the_socket() {
    let dir = tempfile::tempdir().unwrap();
    let shutdown = CancellationToken::new();
    let config = config(dir.path(), &relay("a", ""));
    let socket = config.control_socket.clone();
    let gateway = Gateway::start(config, shutdown.clone()).await.unwrap();
    let client = Client::reach(&socket).await.unwrap();
    let status = client.ask(&Question::Status).await.unwrap();
    assert_eq!(status["running"], json!(true));
    assert_eq!(status["relays"][0]["name"], json!("a"));
    assert_eq!(
        client
            .ask(&Question::Retry { messages: None })
            .await
            .unwrap(),
        json!(0)
    );
    for (question, kind) in [
        (
            Question::Fetch {
                mailbox: "nobody".into(),
                now: false,
            },
            FailureKind::Unknown,
        ),
        (
            Question::Access {
                config: "nobody".into(),
                user: String::new(),
            },
            FailureKind::Unknown,
        ),
        (Question::Reload, FailureKind::Configuration),
    ] {
        let Err(ClientError::Failed(failure)) = client.ask(&question).await else {
            panic!("{question:?}")
        };
        assert_eq!(failure.kind, kind, "{question:?}: {}", failure.words);
    }
    stop(gateway, &shutdown).await;
    assert!(matches!(
        client.ask(&Question::Status).await,
        Err(ClientError::NoDaemon { .. })
    ));
}
