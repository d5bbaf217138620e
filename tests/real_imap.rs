//! Mail from a real Dovecot, by tokens Postern keeps, to a command, byte for byte.

use crate::harness::dovecot::Dovecot;
use crate::harness::postern::Setup;
use crate::harness::rig::{Rig, open_to_all};
use crate::harness::{corpus, eventually, sha256};
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A command that files each message it is given under a name of its own, so that a second delivery is a second file.
pub(crate) fn filing_command(dir: &Path) -> (PathBuf, PathBuf) {
    let filed = dir.join("filed");
    std::fs::create_dir_all(&filed).unwrap();
    open_to_all(&filed);
    let script = dir.join("file-each");
    std::fs::write(&script, "#!/bin/sh\nset -e\ncat > \"$1/.$POSTERN_DELIVERY_ID.$$\"\nmv \"$1/.$POSTERN_DELIVERY_ID.$$\" \"$1/$POSTERN_DELIVERY_ID.$$\"\n").unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    (script, filed)
}

/// SHA-256 of everything filed, each with how often it is there.
pub(crate) fn hashes_of(filed: &Path) -> BTreeMap<String, usize> {
    let mut all = BTreeMap::new();
    for entry in std::fs::read_dir(filed).unwrap().flatten() {
        if !entry.file_name().to_string_lossy().starts_with('.') {
            *all.entry(sha256(&std::fs::read(entry.path()).unwrap()))
                .or_insert(0) += 1;
        }
    }
    all
}

/// A mailbox section for a Dovecot of the rig.
pub(crate) fn mailbox_yaml(rig: &Rig, name: &str, port: u16, more: &str) -> String {
    let ca = rig.ca();
    format!(
        "  - name: {name}\n    protocol: imap\n    host: localhost\n    port: {port}\n    tls_ca_file: {}\n    user: {name}\n{more}",
        ca.display()
    )
}

#[test]
fn five_hundred_messages_arrive_byte_for_byte_and_memory_stays_small() {
    let rig = Rig::new(Duration::from_secs(5));
    let dovecot = Dovecot::start(&rig);
    let (script, filed) = filing_command(rig.path());
    let mut expected = BTreeMap::new();
    for sample in corpus::corpus(7, 500) {
        dovecot.put("desk", &sample.stored);
        *expected.entry(sha256(&sample.served)).or_insert(0) += 1;
    }
    let deliver = format!(
        "    auth: {{token: desk}}\n    tls: implicit\n    deliver: {{command: ['{}', '{}']}}\n    after: delete\n",
        script.display(),
        filed.display()
    );
    let accounts = format!(
        "token_configs:\n{}mailboxes:\n{}",
        rig.token_config_yaml("desk"),
        mailbox_yaml(&rig, "desk", dovecot.imaps, &deliver)
    );
    let setup = Setup::new(&rig, &accounts);
    setup.ok(&["token", "seed", "desk"], &rig.provider.consent("desk"));

    let daemon = setup.start();
    eventually("the mailbox is empty", Duration::from_secs(120), || {
        dovecot.count("desk", None) == 0
    });
    let peak = daemon.own_peak_kib();
    assert!(daemon.stop().success());

    assert_eq!(
        hashes_of(&filed),
        expected,
        "what was filed is not what the mailbox held"
    );
    assert!(
        rig.provider.counts().refreshes >= 1,
        "no token was ever refreshed"
    );
    println!("peak memory of the daemon: {peak} KiB besides the program itself");
    assert!(peak < 20 * 1024, "peak memory of the daemon was {peak} KiB");
    assert_eq!(setup.ok(&["queue", "list", "--json"], "").trim(), "[]");
}

/// A mailbox for each way to sign in and each way to acknowledge, five messages in each; the mailboxes of tokens are seeded.
fn four_mailboxes(rig: &Rig, dovecot: &Dovecot, command: &str) -> Setup {
    let by_token = "auth: {token: TOKEN}";
    let by_password = "auth: {password: pass}";
    let cases = [
        ("seen", "starttls", by_token, "xoauth2", "seen"),
        ("keep", "implicit", by_token, "oauthbearer", "keep"),
        (
            "moved",
            "implicit",
            by_password,
            "plain",
            "{move: Processed, create: true}",
        ),
        ("login", "starttls", by_password, "login", "delete"),
    ];
    let (mut tokens, mut mailboxes) = (String::new(), String::new());
    for (user, tls, auth, sasl, after) in cases {
        if auth == by_token {
            tokens.push_str(&rig.token_config_yaml(user));
        }
        let auth = auth.replace("TOKEN", user);
        let port = if tls == "starttls" {
            dovecot.imap
        } else {
            dovecot.imaps
        };
        let more = format!(
            "    tls: {tls}\n    {auth}\n    sasl: {sasl}\n    deliver: {{command: {command}}}\n    after: {after}\n"
        );
        mailboxes.push_str(&mailbox_yaml(rig, user, port, &more));
        (0..5).for_each(|n| {
            dovecot.put(
                user,
                format!("Subject: {n} for {user}\n\nbody\n").as_bytes(),
            )
        });
    }
    let setup = Setup::new(
        rig,
        &format!("token_configs:\n{tokens}mailboxes:\n{mailboxes}"),
    );
    for user in ["seen", "keep"] {
        setup.ok(&["token", "seed", user], &rig.provider.consent(user));
    }
    setup
}

#[test]
fn each_way_to_sign_in_and_each_way_to_acknowledge_works_on_dovecot() {
    let rig = Rig::new(Duration::from_secs(3600));
    let dovecot = Dovecot::start(&rig);
    let (script, filed) = filing_command(rig.path());
    let command = format!("['{}', '{}']", script.display(), filed.display());
    let setup = four_mailboxes(&rig, &dovecot, &command);

    let daemon = setup.start();
    let filed_count = || hashes_of(&filed).values().sum::<usize>();
    eventually(
        "all twenty messages are filed",
        Duration::from_secs(60),
        || filed_count() == 20,
    );
    eventually(
        "moved and deleted mail is gone from INBOX",
        Duration::from_secs(30),
        || dovecot.count("moved", None) == 0 && dovecot.count("login", None) == 0,
    );
    assert_eq!(dovecot.count("moved", Some("Processed")), 5);
    // Mail that stays in the mailbox is not delivered again, and new mail wakes the idle session.
    dovecot.put("keep", b"Subject: one more\n\nbody\n");
    eventually(
        "new mail is pushed and filed",
        Duration::from_secs(30),
        || filed_count() == 21,
    );
    assert!(daemon.stop().success());
    let daemon = setup.start();
    dovecot.put("seen", b"Subject: after a restart\n\nbody\n");
    eventually(
        "new mail after a restart is filed",
        Duration::from_secs(30),
        || filed_count() == 22,
    );
    assert!(daemon.stop().success());
    assert_eq!(
        hashes_of(&filed).values().copied().max(),
        Some(1),
        "something was filed twice"
    );
    assert_eq!(
        (dovecot.count("seen", None), dovecot.count("keep", None)),
        (6, 6)
    );
}
