//! Round trips: what a session sends before it waits, counted on a line that takes 50 ms; and a server that takes nothing ahead.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use token_store::accounts::After;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

use crate::fake::Fake;
use crate::gateway::{FILE, Gateway, local, mail, until};

/// Each way.
const WAY: Duration = Duration::from_millis(25);
const OFFERS: &str = "IDLE UIDPLUS MOVE AUTH=PLAIN SASL-IR ENABLE UTF8=ACCEPT ID";

/// A slow line to a server.
struct Line {
    port: u16,
    log: Arc<Mutex<Log>>,
}

#[derive(Default)]
struct Log {
    /// What the client said between two answers: the commands' names, without tags.
    turns: Vec<Vec<String>>,
    answered: bool,
    /// Connections that were cut because something came ahead.
    cut: usize,
}

impl Log {
    fn said(&mut self, bytes: &[u8]) {
        if std::mem::take(&mut self.answered) || self.turns.is_empty() {
            self.turns.push(Vec::new());
        }
        let text = String::from_utf8_lossy(bytes);
        let names = text.lines().map(name);
        self.turns.last_mut().unwrap().extend(names);
    }
}

/// `UID FETCH` of `A7 UID FETCH 1:* (...)`; with a body `BODY`.
fn name(line: &str) -> String {
    let mut words = line.split(' ');
    let first = words.next().unwrap_or_default();
    match (words.next(), words.next()) {
        (None, _) => first.to_owned(),
        (Some("UID"), Some(_)) if line.contains("BODY") => "BODY".to_owned(),
        (Some("UID"), Some(verb)) => format!("UID {verb}"),
        (Some(verb), _) => verb.to_owned(),
    }
}

impl Line {
    /// `strict`: whoever sends a command before the one before it is answered is cut off.
    async fn to(fake: &Fake, strict: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let log = Arc::new(Mutex::new(Log::default()));
        let (server, shared) = (fake.port, log.clone());
        tokio::task::spawn_local(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
                client.set_nodelay(true).unwrap();
                server.set_nodelay(true).unwrap();
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                let log = shared.clone();
                tokio::task::spawn_local(async move {
                    tokio::select! {
                        () = ask(from_client, to_server, &log, strict) => {}
                        () = answer(from_server, to_client, &log) => {}
                    }
                });
            }
        });
        Self { port, log }
    }

    fn turns(&self) -> Vec<String> {
        let log = self.log.lock().unwrap();
        log.turns.iter().map(|turn| turn.join(" + ")).collect()
    }

    fn forget(&self) {
        self.log.lock().unwrap().turns.clear();
    }
}

async fn ask(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, log: &Mutex<Log>, strict: bool) {
    let mut bytes = vec![0; 65_536];
    let mut first = true;
    while let Ok(n @ 1..) = from.read(&mut bytes).await {
        let mut ahead = bytes[..n].iter().filter(|b| **b == b'\n').count() > 1;
        {
            let mut log = log.lock().unwrap();
            ahead |= !log.answered && !std::mem::take(&mut first);
            log.said(&bytes[..n]);
            log.cut += usize::from(strict && ahead);
        }
        if strict && ahead {
            return;
        }
        tokio::time::sleep(WAY).await;
        if to.write_all(&bytes[..n]).await.is_err() {
            return;
        }
    }
}

async fn answer(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, log: &Mutex<Log>) {
    let mut bytes = vec![0; 65_536];
    while let Ok(n @ 1..) = from.read(&mut bytes).await {
        tokio::time::sleep(WAY).await;
        log.lock().unwrap().answered = true;
        if to.write_all(&bytes[..n]).await.is_err() {
            return;
        }
    }
}

#[test]
fn a_new_message_is_there_after_two_round_trips_and_acknowledged_in_one_more() {
    local(async {
        let (gateway, fake) = (Gateway::new(), Fake::start(OFFERS));
        let line = Line::to(&fake, false).await;
        let script = format!("while [ ! -e \"$0/../go\" ]; do sleep 0.02; done; {FILE}");
        let running = gateway.start(gateway.mailbox_at(line.port, After::Delete, &script));
        let idles = || line.turns().last().is_some_and(|turn| turn == "IDLE");
        until("it idles", idles).await;
        assert_eq!(
            line.turns()[1..],
            ["ENABLE + ID", "SELECT", "IDLE"],
            "signed in: {:?}",
            line.turns()
        );

        line.forget();
        let begun = Instant::now();
        fake.add(&mail(1, 3_000));
        until("it is taken in", || {
            !gateway.parts.spool.queue(None).unwrap().is_empty()
        })
        .await;
        println!("taken in {:?} after it came", begun.elapsed());
        until("it idles again", idles).await;
        assert_eq!(line.turns(), ["DONE + UID FETCH", "BODY", "IDLE"]);

        line.forget();
        std::fs::write(gateway.folder.path().join("go"), b"").unwrap();
        until("it is acknowledged", || fake.look("INBOX").is_empty()).await;
        until("it idles once more", idles).await;
        assert_eq!(line.turns(), ["DONE + UID STORE + UID EXPUNGE", "IDLE"]);
        running.stop().await;
        assert_eq!(gateway.delivered(), [mail(1, 3_000)]);
    });
}

#[test]
fn a_server_that_takes_nothing_ahead_is_asked_one_by_one() {
    local(async {
        let (gateway, fake) = (Gateway::new(), Fake::start(OFFERS));
        let line = Line::to(&fake, true).await;
        fake.add(&mail(1, 3_000));
        let running = gateway.start(gateway.mailbox_at(line.port, After::Delete, FILE));
        until("it is through", || fake.look("INBOX").is_empty()).await;
        fake.add(&mail(2, 3_000));
        until("the next one too", || fake.look("INBOX").is_empty()).await;
        assert_eq!(line.log.lock().unwrap().cut, 2, "it is learnt once");
        running.stop().await;
        assert_eq!(gateway.delivered().len(), 2);
    });
}
