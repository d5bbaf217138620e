//! IMAP at its limits: the largest message, literals that lie, folders with awkward names on a real server.

use crate::harness::dovecot::Dovecot;
use crate::harness::postern::Setup;
use crate::harness::rig::Rig;
use crate::harness::{eventually, sha256};
use crate::real_imap::{filing_command, hashes_of, mailbox_yaml};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// `deliver`, with a password, over TLS.
fn by_password(script: &Path, filed: &Path, more: &str) -> String {
    format!(
        "    auth: {{password: pass}}\n    tls: implicit\n    deliver: {{command: ['{}', '{}']}}\n{more}",
        script.display(),
        filed.display()
    )
}

#[test]
fn a_message_of_150_mb_passes_byte_for_byte_and_memory_stays_small() {
    the_largest_message_passes_by("imap");
}

pub(crate) fn the_largest_message_passes_by(protocol: &str) {
    let rig = Rig::new(Duration::from_secs(3600));
    let dovecot = Dovecot::start(&rig);
    let (script, filed) = filing_command(rig.path());
    let mut message = b"Subject: the largest\r\nFrom: customer@example.org\r\n\r\n".to_vec();
    let mut rng = fastrand::Rng::with_seed(150);
    while message.len() < 150_000_000 {
        message.extend((0..76).map(|_| rng.u8(b' '..=b'~')));
        message.extend_from_slice(b"\r\n");
    }
    let expected = sha256(&message);
    dovecot.put("desk", &message);
    drop(message);
    let port = match protocol {
        "pop3" => dovecot.pop3s,
        _ => dovecot.imaps,
    };
    let mailbox = mailbox_yaml(&rig, "desk", port, &by_password(&script, &filed, ""))
        .replace("protocol: imap", &format!("protocol: {protocol}"));
    let setup = Setup::new(&rig, &format!("mailboxes:\n{mailbox}"));
    let daemon = setup.start();
    eventually("it is through", Duration::from_secs(240), || {
        dovecot.count("desk", None) == 0
    });
    let peak = daemon.peak_kib();
    assert!(daemon.stop().success());
    assert_eq!(hashes_of(&filed), [(expected, 1)].into());
    println!("peak memory of the daemon: {peak} KiB");
    assert!(peak < 60 * 1000, "peak memory of the daemon was {peak} KiB");
}

/// An IMAP server with one message, whose body is announced as so many bytes; None: it has no message. Counts the times that a body
/// was asked for, and the polls.
fn lying_server(literal: Option<&'static str>) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            // A client that goes is what this server is there for.
            let _gone = lie(&stream, literal, &count);
        }
    });
    (port, asked)
}

fn lie(stream: &TcpStream, literal: Option<&str>, asked: &AtomicUsize) -> std::io::Result<()> {
    let mut out = stream;
    out.write_all(b"* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR UIDPLUS] hello\r\n")?;
    for line in BufReader::new(stream).lines() {
        let line = line?;
        let (tag, command) = line.split_once(' ').unwrap_or_default();
        if command.contains("BODY") || command == "NOOP" {
            asked.fetch_add(1, Ordering::SeqCst);
        }
        if let Some(literal) = literal.filter(|_| command.contains("BODY")) {
            out.write_all(format!("* 1 FETCH (UID 1 BODY[] {{{literal}}}\r\n").as_bytes())?;
            // As much as the client takes of it.
            loop {
                out.write_all(&[b'x'; 65_536])?;
            }
        }
        let untagged = match (command.split(' ').next(), literal) {
            (Some("CAPABILITY"), _) => "* CAPABILITY IMAP4rev1 UIDPLUS\r\n",
            (Some("SELECT"), None) => {
                "* 0 EXISTS\r\n* OK [UIDVALIDITY 1] v\r\n* OK [UIDNEXT 1] n\r\n"
            }
            (Some("SELECT"), Some(_)) => {
                "* 1 EXISTS\r\n* OK [UIDVALIDITY 1] v\r\n* OK [UIDNEXT 2] n\r\n"
            }
            (Some("UID"), Some(_)) => "* 1 FETCH (UID 1 FLAGS () RFC822.SIZE 500)\r\n",
            _ => "",
        };
        out.write_all(format!("{untagged}{tag} OK done\r\n").as_bytes())?;
    }
    Ok(())
}

