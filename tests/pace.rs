//! A relay's limits as its server sees them: connections at a time, messages in any minute, over a restart and over hours without a token.

use crate::harness::postern::Setup;
use crate::harness::rig::Rig;
use crate::harness::submit::{Sent, Submitter};
use crate::harness::{eventually, long};
use rusqlite::Connection;
use std::path::PathBuf;
use std::time::{Duration, Instant};

const MINUTE: Duration = Duration::from_secs(60);
const CONNECTIONS: u64 = 3;

/// A relay at the pretend provider with limits, whose reports go into a mailbox's ticket command, which files them.
fn setup(rig: &Rig, rate: usize) -> (Setup, PathBuf) {
    let (imap, smtp) = (rig.provider.imap().port(), rig.provider.smtp().port());
    let (script, filed) = crate::real_imap::filing_command(rig.path());
    let accounts = format!(
        "token_configs:\n{}mailboxes:\n  - {{name: desk, host: 127.0.0.1, port: {imap}, tls: none, user: reader, auth: {{password: x}}, deliver: {{command: ['{}', '{}']}}}}\n\
         relays:\n  - {{name: desk, host: 127.0.0.1, port: {smtp}, tls: none, user: desk, auth: {{token: desk}}, senders: ['@help.example'], \
         connections: {CONNECTIONS}, rate: {rate}/min, bounces_to: {{mailbox: desk}}}}\n",
        rig.token_config_yaml("desk"),
        script.display(),
        filed.display()
    );
    rig.provider.set_password("reader", "x");
    let setup = Setup::new(rig, &accounts);
    setup.ok(&["token", "seed", "desk"], &rig.provider.consent("desk"));
    (setup, filed)
}

fn submit(setup: &Setup, count: usize) {
    let mut session = Submitter::connect(setup.submission).unwrap();
    for n in 0..count {
        let text = format!("Subject: reply {n}\r\n\r\nhello\r\n");
        let sent = session.send(
            "desk@help.example",
            &[&format!("r{n}@y.test")],
            text.as_bytes(),
        );
        assert_eq!(sent, Sent::Accepted, "message {n}");
    }
}

/// When the provider took each message, in order.
fn times(rig: &Rig) -> Vec<Instant> {
    let mut times: Vec<Instant> = rig.provider.submitted().iter().map(|s| s.at).collect();
    times.sort();
    times
}

/// The most messages in any minute.
fn most_in_a_minute(times: &[Instant]) -> usize {
    let from = |(at, first): (usize, &Instant)| {
        let later = times[at..].iter();
        later.take_while(|time| **time - *first < MINUTE).count()
    };
    times.iter().enumerate().map(from).max().unwrap_or(0)
}

#[test]
fn three_connections_and_thirty_a_minute_are_held_while_five_hundred_wait_and_over_a_restart() {
    let rig = Rig::new(Duration::from_secs(3600));
    let (setup, _) = setup(&rig, 30);
    let daemon = setup.start();
    submit(&setup, 500);
    let begun = Instant::now();
    let sent = |count: usize| times(&rig).len() >= count;
    eventually(
        "the first thirty leave at once",
        Duration::from_secs(20),
        || sent(30),
    );
    // Another process, which knows what was sent before it.
    assert!(daemon.stop().success());
    let daemon = setup.start();
    let minutes = if long() { 5 } else { 1 };
    let all = 30 * (minutes + 1);
    let enough = MINUTE * u32::try_from(minutes).unwrap() + Duration::from_secs(20);
    eventually("as many leave each minute", enough, || sent(all));
    let took = begun.elapsed();
    let times = times(&rig);
    let counts = rig.provider.counts();
    println!(
        "{} messages in {took:?}: at most {} in any minute, {} connections at a time",
        times.len(),
        most_in_a_minute(&times),
        counts.smtp_at_once
    );
    assert_eq!(most_in_a_minute(&times), 30);
    assert_eq!(counts.smtp_at_once, CONNECTIONS);
    assert!(daemon.stop().success());
}

/// As if it had happened so much earlier.
fn shift(setup: &Setup, by: Duration) {
    let db = Connection::open(setup.state_dir().join("spool.db")).unwrap();
    let seconds = by.as_secs();
    db.execute_batch(&format!(
        "UPDATE delivery SET since = since - {seconds}, due_at = due_at - {seconds}, blocked_since = blocked_since - {seconds};
         UPDATE message SET taken_at = taken_at - {seconds};"
    ))
    .unwrap();
}

#[test]
fn a_token_that_is_dead_for_days_bounces_none_of_a_thousand_replies_and_all_leave_within_the_rate_after_consent()
 {
    const REPLIES: usize = 1000;
    const RATE: usize = 900;
    let rig = Rig::new(Duration::from_secs(3600));
    let (setup, filed) = setup(&rig, RATE);
    rig.provider.revoke("desk");
    let daemon = setup.start();
    submit(&setup, REPLIES);
    let queue = || -> Vec<serde_json::Value> {
        serde_json::from_str(&setup.ok(&["queue", "list", "--outbound", "--json"], "")).unwrap()
    };
    let waiting = || {
        let queue = queue();
        let waits = |row: &&serde_json::Value| row["state"] == "waiting" && row["attempts"] == 0;
        queue.iter().filter(waits).count()
    };
    eventually("all wait for consent", Duration::from_secs(30), || {
        waiting() == REPLIES
    });
    // An hour, and then longer than a reply is tried for.
    assert!(daemon.stop().success());
    for hours in [1, 6 * 24] {
        shift(&setup, Duration::from_secs(hours * 3600));
        let daemon = setup.start();
        eventually("all wait still", Duration::from_secs(30), || {
            waiting() == REPLIES
        });
        assert!(daemon.stop().success());
    }
    let daemon = setup.start();
    assert!(rig.provider.submitted().is_empty());
    setup.ok(&["token", "seed", "desk"], &rig.provider.consent("desk"));
    let begun = Instant::now();
    eventually("all leave", MINUTE * 2, || times(&rig).len() >= REPLIES);
    let took = begun.elapsed();
    eventually("nothing is in flight", Duration::from_secs(20), || {
        setup.ok(&["queue", "list", "--json"], "").trim() == "[]"
    });
    assert!(daemon.stop().success());
    let times = times(&rig);
    println!(
        "{REPLIES} replies left in {took:?} after consent, at most {} in any minute",
        most_in_a_minute(&times)
    );
    assert_eq!(times.len(), REPLIES, "some left twice");
    assert_eq!(most_in_a_minute(&times), RATE);
    assert_eq!(
        std::fs::read_dir(&filed).unwrap().count(),
        0,
        "somebody was told of a bounce or a delay"
    );
}
