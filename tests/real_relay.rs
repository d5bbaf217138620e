//! Replies through a real Postfix with tokens that live five seconds, rotation on.

use crate::harness::dovecot::Dovecot;
use crate::harness::postern::Setup;
use crate::harness::postfix::Postfix;
use crate::harness::rig::Rig;
use crate::harness::submit::{Sent, Submitter};
use crate::harness::{corpus, eventually, sha256};
use std::collections::BTreeMap;
use std::time::Duration;

/// Marks where a test's own message begins, below what relays add.
const MARK: &str = "X-Postern-Test: ";

/// A message with a mark on top, as the ticket system hands it over.
pub(crate) fn marked(n: usize, bytes: &[u8]) -> Vec<u8> {
    // With both fields that the listener would add, so that the bytes are the same on both sides.
    let fields = format!(
        "{MARK}{n}\r\nDate: Tue, 14 Nov 2023 22:13:20 +0000\r\nMessage-ID: <mark-{n}@help.example>\r\n"
    );
    [fields.as_bytes(), bytes].concat()
}

/// What a Maildir must hold of it from the mark on: CRLF has become LF.
pub(crate) fn as_stored(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len());
    let mut rest = message;
    while let Some(at) = rest.windows(2).position(|pair| pair == b"\r\n") {
        out.extend_from_slice(&rest[..at]);
        out.push(b'\n');
        rest = &rest[at + 2..];
    }
    out.extend_from_slice(rest);
    out
}

/// Everything that arrived at Postfix, from the mark on: its hash, and how often it is there for each recipient.
pub(crate) fn arrived(postfix: &Postfix) -> BTreeMap<(String, String), usize> {
    let mut all = BTreeMap::new();
    for (recipient, bytes) in postfix.arrived() {
        let start = bytes
            .windows(MARK.len())
            .position(|w| w == MARK.as_bytes())
            .expect("the mark is in every message of the tests");
        *all.entry((recipient, sha256(&bytes[start..]))).or_insert(0) += 1;
    }
    all
}

/// A relay section for the rig's Postfix.
pub(crate) fn relay_yaml(rig: &Rig, name: &str, port: u16, more: &str) -> String {
    let ca = rig.ca();
    format!(
        "  - name: {name}\n    host: localhost\n    port: {port}\n    tls_ca_file: {}\n    user: {name}\n{more}",
        ca.display()
    )
}

#[test]
fn two_hundred_messages_leave_under_tokens_that_live_five_seconds() {
    let rig = Rig::new(Duration::from_secs(5));
    let dovecot = Dovecot::start(&rig);
    let postfix = Postfix::start(&rig, &dovecot);
    let more = "    tls: starttls\n    auth: {token: out}\n    senders: ['@help.example']\n    rate: 100000/min\n";
    let accounts = format!(
        "token_configs:\n{}relays:\n{}",
        rig.token_config_yaml("out"),
        relay_yaml(&rig, "out", postfix.submission, more)
    );
    let setup = Setup::new(&rig, &accounts);
    setup.ok(&["token", "seed", "out"], &rig.provider.consent("out"));
    let daemon = setup.start();

    let mut session = Submitter::connect(setup.submission).unwrap();
    let mut expected = BTreeMap::new();
    let mut rng = fastrand::Rng::with_seed(11);
    for n in 0..200 {
        let message = marked(n, &corpus::sample(&mut rng, n, 4096).served);
        let recipient = format!("r{}", n % 7);
        assert_eq!(
            session.send(
                "desk@help.example",
                &[&format!("{recipient}@y.test")],
                &message
            ),
            Sent::Accepted,
            "message {n}"
        );
        *expected
            .entry((recipient, sha256(&as_stored(&message))))
            .or_insert(0) += 1;
        // Every fortieth waits for another refresh, so that the run spans several lives of the token and connections made with each.
        if n % 40 == 39 {
            let seen = rig.provider.counts().refreshes;
            eventually(
                "the token is refreshed again",
                Duration::from_secs(15),
                || rig.provider.counts().refreshes > seen,
            );
        }
    }
    eventually("all arrived", Duration::from_secs(60), || {
        arrived(&postfix).values().sum::<usize>() >= 200
    });
    eventually("the queue is empty", Duration::from_secs(20), || {
        setup.ok(&["queue", "list", "--json"], "").trim() == "[]"
    });
    assert!(daemon.stop().success());
    assert_eq!(arrived(&postfix), expected);
    let counts = rig.provider.counts();
    assert!(counts.refreshes >= 5, "only {} refreshes", counts.refreshes);
    assert!(
        counts.refreshes < 60,
        "a refresh storm: {}",
        counts.refreshes
    );
}

#[test]
fn each_recipient_has_its_own_outcome_and_what_is_refused_is_held_and_shown() {
    let rig = Rig::new(Duration::from_secs(3600));
    let dovecot = Dovecot::start(&rig);
    let postfix = Postfix::start(&rig, &dovecot);
    let more =
        "    tls: implicit\n    auth: {token: out}\n    sasl: oauthbearer\n    senders: ['*']\n";
    let accounts = format!(
        "token_configs:\n{}relays:\n{}",
        rig.token_config_yaml("out"),
        relay_yaml(&rig, "out", postfix.submissions, more)
    );
    let setup = Setup::new(&rig, &accounts);
    setup.ok(&["token", "seed", "out"], &rig.provider.consent("out"));
    let daemon = setup.start();

    let mut session = Submitter::connect(setup.submission).unwrap();
    let message = marked(1, b"Subject: three fates\r\n\r\nbody\r\n");
    let sent = session.send(
        "desk@help.example",
        &["good@y.test", "reject@x.test", "defer@x.test"],
        &message,
    );
    assert_eq!(sent, Sent::Accepted);
    eventually("the good recipient has it", Duration::from_secs(30), || {
        !postfix.arrived().is_empty()
    });
    let queue = || {
        serde_json::from_str::<serde_json::Value>(&setup.ok(&["queue", "list", "--json"], ""))
            .unwrap()
    };
    let id = queue()[0]["id"].to_string();
    let mut shown = String::new();
    eventually("the other two are settled", Duration::from_secs(30), || {
        shown = setup.ok(&["queue", "show", &id], "");
        shown.contains("no such user") && shown.contains("try again later")
    });
    assert!(shown.contains("held") && shown.contains("5.1.1"), "{shown}");
    setup.ok(&["queue", "delete", &id, "--yes"], "");
    assert_eq!(queue(), serde_json::json!([]));
    assert!(daemon.stop().success());
    assert_eq!(arrived(&postfix).into_values().collect::<Vec<_>>(), [1]);
}
