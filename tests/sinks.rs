//! Odd servers as the relay: Postfix's smtp-sink without this extension or that, refusing, putting off and hanging up at every command.

use crate::clients::queue;
use crate::harness::postern::Setup;
use crate::harness::rig::Rig;
use crate::harness::submit::{Sent, Submitter};
use crate::harness::{eventually, free_port, port_open};
use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);

/// A server of Postfix's that misbehaves as its options say, and keeps what it is given in a file.
struct Sink {
    port: u16,
    dump: PathBuf,
    child: Child,
}

/// smtp-sink answers AUTH with 250, which is no sign-in (RFC 4954 section 6); the door before it says 235, and then nothing more.
struct Door {
    port: u16,
    ended: Arc<AtomicBool>,
    acceptor: Option<std::thread::JoinHandle<()>>,
}

impl Door {
    fn before(sink: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let ended = Arc::new(AtomicBool::new(false));
        let over = ended.clone();
        let acceptor = std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                if let Ok(server) = TcpStream::connect(("127.0.0.1", sink)) {
                    pass(client, server);
                }
            }
        });
        Self {
            port,
            ended,
            acceptor: Some(acceptor),
        }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        // Wakes the acceptor out of its wait.
        let _woken = TcpStream::connect(("127.0.0.1", self.port));
        if let Some(acceptor) = self.acceptor.take() {
            let _joined = acceptor.join();
        }
    }
}

/// Both directions of a connection, each in a thread that ends with it.
fn pass(client: TcpStream, server: TcpStream) {
    let (mut to_client, mut from_server) =
        (client.try_clone().unwrap(), server.try_clone().unwrap());
    std::thread::spawn(move || {
        let _over = std::io::copy(&mut from_server, &mut to_client);
        to_client.shutdown(Shutdown::Both)
    });
    std::thread::spawn(move || until_signed_in(client, server));
}

fn until_signed_in(client: TcpStream, mut server: TcpStream) -> std::io::Result<()> {
    let mut answers = client.try_clone()?;
    let mut lines = BufReader::new(client);
    loop {
        let mut line = String::new();
        if lines.read_line(&mut line)? == 0 {
            return server.shutdown(Shutdown::Both);
        }
        if line.starts_with("AUTH") {
            answers.write_all(b"235 2.7.0 come in\r\n")?;
            break;
        }
        server.write_all(line.as_bytes())?;
    }
    std::io::copy(&mut lines, &mut server)?;
    server.shutdown(Shutdown::Both)
}

impl Sink {
    fn start(dir: &Path, options: &[&str]) -> Self {
        Self::start_at(dir, free_port(), "sunk", options)
    }

    fn start_at(dir: &Path, port: u16, name: &str, options: &[&str]) -> Self {
        let dump = dir.join(name);
        let child = Command::new("/usr/sbin/smtp-sink")
            .args(["-u", "postfix", "-D", name])
            .args(options)
            .args([&format!("127.0.0.1:{port}"), "100"])
            .current_dir(dir)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let sink = Self { port, dump, child };
        eventually("smtp-sink listens", SOON, || port_open(port));
        sink
    }

