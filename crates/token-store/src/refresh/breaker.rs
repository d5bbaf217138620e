//! One token endpoint's breaker: after a run of failures it opens, and then one request at a time tries the endpoint
//! while everything else waits. Pure: the time and luck are arguments, in steady milliseconds.

use crate::state::pace::{MINUTE, SECOND, doubled};
use std::collections::HashMap;

/// Failures in a row that open it: a glitch is over before, and an outage costs no more requests than these.
const FAILURES: u32 = 5;
/// First pause between two tries, doubled up to the cap.
const PROBE_FIRST: i64 = 15 * SECOND;
const PROBE_CAP: i64 = 5 * MINUTE;
/// A Retry-After beyond this is not believed for everything at once.
const ASKED_CAP: i64 = 60 * MINUTE;

/// The breaker of one token endpoint.
#[derive(Debug, Default)]
pub(crate) struct Breaker {
    /// In a row.
    failures: u32,
    outage: Option<Outage>,
    /// Clients that the endpoint asked for patience, and until when.
    held: HashMap<String, i64>,
}

#[derive(Debug)]
struct Outage {
    since: i64,
    /// The next try.
    next: i64,
    /// Tries so far.
    probes: u32,
    probing: bool,
    /// How the last request failed.
    words: String,
}

/// Whether a request may be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Admission {
    /// Yes.
    Go,
    /// Yes, as the one that tries whether the endpoint is back.
    Probe,
    /// Not before this.
    Wait { until: i64, words: String },
}

/// What is told once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Turn {
    /// It has just opened.
    Opened { failures: u32, next: i64 },
    /// It has just closed.
    Closed { lasted: i64, probes: u32 },
    /// A client was asked for patience.
    Held { until: i64 },
}

impl Breaker {
    /// Whether a request of `client` may be sent now. What a person asks for goes in any case, but only one at a time
    /// while the endpoint is away.
    pub(crate) fn admit(&mut self, client: &str, by_person: bool, now: i64) -> Admission {
        self.held.retain(|_, until| *until > now);
        if let Some(outage) = &mut self.outage
            && !outage.probing
            && (by_person || now >= outage.next)
        {
            outage.probing = true;
            outage.probes += 1;
            return Admission::Probe;
        }
        match self.held_until(client, now) {
            Some((until, words)) if self.outage.is_some() || !by_person => {
                Admission::Wait { until, words }
            }
            _ => Admission::Go,
        }
    }

    /// Until when nothing may be sent to the endpoint.
    pub(crate) fn closed_until(&self, now: i64) -> Option<i64> {
        let outage = self.outage.as_ref()?;
        // While a try is under way its answer decides; look again after the shortest pause.
        let until = if outage.probing {
            outage.next.max(now.saturating_add(SECOND))
        } else {
            outage.next
        };
        Some(until).filter(|until| *until > now)
    }

    /// The same for one client, and why.
    pub(crate) fn held_until(&self, client: &str, now: i64) -> Option<(i64, String)> {
        if let (Some(until), Some(outage)) = (self.closed_until(now), &self.outage) {
            return Some((until, format!("it is away ({})", outage.words)));
        }
        let until = self.held.get(client).filter(|until| **until > now)?;
        Some((*until, "it asked for patience".to_owned()))
    }

    /// The endpoint did not answer as a token endpoint does. `asked`: its Retry-After.
    pub(crate) fn away(
        &mut self,
        probe: bool,
        words: &str,
        asked: Option<i64>,
        now: i64,
        luck: f64,
    ) -> Option<Turn> {
        self.failures = self.failures.saturating_add(1);
        let asked = asked.map_or(0, |pause| pause.min(ASKED_CAP));
        let pause = |probes| doubled(PROBE_FIRST, probes, PROBE_CAP, luck).max(asked);
        if let Some(outage) = &mut self.outage {
            // One that was under way when it opened says nothing new.
            if probe {
                outage.probing = false;
                outage.next = now.saturating_add(pause(outage.probes));
                words.clone_into(&mut outage.words);
            }
            return None;
        }
        if self.failures < FAILURES {
            return None;
        }
        let next = now.saturating_add(pause(0));
        self.outage = Some(Outage {
            since: now,
            next,
            probes: 0,
            probing: false,
            words: words.to_owned(),
        });
        Some(Turn::Opened {
            failures: self.failures,
            next,
        })
    }

    /// The endpoint answered, well or not.
    pub(crate) fn answered(&mut self, now: i64) -> Option<Turn> {
        self.failures = 0;
        let outage = self.outage.take()?;
        Some(Turn::Closed {
            lasted: now.saturating_sub(outage.since),
            probes: outage.probes,
        })
    }

    /// The endpoint answered, and asked this client for patience.
    pub(crate) fn hold(&mut self, client: &str, asked: i64, now: i64) -> Option<Turn> {
        let until = now.saturating_add(asked.min(ASKED_CAP));
        let before = self.held.insert(client.to_owned(), until);
        before.is_none().then_some(Turn::Held { until })
    }

