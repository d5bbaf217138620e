//! A disk that is full at the worst moments of a reply's way out: nothing is torn, nothing is lost, and it goes on by itself.

use crate::harness::eventually;
use crate::harness::postern::{Daemon, Setup};
use crate::harness::rig::Rig;
use crate::harness::submit::{Sent, Submitter, stuffed};
use crate::real_imap::filing_command;
use sandbox::{Fault, Service};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// More than the room below which nothing is taken at all, so that a message can begin.
const SIZE: &str = "size=96m";
const SOON: Duration = Duration::from_secs(60);
/// Larger than what is kept beside its row.
const LARGE: usize = 8 << 20;

/// A small file system in memory, where the state directory is; gone when dropped. Mounting takes root, as the whole test run does.
struct Disk(PathBuf);

impl Disk {
    fn mount(folder: PathBuf) -> Self {
        std::fs::create_dir_all(&folder).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", SIZE, "postern-test"])
            .arg(&folder)
            .status()
            .unwrap();
        assert!(
            mounted.success(),
            "a file system could not be mounted; run the tests as root"
        );
        Self(folder)
    }

    fn ballast(&self) -> PathBuf {
        self.0.join("ballast")
    }

    /// Leaves so many bytes.
    fn fill_but(&self, left: u64) {
        let mut file = std::fs::File::create(self.ballast()).unwrap();
        for size in [1 << 20, 4096] {
            while file.write(&vec![1; size]).is_ok_and(|n| n == size) {}
        }
        let length = file.metadata().unwrap().len();
        file.set_len(length.saturating_sub(left)).unwrap();
    }

