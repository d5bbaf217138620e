//! Tokens for other programs.

use crate::harness::postern::{BINARY, Setup};
use crate::harness::rig::Rig;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

const USER: &str = "desk@sandbox.test";

/// One mailbox and one relay that sign in as the same user.
fn setup(rig: &Rig) -> Setup {
    let (imap, smtp) = (rig.provider.imap().port(), rig.provider.smtp().port());
    let accounts = format!(
        "token_configs:\n{}mailboxes:\n  - {{name: desk, host: 127.0.0.1, port: {imap}, tls: none, user: {USER}, auth: {{token: t}}, deliver: {{command: [/bin/false]}}}}\n\
         relays:\n  - {{name: desk, host: 127.0.0.1, port: {smtp}, tls: none, user: {USER}, auth: {{token: t}}, senders: ['*']}}\n\
         \x20 - {{name: other, host: 127.0.0.1, port: {smtp}, tls: none, user: other, auth: {{password: planted-relay-password}}, senders: ['@x.test']}}\n",
        rig.token_config_yaml("t")
    );
    let setup = Setup::new(rig, &accounts);
    setup.ok(&["token", "seed", "t"], &rig.provider.consent(USER));
    setup
}

fn base64(text: &str) -> String {
    use base64::Engine;
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(text.trim())
        .unwrap();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn a_token_is_given_as_it_is_or_as_the_payload_that_a_mail_program_sends() {
    let rig = Rig::new(Duration::from_secs(3600));
    let setup = setup(&rig);
    let daemon = setup.start();
    let access = |args: &[&str]| setup.ok(&[&["token", "access", "t"], args].concat(), "");
    let token = access(&[]).trim().to_owned();
    assert_eq!(
        base64(&access(&["--format", "xoauth2"])),
        format!("user={USER}\x01auth=Bearer {token}\x01\x01")
    );
    assert_eq!(
        base64(&access(&["--format", "oauthbearer", "--user", "a,b=c"])),
        format!("n,a=a=2Cb=3Dc,\x01auth=Bearer {token}\x01\x01")
    );
    let json: serde_json::Value = serde_json::from_str(&access(&["--format", "json"])).unwrap();
    assert_eq!(
        (json["token"].as_str(), json["user"].as_str()),
        (Some(token.as_str()), Some(USER))
    );
    assert!(json["expires_at"].as_u64().unwrap() > 1_700_000_000);
    let unknown = setup.run(&["token", "access", "nobody"], "");
    assert_eq!(unknown.status.code(), Some(65));
    assert!(daemon.stop().success());
    // The same without a daemon.
    assert_eq!(access(&[]).trim(), token);
    assert!(base64(&access(&["--format", "xoauth2"])).starts_with(&format!("user={USER}\x01")));
}

#[test]
fn a_member_of_the_sockets_group_gets_a_token_and_nothing_else() {
    let rig = Rig::new(Duration::from_secs(3600));
    let setup = setup(&rig);
    std::fs::set_permissions(
        &setup.config,
        std::os::unix::fs::PermissionsExt::from_mode(0o644),
    )
    .unwrap();
    let daemon = setup.start();
    let as_member = |args: &[&str]| -> Output {
        Command::new(BINARY)
            .args(args)
            .arg("--config")
            .arg(&setup.config)
            .uid(65534)
            .gid(0)
            .output()
            .unwrap()
    };
    let given = as_member(&["token", "access", "t"]);
    assert!(given.status.success(), "{given:?}");
    assert_eq!(
        String::from_utf8(given.stdout).unwrap(),
        setup.ok(&["token", "access", "t"], "")
    );
    for refused in [&["token", "refresh", "t"][..], &["key", "rotate"]] {
        assert!(!as_member(refused).status.success(), "{refused:?}");
    }
    assert!(daemon.stop().success());
}

#[test]
fn a_token_from_a_warm_daemon_costs_little_more_than_starting_the_program() {
    let rig = Rig::new(Duration::from_secs(3600));
    let setup = setup(&rig);
    let daemon = setup.start();
    let token = setup.ok(&["token", "access", "t"], "");
    // Only the socket's place is looked for: the rest of the file may be wrong, and the database out of reach.
    let broken = rig.path().join("broken.yaml");
    let socket = rig.path().join("control.sock");
    let text = format!(
        "state_dir: relative\nmailboxes: 7\ncontrol_socket: {}\nno_such_key: 1\n",
        socket.display()
    );
    std::fs::write(&broken, text).unwrap();
    let run = |args: &[&str]| {
        let begun = Instant::now();
        let output = Command::new(BINARY).args(args).output().unwrap();
        (begun.elapsed(), output)
    };
    let access = ["token", "access", "t", "--config", broken.to_str().unwrap()];
    let (_, output) = run(&access);
    assert_eq!(String::from_utf8(output.stdout).unwrap(), token);
    let quickest = |args: &[&str]| (0..40).map(|_| run(args).0).min().unwrap();
    let (start, whole) = (quickest(&["--version"]), quickest(&access));
    println!("--version {start:?}, token access {whole:?}");
    assert!(
        whole < start * 3 + Duration::from_millis(3),
        "{whole:?}, --version {start:?}"
    );
    assert!(daemon.stop().success());
}

/// An example with other values in the place of the provider's, in a file that only its owner reads.
fn example(rig: &Rig, name: &str, values: &[(&str, &str)]) -> std::path::PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let mut text = std::fs::read_to_string(folder.join(name)).unwrap();
    let config = format!(
        "{BINARY} token access t --config {}",
        rig.path().join("postern.yaml").display()
    );
    for (from, to) in [("postern token access support", config.as_str())]
        .iter()
        .chain(values)
    {
        text = text.replace(from, to);
    }
    let path = rig.path().join(name);
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    path
}