    /// A try ended without an outcome.
    pub(crate) fn abandoned(&mut self) {
        if let Some(outage) = &mut self.outage {
            outage.probing = false;
        }
    }

    /// Since when the endpoint is away, the next try, and how the last one failed.
    pub(crate) fn outage(&self) -> Option<(i64, i64, &str)> {
        let outage = self.outage.as_ref()?;
        Some((outage.since, outage.next, &outage.words))
    }

    /// Nothing is known of this endpoint.
    pub(crate) fn is_blank(&self) -> bool {
        self.failures == 0 && self.outage.is_none() && self.held.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open() -> Breaker {
        let mut breaker = Breaker::default();
        for n in 1..=FAILURES {
            assert_eq!(breaker.admit("c", false, 0), Admission::Go);
            let turn = breaker.away(false, "refused", None, 0, 0.5);
            let opened = Turn::Opened {
                failures: FAILURES,
                next: PROBE_FIRST,
            };
            assert_eq!(turn, (n == FAILURES).then_some(opened), "failure {n}");
        }
        breaker
    }

    fn waits(breaker: &mut Breaker, by_person: bool, now: i64) -> bool {
        matches!(breaker.admit("c", by_person, now), Admission::Wait { .. })
    }

    #[test]
    fn it_opens_after_a_run_of_failures_and_then_lets_one_request_try_at_growing_pauses() {
        let mut breaker = open();
        let (mut now, mut pauses) = (0, Vec::new());
        for _ in 0..8 {
            let Admission::Wait { until, words } = breaker.admit("c", false, now) else {
                panic!("let in while open");
            };
            assert!(words.contains("refused"), "{words}");
            pauses.push((until - now) / SECOND);
            now = until;
            assert_eq!(breaker.admit("c", false, now), Admission::Probe);
            assert!(waits(&mut breaker, false, now + MINUTE), "one at a time");
            assert!(waits(&mut breaker, true, now), "a person's is no second");
            assert_eq!(breaker.away(true, "refused", None, now, 0.5), None);
        }
        assert_eq!(pauses, [15, 30, 60, 120, 240, 300, 300, 300]);
        assert_eq!(breaker.admit("c", true, now), Admission::Probe);
        let closed = Turn::Closed {
            lasted: now + 1,
            probes: 9,
        };
        assert_eq!(breaker.answered(now + 1), Some(closed));
        assert_eq!(breaker.admit("c", false, now + 1), Admission::Go);
        assert!(breaker.is_blank());
    }

    #[test]
    fn a_run_that_is_broken_by_an_answer_opens_nothing() {
        let mut breaker = Breaker::default();
        for _ in 0..10 {
            for _ in 1..FAILURES {
                assert_eq!(breaker.away(false, "x", None, 0, 0.5), None);
            }
            assert_eq!(breaker.answered(0), None);
        }
        assert_eq!(breaker.admit("c", false, 0), Admission::Go);
    }

    #[test]
    fn late_failures_of_requests_that_were_under_way_do_not_move_the_next_try() {
        let mut breaker = open();
        for _ in 0..20 {
            assert_eq!(breaker.away(false, "x", None, 1, 0.5), None);
        }
        assert_eq!(
            breaker.admit("c", false, PROBE_FIRST),
            Admission::Probe,
            "at the time that was set when it opened"
        );
    }

    #[test]
    fn a_retry_after_moves_the_next_try_but_not_beyond_an_hour() {
        for (asked, waited) in [(90 * SECOND, 90 * SECOND), (i64::MAX, ASKED_CAP)] {
            let mut breaker = open();
            assert_eq!(breaker.admit("c", false, PROBE_FIRST), Admission::Probe);
            breaker.away(true, "x", Some(asked), PROBE_FIRST, 0.5);
            assert!(waits(&mut breaker, false, PROBE_FIRST + waited - 1));
            let back = PROBE_FIRST + waited;
            assert_eq!(breaker.admit("c", false, back), Admission::Probe);
        }
    }

    #[test]
    fn a_try_that_was_abandoned_is_followed_by_another() {
        let mut breaker = open();
        assert_eq!(breaker.admit("c", false, PROBE_FIRST), Admission::Probe);
        assert!(waits(&mut breaker, false, PROBE_FIRST));
        breaker.abandoned();
        assert_eq!(breaker.admit("c", false, PROBE_FIRST), Admission::Probe);
    }

    #[test]
    fn a_client_that_was_asked_for_patience_waits_and_others_do_not() {
        let mut breaker = Breaker::default();
        let held = Turn::Held { until: MINUTE };
        assert_eq!(breaker.hold("c", MINUTE, 0), Some(held));
        assert_eq!(breaker.hold("c", MINUTE, 1), None, "told once");
        assert!(waits(&mut breaker, false, MINUTE));
        assert_eq!(breaker.admit("other", false, 0), Admission::Go);
        assert_eq!(breaker.admit("c", true, 0), Admission::Go, "a person's");
        assert_eq!(breaker.admit("c", false, MINUTE + 1), Admission::Go);
        assert!(breaker.is_blank());
    }
}
