//! `kill -9` at random moments while twenty clients submit and a real Postfix takes what leaves: every message that got its 250 arrives, and
//! what arrives twice was between its final dot and a noted answer at a kill.

use crate::harness::dovecot::Dovecot;
use crate::harness::postern::{Daemon, Setup};
use crate::harness::postfix::Postfix;
use crate::harness::rig::Rig;
use crate::harness::submit::{Sent, Submitter};
use crate::harness::{eventually, long, seeded, sha256};
use crate::kills::window;
use crate::real_relay::{arrived, as_stored, marked, relay_yaml};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const CLIENTS: usize = 20;
const KILLS: usize = 20;
const LONG_KILLS: usize = 200;
/// A kill comes after at most so many messages of its life, and this much later: in the midst of the load, however slow this machine is.
const MESSAGES: usize = 120;
const LATER_MS: u64 = 30;

/// What the clients know, all of them together.
#[derive(Default)]
struct Known {
    next: AtomicUsize,
    /// Got their 250.
    accepted: Mutex<Vec<usize>>,
    /// May have got one that was never heard.
    unheard: AtomicUsize,
}

impl Known {
    fn accepted(&self) -> usize {
        self.accepted.lock().unwrap().len()
    }

    /// One client: message after message until the daemon is gone. What was not heard to be accepted is submitted again in the next
    /// life, as ticket systems do, by whoever has it in `left`.
    fn submit(&self, port: u16, left: &Mutex<Vec<usize>>) {
        let Ok(mut session) = Submitter::connect(port) else {
            return;
        };
        loop {
            let again = left.lock().unwrap().pop();
            let n = again.unwrap_or_else(|| self.next.fetch_add(1, Ordering::SeqCst));
            match session.send("desk@help.example", &[&recipient(n)], &message(n)) {
                Sent::Accepted => self.accepted.lock().unwrap().push(n),
                Sent::Refused(reply) => panic!("message {n} was refused: {reply}"),
                broken => {
                    if broken == Sent::InDoubt {
                        self.unheard.fetch_add(1, Ordering::SeqCst);
                    }
                    left.lock().unwrap().push(n);
                    return;
                }
            }
        }
    }
}

fn recipient(n: usize) -> String {
    format!("r{}@y.test", n % 7)
}

/// Mostly small; some are files in the spool. Submitted again it is the same message, since it bears a key.
fn message(n: usize) -> Vec<u8> {
    let key = format!("X-Postern-Idempotency-Key: load-{n}\r\n");
    [key.as_bytes(), &text(n)].concat()
}

/// As it arrives.
fn text(n: usize) -> Vec<u8> {
    let lines = if n % 50 == 7 { 9000 } else { n % 40 };
    let text = format!(
        "Subject: load {n}\r\n\r\n{}",
        "a line of this reply, as long as it is\r\n".repeat(lines)
    );
    marked(n, text.as_bytes())
}

struct Load {
    known: Known,
    left: Mutex<Vec<usize>>,
    /// Subject and recipient of what was in the relay's hands at a kill, so often.
    in_window: BTreeMap<(String, String), usize>,
    setup: Setup,
    postfix: Postfix,
    _dovecot: Dovecot,
    // Last, so that the servers are stopped before their folder goes.
    _rig: Rig,
}

impl Load {
    fn new() -> Self {
        let rig = Rig::new(Duration::from_secs(3600));
        let dovecot = Dovecot::start(&rig);
        let postfix = Postfix::start(&rig, &dovecot);
        let relay = "    tls: starttls\n    auth: {token: desk}\n    senders: ['@help.example']\n    connections: 5\n";
        let accounts = format!(
            "token_configs:\n{}relays:\n{}",
            rig.token_config_yaml("desk"),
            relay_yaml(&rig, "desk", postfix.submission, relay)
        );
        let setup = Setup::new(&rig, &accounts);
        setup.ok(&["token", "seed", "desk"], &rig.provider.consent("desk"));
        Self {
            known: Known::default(),
            left: Mutex::default(),
            in_window: BTreeMap::new(),
            setup,
            postfix,
            _dovecot: dovecot,
            _rig: rig,
        }
    }

