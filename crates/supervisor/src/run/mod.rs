//! The daemon's rooms, started and drained: the same for `postern run` and for the demo.
//!
//! [`Gateway::start_with`] is the start order: lock, key, databases, accounts of the file, listeners, tasks.
//! One cancellation token ends everything; [`Gateway::drain`] waits for it and says for whom it still waits.

mod accounts;
mod alive;
mod backoff;
pub(crate) mod by_hand;
mod doors;
mod drop_box;
mod file_watch;
mod handed;
mod handle;
pub(crate) mod key;
mod lock;
pub(crate) mod log;
pub(crate) mod notices;
mod open;
mod plan;
mod pokes;
mod sent;
mod sign_ins;
pub(crate) mod status;
mod supervise;
pub(crate) mod testing;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use spool::Spool;
use token_store::accounts::Board;
use token_store::{Tokens, TokensOptions};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::control;
use alive::Alive;
use doors::Doors;
pub(crate) use file_watch::Watch;
pub(crate) use handed::{Handed, HandedError};
pub(crate) use handle::{Handle, ReloadError};
pub(crate) use lock::{COMMAND, Lock, LockError};
pub(crate) use open::{OpenError, give_to_owner, has_state, state_dir, store};
use pokes::Pokes;
use supervise::{GRACE, supervise};

/// How often a drain says what it still waits for.
const REMIND: Duration = Duration::from_secs(5);
/// Reloads that may wait for their turn; there is one signal and one command at a time.
const CHANGES: usize = 4;

