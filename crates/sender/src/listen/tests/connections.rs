//! Connections: many at once, of both kinds, and at the end of the daemon.
use super::*;

#[tokio::test]
async fn on_shutdown_idle_sessions_hear_421_and_a_running_message_is_taken() {
    let mut server = Server::start().await;
    let mut idle = server.talk().await;
    let mut busy = server.talk().await;
    busy.until_data().await;
    busy.say("Subject: late\r\n").await;
    server.shutdown.cancel();
    assert!(idle.reply().await.starts_with("421 4.3.2"));
    assert_eq!(idle.code().await, "closed");
    drop(idle);
    busy.say("\r\nstill here\r\n.\r\n").await;
    assert!(busy.reply().await.starts_with("250 2.0.0"));
    assert!(busy.reply().await.starts_with("421 4.3.2"));
    drop(busy);
    let ended = tokio::time::timeout(Duration::from_secs(20), server.tasks.join_next()).await;
    assert!(
        ended
            .expect("the listener ends")
            .is_some_and(|task| task.is_ok())
    );
    assert_eq!(server.waiting(), 1);
    assert!(
        TcpStream::connect(server.address).await.is_err(),
        "nobody listens any more"
    );
}

#[tokio::test]
async fn many_clients_at_once_lose_and_double_nothing() {
    const CLIENTS: usize = 20;
    const EACH: usize = 10;
    let server = Server::start().await;
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let mut talk = server.talk().await;
        clients.spawn(async move {
            for number in 0..EACH {
                talk.until_data().await;
                talk.say(format!("Subject: {client}-{number}\r\n\r\n.\r\n"))
                    .await;
                assert_eq!(talk.code().await, "250");
            }
        });
    }
    while let Some(client) = clients.join_next().await {
        client.expect("every client is served");
    }
    let mut subjects = std::collections::BTreeSet::new();
    for claim in server.stored().await {
        subjects.insert(server.text(&claim).await.1);
    }
    assert_eq!(
        (subjects.len(), server.waiting()),
        (CLIENTS * EACH, (CLIENTS * EACH) as u64)
    );
}

#[tokio::test]
async fn a_unix_socket_serves_and_a_stale_one_is_replaced() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("submission.sock");
    let listen_on = Listen::Unix(path.clone());
    let file = SocketFile {
        mode: 0o620,
        group: Some(rustix::process::getegid().as_raw()),
    };
    drop(Listener::bind(&listen_on, file).await.expect("a socket"));
    let listener = Listener::bind(&listen_on, file)
        .await
        .expect("the stale socket is replaced");
    let mode = std::fs::metadata(&path).expect("a file").permissions();
    assert_eq!(
        std::os::unix::fs::PermissionsExt::mode(&mode) & 0o777,
        0o620
    );
    let in_use = Listener::bind(&listen_on, file)
        .await
        .expect_err("the live socket is not");
    assert_eq!(in_use.kind(), io::ErrorKind::AddrInUse);
    let precious = folder.path().join("letter");
    std::fs::write(&precious, "dear").expect("a file");
    let other = Listen::Unix(precious.clone());
    let kept = Listener::bind(&other, file).await.expect_err("a letter");
    assert_eq!(kept.kind(), io::ErrorKind::AlreadyExists);
    std::fs::remove_file(precious).expect("the letter is still there");

    let spool = Spool::open(folder.path()).expect("a spool");
    let shutdown = CancellationToken::new();
    let rules = Submission {
        listen: listen_on,
        ..rules("127.0.0.1:0")
    };
    let entrance = Entrance::new(listener, rules).expect("no certificate is needed");
    let serving = listen(entrance, post(&folder, spool.clone()), shutdown.clone());
    let talking = async {
        let mut talk = Talk::over(UnixStream::connect(&path).await.expect("a connection"));
        assert_eq!(talk.code().await, "220");
        assert!(talk.ask("EHLO local").await.starts_with("250"));
        talk.until_data().await;
        talk.say(format!("{MESSAGE}.\r\n")).await;
        assert_eq!(talk.code().await, "250");
        drop(talk);
        shutdown.cancel();
    };
    tokio::join!(serving, talking);
    assert_eq!(
        spool
            .counts(Direction::Out, "support")
            .expect("counts")
            .waiting,
        1
    );
}