    /// Twenty clients at once, until the daemon is killed at a moment of this life.
    fn live_and_die(&mut self, rng: &mut fastrand::Rng) {
        let daemon = self.setup.start();
        let enough = self.known.accepted() + rng.usize(0..MESSAGES);
        let later = Duration::from_micros(rng.u64(0..LATER_MS * 1000));
        let (known, left, port) = (&self.known, &self.left, self.setup.submission);
        std::thread::scope(|scope| {
            for _ in 0..CLIENTS {
                scope.spawn(|| known.submit(port, left));
            }
            kill_at(daemon, later, || known.accepted() >= enough);
        });
        for key in window(&self.setup.state_dir()).outbound {
            *self.in_window.entry(key).or_insert(0) += 1;
        }
    }

    /// A last life without a kill, until everything has arrived.
    fn finish(&mut self) {
        let daemon = self.setup.start();
        let mut session = Submitter::connect(self.setup.submission).unwrap();
        for n in self.left.get_mut().unwrap().drain(..) {
            let sent = session.send("desk@help.example", &[&recipient(n)], &message(n));
            assert_eq!(sent, Sent::Accepted, "message {n}");
            self.known.accepted.get_mut().unwrap().push(n);
        }
        eventually("the spool is empty", Duration::from_secs(300), || {
            self.setup.ok(&["queue", "list", "--json"], "").trim() == "[]"
        });
        eventually("Postfix has delivered", Duration::from_secs(120), || {
            self.postfix.queued() == 0
        });
        assert!(daemon.stop().success());
    }

    /// Every accepted message is there, and as often as it may be. How many copies are one too many for a perfect world.
    fn judge(&mut self) -> usize {
        let arrived = arrived(&self.postfix);
        let accepted = self.known.accepted.get_mut().unwrap();
        accepted.sort_unstable();
        assert!(accepted.windows(2).all(|two| two[0] < two[1]));
        let mut doubled = 0;
        for n in accepted.iter() {
            let to = recipient(*n);
            let user = to.split('@').next().unwrap().to_owned();
            let copies = arrived.get(&(user, sha256(&as_stored(&text(*n)))));
            let copies = copies.copied().unwrap_or(0);
            assert!(copies >= 1, "message {n} got its 250 and was lost");
            let at_relay = self.in_window.get(&(format!("load {n}"), to));
            let may = at_relay.copied().unwrap_or(0);
            assert!(
                copies - 1 <= may,
                "message {n} arrived {copies} times, {may} kills were in its window"
            );
            doubled += copies - 1;
        }
        assert_eq!(
            arrived.len(),
            accepted.len(),
            "something arrived that was never sent, or changed"
        );
        doubled
    }
}

fn kill_at(daemon: Daemon, later: Duration, enough: impl FnMut() -> bool) {
    eventually("the load is on", Duration::from_secs(60), enough);
    // The random moment is what this test is about.
    std::thread::sleep(later);
    daemon.kill9();
}

#[test]
fn killed_at_random_moments_under_the_load_of_twenty_clients_every_message_that_got_its_250_arrives()
 {
    let mut rng = seeded();
    let kills = if long() { LONG_KILLS } else { KILLS };
    let mut load = Load::new();
    for _ in 0..kills {
        load.live_and_die(&mut rng);
    }
    load.finish();
    let doubled = load.judge();
    let unheard = load.known.unheard.load(Ordering::SeqCst);
    let accepted = load.known.accepted();
    println!(
        "{kills} kills under {CLIENTS} clients: {accepted} messages accepted, 0 lost, {doubled} doubled of {} that were in the relay's hands at a kill; {unheard} were submitted again since their 250 was not heard, none of them doubled by that",
        load.in_window.len(),
    );
    assert!(
        accepted > kills * MESSAGES / 4,
        "there was no load: {accepted}"
    );
}