/// Peak memory in KiB of a daemon that fetched from a lying server twice, and what it logged.
fn peak_with(literal: Option<&'static str>) -> (u64, String) {
    let rig = Rig::new(Duration::from_secs(3600));
    let (port, asked) = lying_server(literal);
    let setup = Setup::new(
        &rig,
        &format!(
            "mailboxes:\n  - {{name: desk, host: 127.0.0.1, port: {port}, tls: none, user: desk, auth: {{password: p}}, watch: 1s, \
             deliver: {{command: [/bin/true]}}}}\n"
        ),
    );
    let daemon = setup.start();
    eventually("it looked twice", Duration::from_secs(60), || {
        asked.load(Ordering::SeqCst) >= 2
    });
    let peak = daemon.own_peak_kib();
    assert!(daemon.stop().success());
    assert_eq!(setup.ok(&["queue", "list", "--json"], "").trim(), "[]");
    let log = std::fs::read_to_string(rig.path().join("postern.log")).unwrap();
    (peak, log)
}

#[test]
fn a_literal_of_gigabytes_costs_the_daemon_no_memory() {
    let (honest, _) = peak_with(None);
    for literal in ["4294967295", "99999999999"] {
        let (peak, log) = peak_with(Some(literal));
        println!("peak memory of the daemon: {peak} KiB, without the lie {honest} KiB");
        assert!(
            log.contains(&format!("a literal of {literal} bytes")),
            "{log}"
        );
        // What a debug build weighs by itself differs from day to day; the lie must add nothing to it.
        assert!(
            peak < honest + 5_000,
            "{literal}: {peak} KiB, {honest} KiB without"
        );
    }
}

/// As an administrator writes them, and as Dovecot's Maildir has them on disk.
const FOLDERS: [(&str, &str); 5] = [
    ("INBOX", ""),
    ("Entwürfe & mehr", "Entw&APw-rfe &- mehr"),
    ("日本語", "&ZeVnLIqe-"),
    ("say \"hi\"", "say \"hi\""),
    ("100 % * of it", "100 % * of it"),
];

#[test]
fn several_folders_with_foreign_and_quoted_names_are_fetched_and_moved_to_on_dovecot() {
    let rig = Rig::new(Duration::from_secs(3600));
    let dovecot = Dovecot::start(&rig);
    let (script, filed) = filing_command(rig.path());
    let put_all = |round: usize| {
        for (n, (name, on_disk)) in FOLDERS.iter().enumerate() {
            let folder = Some(*on_disk).filter(|name| !name.is_empty());
            let message = format!("Subject: {round} {n} in {name}\r\n\r\nbody\r\n");
            dovecot.put_in("desk", folder, message.as_bytes());
        }
    };
    put_all(1);
    let names = FOLDERS.map(|(name, _)| format!("'{name}'")).join(", ");
    let more = format!(
        "    folders: [{names}]\n    poll: 1s\n    after: {{move: 'Erledigt \"für\" heute', create: true}}\n"
    );
    let setup = Setup::new(
        &rig,
        &format!(
            "mailboxes:\n{}",
            mailbox_yaml(
                &rig,
                "desk",
                dovecot.imaps,
                &by_password(&script, &filed, &more)
            )
        ),
    );
    let checked = setup.run(&["check"], "");
    let said = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(said.contains("the folder 日本語"), "{said}");
    let daemon = setup.start();
    let moved = || dovecot.count("desk", Some("Erledigt \"f&APw-r\" heute"));
    eventually("all are moved", Duration::from_secs(60), || moved() == 5);
    put_all(2);
    eventually(
        "and those that came later too",
        Duration::from_secs(60),
        || moved() == 10,
    );
    assert!(daemon.stop().success());
    assert_eq!(hashes_of(&filed).len(), 10);
    assert_eq!(hashes_of(&filed).values().max(), Some(&1));
}

