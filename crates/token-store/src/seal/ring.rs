//! The keys of an open database: the one that seals, and during and after a rotation the one before it.

use super::{Key, Place, SealError};
use crate::Secret;
use std::sync::{Arc, PoisonError, RwLock};

/// Shared by the writer and the reader of one database.
pub(crate) struct Ring {
    keys: RwLock<Arc<Keys>>,
}

#[derive(Clone)]
struct Keys {
    current: Key,
    /// What the administrator's key file or credential holds, while that is not the current one.
    outer: Option<Key>,
    /// Opens what a reader saw before a rotation, or what one sees that is just being committed.
    others: Vec<Key>,
}

impl Ring {
    /// `outer`: the key that was given, where the database holds the current one under it.
    pub(crate) fn new(current: Key, outer: Option<Key>) -> Self {
        let keys = Keys {
            current,
            outer,
            others: Vec::new(),
        };
        Self {
            keys: RwLock::new(Arc::new(keys)),
        }
    }

    fn keys(&self) -> Arc<Keys> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        keys.clone()
    }

    fn change(&self, change: impl FnOnce(&mut Keys)) {
        let mut shared = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        change(Arc::make_mut(&mut shared));
    }

    /// The key that seals.
    pub(crate) fn current(&self) -> Key {
        self.keys().current.clone()
    }

    /// The key that the administrator's key file or credential holds.
    pub(crate) fn outer(&self) -> Key {
        let keys = self.keys();
        keys.outer.as_ref().unwrap_or(&keys.current).clone()
    }

    /// Whether that is not the current one.
    pub(crate) fn is_bridged(&self) -> bool {
        self.keys().outer.is_some()
    }

    /// A rotation is about to commit: from now on its values can be opened too.
    pub(crate) fn stage(&self, next: &Key) {
        self.change(|keys| keys.others.push(next.clone()));
    }

    /// It has committed: from now on `next` seals.
    pub(crate) fn turn(&self, next: Key) {
        self.change(|keys| {
            let before = std::mem::replace(&mut keys.current, next);
            let outer = keys.outer.take().unwrap_or_else(|| before.clone());
            keys.outer = Some(outer).filter(|outer| *outer != keys.current);
            keys.others = vec![before];
        });
    }

    /// The current key is where the administrator keeps it.
    pub(crate) fn in_place(&self) {
        self.change(|keys| keys.outer = None);
    }

    pub(crate) fn seal(&self, place: &Place<'_>, secret: &Secret) -> Result<Vec<u8>, SealError> {
        self.keys().current.seal(place, secret)
    }

    pub(crate) fn open(&self, place: &Place<'_>, sealed: &[u8]) -> Result<Secret, SealError> {
        let keys = self.keys();
        let fitting = |key: &&Key| key.sealed(sealed);
        let key = std::iter::once(&keys.current)
            .chain(&keys.others)
            .find(fitting);
        key.unwrap_or(&keys.current).open(place, sealed)
    }
}
