//! What a maildrop's sessions leave to the next one; all of it may be lost.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::listing::Listed;

/// So often must a server insist that a message ends far below its announced size before it is believed.
const INSISTS: u8 = 3;
/// A message that so many connections broke on is fetched last and alone: it must not keep the others back.
const BREAKS: u8 = 2;

/// What a maildrop's sessions leave to the next one.
#[derive(Debug, Default)]
pub(crate) struct Memory(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    put_off: BTreeMap<Mark, u8>,
    broke: BTreeMap<Mark, u8>,
}

/// What a message is known by between sessions: its name, or number and size.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Mark {
    Name(Vec<u8>),
    Place(u32, Option<u64>),
}

impl Mark {
    fn of(listed: &Listed) -> Self {
        match &listed.name {
            Some(name) => Self::Name(name.clone()),
            None => Self::Place(listed.number, listed.size),
        }
    }
}

impl Memory {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets messages that are not listed any more.
    pub(super) fn keep_only(&self, listed: &[Listed]) {
        let mut inner = self.inner();
        if inner.put_off.is_empty() && inner.broke.is_empty() {
            return;
        }
        let marks: std::collections::BTreeSet<Mark> = listed.iter().map(Mark::of).collect();
        inner.put_off.retain(|mark, _| marks.contains(mark));
        inner.broke.retain(|mark, _| marks.contains(mark));
    }

    /// Puts a message off until the next session; true the first time.
    pub(super) fn put_off(&self, listed: &Listed) -> bool {
        count(&mut self.inner().put_off, listed) == 1
    }

    /// Whether a message was put off so often that the server is believed.
    pub(super) fn insisted(&self, listed: &Listed) -> bool {
        let inner = self.inner();
        inner
            .put_off
            .get(&Mark::of(listed))
            .is_some_and(|times| *times >= INSISTS)
    }

    /// The connection broke while this message came.
    pub(super) fn broke(&self, listed: &Listed) {
        count(&mut self.inner().broke, listed);
    }

    /// Whether a message breaks connections.
    pub(super) fn breaks(&self, listed: &Listed) -> bool {
        let inner = self.inner();
        inner
            .broke
            .get(&Mark::of(listed))
            .is_some_and(|times| *times >= BREAKS)
    }
}

fn count(marks: &mut BTreeMap<Mark, u8>, listed: &Listed) -> u8 {
    let times = marks.entry(Mark::of(listed)).or_default();
    *times = times.saturating_add(1);
    *times
}
