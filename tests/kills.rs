//! `kill -9` at fifty random moments, mail flowing both ways: nothing is lost, and what is doubled was in a named window at a kill.

use crate::harness::dovecot::Dovecot;
use crate::harness::postern::Setup;
use crate::harness::postfix::Postfix;
use crate::harness::rig::Rig;
use crate::harness::submit::{Sent, Submitter};
use crate::harness::{corpus, eventually, seeded, sha256};
use crate::real_imap::{filing_command, mailbox_yaml};
use crate::real_relay::{arrived, as_stored, marked, relay_yaml};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

const KILLS: usize = 50;
const IN_EACH_LIFE: usize = 10;
const OUT_EACH_LIFE: usize = 4;
/// The longest life; most work of a life is done well before, so that kills fall into busy and idle moments alike.
const LONGEST_LIFE_MS: u64 = 900;

/// What was being handed over when the process died, by the spool's own tables.
#[derive(Default)]
pub(crate) struct Window {
    /// Ids of inbound deliveries that were claimed and not settled.
    inbound: BTreeSet<i64>,
    /// Subject and recipient of outbound deliveries in the same state.
    pub(crate) outbound: BTreeSet<(String, String)>,
}

pub(crate) fn window(state_dir: &Path) -> Window {
    let db = rusqlite::Connection::open(state_dir.join("spool.db")).unwrap();
    let claimed = "SELECT d.id, d.direction, m.header_subject, coalesce(d.recipient, '') FROM delivery d JOIN message m ON m.id = d.message WHERE d.state = 'claimed'";
    let mut statement = db.prepare(claimed).unwrap();
    let mut rows = statement.query([]).unwrap();
    let mut window = Window::default();
    while let Some(row) = rows.next().unwrap() {
        if row.get::<_, String>(1).unwrap() == "in" {
            window.inbound.insert(row.get(0).unwrap());
        } else {
            window
                .outbound
                .insert((row.get(2).unwrap(), row.get(3).unwrap()));
        }
    }
    window
}

/// How many files each inbound delivery has made so far, and the hashes of them.
fn filed_by_delivery(filed: &Path) -> BTreeMap<i64, Vec<PathBuf>> {
    let mut all: BTreeMap<i64, Vec<PathBuf>> = BTreeMap::new();
    for entry in std::fs::read_dir(filed).unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if let Some((id, _)) = name.split_once('.').filter(|(id, _)| !id.is_empty()) {
            all.entry(delivery_number(id))
                .or_default()
                .push(entry.path());
        }
    }
    all
}

/// The number in a `POSTERN_DELIVERY_ID`.
fn delivery_number(id: &str) -> i64 {
    id.split('-')
        .next()
        .unwrap()
        .parse()
        .unwrap_or_else(|_| panic!("{id} is no delivery id"))
}

/// Whether a ticket command of this rig still runs; a killed daemon leaves the one it started to its end. Between fork and exec
/// a child still bears the daemon's own command line, with the configuration's path in it. Amid exec it bears none, and its program
/// tells it from a kernel thread and from a dead process: whose it is shows at the next look.
fn command_runs(script: &Path, config: &Path) -> bool {
    let named = |line: &[u8], path: &Path| {
        let path = path.as_os_str().as_encoded_bytes();
        line.windows(path.len()).any(|w| w == path)
    };
    let mut processes = std::fs::read_dir("/proc").unwrap().flatten();
    processes.any(|entry| match std::fs::read(entry.path().join("cmdline")) {
        Ok(line) if line.is_empty() => std::fs::read_link(entry.path().join("exe")).is_ok(),
        Ok(line) => named(&line, script) || named(&line, config),
        Err(_) => false,
    })
}

/// Replies that wait for a certain 250, and those that may have got one that was never heard.
#[derive(Default)]
struct Outbox {
    waiting: Vec<(usize, Vec<u8>)>,
    unheard: BTreeMap<usize, usize>,
}

impl Outbox {
    /// Submits until the session breaks or nothing waits.
    fn submit(&mut self, port: u16) {
        let Ok(mut session) = Submitter::connect(port) else {
            return;
        };
        while let Some((n, message)) = self.waiting.first() {
            match session.send(
                "desk@help.example",
                &[&format!("r{}@y.test", n % 5)],
                message,
            ) {
                Sent::Accepted => drop(self.waiting.remove(0)),
                Sent::InDoubt => {
                    *self.unheard.entry(*n).or_insert(0) += 1;
                    return;
                }
                Sent::Lost => return,
                // Shutting down is the only refusal a killed daemon can have begun to say.
                Sent::Refused(reply) => panic!("message {n} was refused: {reply}"),
            }
        }
    }
}

