//! Literals that announce gigabytes, in a process of its own whose memory is measured.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;

use token_store::accounts::{After, Condition, Mailbox};

use crate::fake::Fake;
use crate::gateway::{Gateway, local, until};

/// Tells the child which literal the server announces.
const LITERAL: &str = "ANNOUNCED_LITERAL";
/// This test's own name.
const SELF: &str = "literals::literals_of_gigabytes_are_refused_in_less_than_20_mb";

#[test]
fn literals_of_gigabytes_are_refused_in_less_than_20_mb() {
    if let Ok(literal) = std::env::var(LITERAL) {
        return refuse(&literal);
    }
    for literal in ["4294967295", "99999999999"] {
        let child = Command::new(std::env::current_exe().unwrap())
            .args([SELF, "--exact", "--nocapture"])
            .env(LITERAL, literal)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&child.stdout).into_owned()
            + &String::from_utf8_lossy(&child.stderr);
        assert!(
            child.status.success() && said.contains("1 passed"),
            "{said}"
        );
    }
}

/// The child: a mailbox whose only message is a lie, until that is shown; then its own peak memory.
fn refuse(literal: &str) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let announced = literal.to_owned();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            // A client that goes is what this server is there for.
            let _ = lie(&stream, &announced);
        }
    });
    local(async {
        let gateway = Gateway::new();
        let mailbox = Mailbox {
            port,
            ..gateway.mailbox(&Fake::start(""), After::Delete)
        };
        let running = gateway.start(mailbox);
        let says = format!("a literal of {literal} bytes");
        until("it is refused and shown", || {
            matches!(gateway.condition(), Some(Condition::Waiting { why, .. }) if why.contains(&says))
        })
        .await;
        running.stop().await;
        assert_eq!(gateway.parts.spool.queue(None).unwrap().len(), 0);
    });
    // The program's own pages, which lie in its file, are no memory that a server could make grow; a debug build has many.
    let kib = status("VmHWM:") - status("RssFile:");
    assert!(kib < 20_000, "peak memory was {kib} KiB");
}

/// A line of this process's status, in KiB.
fn status(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(name));
    line.unwrap()
        .split_whitespace()
        .nth(1)
        .unwrap()
        .parse()
        .unwrap()
}

fn lie(stream: &TcpStream, literal: &str) -> std::io::Result<()> {
    let mut out = stream;
    out.write_all(b"* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR UIDPLUS] hello\r\n")?;
    for line in BufReader::new(stream).lines() {
        let line = line?;
        let (tag, command) = line.split_once(' ').unwrap_or_default();
        if command.contains("BODY") {
            out.write_all(format!("* 1 FETCH (UID 1 BODY[] {{{literal}}}\r\n").as_bytes())?;
            // As much as the client takes of it.
            loop {
                out.write_all(&[b'x'; 65_536])?;
            }
        }
        let untagged = match command.split(' ').next() {
            Some("CAPABILITY") => "* CAPABILITY IMAP4rev1 UIDPLUS\r\n",
            Some("SELECT") => "* 1 EXISTS\r\n* OK [UIDVALIDITY 1] v\r\n* OK [UIDNEXT 2] n\r\n",
            Some("UID") => "* 1 FETCH (UID 1 FLAGS () RFC822.SIZE 500)\r\n",
            _ => "",
        };
        out.write_all(format!("{untagged}{tag} OK done\r\n").as_bytes())?;
    }
    Ok(())
}
