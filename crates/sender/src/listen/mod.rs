//! The submission server: accepts connections, gives each a session, and drains them on shutdown.
mod attend;
mod command;
mod conversation;
mod door;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzz;
mod guesser;
mod guests;
mod header;
mod intake;
mod line_ends;
mod rules;
mod session;
mod trace;
mod unstuff;

#[cfg(test)]
mod tests;

#[cfg(test)]
pub(crate) use line_ends::LineEnds;
pub(crate) use trace::own_id;
#[cfg(test)]
pub(crate) use unstuff::Unstuffer;

pub use door::Listener;
pub use line_ends::BareNewlines;
pub use rules::{CertificateFiles, Limits, Listen, Protection, SocketFile, Submission};

use crate::{host_name, routes::Routes};
use door::{Arrival, Door};
use guests::Guests;
use intake::Rules;
use session::{Client, Session};
use spool::Spool;
use std::sync::Arc;
use std::time::Duration;
use token_store::Store;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};
use wire::accept::CertificateError;

/// Clients that are told at a time that the house is full; beyond these the connection is only closed.
const TURNED_AWAY: usize = 50;
/// Pause after a failed accept (out of file descriptors, mostly), so that it does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Recipients of a message that a program on this machine hands in; as many as the configuration allows a listener at most.
const DESK_RECIPIENTS: usize = 100_000;

/// What all sessions of a listener share.
struct Shared {
    host: String,
    rules: Rules,
    limits: Limits,
    guests: Arc<Guests>,
    door: Door,
    /// Who may sign in.
    users: Option<Store>,
    routes: watch::Receiver<Arc<Routes>>,
    spool: Spool,
    shutdown: CancellationToken,
}

/// A bound listener with its rules, ready to be served.
pub struct Entrance {
    listener: Listener,
    rules: Submission,
    door: Door,
}

impl Entrance {
    /// Reads the listener's certificate.
    ///
    /// # Errors
    /// It cannot be used.
    pub fn new(listener: Listener, rules: Submission) -> Result<Self, CertificateError> {
        let door = Door::new(&rules)?;
        Ok(Self {
            listener,
            rules,
            door,
        })
    }

    /// What it listens on.
    #[must_use]
    pub fn listener(&self) -> &Listener {
        &self.listener
    }
}

/// Where a listener's mail goes, and who may bring it.
#[derive(Clone)]
pub struct Post {
    /// Which relay serves whom.
    pub routes: watch::Receiver<Arc<Routes>>,
    /// Where messages go.
    pub spool: Spool,
    /// Who may sign in.
    pub users: Store,
}

/// Accepts replies until shutdown: each connection is a task it owns. On shutdown no new connection is taken, idle sessions
/// hear 421, and a running DATA may finish; this returns when the last session has ended.
pub async fn listen(entrance: Entrance, post: Post, shutdown: CancellationToken) {
    let Entrance {
        listener,
        rules,
        door,
    } = entrance;
    let shared = Arc::new(Shared {
        host: host_name(),
        rules: Rules {
            max_size: rules.max_size,
            bare_newlines: rules.bare_newlines,
        },
        limits: rules.limits,
        guests: Guests::new(rules.limits),
        door,
        users: Some(post.users),
        routes: post.routes,
        spool: post.spool,
        shutdown,
    });
    warn_without_users(&shared);
    let mut sessions = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = shared.shutdown.cancelled() => break,
            Some(ended) = sessions.join_next(), if !sessions.is_empty() => note_panic(ended),
            accepted = listener.accept() => match accepted {
                Ok(arrival) => receive(&mut sessions, arrival, &shared),
                Err(failure) => {
                    warn!(error = %failure, "a submission connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    if !sessions.is_empty() {
        info!(
            sessions = sessions.len(),
            "waiting for submission sessions to end"
        );
    }
    while let Some(ended) = sessions.join_next().await {
        note_panic(ended);
    }
}

fn warn_without_users(shared: &Shared) {
    let Some(users) = shared.users.as_ref().filter(|_| shared.door.sign_in) else {
        return;
    };
    match users.list_submitters() {
        Ok(all) if all.is_empty() => warn!(
            "a submission listener wants clients to sign in, and there is no user; make one with `postern submission user add`"
        ),
        Ok(_) => {}
        Err(error) => warn!(%error, "the users of the submission listeners cannot be read"),
    }
}

/// What a session over a stream of its own works with.
#[derive(Clone)]
pub struct Desk {
    /// The largest message in bytes.
    pub max_size: u64,
    /// Which relay serves whom.
    pub routes: watch::Receiver<Arc<Routes>>,
    /// Where messages go.
    pub spool: Spool,
}

/// One session over a stream that somebody else has accepted, until its end or the shutdown; `peer` names the client in Received
/// and in the log. The client is trusted as one on loopback is.
pub async fn converse<S>(stream: S, peer: String, desk: Desk, shutdown: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Send + Unpin,
{
    let Desk {
        max_size,
        routes,
        spool,
    } = desk;
    // One program hands in one message, and its list of recipients has its own bounds.
    let limits = Limits {
        recipients: DESK_RECIPIENTS,
        ..Limits::default()
    };
    let shared = Shared {
        host: host_name(),
        rules: Rules {
            max_size,
            bare_newlines: BareNewlines::Refuse,
        },
        limits,
        guests: Guests::new(limits),
        door: Door::default(),
        users: None,
        routes,
        spool,
        shutdown,
    };
    let client = Client::new(peer, None);
    Session::new(stream, client, Arc::new(shared)).run().await;
}

/// Gives a connection its session, or somebody who says that there is no room.
fn receive(sessions: &mut JoinSet<()>, arrival: Arrival, shared: &Arc<Shared>) {
    if sessions.len() >= shared.limits.connections + TURNED_AWAY {
        return;
    }
    let seat = shared.guests.enter(arrival.address);
    sessions.spawn(attend::attend(arrival, seat, Arc::clone(shared)));
}

fn note_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(panic) = ended {
        error!(error = %panic, "a submission session failed; the others go on");
    }
}
