//! Each way from a mailbox to whatever takes its messages: real servers, exact bytes, and `kill -9` in between.

use crate::harness::dovecot::Dovecot;
use crate::harness::postern::Setup;
use crate::harness::rig::{Rig, open_to_all};
use crate::harness::{corpus, eventually, free_port, port_open, sha256};
use crate::real_imap::{filing_command, hashes_of, mailbox_yaml};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);

/// A gateway of one mailbox at the pretend provider, delivering as `deliver` says.
fn setup(rig: &Rig, deliver: &str) -> Setup {
    let imap = rig.provider.imap().port();
    let accounts = format!(
        "token_configs:\n{}mailboxes:\n  - name: desk\n    protocol: imap\n    host: 127.0.0.1\n    port: {imap}\n    tls: none\n    \
         user: desk\n    auth: {{token: desk}}\n    deliver: {deliver}\n    after: delete\n",
        rig.token_config_yaml("desk"),
    );
    // A kill may fall into a refresh; a provider without theft detection keeps the old token good.
    rig.provider.set_knobs(|knobs| knobs.punish_reuse = false);
    let setup = Setup::new(rig, &accounts);
    setup.ok(&["token", "seed", "desk"], &rig.provider.consent("desk"));
    setup
}

/// Puts messages of all kinds into the mailbox; how often each is there.
fn fill(rig: &Rig, seed: u64, count: usize) -> BTreeMap<String, usize> {
    let mut expected = BTreeMap::new();
    for sample in corpus::corpus(seed, count) {
        *expected.entry(sha256(&sample.served)).or_insert(0) += 1;
        rig.provider.put_mail("desk", sample.served);
    }
    expected
}

fn until_empty(rig: &Rig) {
    eventually("the mailbox is empty", SOON, || {
        rig.provider.folder("desk", "INBOX").is_empty()
    });
}

/// The first message of the queue, as `queue list` shows it.
fn queued(setup: &Setup) -> Option<serde_json::Value> {
    let list = setup.ok(&["queue", "list", "--json"], "");
    let rows: Vec<serde_json::Value> = serde_json::from_str(&list).unwrap();
    rows.into_iter().next()
}

/// As both ends of LMTP see a text: lines. What Dovecot stores ends in LF alone.
fn lines(text: &[u8]) -> String {
    String::from_utf8_lossy(text).replace("\r\n", "\n")
}

#[test]
fn lmtp_into_a_real_dovecot_reaches_every_recipient_once() {
    let rig = Rig::new(Duration::from_secs(3600));
    let dovecot = Dovecot::start(&rig);
    let setup = setup(
        &rig,
        &format!(
            "{{lmtp: {}, to: [one@desk.test, two@desk.test], concurrency: 2}}",
            dovecot.lmtp_socket().display()
        ),
    );
    assert!(setup.ok(&["check"], "").contains("PIPELINING"));
    let mut sent: Vec<String> = Vec::new();
    for n in 0..30 {
        let body = match n {
            0 => ".\r\n..\r\n.dot at the start\r\n".to_owned(),
            1 => "line of a large message\r\n".repeat(60_000),
            _ => format!("caf\u{e9} {n}\r\n"),
        };
        let message =
            format!("Return-Path: <customer{n}@example.com>\r\nSubject: m{n}\r\n\r\n{body}");
        sent.push(lines(message.as_bytes()));
        rig.provider.put_mail("desk", message.into_bytes());
    }
    let daemon = setup.start();
    until_empty(&rig);
    assert!(daemon.stop().success());
    for user in ["one", "two"] {
        let stored: Vec<String> = dovecot.messages(user).iter().map(|m| lines(m)).collect();
        assert_eq!(stored.len(), sent.len(), "{user}");
        for (n, message) in sent.iter().enumerate() {
            let (_, text) = message.split_once('\n').unwrap();
            let found = stored.iter().filter(|stored| stored.ends_with(text));
            let found: Vec<&String> = found.collect();
            assert_eq!(found.len(), 1, "message {n} of {user}");
            let sender = format!("Return-Path: <customer{n}@example.com>\n");
            assert!(found[0].starts_with(&sender), "{}", &found[0][..200]);
        }
    }
}

/// The receiver from `examples/`, in a folder of its own.
struct Receiver {
    child: Child,
    port: u16,
    folder: PathBuf,
    secret: PathBuf,
}

impl Receiver {
    fn start(rig: &Rig) -> Self {
        let folder = rig.path().join("received");
        std::fs::create_dir_all(&folder).unwrap();
        let secret = rig.path().join("hmac.secret");
        std::fs::write(&secret, "a shared secret\n").unwrap();
        let port = free_port();
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/http-receiver");
        let child = Command::new("python3")
            .arg(example)
            .args(["127.0.0.1", &port.to_string()])
            .args([&secret, &folder])
            .stdin(Stdio::null())
            .spawn()
            .expect("python3 is there: tests/run installs it");
        eventually("the receiver listens", SOON, || port_open(port));
        Self {
            child,
            port,
            folder,
            secret,
        }
    }

