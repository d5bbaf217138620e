//! Whether a relay may send now: the pause after trouble, and how many connections are allowed; pure.
use super::judge::Trouble;
use super::pace::backoff;
use std::time::Duration;
use tokio::time::Instant;

/// A relay that was away for so long makes its messages' own schedules count: each is retried, ages, and is held when
/// it is too old. Until then an outage is nobody's attempt.
const OUTAGE: Duration = Duration::from_secs(3600);
/// After so long without a complaint one connection more is tried.
const CROWDED: Duration = Duration::from_secs(600);

/// Why the gate is shut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shut {
    pub(crate) until: Instant,
    pub(crate) why: String,
    /// Waits for a person, or for a quota.
    pub(crate) blocked: bool,
}

/// What a relay that works is back from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Back {
    /// Its account was blocked.
    Blocked,
    /// It was away for so long that its messages' attempts counted.
    Outage,
}

/// The gate of one relay.
#[derive(Debug)]
pub(crate) struct Gate {
    shut: Option<Shut>,
    failures: u32,
    failing_since: Option<Instant>,
    /// Nothing was sent since, for whatever reason.
    down_since: Option<Instant>,
    /// What it was shut for, where that is noted with its messages; it has not worked since.
    back_from: Option<Back>,
    connections: usize,
    allowed: usize,
    more_at: Option<Instant>,
}

impl Gate {
    pub(crate) fn new(connections: usize) -> Self {
        let connections = connections.max(1);
        Self {
            shut: None,
            failures: 0,
            failing_since: None,
            down_since: None,
            back_from: None,
            connections,
            allowed: connections,
            more_at: None,
        }
    }

    /// Why nothing may begin now.
    pub(crate) fn shut(&self) -> Option<&Shut> {
        self.shut.as_ref()
    }

    /// Opens it when its time has come.
    pub(crate) fn tick(&mut self, now: Instant) {
        if self.shut.as_ref().is_some_and(|shut| shut.until <= now) {
            self.shut = None;
        }
        if self.more_at.is_some_and(|at| at <= now) {
            self.allowed = self.connections.min(self.allowed + 1);
            self.more_at = (self.allowed < self.connections).then_some(now + CROWDED);
        }
    }

    /// A person, or a new token, says that it is worth a try.
    pub(crate) fn open(&mut self) {
        self.shut = None;
    }

    /// The server answered for a message; whether it is the first since a block or an outage.
    pub(crate) fn worked(&mut self) -> Option<Back> {
        self.failures = 0;
        self.failing_since = None;
        self.down_since = None;
        // What another connection was still doing when the gate was shut says nothing about the block.
        match self.shut {
            None => self.back_from.take(),
            Some(_) => None,
        }
    }

    /// Messages at a time: one to find out, while there is trouble.
    pub(crate) fn slots(&self) -> usize {
        if self.failures > 0 { 1 } else { self.allowed }
    }

    /// Whether the relay has been away so long that its messages' attempts count.
    pub(crate) fn is_outage(&self, now: Instant) -> bool {
        self.failing_since
            .is_some_and(|since| now.duration_since(since) >= OUTAGE)
    }

    /// Whether nothing could be sent for so long, the account's blocks included.
    pub(crate) fn is_down(&self, now: Instant, span: Duration) -> bool {
        self.down_since
            .is_some_and(|since| now.duration_since(since) >= span)
    }