#[test]
fn a_real_mailbox_whose_uidvalidity_changes_makes_no_second_ticket_and_loses_none() {
    let rig = Rig::new(Duration::from_secs(3600));
    let dovecot = Dovecot::start(&rig);
    let (script, filed) = filing_command(rig.path());
    let put = |user: &str, n: usize| {
        let message = format!("Subject: {n} for {user}\r\n\r\nbody {n}\r\n");
        dovecot.put(user, message.as_bytes());
    };
    let mut mailboxes = String::new();
    for (user, start_from) in [("all", "all"), ("now", "now")] {
        (0..5).for_each(|n| put(user, n));
        let more = format!("    start_from: {start_from}\n    after: keep\n");
        let deliver = by_password(&script, &filed, &more);
        mailboxes.push_str(&mailbox_yaml(&rig, user, dovecot.imaps, &deliver));
    }
    let setup = Setup::new(&rig, &format!("mailboxes:\n{mailboxes}"));
    let filed_count = || hashes_of(&filed).values().sum::<usize>();
    let waits = || {
        setup
            .ok(&["status"], "")
            .matches("waiting for new mail")
            .count()
            == 2
    };
    let daemon = setup.start();
    eventually("all of one are filed", Duration::from_secs(60), || {
        filed_count() == 5 && waits()
    });
    put("now", 5);
    eventually("new mail of the other too", Duration::from_secs(60), || {
        filed_count() == 6
    });
    assert!(daemon.stop().success());

    // The server loses its lists of UIDs, and makes new ones with another UIDVALIDITY, in another order.
    for user in ["all", "now"] {
        dovecot.forget_uids(user);
        put(user, 6);
    }
    let daemon = setup.start();
    eventually("only what is new is filed", Duration::from_secs(60), || {
        filed_count() == 8 && waits()
    });
    let log = std::fs::read_to_string(rig.path().join("postern.log")).unwrap();
    assert!(log.contains("UIDVALIDITY has changed"), "{log}");
    put("all", 7);
    eventually("and mail goes on", Duration::from_secs(60), || {
        filed_count() == 9
    });
    assert!(daemon.stop().success());
    assert_eq!(
        hashes_of(&filed).values().max(),
        Some(&1),
        "something was filed twice"
    );
}

/// Asks a real Dovecot in a session of its own, in which INBOX is selected; the value of its HIGHESTMODSEQ.
fn select_and(dovecot: &Dovecot, commands: &[&str]) -> u64 {
    let mut stream = TcpStream::connect(("127.0.0.1", dovecot.imap)).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let first = ["LOGIN desk pass", "SELECT INBOX (CONDSTORE)"];
    let mut modseq = None;
    for command in first.iter().chain(commands).chain(&["LOGOUT"]) {
        stream
            .write_all(format!("T {command}\r\n").as_bytes())
            .unwrap();
        loop {
            let mut line = String::new();
            assert_ne!(reader.read_line(&mut line).unwrap(), 0, "{command}");
            if let Some((_, rest)) = line.split_once("[HIGHESTMODSEQ ") {
                modseq = modseq.or(rest.split(']').next().unwrap().parse().ok());
            }
            if let Some(answer) = line.strip_prefix("T ") {
                assert!(answer.starts_with("OK"), "{command}: {answer}");
                break;
            }
        }
    }
    modseq.expect("Dovecot tells HIGHESTMODSEQ when it is asked")
}

/// What a session relies on when it does not list a folder again.
#[test]
fn dovecot_counts_every_change_of_a_folder_in_highestmodseq() {
    let rig = Rig::new(Duration::from_secs(3600));
    let dovecot = Dovecot::start(&rig);
    for n in 0..3 {
        dovecot.put("desk", format!("Subject: {n}\r\n\r\nbody\r\n").as_bytes());
    }
    let first = select_and(&dovecot, &["UID STORE 1:* +FLAGS (\\Deleted)"]);
    let second = select_and(&dovecot, &[]);
    assert!(second > first, "a flag was set: {first} {second}");
    assert_eq!(select_and(&dovecot, &["NOOP"]), second, "nothing happened");
    let third = select_and(&dovecot, &["UID STORE 2 -FLAGS (\\Deleted)"]);
    assert_eq!(third, second);
    let fourth = select_and(&dovecot, &["UID EXPUNGE 3"]);
    assert!(fourth > third, "a flag was taken back: {third} {fourth}");
    let fifth = select_and(&dovecot, &[]);
    assert!(fifth > fourth, "a message went: {fourth} {fifth}");
    dovecot.put("desk", b"Subject: 4\r\n\r\nbody\r\n");
    let sixth = select_and(&dovecot, &[]);
    assert!(sixth > fifth, "a message came: {fifth} {sixth}");
}
