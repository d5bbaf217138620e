//! The promises of the spool, proved against real files, with a clock that tests turn.

mod backup;
mod bodies;
mod crash;
mod flow;
mod held;
mod hold;
mod identity;
mod model;
mod opening;
mod own;
mod pause;
mod people;
mod repeat;
mod report;
mod reroute;
mod restore;
mod search;
mod tally;
mod thread;
mod uidl;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::{Clock, Reading};
use crate::schedule::Policy;
use crate::*;

/// When the tests' clock starts, in seconds since 1970.
const START: u64 = 1_800_000_000;

/// A clock that stands still until it is turned.
#[derive(Clone, Default)]
struct Hands {
    steady: Arc<AtomicU64>,
    /// How far the wall clock was set ahead, in seconds, wrapping.
    set: Arc<AtomicU64>,
}

impl Hands {
    fn clock(&self) -> Clock {
        let hands = self.clone();
        Clock::new(move || {
            let steady = hands.steady.load(Ordering::SeqCst);
            let wall = START
                .wrapping_add(steady)
                .wrapping_add(hands.set.load(Ordering::SeqCst));
            Reading {
                wall: Duration::from_secs(wall),
                steady: Duration::from_secs(steady),
            }
        })
    }

    /// Time passes.
    fn pass(&self, seconds: u64) {
        self.steady.fetch_add(seconds, Ordering::SeqCst);
    }

    /// Somebody sets the clock.
    fn set_by(&self, seconds: i64) {
        self.set.fetch_add(seconds as u64, Ordering::SeqCst);
    }
}

/// A state directory, its clock and its spool.
struct Bench {
    dir: tempfile::TempDir,
    hands: Hands,
    spool: Spool,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let hands = Hands::default();
        let spool = Spool::open_at(dir.path(), hands.clock()).unwrap();
        Self { dir, hands, spool }
    }

    /// Ends the process and starts another.
    fn reopen(self) -> Self {
        let Self { dir, hands, spool } = self;
        drop(spool);
        let spool = Spool::open_at(dir.path(), hands.clock()).unwrap();
        Self { dir, hands, spool }
    }

    /// What a kill at this moment would leave, opened by another process.
    fn killed(&self) -> Self {
        let dir = copy(self.dir.path());
        let hands = self.hands.clone();
        let spool = Spool::open_at(dir.path(), hands.clock()).unwrap();
        Self { dir, hands, spool }
    }

    fn files(&self) -> Vec<String> {
        let mut names: Vec<_> = std::fs::read_dir(self.dir.path().join("spool"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// Looks at a table beside the spool.
    fn count(&self, sql: &str) -> i64 {
        rusqlite::Connection::open(self.dir.path().join("spool.db"))
            .unwrap()
            .query_row(sql, (), |row| row.get(0))
            .unwrap()
    }

    async fn body(&self, bytes: &[u8], durable: bool) -> Body {
        let mut body = self.spool.body();
        body.write(bytes).await.unwrap();
        body.finish(durable).await.unwrap()
    }

    async fn take_in(&self, key: &Key, bytes: &[u8]) -> Taken {
        self.take_in_as(key, bytes, false).await
    }

    async fn take_in_as(&self, key: &Key, bytes: &[u8], durable: bool) -> Taken {
        let incoming = Incoming {
            key: key.clone(),
            headline: headline("in"),
            provider_id: None,
            marks: Marks::default(),
            body: self.body(bytes, durable).await,
        };
        self.spool.take_in(incoming).await.unwrap()
    }

    async fn take_out(&self, relay: &str, recipients: &[&str], bytes: &[u8]) -> MessageId {
        let outgoing = Outgoing {
            sender: "desk@example.com".into(),
            relay: relay.into(),
            recipients: recipients.iter().map(|r| (*r).into()).collect(),
            ret: None,
            envid: None,
            automatic: false,
            conversation: None,
            smtputf8: false,
            eight_bit: true,
            headline: headline("out"),
            body: self.body(bytes, true).await,
        };
        self.spool.take_out(outgoing).await.unwrap()
    }

    async fn claim_in(&self) -> Vec<InClaim> {
        self.spool.claim_in("support", 100, LEASE).await.unwrap()
    }

    async fn claim_out(&self) -> Vec<OutClaim> {
        self.spool.claim_out("relay", 100, LEASE).await.unwrap()
    }

    async fn settle(&self, delivery: DeliveryId, outcome: Outcome) -> schedule::Next {
        self.spool
            .settle(delivery, outcome, None, &policy())
            .await
            .unwrap()
    }

    async fn read(&self, message: MessageId) -> Vec<u8> {
        match self.spool.open_body(message).await.unwrap() {
            Stored::Inline(bytes) => bytes,
            Stored::File(mut file) => {
                let mut bytes = Vec::new();
                std::io::Read::read_to_end(&mut file, &mut bytes).unwrap();
                bytes
            }
        }
    }
}

const LEASE: Duration = Duration::from_secs(600);

fn policy() -> Policy {
    Policy {
        first: Duration::from_secs(60),
        longest: Duration::from_secs(3600),
        keep_trying: Duration::from_secs(5 * 86_400),
        attempts: None,
        refusals: 2,
        doubt_pause: Duration::from_secs(900),
    }
}

fn key(uidvalidity: u32, uid: u32) -> Key {
    Key {
        mailbox: "support".into(),
        folder: "INBOX".into(),
        uidvalidity,
        uid,
    }
}

fn headline(subject: &str) -> Headline {
    Headline {
        from: "Ann <ann@example.net>".into(),
        subject: subject.into(),
        message_id: "<1@example.net>".into(),
    }
}

fn delivered() -> Outcome {
    Outcome::Delivered {
        why: "exit 0".into(),
    }
}

fn retry() -> Outcome {
    Outcome::Retry {
        why: "exit 75".into(),
        after: None,
    }
}

fn refused() -> Outcome {
    Outcome::Refused {
        why: "550 no".into(),
    }
}

fn blocked() -> Outcome {
    Outcome::Blocked {
        why: "535 consent is gone".into(),
        after: None,
    }
}

fn in_doubt() -> Outcome {
    Outcome::InDoubt {
        why: "connection lost".into(),
    }
}

/// Larger than a row takes, so it is a file.
fn large(seed: u8) -> Vec<u8> {
    (0..400_000u32).map(|i| (i % 251) as u8 ^ seed).collect()
}

/// Copies a state directory as it stands, database, log and bodies.
fn copy(from: &Path) -> tempfile::TempDir {
    let to = tempfile::tempdir().unwrap();
    // The shared-memory file is left behind, as a reboot would: SQLite makes it from the log.
    for name in ["spool.db", "spool.db-wal"] {
        let source = from.join(name);
        if source.exists() {
            std::fs::copy(source, to.path().join(name)).unwrap();
        }
    }
    std::fs::create_dir(to.path().join("spool")).unwrap();
    for entry in std::fs::read_dir(from.join("spool")).unwrap() {
        let entry = entry.unwrap();
        // A file may go while it is copied; then no row names it.
        let _ = std::fs::copy(
            entry.path(),
            to.path().join("spool").join(entry.file_name()),
        );
    }
    to
}