    /// What it was given so far, all of it.
    fn sunk(&self) -> String {
        std::fs::read(&self.dump)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        let _killed = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// A relay at a sink, with a password, since smtp-sink takes any.
fn with_sink(rig: &Rig, door: &Door) -> Setup {
    let port = door.port;
    let accounts = format!(
        "relays:\n  - {{name: desk, host: 127.0.0.1, port: {port}, tls: none, user: desk, auth: {{password: x}}, sasl: plain, senders: ['@help.example']}}\n"
    );
    Setup::new(rig, &accounts)
}

/// A folder that the sink, which is not root, may write into.
fn rig() -> Rig {
    use std::os::unix::fs::PermissionsExt;
    let rig = Rig::new(Duration::from_secs(3600));
    std::fs::set_permissions(rig.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    rig
}

const EIGHT_BIT: &[u8] =
    "Subject: sunk\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nGr\u{fc}\u{df}e\r\n.\r\nend\r\n"
        .as_bytes();

fn submit(setup: &Setup, text: &[u8]) {
    let mut session = Submitter::connect(setup.submission).unwrap();
    let sent = session.send("desk@help.example", &["a@y.test"], text);
    assert_eq!(sent, Sent::Accepted);
}

#[test]
fn a_server_without_pipelining_codes_sizes_or_wishes_gets_the_message_all_the_same() {
    for options in [
        &["-p"][..],
        &["-E"],
        &["-N"],
        &["-p", "-E", "-N"],
        &["-w", "1"],
    ] {
        let rig = rig();
        let sink = Sink::start(rig.path(), options);
        let door = Door::before(sink.port);
        let setup = with_sink(&rig, &door);
        let daemon = setup.start();
        submit(&setup, EIGHT_BIT);
        eventually("it has left", SOON, || queue(&setup).is_empty());
        assert!(daemon.stop().success());
        let sunk = sink.sunk();
        assert!(
            sunk.contains("\nGr\u{fc}\u{df}e\n.\nend\n"),
            "{options:?}: {sunk}"
        );
    }
}

#[test]
fn a_server_without_8bitmime_gets_ascii_and_what_it_cannot_take_is_held_with_the_reason() {
    let rig = rig();
    let sink = Sink::start(rig.path(), &["-8"]);
    let door = Door::before(sink.port);
    let setup = with_sink(&rig, &door);
    let daemon = setup.start();
    submit(&setup, b"Subject: ascii\r\n\r\nonly\r\n");
    eventually("the one of ASCII has left", SOON, || {
        sink.sunk().contains("\nonly\n") && queue(&setup).is_empty()
    });
    submit(&setup, EIGHT_BIT);
    let mut why = String::new();
    eventually("the other is held", SOON, || {
        let queue = queue(&setup);
        why = queue
            .first()
            .map_or(String::new(), |row| row["why"].to_string());
        queue.first().is_some_and(|row| row["state"] == "held")
    });
    assert!(why.contains("8BITMIME"), "{why}");
    assert!(
        !sink.sunk().contains("Gr\u{fc}"),
        "it was sent all the same"
    );
    assert!(daemon.stop().success());
}

#[test]
fn what_a_server_refuses_for_good_is_held_and_what_it_puts_off_or_drops_leaves_when_it_is_well() {
    for (options, state) in [
        (&["-f", "RCPT"][..], "held"),
        (&["-f", "."], "held"),
        (&["-f", "MAIL", "-B", "550 5.7.1 not you"], "held"),
        (&["-r", "MAIL"], "due"),
        (&["-r", "RCPT"], "due"),
        (&["-r", "DATA"], "due"),
        (&["-r", "."], "due"),
        (&["-q", "DATA"], "due"),
        (&["-q", "RCPT"], "due"),
        (&["-q", "EHLO"], "due"),
        (&["-Q", "MAIL"], "due"),
        (&["-Q", "CONNECT"], "due"),
    ] {
        let rig = rig();
        let sink = Sink::start(rig.path(), options);
        let door = Door::before(sink.port);
        let setup = with_sink(&rig, &door);
        let daemon = setup.start();
        submit(&setup, EIGHT_BIT);
        let mut found = Vec::new();
        let log = rig.path().join("postern.log");
        eventually(&format!("{options:?} has done its work"), SOON, || {
            found = queue(&setup);
            // What says nothing of the message is said of the relay.
            let pauses =
                || std::fs::read_to_string(&log).is_ok_and(|log| log.contains("the relay pauses"));
            let row = found.first();
            row.is_some_and(|row| row["state"] == state && (row["why"] != "" || pauses()))
        });
        let id = found[0]["id"].to_string();
        // A server in the same place that is well.
        let port = sink.port;
        drop(sink);
        let sink = Sink::start_at(rig.path(), port, "well", &[]);
        setup.ok(&["queue", "retry", &id], "");
        eventually(&format!("{options:?}: it has left"), SOON, || {
            queue(&setup).is_empty()
        });
        assert!(daemon.stop().success());
        assert_eq!(
            sink.sunk().matches("Subject: sunk").count(),
            1,
            "{options:?}"
        );
    }
}
