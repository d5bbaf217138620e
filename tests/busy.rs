//! A person at work on a queue of a hundred thousand messages, beside a daemon that is busy: neither keeps the other waiting.

use crate::harness::eventually;
use crate::harness::postern::Setup;
use crate::harness::rig::Rig;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const ROWS: usize = 100_000;
/// Nothing that a person does may keep the mail of others standing for so long. (Single steps take milliseconds; the rest is for machines
/// that run many tests at once, with programs that were not optimised.)
const STANDSTILL: Duration = Duration::from_secs(5);
/// And no command may take so long.
const PATIENCE: Duration = Duration::from_secs(90);

/// A daemon that delivers all the time, beside a mailbox `archive` whose mail is held.
struct Bustle {
    rig: Rig,
    setup: Setup,
    filed: PathBuf,
}

impl Bustle {
    fn new() -> Self {
        let rig = Rig::new(Duration::from_secs(3600));
        let filed = rig.path().join("tickets");
        let mailbox = |name: &str, more: &str| {
            rig.provider.set_password(name, "pass");
            format!(
                "  - name: {name}\n    protocol: imap\n    host: 127.0.0.1\n    port: {}\n    tls: none\n    user: {name}\n    \
                 auth: {{password: pass}}\n    deliver: {{maildir: {}}}\n    after: delete\n{more}",
                rig.provider.imap().port(),
                filed.display()
            )
        };
        let accounts = format!(
            "mailboxes:\n{}{}",
            mailbox("desk", ""),
            mailbox("archive", "    paused: true\n")
        );
        let setup = Setup::new(&rig, &accounts);
        // Makes the databases.
        assert!(setup.start().stop().success());
        Self { rig, setup, filed }
    }

    /// A hundred thousand held messages, each with a body, as weeks of a broken ticket system would leave them.
    fn hold(&self) {
        let mut conn = rusqlite::Connection::open(self.setup.state_dir().join("spool.db")).unwrap();
        let t = conn.transaction().unwrap();
        t.execute(
            "INSERT INTO folder (mailbox, name) VALUES ('archive', 'INBOX')",
            (),
        )
        .unwrap();
        let folder = t.last_insert_rowid();
        for n in 1..=i64::try_from(ROWS).unwrap() {
            t.prepare_cached(
                "INSERT INTO message (id, direction, account, folder, uidvalidity, uid, header_from, header_subject, header_message_id,
                   size, sha256, place, durable, taken_at)
                 VALUES (?1, 'in', 'archive', ?2, 1, ?1, 'customer@example.com', 'message ' || ?1, '<' || ?1 || '@example.com>',
                   2000, zeroblob(32), 'inline', 1, unixepoch())",
            )
            .unwrap()
            .execute((n, folder))
            .unwrap();
            t.prepare_cached("INSERT INTO body (message, bytes) VALUES (?, zeroblob(2000))")
                .unwrap()
                .execute([n])
                .unwrap();
            t.prepare_cached(
                "INSERT INTO delivery (message, direction, account, state, due_at, since, why, held_at)
                 VALUES (?, 'in', 'archive', 'held', NULL, unixepoch(), 'exit code 65', unixepoch())",
            )
            .unwrap()
            .execute([n])
            .unwrap();
        }
        t.commit().unwrap();
    }

    /// Runs a command while mail comes and goes; what it printed.
    fn beside(&self, args: &[&str]) -> String {
        let over = AtomicBool::new(false);
        let (mut longest, mut during) = (Duration::ZERO, 0);
        let mut said = String::new();
        std::thread::scope(|scope| {
            let watching = scope.spawn(|| self.watch(&over));
            let begun = Instant::now();
            said = self.setup.ok(args, "");
            let took = begun.elapsed();
            println!("{:?} took {took:?}", &args[..2.min(args.len())]);
            assert!(took < PATIENCE, "it took {took:?}");
            over.store(true, Ordering::Relaxed);
            (longest, during) = watching.join().unwrap();
        });
        println!("{during} messages were filed meanwhile, the longest standstill was {longest:?}");
        assert!(
            longest < STANDSTILL,
            "{args:?}: nothing was filed for {longest:?}"
        );
        said
    }

    /// Keeps the mailbox filled until it is over; the longest time without a message filed, and how many were.
    fn watch(&self, over: &AtomicBool) -> (Duration, usize) {
        let first = count(&self.filed);
        let (mut before, mut since, mut longest) = (first, Instant::now(), Duration::ZERO);
        // At least one message must come through after the command has ended, too.
        loop {
            if self.rig.provider.folder("desk", "INBOX").len() < 20 {
                for n in 0..20 {
                    let message = format!("Subject: m{n}\r\n\r\n{}\r\n", fastrand::u64(..));
                    self.rig.provider.put_mail("desk", message.into_bytes());
                }
            }
            let now = count(&self.filed);
            longest = longest.max(since.elapsed());
            if now > before {
                (before, since) = (now, Instant::now());
                if over.load(Ordering::Relaxed) {
                    return (longest, now - first);
                }
            }
            if since.elapsed() > STANDSTILL {
                return (longest.max(since.elapsed()), now - first);
            }
            std::thread::park_timeout(Duration::from_millis(10));
        }
    }
}

fn count(maildir: &Path) -> usize {
    std::fs::read_dir(maildir.join("new")).map_or(0, Iterator::count)
}

#[test]
fn a_person_at_work_on_a_hundred_thousand_messages_keeps_no_mail_waiting_nor_waits_for_it() {
    let bustle = Bustle::new();
    bustle.hold();
    let daemon = bustle.setup.start();
    bustle
        .rig
        .provider
        .put_mail("desk", b"Subject: first\r\n\r\n".to_vec());
    eventually("mail flows", Duration::from_secs(60), || {
        count(&bustle.filed) > 0
    });
    let list = bustle.beside(&["queue", "list", "--json", "--mailbox", "archive"]);
    let rows: Vec<serde_json::Value> = serde_json::from_str(&list).unwrap();
    assert_eq!(rows.len(), ROWS);
    let shown = bustle.beside(&["queue", "show", "50000"]);
    assert!(shown.contains("message 50000"), "{shown}");
    let status = bustle.beside(&["status"]);
    assert!(status.contains("archive"), "{status}");

    let few: Vec<String> = (1..=3_000).map(|n| n.to_string()).collect();
    let words = |first: [&'static str; 2]| {
        let rest = few.iter().map(String::as_str);
        first.into_iter().chain(rest).collect::<Vec<&str>>()
    };
    let said = bustle.beside(&words(["queue", "retry"]));
    assert!(
        said.contains("3000 messages to be tried again now"),
        "{said}"
    );
    let said = bustle.beside(&[
        "queue",
        "delete",
        "--all",
        "--held",
        "--mailbox",
        "archive",
        "--yes",
    ]);
    assert!(said.contains("97000 messages deleted"), "{said}");
    let list = bustle.beside(&["queue", "list", "--json", "--mailbox", "archive"]);
    let rows: Vec<serde_json::Value> = serde_json::from_str(&list).unwrap();
    assert_eq!(rows.len(), 3_000);
    assert!(daemon.stop().success());
}
