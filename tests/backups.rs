//! `postern backup` beside a running daemon and `postern restore` on an empty host: nothing is lost, nothing leaves twice by itself.

use crate::harness::eventually;
use crate::harness::postern::{Daemon, Setup};
use crate::harness::rig::Rig;
use crate::harness::submit::{Sent, Submitter};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(20);
/// After sysexits.h: EX_DATAERR, EX_CANTCREAT, EX_TEMPFAIL, EX_CONFIG.
const DATA: i32 = 65;
const CANNOT_CREATE: i32 = 73;
const TEMPORARY: i32 = 75;
const CONFIGURATION: i32 = 78;
const LINE: &str = "a line of some length, again and again\r\n";

/// A relay at this port of the provider's host.
fn write(setup: &Setup, rig: &Rig, port: u16) {
    setup.write(&format!(
        "token_configs:\n{}relays:\n  - {{name: desk, host: 127.0.0.1, port: {port}, tls: none, user: desk, auth: {{token: desk}}, senders: ['@help.example']}}\n",
        rig.token_config_yaml("desk")
    ));
}

/// A daemon with a small and a large reply that cannot leave yet.
fn with_mail(rig: &Rig) -> (Setup, Daemon) {
    let setup = Setup::new(rig, "");
    write(&setup, rig, crate::harness::free_port());
    setup.ok(&["token", "seed", "desk"], &rig.provider.consent("desk"));
    let daemon = setup.start();
    submit(&setup, "small", "x\r\n");
    submit(&setup, "large", &LINE.repeat(20_000));
    (setup, daemon)
}

fn submit(setup: &Setup, subject: &str, body: &str) {
    let message =
        format!("From: desk@help.example\r\nTo: one@y.test\r\nSubject: {subject}\r\n\r\n{body}");
    let mut session = Submitter::connect(setup.submission).unwrap();
    let sent = session.send("desk@help.example", &["one@y.test"], message.as_bytes());
    assert_eq!(sent, Sent::Accepted);
}

fn back_up(setup: &Setup, name: &str) -> PathBuf {
    let file = setup.dir.join(name);
    setup.ok(&["backup", file.to_str().unwrap()], "");
    file
}

fn refused(output: &Output, code: i32, words: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains(words), "{said}");
    assert_eq!(output.status.code(), Some(code), "{said}");
}

/// Everything goes but the key.
fn wipe(setup: &Setup) {
    let key = std::fs::read(setup.state_dir().join("postern.key")).unwrap();
    std::fs::remove_dir_all(setup.state_dir()).unwrap();
    std::fs::create_dir(setup.state_dir()).unwrap();
    put_key(setup, &key);
}

fn put_key(setup: &Setup, key: &[u8]) {
    let path = setup.state_dir().join("postern.key");
    std::fs::write(&path, key).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_backup_of_a_running_daemon_comes_back_on_an_empty_host_and_sends_only_what_is_released() {
    let rig = Rig::new(Duration::from_secs(600));
    let (setup, daemon) = with_mail(&rig);
    let file = back_up(&setup, "postern.backup");
    assert_eq!(
        std::fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let bytes = std::fs::read(&file).unwrap();
    let secret = rig.provider.client().1;
    assert!(
        !bytes
            .windows(secret.len())
            .any(|part| part == secret.as_bytes()),
        "a secret is in clear in the backup"
    );
    daemon.kill9();
    wipe(&setup);
    write(&setup, &rig, rig.provider.smtp().port());
    let told = setup.ok(&["restore", file.to_str().unwrap()], "");
    assert!(told.contains("2 messages are held"), "{told}");
    assert!(
        !names(&setup.state_dir())
            .iter()
            .any(|name| name.starts_with('.')),
        "the folder of the work is left behind"
    );

    let daemon = setup.start();
    setup.ok(&["token", "access", "desk"], "");
    let held = setup.ok(&["queue", "list", "--held"], "");
    assert!(held.contains("small") && held.contains("large"), "{held}");
    assert!(held.contains("restored from the backup of"), "{held}");
    assert!(rig.provider.submitted().is_empty());
    setup.ok(&["queue", "release", "--all", "--held"], "");
    eventually("both replies leave", SOON, || {
        rig.provider.submitted().len() == 2
    });
    let large = rig
        .provider
        .submitted()
        .into_iter()
        .map(|mail| mail.bytes.len());
    assert!(large.max() > Some(LINE.len() * 20_000));
    assert!(daemon.stop().success());
}

#[test]
fn a_restore_that_is_refused_changes_nothing() {
    let rig = Rig::new(Duration::from_secs(600));
    let (setup, daemon) = with_mail(&rig);
    let file = back_up(&setup, "postern.backup");
    let restore = |file: &Path| setup.run(&["restore", file.to_str().unwrap()], "");
    refused(
        &setup.run(&["backup", file.to_str().unwrap()], ""),
        CANNOT_CREATE,
        "exists already, and a backup never replaces another",
    );
    refused(
        &restore(&file),
        TEMPORARY,
        "is in use already by postern run",
    );
    assert!(daemon.stop().success());
    refused(&restore(&file), DATA, "--replace moves that aside first");

    let key = std::fs::read(setup.state_dir().join("postern.key")).unwrap();
    wipe(&setup);
    let whole = std::fs::read(&file).unwrap();
    let harmed = setup.dir.join("harmed.backup");
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    for (bytes, words) in [
        (&whole[..whole.len() / 3], "cut short"),
        (&whole[..512], "cut short"),
        (&flipped, "the backup is damaged"),
        (b"something else", "cut short, or no backup of Postern"),
    ] {
        std::fs::write(&harmed, bytes).unwrap();
        refused(&restore(&harmed), DATA, words);
        assert_eq!(names(&setup.state_dir()), ["postern.key", "postern.lock"]);
    }
    put_key(&setup, "A".repeat(43).as_bytes());
    refused(&restore(&file), CONFIGURATION, "sealed with another key");
    std::fs::remove_file(setup.state_dir().join("postern.key")).unwrap();
    refused(&restore(&file), CONFIGURATION, "is missing");
    assert_eq!(names(&setup.state_dir()), ["postern.lock"]);
    put_key(&setup, &key);
    assert!(restore(&file).status.success());
}

#[test]
fn what_a_restore_replaces_is_kept_aside() {
    let rig = Rig::new(Duration::from_secs(600));
    let (setup, daemon) = with_mail(&rig);
    let file = back_up(&setup, "postern.backup");
    submit(&setup, "later", "x\r\n");
    assert!(daemon.stop().success());
    let told = setup.ok(&["restore", "--replace", file.to_str().unwrap()], "");
    assert!(told.contains("what was there is in "), "{told}");
    let list = setup.ok(&["queue", "list"], "");
    assert!(list.contains("small") && !list.contains("later"), "{list}");
    let state = setup.state_dir();
    let aside = names(&state)
        .into_iter()
        .find(|name| name.starts_with("before-restore-"))
        .unwrap();
    // It is whole: put back, it goes on.
    for part in ["spool", "spool.db", "accounts.db"] {
        let _former = std::fs::remove_dir_all(state.join(part));
        let _former = std::fs::remove_file(state.join(part));
        std::fs::rename(state.join(&aside).join(part), state.join(part)).unwrap();
    }
    let list = setup.ok(&["queue", "list"], "");
    assert!(list.contains("later"), "{list}");
}
