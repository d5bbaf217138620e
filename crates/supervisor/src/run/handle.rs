//! What signals, commands and pages may ask of the running daemon.

use std::sync::{Arc, Mutex, PoisonError};

use sender::Routes;
use spool::{Direction, MessageId, Pause, PauseKind, Spool, SpoolError};
use token_store::accounts::{Board, Change as ByHand, Kind};
use token_store::seal::Key;
use token_store::{StoreError, Tokens};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::accounts::{Accounts, Change, Shared, of_store, routes};
use super::alive::Alive;
use super::by_hand;
use super::doors::Page;
use super::key::{self, RotateError};
use super::notices::{self, Tried};
use super::plan::Account;
use super::pokes::Pokes;
use super::status::{self, Report};
use super::testing;
use crate::config::{Config, Mistakes, Notices, Secrets};

/// The running daemon, as seen from its doors. Clone shares.
#[derive(Clone)]
pub(crate) struct Handle(Arc<Inner>);

struct Inner {
    tokens: Tokens,
    spool: Spool,
    board: Board,
    pokes: Pokes,
    routes: watch::Sender<Arc<Routes>>,
    changes: mpsc::Sender<Change>,
    config: Mutex<Config>,
    /// One reload at a time: the next one waits, and then reads the file as it is by then.
    reload_turn: Semaphore,
    key_turn: Semaphore,
    /// What is refused of the drop directory, in words.
    refused_drops: Mutex<Vec<String>>,
    since: i64,
}

