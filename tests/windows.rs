//! `kill -9` inside each named window, and just beside it: one double where it is promised, none elsewhere, no token lost.

use crate::harness::postern::{Daemon, Setup};
use crate::harness::rig::Rig;
use crate::harness::submit::{Sent, Submitter};
use crate::harness::{eventually, sha256};
use crate::real_imap::{filing_command, hashes_of};
use sandbox::{Fault, Service};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub(crate) const MESSAGE: &[u8] = b"Subject: in the window\r\nDate: Tue, 14 Nov 2023 22:13:20 +0000\r\nMessage-ID: <w@x.test>\r\n\r\nbody\r\n";
/// Longer than a test lives: an answer withheld for so long is never heard.
pub(crate) const NEVER: Duration = Duration::from_secs(600);

/// A mailbox and a relay at the pretend provider.
fn setup(rig: &Rig, command: &[&Path], after: &str) -> Setup {
    let imap = rig.provider.imap().port();
    setup_by("imap", imap, rig, command, after)
}

/// The same by another protocol.
pub(crate) fn setup_by(
    protocol: &str,
    port: u16,
    rig: &Rig,
    command: &[&Path],
    after: &str,
) -> Setup {
    // A kill may fall into a refresh. A provider without theft detection keeps the old token good, so that the answer that was
    // never heard costs nothing; with it, nobody could help.
    rig.provider.set_knobs(|knobs| knobs.punish_reuse = false);
    let command: Vec<String> = command
        .iter()
        .map(|word| format!("'{}'", word.display()))
        .collect();
    let smtp = rig.provider.smtp().port();
    let accounts = format!(
        "token_configs:\n{}mailboxes:\n  - name: desk\n    protocol: {protocol}\n    host: 127.0.0.1\n    port: {port}\n    tls: none\n    user: desk\n    auth: {{token: desk}}\n    \
         deliver: {{command: [{}]}}\n    after: {after}\nrelays:\n  - name: desk\n    host: 127.0.0.1\n    port: {smtp}\n    tls: none\n    user: desk\n    auth: {{token: desk}}\n    \
         senders: ['@help.example']\n    rate: 10000/min\n",
        rig.token_config_yaml("desk"),
        command.join(", ")
    );
    let setup = Setup::new(rig, &accounts);
    setup.ok(&["token", "seed", "desk"], &rig.provider.consent("desk"));
    setup
}

/// A command that files its message, then kills the daemon before its own exit 0 can be noted; only the first time.
pub(crate) fn deadly_command(dir: &Path) -> (PathBuf, PathBuf) {
    let (_, filed) = filing_command(dir);
    let script = dir.join("deadly");
    let text = "#!/bin/sh\nset -e\ncat > \"$1/$POSTERN_DELIVERY_ID.$$\"\nif [ ! -e \"$1/.killed\" ]; then : > \"$1/.killed\"; kill -9 $PPID; fi\n";
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    (script, filed)
}

pub(crate) fn names(filed: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(filed)
        .unwrap()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned());
    entries.filter(|name| !name.starts_with('.')).collect()
}

fn submit(setup: &Setup, message: &[u8]) -> Sent {
    Submitter::connect(setup.submission)
        .unwrap()
        .send("desk@help.example", &["r@y.test"], message)
}

/// The message as the provider got it, below the Received field that Postern adds.
fn below_received(bytes: &[u8]) -> &[u8] {
    let start = bytes
        .windows(9)
        .position(|w| w == b"\nSubject:")
        .expect("the message has a subject")
        + 1;
    &bytes[start..]
}

/// Messages delivered whose mailbox has not confirmed the acknowledgement yet.
pub(crate) fn unacknowledged(setup: &Setup) -> u64 {
    let status: serde_json::Value =
        serde_json::from_str(&setup.ok(&["status", "--json"], "")).unwrap();
    status["mailboxes"][0]["unacknowledged"].as_u64().unwrap()
}

pub(crate) fn wait_until_dead(daemon: Daemon) {
    let pid = daemon.pid();
    eventually(
        "the daemon was killed by its own command",
        Duration::from_secs(20),
        || {
            let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            state.is_empty() || state.contains(") Z ")
        },
    );
    daemon.kill9();
}

