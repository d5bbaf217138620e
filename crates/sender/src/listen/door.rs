//! A bound listener: TCP or a Unix socket, bound here or handed over by the service manager; and what a client needs to get in.
use super::rules::{Listen, Protection, SocketFile, Submission};
use rustix::net::{AddressFamily, SocketType, sockopt};
use std::fs::Permissions;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, chown};
use std::path::Path;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use wire::accept::{Certificate, CertificateError};

/// A bound listener (systemd socket activation hands one over, tests bind port 0).
#[derive(Debug)]
pub enum Listener {
    /// On host and port.
    Tcp(TcpListener),
    /// On a Unix socket.
    Unix(UnixListener),
}

/// A stream of either kind of listener, plain or under TLS.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// An accepted connection.
pub(super) struct Arrival {
    pub(super) stream: Box<dyn Duplex>,
    /// The client's name for the Received field and the log.
    pub(super) peer: String,
    /// Where it came from; None: a Unix socket.
    pub(super) address: Option<IpAddr>,
}

impl Listener {
    /// Binds. A Unix socket's file stays behind at the end, since it may be systemd's, and is replaced here once nobody listens on
    /// it any more.
    ///
    /// # Errors
    /// The address is in use, or may not be used.
    pub async fn bind(listen: &Listen, file: SocketFile) -> io::Result<Self> {
        match listen {
            Listen::Tcp(address) => Ok(Self::Tcp(TcpListener::bind(address).await?)),
            Listen::Unix(path) => Ok(Self::Unix(bind_unix(path, file).await?)),
        }
    }

    /// Takes over a socket that listens already.
    ///
    /// # Errors
    /// It is not a stream socket that listens on TCP or a Unix socket's path.
    pub fn adopt(socket: OwnedFd) -> io::Result<Self> {
        let listens = sockopt::socket_type(&socket)? == SocketType::STREAM
            && sockopt::socket_acceptconn(&socket)?;
        let domain = sockopt::socket_domain(&socket)?;
        match domain {
            AddressFamily::INET | AddressFamily::INET6 if listens => {
                let listener = std::net::TcpListener::from(socket);
                listener.set_nonblocking(true)?;
                Ok(Self::Tcp(TcpListener::from_std(listener)?))
            }
            AddressFamily::UNIX if listens => {
                let listener = std::os::unix::net::UnixListener::from(socket);
                listener.set_nonblocking(true)?;
                Ok(Self::Unix(UnixListener::from_std(listener)?))
            }
            _ => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "it is not a stream socket that listens (ListenStream=)",
            )),
        }
    }

    /// Where it listens.
    ///
    /// # Errors
    /// A Unix socket without a path.
    pub fn address(&self) -> io::Result<Listen> {
        match self {
            Self::Tcp(listener) => Ok(Listen::Tcp(listener.local_addr()?)),
            Self::Unix(listener) => {
                let address = listener.local_addr()?;
                let path = address.as_pathname().map(Path::to_owned);
                let no_path = || io::Error::new(io::ErrorKind::Unsupported, "it has no path");
                path.map(Listen::Unix).ok_or_else(no_path)
            }
        }
    }

    /// The next connection.
    pub(super) async fn accept(&self) -> io::Result<Arrival> {
        match self {
            Self::Tcp(listener) => {
                let (stream, from) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok(Arrival {
                    stream: Box::new(stream),
                    peer: peer_literal(from),
                    address: Some(from.ip().to_canonical()),
                })
            }
            Self::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                Ok(Arrival {
                    stream: Box::new(stream),
                    peer: "local".to_owned(),
                    address: None,
                })
            }
        }
    }
}

/// What a client needs before it may send.
#[derive(Default)]
pub(super) struct Door {
    pub(super) tls: Offer,
    /// Reached from beyond this machine: whatever else is configured, a client signs in there, and only under TLS.
    pub(super) is_public: bool,
    pub(super) sign_in: bool,
}

/// TLS, as offered.
#[derive(Default)]
pub(super) enum Offer {
    #[default]
    None,
    Starttls(Certificate),
    Implicit(Certificate),
}

impl Door {
    /// # Errors
    /// The certificate cannot be used.
    pub(super) fn new(rules: &Submission) -> Result<Self, CertificateError> {
        let tls = match &rules.tls {
            Protection::None => Offer::None,
            Protection::Starttls(files) => {
                Offer::Starttls(Certificate::load(&files.chain, &files.key)?)
            }
            Protection::Implicit(files) => {
                Offer::Implicit(Certificate::load(&files.chain, &files.key)?)
            }
        };
        let is_public = !rules.listen.is_local();
        Ok(Self {
            tls,
            is_public,
            sign_in: rules.sign_in || is_public,
        })
    }
}

/// Bound under another name and moved: nobody connects before mode and group are right.
async fn bind_unix(path: &Path, file: SocketFile) -> io::Result<UnixListener> {
    refuse_live_socket(path).await?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let fresh = path.with_file_name(format!(".{name}.{}", std::process::id()));
    let _ = std::fs::remove_file(&fresh);
    let listener = UnixListener::bind(&fresh)?;
    let placed = std::fs::set_permissions(&fresh, Permissions::from_mode(file.mode))
        .and_then(|()| file.group.map_or(Ok(()), |group| give(&fresh, group)))
        .and_then(|()| std::fs::rename(&fresh, path));
    if placed.is_err() {
        let _ = std::fs::remove_file(&fresh);
    }
    placed.map(|()| listener)
}

fn give(path: &Path, group: u32) -> io::Result<()> {
    chown(path, None, Some(group)).map_err(|error| {
        let words = format!(
            "the socket cannot be given to group {group} ({error}); the daemon's user must be a member of it"
        );
        io::Error::new(error.kind(), words)
    })
}

/// A socket file that refuses connections was left behind by a process that is gone.
async fn refuse_live_socket(path: &Path) -> io::Result<()> {
    let Ok(file) = std::fs::symlink_metadata(path) else {
        return Ok(());
    };
    if !file.file_type().is_socket() {
        return Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "there is a file of another kind in its place",
        ));
    }
    match UnixStream::connect(path).await {
        Ok(_) => Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            "another process listens on this socket",
        )),
        Err(refused) if refused.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        Err(other) => Err(other),
    }
}

/// An address literal as the Received field wants it (RFC 5321 section 4.1.3).
fn peer_literal(peer: SocketAddr) -> String {
    match peer.ip().to_canonical() {
        IpAddr::V4(ip) => format!("[{ip}]"),
        IpAddr::V6(ip) => format!("[IPv6:{ip}]"),
    }
}
