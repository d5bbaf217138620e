//! One task per mailbox and relay; a reload starts, drains and restarts them without touching the others.
//!
//! A single task owns the list of what runs. Everybody else sends it a wanted list and waits for the words of what was done.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sender::Routes;
use spool::Spool;
use token_store::accounts::{Board, Condition, Kind, Relay};
use token_store::{Store, StoreError, Tokens};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::alive::Alive;
use super::plan::{Account, Id, Plan, plan, show};
use super::pokes::Pokes;
use super::sent;
use super::supervise::supervise;

/// What every account's task works with.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) spool: Spool,
    pub(crate) tokens: Tokens,
    pub(crate) board: Board,
    pub(crate) alive: Alive,
}

/// A wanted list, and where to say what was done.
pub(crate) struct Change {
    pub(crate) accounts: Vec<Account>,
    pub(crate) done: oneshot::Sender<Vec<String>>,
}

/// The accounts of a database, in the order in which they start.
pub(crate) fn of_store(store: &Store) -> Result<Vec<Account>, StoreError> {
    let mailboxes = store
        .mailboxes()?
        .into_iter()
        .map(Box::new)
        .map(Account::Mailbox);
    let relays = store
        .relays()?
        .into_iter()
        .map(Box::new)
        .map(Account::Relay);
    Ok(mailboxes.chain(relays).collect())
}

/// Which relay serves whom.
pub(crate) fn routes(accounts: &[Account]) -> Result<Routes, String> {
    let relays: Vec<Relay> = accounts
        .iter()
        .filter_map(|account| match account {
            Account::Relay(relay) => Some(Relay::clone(relay)),
            Account::Mailbox(_) => None,
        })
        .collect();
    Routes::new(&relays)
}

/// An account's task, and what follows when it has ended.
struct Running {
    account: Account,
    stop: CancellationToken,
    /// Set while the old task drains: the new settings start when it is gone, for one mailbox has one session.
    next: Option<Account>,
}

/// Owns the tasks; see [`Accounts::run`].
pub(crate) struct Accounts {
    shared: Shared,
    pokes: Pokes,
    running: BTreeMap<Id, Running>,
    tasks: JoinSet<Id>,
    shutdown: CancellationToken,
}

impl Accounts {
    pub(crate) fn new(shared: Shared, pokes: Pokes, shutdown: CancellationToken) -> Self {
        Self {
            shared,
            pokes,
            running: BTreeMap::new(),
            tasks: JoinSet::new(),
            shutdown,
        }
    }

    /// Starts the first list, then follows changes until shutdown, and returns when every account has drained.
    pub(crate) async fn run(mut self, first: Vec<Account>, mut changes: mpsc::Receiver<Change>) {
        self.carry_out(plan(&BTreeMap::new(), first));
        let shutdown = self.shutdown.clone();
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                Some(change) = changes.recv() => {
                    let words = self.follow(change.accounts);
                    let _ = change.done.send(words);
                }
                Some(ended) = self.tasks.join_next() => self.ended(ended.ok()),
            }
        }
        // Whoever waits for a change to be made hears now that it will not be.
        drop(changes);
        // Each account's stop is a child of shutdown, so all of them are draining already.
        while self.tasks.join_next().await.is_some() {}
    }

    /// Starts, drains and restarts what differs from the wanted list; in words, what was done.
    fn follow(&mut self, wanted: Vec<Account>) -> Vec<String> {
        let staying = self.running.values().filter_map(Running::staying);
        let current = staying.map(|a| (a.id(), a.clone())).collect();
        let plan = plan(&current, wanted);
        let words = plan.words();
        self.carry_out(plan);
        words
    }

    fn carry_out(&mut self, plan: Plan) {
        for id in &plan.drain {
            self.stop(id, None);
        }
        for account in plan.restart {
            let id = account.id();
            self.stop(&id, Some(account));
        }
        for account in plan.start {
            let id = account.id();
            match self.running.get_mut(&id) {
                // It was removed and has come back before its task was gone.
                Some(running) => running.next = Some(account),
                None => self.start(account),
            }
        }
    }

    fn stop(&mut self, id: &Id, next: Option<Account>) {
        if let Some(running) = self.running.get_mut(id) {
            running.stop.cancel();
            running.next = next;
        }
    }

    fn start(&mut self, account: Account) {
        let id = account.id();
        let stop = self.shutdown.child_token();
        let poke = self.pokes.enter(&account);
        let work = keep_running(account.clone(), self.shared.clone(), poke, stop.clone());
        let name = id.clone();
        self.tasks.spawn(async move {
            work.await;
            name
        });
        self.running.insert(
            id,
            Running {
                account,
                stop,
                next: None,
            },
        );
    }

    fn ended(&mut self, id: Option<Id>) {
        // An account's own panic is caught further in; none is expected here.
        let Some(id) = id else { return };
        let Some(running) = self.running.remove(&id) else {
            return;
        };
        self.pokes.leave(&id);
        match running.next {
            Some(next) => self.start(next),
            None => self.shared.board.remove(id.0, &id.1),
        }
    }
}