/// Why the gateway did not start; each says what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Spool(#[from] spool::SpoolError),
    #[error(transparent)]
    Tokens(#[from] token_store::TokenError),
    #[error(transparent)]
    Handed(#[from] HandedError),
    #[error("a submission listener's certificate: {0}")]
    Certificate(#[from] wire::accept::CertificateError),
    /// Two relays claim a sender.
    #[error("{0}")]
    Routes(String),
    #[error("{what} cannot listen on {address}: {source}{}", remedy(source))]
    Bind {
        what: &'static str,
        address: String,
        source: std::io::Error,
    },
}

/// What helps against a listener that cannot be bound.
fn remedy(source: &std::io::Error) -> &'static str {
    match source.kind() {
        std::io::ErrorKind::AddrInUse => {
            "; another program listens there, end it or configure another address"
        }
        std::io::ErrorKind::AddrNotAvailable => "; this machine has no such address",
        std::io::ErrorKind::PermissionDenied => {
            "; ports below 1024 and others' folders are not for this user"
        }
        _ => "",
    }
}

/// A running gateway. Dropping it ends every task at once; [`Gateway::drain`] ends them in order.
pub(crate) struct Gateway {
    handle: Handle,
    submission: Vec<sender::Listen>,
    page: Option<String>,
    summary: String,
    rooms: Rooms,
    // Last: the lock outlives every task.
    _lock: Lock,
}

impl Gateway {
    /// As [`Gateway::start_with`], with sockets of its own alone.
    #[cfg(any(test, feature = "demo"))]
    pub(crate) async fn start(
        config: Config,
        shutdown: CancellationToken,
    ) -> Result<Self, StartError> {
        Self::start_with(config, Handed::default(), shutdown).await
    }

    /// Takes the lock, opens the databases, declares the file's accounts, binds what was not handed over, and starts one task per
    /// account. Everything ends when `shutdown` is cancelled.
    pub(crate) async fn start_with(
        config: Config,
        handed: Handed,
        shutdown: CancellationToken,
    ) -> Result<Self, StartError> {
        key::check(&config)?;
        state_dir(&config)?;
        let lock = Lock::of_the_daemon(&config.state_dir).await;
        let lock = lock.map_err(OpenError::from)?;
        let store = store(&config)?;
        key::settle(&config.key, &store).await;
        let origin = config.origin();
        let declared = store.declare(&origin, config.declared.clone());
        declared.await.map_err(OpenError::from)?;
        let spool = Spool::open(&config.state_dir)?;
        let ca_file = config.token_ca_file.clone();
        let tokens = Tokens::new(store.clone(), TokensOptions { ca_file })?;
        let doors = Doors::bind(&config, handed).await?;
        let first = accounts::of_store(&store).map_err(OpenError::from)?;
        let table = accounts::routes(&first).map_err(StartError::Routes)?;

        let (routes, current_routes) = watch::channel(Arc::new(table));
        let (changes, wanted) = mpsc::channel(CHANGES);
        let page = doors.page_parts(&config);
        let drop_dir = config.drop_dir.clone();
        let handle = Handle::new(handle::Parts {
            tokens: tokens.clone(),
            spool: spool.clone(),
            board: Board::default(),
            pokes: Pokes::default(),
            routes,
            changes,
            config,
        });
        let mut gateway = Self {
            submission: doors.submission_addresses(),
            page: page.as_ref().map(|page| page.public_url.clone()),
            summary: accounts::summary(&first),
            rooms: Rooms::new(shutdown.clone()),
            handle: handle.clone(),
            _lock: lock,
        };
        let rooms = &mut gateway.rooms;
        let accounts = handle.accounts(rooms.alive.clone(), shutdown.clone());
        rooms.open("accounts", accounts.run(first, wanted));
        rooms.open("token refresh", refresh(tokens, shutdown.clone()));
        rooms.open(
            "sign-ins",
            sign_ins::follow(handle.clone(), shutdown.clone()),
        );
        let post = sender::Post {
            routes: current_routes,
            spool,
            users: store,
        };
        for entrance in doors.submission {
            let room = sender::listen(entrance, post.clone(), shutdown.clone());
            rooms.open("submission", room);
        }
        let notices = notices(handle.clone(), shutdown.clone());
        rooms.open("notices", notices);
        let dropped = drop_box::empty(drop_dir, handle.clone(), shutdown.clone());
        rooms.open("drop directory", dropped);
        if let (Some(listener), Some(page)) = (doors.web, page) {
            let parts = handle.page(page);
            rooms.open("admin page", serve_page(listener, parts, shutdown.clone()));
        }
        let control = control::serve(doors.control, handle, shutdown);
        rooms.open("control socket", control);
        Ok(gateway)
    }

    /// What signals and commands may ask.
    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Where replies are taken (port 0 in the configuration becomes a real one here).
    pub(crate) fn submission(&self) -> &[sender::Listen] {
        &self.submission
    }

    /// The admin page's address for browsers; None when it is switched off.
    pub(crate) fn page(&self) -> Option<&str> {
        self.page.as_deref()
    }

    /// What runs, in a few words for the service manager.
    pub(crate) fn summary(&self) -> &str {
        &self.summary
    }

    /// Waits for a room to end that nobody asked to end: a defect, after which only a restart makes the gateway whole.
    pub(crate) async fn fault(&mut self) -> String {
        match self.rooms.set.join_next().await {
            Some(Ok(room)) => format!("the {room} ended by itself"),
            Some(Err(error)) => format!("a part of the gateway failed: {error}"),
            None => "nothing runs any more".to_owned(),
        }
    }

    /// Waits until `shutdown` is cancelled and every room has drained, naming what it still waits for to `tell`;
    /// after 30 s drops the rest.
    pub(crate) async fn drain(mut self, mut tell: impl FnMut(&[String])) {
        let Rooms {
            set,
            alive,
            shutdown,
        } = &mut self.rooms;
        shutdown.cancelled().await;
        let end = Instant::now() + GRACE;
        let mut remind = Instant::now() + REMIND;
        loop {
            tokio::select! {
                ended = set.join_next() => if ended.is_none() { return },
                () = sleep_until(remind.min(end)) => {
                    tell(&alive.names());
                    if Instant::now() >= end { break }
                    remind += REMIND;
                }
            }
        }
        set.abort_all();
        let (names, grace) = (alive.names().join(", "), GRACE.as_secs());
        tracing::warn!(
            "the grace time of {grace} s is over; ended without waiting longer: {names}"
        );
        // An aborted task ends at its next wait, which is at once.
        let gone = async { while set.join_next().await.is_some() {} };
        let _ = timeout(REMIND, gone).await;
    }
}

/// The tasks that the gateway owns and drains, and who is still in them.
struct Rooms {
    set: JoinSet<&'static str>,
    alive: Alive,
    shutdown: CancellationToken,
}

impl Rooms {
    fn new(shutdown: CancellationToken) -> Self {
        Self {
            set: JoinSet::new(),
            alive: Alive::default(),
            shutdown,
        }
    }

    fn open(&mut self, name: &'static str, room: impl Future<Output = ()> + Send + 'static) {
        let entered = self.alive.enter(name);
        self.set.spawn(async move {
            let _alive = entered;
            room.await;
            name
        });
    }
}

/// Keeps tokens fresh; an end that nobody asked for is no reason to stop fetching.
async fn refresh(tokens: Tokens, shutdown: CancellationToken) {
    let stop = shutdown.clone();
    let make = move || {
        let (tokens, stop) = (tokens.clone(), stop.clone());
        async move { tokens.run(stop).await }
    };
    let tell = |why: &str, pause: Duration| {
        tracing::error!(
            "refreshing tokens ahead of need stopped, {why}; it starts again in {} s",
            pause.as_secs()
        );
    };
    supervise(shutdown, make, tell).await;
}

/// Tells an administrator what is wrong; that it failed itself is said in the log alone.
async fn notices(handle: Handle, shutdown: CancellationToken) {
    let stop = shutdown.clone();
    let make = move || notices::run(handle.clone(), stop.clone());
    let tell = |why: &str, pause: Duration| {
        tracing::error!(
            "notices stopped, {why}; they start again in {} s",
            pause.as_secs()
        );
    };
    supervise(shutdown, make, tell).await;
}

async fn serve_page(
    listener: web_admin::Listener,
    parts: web_admin::Parts,
    shutdown: CancellationToken,
) {
    if let Err(error) = web_admin::serve(listener, parts, shutdown).await {
        tracing::error!("the admin page ended: {error}");
    }
}