    fn empty(&self) {
        std::fs::remove_file(self.ballast()).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _unmounted = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// A relay at the pretend provider whose reports go into a mailbox's ticket command.
struct House {
    // First: it ends before its disk does.
    daemon: Option<Daemon>,
    setup: Setup,
    filed: PathBuf,
    disk: Disk,
    rig: Rig,
}

impl House {
    fn new() -> Self {
        let rig = Rig::new(Duration::from_secs(3600));
        let disk = Disk::mount(rig.path().join("s"));
        let (script, filed) = filing_command(rig.path());
        let (imap, smtp) = (rig.provider.imap().port(), rig.provider.smtp().port());
        let accounts = format!(
            "token_configs:\n{}mailboxes:\n  - {{name: desk, host: 127.0.0.1, port: {imap}, tls: none, user: desk, auth: {{token: desk}}, deliver: {{command: ['{}', '{}']}}}}\n\
             relays:\n  - {{name: desk, host: 127.0.0.1, port: {smtp}, tls: none, user: desk, auth: {{token: desk}}, senders: ['@help.example'], bounces_to: {{mailbox: desk}}}}\n",
            rig.token_config_yaml("desk"),
            script.display(),
            filed.display()
        );
        let setup = Setup::new(&rig, &accounts);
        setup.ok(&["token", "seed", "desk"], &rig.provider.consent("desk"));
        let daemon = Some(setup.start());
        Self {
            daemon,
            setup,
            filed,
            disk,
            rig,
        }
    }

    /// Begins a message, up to the 354.
    fn begin(&self, to: &str) -> Submitter {
        let mut session = Submitter::connect(self.setup.submission).unwrap();
        for (command, expected) in [
            ("MAIL FROM:<desk@help.example>", "250"),
            (&format!("RCPT TO:<{to}>"), "250"),
            ("DATA", "354"),
        ] {
            let reply = session.command(command).unwrap();
            assert!(reply.starts_with(expected), "{command}: {reply}");
        }
        session
    }

    fn send(&self, to: &str, text: &[u8]) -> Sent {
        let mut session = Submitter::connect(self.setup.submission).unwrap();
        session.send("desk@help.example", &[to], text)
    }

    /// Who was sent something, in order.
    fn submitted(&self) -> Vec<String> {
        let all = self.rig.provider.submitted().into_iter();
        all.flat_map(|mail| mail.recipients).collect()
    }

    fn reports(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.filed).unwrap().flatten();
        let whole = entries.filter(|e| !e.file_name().to_string_lossy().starts_with('.'));
        whole
            .map(|e| std::fs::read_to_string(e.path()).unwrap())
            .collect()
    }

    fn queue(&self) -> Vec<serde_json::Value> {
        serde_json::from_str(&self.setup.ok(&["queue", "list", "--json"], "")).unwrap()
    }

    /// Waits for words in the log.
    fn logs(&self, words: &str) {
        let log = self.rig.path().join("postern.log");
        eventually(words, SOON, || {
            std::fs::read_to_string(&log).is_ok_and(|log| log.contains(words))
        });
    }

    /// Nothing is in flight, no file is left behind, and the database is whole.
    fn is_tidy(&mut self) {
        eventually("nothing is in flight", SOON, || self.queue().is_empty());
        let bodies = self.setup.state_dir().join("spool");
        eventually("no body is left", SOON, || {
            std::fs::read_dir(&bodies).unwrap().count() == 0
        });
        assert!(self.daemon.take().unwrap().stop().success());
        assert!(whole(&self.setup.state_dir().join("spool.db")));
    }
}

fn whole(path: &Path) -> bool {
    let db = rusqlite::Connection::open(path).unwrap();
    let verdict: String = db
        .query_row("PRAGMA integrity_check", (), |row| row.get(0))
        .unwrap();
    verdict == "ok"
}

fn letter(n: usize, size: usize) -> Vec<u8> {
    let head = format!("Subject: number {n}\r\n\r\n");
    let line = b"a line of the message, of no great length\r\n";
    let lines = line.repeat(size / line.len() + 1);
    [head.as_bytes(), &lines].concat()
}

#[test]
fn a_disk_that_fills_up_in_the_middle_of_data_costs_a_452_and_nothing_else() {
    let mut house = House::new();
    for (n, size) in [(1, LARGE), (2, 100_000)] {
        let text = stuffed(&letter(n, size));
        let (first, rest) = text.split_at(text.len() / 2);
        let mut session = house.begin("torn@y.test");
        session.write(first).unwrap();
        house.disk.fill_but(0);
        session.write(rest).unwrap();
        let reply = session.reply().unwrap();
        assert!(reply.starts_with("452 4.3.1"), "{reply}");
        // The session is in step, and what begins now is refused before its text.
        let reply = session.command("MAIL FROM:<desk@help.example>").unwrap();
        assert!(reply.starts_with("452 4.3.1"), "{reply}");
        house.disk.empty();
        let reply = session.command("MAIL FROM:<desk@help.example>").unwrap();
        assert!(reply.starts_with("250"), "{reply}");
        assert_eq!(house.send("whole@y.test", &letter(n, size)), Sent::Accepted);
    }
    eventually("the whole ones leave", SOON, || {
        house.submitted() == ["whole@y.test"; 2]
    });
    house.is_tidy();
}

#[test]
fn a_commit_for_which_there_is_no_room_is_no_250_and_what_had_one_leaves() {
    let mut house = House::new();
    // The relay holds its breath, so that only submissions write.
    let pause = Duration::from_secs(3600);
    house
        .rig
        .provider
        .fault_for(Service::Smtp, "MAIL", pause, Fault::Delay(pause));
    let mut accepted = Vec::new();
    let mut refused = 0;
    // All begin while there is room, and end when there is room for a few.
    let mut sessions: Vec<Submitter> = (0..40)
        .map(|n| house.begin(&format!("r{n}@y.test")))
        .collect();
    house.disk.fill_but(2 << 20);
    for (n, session) in sessions.iter_mut().enumerate() {
        session.write(&stuffed(&letter(n, 200_000))).unwrap();
        let reply = session.reply().unwrap();
        match &reply[..3] {
            "250" => accepted.push(format!("r{n}@y.test")),
            "451" | "452" => refused += 1,
            _ => panic!("{reply}"),
        }
    }
    println!("{} accepted, {refused} refused", accepted.len());
    assert!(
        refused > 20 && !accepted.is_empty(),
        "{refused} of 40 were refused"
    );
    house.disk.empty();
    let reply = house.send("after@y.test", &letter(99, 200_000));
    assert_eq!(reply, Sent::Accepted);
    accepted.push("after@y.test".to_owned());
    house.rig.provider.clear_faults();
    house.rig.provider.drop_connections(Service::Smtp);
    accepted.sort();
    eventually("what was accepted leaves, and nothing else", SOON, || {
        let mut submitted = house.submitted();
        submitted.sort();
        submitted == accepted
    });
    house.is_tidy();
}

#[test]
fn an_answer_that_finds_no_room_is_kept_in_mind_until_there_is_some() {
    let mut house = House::new();
    let slow = Fault::Withhold(Duration::from_secs(2));
    house.rig.provider.fault(Service::Smtp, ".", 1, slow);
    assert_eq!(house.send("taken@y.test", &letter(1, 1000)), Sent::Accepted);
    eventually("the provider has it", SOON, || {
        house.submitted() == ["taken@y.test"]
    });
    house.disk.fill_but(0);
    house.logs("an outcome could not be recorded yet");
    house.disk.empty();
    eventually("it is closed", SOON, || house.queue().is_empty());
    assert_eq!(house.submitted(), ["taken@y.test"], "it was sent twice");
    house.is_tidy();
}

#[test]
fn a_report_that_finds_no_room_stays_owed_and_comes_once() {
    let mut house = House::new();
    assert_eq!(
        house.send("reject@y.test", &letter(1, 1000)),
        Sent::Accepted
    );
    eventually("it is refused", SOON, || {
        let queue = house.queue();
        queue.first().is_some_and(|row| row["state"] == "held")
    });
    house.disk.fill_but(0);
    house.logs("a report could not be written; it stays owed");
    assert!(house.reports().is_empty());
    house.disk.empty();
    eventually("it is reported", SOON, || !house.reports().is_empty());
    let report = house.reports().remove(0);
    assert!(report.contains("Final-Recipient: rfc822; reject@y.test"));
    house.is_tidy();
    assert_eq!(house.reports().len(), 1, "it was reported twice");
}
