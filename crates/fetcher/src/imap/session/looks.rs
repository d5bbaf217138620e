//! Folders that were looked through to their end: while nothing in them changes, a new session need not list them again.
//!
//! HIGHESTMODSEQ (CONDSTORE, RFC 7162) changes with every message that comes and every flag that is set, UIDNEXT with every message, so
//! the same numbers mean the same folder. Only the listing of old UIDs is left out so; what begins with UIDNEXT is listed at all times,
//! and everything now and then.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

use super::WHOLE;
use crate::imap::listing::Selected;

/// A folder as a SELECT showed it, before it was listed from its first UID.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Look {
    uidvalidity: u32,
    uidnext: u32,
    exists: u32,
    modseq: u64,
    /// How many keys the spool had taken back by then: a person wants those messages again.
    forgotten: u64,
}

impl Look {
    /// None: the server does not say enough.
    pub(crate) fn of(selected: Selected, exists: u32, forgotten: u64) -> Option<Self> {
        Some(Self {
            uidvalidity: selected.uidvalidity,
            uidnext: selected.uidnext?,
            exists,
            modseq: selected.modseq?,
            forgotten,
        })
    }
}

/// The last whole look at each folder in which nothing was left owed; may be lost.
#[derive(Debug, Default)]
pub(crate) struct Looks(Mutex<BTreeMap<String, (Look, Instant)>>);

impl Looks {
    /// Everything there was when `look` was taken is in the spool, or known.
    pub(super) fn keep(&self, folder: &str, look: Look) {
        let mut looks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        looks.insert(folder.to_owned(), (look, Instant::now()));
    }

    /// Whether nothing has changed since the last whole look.
    pub(super) fn is_same(&self, folder: &str, now: &Look) -> bool {
        let looks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        looks
            .get(folder)
            .is_some_and(|(look, at)| look == now && at.elapsed() < WHOLE)
    }

    /// A person wants everything looked at.
    pub(crate) fn forget(&self) {
        let mut looks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        looks.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_folder_is_the_same_only_if_every_number_is_and_not_for_ever() {
        let selected = Selected {
            uidvalidity: 7,
            uidnext: Some(10),
            read_only: false,
            modseq: Some(50),
        };
        let look = |selected, exists, forgotten| Look::of(selected, exists, forgotten);
        let looks = Looks::default();
        let first = look(selected, 9, 0).unwrap();
        assert!(!looks.is_same("INBOX", &first), "never looked at");
        looks.keep("INBOX", first.clone());
        assert!(looks.is_same("INBOX", &first));
        assert!(!looks.is_same("Other", &first));
        let others = [
            look(
                Selected {
                    uidvalidity: 8,
                    ..selected
                },
                9,
                0,
            ),
            look(
                Selected {
                    uidnext: Some(11),
                    ..selected
                },
                9,
                0,
            ),
            look(
                Selected {
                    modseq: Some(51),
                    ..selected
                },
                9,
                0,
            ),
            look(selected, 8, 0),
            look(selected, 9, 1),
        ];
        for other in others {
            assert!(
                !looks.is_same("INBOX", &other.clone().unwrap()),
                "{other:?}"
            );
        }
        assert_eq!(
            look(
                Selected {
                    modseq: None,
                    ..selected
                },
                9,
                0
            ),
            None
        );
        assert_eq!(
            look(
                Selected {
                    uidnext: None,
                    ..selected
                },
                9,
                0
            ),
            None
        );
        tokio::time::advance(WHOLE).await;
        assert!(!looks.is_same("INBOX", &first));
    }
}
