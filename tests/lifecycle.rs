//! Starting, reloading and stopping the daemon, and what it refuses: one instance, broken files, lying SMTP clients.

use crate::harness::dovecot::Dovecot;
use crate::harness::postern::{Setup, run};
use crate::harness::rig::Rig;
use crate::harness::submit::{Sent, Submitter};
use crate::harness::{eventually, free_port};
use crate::real_imap::{filing_command, hashes_of, mailbox_yaml};
use crate::real_relay::relay_yaml;
use rustix::process::Signal;
use std::path::Path;
use std::time::Duration;

/// A relay whose server is away: mail for it is accepted and waits.
fn relay_to_nowhere(rig: &Rig) -> String {
    let more = "    tls: implicit\n    auth: {password: planted-relay-password}\n    senders: ['@help.example']\n";
    format!("relays:\n{}", relay_yaml(rig, "away", free_port(), more))
}

#[test]
fn a_second_daemon_on_the_same_state_is_refused_and_the_first_goes_on() {
    let rig = Rig::new(Duration::from_secs(60));
    let setup = Setup::new(&rig, &relay_to_nowhere(&rig));
    let daemon = setup.start();
    let second = setup.run(&["run"], "");
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_ne!(second.status.code(), Some(0));
    assert!(said.contains("already"), "{said}");
    assert!(setup.ok(&["status"], "").contains("away"));
    assert!(daemon.stop().success());
}

#[test]
fn a_broken_configuration_ends_the_start_with_78_and_names_file_line_and_key() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/broken-config");
    let mut seen = 0;
    for entry in std::fs::read_dir(&folder).unwrap().flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|e| e == "yaml") {
            let expected = std::fs::read_to_string(path.with_extension("expected")).unwrap();
            for command in ["run", "check"] {
                let output = run(&path, &[command], "");
                let said = String::from_utf8_lossy(&output.stderr)
                    .replace(&format!("{}/", folder.display()), "");
                assert_eq!(output.status.code(), Some(78), "{}: {said}", path.display());
                assert_eq!(said, expected, "postern {command} on {}", path.display());
            }
            seen += 1;
        }
    }
    assert!(seen >= 25, "only {seen} broken configurations");
}

#[test]
fn check_before_the_first_start_looks_at_everything_and_makes_nothing() {
    let rig = Rig::new(Duration::from_secs(60));
    let setup = Setup::new(&rig, &relay_to_nowhere(&rig));
    let output = setup.run(&["check"], "");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("✗ relay away"), "{said}");
    assert!(!setup.state_dir().exists());
}

#[test]
fn reload_starts_what_is_new_and_a_bad_file_changes_nothing() {
    let rig = Rig::new(Duration::from_secs(3600));
    let dovecot = Dovecot::start(&rig);
    let (script, filed) = filing_command(rig.path());
    let deliver = format!(
        "    auth: {{password: pass}}\n    tls: implicit\n    deliver: {{command: ['{}', '{}']}}\n",
        script.display(),
        filed.display()
    );
    let one = format!(
        "mailboxes:\n{}",
        mailbox_yaml(&rig, "one", dovecot.imaps, &deliver)
    );
    let both = format!(
        "{one}{}",
        mailbox_yaml(&rig, "two", dovecot.imaps, &deliver)
    );
    let setup = Setup::new(&rig, &one);
    let mut daemon = setup.start();
    let filed_count = || hashes_of(&filed).values().sum::<usize>();
    dovecot.put("one", b"Subject: first\n\nbody\n");
    eventually("the first mailbox works", Duration::from_secs(30), || {
        filed_count() == 1
    });

    setup.write("mailboxes:\n  - name: one\n    hots: localhost\n");
    daemon.signal(Signal::HUP);
    let log = || std::fs::read_to_string(rig.path().join("postern.log")).unwrap();
    eventually(
        "the bad file is named in the log",
        Duration::from_secs(10),
        || log().contains("did you mean `host`"),
    );
    dovecot.put("one", b"Subject: second\n\nbody\n");
    eventually(
        "the first mailbox still works",
        Duration::from_secs(30),
        || filed_count() == 2,
    );

    setup.write(&both);
    daemon.signal(Signal::HUP);
    daemon.wait_for("RELOADING=1");
    dovecot.put("two", b"Subject: third\n\nbody\n");
    eventually("the new mailbox works", Duration::from_secs(30), || {
        filed_count() == 3
    });
    assert!(daemon.stop().success());
}