    fn deliver(&self, secret: &str) -> String {
        format!(
            "{{http: {{url: 'http://127.0.0.1:{}/inbound', secret: {secret}}}, concurrency: 3}}",
            self.port
        )
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

#[test]
fn an_http_receiver_gets_the_exact_bytes_and_can_tell_whose_they_are() {
    let rig = Rig::new(Duration::from_secs(3600));
    let receiver = Receiver::start(&rig);
    let secret = format!("{{file: '{}'}}", receiver.secret.display());
    let setup = setup(&rig, &receiver.deliver(&secret));
    assert!(setup.ok(&["check"], "").contains("nothing was posted"));
    let expected = fill(&rig, 11, 60);
    let daemon = setup.start();
    until_empty(&rig);
    assert!(daemon.stop().success());
    assert_eq!(hashes_of(&receiver.folder), expected);
}

#[test]
fn a_wrong_secret_holds_nothing_back_for_good_and_the_answer_is_shown() {
    let rig = Rig::new(Duration::from_secs(3600));
    let receiver = Receiver::start(&rig);
    let setup = setup(&rig, &receiver.deliver("not the shared one"));
    fill(&rig, 12, 1);
    let daemon = setup.start();
    let mut row = serde_json::Value::Null;
    eventually("the answer is noted", SOON, || {
        row = queued(&setup).unwrap_or_default();
        row["why"].as_str().is_some_and(|why| why.contains("403"))
    });
    assert_eq!(row["state"], "due", "{row}");
    let shown = setup.ok(&["queue", "show", &row["id"].to_string()], "");
    assert!(shown.contains("| the signature is not ours"), "{shown}");
    assert!(!shown.contains("not the shared one"), "{shown}");
    assert!(daemon.stop().success());
    assert_eq!(hashes_of(&receiver.folder).len(), 0);
    assert_eq!(rig.provider.folder("desk", "INBOX").len(), 1);
}

#[test]
fn a_message_of_60_mb_passes_each_way_and_memory_stays_small() {
    let rig = Rig::new(Duration::from_secs(3600));
    let dovecot = Dovecot::start(&rig);
    let receiver = Receiver::start(&rig);
    let maildir = rig.path().join("tickets");
    let mut message = b"Subject: large\r\n\r\n".to_vec();
    message
        .extend(b"....a line that begins with dots, seventy-two characters\r\n".repeat(1_040_000));
    let secret = format!("{{file: '{}'}}", receiver.secret.display());
    let ways = [
        ("maildir", format!("{{maildir: {}}}", maildir.display())),
        ("http", receiver.deliver(&secret)),
        (
            "lmtp",
            format!(
                "{{lmtp: {}, to: copy@desk.test}}",
                dovecot.lmtp_socket().display()
            ),
        ),
    ];
    let mut accounts = "mailboxes:\n".to_owned();
    for (user, deliver) in &ways {
        dovecot.put(user, &message);
        let more =
            format!("    auth: {{password: pass}}\n    tls: implicit\n    deliver: {deliver}\n");
        accounts += &mailbox_yaml(&rig, user, dovecot.imaps, &more);
    }
    let setup = Setup::new(&rig, &accounts);
    let daemon = setup.start();
    for (user, _) in &ways {
        eventually("it is through", Duration::from_secs(240), || {
            dovecot.count(user, None) == 0
        });
    }
    let peak = daemon.peak_kib();
    assert!(daemon.stop().success());
    let expected: BTreeMap<String, usize> = [(sha256(&message), 1)].into();
    assert_eq!(hashes_of(&maildir.join("new")), expected);
    assert_eq!(hashes_of(&receiver.folder), expected);
    let copies = dovecot.messages("copy");
    assert_eq!(copies.len(), 1);
    assert!(lines(&copies[0]).ends_with(&lines(&message)));
    println!("peak memory of the daemon: {peak} KiB");
    assert!(peak < 60 * 1000, "peak memory of the daemon was {peak} KiB");
}

/// Reads one request; its delivery id and body. The connection is kept open, and unanswered.
fn request(listener: &TcpListener) -> (String, Vec<u8>, TcpStream) {
    let (stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let (mut id, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        assert_ne!(
            reader.read_line(&mut line).unwrap(),
            0,
            "the request ends early"
        );
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            if line == "\r\n" {
                break;
            }
            continue;
        };
        match name.to_ascii_lowercase().as_str() {
            "x-postern-delivery-id" => id = value.to_owned(),
            "content-length" => length = value.parse().unwrap(),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    (id, body, stream)
}

#[test]
fn killed_before_an_endpoints_answer_a_message_is_posted_again_under_the_same_delivery_id() {
    let rig = Rig::new(Duration::from_secs(3600));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let setup = setup(
        &rig,
        &format!("{{http: {{url: 'http://localhost:{port}/', secret: s}}}}"),
    );
    let message = b"Subject: in the window\r\n\r\nbody\r\n".to_vec();
    rig.provider.put_mail("desk", message.clone());
    let daemon = setup.start();
    let (first, body, _unanswered) = request(&listener);
    assert_eq!(body, message);
    daemon.kill9();
    assert_eq!(rig.provider.folder("desk", "INBOX").len(), 1);

    let daemon = setup.start();
    let (second, body, mut answered) = request(&listener);
    assert_eq!((second, body), (first, message));
    answered
        .write_all(b"HTTP/1.1 204 No Content\r\n\r\n")
        .unwrap();
    until_empty(&rig);
    assert!(daemon.stop().success());
}

/// Deliveries of a killed daemon that were claimed, and how many of those were in the maildir already.
fn in_the_window(setup: &Setup, maildir: &Path) -> usize {
    let db = rusqlite::Connection::open(setup.state_dir().join("spool.db")).unwrap();
    let mut statement = db
        .prepare("SELECT message FROM delivery WHERE state = 'claimed'")
        .unwrap();
    let claimed = statement.query_map((), |row| row.get::<_, i64>(0)).unwrap();
    let claimed: Vec<String> = claimed.map(|id| format!("{:010}.", id.unwrap())).collect();
    let filed: Vec<String> = std::fs::read_dir(maildir.join("new"))
        .map(|entries| {
            let names = entries.map(|e| e.unwrap().file_name().to_string_lossy().into_owned());
            names.collect()
        })
        .unwrap_or_default();
    let is_filed = |claim: &&String| filed.iter().any(|name| name.starts_with(*claim));
    claimed.iter().filter(is_filed).count()
}

#[test]
fn a_maildir_gets_every_message_once_however_often_the_daemon_is_killed() {
    let rig = Rig::new(Duration::from_secs(3600));
    let maildir = rig.path().join("tickets");
    let setup = setup(&rig, &format!("{{maildir: {}}}", maildir.display()));
    assert!(
        setup
            .ok(&["check"], "")
            .contains("made with the first message")
    );
    assert!(!maildir.exists(), "a check makes nothing");
    let mut rng = fastrand::Rng::with_seed(21);
    let mut expected = BTreeMap::new();
    let mut doubles_spared = 0;
    for life in 0..8 {
        for (hash, count) in fill(&rig, 100 + life, 60) {
            *expected.entry(hash).or_insert(0) += count;
        }
        let daemon = setup.start();
        let filed = || std::fs::read_dir(maildir.join("new")).map_or(0, Iterator::count);
        let before = filed();
        let more = rng.usize(1..40);
        eventually("some messages are filed", SOON, || filed() >= before + more);
        daemon.kill9();
        doubles_spared += in_the_window(&setup, &maildir);
    }
    let daemon = setup.start();
    until_empty(&rig);
    assert!(daemon.stop().success());
    assert_eq!(hashes_of(&maildir.join("new")), expected);
    assert_eq!(hashes_of(&maildir.join("tmp")), BTreeMap::new());
    assert!(doubles_spared > 0, "no kill fell into the window");
    println!("{doubles_spared} messages were filed and not yet noted when the daemon was killed");
}

#[test]
fn several_commands_at_a_time_deliver_each_message_once_also_across_restarts() {
    let rig = Rig::new(Duration::from_secs(3600));
    let (script, filed) = filing_command(rig.path());
    let directory = rig.path().join("here");
    std::fs::create_dir(&directory).unwrap();
    open_to_all(&directory);
    let deliver = format!(
        "{{command: ['{}', '{}'], directory: '{}', preset: znuny, concurrency: 6}}",
        script.display(),
        filed.display(),
        directory.display()
    );
    let setup = setup(&rig, &deliver);
    assert!(setup.ok(&["check"], "").contains("working directory"));
    let expected = fill(&rig, 31, 200);
    let count = || std::fs::read_dir(&filed).unwrap().count();
    for part in [40, 90, 150] {
        let daemon = setup.start();
        eventually("a part is delivered", SOON, || count() >= part);
        assert!(daemon.stop().success());
    }
    let daemon = setup.start();
    until_empty(&rig);
    assert!(daemon.stop().success());
    assert_eq!(hashes_of(&filed), expected);
}
