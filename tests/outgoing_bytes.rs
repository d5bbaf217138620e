//! What leaves is what was stored, in chunks and behind DATA, and no bytes of a message end it early at the server.

use crate::harness::dovecot::Dovecot;
use crate::harness::postern::Setup;
use crate::harness::postfix::Postfix;
use crate::harness::rig::{Rig, open_to_all};
use crate::harness::submit::{Sent, Submitter};
use crate::harness::{eventually, free_port, port_open, sha256};
use crate::real_relay::{arrived, as_stored, marked, relay_yaml};
use spool::{Headline, Outgoing, Spool};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);

/// The ends of a message that were published as smuggling in 2023 and 2024: taken for one by some server, and for text by another.
const FALSE_ENDS: [&[u8]; 15] = [
    b"\n.\n",
    b"\n.\r\n",
    b"\r\n.\n",
    b"\r.\r",
    b"\r\n.\r",
    b"\r.\r\n",
    b"\n.\r",
    b"\r.\n",
    b"\r\r\n.\r\r\n",
    b"\n\n.\n\n",
    b"\r\n\0.\r\n",
    b"\r\n.\0\r\n",
    b"\0\r\n.\r\n\0",
    b"\r\n.\r\r\n",
    b"\r\n.\r\n",
];

/// What an attacker wants to be read as commands.
const SMUGGLED: &[u8] = b"MAIL FROM:<evil@x.test>\r\nRCPT TO:<evil@y.test>\r\nDATA\r\nSubject: smuggled\r\n\r\nevil\r\n.\r\nQUIT\r\n";

fn with_relay(rig: &Rig, relay: &str) -> Setup {
    let accounts = format!(
        "token_configs:\n{}relays:\n{relay}",
        rig.token_config_yaml("out")
    );
    let setup = Setup::new(rig, &accounts);
    setup.ok(&["token", "seed", "out"], &rig.provider.consent("out"));
    setup
}

#[test]
fn large_and_odd_messages_leave_in_chunks_and_arrive_byte_for_byte() {
    let rig = Rig::new(Duration::from_secs(3600));
    let dovecot = Dovecot::start(&rig);
    let verbose = "debug_peer_list = 127.0.0.1\ndebug_peer_level = 1\n";
    let postfix = Postfix::start_with(&rig, &dovecot, verbose);
    let more =
        "    tls: starttls\n    auth: {token: out}\n    senders: ['*']\n    connections: 1\n";
    let setup = with_relay(&rig, &relay_yaml(&rig, "out", postfix.submission, more));
    let daemon = setup.start();
    let mut session = Submitter::connect(setup.submission).unwrap();
    let mut expected = BTreeMap::new();
    let dots = b".\r\n..\r\n.dot\r\n\r\n.\r\n";
    for (n, size) in [10, 100, 1000, 64_000, 65_000, 66_000, 200_000, 3_000_000]
        .into_iter()
        .enumerate()
    {
        let lines: Vec<u8> = dots
            .iter()
            .copied()
            .cycle()
            .take(size / dots.len() * dots.len())
            .collect();
        let message = marked(n, &[b"Subject: chunks\r\n\r\n", &lines[..]].concat());
        assert_eq!(
            session.send("desk@help.example", &["r@y.test"], &message),
            Sent::Accepted
        );
        *expected
            .entry(("r".to_owned(), sha256(&as_stored(&message))))
            .or_insert(0) += 1;
    }
    eventually("all arrived", SOON, || {
        arrived(&postfix).values().sum::<usize>() >= expected.len()
    });
    assert_eq!(arrived(&postfix), expected);
    assert!(daemon.stop().success());
    let log = std::fs::read_to_string(rig.path().join("postfix.log")).unwrap();
    assert!(
        log.contains(": BDAT 16\n") && log.contains(" LAST\n"),
        "no chunks in Postfix's log"
    );
    assert!(!log.contains(": DATA\n"), "DATA was used");
}

/// Puts a message for each false end into the spool as no listener would, before a daemon runs.
fn spool_smugglers(setup: &Setup) -> Vec<Vec<u8>> {
    std::fs::create_dir_all(setup.state_dir()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let spool = Spool::open(&setup.state_dir()).unwrap();
        let mut messages = Vec::new();
        for (n, end) in FALSE_ENDS.into_iter().enumerate() {
            let text = [b"Subject: before\r\n\r\nbefore", end, SMUGGLED].concat();
            let message = marked(n, &text);
            let mut writer = spool.body();
            writer.write(&message).await.unwrap();
            let outgoing = Outgoing {
                sender: "desk@help.example".to_owned(),
                relay: "out".to_owned(),
                recipients: vec!["r@y.test".into()],
                smtputf8: false,
                eight_bit: false,
                ret: None,
                envid: None,
                automatic: false,
                conversation: None,
                headline: Headline::default(),
                body: writer.finish(true).await.unwrap(),
            };
            spool.take_out(outgoing).await.unwrap();
            messages.push(message);
        }
        spool.close().await;
        messages
    })
}