impl Running {
    /// What this account is, or is about to be; None when it drains for good, and so has to be started to come back.
    fn staying(&self) -> Option<&Account> {
        match self.stop.is_cancelled() {
            true => self.next.as_ref(),
            false => Some(&self.account),
        }
    }
}

/// One account until it is told to stop; panics end here and become a pause.
async fn keep_running(
    account: Account,
    shared: Shared,
    poke: Arc<Notify>,
    stop: CancellationToken,
) {
    let id = account.id();
    let _alive = shared.alive.enter(show(&id));
    if account.paused() {
        shared.board.set(id.0, &id.1, Condition::Paused);
        stop.cancelled().await;
        return;
    }
    shared.board.set(id.0, &id.1, Condition::Starting);
    let (board, told) = (shared.board.clone(), id.clone());
    let make = {
        let stop = stop.clone();
        move || work(account.clone(), shared.clone(), poke.clone(), stop.clone())
    };
    supervise(stop, make, |why, pause| tell(&board, &told, why, pause)).await;
    board.set(id.0, &id.1, Condition::Stopped);
}

async fn work(account: Account, shared: Shared, poke: Arc<Notify>, stop: CancellationToken) {
    let Shared {
        spool,
        tokens,
        board,
        ..
    } = shared;
    match account {
        Account::Mailbox(mailbox) => {
            fetcher::run(
                *mailbox,
                fetcher::Parts {
                    spool,
                    tokens,
                    board,
                    poke,
                },
                stop,
            )
            .await
        }
        Account::Relay(relay) => {
            let sent = Some(sent::folder_of(&relay, &tokens));
            sender::relay(
                *relay,
                sender::Parts {
                    spool,
                    tokens,
                    board,
                    poke,
                    sent,
                },
                stop,
            )
            .await
        }
    }
}

fn tell(board: &Board, id: &Id, why: &str, pause: Duration) {
    let until = jiff::Timestamp::now()
        .as_second()
        .saturating_add(i64::try_from(pause.as_secs()).unwrap_or(i64::MAX));
    let words = format!("{why}; this is a defect of Postern, please report it");
    tracing::error!(
        account = show(id),
        "{words}; it starts again in {} s",
        pause.as_secs()
    );
    board.set(id.0, &id.1, Condition::Waiting { why: words, until });
}

/// `2 mailboxes, 1 relay`.
pub(crate) fn summary(accounts: &[Account]) -> String {
    let count = |kind| accounts.iter().filter(|a| a.id().0 == kind).count();
    let mailboxes = match count(Kind::Mailbox) {
        1 => "1 mailbox".to_owned(),
        count => format!("{count} mailboxes"),
    };
    match count(Kind::Relay) {
        1 => format!("{mailboxes}, 1 relay"),
        count => format!("{mailboxes}, {count} relays"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::plan::tests::relay;
    use token_store::TokensOptions;
    use token_store::seal::Key;

    fn idle(dir: &std::path::Path) -> Accounts {
        let store = Store::open(&dir.join("accounts.db"), Key::from_bytes([7; 32])).unwrap();
        let shared = Shared {
            spool: Spool::open(dir).unwrap(),
            tokens: Tokens::new(store, TokensOptions::default()).unwrap(),
            board: Board::default(),
            alive: Alive::default(),
        };
        Accounts::new(shared, Pokes::default(), CancellationToken::new())
    }

    #[tokio::test]
    async fn an_account_that_comes_back_while_it_drains_starts_when_its_old_task_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let mut accounts = idle(dir.path());
        let a = relay("a", "127.0.0.1");
        assert_eq!(accounts.follow(vec![a.clone()]), ["relay a starts"]);
        // Nothing waits here, so no task runs on in between: the relay is still draining all the time.
        let gone = ["relay a ends: it is no longer configured"];
        assert_eq!(accounts.follow(Vec::new()), gone);
        assert_eq!(accounts.follow(Vec::new()), [""; 0], "said twice");
        assert_eq!(accounts.follow(vec![a.clone()]), ["relay a starts"]);
        let changed = relay("a", "127.0.0.2");
        let restarts = ["relay a restarts with its new settings"];
        assert_eq!(accounts.follow(vec![changed.clone()]), restarts);
        assert_eq!(accounts.follow(vec![changed.clone()]), [""; 0]);
        assert_eq!(accounts.tasks.len(), 1, "one session at a time");

        let ended = accounts.tasks.join_next().await.unwrap();
        accounts.ended(ended.ok());
        let running = &accounts.running[&a.id()];
        assert_eq!(running.staying(), Some(&changed));
        assert!(!running.stop.is_cancelled());
    }
}