#[test]
fn a_changed_file_is_followed_by_itself_and_the_command_says_what_was_done() {
    let rig = Rig::new(Duration::from_secs(60));
    let more = "    tls: implicit\n    auth: {password: p}\n    senders: ['@NAME.example']\n";
    let relay = |name: &str| relay_yaml(&rig, name, free_port(), &more.replace("NAME", name));
    let first = format!("relays:\n{}", relay("first"));
    let setup = Setup::new(&rig, &first);
    let daemon = setup.start();
    let log = || std::fs::read_to_string(rig.path().join("postern.log")).unwrap();
    setup.write(&format!("{first}{}", relay("second")));
    eventually("the second relay starts", Duration::from_secs(20), || {
        log().contains("reload: relay second starts")
    });
    setup.write(&format!("{first}  - nmae: third\n"));
    eventually("the mistake is named", Duration::from_secs(20), || {
        log().contains("did you mean `name`")
    });
    let refused = setup.run(&["reload"], "");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(78), "{said}");
    assert!(said.contains("did you mean `name`"), "{said}");
    let mut session = Submitter::connect(setup.submission).unwrap();
    let sent = session.send("a@second.example", &["r@y.test"], b"Subject: x\r\n\r\n");
    assert_eq!(sent, Sent::Accepted, "the second relay goes on");
    setup.write(&first);
    let said = setup.ok(&["reload"], "");
    assert_eq!(said, "relay second ends: it is no longer configured\n");
    assert!(daemon.stop().success());
    let alone = setup.run(&["reload"], "");
    assert_eq!(alone.status.code(), Some(69));
}

/// One lie: what is sent after EHLO, and how the last reply begins.
const LIES: [(&str, &[u8], &str); 13] = [
    ("an over-long command line", b"MAIL FROM:<LONG@help.example>\r\n", "500 "),
    ("a NUL in a command", b"MAIL FROM:<a\0@help.example>\r\n", "5"),
    ("a bare LF after a command", b"NOOP\nNOOP\r\n", "5"),
    ("RCPT before MAIL", b"RCPT TO:<r@y.test>\r\n", "503 "),
    ("DATA before RCPT", b"MAIL FROM:<a@help.example>\r\nDATA\r\n", "554 5.5.1"),
    ("MAIL twice", b"MAIL FROM:<a@help.example>\r\nMAIL FROM:<a@help.example>\r\n", "503 "),
    ("a sender nobody serves", b"MAIL FROM:<a@elsewhere.example>\r\nRCPT TO:<r@y.test>\r\nDATA\r\nSubject: x\r\n\r\n.\r\n", "550 "),
    ("an announced size over the limit", b"MAIL FROM:<a@help.example> SIZE=99999999999\r\n", "552 "),
    ("a bare LF in DATA", b"MAIL FROM:<a@help.example>\r\nRCPT TO:<r@y.test>\r\nDATA\r\nSubject: x\r\n\r\na\n.\r\nb\r\n.\r\n", "5"),
    ("a bare CR in DATA", b"MAIL FROM:<a@help.example>\r\nRCPT TO:<r@y.test>\r\nDATA\r\nSubject: x\r\n\r\na\rb\r\n.\r\n", "5"),
    ("a NUL in DATA", b"MAIL FROM:<a@help.example>\r\nRCPT TO:<r@y.test>\r\nDATA\r\nSubject: x\r\n\r\na\0b\r\n.\r\n", "5"),
    ("an unknown command", b"XYZZY\r\n", "50"),
    ("a chunk of nothing", b"BDAT 4 LAST\r\nabcd", "503"),
];

#[test]
fn lying_smtp_clients_get_a_clear_refusal_and_nothing_is_spooled() {
    let rig = Rig::new(Duration::from_secs(60));
    let setup = Setup::new(&rig, &relay_to_nowhere(&rig));
    let daemon = setup.start();
    for (lie, bytes, expected) in LIES {
        let mut session = Submitter::connect(setup.submission).unwrap();
        let bytes = String::from_utf8_lossy(bytes).replace("LONG", &"l".repeat(5000));
        session.write(bytes.as_bytes()).unwrap();
        session.write(b"NOOP\r\n").unwrap();
        // The session stays in step: the reply before the one to NOOP is the answer to the lie.
        let mut replies = Vec::new();
        while let Ok(reply) = session.reply() {
            let noop = reply.starts_with("250 2.0.0")
                && !replies.is_empty()
                && replies.iter().any(|r: &String| r.starts_with('5'));
            replies.push(reply);
            if noop {
                break;
            }
        }
        assert!(
            replies.iter().any(|reply| reply.starts_with(expected)),
            "{lie}: {replies:?}"
        );
    }
    let mut unfinished = Submitter::connect(setup.submission).unwrap();
    unfinished.command("MAIL FROM:<a@help.example>").unwrap();
    unfinished.command("RCPT TO:<r@y.test>").unwrap();
    unfinished.command("DATA").unwrap();
    unfinished
        .write(b"Subject: no final dot\r\n\r\nbody\r\n")
        .unwrap();
    drop(unfinished);
    assert!(daemon.stop().success());
    assert_eq!(setup.ok(&["queue", "list", "--json"], "").trim(), "[]");
}

