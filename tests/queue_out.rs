//! `postern queue` for replies: listed, shown, flushed by relay and by recipient domain, held, released, deleted.

use crate::harness::eventually;
use crate::harness::postern::Setup;
use crate::harness::rig::Rig;
use crate::harness::submit::{Sent, Submitter};
use sandbox::{Fault, Service};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(20);

/// Two relays at the pretend provider, which puts every recipient off until it is told otherwise.
struct Office {
    setup: Setup,
    rig: Rig,
}

impl Office {
    fn new() -> Self {
        let rig = Rig::new(Duration::from_secs(3600));
        let smtp = rig.provider.smtp().port();
        let relay = |name: &str| {
            format!(
                "  - {{name: {name}, host: 127.0.0.1, port: {smtp}, tls: none, user: desk, auth: {{token: desk}}, senders: ['@{name}.example']}}\n"
            )
        };
        let accounts = format!(
            "token_configs:\n{}relays:\n{}{}",
            rig.token_config_yaml("desk"),
            relay("help"),
            relay("sales")
        );
        let setup = Setup::new(&rig, &accounts);
        setup.ok(&["token", "seed", "desk"], &rig.provider.consent("desk"));
        let later = Fault::Reply("451 4.7.1 greylisted".to_owned());
        rig.provider
            .fault_for(Service::Smtp, "RCPT", Duration::from_secs(3600), later);
        Self { setup, rig }
    }

    fn submit(&self, from: &str, to: &[&str]) {
        let text = format!("Subject: to {}\r\nFrom: {from}\r\n\r\nhello\r\n", to[0]);
        let mut session = Submitter::connect(self.setup.submission).unwrap();
        assert_eq!(session.send(from, to, text.as_bytes()), Sent::Accepted);
    }

    fn list(&self, more: &[&str]) -> Vec<serde_json::Value> {
        let words = [&["queue", "list", "--json"], more].concat();
        serde_json::from_str(&self.setup.ok(&words, "")).unwrap()
    }

    /// Numbers, to be named.
    fn numbers(&self, more: &[&str]) -> Vec<String> {
        let rows = self.list(more).into_iter();
        rows.map(|row| row["id"].to_string()).collect()
    }

    fn all_put_off(&self, count: usize) {
        eventually("all were tried and put off", SOON, || {
            let rows = self.list(&["--outbound"]);
            let tried = |row: &&serde_json::Value| row["attempts"] == 1 && row["state"] == "due";
            rows.len() == count && rows.iter().filter(tried).count() == count
        });
    }

    fn says(&self, words: &[&str]) -> String {
        self.setup.ok(words, "").trim().to_owned()
    }

    fn sent(&self) -> Vec<String> {
        let all = self.rig.provider.submitted().into_iter();
        let mut all: Vec<String> = all.flat_map(|mail| mail.recipients).collect();
        all.sort();
        all
    }
}

#[test]
fn replies_are_listed_shown_and_flushed_by_relay_and_by_recipient_domain() {
    let office = Office::new();
    let daemon = office.setup.start();
    office.submit("a@help.example", &["one@x.test"]);
    office.submit("a@help.example", &["two@y.test"]);
    office.submit("a@sales.example", &["three@y.test"]);
    office.submit("a@sales.example", &["four@x.test"]);
    office.all_put_off(4);
    assert_eq!(office.list(&["--inbound"]).len(), 0);
    assert_eq!(office.list(&["--relay", "sales"]).len(), 2);
    assert_eq!(office.list(&["--domain", "Y.test"]).len(), 2);
    assert_eq!(
        office
            .list(&["--relay", "sales", "--domain", "y.test"])
            .len(),
        1
    );
    let first = &office.numbers(&["--relay", "help"])[0];
    let table = office.says(&["queue", "list", "--outbound"]);
    assert!(table.contains("a@help.example / to one@x.test"), "{table}");
    let shown = office.says(&["queue", "show", first]);
    for words in [
        "to:          one@x.test",
        "one@x.test: due, 1 attempt, next try",
        "451 4.7.1 greylisted",
        "Subject: to one@x.test",
    ] {
        assert!(shown.contains(words), "{words}: {shown}");
    }

    office.rig.provider.clear_faults();
    let words = office.says(&["queue", "retry", "--domain", "y.test"]);
    assert_eq!(words, "2 messages to be tried again now");
    eventually("those of the domain leave, by both relays", SOON, || {
        office.sent() == ["three@y.test", "two@y.test"]
    });
    let words = office.says(&["queue", "retry", "--relay", "sales"]);
    assert_eq!(words, "1 message to be tried again now");
    eventually("the relay's last one leaves", SOON, || {
        office.sent().contains(&"four@x.test".to_owned())
    });
    assert_eq!(office.numbers(&["--outbound"]).concat(), *first);
    office.says(&["queue", "retry", first]);
    eventually("nothing is left", SOON, || office.list(&[]).is_empty());
    assert_eq!(office.sent().len(), 4);
    assert!(daemon.stop().success());
}

#[test]
fn replies_are_held_released_and_deleted_with_and_without_a_daemon() {
    let office = Office::new();
    let daemon = office.setup.start();
    office.submit("a@help.example", &["one@x.test"]);
    office.submit("a@help.example", &["two@x.test", "too@y.test"]);
    office.submit("a@sales.example", &["three@x.test"]);
    office.submit("a@sales.example", &["four@x.test"]);
    office.all_put_off(4);
    let numbers = office.numbers(&["--outbound"]);
    let held = ["queue", "hold", "--relay", "help", "--reason", "ask Ann"];
    assert_eq!(office.says(&held), "2 messages held");
    let row = &office.list(&["--held"])[0];
    let why = row["why"].as_str().unwrap();
    assert!(
        why.starts_with("held by a person: ask Ann; before that:"),
        "{why}"
    );
    assert!(why.contains("451 4.7.1 greylisted"), "{why}");

    // Waiting mail is not deleted by the heap, held mail is; a single one is whatever its state.
    let heap = office
        .setup
        .run(&["queue", "delete", "--outbound", "--all", "--yes"], "");
    assert_eq!(heap.status.code(), Some(64));
    let words = office.says(&["queue", "delete", &numbers[3], "--yes"]);
    assert_eq!(words, "1 message deleted");
    office.rig.provider.clear_faults();
    assert_eq!(
        office.says(&["queue", "release", &numbers[0]]),
        "1 message released, due now"
    );
    eventually("the released one leaves", SOON, || {
        office.sent() == ["one@x.test"]
    });
    assert_eq!(office.numbers(&["--held"]).concat(), numbers[1]);

    assert!(daemon.stop().success());
    assert_eq!(
        office.says(&["queue", "hold", &numbers[2]]),
        "1 message held"
    );
    let delete = [
        "queue",
        "delete",
        "--all",
        "--held",
        "--outbound",
        "--relay",
        "sales",
        "--yes",
    ];
    assert_eq!(office.says(&delete), "1 message deleted");
    let release = ["queue", "release", "--relay", "help"];
    assert_eq!(
        office.says(&release),
        "1 message released, due when the daemon runs"
    );
    let daemon = office.setup.start();
    eventually("it leaves for both", SOON, || {
        office.sent() == ["one@x.test", "too@y.test", "two@x.test"]
    });
    eventually("nothing is left", SOON, || office.list(&[]).is_empty());
    assert!(daemon.stop().success());
}
