//! Ending an account's idle wait or backoff from outside.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use super::plan::{Account, Id};

/// The accounts that run, by their names; Clone shares.
#[derive(Clone, Default)]
pub(crate) struct Pokes(Arc<Mutex<BTreeMap<Id, Poke>>>);

struct Poke {
    notify: Arc<Notify>,
    /// The token config that the account signs in with.
    token: Option<String>,
}

impl Pokes {
    /// Enters an account that starts; the handle is what its task waits on.
    pub(super) fn enter(&self, account: &Account) -> Arc<Notify> {
        let notify = Arc::new(Notify::new());
        let token = account.token_config().map(str::to_owned);
        let poke = Poke {
            notify: notify.clone(),
            token,
        };
        self.with(|pokes| pokes.insert(account.id(), poke));
        notify
    }

    /// Takes an account out that has ended.
    pub(super) fn leave(&self, id: &Id) {
        self.with(|pokes| pokes.remove(id));
    }

    /// Pokes one account; false when none of that name runs.
    pub(super) fn poke(&self, id: &Id) -> bool {
        self.with(|pokes| {
            let poke = pokes.get(id);
            poke.inspect(|poke| poke.notify.notify_one()).is_some()
        })
    }

    /// Pokes every account that signs in with a token config.
    pub(super) fn poke_users_of(&self, config: &str) {
        self.with(|pokes| {
            let users = pokes
                .values()
                .filter(|p| p.token.as_deref() == Some(config));
            users.for_each(|poke| poke.notify.notify_one());
        });
    }

    fn with<T>(&self, work: impl FnOnce(&mut BTreeMap<Id, Poke>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::plan::tests::relay;

    #[test]
    fn an_account_can_be_poked_from_its_start_to_its_end() {
        let (pokes, account) = (Pokes::default(), relay("a", "h"));
        assert!(!pokes.poke(&account.id()));
        let _notify = pokes.enter(&account);
        assert!(pokes.poke(&account.id()));
        pokes.leave(&account.id());
        assert!(!pokes.poke(&account.id()));
    }
}
