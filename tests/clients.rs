//! Other people's clients against the listener: Postfix's smtp-source in twenty parallel sessions, and swaks; a real Postfix takes what leaves.

use crate::harness::dovecot::Dovecot;
use crate::harness::eventually;
use crate::harness::postern::Setup;
use crate::harness::postfix::Postfix;
use crate::harness::rig::Rig;
use crate::real_relay::relay_yaml;
use std::process::{Command, Output};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);

fn with_postfix(rig: &Rig) -> (Dovecot, Postfix, Setup) {
    let dovecot = Dovecot::start(rig);
    let postfix = Postfix::start(rig, &dovecot);
    let relay = "    tls: starttls\n    auth: {token: desk}\n    senders: ['@help.example']\n    connections: 5\n";
    let accounts = format!(
        "token_configs:\n{}relays:\n{}",
        rig.token_config_yaml("desk"),
        relay_yaml(rig, "desk", postfix.submission, relay)
    );
    let setup = Setup::new(rig, &accounts);
    setup.ok(&["token", "seed", "desk"], &rig.provider.consent("desk"));
    (dovecot, postfix, setup)
}

pub(crate) fn queue(setup: &Setup) -> Vec<serde_json::Value> {
    serde_json::from_str(&setup.ok(&["queue", "list", "--json"], "")).unwrap()
}

#[test]
fn twenty_parallel_sessions_of_smtp_source_leave_through_postfix_message_for_message() {
    const MESSAGES: usize = 400;
    let rig = Rig::new(Duration::from_secs(3600));
    let (_dovecot, postfix, setup) = with_postfix(&rig);
    let daemon = setup.start();
    let count = MESSAGES.to_string();
    let output = Command::new("/usr/sbin/smtp-source")
        .args(["-s", "20", "-m", &count, "-r", "2", "-l", "5000", "-N"])
        .args(["-f", "desk@help.example", "-t", "source@y.test"])
        .args(["-M", "source.example", "-S", "from smtp-source"])
        .arg(format!("127.0.0.1:{}", setup.submission))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    // All of it has its 250 by now.
    eventually("everything has left", SOON, || queue(&setup).is_empty());
    eventually("Postfix has delivered", SOON, || postfix.queued() == 0);
    assert!(daemon.stop().success());
    let arrived = postfix.arrived();
    assert_eq!(arrived.len(), MESSAGES * 2);
    let whole = |(_, bytes): &(String, Vec<u8>)| bytes.len() > 5000 && bytes.ends_with(b"X\n");
    assert!(arrived.iter().all(whole));
}

/// Runs swaks against the listener.
fn swaks(setup: &Setup, more: &[&str]) -> Output {
    Command::new("swaks")
        .args(["--server", "127.0.0.1", "--port"])
        .arg(setup.submission.to_string())
        .args(["--helo", "swaks.example", "--from", "desk@help.example"])
        .args(more)
        .output()
        .unwrap()
}

#[test]
fn swaks_sends_an_attachment_with_and_without_pipelining_and_hears_why_a_stranger_may_not() {
    let rig = Rig::new(Duration::from_secs(3600));
    let (_dovecot, postfix, setup) = with_postfix(&rig);
    let daemon = setup.start();
    let attached = rig.path().join("attached.bin");
    let bytes: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    std::fs::write(&attached, &bytes).unwrap();
    let attach = format!("@{}", attached.display());
    for (recipient, pipelining) in [("plain@y.test", None), ("piped@y.test", Some("--pipeline"))] {
        let mut words = vec![
            "--to",
            recipient,
            "--body",
            "hello\n.\nthere",
            "--attach",
            &attach,
        ];
        words.extend(pipelining);
        let output = swaks(&setup, &words);
        let heard = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{heard}");
        assert!(heard.contains("250 2.0.0 Ok: accepted as"), "{heard}");
    }
    let stranger = swaks(
        &setup,
        &["--from", "a@elsewhere.example", "--to", "b@y.test"],
    );
    let heard = String::from_utf8_lossy(&stranger.stdout).into_owned();
    assert!(!stranger.status.success());
    assert!(
        heard.contains("550 5.7.1 No relay serves the sender"),
        "{heard}"
    );
    eventually("both have left", SOON, || queue(&setup).is_empty());
    eventually("Postfix has delivered", SOON, || postfix.queued() == 0);
    assert!(daemon.stop().success());
    let arrived = postfix.arrived();
    assert_eq!(arrived.len(), 2);
    for (_, message) in arrived {
        let text = String::from_utf8(message).unwrap();
        assert!(text.contains("\nhello\n.\nthere\n"), "{text}");
        assert!(
            text.contains(&base64_lines(&bytes)),
            "the attachment differs"
        );
    }
}

/// As MIME has it: 76 characters a line.
fn base64_lines(bytes: &[u8]) -> String {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(bytes);
    let lines: Vec<&str> = text
        .as_bytes()
        .chunks(76)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    lines.join("\n")
}
