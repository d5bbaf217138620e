//! A maildir on a disk that is full: nothing torn is to be seen there, nothing leaves the mailbox, and it goes on when there is room.

use crate::harness::disk::Disk;
use crate::harness::postern::Setup;
use crate::harness::rig::Rig;
use crate::harness::{eventually, sha256};
use crate::real_imap::hashes_of;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// Two pauses after failures lie within; a loaded machine takes several times as long.
const SOON: Duration = Duration::from_secs(240);
/// So many messages, the largest of which are files of their own in the spool.
const MESSAGES: usize = 12;

fn message(n: usize) -> Vec<u8> {
    let mut bytes = format!("Subject: m{n}\r\n\r\n").into_bytes();
    let line = format!("line of message {n}, which must come whole\r\n");
    let size = if n.is_multiple_of(4) { 400_000 } else { 60_000 };
    bytes.extend(line.as_bytes().iter().cycle().take(size));
    bytes
}

fn waiting(setup: &Setup) -> Vec<serde_json::Value> {
    serde_json::from_str(&setup.ok(&["queue", "list", "--json"], "")).unwrap()
}

/// What is to be seen is whole, and nothing is left aside.
fn assert_whole(maildir: &Path, expected: &BTreeMap<String, usize>) {
    for (hash, count) in hashes_of(&maildir.join("new")) {
        assert_eq!((expected.get(&hash), count), (Some(&1), 1));
    }
    assert_eq!(hashes_of(&maildir.join("tmp")), BTreeMap::new());
}

#[test]
fn a_full_disk_tears_nothing_and_loses_nothing_and_mail_flows_on_when_there_is_room() {
    let rig = Rig::new(Duration::from_secs(3600));
    let disk = Disk::mount(&rig.path().join("small"), "8m");
    let maildir = disk.path().join("tickets");
    let (user, imap) = ("desk", rig.provider.imap().port());
    rig.provider.set_password(user, "pass");
    let setup = Setup::new(
        &rig,
        &format!(
            "mailboxes:\n  - name: {user}\n    protocol: imap\n    host: 127.0.0.1\n    port: {imap}\n    tls: none\n    user: {user}\n    \
             auth: {{password: pass}}\n    deliver: {{maildir: {}}}\n    after: delete\n",
            maildir.display()
        ),
    );
    let mut expected = BTreeMap::new();
    for n in 0..MESSAGES {
        expected.insert(sha256(&message(n)), 1);
        rig.provider.put_mail(user, message(n));
    }
    let in_mailbox = || rig.provider.folder(user, "INBOX").len();
    // Room for some of them, and not at a page's end: the last one that begins finds none in its middle.
    disk.fill_but(300_001);
    let daemon = setup.start();
    let full = |row: &serde_json::Value| {
        row["why"]
            .as_str()
            .is_some_and(|why| why.contains("No space left on device") && why.contains("tickets"))
    };
    eventually("the full disk is told with each message", SOON, || {
        let rows = waiting(&setup);
        !rows.is_empty() && rows.len() == in_mailbox() && rows.iter().all(full)
    });
    let filed = hashes_of(&maildir.join("new")).len();
    assert!(filed > 0 && filed < MESSAGES, "{filed}");
    assert_eq!(in_mailbox(), MESSAGES - filed, "what is not filed stays");
    assert_whole(&maildir, &expected);
    eventually("the status tells of it", SOON, || {
        setup
            .ok(&["status"], "")
            .contains("deliveries fail and pause")
    });

    // Not even an empty file, and the daemon is killed over it.
    disk.fill_but(0);
    setup.ok(&["queue", "retry", "--all"], "");
    daemon.kill9();
    let daemon = setup.start();
    setup.ok(&["queue", "retry", "--all"], "");
    eventually("they fail again", SOON, || {
        let rows = waiting(&setup);
        rows.len() == MESSAGES - filed && rows.iter().all(full)
    });
    assert_whole(&maildir, &expected);

    disk.make_room();
    eventually("all are through", SOON, || {
        setup.ok(&["queue", "retry", "--all"], "");
        in_mailbox() == 0
    });
    assert!(daemon.stop().success());
    assert_eq!(hashes_of(&maildir.join("new")), expected);
    assert_whole(&maildir, &expected);
    let log = std::fs::read_to_string(rig.path().join("postern.log")).unwrap();
    for hash in expected.keys() {
        let line = |line: &&str| !line.contains("not delivered") && line.contains(hash.as_str());
        assert_eq!(log.lines().filter(line).count(), 1, "{hash} in the log");
    }
}
