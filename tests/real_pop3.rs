//! Mail from a real Dovecot by POP3, by tokens Postern keeps and by passwords, to a command, byte for byte.

use crate::harness::dovecot::Dovecot;
use crate::harness::postern::Setup;
use crate::harness::rig::Rig;
use crate::harness::{corpus, eventually, sha256};
use crate::real_imap::{filing_command, hashes_of, mailbox_yaml};
use std::collections::BTreeMap;
use std::time::Duration;

fn pop3_yaml(rig: &Rig, name: &str, port: u16, more: &str) -> String {
    mailbox_yaml(rig, name, port, more).replace("protocol: imap", "protocol: pop3")
}

#[test]
fn three_hundred_messages_arrive_byte_for_byte_and_memory_stays_small() {
    let rig = Rig::new(Duration::from_secs(5));
    let dovecot = Dovecot::start(&rig);
    let (script, filed) = filing_command(rig.path());
    let mut expected = BTreeMap::new();
    for sample in corpus::corpus(11, 300) {
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
        pop3_yaml(&rig, "desk", dovecot.pop3s, &deliver)
    );
    let setup = Setup::new(&rig, &accounts);
    setup.ok(&["token", "seed", "desk"], &rig.provider.consent("desk"));

    let daemon = setup.start();
    eventually("the mailbox is empty", Duration::from_secs(120), || {
        dovecot.count("desk", None) == 0
    });
    let peak = daemon.peak_kib();
    assert!(daemon.stop().success());
    assert_eq!(
        hashes_of(&filed),
        expected,
        "what was filed is not what the mailbox held"
    );
    assert!(peak < 48 * 1024, "peak memory of the daemon was {peak} KiB");
    assert_eq!(setup.ok(&["queue", "list", "--json"], "").trim(), "[]");
}

/// A mailbox for each way to sign in and each way to be protected, five messages in each.
fn five_mailboxes(rig: &Rig, dovecot: &Dovecot, command: &str) -> Setup {
    let by_token = "auth: {token: TOKEN}";
    let by_password = "auth: {password: pass}";
    let cases = [
        ("xoauth", "starttls", by_token, "xoauth2", "keep"),
        ("bearer", "implicit", by_token, "oauthbearer", "delete"),
        ("plain", "implicit", by_password, "plain", "delete"),
        ("login", "starttls", by_password, "login", "delete"),
        ("auto", "none", by_password, "auto", "delete"),
    ];
    let (mut tokens, mut mailboxes) = (String::new(), String::new());
    for (user, tls, auth, sasl, after) in cases {
        if auth == by_token {
            tokens.push_str(&rig.token_config_yaml(user));
        }
        let auth = auth.replace("TOKEN", user);
        let port = if tls == "implicit" {
            dovecot.pop3s
        } else {
            dovecot.pop3
        };
        let more = format!(
            "    tls: {tls}\n    {auth}\n    sasl: {sasl}\n    deliver: {{command: {command}}}\n    after: {after}\n"
        );
        mailboxes.push_str(&pop3_yaml(rig, user, port, &more));
        (0..5).for_each(|n| {
            let message = format!("Subject: {n} for {user}\n\n.body\n");
            dovecot.put(user, message.as_bytes());
        });
    }
    let setup = Setup::new(
        rig,
        &format!("token_configs:\n{tokens}mailboxes:\n{mailboxes}"),
    );
    for user in ["xoauth", "bearer"] {
        setup.ok(&["token", "seed", user], &rig.provider.consent(user));
    }
    setup
}

#[test]
fn each_way_to_sign_in_works_on_dovecot_and_kept_mail_comes_once() {
    let rig = Rig::new(Duration::from_secs(3600));
    let dovecot = Dovecot::start(&rig);
    let (script, filed) = filing_command(rig.path());
    let command = format!("['{}', '{}']", script.display(), filed.display());
    let setup = five_mailboxes(&rig, &dovecot, &command);
    let check = setup.ok(&["check"], "");
    assert!(
        check.contains("has 5 messages; a first start fetches 5"),
        "{check}"
    );

    let daemon = setup.start();
    let filed_count = || hashes_of(&filed).values().sum::<usize>();
    eventually("all are filed", Duration::from_secs(60), || {
        filed_count() == 25
    });
    for user in ["bearer", "plain", "login", "auto"] {
        eventually("deleted mail is gone", Duration::from_secs(30), || {
            dovecot.count(user, None) == 0
        });
    }
    // A fetch on order finds what is new, and nothing else.
    dovecot.put("xoauth", b"Subject: one more\n\nbody\n");
    eventually("new mail is fetched", Duration::from_secs(30), || {
        setup.ok(&["mailbox", "fetch", "xoauth"], "");
        filed_count() == 26
    });
    assert!(daemon.stop().success());
    let daemon = setup.start();
    dovecot.put("xoauth", b"Subject: after a restart\n\nbody\n");
    eventually(
        "new mail after a restart is filed",
        Duration::from_secs(30),
        || {
            setup.ok(&["mailbox", "fetch", "xoauth"], "");
            filed_count() == 27
        },
    );
    assert!(daemon.stop().success());
    assert_eq!(
        hashes_of(&filed).values().copied().max(),
        Some(1),
        "something was filed twice"
    );
    assert_eq!(dovecot.count("xoauth", None), 7);
}

#[test]
fn a_mailbox_that_names_all_its_mail_anew_brings_none_of_it_again() {
    let rig = Rig::new(Duration::from_secs(3600));
    let dovecot = Dovecot::start(&rig);
    let (script, filed) = filing_command(rig.path());
    let more = format!(
        "    tls: none\n    auth: {{password: pass}}\n    deliver: {{command: ['{}', '{}']}}\n    after: keep\n",
        script.display(),
        filed.display()
    );
    let mailbox = pop3_yaml(&rig, "desk", dovecot.pop3, &more);
    let setup = Setup::new(&rig, &format!("mailboxes:\n{mailbox}"));
    let put = |n: usize| {
        let message = format!("Subject: {n}\n\nbody\n");
        dovecot.put("desk", message.as_bytes());
    };
    (0..5).for_each(put);
    let filed_count = || hashes_of(&filed).values().sum::<usize>();
    let daemon = setup.start();
    eventually("all are filed", Duration::from_secs(30), || {
        filed_count() == 5
    });
    assert!(daemon.stop().success());

    // Dovecot's UIDL holds the UIDVALIDITY.
    dovecot.forget_uids("desk");
    put(5);
    let daemon = setup.start();
    eventually("the new one is filed", Duration::from_secs(30), || {
        filed_count() >= 6
    });
    assert!(daemon.stop().success());
    assert_eq!(filed_count(), 6);
    assert_eq!(dovecot.count("desk", None), 6);
}

#[test]
fn a_message_of_150_mb_passes_by_pop3_and_memory_stays_small() {
    crate::imap_limits::the_largest_message_passes_by("pop3");
}
