//! A submission listener's rules: where it listens, how it is protected, and within which limits.
use super::BareNewlines;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// A submission listener's rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submission {
    /// Where it listens.
    pub listen: Listen,
    /// Who may open the file of a Unix socket.
    pub socket: SocketFile,
    /// How a connection is protected.
    pub tls: Protection,
    /// Whether a client must sign in; beyond this machine it must in any case.
    pub sign_in: bool,
    /// The largest message in bytes; announced as SIZE.
    pub max_size: u64,
    /// What becomes of a message with bare CR or LF.
    pub bare_newlines: BareNewlines,
    /// How much a client may take of it.
    pub limits: Limits,
}

/// A listener's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// Host and port.
    Tcp(SocketAddr),
    /// A Unix socket's path.
    Unix(PathBuf),
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

impl Listen {
    /// Whether only this machine's users reach it.
    #[must_use]
    pub fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().to_canonical().is_loopback(),
            Self::Unix(_) => true,
        }
    }
}

/// How a listener's connections are protected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Protection {
    /// Not at all: for this machine only.
    None,
    /// After the command STARTTLS (RFC 3207).
    Starttls(CertificateFiles),
    /// From the first byte (RFC 8314).
    Implicit(CertificateFiles),
}

/// Where a server's certificate is, in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The certificate, and those between it and the root.
    pub chain: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// The file of a Unix socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SocketFile {
    /// Its permissions; writing is what connecting takes.
    pub mode: u32,
    /// Its group; None: the one of the process.
    pub group: Option<u32>,
}

impl Default for SocketFile {
    /// For the owner and the group.
    fn default() -> Self {
        Self {
            mode: 0o660,
            group: None,
        }
    }
}

/// How much of a listener clients may take. The rates are messages a minute; None: as many as come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Sessions at a time.
    pub connections: usize,
    /// Sessions at a time from one address; of IPv6, from one /64.
    pub connections_per_address: usize,
    /// Recipients of one message.
    pub recipients: usize,
    /// By all clients together.
    pub rate: Option<u32>,
    /// In one session.
    pub rate_per_connection: Option<u32>,
    /// By one user who has signed in, in all sessions.
    pub rate_per_user: Option<u32>,
    /// Refused commands before the session ends, counted from the last message.
    pub errors: u32,
    /// Commands that bring no message any further before the session ends, counted from the last message.
    pub idle_commands: u32,
    /// Silence before a command.
    pub command_timeout: Duration,
    /// Silence within a message.
    pub data_timeout: Duration,
    /// From DATA to the final dot.
    pub message_timeout: Duration,
    /// From the beginning of a connection until its client has signed in, where it must.
    pub sign_in_timeout: Duration,
    /// From the first command to the last.
    pub session_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // Far beyond any helpdesk, well below the usual limit of open files.
            connections: 200,
            // Room for every worker of a helpdesk, and no more than a quarter for whoever else gets that far.
            connections_per_address: 50,
            // RFC 5321 section 4.5.3.1.8 asks for at least 100.
            recipients: 1000,
            // The spool takes thousands a second and the relay paces what leaves.
            rate: None,
            rate_per_connection: None,
            rate_per_user: None,
            // A mail client makes none or a few.
            errors: 20,
            // What other servers grant as well; a monitor that only says NOOP comes again.
            idle_commands: 100,
            // RFC 5321 section 4.5.3.2.7: a server waits at least 5 minutes for the next command.
            command_timeout: Duration::from_secs(300),
            // RFC 5321 section 4.5.3.2.5, the client's time for one block; a server that waits as long is in step.
            data_timeout: Duration::from_secs(180),
            // 150 MiB at 350 kbit/s.
            message_timeout: Duration::from_secs(3600),
            // TLS and AUTH take a second; strangers must not hold the places of those who sign in.
            sign_in_timeout: Duration::from_secs(60),
            // A helpdesk that keeps its connection opens another one; whoever holds one for nothing gives it back.
            session_timeout: Duration::from_secs(2 * 3600),
        }
    }
}
