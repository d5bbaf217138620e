//! Everything a test needs around the real binary: a folder, certificates, a token endpoint, Dovecot, Postfix, and Postern itself.

pub(crate) mod browser;
pub(crate) mod chromium;
pub(crate) mod corpus;
pub(crate) mod disk;
pub(crate) mod dovecot;
pub(crate) mod postern;
pub(crate) mod postfix;
pub(crate) mod proxy;
pub(crate) mod rig;
pub(crate) mod submit;

use std::time::{Duration, Instant};

/// Waits until `condition` holds, looking every 10 ms; after `within` the test fails and says what it waited for.
pub(crate) fn eventually(what: &str, within: Duration, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + within;
    while !condition() {
        assert!(Instant::now() < end, "not within {within:?}: {what}");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

/// SHA-256 in hexadecimal.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest;
    sha2::Sha256::digest(bytes)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect()
}

/// A port nobody listens on at this moment.
pub(crate) fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.local_addr().unwrap().port()
}

/// Whether something accepts connections on this loopback port.
pub(crate) fn port_open(port: u16) -> bool {
    std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
}

/// A generator of chance whose seed is printed; `POSTERN_TEST_SEED` repeats a run.
pub(crate) fn seeded() -> fastrand::Rng {
    let seed = std::env::var("POSTERN_TEST_SEED").ok();
    let seed = seed
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(|| fastrand::u64(..));
    println!("POSTERN_TEST_SEED={seed}");
    fastrand::Rng::with_seed(seed)
}

/// Whether the long form of a campaign was asked for: `POSTERN_TEST_LONG=1`.
pub(crate) fn long() -> bool {
    std::env::var_os("POSTERN_TEST_LONG").is_some()
}