fn setup(rig: &Rig, dovecot: &Dovecot, postfix: &Postfix, script: &Path, filed: &Path) -> Setup {
    let deliver = format!(
        "    auth: {{token: desk}}\n    tls: implicit\n    deliver: {{command: ['{}', '{}']}}\n    after: delete\n",
        script.display(),
        filed.display()
    );
    let relay = "    tls: starttls\n    auth: {token: desk}\n    senders: ['@help.example']\n";
    let accounts = format!(
        "token_configs:\n{}mailboxes:\n{}relays:\n{}",
        rig.token_config_yaml("desk"),
        mailbox_yaml(rig, "desk", dovecot.imaps, &deliver),
        relay_yaml(rig, "desk", postfix.submission, relay)
    );
    let setup = Setup::new(rig, &accounts);
    setup.ok(&["token", "seed", "desk"], &rig.provider.consent("desk"));
    setup
}

/// The servers, what was put into them, and what may have been doubled.
struct Run {
    dovecot: Dovecot,
    postfix: Postfix,
    setup: Setup,
    script: PathBuf,
    filed: PathBuf,
    rng: fastrand::Rng,
    outbox: Outbox,
    expected_in: BTreeSet<String>,
    expected_out: BTreeMap<usize, String>,
    may_double_in: BTreeMap<i64, usize>,
    may_double_out: BTreeMap<(String, String), usize>,
    /// Lives in which something was delivered before the kill.
    busy: usize,
    /// Last, so that the servers are stopped before their folder goes.
    rig: Rig,
}

impl Run {
    fn new(seed: u64) -> Self {
        let rig = Rig::new(Duration::from_secs(5));
        // A provider that revokes the family when a used refresh token comes again would punish the lost answer itself; most don't.
        rig.provider.set_knobs(|knobs| knobs.punish_reuse = false);
        let dovecot = Dovecot::start(&rig);
        let postfix = Postfix::start(&rig, &dovecot);
        let (script, filed) = filing_command(rig.path());
        let setup = setup(&rig, &dovecot, &postfix, &script, &filed);
        Self {
            rig,
            dovecot,
            postfix,
            setup,
            script,
            filed,
            rng: fastrand::Rng::with_seed(seed),
            outbox: Outbox::default(),
            expected_in: BTreeSet::new(),
            expected_out: BTreeMap::new(),
            may_double_in: BTreeMap::new(),
            may_double_out: BTreeMap::new(),
            busy: 0,
        }
    }

    /// New mail for a life, both ways.
    fn fill(&mut self, life: usize) {
        for n in life * IN_EACH_LIFE..(life + 1) * IN_EACH_LIFE {
            let size = if n % 100 == 3 {
                10_000_000
            } else {
                1024 << self.rng.usize(0..10)
            };
            let sample = corpus::sample(&mut self.rng, n, size);
            self.dovecot.put("desk", &sample.stored);
            self.expected_in.insert(sha256(&sample.served));
        }
        for n in life * OUT_EACH_LIFE..(life + 1) * OUT_EACH_LIFE {
            let text = format!("Subject: kill {n}\r\n\r\nreply {n}\r\n");
            let message = marked(n, text.as_bytes());
            self.expected_out.insert(n, sha256(&as_stored(&message)));
            self.outbox.waiting.push((n, message));
        }
    }

    /// Starts the daemon, lets mail flow, kills it at a random moment, and notes what was in a window then.
    fn live_and_die(&mut self, life: usize) {
        let filed_before = filed_by_delivery(&self.filed);
        let daemon = self.setup.start();
        let moment = Duration::from_millis(self.rng.u64(0..LONGEST_LIFE_MS));
        let (outbox, port, filed) = (&mut self.outbox, self.setup.submission, &self.filed);
        std::thread::scope(|scope| {
            scope.spawn(|| outbox.submit(port));
            if life.is_multiple_of(2) {
                // However slow this machine is: half of the lives are killed amid their work.
                eventually("something is delivered", Duration::from_secs(60), || {
                    filed_by_delivery(filed).len() > filed_before.len()
                });
            }
            // The random moment is what this test is about.
            std::thread::sleep(moment);
            daemon.kill9();
        });
        eventually(
            "the command that the killed daemon left behind ends",
            Duration::from_secs(20),
            || !command_runs(&self.script, &self.setup.config),
        );
        let window = window(&self.setup.state_dir());
        let filed_now = filed_by_delivery(&self.filed);
        self.busy += usize::from(filed_now.len() > filed_before.len());
        for id in window.inbound {
            let count = |map: &BTreeMap<i64, Vec<PathBuf>>| map.get(&id).map_or(0, Vec::len);
            if count(&filed_now) > count(&filed_before) {
                *self.may_double_in.entry(id).or_insert(0) += 1;
            }
        }
        for key in window.outbound {
            *self.may_double_out.entry(key).or_insert(0) += 1;
        }
    }