#[test]
fn fetchmail_and_msmtp_sign_in_with_the_examples() {
    let rig = Rig::new(Duration::from_secs(3600));
    let setup = setup(&rig);
    // Nothing but the token: the mailbox is fetchmail's.
    setup.write(&format!("token_configs:\n{}", rig.token_config_yaml("t")));
    let daemon = setup.start();
    let postern = rig.path().join("postern");
    let script = format!(
        "#!/bin/sh\nexec {BINARY} \"$@\" --user {USER} --config {}\n",
        setup.config.display()
    );
    std::fs::write(&postern, script).unwrap();
    std::fs::set_permissions(
        &postern,
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    let sign_in = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/fetchmail-sign-in");
    let (imap, smtp) = (
        rig.provider.imap().port().to_string(),
        rig.provider.smtp().port().to_string(),
    );
    let plugin = format!("{} %h {imap} t", sign_in.display());
    rig.provider
        .put_mail(USER, b"Subject: by fetchmail\r\n\r\nbody\r\n".to_vec());
    let rc = example(
        &rig,
        "fetchmailrc",
        &[
            ("outlook.office365.com", "127.0.0.1"),
            ("/usr/local/bin/fetchmail-sign-in %h 993 support", &plugin),
            ("support@example.com", USER),
            ("\"support\" here", "\"root\" here"),
            ("/usr/bin/procmail -d %T", "cat"),
        ],
    );
    let output = Command::new("fetchmail")
        .arg("-f")
        .arg(&rc)
        .args(["--nosyslog", "-v"])
        .env("POSTERN", &postern)
        .env("FETCHMAILHOME", rig.path())
        .output()
        .unwrap();
    // Signed in and in the mailbox; the pretend provider does not speak the old way in which fetchmail fetches.
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        told.contains(&format!("1 message for {USER}")),
        "{output:?}"
    );

    let rc = example(
        &rig,
        "msmtprc",
        &[
            ("host smtp.office365.com", "host 127.0.0.1"),
            ("port 587", &format!("port {smtp}")),
            ("tls on", "tls off"),
            ("tls_starttls on", "tls_starttls off"),
            ("support@example.com", USER),
        ],
    );
    let mut msmtp = Command::new("msmtp")
        .arg("-C")
        .arg(&rc)
        .args(["-a", "support", "customer@sandbox.test"])
        .stdin(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(
        msmtp.stdin.as_mut().unwrap(),
        b"Subject: by msmtp\n\nbody\n",
    )
    .unwrap();
    let output = msmtp.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(rig.provider.submitted().len(), 1);
    assert!(daemon.stop().success());
}
