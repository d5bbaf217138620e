//! Those who hand replies in: one that asks to be told, or not to be, and one whose messages are very large.

use crate::harness::eventually;
use crate::harness::postern::Setup;
use crate::harness::rig::Rig;
use crate::harness::submit::Submitter;
use sandbox::{Fault, Service};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(30);
const MIB: usize = 1 << 20;

/// A relay at the pretend provider whose reports go into the ticket command of a mailbox there, which files them under `filed`.
fn setup(rig: &Rig) -> Setup {
    let (imap, smtp) = (rig.provider.imap().port(), rig.provider.smtp().port());
    let (script, filed) = (rig.path().join("file"), rig.path().join("filed"));
    std::fs::create_dir_all(&filed).unwrap();
    let text = format!(
        "#!/bin/sh\nexec cat > '{}'/\"$POSTERN_DELIVERY_ID\"\n",
        filed.display()
    );
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let accounts = format!(
        "token_configs:\n{}mailboxes:\n  - {{name: desk, host: 127.0.0.1, port: {imap}, tls: none, user: desk, auth: {{token: desk}}, deliver: {{command: ['{}']}}}}\n\
         relays:\n  - {{name: desk, host: 127.0.0.1, port: {smtp}, tls: none, user: desk, auth: {{token: desk}}, senders: ['@help.example'], bounces_to: {{mailbox: desk}}, rate: 6000/min}}\n",
        rig.token_config_yaml("desk"),
        script.display(),
    );
    let setup = Setup::new(rig, &accounts);
    setup.ok(&["token", "seed", "desk"], &rig.provider.consent("desk"));
    setup
}

/// Runs a client to its good end.
fn client(program: &str, arguments: &[&str], input: &[u8]) {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(
        output.status.success(),
        "{program}: {}: {}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn msmtp_may_ask_to_be_told() {
    let rig = Rig::new(Duration::from_secs(600));
    let setup = setup(&rig);
    let daemon = setup.start();
    client(
        "msmtp",
        &[
            "--file=/dev/null",
            "--host=127.0.0.1",
            &format!("--port={}", setup.submission),
            "--from=desk@help.example",
            "--dsn-notify=failure,delay",
            "--dsn-return=hdrs",
            "msmtp@y.test",
        ],
        b"Subject: by msmtp\n\n.a dot\n..\n.\nend\n",
    );
    eventually("it has left", SOON, || rig.provider.submitted().len() == 1);
    let mail = rig.provider.submitted().remove(0);
    let text = String::from_utf8(mail.bytes).unwrap();
    assert_eq!(mail.recipients, ["msmtp@y.test"]);
    assert!(
        text.ends_with("\r\n\r\n.a dot\r\n..\r\n.\r\nend\r\n"),
        "{text}"
    );
    assert!(daemon.stop().success());
}

#[test]
fn who_asked_for_silence_hears_nothing_and_who_asked_for_all_of_it_gets_it() {
    let rig = Rig::new(Duration::from_secs(600));
    let setup = setup(&rig);
    for gone in ["never", "delay", "failure", "usual"] {
        rig.provider.fault(
            Service::Smtp,
            &format!("RCPT TO:<{gone}@y.test>"),
            1,
            Fault::Reply(format!("550 5.1.1 no {gone} here")),
        );
    }
    let daemon = setup.start();
    let mut session = Submitter::connect(setup.submission).unwrap();
    for line in [
        "MAIL FROM:<desk@help.example> RET=FULL ENVID=Ticket+2B42",
        "RCPT TO:<never@y.test> NOTIFY=NEVER",
        "RCPT TO:<delay@y.test> NOTIFY=SUCCESS,DELAY",
        "RCPT TO:<failure@y.test> NOTIFY=FAILURE ORCPT=rfc822;first@y.test",
        "RCPT TO:<usual@y.test>",
    ] {
        let reply = session.command(line).unwrap();
        assert!(reply.starts_with("250"), "{line}: {reply}");
    }
    let text = "Subject: answer\r\nFrom: desk@help.example\r\n\r\n.hello\r\n";
    session
        .write(format!("BDAT {} LAST\r\n{text}", text.len()).as_bytes())
        .unwrap();
    let reply = session.reply().unwrap();
    assert!(reply.starts_with("250"), "{reply}");
    let reports = || -> Vec<String> {
        let filed = std::fs::read_dir(rig.path().join("filed")).unwrap();
        filed
            .map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap())
            .collect()
    };
    let told = |about: &str| reports().iter().any(|report| report.contains(about));
    eventually("both who may be told of are", SOON, || {
        told("no failure here") && told("no usual here")
    });
    // The silent ones wait for a person, who is told by the notice of held mail.
    eventually("the others have failed as well", SOON, || {
        let message = setup.ok(&["queue", "show", "1"], "");
        message.contains("no never here") && message.contains("no delay here")
    });
    for report in reports() {
        assert!(
            !report.contains("no never here") && !report.contains("no delay here"),
            "{report}"
        );
        assert!(
            report.contains("Original-Envelope-Id: Ticket+42\r\n"),
            "{report}"
        );
        assert!(
            report.contains("Content-Type: message/rfc822\r\n"),
            "{report}"
        );
        assert!(report.contains("\r\n\r\n.hello\r\n"), "{report}");
    }
    assert!(told("Original-Recipient: rfc822;first@y.test\r\n"));
    assert!(daemon.stop().success());
}

