//! Held mail, from the command that fails to the person who decides: seen, saved, held, released, retried, deleted.

use crate::harness::dovecot::Dovecot;
use crate::harness::postern::Setup;
use crate::harness::rig::{Rig, open_to_all};
use crate::harness::{eventually, sha256};
use crate::real_imap::{hashes_of, mailbox_yaml};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(30);

/// A command that files what it is given; poison it refuses for good, with a word on standard error, until it is cured.
pub(crate) fn choosy_command(dir: &Path) -> (PathBuf, PathBuf) {
    let filed = dir.join("filed");
    std::fs::create_dir_all(&filed).unwrap();
    open_to_all(&filed);
    let script = dir.join("choosy");
    std::fs::write(
        &script,
        "#!/bin/sh\nset -e\ncat > \"$1/.$POSTERN_DELIVERY_ID.$$\"\n\
         if [ ! -e \"$1/.cured\" ] && grep -q '^X-Poison: yes' \"$1/.$POSTERN_DELIVERY_ID.$$\"; then\n\
         rm \"$1/.$POSTERN_DELIVERY_ID.$$\"; echo 'the queue is unknown' >&2; exit 65; fi\n\
         mv \"$1/.$POSTERN_DELIVERY_ID.$$\" \"$1/$POSTERN_DELIVERY_ID.$$\"\n",
    )
    .unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    (script, filed)
}

/// A gateway of one mailbox `desk`, whose command is the choosy one.
struct Desk {
    setup: Setup,
    filed: PathBuf,
    dovecot: Dovecot,
    rig: Rig,
}

impl Desk {
    fn new(more: &str) -> Self {
        let rig = Rig::new(Duration::from_secs(3600));
        let dovecot = Dovecot::start(&rig);
        let (script, filed) = choosy_command(rig.path());
        let deliver = format!(
            "    auth: {{password: pass}}\n    sasl: plain\n    tls: implicit\n    deliver: {{command: ['{}', '{}']}}\n{more}",
            script.display(),
            filed.display()
        );
        let mailbox = mailbox_yaml(&rig, "desk", dovecot.imaps, &deliver);
        let setup = Setup::new(&rig, &format!("mailboxes:\n{mailbox}"));
        Self {
            setup,
            filed,
            dovecot,
            rig,
        }
    }

    fn queue(&self, more: &[&str]) -> Vec<serde_json::Value> {
        let args = [&["queue", "list", "--json"], more].concat();
        serde_json::from_str(&self.setup.ok(&args, "")).unwrap()
    }

    /// The number of the one held message, once it is held: a command's refusal gets some tries first, which a person hurries.
    fn held(&self) -> String {
        let mut held = Vec::new();
        eventually("the poison is held", SOON, || {
            self.setup.ok(&["queue", "retry", "--all"], "");
            held = self.queue(&["--held", "--mailbox", "desk"]);
            !held.is_empty()
        });
        assert_eq!(held.len(), 1);
        held[0]["id"].to_string()
    }

    fn cure(&self) {
        std::fs::write(self.filed.join(".cured"), b"").unwrap();
    }
}

fn poison(n: usize) -> Vec<u8> {
    format!("X-Poison: yes\nFrom: Ann <ann@example.net>\nSubject: poison {n}\n\nbody \u{e9}\n")
        .into_bytes()
}

fn good(n: usize) -> Vec<u8> {
    format!("From: ann@example.net\nSubject: good {n}\n\nbody\n").into_bytes()
}

fn served(stored: &[u8]) -> Vec<u8> {
    let text = String::from_utf8(stored.to_vec()).unwrap();
    text.replace('\n', "\r\n").into_bytes()
}