/// With CRLF made LF, and every bare CR as well: the only thing that may change.
fn mended(message: &[u8]) -> Vec<u8> {
    let stored = as_stored(message);
    stored
        .into_iter()
        .map(|b| if b == b'\r' { b'\n' } else { b })
        .collect()
}

#[test]
fn no_published_smuggling_form_ends_a_message_early_at_postfix_in_chunks_or_behind_data() {
    let rig = Rig::new(Duration::from_secs(3600));
    let dovecot = Dovecot::start(&rig);
    let postfix = Postfix::start(&rig, &dovecot);
    let ways = [
        ("starttls", postfix.submission),
        ("implicit", postfix.submissions),
    ];
    for (round, (tls, port)) in ways.into_iter().enumerate() {
        let more = format!("    tls: {tls}\n    auth: {{token: out}}\n    senders: ['*']\n");
        let setup = with_relay(&rig, &relay_yaml(&rig, "out", port, &more));
        let messages = spool_smugglers(&setup);
        let daemon = setup.start();
        let all = (round + 1) * messages.len();
        eventually("all arrived", SOON, || {
            arrived(&postfix).values().sum::<usize>() >= all
        });
        eventually("the queue is empty", SOON, || {
            setup.ok(&["queue", "list", "--json"], "").trim() == "[]"
        });
        assert!(daemon.stop().success());
        let mut expected = BTreeMap::new();
        for message in &messages {
            *expected
                .entry(("r".to_owned(), sha256(&mended(message))))
                .or_insert(0) += round + 1;
        }
        assert_eq!(arrived(&postfix), expected, "{tls}");
    }
}

/// Postfix's test server, which writes each message into a file, and what stands before it: the sink says 250 to AUTH, and
/// RFC 4954 says 235.
struct Sink {
    child: Child,
    port: u16,
    dir: PathBuf,
}

impl Sink {
    fn start(dir: &Path) -> Self {
        let dir = dir.join("sink");
        std::fs::create_dir(&dir).unwrap();
        open_to_all(&dir);
        std::os::unix::fs::chown(&dir, Some(65_534), Some(65_534)).unwrap();
        let behind = free_port();
        let child = Command::new("/usr/sbin/smtp-sink")
            .args(["-u", "nobody", "-R"])
            .arg(&dir)
            .args(["-d", "m.", &format!("127.0.0.1:{behind}"), "100"])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        eventually("smtp-sink listens", SOON, || port_open(behind));
        let front = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = front.local_addr().unwrap().port();
        // It ends with the test's process.
        std::thread::spawn(move || {
            for client in front.incoming().flatten() {
                std::thread::spawn(move || sign_in_for(client, behind));
            }
        });
        Self { child, port, dir }
    }

    /// Each message below what the sink puts before it.
    fn messages(&self) -> Vec<Vec<u8>> {
        let files = std::fs::read_dir(&self.dir).unwrap().flatten();
        let texts = files.map(|file| std::fs::read(file.path()).unwrap());
        texts
            .filter(|text| text.windows(6).any(|w| w == b"evil\n\n" || w == b"evil\n."))
            .collect()
    }
}

/// Greets and signs in a client by itself, and then lets client and server speak.
fn sign_in_for(client: TcpStream, server: u16) {
    let mut client = BufReader::new(client);
    client.get_ref().write_all(b"220 front\r\n").unwrap();
    loop {
        let mut line = String::new();
        if client.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        let auth = line.starts_with("AUTH");
        let reply = if auth {
            "235 in\r\n"
        } else {
            "250-front\r\n250-PIPELINING\r\n250 AUTH PLAIN\r\n"
        };
        client.get_ref().write_all(reply.as_bytes()).unwrap();
        if auth {
            break;
        }
    }
    let mut server = BufReader::new(TcpStream::connect(("127.0.0.1", server)).unwrap());
    server.get_ref().write_all(b"EHLO front\r\n").unwrap();
    let mut line = String::new();
    while !line.starts_with("250 ") {
        line.clear();
        server.read_line(&mut line).unwrap();
    }
    let (mut up, mut down) = (
        server.get_ref().try_clone().unwrap(),
        client.get_ref().try_clone().unwrap(),
    );
    let back = std::thread::spawn(move || std::io::copy(&mut server, &mut down));
    let _closed = std::io::copy(&mut client, &mut up);
    let _gone = up.shutdown(std::net::Shutdown::Write);
    let _ended = back.join();
}

impl Drop for Sink {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

#[test]
fn no_published_smuggling_form_ends_a_message_early_at_smtp_sink() {
    let rig = Rig::new(Duration::from_secs(3600));
    let sink = Sink::start(rig.path());
    let relay = format!(
        "  - {{name: out, host: 127.0.0.1, port: {}, tls: none, user: out, auth: {{password: x}}, senders: ['*']}}\n",
        sink.port
    );
    let setup = with_relay(&rig, &relay);
    let messages = spool_smugglers(&setup);
    let daemon = setup.start();
    eventually("all have left", SOON, || {
        setup.ok(&["queue", "list", "--json"], "").trim() == "[]"
    });
    assert!(daemon.stop().success());
    assert_eq!(
        sink.messages().len(),
        messages.len(),
        "more or fewer messages than were sent"
    );
}