    /// Shuts it; returns for how long.
    pub(crate) fn shut_for(&mut self, trouble: &Trouble, now: Instant, random: f64) -> Duration {
        self.failures += 1;
        if !matches!(trouble, Trouble::Crowded { .. }) {
            self.down_since.get_or_insert(now);
        }
        let growing = backoff(self.failures, random);
        let pause = match trouble {
            Trouble::Blocked { pause, .. } => {
                // While it is blocked the clocks stand still, so this is no outage.
                self.failing_since = None;
                self.back_from = Some(Back::Blocked);
                // Looking again costs a write for each message that waits: ever more rarely.
                growing.max(*pause)
            }
            Trouble::Later { after, .. } => {
                self.failing_since.get_or_insert(now);
                if self.is_outage(now) {
                    self.back_from.get_or_insert(Back::Outage);
                }
                after.map_or(growing, |after| after.max(growing))
            }
            Trouble::Crowded { .. } => {
                self.allowed = self.allowed.saturating_sub(1).max(1);
                self.more_at = Some(now + CROWDED);
                growing
            }
        };
        let blocked = matches!(trouble, Trouble::Blocked { .. });
        self.shut = Some(Shut {
            until: now + pause,
            why: trouble.why().to_owned(),
            blocked,
        });
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn later() -> Trouble {
        Trouble::Later {
            why: "no answer".into(),
            after: None,
        }
    }

    #[test]
    fn failures_shut_the_gate_longer_each_time_and_one_message_finds_out() {
        let now = Instant::now();
        let mut gate = Gate::new(3);
        assert_eq!(gate.shut_for(&later(), now, 0.5), Duration::from_secs(1));
        assert_eq!(gate.shut_for(&later(), now, 0.5), Duration::from_secs(2));
        assert_eq!(gate.slots(), 1);
        gate.tick(now + Duration::from_millis(1999));
        assert!(gate.shut().is_some());
        gate.tick(now + Duration::from_secs(2));
        assert!(gate.shut().is_none());
        gate.worked();
        assert_eq!(gate.slots(), 3);
        assert_eq!(gate.shut_for(&later(), now, 0.5), Duration::from_secs(1));
    }

    #[test]
    fn a_crowded_server_gets_fewer_connections_and_more_again_later() {
        let now = Instant::now();
        let mut gate = Gate::new(3);
        let crowded = Trouble::Crowded { why: "432".into() };
        gate.shut_for(&crowded, now, 0.5);
        gate.worked();
        assert_eq!(gate.slots(), 2);
        for _ in 0..5 {
            gate.shut_for(&crowded, now, 0.5);
        }
        gate.worked();
        assert_eq!(gate.slots(), 1);
        gate.tick(now + CROWDED);
        assert_eq!(gate.slots(), 2);
        gate.tick(now + CROWDED * 2);
        assert_eq!(gate.slots(), 3);
    }

    #[test]
    fn only_a_long_absence_is_an_outage_and_a_block_is_none() {
        let now = Instant::now();
        let mut gate = Gate::new(1);
        gate.shut_for(&later(), now, 0.5);
        assert!(!gate.is_outage(now + Duration::from_secs(3599)));
        assert!(gate.is_outage(now + OUTAGE));
        let blocked = Trouble::Blocked {
            why: "consent".into(),
            pause: Duration::from_secs(30),
        };
        assert_eq!(gate.shut_for(&blocked, now, 0.5), Duration::from_secs(30));
        assert!(!gate.is_outage(now + OUTAGE));
        assert_eq!(
            gate.worked(),
            None,
            "a message that was under way ends nothing"
        );
        gate.open();
        assert_eq!(
            [gate.worked(), gate.worked()],
            [Some(Back::Blocked), None],
            "the first one that works ends the block"
        );
        gate.shut_for(&later(), now, 0.5);
        gate.shut_for(&later(), now + OUTAGE, 0.5);
        gate.open();
        assert_eq!(gate.worked(), Some(Back::Outage));
        let crowded = Trouble::Crowded { why: "432".into() };
        gate.shut_for(&crowded, now, 0.5);
        assert!(!gate.is_down(now + OUTAGE, OUTAGE));
        gate.shut_for(&later(), now, 0.5);
        gate.shut_for(&blocked, now + OUTAGE / 2, 0.5);
        assert!(gate.is_down(now + OUTAGE, OUTAGE), "the reason may change");
    }
}
