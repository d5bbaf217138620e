//! A folder, a pretend provider and a configuration, and the real binary among them.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use sandbox::{Knobs, Provider};
use tokio_util::sync::CancellationToken;

pub(crate) const USER: &str = "support@sandbox.test";
/// Long enough for a busy machine, short enough to be seen as a hang.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// A folder, a provider, and a configuration with one token config `t`.
pub(crate) struct Place {
    pub(crate) provider: Provider,
    dir: tempfile::TempDir,
    shutdown: CancellationToken,
    // Last: the provider's tasks live on it.
    runtime: Option<tokio::runtime::Runtime>,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self::with(Knobs::default(), |_, _| String::new())
    }

    /// The same with knobs of its own, and more token configs: what `more` writes, given the folder.
    pub(crate) fn with(knobs: Knobs, more: impl FnOnce(&Provider, &Path) -> String) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let shutdown = CancellationToken::new();
        let started = Provider::start(knobs, shutdown.clone());
        let provider = runtime.block_on(started).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let (id, secret) = provider.client();
        let (at, oauth) = (dir.path().display(), provider.oauth());
        let text = format!(
            "state_dir: {at}/s\nkey: {{file: {at}/key}}\ncontrol_socket: {at}/c.sock\ndrop_dir: {at}/drop\nweb: off\nsubmission: []\n\
             token_configs:\n  - name: t\n    template: generic\n    client_id: {id}\n    client_secret: {secret}\n    scope: mail\n    \
             endpoints: {{authorize: 'http://{oauth}/authorize', token: 'http://{oauth}/token'}}\n"
        );
        let text = text + &more(&provider, dir.path());
        std::fs::write(dir.path().join("postern.yaml"), text).unwrap();
        Self {
            provider,
            dir,
            shutdown,
            runtime: Some(runtime),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_postern"));
        command
            .args(arguments)
            .env("POSTERN_CONFIG", self.path("postern.yaml"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs a command to its end with a text on standard input.
    pub(crate) fn run(&self, arguments: &[&str], input: &str) -> Output {
        let mut child = self.command(arguments).spawn().unwrap();
        // A command that reads no input has closed it already.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    }

    /// Its standard output, when it ends with this code.
    pub(crate) fn ends(&self, arguments: &[&str], input: &str, code: i32) -> String {
        let output = self.run(arguments, input);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(
            output.status.code(),
            Some(code),
            "postern {arguments:?}: {said}"
        );
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn ok(&self, arguments: &[&str], input: &str) -> String {
        self.ends(arguments, input, 0)
    }

    /// Starts the daemon and waits until its socket answers.
    pub(crate) fn daemon(&self) -> Daemon {
        let log = std::fs::File::create(self.path("log")).unwrap();
        let child = self
            .command(&["run"])
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let daemon = Daemon(child);
        let begun = Instant::now();
        while std::os::unix::net::UnixStream::connect(self.path("c.sock")).is_err() {
            assert!(begun.elapsed() < SOON, "the daemon does not answer");
            std::thread::sleep(Duration::from_millis(20));
        }
        daemon
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shutdown.cancel();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(Duration::from_secs(2));
        }
    }
}

/// A running daemon, killed when dropped.
pub(crate) struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// GET, as a browser would; the whole answer.
pub(crate) fn get(url: &str) -> String {
    let rest = url.strip_prefix("http://").unwrap();
    let (host, path) = rest.split_once('/').unwrap();
    let mut stream = TcpStream::connect(host).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    let request = format!("GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Where the provider sends the browser of a person who signs in.
pub(crate) fn location(url: &str) -> String {
    let answer = get(url);
    let is_location = |line: &&str| line.to_ascii_lowercase().starts_with("location: ");
    let location = answer.lines().find(is_location).unwrap_or(&answer);
    location["location: ".len()..].trim().to_owned()
}