/// Three sessions with 12 MiB each, by DATA and by BDAT, and the daemon grows by what a few chunks take.
#[test]
fn a_session_holds_one_chunk_of_a_message_however_large_it_is() {
    let rig = Rig::new(Duration::from_secs(600));
    // A relay that is paused: what is taken in stays there.
    let accounts = format!(
        "token_configs:\n{}relays:\n  - {{name: desk, host: 127.0.0.1, port: 1, tls: none, user: desk, auth: {{token: desk}}, senders: ['@help.example'], paused: true}}\n",
        rig.token_config_yaml("desk"),
    );
    let setup = Setup::new(&rig, &accounts);
    let daemon = setup.start();
    let line = [&[b'x'; 76][..], b"\r\n"].concat();
    let text = line.repeat(12 * MIB / line.len());
    let envelope = "MAIL FROM:<desk@help.example>\r\nRCPT TO:<one@y.test>\r\n";
    let hand_in = |chunk: Option<usize>, text: &[u8]| {
        let mut session = Submitter::connect(setup.submission).unwrap();
        session.write(envelope.as_bytes()).unwrap();
        let codes = match chunk {
            None => {
                session.write(b"DATA\r\n").unwrap();
                session.write(text).unwrap();
                session.write(b".\r\n").unwrap();
                vec!["250", "250", "354", "250 2.0.0 Ok: accepted"]
            }
            Some(size) => {
                for piece in text.chunks(size) {
                    let command = format!("BDAT {}\r\n", piece.len());
                    session.write(command.as_bytes()).unwrap();
                    session.write(piece).unwrap();
                }
                session.write(b"BDAT 0 LAST\r\n").unwrap();
                let chunks = text.chunks(size).map(|_| "250");
                let codes = ["250", "250"].into_iter().chain(chunks);
                codes.chain(["250 2.0.0 Ok: accepted"]).collect()
            }
        };
        for code in codes {
            let reply = session.reply().unwrap();
            assert!(reply.starts_with(code), "{code}: {reply}");
        }
    };
    let small = &text[..MIB / line.len() * line.len()];
    hand_in(None, small);
    hand_in(Some(MIB), small);
    let before = daemon.own_peak_kib();
    std::thread::scope(|scope| {
        for chunk in [None, Some(text.len()), Some(4 * MIB)] {
            let (hand_in, text) = (&hand_in, &text);
            scope.spawn(move || hand_in(chunk, text));
        }
    });
    let grown = daemon.own_peak_kib() - before;
    println!("the daemon grew by {grown} KiB");
    assert!(grown < 6 * 1024, "it grew by {grown} KiB");
    let status = setup.ok(&["queue", "list"], "");
    assert_eq!(
        status.matches("waiting").count() + status.matches("due").count(),
        5,
        "{status}"
    );
    assert!(daemon.stop().success());
}
