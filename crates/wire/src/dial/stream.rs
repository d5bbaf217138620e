//! A connection, plain or under TLS, behind one type.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::{DialError, Trust, error, server_name};

/// A connection, plain or under TLS. TCP_NODELAY and keepalive are set.
pub struct Stream(Inner);

enum Inner {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    pub(super) fn plain(tcp: TcpStream) -> Self {
        Self(Inner::Plain(tcp))
    }

    /// Turns a plain stream into a TLS stream (after the peer's go-ahead and with no byte buffered). `host` is the name that the
    /// certificate must be for; `limit` bounds the whole handshake.
    pub async fn start_tls(
        self,
        host: &str,
        trust: &Trust,
        limit: Duration,
    ) -> Result<Self, DialError> {
        let name = server_name(host)?;
        let failed = |source| DialError::Tls {
            host: host.to_owned(),
            source,
        };
        let Inner::Plain(tcp) = self.0 else {
            return Err(failed(io::Error::other("the connection has TLS already")));
        };
        let port = tcp.peer_addr().map_or(0, |peer| peer.port());
        let handshake = trust.connector().connect(name, tcp);
        match tokio::time::timeout(limit, handshake).await {
            Ok(Ok(tls)) => Ok(Self(Inner::Tls(Box::new(tls)))),
            Ok(Err(source)) => Err(failed(error::in_words(source, host, trust))),
            Err(_) => Err(DialError::Timeout {
                host: host.to_owned(),
                port,
                step: "TLS began",
                after: limit,
            }),
        }
    }

    /// Whether bytes are encrypted.
    pub fn is_tls(&self) -> bool {
        matches!(self.0, Inner::Tls(_))
    }

    /// Our own end: what an EHLO without a host name of its own can say.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp().local_addr()
    }

    /// The address that answered.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.tcp().peer_addr()
    }

    pub(super) fn tcp(&self) -> &TcpStream {
        match &self.0 {
            Inner::Plain(tcp) => tcp,
            Inner::Tls(tls) => tls.get_ref().0,
        }
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream")
            .field("tls", &self.is_tls())
            .field("peer", &self.peer_addr().ok())
            .finish()
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Inner::Plain(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Inner::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.0 {
            Inner::Plain(tcp) => Pin::new(tcp).poll_write(cx, buf),
            Inner::Tls(tls) => Pin::new(tls).poll_write(cx, buf),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Inner::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Inner::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Inner::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Inner::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}