#[test]
fn a_held_message_is_shown_saved_byte_for_byte_and_delivered_when_a_person_says_so() {
    let desk = Desk::new("");
    let setup = &desk.setup;
    desk.dovecot.put("desk", &poison(1));
    desk.dovecot.put("desk", &good(2));
    let daemon = setup.start();
    let id = desk.held();
    eventually("the good one is through", SOON, || {
        desk.dovecot.count("desk", None) == 1
    });

    let shown = setup.ok(&["queue", "show", &id], "");
    for words in [
        "poison 1",
        "INBOX, UID 1",
        "the ticket system: held, 3 attempts, held for",
        "refused 3 times, at last: exit code 65",
        "the queue is unknown",
        "X-Poison: yes",
    ] {
        assert!(shown.contains(words), "{words}\n{shown}");
    }
    let raw = setup.run(&["queue", "show", &id, "--raw"], "").stdout;
    assert_eq!(raw, served(&poison(1)));
    let file = desk.rig.path().join("saved.eml");
    let path = file.display().to_string();
    setup.ok(&["queue", "show", &id, "--output", &path], "");
    assert_eq!(std::fs::read(&file).unwrap(), raw);
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let again = setup.run(&["queue", "show", &id, "--output", &path], "");
    assert_eq!(again.status.code(), Some(73), "nothing is written over");

    // It stays held, in the mailbox too, over a restart; without a daemon the same commands work.
    assert!(daemon.stop().success());
    assert_eq!(desk.queue(&["--held"]).len(), 1);
    desk.cure();
    let words = setup.ok(&["queue", "release", &id], "");
    assert_eq!(words.trim(), "1 message released, due when the daemon runs");
    let daemon = setup.start();
    eventually("it is delivered and acknowledged", SOON, || {
        desk.dovecot.count("desk", None) == 0
    });
    assert!(daemon.stop().success());
    let filed = hashes_of(&desk.filed);
    assert_eq!(filed.get(&sha256(&served(&poison(1)))), Some(&1));
    assert_eq!(filed.len(), 2);
}

#[test]
fn a_deleted_message_stays_in_the_mailbox_and_is_not_fetched_again() {
    let desk = Desk::new("");
    let setup = &desk.setup;
    desk.dovecot.put("desk", &poison(1));
    let daemon = setup.start();
    let id = desk.held();
    let refused = setup.run(&["queue", "delete", &id], "");
    assert_eq!(refused.status.code(), Some(64), "nobody was there to ask");
    assert_eq!(desk.queue(&[]).len(), 1);
    let words = setup.ok(
        &["queue", "delete", "--all", "--held", "--inbound", "--yes"],
        "",
    );
    assert_eq!(words.trim(), "1 message deleted");
    desk.cure();
    desk.dovecot.put("desk", &good(2));
    setup.ok(&["mailbox", "fetch", "desk"], "");
    eventually("later mail is through", SOON, || {
        !hashes_of(&desk.filed).is_empty()
    });
    eventually("and acknowledged", SOON, || {
        desk.dovecot.count("desk", None) == 1
    });
    assert!(daemon.stop().success());
    assert_eq!(hashes_of(&desk.filed).len(), 1);
    assert!(desk.queue(&[]).is_empty());
}

#[test]
fn a_person_holds_what_waits_and_gives_it_back() {
    let desk = Desk::new("");
    let setup = &desk.setup;
    desk.dovecot.put("desk", &poison(1));
    let daemon = setup.start();
    eventually("it is tried once", SOON, || {
        desk.queue(&[])
            .first()
            .is_some_and(|row| row["attempts"] == 1)
    });
    let words = setup.ok(
        &["queue", "hold", "--mailbox", "desk", "--reason", "ask Ann"],
        "",
    );
    assert_eq!(words.trim(), "1 message held");
    let row = &desk.queue(&["--held"])[0];
    let why = row["why"].as_str().unwrap();
    assert!(
        why.starts_with("held by a person: ask Ann; before that: exit code 65"),
        "{why}"
    );
    desk.cure();
    let words = setup.ok(&["queue", "release", "--all"], "");
    assert_eq!(words.trim(), "1 message released, due now");
    eventually("it is through", SOON, || {
        desk.dovecot.count("desk", None) == 0
    });
    assert!(daemon.stop().success());
    assert_eq!(hashes_of(&desk.filed).len(), 1);
}
