//! Failed sign-ins, by name and by address, and the patience they cost.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Wrong passwords of a name that cost nothing but the hash.
const FREE_FOR_NAME: u32 = 5;
/// The same for an address: an office may sit behind one, and a proxy that was not named as such too.
const FREE_FOR_ADDRESS: u32 = 20;
/// The delay after the next one; it doubles with each more.
const FIRST_DELAY: Duration = Duration::from_secs(5);
/// The growing delay ends here, so that an attacker can slow an administrator down but not lock them out.
const DELAY_CAP: Duration = Duration::from_secs(300);
/// Names and addresses remembered; beyond this the oldest are forgotten, since anyone can invent names.
const CAP: usize = 2048;

/// Who failed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Who {
    Name(String),
    Address(String),
}

impl Who {
    fn free(&self) -> u32 {
        match self {
            Self::Name(_) => FREE_FOR_NAME,
            Self::Address(_) => FREE_FOR_ADDRESS,
        }
    }
}

/// In memory, so a restart forgives.
#[derive(Default)]
pub(crate) struct Attempts {
    by_who: HashMap<Who, Failures>,
}

struct Failures {
    count: u32,
    last: Instant,
}

impl Attempts {
    /// How long these must still wait: the longest of their delays.
    pub(crate) fn delay(&self, who: &[Who], now: Instant) -> Option<Duration> {
        who.iter().filter_map(|who| self.delay_of(who, now)).max()
    }

    fn delay_of(&self, who: &Who, now: Instant) -> Option<Duration> {
        let failures = self.by_who.get(who)?;
        let over = failures.count.checked_sub(who.free())?;
        let delay = FIRST_DELAY.saturating_mul(1 << over.min(16)).min(DELAY_CAP);
        delay
            .checked_sub(now.duration_since(failures.last))
            .filter(|left| !left.is_zero())
    }

    pub(crate) fn failed(&mut self, who: &[Who], now: Instant) {
        for who in who {
            if self.by_who.len() >= CAP && !self.by_who.contains_key(who) {
                let oldest = self.by_who.iter().min_by_key(|(_, f)| f.last);
                let oldest = oldest.map(|(who, _)| who.clone());
                oldest.and_then(|who| self.by_who.remove(&who));
            }
            let fresh = Failures {
                count: 0,
                last: now,
            };
            let failures = self.by_who.entry(who.clone()).or_insert(fresh);
            failures.count = failures.count.saturating_add(1);
            failures.last = now;
        }
    }

    /// The name has proved itself. Its address has not: others may guess from there.
    pub(crate) fn succeeded(&mut self, name: &str) {
        self.by_who.remove(&Who::Name(name.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_guesses_at_many_names_waits_and_others_do_not() {
        let mut attempts = Attempts::default();
        let now = Instant::now();
        let guess = |n: u32| [Who::Name(format!("name{n}")), Who::Address("a".into())];
        for n in 0..FREE_FOR_ADDRESS {
            assert_eq!(attempts.delay(&guess(n), now), None, "{n}");
            attempts.failed(&guess(n), now);
        }
        attempts.succeeded("name1");
        assert_eq!(attempts.delay(&guess(99), now), Some(FIRST_DELAY));
        let elsewhere = [Who::Name("name99".into()), Who::Address("b".into())];
        assert_eq!(attempts.delay(&elsewhere, now), None);
        let later = now + FIRST_DELAY;
        assert_eq!(attempts.delay(&guess(99), later), None);
    }

    #[test]
    fn the_delay_doubles_and_ends_at_its_cap() {
        let mut attempts = Attempts::default();
        let (who, now) = ([Who::Name("ann".into())], Instant::now());
        let mut delays = Vec::new();
        for _ in 0..FREE_FOR_NAME + 9 {
            attempts.failed(&who, now);
            delays.extend(attempts.delay(&who, now).map(|delay| delay.as_secs()));
        }
        assert_eq!(delays, [5, 10, 20, 40, 80, 160, 300, 300, 300, 300]);
    }
}