#[test]
fn accepted_mail_waits_for_its_relay_through_a_restart() {
    let rig = Rig::new(Duration::from_secs(60));
    let setup = Setup::new(&rig, &relay_to_nowhere(&rig));
    let daemon = setup.start();
    let mut session = Submitter::connect(setup.submission).unwrap();
    let sent = session.send(
        "a@help.example",
        &["r@y.test"],
        b"Subject: waits\r\n\r\nbody\r\n",
    );
    assert_eq!(sent, Sent::Accepted);
    assert!(daemon.stop().success());
    assert!(setup.ok(&["queue", "list"], "").contains("waits"));
    let daemon = setup.start();
    assert!(setup.ok(&["queue", "list"], "").contains("waits"));
    assert!(daemon.stop().success());
}

#[test]
fn planted_secrets_are_in_no_file_and_no_output() {
    let rig = Rig::new(Duration::from_secs(60));
    let accounts = format!(
        "token_configs:\n{}{}",
        rig.token_config_yaml("t")
            .replace(&rig.provider.client().1, "planted-client-secret"),
        relay_to_nowhere(&rig)
    );
    let setup = Setup::new(&rig, &accounts);
    setup.ok(&["token", "seed", "t"], "planted-refresh-token");
    let daemon = setup.start();
    let mut said = String::new();
    for args in [
        &["status"][..],
        &["status", "--json"],
        &["token", "list"],
        &["token", "show", "t"],
        &["token", "refresh", "t"],
        &["check"],
        &["token", "export", "--without-secrets"],
    ] {
        let output = setup.run(args, "");
        said.push_str(&String::from_utf8_lossy(&output.stdout));
        said.push_str(&String::from_utf8_lossy(&output.stderr));
    }
    assert!(said.contains("away"), "{said}");
    assert!(daemon.stop().success());
    let mut written = said.into_bytes();
    for entry in std::fs::read_dir(setup.state_dir()).unwrap().flatten() {
        if entry.path().is_file() {
            written.extend(std::fs::read(entry.path()).unwrap());
        }
    }
    written.extend(std::fs::read(rig.path().join("postern.log")).unwrap());
    for secret in [
        "planted-client-secret",
        "planted-refresh-token",
        "planted-relay-password",
    ] {
        assert!(
            !written
                .windows(secret.len())
                .any(|w| w == secret.as_bytes()),
            "{secret} was written in clear"
        );
    }
}

#[test]
fn queue_retry_ends_the_pause_of_a_relay_whose_password_was_refused() {
    let rig = Rig::new(Duration::from_secs(3600));
    let user = "desk@sandbox.test";
    rig.provider
        .set_password(user, "not yet the one in the file");
    let relays = format!(
        "relays:\n  - {{name: desk, host: 127.0.0.1, port: {}, tls: none, user: {user}, auth: {{password: right}}, senders: ['*']}}\n",
        rig.provider.smtp().port()
    );
    let setup = Setup::new(&rig, &relays);
    let daemon = setup.start();
    let mut ticket = Submitter::connect(setup.submission).unwrap();
    let sent = ticket.send(
        user,
        &["customer@sandbox.test"],
        b"Subject: hello\r\n\r\nhi\r\n",
    );
    assert_eq!(sent, Sent::Accepted);
    let within = Duration::from_secs(20);
    eventually("the password is refused", within, || {
        setup.ok(&["relay", "list"], "").contains("refused")
    });
    rig.provider.set_password(user, "right");
    // By itself the relay would sign in again after five minutes.
    setup.ok(&["queue", "retry", "--all"], "");
    eventually("the reply leaves after the retry", within, || {
        rig.provider.submitted().len() == 1
    });
    assert!(daemon.stop().success());
}
