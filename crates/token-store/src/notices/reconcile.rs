//! Causes and notices side by side: what is new, what is gone, what is said differently. Pure.

use super::{CALM, Cause, KEPT, Notice};
use std::collections::BTreeMap;

/// What follows for the rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// A new notice.
    Raise(Cause),
    /// One that was cleared a moment ago goes on, so that what comes and goes is one notice.
    Reopen(i64, Cause),
    /// It is open, and other words are true now.
    Reword(i64, Cause),
    /// Its cause is gone.
    Clear(i64, Cause),
    /// It was cleared long ago.
    Forget(i64),
}

/// The causes' order is the order of what is raised; a second cause of the same kind about the same is left out.
pub(crate) fn reconcile(known: &[Notice], causes: &[Cause], now: i64) -> Vec<Change> {
    let key = |cause: &Cause| (cause.kind, cause.about.clone());
    let mut present = BTreeMap::new();
    for cause in causes {
        present.entry(key(cause)).or_insert(cause);
    }
    let mut changes = Vec::new();
    let mut open = BTreeMap::new();
    let mut just_cleared = BTreeMap::new();
    for notice in known {
        let key = key(&notice.cause);
        match notice.cleared_at {
            None if present.contains_key(&key) => drop(open.insert(key, notice)),
            None => changes.push(Change::Clear(notice.id, notice.cause.clone())),
            // A date in the future was written before the clock was set back: long ago, for all that is known.
            Some(at) if !(now - KEPT..=now).contains(&at) => {
                changes.push(Change::Forget(notice.id))
            }
            Some(at) if at > now - CALM => drop(just_cleared.insert(key, notice)),
            Some(_) => {}
        }
    }
    for cause in causes {
        let key = key(cause);
        // The first of each; removed, so that a second one finds nothing.
        let Some(cause) = present.remove(&key) else {
            continue;
        };
        let change = match (open.get(&key), just_cleared.get(&key)) {
            (Some(notice), _) if notice.cause == *cause => continue,
            (Some(notice), _) => Change::Reword(notice.id, cause.clone()),
            (None, Some(notice)) => Change::Reopen(notice.id, cause.clone()),
            (None, None) => Change::Raise(cause.clone()),
        };
        changes.push(change);
    }
    changes
}
