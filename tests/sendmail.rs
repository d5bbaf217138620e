//! `postern sendmail` as ticket systems call it: into a running daemon, and into the drop directory while there is none.

use crate::harness::eventually;
use crate::harness::postern::{BINARY, Setup};
use crate::harness::rig::Rig;
use std::fs::Permissions;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(20);
/// After sysexits.h: EX_USAGE, EX_DATAERR, EX_NOUSER, EX_UNAVAILABLE, EX_TEMPFAIL, EX_CONFIG.
const USAGE: i32 = 64;
const DATA: i32 = 65;
const NO_USER: i32 = 67;
const UNAVAILABLE: i32 = 69;
const TEMPORARY: i32 = 75;
const CONFIGURATION: i32 = 78;
const MESSAGE: &str = "To: One <one@y.test>, two@y.test\nBcc: three@y.test\nFrom: Desk <desk@help.example>\nSubject: re: it\n\nthe answer\n.\nend\n";

/// A relay at the pretend provider.
fn accounts(rig: &Rig, senders: &str) -> String {
    let smtp = rig.provider.smtp().port();
    format!(
        "token_configs:\n{}relays:\n  - {{name: desk, host: 127.0.0.1, port: {smtp}, tls: none, user: desk, auth: {{token: desk}}, senders: [{senders}]}}\n",
        rig.token_config_yaml("desk")
    )
}

fn setup(rig: &Rig) -> Setup {
    let setup = Setup::new(rig, &accounts(rig, "'@help.example'"));
    setup.ok(&["token", "seed", "desk"], &rig.provider.consent("desk"));
    setup
}

/// Calls a program by its own name; its configuration is named by the environment, since every word is sendmail's.
fn call(program: &Path, setup: &Setup, words: &[&str], input: &str) -> Output {
    let mut child = Command::new(program)
        .args(words)
        .env("POSTERN_CONFIG", &setup.config)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // A call that is refused for its arguments reads no input.
    let _unread = stdin.write_all(input.as_bytes());
    drop(stdin);
    child.wait_with_output().unwrap()
}

fn sendmail(setup: &Setup, words: &[&str], input: &str) -> Output {
    let words = [&["sendmail"], words].concat();
    call(Path::new(BINARY), setup, &words, input)
}

fn says(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What the provider took: sender, recipients and text of each message.
fn submitted(rig: &Rig) -> Vec<(String, Vec<String>, String)> {
    let mail = rig.provider.submitted().into_iter();
    mail.map(|mail| {
        let text = String::from_utf8(mail.bytes).unwrap();
        (mail.sender, mail.recipients, text)
    })
    .collect()
}

/// All recipients of all messages, sorted.
fn recipients(rig: &Rig) -> Vec<String> {
    let mut all: Vec<String> = submitted(rig).into_iter().flat_map(|mail| mail.1).collect();
    all.sort();
    all
}

#[test]
fn a_message_goes_to_its_header_recipients_without_bcc_and_by_the_headers_from() {
    let rig = Rig::new(Duration::from_secs(600));
    let setup = setup(&rig);
    let daemon = setup.start();
    let output = sendmail(&setup, &["-t", "-oi"], MESSAGE);
    assert!(output.status.success(), "{}", says(&output));
    eventually("three recipients are served", SOON, || {
        recipients(&rig) == ["one@y.test", "three@y.test", "two@y.test"]
    });
    for (sender, _, text) in submitted(&rig) {
        assert_eq!(sender, "desk@help.example");
        assert!(text.contains("\r\nthe answer\r\n.\r\nend\r\n"), "{text}");
        for gone in ["Bcc", "three@", "Idempotency"] {
            assert!(!text.contains(gone), "{gone}: {text}");
        }
    }

    // Called by its other name, with the sender as an argument and a dot that ends the message.
    let link = rig.path().join("sendmail");
    std::os::unix::fs::symlink(BINARY, &link).unwrap();
    let words = ["-f", "other@help.example", "-FThe Desk", "four@y.test"];
    let output = call(&link, &setup, &words, "Subject: x\n\nbody\n.\nnot this\n");
    assert!(output.status.success(), "{}", says(&output));
    eventually("the fourth is served", SOON, || {
        recipients(&rig).contains(&"four@y.test".to_owned())
    });
    let all = submitted(&rig);
    let (sender, _, text) = all.last().unwrap();
    assert_eq!(sender, "other@help.example");
    assert!(
        text.contains("From: The Desk <other@help.example>\r\n"),
        "{text}"
    );
    assert!(text.ends_with("\r\n\r\nbody\r\n"), "{text}");

    // -bs: the caller speaks SMTP.
    let dialogue = "EHLO x\r\nMAIL FROM:<desk@help.example>\r\nRCPT TO:<five@y.test>\r\nDATA\r\nSubject: s\r\n\r\nb\r\n.\r\nQUIT\r\n";
    let output = sendmail(&setup, &["-bs"], dialogue);
    let heard = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success() && heard.contains("250 2.0.0 Ok: accepted"),
        "{heard}"
    );
    eventually("the fifth is served", SOON, || {
        recipients(&rig).contains(&"five@y.test".to_owned())
    });
    assert!(daemon.stop().success());
}