#[test]
fn killed_between_the_commands_success_and_the_commit_a_message_comes_twice_with_one_delivery_id() {
    let rig = Rig::new(Duration::from_secs(3600));
    let (script, filed) = deadly_command(rig.path());
    let setup = setup(&rig, &[&script, &filed], "delete");
    rig.provider.put_mail("desk", MESSAGE.to_vec());
    wait_until_dead(setup.start());
    assert_eq!(
        rig.provider.folder("desk", "INBOX").len(),
        1,
        "the mailbox was touched before the delivery was on disk"
    );

    let daemon = setup.start();
    eventually(
        "the message is acknowledged",
        Duration::from_secs(30),
        || rig.provider.folder("desk", "INBOX").is_empty(),
    );
    assert!(daemon.stop().success());
    assert_eq!(
        hashes_of(&filed).into_iter().collect::<Vec<_>>(),
        [(sha256(MESSAGE), 2)]
    );
    let ids: Vec<String> = names(&filed)
        .iter()
        .map(|name| name.rsplit_once('.').unwrap().0.to_owned())
        .collect();
    assert_eq!(ids[0], ids[1], "the second delivery has another id");
}

#[test]
fn killed_between_delivery_and_acknowledgement_only_the_acknowledgement_is_repeated() {
    let rig = Rig::new(Duration::from_secs(3600));
    let (script, filed) = filing_command(rig.path());
    let setup = setup(&rig, &[&script, &filed], "delete");
    rig.provider
        .fault(Service::Imap, "UID STORE", 1, Fault::Delay(NEVER));
    rig.provider.put_mail("desk", MESSAGE.to_vec());
    let daemon = setup.start();
    let unacknowledged = || unacknowledged(&setup) == 1;
    eventually(
        "the message is delivered, and its acknowledgement under way",
        Duration::from_secs(30),
        || names(&filed).len() == 1 && unacknowledged(),
    );
    daemon.kill9();

    let daemon = setup.start();
    eventually(
        "the acknowledgement is repeated",
        Duration::from_secs(30),
        || rig.provider.folder("desk", "INBOX").is_empty(),
    );
    assert!(daemon.stop().success());
    assert_eq!(names(&filed).len(), 1, "it was delivered again");
}

#[test]
fn killed_while_the_mailbox_has_deleted_and_not_answered_nothing_comes_again() {
    let rig = Rig::new(Duration::from_secs(3600));
    let (script, filed) = filing_command(rig.path());
    let setup = setup(&rig, &[&script, &filed], "delete");
    rig.provider
        .fault(Service::Imap, "UID EXPUNGE", 1, Fault::Withhold(NEVER));
    rig.provider.put_mail("desk", MESSAGE.to_vec());
    let daemon = setup.start();
    eventually("the mailbox is empty", Duration::from_secs(30), || {
        rig.provider.folder("desk", "INBOX").is_empty()
    });
    daemon.kill9();

    let daemon = setup.start();
    eventually("the spool is empty", Duration::from_secs(30), || {
        unacknowledged(&setup) == 0
    });
    assert!(daemon.stop().success());
    assert_eq!(names(&filed).len(), 1);
}

#[test]
fn killed_between_the_final_dot_and_the_noted_answer_a_reply_leaves_twice_with_the_same_bytes() {
    let rig = Rig::new(Duration::from_secs(3600));
    let (script, filed) = filing_command(rig.path());
    let setup = setup(&rig, &[&script, &filed], "keep");
    rig.provider
        .fault(Service::Smtp, ".", 1, Fault::Withhold(NEVER));
    let daemon = setup.start();
    assert_eq!(submit(&setup, MESSAGE), Sent::Accepted);
    eventually("the provider has it", Duration::from_secs(30), || {
        rig.provider.submitted().len() == 1
    });
    daemon.kill9();

    let daemon = setup.start();
    eventually("it is sent once more", Duration::from_secs(60), || {
        setup.ok(&["queue", "list", "--json"], "").trim() == "[]"
    });
    assert!(daemon.stop().success());
    let submitted = rig.provider.submitted();
    assert_eq!(submitted.len(), 2);
    assert!(
        submitted
            .iter()
            .all(|mail| below_received(&mail.bytes) == MESSAGE)
    );
}

#[test]
fn killed_after_the_250_and_before_the_relay_a_reply_leaves_once() {
    let rig = Rig::new(Duration::from_secs(3600));
    let (script, filed) = filing_command(rig.path());
    let setup = setup(&rig, &[&script, &filed], "keep");
    rig.provider
        .fault_for(Service::Smtp, "MAIL", NEVER, Fault::Delay(NEVER));
    let daemon = setup.start();
    assert_eq!(submit(&setup, MESSAGE), Sent::Accepted);
    daemon.kill9();
    rig.provider.clear_faults();

    let daemon = setup.start();
    eventually("it is relayed", Duration::from_secs(60), || {
        !rig.provider.submitted().is_empty()
    });
    eventually("the queue is empty", Duration::from_secs(30), || {
        setup.ok(&["queue", "list", "--json"], "").trim() == "[]"
    });
    assert!(daemon.stop().success());
    assert_eq!(rig.provider.submitted().len(), 1);
}

