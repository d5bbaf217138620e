//! Who is still at work: names for the drain to tell what it waits for.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The names of what runs, counted; Clone shares.
#[derive(Clone, Default)]
pub(crate) struct Alive(Arc<Mutex<BTreeMap<String, usize>>>);

/// One name in the list, until dropped.
pub(crate) struct Entered {
    alive: Alive,
    name: String,
}

impl Alive {
    /// Adds a name.
    pub(crate) fn enter(&self, name: impl Into<String>) -> Entered {
        let name = name.into();
        self.with(|names| *names.entry(name.clone()).or_default() += 1);
        Entered {
            alive: self.clone(),
            name,
        }
    }

    /// The names at this moment, in order.
    pub(crate) fn names(&self) -> Vec<String> {
        self.with(|names| names.keys().cloned().collect())
    }

    fn with<T>(&self, work: impl FnOnce(&mut BTreeMap<String, usize>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.alive.with(|names| {
            if let Some(count) = names.get_mut(&self.name) {
                *count -= 1;
                if *count == 0 {
                    names.remove(&self.name);
                }
            }
        });
    }
}
