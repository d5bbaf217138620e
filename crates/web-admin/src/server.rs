//! The HTTP server: accepts within a cap, holds every connection to deadlines and limits, drains on shutdown.
//!
//! `axum::serve` is not used because it knows no deadline for headers and no limits.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::door::{Door, REQUEST_LIMIT};
use crate::visitor::Peer;
use crate::{App, Listener, routes};

/// Connections at a time. A browser opens six, a reverse proxy a few dozen.
const CONNECTIONS: usize = 128;
/// From the start of waiting for a request to the end of its header; so also how long an idle connection is kept.
const HEADER_LIMIT: Duration = Duration::from_secs(30);
/// Bytes of a header: cookies and the longest authorisation codes seen (some 2 KiB) with room to spare.
const HEADER_BYTES: usize = 32 * 1024;
/// Header fields; browsers and proxies together send about 30.
const HEADER_FIELDS: usize = 64;
/// After that a connection is closed behind the answer it is at, so that none lives on slow reading alone.
const CONNECTION_LIFE: Duration = Duration::from_secs(15 * 60);
/// How long requests in flight may still run once shutdown was asked for.
const GRACE: Duration = Duration::from_secs(15);
/// After a failed accept (no file descriptors left, most likely) before the next.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

enum Stream {
    Tcp(TcpStream, Peer),
    Unix(UnixStream),
}

/// Accepts until shutdown, then waits for what is in flight, at most for the grace time.
pub(crate) async fn run(listener: Listener, app: App, shutdown: CancellationToken) {
    let tasks = TaskTracker::new();
    let stop = CancellationToken::new();
    let router = routes::router(&app);
    let trials = app.clone();
    let door = Arc::new(Door::new(app, router, tasks.clone(), stop.clone()));
    let seats = Arc::new(Semaphore::new(CONNECTIONS));
    while let Some((stream, seat)) = next(&listener, &seats, &shutdown).await {
        let (door, shutdown, stop) = (door.clone(), shutdown.clone(), stop.clone());
        tasks.spawn(async move {
            let _seat = seat;
            let connection = async {
                match stream {
                    Stream::Tcp(stream, peer) => connection(stream, peer, door, shutdown).await,
                    Stream::Unix(stream) => connection(stream, Peer::Socket, door, shutdown).await,
                }
            };
            tokio::select! {
                () = connection => {}
                () = stop.cancelled() => {}
            }
        });
    }
    drop(listener);
    trials.trials.end().await;
    tasks.close();
    if timeout(GRACE, tasks.wait()).await.is_err() {
        tracing::warn!(
            tasks = tasks.len(),
            "admin page: requests cut off at the end of the grace time"
        );
        stop.cancel();
        tasks.wait().await;
    }
}

/// The next connection and its seat; `None` on shutdown.
async fn next(
    listener: &Listener,
    seats: &Arc<Semaphore>,
    shutdown: &CancellationToken,
) -> Option<(Stream, OwnedSemaphorePermit)> {
    let accepted = async {
        let seat = seats.clone().acquire_owned().await.ok()?;
        loop {
            let accepted = match listener {
                Listener::Tcp(listener) => {
                    let accepted = listener.accept().await;
                    accepted.map(|(s, from)| Stream::Tcp(s, Peer::Address(from.ip())))
                }
                Listener::Unix(listener) => listener.accept().await.map(|(s, _)| Stream::Unix(s)),
            };
            match accepted {
                Ok(stream) => return Some((stream, seat)),
                Err(error) => tracing::warn!(%error, "admin page: accept failed"),
            }
            sleep(ACCEPT_PAUSE).await;
        }
    };
    tokio::select! {
        biased;
        () = shutdown.cancelled() => None,
        accepted = accepted => accepted,
    }
}

/// Serves one connection to its end.
pub(crate) async fn connection<S>(
    stream: S,
    peer: Peer,
    door: Arc<Door>,
    shutdown: CancellationToken,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let door = door.clone();
        async move { Ok::<_, Infallible>(door.answer(request.map(Body::new), peer).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_LIMIT)
        .max_buf_size(HEADER_BYTES)
        .max_headers(HEADER_FIELDS)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => {
            if let Err(error) = ended {
                tracing::debug!(%error, "admin page: connection ended early");
            }
            return;
        }
        () = shutdown.cancelled() => {}
        () = sleep(CONNECTION_LIFE) => {}
    }
    connection.as_mut().graceful_shutdown();
    // An answer that nobody reads within the limit is not waited for.
    let _ = timeout(REQUEST_LIMIT, connection).await;
}
