//! A TCP proxy that harms the next connection at a chosen byte: the network between Postern and a server, at its worst.

use rustix::net::sockopt::set_socket_linger;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// So long a delayed byte waits: longer than a local exchange, shorter than any patience.
const DELAY: Duration = Duration::from_millis(40);
/// So many bytes go one by one after a split begins.
const SPLIT: usize = 200;

/// Which of the two streams is harmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    /// What the server says.
    FromServer,
    /// What the client says.
    FromClient,
}

/// What happens at that byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Both connections are reset.
    Cut,
    /// This stream ends there, in good order; the rest of it is swallowed.
    Truncate,
    /// It waits a while.
    Delay,
    /// From there on bytes travel one by one.
    Split,
}

/// A harm: `kind` before the byte number `at` of `stream`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Harm {
    pub(crate) stream: Stream,
    pub(crate) at: u64,
    pub(crate) kind: Kind,
}

/// What the proxy's threads share.
#[derive(Default)]
struct Shared {
    next: Mutex<Option<Harm>>,
    /// The most bytes that a connection carried each way.
    from_server: AtomicU64,
    from_client: AtomicU64,
    /// Pumps that run.
    pumps: AtomicUsize,
    accepted: AtomicUsize,
    ended: AtomicBool,
}

/// The proxy; it accepts until it is dropped.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    shared: Arc<Shared>,
    acceptor: Option<std::thread::JoinHandle<()>>,
}

impl Proxy {
    /// Listens on a port of its own, before a server's port on this machine.
    pub(crate) fn before(server: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared::default());
        let inner = shared.clone();
        let acceptor = std::thread::spawn(move || accept(&listener, server, &inner));
        Self {
            port,
            shared,
            acceptor: Some(acceptor),
        }
    }

    /// The next connection is harmed so; those after it are not.
    pub(crate) fn harm_next(&self, harm: Harm) {
        *self.shared.next.lock().unwrap() = Some(harm);
    }

    /// Whether the harm that was asked for has met its connection.
    pub(crate) fn harmed(&self) -> bool {
        self.shared.next.lock().unwrap().is_none()
    }

    /// Whether a connection is open.
    pub(crate) fn busy(&self) -> bool {
        self.shared.pumps.load(Ordering::SeqCst) > 0
    }

    /// Connections so far.
    pub(crate) fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// Bytes of the longest connection so far, which is not the last one where a session without mail followed: what the server said,
    /// what the client said.
    pub(crate) fn carried(&self) -> (u64, u64) {
        let shared = &self.shared;
        (
            shared.from_server.load(Ordering::SeqCst),
            shared.from_client.load(Ordering::SeqCst),
        )
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        // Wakes the acceptor out of its wait.
        let _woken = TcpStream::connect(("127.0.0.1", self.port));
        if let Some(acceptor) = self.acceptor.take() {
            let _joined = acceptor.join();
        }
    }
}

fn accept(listener: &TcpListener, server: u16, shared: &Arc<Shared>) {
    for client in listener.incoming() {
        if shared.ended.load(Ordering::SeqCst) {
            return;
        }
        let client = client.unwrap();
        let Ok(server) = TcpStream::connect(("127.0.0.1", server)) else {
            continue;
        };
        let harm = shared.next.lock().unwrap().take();
        shared.accepted.fetch_add(1, Ordering::SeqCst);
        for stream in [Stream::FromServer, Stream::FromClient] {
            let (from, to) = match stream {
                Stream::FromServer => (&server, &client),
                Stream::FromClient => (&client, &server),
            };
            let pump = Pump {
                from: from.try_clone().unwrap(),
                to: to.try_clone().unwrap(),
                stream,
                harm: harm.filter(|harm| harm.stream == stream),
                shared: shared.clone(),
            };
            shared.pumps.fetch_add(1, Ordering::SeqCst);
            std::thread::spawn(move || {
                let shared = pump.shared.clone();
                pump.run();
                shared.pumps.fetch_sub(1, Ordering::SeqCst);
            });
        }
    }
}

/// One direction of one connection.
struct Pump {
    from: TcpStream,
    to: TcpStream,
    stream: Stream,
    harm: Option<Harm>,
    shared: Arc<Shared>,
}

impl Pump {
    fn run(mut self) {
        let _at_once = self.to.set_nodelay(true);
        let mut passed = 0;
        let mut buf = vec![0; 64 * 1024];
        loop {
            let Ok(n @ 1..) = self.from.read(&mut buf) else {
                // The other direction may have more to say; a half that is closed is passed on as such.
                let _closed = self.to.shutdown(Shutdown::Write);
                return;
            };
            if !self.pass(&mut passed, &buf[..n]) {
                return;
            }
        }
    }

    /// Passes bytes on, with the harm in its place. False: this stream is over.
    fn pass(&mut self, passed: &mut u64, bytes: &[u8]) -> bool {
        let end = *passed + bytes.len() as u64;
        let Some(harm) = self.harm.filter(|harm| harm.at < end) else {
            return self.write(passed, bytes);
        };
        self.harm = None;
        let before = usize::try_from(harm.at.saturating_sub(*passed)).unwrap();
        if !self.write(passed, &bytes[..before]) {
            return false;
        }
        let rest = &bytes[before..];
        match harm.kind {
            Kind::Cut => {
                for socket in [&self.from, &self.to] {
                    let _reset = set_socket_linger(socket, Some(Duration::ZERO));
                    let _closed = socket.shutdown(Shutdown::Both);
                }
                false
            }
            Kind::Truncate => {
                let _closed = self.to.shutdown(Shutdown::Write);
                let _swallowed = std::io::copy(&mut self.from, &mut std::io::sink());
                false
            }
            Kind::Delay => {
                std::thread::park_timeout(DELAY);
                self.write(passed, rest)
            }
            Kind::Split => {
                let (slow, fast) = rest.split_at(rest.len().min(SPLIT));
                slow.chunks(1).all(|byte| self.write(passed, byte)) && self.write(passed, fast)
            }
        }
    }

    fn write(&mut self, passed: &mut u64, bytes: &[u8]) -> bool {
        *passed += bytes.len() as u64;
        let count = match self.stream {
            Stream::FromServer => &self.shared.from_server,
            Stream::FromClient => &self.shared.from_client,
        };
        count.fetch_max(*passed, Ordering::SeqCst);
        self.to.write_all(bytes).is_ok()
    }
}
