//! What the IMAP sessions of a mailbox leave to the next one.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::Looks;
use crate::error::{FetchError, Status};
use crate::imap::connection::Ahead;

/// So often may the connection break over one message before those behind it come first.
const STRIKES: u8 = 3;
/// Such a message is tried again after this.
const OUT: Duration = Duration::from_secs(3600);
/// After a broken connection the messages under way are asked for in groups so much smaller, until the one to blame is alone.
const SMALLER: usize = 8;

/// What a mailbox's IMAP sessions leave to the next one.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// A literal was far larger than its RFC822.SIZE: messages are fetched in pieces only.
    pub(crate) in_pieces: AtomicBool,
    /// Folders that need not be listed while they stay as they are.
    pub(crate) looks: Looks,
    /// Sessions in a row that broke while commands sent ahead were under way.
    broke_ahead: AtomicU8,
    fetches: Mutex<Fetches>,
}

/// After so many such sessions in a row commands are sent one by one.
const BREAKS: u8 = 2;

/// A folder, its UIDVALIDITY and a UID in it.
type Place = (String, u32, u32);

#[derive(Debug, Default)]
struct Fetches {
    /// Whose bodies were asked for and did not all come yet.
    under_way: Vec<Place>,
    suspects: BTreeMap<Place, Suspect>,
}

/// A message that was under way when a connection broke.
#[derive(Debug, Clone, Copy)]
struct Suspect {
    /// With so many others it may share a command.
    group: usize,
    /// How often the connection broke while it was fetched alone, and when it last did.
    alone: u8,
    last: Instant,
}

impl Memory {
    /// Learns from an error what the next session should do differently.
    pub(crate) fn learn(&self, error: &FetchError) {
        if matches!(error, FetchError::TooLong(_)) {
            self.in_pieces.store(true, Ordering::Relaxed);
        }
        let mut fetches = self.fetches();
        let under_way = std::mem::take(&mut fetches.under_way);
        let broke = match error {
            FetchError::Again(_) | FetchError::TooLong(_) => true,
            FetchError::Refused(refusal) => refusal.status == Status::Bye,
            _ => false,
        };
        if !broke {
            return;
        }
        let group = (under_way.len() / SMALLER).max(1);
        let alone = u8::from(under_way.len() == 1);
        for place in under_way {
            let last = Instant::now();
            let suspect = fetches.suspects.entry(place).or_insert(Suspect {
                group,
                alone: 0,
                last,
            });
            suspect.group = group;
            suspect.alone = suspect.alone.saturating_add(alone);
            suspect.last = last;
        }
    }

    /// Whether commands may be sent before earlier ones are answered.
    pub(crate) fn sends_ahead(&self) -> bool {
        self.broke_ahead.load(Ordering::Relaxed) < BREAKS
    }

    /// What the end of a session says about that: some server may not like it, and break or fall silent.
    pub(crate) fn learn_ahead(&self, ahead: &Ahead, error: Option<&FetchError>) {
        let broke = ahead.is_under_way() && matches!(error, Some(FetchError::Again(_)));
        if broke {
            let before = self.broke_ahead.load(Ordering::Relaxed);
            let times = before.saturating_add(1);
            self.broke_ahead.store(times, Ordering::Relaxed);
        } else if ahead.works {
            self.broke_ahead.store(0, Ordering::Relaxed);
        }
    }

    /// Before a command that asks for these bodies.
    pub(crate) fn asks(&self, folder: &str, uidvalidity: u32, uids: impl Iterator<Item = u32>) {
        self.fetches().under_way = uids
            .map(|uid| (folder.to_owned(), uidvalidity, uid))
            .collect();
    }

    /// One of them has come whole: whatever happens now is not its fault.
    pub(crate) fn arrived(&self, uid: u32) {
        let mut fetches = self.fetches();
        if let Some(at) = fetches.under_way.iter().position(|place| place.2 == uid) {
            let place = fetches.under_way.swap_remove(at);
            fetches.suspects.remove(&place);
        }
    }

    /// After all of them came, or were refused in words.
    pub(crate) fn answered(&self) {
        let mut fetches = self.fetches();
        for place in std::mem::take(&mut fetches.under_way) {
            fetches.suspects.remove(&place);
        }
    }

    /// How many messages may share a command with this one; None: not now, the connection broke over it again and again.
    pub(crate) fn group(&self, folder: &str, uidvalidity: u32, uid: u32) -> Option<usize> {
        let mut fetches = self.fetches();
        if fetches.suspects.is_empty() {
            return Some(usize::MAX);
        }
        let place = (folder.to_owned(), uidvalidity, uid);
        let Some(suspect) = fetches.suspects.get_mut(&place) else {
            return Some(usize::MAX);
        };
        if suspect.alone < STRIKES {
            return Some(suspect.group);
        }
        if suspect.last.elapsed() < OUT {
            return None;
        }
        suspect.last = Instant::now();
        Some(1)
    }

    fn fetches(&self) -> MutexGuard<'_, Fetches> {
        self.fetches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A session that asks for these UIDs and dies over them.
    fn dies(memory: &Memory, uids: impl Iterator<Item = u32>) {
        memory.asks("INBOX", 1, uids);
        memory.learn(&FetchError::Again("closed".into()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_that_breaks_every_connection_is_found_and_put_behind_the_others() {
        let memory = Memory::default();
        let group = |uid| memory.group("INBOX", 1, uid);
        assert_eq!(group(7), Some(usize::MAX));
        memory.asks("INBOX", 1, 1..=257);
        memory.arrived(257);
        memory.learn(&FetchError::Again("closed".into()));
        assert_eq!((group(7), group(257)), (Some(32), Some(usize::MAX)));
        dies(&memory, 1..=32);
        assert_eq!((group(7), group(33)), (Some(4), Some(32)));
        memory.asks("INBOX", 1, 1..=4);
        memory.answered();
        assert_eq!(group(1), Some(usize::MAX), "these are innocent");
        dies(&memory, 5..=8);
        for _ in 0..3 {
            assert_eq!(group(7), Some(1));
            dies(&memory, 7..=7);
        }
        assert_eq!(group(7), None);
        tokio::time::advance(OUT).await;
        assert_eq!(group(7), Some(1), "once more each hour");
        assert_eq!(group(7), None);
        assert_eq!(memory.group("INBOX", 2, 7), Some(usize::MAX));
    }

    #[tokio::test]
    async fn throttling_and_expired_tokens_blame_no_message() {
        let memory = Memory::default();
        memory.asks("INBOX", 1, 1..=1);
        memory.learn(&FetchError::Patience {
            why: String::new(),
            after: None,
        });
        assert_eq!(memory.group("INBOX", 1, 1), Some(usize::MAX));
        memory.learn(&FetchError::Again("closed while idle".into()));
        assert_eq!(memory.group("INBOX", 1, 1), Some(usize::MAX));
    }
}