/// Why a reload changed nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReloadError {
    #[error("{0}\nnothing was changed")]
    Mistakes(#[from] Mistakes),
    #[error("nothing was changed: {0}")]
    Routes(String),
    #[error("nothing was changed: {0}")]
    Store(#[from] StoreError),
    #[error("the daemon is shutting down; it follows the file when it starts again")]
    Stopping,
}

/// The parts of a [`Handle`].
pub(super) struct Parts {
    pub(super) tokens: Tokens,
    pub(super) spool: Spool,
    pub(super) board: Board,
    pub(super) pokes: Pokes,
    pub(super) routes: watch::Sender<Arc<Routes>>,
    pub(super) changes: mpsc::Sender<Change>,
    pub(super) config: Config,
}

impl Handle {
    pub(super) fn new(parts: Parts) -> Self {
        let Parts {
            tokens,
            spool,
            board,
            pokes,
            routes,
            changes,
            config,
        } = parts;
        let (config, since) = (Mutex::new(config), jiff::Timestamp::now().as_second());
        let reload_turn = Semaphore::new(1);
        Self(Arc::new(Inner {
            tokens,
            spool,
            board,
            pokes,
            routes,
            changes,
            config,
            reload_turn,
            key_turn: Semaphore::new(1),
            refused_drops: Mutex::default(),
            since,
        }))
    }

    /// The room of the accounts, which this handle then pokes.
    pub(super) fn accounts(&self, alive: Alive, shutdown: CancellationToken) -> Accounts {
        let shared = Shared {
            spool: self.0.spool.clone(),
            tokens: self.0.tokens.clone(),
            board: self.0.board.clone(),
            alive,
        };
        Accounts::new(shared, self.0.pokes.clone(), shutdown)
    }

    /// What the admin page works with.
    pub(super) fn page(&self, page: Page) -> web_admin::Parts {
        web_admin::Parts {
            tokens: self.0.tokens.clone(),
            spool: self.0.spool.clone(),
            board: self.0.board.clone(),
            library: page.library,
            public_url: page.public_url,
            redirect_path: page.redirect_path,
            proxies: page.proxies,
            gateway: Arc::new(self.clone()),
        }
    }

    /// What a submission session on a stream of its own works with.
    pub(crate) fn desk(&self) -> sender::Desk {
        sender::Desk {
            max_size: self.with_config(|config| config.largest_message()),
            routes: self.routes(),
            spool: self.0.spool.clone(),
        }
    }

    /// Which relay serves whom, followed through reloads.
    pub(super) fn routes(&self) -> watch::Receiver<Arc<Routes>> {
        self.0.routes.subscribe()
    }

    /// How every account fares.
    pub(super) fn board(&self) -> &Board {
        &self.0.board
    }

    /// The channels of notices, as the file has them by now.
    pub(super) fn notices(&self) -> Notices {
        self.with_config(|config| config.notices.clone())
    }

    /// What is refused of the drop directory, in words: its senders believe that it is on its way.
    pub(super) fn refused_drops(&self) -> Vec<String> {
        let refused = self.0.refused_drops.lock();
        refused.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces what [`Handle::refused_drops`] tells.
    pub(super) fn set_refused_drops(&self, words: Vec<String>) {
        let mut refused = self
            .0
            .refused_drops
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *refused = words;
    }

    /// Tells a test by every channel of notices.
    pub(crate) async fn test_notices(&self) -> Vec<Tried> {
        notices::test(self).await
    }

    /// The tokens.
    pub(crate) fn tokens(&self) -> &Tokens {
        &self.0.tokens
    }

    /// Messages in flight.
    pub(crate) fn spool(&self) -> &Spool {
        &self.0.spool
    }

    /// Fetch a mailbox now; false when there is none of that name.
    pub(crate) fn fetch_now(&self, mailbox: &str) -> bool {
        self.0.pokes.poke(&(Kind::Mailbox, mailbox.to_owned()))
    }

    /// The time that a mailbox's server wants to be left alone, if it named one.
    pub(crate) fn named_pause(&self, mailbox: &str) -> anyhow::Result<Option<Pause>> {
        let mailboxes = self.0.tokens.store().mailboxes()?;
        let Some(mailbox) = mailboxes.iter().find(|m| m.name == mailbox) else {
            return Ok(None);
        };
        let peer = fetcher::peer(mailbox);
        let pauses = self.0.spool.pauses(Direction::In, &mailbox.name, &peer)?;
        Ok(pauses.into_iter().find(|p| p.kind != PauseKind::Guessed))
    }

    /// A token config changed: accounts that waited for it go on.
    pub(crate) fn tokens_changed(&self, config: &str) {
        self.0.tokens.look_at(config);
        self.0.pokes.poke_users_of(config);
    }

    /// Makes messages due now, None: all, and ends the pauses of the accounts they wait for; how many there were.
    pub(crate) async fn retry(&self, messages: Option<Vec<i64>>) -> Result<u64, SpoolError> {
        let ids = match messages {
            Some(ids) => ids,
            None => self.0.spool.queue(None)?.iter().map(|row| row.id).collect(),
        };
        let messages: Vec<MessageId> = ids.into_iter().map(MessageId).collect();
        let accounts = self.0.spool.accounts_of(&messages)?;
        let retried = self.0.spool.retry(Some(messages)).await?;
        self.poke_all(accounts);
        Ok(retried)
    }

    /// Gives held messages back to the schedule, as [`Handle::retry`].
    pub(crate) async fn release(&self, messages: Vec<i64>) -> Result<u64, SpoolError> {
        let messages: Vec<MessageId> = messages.into_iter().map(MessageId).collect();
        let accounts = self.0.spool.accounts_of(&messages)?;
        let released = self.0.spool.release_held(messages).await?;
        self.poke_all(accounts);
        Ok(released)
    }

    fn poke_all(&self, accounts: Vec<(Direction, String)>) {
        for (direction, name) in accounts {
            let kind = match direction {
                Direction::In => Kind::Mailbox,
                Direction::Out => Kind::Relay,
            };
            self.0.pokes.poke(&(kind, name));
        }
    }

    /// The report of `postern status`.
    pub(crate) fn status(&self) -> anyhow::Result<Report> {
        let mut report = status::report(
            self.0.tokens.store(),
            Some(&self.0.spool),
            Some(&self.0.board),
        )?;
        report.process = Some(std::process::id());
        report.since = Some(self.0.since);
        Ok(report)
    }

    /// Reads the configuration file again and follows it; with a mistake in it nothing changes. In words, what was done.
    pub(crate) async fn reload_file(&self) -> Result<Vec<String>, ReloadError> {
        let turn = self.0.reload_turn.acquire().await;
        let _turn = turn.map_err(|_| ReloadError::Stopping)?;
        let file = self.with_config(|config| config.file.clone());
        self.reload(Config::read(&file, Secrets::Needed)?).await
    }

    /// Follows a configuration: new accounts start, removed ones drain, changed ones restart, the others are not touched.
    pub(super) async fn reload(&self, config: Config) -> Result<Vec<String>, ReloadError> {
        let done = self.follow(config).await;
        for line in done.iter().flatten() {
            tracing::info!("reload: {line}");
        }
        done
    }

    async fn follow(&self, new: Config) -> Result<Vec<String>, ReloadError> {
        let store = self.0.tokens.store();
        let origin = new.origin();
        // Looked at before anything is written: afterwards there would be no way back.
        let mut future = of_store(store)?;
        future.retain(|account| is_by_hand(account) && !declares(&new, account));
        future.extend(
            new.declared
                .relays
                .iter()
                .cloned()
                .map(Box::new)
                .map(Account::Relay),
        );
        routes(&future).map_err(ReloadError::Routes)?;

        store.declare(&origin, new.declared.clone()).await?;
        let mut words = self.carry_out().await?;
        let (fixed, changed, channels) = self.with_config(|old| {
            let found = (
                needs_restart(old, &new),
                changed_token_configs(old, &new),
                old.notices != new.notices,
            );
            // Sections that only a restart can change stay as they run, so that the next reload tells of them again.
            old.declared = new.declared.clone();
            old.notices = new.notices.clone();
            found
        });
        for config in changed {
            self.tokens_changed(&config);
            words.push(format!("token config {config} has changed"));
        }
        if channels {
            words.push("notices are told by other channels".to_owned());
        }
        words.extend(fixed);
        if words.is_empty() {
            words.push("nothing has changed".to_owned());
        }
        Ok(words)
    }

    /// Follows a change of the accounts in the database. In words, what was done.
    pub(crate) async fn accounts_changed(&self) -> Result<Vec<String>, ReloadError> {
        let turn = self.0.reload_turn.acquire().await;
        let _turn = turn.map_err(|_| ReloadError::Stopping)?;
        let words = self.carry_out().await?;
        for line in &words {
            tracing::info!("accounts: {line}");
        }
        Ok(words)
    }

    /// Makes what runs equal to the accounts of the database.
    async fn carry_out(&self) -> Result<Vec<String>, ReloadError> {
        let accounts = of_store(self.0.tokens.store())?;
        let table = routes(&accounts).map_err(ReloadError::Routes)?;
        let (done, words) = oneshot::channel();
        self.0
            .changes
            .send(Change { accounts, done })
            .await
            .map_err(|_| ReloadError::Stopping)?;
        let words = words.await.map_err(|_| ReloadError::Stopping)?;
        self.0.routes.send_replace(Arc::new(table));
        Ok(words)
    }

    /// Seals everything with a new key; in words, what was done.
    pub(crate) async fn rotate_key(&self, given: Option<Key>) -> Result<String, RotateError> {
        // One after the other: the second finds the key of the first in place.
        let _turn = self.0.key_turn.acquire().await;
        let source = self.with_config(|config| config.key.clone());
        let values = key::rotate(&source, self.0.tokens.store(), given).await?;
        let done = key::done(values, &source);
        tracing::warn!("the sealing key was rotated: {done}");
        Ok(done)
    }

    fn with_config<T>(&self, work: impl FnOnce(&mut Config) -> T) -> T {
        work(&mut self.0.config.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn is_by_hand(account: &Account) -> bool {
    let declared_in = match account {
        Account::Mailbox(mailbox) => &mailbox.declared_in,
        Account::Relay(relay) => &relay.declared_in,
    };
    declared_in.is_none()
}

/// Whether a configuration declares an account of this name.
fn declares(config: &Config, account: &Account) -> bool {
    let declared = &config.declared;
    match account {
        Account::Mailbox(mailbox) => declared.mailboxes.iter().any(|m| m.name == mailbox.name),
        Account::Relay(relay) => declared.relays.iter().any(|r| r.name == relay.name),
    }
}

/// Names of token configs that are new or differ.
fn changed_token_configs(old: &Config, new: &Config) -> Vec<String> {
    let known = &old.declared.token_configs;
    let differs = |entry: &provider_template::Entry| known.iter().all(|(_, other)| other != entry);
    new.declared
        .token_configs
        .iter()
        .filter(|(_, entry)| differs(entry))
        .map(|(_, entry)| entry.name.clone())
        .collect()
}

/// What differs and takes a restart, and templates that have a mistake now, in words.
fn needs_restart(old: &Config, new: &Config) -> Vec<String> {
    let keys = [
        ("state_dir", old.state_dir != new.state_dir),
        ("key", old.key != new.key),
        ("control_socket", old.control_socket != new.control_socket),
        ("drop_dir", old.drop_dir != new.drop_dir),
        ("log", old.log != new.log),
        ("web", old.web != new.web),
        ("submission", old.submission != new.submission),
        ("token_ca_file", old.token_ca_file != new.token_ca_file),
    ];
    let words =
        |key: &str| format!("{key} has changed in the file; that takes effect at the next restart");
    let differing = keys.iter().filter(|(_, differs)| *differs);
    let mut lines: Vec<String> = differing.map(|(key, _)| words(key)).collect();
    if old.library.templates != new.library.templates {
        let line = "the provider templates have changed; the admin page offers them after the next restart";
        lines.push(line.to_owned());
    }
    let problems = new.library.problems.iter();
    let appeared = problems.filter(|problem| !old.library.problems.contains(problem));
    lines.extend(appeared.map(|problem| format!("{problem}; this provider template is left out")));
    lines
}

impl Handle {
    /// Changes an account by hand, and follows.
    async fn change_account(
        &self,
        kind: Kind,
        change: ByHand,
    ) -> Result<(), web_admin::ChangeError> {
        let library = self.with_config(|config| config.library.clone());
        let store = self.0.tokens.store();
        by_hand::make((store, &self.0.spool, &library), kind, change).await?;
        // It is in the database; what runs follows at the next start if it can't now.
        if let Err(error) = self.accounts_changed().await {
            tracing::error!("a change of the accounts could not be followed: {error}");
        }
        Ok(())
    }
}

impl web_admin::Gateway for Handle {
    fn change_account(
        &self,
        kind: Kind,
        change: ByHand,
    ) -> web_admin::Promise<'_, Result<(), web_admin::ChangeError>> {
        Box::pin(Handle::change_account(self, kind, change))
    }

    fn test_account(
        &self,
        kind: Kind,
        name: &str,
        to: Option<String>,
        tell: web_admin::Tell,
    ) -> web_admin::Promise<'static, ()> {
        let (handle, name) = (self.clone(), name.to_owned());
        Box::pin(async move {
            let tokens = &handle.0.tokens;
            let mut step = |what, found| tell(web_admin::Step { what, found });
            match tokens.store().account(kind, &name) {
                Ok(Some(found)) => {
                    let account = &found.definition;
                    testing::test(account, tokens, to.as_deref(), &mut step).await;
                }
                Ok(None) => step(name, Err("is gone".to_owned())),
                Err(error) => step(name, Err(error.to_string())),
            }
        })
    }

    fn look_again(&self, kind: Kind, name: &str) {
        self.0.pokes.poke(&(kind, name.to_owned()));
    }

    fn fetch_now(&self, mailbox: &str) -> bool {
        Handle::fetch_now(self, mailbox)
    }

    fn tokens_changed(&self, config: &str) {
        Handle::tokens_changed(self, config);
    }

    fn configuration(&self) -> Option<web_admin::Configuration> {
        let path = self.with_config(|config| config.file.clone());
        let text = std::fs::read_to_string(&path).ok()?;
        Some(web_admin::Configuration {
            path: path.display().to_string(),
            text: crate::config::shown(&text)?,
        })
    }
}
