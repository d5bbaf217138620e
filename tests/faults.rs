//! The network at its worst between Postern and a real Dovecot: cut at every byte, delayed, split and truncated; nothing is lost, and
//! nothing is doubled, since nobody kills the daemon.

use crate::harness::dovecot::Dovecot;
use crate::harness::postern::{Daemon, Setup};
use crate::harness::proxy::{Harm, Kind, Proxy, Stream};
use crate::harness::rig::Rig;
use crate::harness::{long, seeded, sha256};
use crate::real_imap::{filing_command, hashes_of, mailbox_yaml};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// After a harm everything arrives within this, or the test names the harm.
const PATIENCE: Duration = Duration::from_secs(60);
/// So many offsets of each stream of the short session are cut in the short form.
const SHORT_CUTS: usize = 25;
/// So many harms the long session meets: in the long form, in the short one.
const HARMS: usize = 2000;
const SHORT_HARMS: usize = 40;

/// A daemon with one mailbox, and the proxy between it and Dovecot.
struct Line {
    protocol: &'static str,
    written: usize,
    expected: BTreeMap<String, usize>,
    filed: PathBuf,
    proxy: Proxy,
    setup: Setup,
    // Before the servers, so that it is the first to go.
    _daemon: Daemon,
    dovecot: Dovecot,
    _rig: Rig,
}

impl Line {
    fn new(protocol: &'static str) -> Self {
        let rig = Rig::new(Duration::from_secs(3600));
        let dovecot = Dovecot::start(&rig);
        let server = match protocol {
            "imap" => dovecot.imap,
            "pop3" => dovecot.pop3,
            other => panic!("no server for {other}"),
        };
        let proxy = Proxy::before(server);
        let (script, filed) = filing_command(rig.path());
        let more = format!(
            "    tls: none\n    auth: {{password: pass}}\n    watch: 1h\n    deliver: {{command: ['{}', '{}']}}\n    after: delete\n",
            script.display(),
            filed.display()
        );
        let mailbox = mailbox_yaml(&rig, "desk", proxy.port, &more)
            .replace("protocol: imap", &format!("protocol: {protocol}"));
        let setup = Setup::new(&rig, &format!("mailboxes:\n{mailbox}"));
        let daemon = setup.start();
        Self {
            protocol,
            written: 0,
            expected: BTreeMap::new(),
            filed,
            proxy,
            setup,
            _daemon: daemon,
            dovecot,
            _rig: rig,
        }
    }

    fn put(&mut self, messages: usize) {
        for _ in 0..messages {
            let n = self.written;
            let body = "a line of this message\r\n.\r\n".repeat(n % 7);
            let message = format!("Subject: number {n}\r\nFrom: a@example.org\r\n\r\n{body}");
            self.dovecot.put("desk", message.as_bytes());
            *self.expected.entry(sha256(message.as_bytes())).or_insert(0) += 1;
            self.written += 1;
        }
    }

    /// Fetches until the mailbox is empty and everything is filed, whatever becomes of the connections.
    fn bring_in(&self, what: &str) {
        let end = Instant::now() + PATIENCE;
        loop {
            if self.proxy.harmed() && !self.proxy.busy() && self.done() {
                return;
            }
            assert!(
                Instant::now() < end,
                "{}: {what}: not everything arrived within {PATIENCE:?}",
                self.protocol
            );
            if !self.proxy.busy() {
                self.setup.ok(&["mailbox", "fetch", "desk"], "");
            }
            let before = self.proxy.accepted();
            let soon = Instant::now() + Duration::from_millis(300);
            while Instant::now() < soon && (self.proxy.busy() || self.proxy.accepted() == before) {
                std::thread::park_timeout(Duration::from_millis(2));
            }
        }
    }

    fn done(&self) -> bool {
        self.dovecot.count("desk", None) == 0
            && std::fs::read_dir(&self.filed).unwrap().count() >= self.written
    }

    /// A round: messages, a harmed session, and as many whole ones as it takes.
    fn round(&mut self, messages: usize, harm: Option<Harm>) {
        self.put(messages);
        if let Some(harm) = harm {
            self.proxy.harm_next(harm);
        }
        self.bring_in(&format!("{harm:?}"));
    }

    fn judge(&self) {
        let filed = hashes_of(&self.filed);
        let lost: Vec<_> = self
            .expected
            .keys()
            .filter(|hash| !filed.contains_key(*hash))
            .collect();
        assert!(lost.is_empty(), "{}: lost: {lost:?}", self.protocol);
        assert_eq!(filed, self.expected, "{}: doubled", self.protocol);
    }
}

/// The session of three small messages is cut at every byte of both streams (in the short form at some, the seed says which).
fn cut_everywhere(protocol: &'static str) {
    let mut rng = seeded();
    let mut line = Line::new(protocol);
    line.round(3, None);
    let (from_server, from_client) = line.proxy.carried();
    assert!(from_server > 300 && from_client > 50, "no session was seen");
    for (stream, length) in [
        (Stream::FromServer, from_server),
        (Stream::FromClient, from_client),
    ] {
        let mut offsets: Vec<u64> = (0..length).collect();
        if !long() {
            rng.shuffle(&mut offsets);
            offsets.truncate(SHORT_CUTS);
        }
        for at in offsets {
            let kind = Kind::Cut;
            line.round(3, Some(Harm { stream, at, kind }));
        }
    }
    let rounds = line.written / 3;
    let again = line.proxy.accepted() - rounds;
    println!(
        "{protocol}: {rounds} sessions of three messages, {again} more were needed, nothing lost, nothing doubled"
    );
    assert!(again > rounds / 3, "the cuts hardly harmed anything");
    line.judge();
}

/// A session of thirty messages is cut, delayed, split and truncated wherever the seed says.
fn harm_anywhere(protocol: &'static str) {
    let mut rng = seeded();
    let mut line = Line::new(protocol);
    line.round(30, None);
    let (from_server, from_client) = line.proxy.carried();
    for _ in 0..if long() { HARMS } else { SHORT_HARMS } {
        let (stream, length) = if rng.u8(..4) > 0 {
            (Stream::FromServer, from_server)
        } else {
            (Stream::FromClient, from_client)
        };
        let kinds = [Kind::Cut, Kind::Delay, Kind::Split, Kind::Truncate];
        let kind = kinds[rng.usize(..kinds.len())];
        let at = rng.u64(..length);
        line.round(30, Some(Harm { stream, at, kind }));
    }
    let rounds = line.written / 30;
    let again = line.proxy.accepted() - rounds;
    println!(
        "{protocol}: {rounds} sessions of thirty messages, {again} more were needed, nothing lost, nothing doubled"
    );
    assert!(again > rounds / 5, "the harms hardly harmed anything");
    line.judge();
}

#[test]
fn an_imap_session_cut_at_any_byte_loses_and_doubles_nothing() {
    cut_everywhere("imap");
}

#[test]
fn an_imap_session_harmed_anywhere_loses_and_doubles_nothing() {
    harm_anywhere("imap");
}

#[test]
fn a_pop3_session_cut_at_any_byte_loses_and_doubles_nothing() {
    cut_everywhere("pop3");
}

#[test]
fn a_pop3_session_harmed_anywhere_loses_and_doubles_nothing() {
    harm_anywhere("pop3");
}