#[test]
fn what_cannot_be_sent_ends_with_the_code_that_says_why() {
    let rig = Rig::new(Duration::from_secs(600));
    let setup = setup(&rig);
    let daemon = setup.start();
    for (words, input, code) in [
        (&["-t"][..], "Subject: to nobody\n\nx\n", DATA),
        (&["-i"], "Subject: x\n\nx\n", USAGE),
        (&["-t", "-z"], MESSAGE, USAGE),
        (
            &["-f", "desk@help.example", "nobody"],
            "Subject: x\n\nx\n",
            NO_USER,
        ),
        (
            &["-f", "desk@help.example", "a b@y.test"],
            "Subject: x\n\nx\n",
            NO_USER,
        ),
        (
            &["-f", "a@elsewhere.example", "a@y.test"],
            "From: a@elsewhere.example\n\nx\n",
            UNAVAILABLE,
        ),
        (
            &["-f", "desk@help.example", "a@y.test"],
            "Subject: x\n\na NUL \0 in it\n",
            DATA,
        ),
    ] {
        let output = sendmail(&setup, words, input);
        assert_eq!(
            output.status.code(),
            Some(code),
            "{words:?}: {}",
            says(&output)
        );
        assert!(!says(&output).is_empty());
    }
    assert_eq!(setup.ok(&["queue", "list", "--json"], "").trim(), "[]");
    assert!(daemon.stop().success());
    assert_eq!(dropped(&setup), 0);
}

fn dropped(setup: &Setup) -> usize {
    std::fs::read_dir(setup.dir.join("drop")).unwrap().count()
}

#[test]
fn while_the_daemon_is_down_messages_wait_in_the_drop_directory_and_leave_when_it_starts() {
    let rig = Rig::new(Duration::from_secs(600));
    let setup = setup(&rig);
    // No daemon has ever run: there is no directory yet, and the caller is told to come again.
    let output = sendmail(&setup, &["-t"], MESSAGE);
    assert_eq!(output.status.code(), Some(TEMPORARY), "{}", says(&output));

    assert!(setup.start().stop().success());
    let large = format!("{MESSAGE}{}", "a line of a large message\n".repeat(100_000));
    for input in [MESSAGE, &large] {
        let output = sendmail(&setup, &["-t", "-i"], input);
        assert!(output.status.success(), "{}", says(&output));
    }
    let stranger = "To: a@y.test\nFrom: a@elsewhere.example\n\nx\n";
    assert!(sendmail(&setup, &["-t"], stranger).status.success());
    assert_eq!(dropped(&setup), 3);

    let daemon = setup.start();
    eventually("what was dropped is sent", SOON, || {
        recipients(&rig).len() == 6
    });
    eventually("only what no relay takes stays", SOON, || {
        dropped(&setup) == 1
    });
    // Who sent it was told that it is accepted: somebody else is told now.
    let notices = || setup.ok(&["notices", "--json"], "");
    eventually("its refusal is a notice", SOON, || {
        let notices = notices();
        notices.contains("dropped_mail")
            && notices
                .contains("from uid 0: 550 5.7.1 No relay serves the sender <a@elsewhere.example>")
    });
    // Mended and reloaded it leaves, and the notice is over.
    setup.write(&accounts(&rig, "'@help.example', a@elsewhere.example"));
    daemon.signal(rustix::process::Signal::HUP);
    eventually("it is sent after all", SOON, || {
        recipients(&rig).len() == 7 && dropped(&setup) == 0
    });
    eventually("the notice is over", SOON, || {
        !notices().contains("dropped_mail")
    });
    assert!(daemon.stop().success());
}

