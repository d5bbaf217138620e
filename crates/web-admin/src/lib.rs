//! The admin page: what an administrator sees of Postern in a browser, and the OAuth 2.0 callback.
//!
//! The flow of one request, in file order:
//!
//! 1. `server` accepts a connection within its cap and deadlines and hands each request to the door.
//! 2. `door` takes the public path prefix off, checks the `Host` header, and runs the handler as a task of its
//!    own: a panic becomes a page, and a browser that goes away does not cut a token request short. On the way
//!    out it puts the security headers on every answer.
//!    On the way in it notes where the request comes from (`visitor`).
//! 3. `routes` is the one list of what there is and who may see it. A page that needs an administrator takes
//!    `session::SignedIn`; one that changes something takes `session::Posted`, which cannot be had without a
//!    session, a same-origin request and the session's CSRF token. The callback alone takes the cookie of the browser
//!    that asked: the session's own is not sent along when another site leads here.
//! 4. `pages` reads the store, the spool and the board, and fills a template of `templates/`.
//!
//! What must hold:
//!
//! - No secret reaches HTML: pages are filled from `TokenStatus`, `Mailbox` and `Relay`, and a client secret that
//!   was typed is never written back.
//! - Everything shown is escaped by the template engine; the one script is a file of ours, and the policy forbids any
//!   other. Pages work without it but for what lives.
//! - Everything that changes something is audited with the administrator's name.
//! - Every link starts with the path of `public_url`; requests are taken with and without that prefix, since a
//!   reverse proxy may strip it or not.
//!
//! The supervisor calls [`serve`] with a listener it has bound and fills [`Gateway`] with what the pages ask of
//! the daemon.

mod address;
mod chart;
mod door;
mod error;
mod flash;
mod pages;
mod qr;
mod routes;
mod server;
mod session;
#[cfg(test)]
mod tests;
mod trials;
mod upload;
mod visitor;
mod words;

use std::pin::Pin;
use std::sync::Arc;

use spool::Spool;
use token_store::Tokens;
use token_store::accounts::{Board, Change, Kind};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use address::Address;
use flash::Flashes;
use pages::Imports;
use trials::Trials;
pub use visitor::Proxies;

/// What the pages work with.
#[derive(Clone)]
pub struct Parts {
    /// Tokens, and through them the store.
    pub tokens: Tokens,
    /// Messages in flight, for the counts.
    pub spool: Spool,
    /// How each account fares at this moment.
    pub board: Board,
    /// The provider templates a token config can be made from.
    pub library: Arc<provider_template::Library>,
    /// What browsers see, path part included, without a slash at the end.
    pub public_url: String,
    /// Appended to `public_url` it is the redirect URI; `/oauth2/callback` unless an old registration needs another.
    pub redirect_path: String,
    /// The reverse proxies in front, and what they are believed.
    pub proxies: Proxies,
    /// What the page asks of the daemon.
    pub gateway: Arc<dyn Gateway>,
}

/// Why the daemon did not change an account, split by what the page does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChangeError {
    /// What is wrong, by key of the configuration file; shown at the fields.
    Mistakes(Vec<provider_template::Mistake>),
    /// It may not be, in words without a full stop.
    Refused(String),
    /// The databases failed.
    Failed(String),
}

/// One step of a test: what was looked at, and what was found, or what is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What was looked at.
    pub what: String,
    /// What was found, or what is wrong and what to do.
    pub found: Result<String, String>,
}

/// Where steps are told as they end.
pub type Tell = Box<dyn Fn(Step) + Send + Sync>;

/// An answer that takes a while.
pub type Promise<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What the page asks of the daemon.
pub trait Gateway: Send + Sync {
    /// Changes the accounts, and follows the change at once.
    fn change_account(&self, kind: Kind, change: Change) -> Promise<'_, Result<(), ChangeError>>;
    /// Tests an account and tells each step as it ends; a relay sends a test message where `to` names an address.
    fn test_account(
        &self,
        kind: Kind,
        name: &str,
        to: Option<String>,
        tell: Tell,
    ) -> Promise<'static, ()>;
    /// Ends the pauses of an account whose messages a person made due.
    fn look_again(&self, kind: Kind, name: &str);
    /// Fetches a mailbox now; false when there is none of that name.
    fn fetch_now(&self, mailbox: &str) -> bool;
    /// A token config or its token changed: accounts that waited for it go on.
    fn tokens_changed(&self, config: &str);
    /// What the configuration file says, for people; None when it can't be read.
    fn configuration(&self) -> Option<Configuration>;
}

/// The configuration file as people may see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Configuration {
    /// Where it is.
    pub path: String,
    /// What it says, secrets hidden.
    pub text: String,
}

/// Where the page is served; bound by the caller.
#[derive(Debug)]
pub enum Listener {
    /// A TCP port, usually of loopback behind a reverse proxy.
    Tcp(TcpListener),
    /// A Unix socket.
    Unix(UnixListener),
}

/// What every handler has at hand; shared.
pub(crate) struct Inner {
    pub(crate) parts: Parts,
    pub(crate) address: Address,
    pub(crate) flashes: Flashes,
    /// The tests of accounts that run, and those that ran lately.
    pub(crate) trials: Trials,
    /// The links of style sheet and script.
    pub(crate) style: String,
    pub(crate) script: String,
    /// Imports that were looked at, and wait to be applied.
    pub(crate) imports: Imports,
    /// One passphrase at a time: deriving its key takes 64 MiB.
    sealing: Semaphore,
    /// Pages that are kept up to date.
    pub(crate) viewers: Arc<Semaphore>,
    /// Ends what would never end by itself.
    pub(crate) shutdown: CancellationToken,
}

/// Pages that are kept up to date at a time; each takes a connection for as long as it is open.
const VIEWERS: usize = 32;

impl Inner {
    /// Runs what derives a key from a passphrase, off the async threads.
    pub(crate) async fn sealing<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, String> + Send + 'static,
    ) -> Result<T, String> {
        let turn = self.sealing.acquire().await;
        let done = tokio::task::spawn_blocking(work).await;
        drop(turn);
        done.unwrap_or_else(|error| Err(format!("Not done: {error}.")))
    }
}

/// The handle that handlers get.
pub(crate) type App = Arc<Inner>;

/// Serves the admin page until shutdown, then lets requests in flight end within a grace time.
///
/// Fails at once, with `InvalidInput`, when `public_url` or `redirect_path` cannot be used; a failing `accept` is
/// logged and tried again.
pub async fn serve(
    listener: Listener,
    parts: Parts,
    shutdown: CancellationToken,
) -> std::io::Result<()> {
    let app = app(parts, shutdown.clone())
        .map_err(|why| std::io::Error::new(std::io::ErrorKind::InvalidInput, why))?;
    server::run(listener, app, shutdown).await;
    Ok(())
}

/// Makes the shared handle; says why when the addresses cannot be used.
fn app(parts: Parts, shutdown: CancellationToken) -> Result<App, address::AddressError> {
    let address = Address::parse(&parts.public_url, &parts.redirect_path)?;
    let (style, script) = pages::static_links();
    Ok(Arc::new(Inner {
        parts,
        address,
        flashes: Flashes::default(),
        trials: Trials::default(),
        style,
        script,
        imports: Imports::default(),
        sealing: Semaphore::new(1),
        viewers: Arc::new(Semaphore::new(VIEWERS)),
        shutdown,
    }))
}
