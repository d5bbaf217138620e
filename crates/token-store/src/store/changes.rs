//! What changed in accounts.db, as hints for whoever plans by its rows: a bounded set, and when it overflows, "look at
//! everything". A hint may be lost with the process; the rows are the truth.

use crate::TokenId;
use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Beyond this, reading the rows one by one is no cheaper than reading all.
const MOST: usize = 1024;

/// One hint.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Change {
    /// This token's row.
    Token(TokenId),
    /// A token config: any of its tokens.
    Config(String),
    /// The flight of this token has ended; if it changed nothing, the next one is no sooner than after this pause, in
    /// milliseconds.
    Landed { id: TokenId, pause: i64 },
}

/// The hints that wait.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    waiting: Mutex<Waiting>,
    news: Notify,
}

/// Taken at once: what changed.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Waiting {
    /// Each once.
    pub(crate) hints: HashSet<Change>,
    /// Too many to name, or unknown: look at every row.
    pub(crate) all: bool,
}

impl Changes {
    /// Adds hints and wakes who waits for them.
    pub(crate) fn add(&self, hints: impl IntoIterator<Item = Change>) {
        let mut waiting = self.lock();
        for hint in hints {
            // A landing is never folded into "all": it says something that no row says.
            if waiting.hints.len() < MOST || matches!(hint, Change::Landed { .. }) {
                waiting.hints.insert(hint);
            } else {
                waiting.all = true;
            }
        }
        drop(waiting);
        self.news.notify_one();
    }

    /// Takes what waits.
    pub(crate) fn take(&self) -> Waiting {
        std::mem::take(&mut self.lock())
    }

    /// Ends when something was added since the last wait.
    pub(crate) async fn news(&self) {
        self.news.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_hints_become_one_and_landings_are_kept() {
        let changes = Changes::default();
        let id = |n: usize| TokenId::of(&n.to_string());
        changes.add((0..MOST).map(|n| Change::Token(id(n))));
        changes.add([Change::Token(id(0))]);
        assert!(changes.lock().all, "no room is looked for a repeated one");
        let landed = Change::Landed {
            id: id(1),
            pause: 0,
        };
        changes.add([Change::Config("more".into()), landed]);
        let taken = changes.take();
        assert_eq!((taken.hints.len(), taken.all), (MOST + 1, true));
        assert_eq!(changes.take(), Waiting::default());
    }
}
