//! Hints that something changed for an account; they may be lost, the rows may not.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::Notify;

use crate::Direction;

/// Of one account, those that still listen.
type Waiters = Vec<Weak<Notify>>;

/// Who wants to hear about which account.
#[derive(Default)]
pub(crate) struct Hints(Mutex<HashMap<(Direction, String), Waiters>>);

impl Hints {
    /// A waiter of its own for each caller, so that one loop never takes another's hint.
    pub(crate) fn listen(&self, direction: Direction, account: &str) -> Arc<Notify> {
        let notify = Arc::new(Notify::new());
        let mut waiters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let waiters = waiters.entry((direction, account.to_owned())).or_default();
        waiters.retain(|waiter| waiter.strong_count() > 0);
        waiters.push(Arc::downgrade(&notify));
        notify
    }

    /// Wakes every waiter of these accounts; one that is not waiting finds a permit.
    pub(crate) fn wake(&self, accounts: impl IntoIterator<Item = (Direction, String)>) {
        let waiters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for account in accounts {
            let listening = waiters.get(&account).into_iter().flatten();
            for notify in listening.filter_map(Weak::upgrade) {
                notify.notify_one();
            }
        }
    }
}