#[test]
fn a_member_of_the_groups_drops_what_others_cannot_read_and_a_stranger_is_told_to_come_again() {
    let rig = Rig::new(Duration::from_secs(600));
    let setup = setup(&rig);
    std::fs::set_permissions(&setup.config, Permissions::from_mode(0o644)).unwrap();
    assert!(setup.start().stop().success());
    let drop_dir = setup.dir.join("drop");
    let as_user = |uid: u32, gid: u32, program: &str, words: &[&str]| {
        let mut child = Command::new(program)
            .args(words)
            .env("POSTERN_CONFIG", &setup.config)
            .uid(uid)
            .gid(gid)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let _unread = stdin.write_all(MESSAGE.as_bytes());
        drop(stdin);
        child.wait_with_output().unwrap()
    };
    let output = as_user(65534, 0, BINARY, &["sendmail", "-t", "-i"]);
    assert!(output.status.success(), "{}", says(&output));
    assert_eq!(dropped(&setup), 1);
    let listed = as_user(65533, 0, "ls", &[&drop_dir.display().to_string()]);
    assert!(!listed.status.success(), "the directory can be read");
    let stranger = as_user(65533, 65533, BINARY, &["sendmail", "-t", "-i"]);
    assert_eq!(
        stranger.status.code(),
        Some(TEMPORARY),
        "{}",
        says(&stranger)
    );

    let daemon = setup.start();
    eventually("it is sent", SOON, || recipients(&rig).len() == 3);
    assert!(daemon.stop().success());
}

#[test]
fn what_the_sender_asks_to_be_told_reaches_a_provider_that_tells() {
    let rig = Rig::new(Duration::from_secs(600));
    rig.provider
        .set_features(|features| features.smtp_extensions.push("DSN"));
    let setup = setup(&rig);
    let daemon = setup.start();
    let words = [
        "-N",
        "success,failure",
        "-R",
        "hdrs",
        "-V",
        "a+b",
        "-B",
        "8BITMIME",
        "-f",
        "desk@help.example",
        "--",
        "a@y.test",
    ];
    let output = sendmail(&setup, &words, "Subject: x\n\nx\n");
    assert!(output.status.success(), "{}", says(&output));
    eventually("it is sent", SOON, || recipients(&rig).len() == 1);
    let parameters = rig.provider.submitted().remove(0).parameters.join(" ");
    for wish in ["RET=HDRS", "ENVID=a+2Bb", "NOTIFY=SUCCESS,FAILURE"] {
        assert!(parameters.contains(wish), "{wish}: {parameters}");
    }
    // A login is no sender: the header decides, as without -f.
    let output = sendmail(&setup, &["-f", "www-data", "-t", "-i"], MESSAGE);
    assert!(output.status.success(), "{}", says(&output));
    eventually("it is sent too", SOON, || recipients(&rig).len() == 4);
    assert_eq!(submitted(&rig).last().unwrap().0, "desk@help.example");
    assert!(daemon.stop().success());

    // Where the daemon would be is not known: a mistake in the configuration, and no message is kept.
    let missing = rig.path().join("missing.yaml");
    let output = Command::new(BINARY)
        .args(["sendmail", "-t"])
        .env("POSTERN_CONFIG", &missing)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(CONFIGURATION));
    assert!(says(&output).contains("missing.yaml"), "{}", says(&output));
}

#[test]
fn a_dropped_message_that_was_taken_before_a_kill_is_one_message() {
    let rig = Rig::new(Duration::from_secs(600));
    let setup = setup(&rig);
    assert!(setup.start().stop().success());
    assert!(sendmail(&setup, &["-t"], MESSAGE).status.success());
    let drop = setup.dir.join("drop");
    let file = std::fs::read_dir(&drop)
        .unwrap()
        .flatten()
        .next()
        .unwrap()
        .path();
    let copy = rig.path().join("copy");
    std::fs::copy(&file, &copy).unwrap();

    let daemon = setup.start();
    eventually("it is sent", SOON, || recipients(&rig).len() == 3);
    eventually("its file is gone", SOON, || dropped(&setup) == 0);
    daemon.kill9();
    // As if the kill had come between the commit and the removal.
    std::fs::rename(&copy, &file).unwrap();
    let daemon = setup.start();
    eventually("its file is gone again", SOON, || dropped(&setup) == 0);
    assert!(daemon.stop().success());
    assert_eq!(recipients(&rig).len(), 3, "it was sent twice");
}
