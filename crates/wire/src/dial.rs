//! TCP, TLS and STARTTLS, each step with its own deadline.

mod error;
mod look;
mod stream;
#[cfg(test)]
mod tests;
mod trust;

pub use error::DialError;
pub use look::look;
pub use stream::Stream;
pub use trust::Trust;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// How long one address may keep the next one waiting; RFC 8305 section 5 recommends 250 ms.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// Silence after which TCP asks whether the peer is still there. Half of the shortest idle limit that is common among NAT gateways
/// and cloud load balancers (4 minutes), so that an idling IMAP session stays known to them.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(120);
/// Pause between two keepalive probes.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
/// Unanswered probes after which the connection counts as dead: two minutes after the first.
const KEEPALIVE_PROBES: u32 = 4;

/// How a connection is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tls {
    /// TLS from the first byte (RFC 8314).
    Implicit,
    /// Plain first, then the protocol's STARTTLS command.
    StartTls,
    /// No TLS; only ever for loopback (whoever builds a Target checks that with [`is_loopback`]).
    None,
}

/// Where to connect.
#[derive(Debug, Clone)]
pub struct Target {
    /// A name or an address; an IPv6 address may stand in brackets.
    pub host: String,
    /// The TCP port.
    pub port: u16,
    /// How the connection is protected.
    pub tls: Tls,
}

/// Connects: name, TCP (every address, the next one starting when one fails or is slow), and TLS where it is implicit. `timeout`
/// bounds each of the three steps.
pub async fn connect(target: &Target, trust: &Trust, limit: Duration) -> Result<Stream, DialError> {
    let late = |step| DialError::Timeout {
        host: target.host.clone(),
        port: target.port,
        step,
        after: limit,
    };
    let addresses = timeout(limit, resolve(&target.host, target.port))
        .await
        .map_err(|_| late("its name was looked up"))?
        .map_err(|source| DialError::Resolve {
            host: target.host.clone(),
            source,
        })?;
    let tcp = timeout(limit, race(addresses))
        .await
        .map_err(|_| late("connecting"))?
        .map_err(|source| DialError::Connect {
            host: target.host.clone(),
            port: target.port,
            source,
        })?;
    let stream = Stream::plain(tcp);
    match target.tls {
        Tls::Implicit => stream.start_tls(&target.host, trust, limit).await,
        Tls::StartTls | Tls::None => Ok(stream),
    }
}

/// Whether a host name or address can only mean this machine.
pub fn is_loopback(host: &str) -> bool {
    let host = bare(host);
    host.eq_ignore_ascii_case("localhost")
        || host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.to_canonical().is_loopback())
}

/// A host without the brackets of an IPv6 literal and the dot of an absolute name, as resolvers and certificates know it.
fn bare(host: &str) -> &str {
    let host = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(host);
    host.strip_suffix('.').unwrap_or(host)
}

/// The name a certificate must be for.
fn server_name(host: &str) -> Result<ServerName<'static>, DialError> {
    ServerName::try_from(bare(host).to_owned()).map_err(|_| DialError::Tls {
        host: host.to_owned(),
        source: io::Error::new(
            io::ErrorKind::InvalidInput,
            "this is not a name or address that a certificate can be for",
        ),
    })
}

async fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    // The trailing dot stays: it keeps the resolver from trying search domains.
    let name = host.trim_start_matches('[').trim_end_matches(']');
    let found: Vec<_> = tokio::net::lookup_host((name, port)).await?.collect();
    if found.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "it has no address"));
    }
    Ok(found)
}

/// Tries the addresses in the resolver's order (RFC 8305): each starts when the one before has failed or been silent for a moment,
/// and the first connection wins.
async fn race(addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
    // Dropping the set, at a win, a timeout or a cancellation, ends the attempts still under way.
    let mut attempts = JoinSet::new();
    let mut waiting = addresses.into_iter();
    let mut failures: Vec<io::Error> = Vec::new();
    if let Some(address) = waiting.next() {
        attempts.spawn(attempt(address));
    }
    loop {
        let more = waiting.len() > 0;
        tokio::select! {
            ended = attempts.join_next() => match ended {
                Some(Ok(Ok(tcp))) => return Ok(tcp),
                Some(Ok(Err(failure))) => failures.push(failure),
                Some(Err(ended)) => failures.push(io::Error::other(ended)),
                None if more => {}
                None => return Err(sum_up(failures)),
            },
            () = sleep(ATTEMPT_DELAY), if more => {}
        }
        if let Some(address) = waiting.next() {
            attempts.spawn(attempt(address));
        }
    }
}

async fn attempt(address: SocketAddr) -> io::Result<TcpStream> {
    let connected = async {
        let tcp = TcpStream::connect(address).await?;
        tune(&tcp)?;
        Ok(tcp)
    };
    connected.await.map_err(|failure: io::Error| {
        io::Error::new(failure.kind(), format!("{}: {failure}", address.ip()))
    })
}

/// Small commands leave at once, and a peer that vanished is noticed.
fn tune(tcp: &TcpStream) -> io::Result<()> {
    use rustix::net::sockopt;
    tcp.set_nodelay(true)?;
    sockopt::set_socket_keepalive(tcp, true)?;
    sockopt::set_tcp_keepidle(tcp, KEEPALIVE_IDLE)?;
    sockopt::set_tcp_keepintvl(tcp, KEEPALIVE_INTERVAL)?;
    sockopt::set_tcp_keepcnt(tcp, KEEPALIVE_PROBES)?;
    Ok(())
}

/// One error that names every address tried.
fn sum_up(failures: Vec<io::Error>) -> io::Error {
    let kind = failures
        .first()
        .map_or(io::ErrorKind::NotFound, io::Error::kind);
    let words: Vec<String> = failures.iter().map(ToString::to_string).collect();
    io::Error::new(kind, words.join("; "))
}
