//! Which token is refreshed when: every token's due date in one ordered set, and those that are due in their endpoint's
//! lane. Pure: the time and luck are arguments, in milliseconds since 1970.
//!
//! A change costs the logarithm of the number of tokens, a look at what is due the number of those that are.

use crate::state::pace::{MINUTE, SECOND, scaled};
use std::borrow::Borrow;
use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::sync::Arc;

/// What is overdue at a start, or after the clock was set, is spread at this pace, the whole within the cap: a provider
/// must not see every token at once, and who needs one sooner asks for it.
const SPREAD_PACE: i64 = 50;
const SPREAD_CAP: i64 = 5 * MINUTE;
/// A flight that could not even change its row is repeated after this, doubled up to the cap.
const FRUITLESS_FIRST: i64 = SECOND / 2;
const FRUITLESS_CAP: i64 = 30 * SECOND;

/// A token endpoint: host and path.
pub(crate) type Lane = Arc<str>;

/// What a token's row wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Want {
    /// The endpoint that it is refreshed at.
    pub(crate) lane: Lane,
    /// When; `i64::MIN` is at once.
    pub(crate) due: i64,
    /// When the present access token ends, `i64::MIN` without one: the earliest goes first.
    pub(crate) ends: i64,
}

/// Every token that refreshes itself.
#[derive(Debug)]
pub(crate) struct Schedule<K> {
    slots: HashMap<K, Slot>,
    due: BTreeSet<(i64, K)>,
    lanes: HashMap<Lane, BTreeSet<Turn<K>>>,
    round: u32,
}

/// A token's turn in its lane: how often it was tried in vain, when its access token ends, which it is.
type Turn<K> = (u32, i64, K);

#[derive(Debug)]
struct Slot {
    want: Want,
    place: Place,
    /// Flights in a row that changed nothing.
    tries: u32,
    /// The round of looking at all rows that saw it last.
    round: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In the set of due dates.
    Due(i64),
    /// In its lane.
    Waiting,
    /// Given out.
    Flying,
    /// Back, and not set since; if nothing has changed, no sooner again than this.
    Landed(i64),
}

impl<K: Ord + Hash + Clone> Schedule<K> {
    pub(crate) fn new() -> Self {
        Self {
            slots: HashMap::new(),
            due: BTreeSet::new(),
            lanes: HashMap::new(),
            round: 0,
        }
    }

    /// What the row says now; `None`: only a person can help, or it is gone.
    pub(crate) fn set(&mut self, key: K, want: Option<Want>, now: i64) {
        let Some(want) = want else {
            return self.remove(&key);
        };
        let mut tries = 0;
        let mut at = want.due;
        if let Some(slot) = self.slots.get_mut(&key) {
            slot.round = self.round;
            if slot.want == want {
                let Place::Landed(not_before) = slot.place else {
                    return;
                };
                // Its flight ended and changed nothing.
                let pause = FRUITLESS_FIRST << slot.tries.min(10);
                tries = slot.tries.saturating_add(1);
                let again = now.saturating_add(pause.min(FRUITLESS_CAP));
                at = at.max(again).max(not_before);
            }
            self.unlink(&key);
        }
        let slot = Slot {
            want,
            place: Place::Due(at),
            tries,
            round: self.round,
        };
        self.due.insert((at, key.clone()));
        self.slots.insert(key, slot);
    }

    fn remove(&mut self, key: &K) {
        self.unlink(key);
        self.slots.remove(key);
    }

    fn unlink(&mut self, key: &K) {
        let Some(slot) = self.slots.get(key) else {
            return;
        };
        match slot.place {
            Place::Due(at) => {
                self.due.remove(&(at, key.clone()));
            }
            Place::Waiting => {
                if let Some(lane) = self.lanes.get_mut(&slot.want.lane) {
                    lane.remove(&(slot.tries, slot.want.ends, key.clone()));
                }
            }
            Place::Flying | Place::Landed(_) => {}
        }
    }

    /// Begins a look at all rows: what is not set until [`Schedule::seen_all`] is gone.
    pub(crate) fn look_at_all(&mut self) {
        self.round = self.round.wrapping_add(1);
    }

    /// Ends it.
    pub(crate) fn seen_all(&mut self) {
        let round = self.round;
        let unseen = |(key, slot): (&K, &Slot)| (slot.round != round).then(|| key.clone());
        let gone: Vec<K> = self.slots.iter().filter_map(unseen).collect();
        for key in gone {
            self.remove(&key);
        }
    }

    /// The wall clock was set back by this much: dates that were written before mean an earlier moment now.
    pub(crate) fn pull(&mut self, by: i64) {
        let dates = std::mem::take(&mut self.due);
        for (at, key) in dates {
            let at = at.saturating_sub(by);
            if let Some(slot) = self.slots.get_mut(&key) {
                slot.place = Place::Due(at);
            }
            self.due.insert((at, key));
        }
    }

    /// Spreads what is overdue instead of starting all of it at once.
    pub(crate) fn spread(&mut self, now: i64, mut luck: impl FnMut() -> f64) {
        let overdue: Vec<K> = std::iter::from_fn(|| self.pop_due(now)).collect();
        let count = i64::try_from(overdue.len()).unwrap_or(i64::MAX);
        let window = count.saturating_mul(SPREAD_PACE).min(SPREAD_CAP);
        for key in overdue {
            let Some(slot) = self.slots.get_mut(&key) else {
                continue;
            };
            let left = slot.want.ends.saturating_sub(now);
            let window = if left > 0 {
                window.min(left / 2)
            } else {
                window
            };
            let at = now.saturating_add(scaled(window, luck()));
            slot.place = Place::Due(at);
            self.due.insert((at, key));
        }
    }

    /// Moves what is due into its lane.
    pub(crate) fn wake(&mut self, now: i64) {
        while let Some(key) = self.pop_due(now) {
            let Some(slot) = self.slots.get_mut(&key) else {
                continue;
            };
            slot.place = Place::Waiting;
            let lane = self.lanes.entry(slot.want.lane.clone()).or_default();
            lane.insert((slot.tries, slot.want.ends, key));
        }
        self.lanes.retain(|_, lane| !lane.is_empty());
    }

    fn pop_due(&mut self, now: i64) -> Option<K> {
        if self.due.first()?.0 > now {
            return None;
        }
        self.due.pop_first().map(|(_, key)| key)
    }

    /// The lanes in which tokens wait, and how many in each.
    pub(crate) fn waiting(&self) -> Vec<(Lane, usize)> {
        let lanes = self.lanes.iter().filter(|(_, lane)| !lane.is_empty());
        lanes
            .map(|(name, lane)| (name.clone(), lane.len()))
            .collect()
    }

    /// Gives out the one of a lane that goes first; it is given out no more until it has landed and is set again.
    pub(crate) fn give(&mut self, lane: &Lane) -> Option<K> {
        let (_, _, key) = self.lanes.get_mut(lane)?.pop_first()?;
        if let Some(slot) = self.slots.get_mut(&key) {
            slot.place = Place::Flying;
        }
        Some(key)
    }

    /// The next due date.
    pub(crate) fn next(&self) -> Option<i64> {
        self.due.first().map(|(at, _)| *at)
    }

    /// The flight it was given out for has ended; if it changed nothing, the next one is not before this.
    pub(crate) fn landed<Q>(&mut self, key: &Q, not_before: i64)
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        if let Some(slot) = self.slots.get_mut(key)
            && slot.place == Place::Flying
        {
            slot.place = Place::Landed(not_before);
        }
    }

    /// How many tokens it holds.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }
}

#[cfg(test)]
mod tests;