#[test]
fn an_answer_lost_after_the_final_dot_leaves_the_reply_in_doubt_and_not_sent_again_at_once() {
    let rig = Rig::new(Duration::from_secs(3600));
    let (script, filed) = filing_command(rig.path());
    let setup = setup(&rig, &[&script, &filed], "keep");
    rig.provider.fault(Service::Smtp, ".", 1, Fault::Lose);
    let daemon = setup.start();
    assert_eq!(submit(&setup, MESSAGE), Sent::Accepted);
    let mut shown = String::new();
    eventually(
        "the queue says that it is in doubt",
        Duration::from_secs(30),
        || {
            shown = setup.ok(&["queue", "list", "--json"], "");
            shown.contains("doubt")
        },
    );
    let queue: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert!(queue[0]["next_seconds"].as_i64().unwrap() > 60, "{shown}");
    assert_eq!(rig.provider.submitted().len(), 1);
    assert!(daemon.stop().success());
}

#[test]
fn killed_while_a_refresh_is_under_way_the_refresh_token_is_still_there() {
    let rig = Rig::new(Duration::from_secs(3600));
    let (script, filed) = filing_command(rig.path());
    let setup = setup(&rig, &[&script, &filed], "delete");
    rig.provider
        .fault(Service::Oauth, "/token", 1, Fault::Withhold(NEVER));
    rig.provider.put_mail("desk", MESSAGE.to_vec());
    let daemon = setup.start();
    eventually(
        "the provider has refreshed and not answered",
        Duration::from_secs(30),
        || rig.provider.counts().refreshes == 1,
    );
    daemon.kill9();

    let daemon = setup.start();
    eventually("mail flows", Duration::from_secs(60), || {
        rig.provider.folder("desk", "INBOX").is_empty()
    });
    assert!(daemon.stop().success());
    assert_eq!(names(&filed).len(), 1);
}

/// The database is locked from outside, so that the daemon has the answer and cannot keep it; then it dies.
fn kill_between_answer_and_commit(rig: &Rig, setup: &Setup) {
    let daemon = setup.start();
    let lock = rusqlite::Connection::open(setup.state_dir().join("accounts.db")).unwrap();
    lock.busy_timeout(Duration::from_secs(10)).unwrap();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    // Tokens that live a few seconds: the next refresh is never far.
    let before = rig.provider.counts().refreshes;
    eventually("the provider has answered", Duration::from_secs(30), || {
        rig.provider.counts().refreshes > before
    });
    daemon.kill9();
    lock.execute_batch("ROLLBACK").unwrap();
}

#[test]
fn killed_between_the_answer_of_a_token_endpoint_and_its_commit_the_former_refresh_token_is_used_again()
 {
    let rig = Rig::new(Duration::from_secs(4));
    let (script, filed) = filing_command(rig.path());
    let setup = setup(&rig, &[&script, &filed], "delete");
    kill_between_answer_and_commit(&rig, &setup);
    rig.provider.put_mail("desk", MESSAGE.to_vec());

    let daemon = setup.start();
    eventually("mail flows", Duration::from_secs(60), || {
        rig.provider.folder("desk", "INBOX").is_empty()
    });
    assert!(daemon.stop().success());
    assert_eq!(names(&filed).len(), 1);
}

#[test]
fn with_a_provider_that_punishes_reuse_the_same_kill_costs_a_consent_and_no_mail() {
    let rig = Rig::new(Duration::from_secs(4));
    let (script, filed) = filing_command(rig.path());
    let setup = setup(&rig, &[&script, &filed], "delete");
    rig.provider.set_knobs(|knobs| knobs.punish_reuse = true);
    kill_between_answer_and_commit(&rig, &setup);
    rig.provider.put_mail("desk", MESSAGE.to_vec());

    let daemon = setup.start();
    eventually("a person is asked", Duration::from_secs(60), || {
        setup.ok(&["notices", "--json"], "").contains("consent")
    });
    assert!(names(&filed).is_empty());
    setup.ok(&["token", "seed", "desk"], &rig.provider.consent("desk"));
    eventually("mail flows", Duration::from_secs(60), || {
        rig.provider.folder("desk", "INBOX").is_empty()
    });
    assert!(daemon.stop().success());
    assert_eq!(names(&filed).len(), 1);
}
