//! The submission server: accepts connections, gives each a session, and drains them on shutdown.
mod command;
mod header;
mod intake;
mod session;
mod trace;
mod unstuff;

#[cfg(test)]
mod tests;

#[cfg(test)]
pub(crate) use unstuff::Unstuffer;

use crate::{host_name, routes::Routes};
use session::Session;
use spool::Spool;
use std::fs::Permissions;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

/// Sessions at a time; far beyond any helpdesk, well below the usual limit of open files.
const CONNECTIONS: usize = 200;
/// Pause after a failed accept (out of file descriptors, mostly), so that it does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A submission listener's rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submission {
    /// Where it listens.
    pub listen: Listen,
    /// The largest message in bytes; announced as SIZE.
    pub max_size: u64,
}

/// A listener's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// Host and port.
    Tcp(SocketAddr),
    /// A Unix socket's path.
    Unix(PathBuf),
}

/// A bound listener (systemd socket activation hands one over, tests bind port 0).
#[derive(Debug)]
pub enum Listener {
    /// On host and port.
    Tcp(TcpListener),
    /// On a Unix socket.
    Unix(UnixListener),
}

impl Listener {
    /// Binds. A Unix socket is for the owner and the group (0660); its file stays behind at the end, since it may be
    /// systemd's, and is replaced here once nobody listens on it any more.
    ///
    /// # Errors
    /// The address is in use, or may not be used.
    pub async fn bind(listen: &Listen) -> io::Result<Self> {
        match listen {
            Listen::Tcp(address) => Ok(Self::Tcp(TcpListener::bind(address).await?)),
            Listen::Unix(path) => {
                remove_stale_socket(path).await?;
                let listener = UnixListener::bind(path)?;
                std::fs::set_permissions(path, Permissions::from_mode(0o660))?;
                Ok(Self::Unix(listener))
            }
        }
    }

    /// The next connection, as a session with the peer's name for the Received field.
    async fn accept(&self) -> io::Result<Connection> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok((Box::new(stream), peer_literal(peer)))
            }
            Self::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                Ok((Box::new(stream), "local".to_owned()))
            }
        }
    }
}

/// An accepted stream and its peer's name.
type Connection = (Box<dyn Duplex>, String);

/// A stream of either kind of listener.
trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// What all sessions of a listener share.
struct Shared {
    host: String,
    max_size: u64,
    routes: watch::Receiver<Arc<Routes>>,
    spool: Spool,
    shutdown: CancellationToken,
}

/// Accepts replies until shutdown: each connection is a task it owns. On shutdown no new connection is taken, idle sessions
/// hear 421, and a running DATA may finish; this returns when the last session has ended.
pub async fn listen(
    listener: Listener,
    rules: Submission,
    routes: watch::Receiver<Arc<Routes>>,
    spool: Spool,
    shutdown: CancellationToken,
) {
    let shared = Arc::new(Shared {
        host: host_name(),
        max_size: rules.max_size,
        routes,
        spool,
        shutdown,
    });
    let mut sessions = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = shared.shutdown.cancelled() => break,
            Some(ended) = sessions.join_next(), if !sessions.is_empty() => note_panic(ended),
            accepted = listener.accept() => match accepted {
                Ok(connection) => begin(&mut sessions, connection, &shared),
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
    let shared = Shared {
        host: host_name(),
        max_size,
        routes,
        spool,
        shutdown,
    };
    Session::new(stream, peer, Arc::new(shared)).run().await;
}

fn begin(sessions: &mut JoinSet<()>, (stream, peer): Connection, shared: &Arc<Shared>) {
    let full = sessions.len() >= CONNECTIONS;
    let session = Session::new(stream, peer, Arc::clone(shared));
    match full {
        false => drop(sessions.spawn(session.run())),
        true => drop(sessions.spawn(session.turn_away())),
    }
}

fn note_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(panic) = ended {
        error!(error = %panic, "a submission session failed; the others go on");
    }
}

/// An address literal as the Received field wants it (RFC 5321 section 4.1.3).
fn peer_literal(peer: SocketAddr) -> String {
    match peer.ip().to_canonical() {
        std::net::IpAddr::V4(ip) => format!("[{ip}]"),
        std::net::IpAddr::V6(ip) => format!("[IPv6:{ip}]"),
    }
}

/// A socket file that refuses connections was left behind by a process that is gone.
async fn remove_stale_socket(path: &Path) -> io::Result<()> {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    if !is_socket {
        return Ok(());
    }
    match UnixStream::connect(path).await {
        Ok(_) => Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            "another process listens on this socket",
        )),
        Err(refused) if refused.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path)
        }
        Err(other) => Err(other),
    }
}