    /// A last life without a kill, until everything has arrived.
    fn finish(&mut self) {
        let daemon = self.setup.start();
        self.outbox.submit(self.setup.submission);
        let left = self.outbox.waiting.len();
        assert_eq!(left, 0, "{left} replies were not accepted");
        eventually("the mailbox is empty", Duration::from_secs(120), || {
            self.dovecot.count("desk", None) == 0
        });
        eventually("the spool is empty", Duration::from_secs(180), || {
            self.setup.ok(&["queue", "list", "--json"], "").trim() == "[]"
        });
        eventually("Postfix has delivered", Duration::from_secs(30), || {
            self.postfix.queued() == 0
        });
        assert!(daemon.stop().success());
    }
}

#[test]
fn fifty_kills_lose_nothing_and_double_only_what_was_in_a_named_window() {
    let seed = seeded().u64(..);
    let mut run = Run::new(seed);
    for life in 0..KILLS {
        run.fill(life);
        run.live_and_die(life);
    }
    run.finish();

    let busy = run.busy;
    assert!(
        busy >= KILLS / 4,
        "only {busy} lives were long enough to deliver anything"
    );
    assert!(
        run.rig.provider.counts().refreshes > 0,
        "no token was refreshed"
    );
    let doubled_in = judge_inbound(
        &filed_by_delivery(&run.filed),
        &run.expected_in,
        &run.may_double_in,
    );
    let doubled_out = judge_outbound(
        &arrived(&run.postfix),
        &run.expected_out,
        &run.may_double_out,
        &run.outbox.unheard,
    );
    println!(
        "{KILLS} kills, {busy} of them after mail had been delivered in that life: {} in, 0 lost, {doubled_in} doubled of {} that were in the \
         window; {} out, 0 lost, {doubled_out} doubled of {} that were in a window",
        run.expected_in.len(),
        run.may_double_in.len(),
        run.expected_out.len(),
        run.may_double_out.len() + run.outbox.unheard.len()
    );
}

fn judge_inbound(
    filed: &BTreeMap<i64, Vec<PathBuf>>,
    expected: &BTreeSet<String>,
    may_double: &BTreeMap<i64, usize>,
) -> usize {
    let mut found = BTreeSet::new();
    let mut doubled = 0;
    for (id, files) in filed {
        let extra = files.len() - 1;
        assert!(
            extra <= may_double.get(id).copied().unwrap_or(0),
            "delivery {id} was made {} times outside the window",
            files.len()
        );
        doubled += extra;
        let hashes: BTreeSet<String> = files
            .iter()
            .map(|file| sha256(&std::fs::read(file).unwrap()))
            .collect();
        assert_eq!(
            hashes.len(),
            1,
            "delivery {id} was made with different bytes"
        );
        let hash = hashes.into_iter().next().unwrap();
        assert!(
            expected.contains(&hash),
            "delivery {id} has bytes that no message had"
        );
        assert!(
            found.insert(hash),
            "two deliveries of one message, the second is {id}"
        );
    }
    assert_eq!(&found, expected, "messages were lost");
    doubled
}

fn judge_outbound(
    arrived: &BTreeMap<(String, String), usize>,
    expected: &BTreeMap<usize, String>,
    may_double: &BTreeMap<(String, String), usize>,
    unheard: &BTreeMap<usize, usize>,
) -> usize {
    let mut doubled = 0;
    for (n, hash) in expected {
        let recipient = format!("r{}", n % 5);
        let count = arrived
            .get(&(recipient.clone(), hash.clone()))
            .copied()
            .unwrap_or(0);
        assert!(count >= 1, "reply {n} was lost");
        let window = may_double
            .get(&(format!("kill {n}"), format!("{recipient}@y.test")))
            .copied()
            .unwrap_or(0);
        let allowed = window + unheard.get(n).copied().unwrap_or(0);
        assert!(
            count - 1 <= allowed,
            "reply {n} arrived {count} times, {allowed} kills were in its window"
        );
        doubled += count - 1;
    }
    assert_eq!(
        arrived.len(),
        expected.len(),
        "something arrived that was never sent"
    );
    doubled
}
