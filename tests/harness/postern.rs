//! The real binary: the daemon under test, and its command line.

use super::eventually;
use super::rig::Rig;
use rustix::process::{Pid, Signal};
use std::io::Write;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_postern");

/// A configuration file in a rig's folder, and what it takes to run Postern with it.
pub(crate) struct Setup {
    pub(crate) config: PathBuf,
    pub(crate) dir: PathBuf,
    pub(crate) submission: u16,
    /// The value of `web`: the admin page is off unless a test switches it on.
    pub(crate) web: String,
}

impl Setup {
    /// Writes `postern.yaml`; `accounts` holds the sections `token_configs`, `mailboxes` and `relays`.
    pub(crate) fn new(rig: &Rig, accounts: &str) -> Self {
        let submission = super::free_port();
        let setup = Self {
            config: rig.path().join("postern.yaml"),
            dir: rig.path().to_owned(),
            submission,
            web: "off".to_owned(),
        };
        setup.write(accounts);
        setup
    }

    /// Writes the file anew.
    pub(crate) fn write(&self, accounts: &str) {
        let dir = self.dir.display();
        let text = format!(
            "state_dir: {dir}/s\ncontrol_socket: {dir}/control.sock\ndrop_dir: {dir}/drop\nlog: {{format: text, level: info}}\nweb: {}\n\
             submission:\n  - listen: 127.0.0.1:{}\n{accounts}",
            self.web, self.submission
        );
        std::fs::write(&self.config, text).unwrap();
    }

    pub(crate) fn state_dir(&self) -> PathBuf {
        self.dir.join("s")
    }

    /// Runs a command to its end, with `input` on standard input.
    pub(crate) fn run(&self, args: &[&str], input: &str) -> Output {
        run(&self.config, args, input)
    }

    /// Runs a command that must succeed; its standard output.
    pub(crate) fn ok(&self, args: &[&str], input: &str) -> String {
        let output = self.run(args, input);
        assert!(
            output.status.success(),
            "postern {args:?}: {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    /// Starts the daemon and waits until it says READY=1.
    pub(crate) fn start(&self) -> Daemon {
        let mut command = Command::new(BINARY);
        command.stdin(Stdio::null()).stdout(self.log());
        self.start_by(command)
    }

    /// The same by another program, which gets the daemon's arguments.
    pub(crate) fn start_by(&self, mut command: Command) -> Daemon {
        let socket = self.dir.join("notify.sock");
        let _gone = std::fs::remove_file(&socket);
        let notify = UnixDatagram::bind(&socket).unwrap();
        notify
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        let child = command
            .arg("run")
            .arg("--config")
            .arg(&self.config)
            .env("NOTIFY_SOCKET", &socket)
            .stderr(self.log())
            .spawn()
            .unwrap();
        let mut daemon = Daemon { child, notify };
        daemon.wait_for("READY=1");
        daemon
    }

    /// The daemon's log, to be written on.
    fn log(&self) -> std::fs::File {
        let path = self.dir.join("postern.log");
        let mut options = std::fs::OpenOptions::new();
        options.create(true).append(true).open(path).unwrap()
    }
}

/// Runs the binary with a configuration file.
pub(crate) fn run(config: &Path, args: &[&str], input: &str) -> Output {
    let mut child = Command::new(BINARY)
        .args(args)
        .arg("--config")
        .arg(config)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // A command that reads no input has closed it already.
    let _unread = stdin.write_all(input.as_bytes());
    drop(stdin);
    child.wait_with_output().unwrap()
}

/// A running daemon; killed when dropped.
pub(crate) struct Daemon {
    child: Child,
    notify: UnixDatagram,
}

impl Daemon {
    /// Waits for a message to the service manager that contains a line.
    pub(crate) fn wait_for(&mut self, line: &str) {
        let mut buf = [0; 4096];
        loop {
            let n = self.notify.recv(&mut buf).unwrap_or_else(|e| {
                panic!(
                    "no {line} from the daemon ({:?}): {e}",
                    self.child.try_wait()
                )
            });
            if String::from_utf8_lossy(&buf[..n])
                .lines()
                .any(|l| l == line)
            {
                return;
            }
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// `kill -9`, and waits for the process to be gone.
    pub(crate) fn kill9(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        rustix::process::kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// SIGTERM, and the exit status.
    pub(crate) fn stop(mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        let mut status = None;
        eventually(
            "the daemon ends after SIGTERM",
            Duration::from_secs(40),
            || {
                status = self.child.try_wait().unwrap();
                status.is_some()
            },
        );
        status.unwrap()
    }

    /// Peak resident memory in KiB, all of it.
    pub(crate) fn peak_kib(&self) -> u64 {
        self.status_kib("VmHWM:")
    }

    /// The same without the pages of the program's own file, which are many in a debug build and grow with the program.
    pub(crate) fn own_peak_kib(&self) -> u64 {
        self.peak_kib() - self.status_kib("RssFile:")
    }

    fn status_kib(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Already gone is fine: kill9 and stop waited for it.
        if matches!(self.child.try_wait(), Ok(None)) {
            let _killed = self.child.kill();
            let _reaped = self.child.wait();
        }
    }
}
