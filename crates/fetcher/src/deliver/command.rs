//! Runs one command with a message on its standard input.
//!
//! The message is complete before the command starts: a small one is a sealed file in memory, a large one is the spool's file.
//! So a killed daemon never leaves a command with half a message, and nobody has to feed a pipe.

use std::ffi::OsString;
use std::fs::File;
use std::io::{Seek as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use futures_util::future::join;
use rustix::fs::{MemfdFlags, SealFlags};
use rustix::process::{Pid, Signal, kill_process_group};
use spool::{Outcome, Stored};
use token_store::accounts::TicketCommand;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::job::{Finished, Job};
use super::reading::{self, Ending};

/// Kept of standard output and standard error together: their end, where the error is. More is read and dropped.
const OUTPUT: usize = 64 * 1024;
/// After the command's end, its output gets so long to end too: a child of its own may hold the pipe open for ever.
const AFTER_END: Duration = Duration::from_millis(250);
/// Between SIGTERM and SIGKILL for a command that took too long.
const TERM: Duration = Duration::from_secs(2);

/// A command's end, and what it said.
#[derive(Debug)]
struct Ended {
    ending: Ending,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

/// The ticket command of a mailbox.
pub(crate) struct Runner {
    run: TicketCommand,
    longest: Duration,
    environment: Vec<(OsString, OsString)>,
}

impl Runner {
    /// For a mailbox; `user` is whom its mail is for.
    pub(crate) fn new(run: &TicketCommand, mailbox: &str, user: &str, longest: Duration) -> Self {
        let mut environment = environment();
        for (name, value) in [("POSTERN_MAILBOX", mailbox), ("POSTERN_ENVELOPE_TO", user)] {
            environment.push((name.into(), value.into()));
        }
        Self {
            run: run.clone(),
            longest,
            environment,
        }
    }

    /// Runs the command for one message.
    pub(crate) async fn deliver(&self, job: Job) -> Finished {
        let message = match job.message {
            Stored::File(file) => Ok(file),
            inline => stdin(inline),
        };
        let message = match message {
            Ok(message) => message,
            Err(e) => {
                let why = format!("no file in memory for the message: {e}");
                return Finished::new(Outcome::Retry { why, after: None }, None);
            }
        };
        let own = [
            ("POSTERN_DELIVERY_ID", job.id),
            ("POSTERN_ATTEMPT", job.attempt.to_string()),
            ("POSTERN_SHA256", job.sha256),
        ];
        let own = own.map(|(name, value)| (name.into(), value.into()));
        let environment = self.environment.iter().cloned().chain(own).collect();
        let ended = run(&self.run, environment, message, self.longest).await;
        let (outcome, patience) =
            reading::read(self.run.preset, &ended.ending, &ended.stdout, &ended.stderr);
        Finished {
            patience,
            ..Finished::new(outcome, output(&ended.stdout, &ended.stderr))
        }
    }
}

/// What of our environment a command gets: where programs are, language and time zone. None of our secrets.
pub(crate) fn environment() -> Vec<(OsString, OsString)> {
    std::env::vars_os()
        .filter(|(name, _)| {
            name.to_str().is_some_and(|n| {
                matches!(n, "PATH" | "HOME" | "LANG" | "TZ") || n.starts_with("LC_")
            })
        })
        .collect()
}

/// Whether a working directory is one. The error says what is wrong with it.
pub(crate) fn is_directory(path: &Path) -> Result<(), String> {
    let what = path.display();
    match std::fs::metadata(path) {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => Err(format!("the working directory {what} is no directory")),
        Err(e) => Err(format!("the working directory {what}: {e}")),
    }
}

/// Finds a program: a path as it is, a bare name in PATH. The error says what is wrong with it.
pub(crate) fn find(program: &str) -> Result<PathBuf, String> {
    if program.contains('/') {
        return executable(Path::new(program)).map(|()| PathBuf::from(program));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|candidate| executable(candidate).is_ok())
        .ok_or_else(|| format!("there is no program {program} in PATH"))
}

fn executable(path: &Path) -> Result<(), String> {
    let what = path.display();
    let found = std::fs::metadata(path).map_err(|e| format!("{what}: {e}"))?;
    if !found.is_file() {
        return Err(format!("{what} is no file"));
    }
    if found.permissions().mode() & 0o111 == 0 {
        return Err(format!("{what} is not executable"));
    }
    Ok(())
}

/// A message as a file at its beginning.
pub(crate) fn stdin(stored: Stored) -> std::io::Result<File> {
    let bytes = match stored {
        Stored::File(file) => return Ok(file),
        Stored::Inline(bytes) => bytes,
    };
    let fd = rustix::fs::memfd_create("message", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let mut file = File::from(fd);
    file.write_all(&bytes)?;
    file.rewind()?;
    rustix::fs::fcntl_add_seals(
        &file,
        SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE,
    )?;
    Ok(file)
}

/// Runs a command to its end, or kills it with all it started when it takes too long, or when this future is dropped.
async fn run(
    command: &TicketCommand,
    environment: Vec<(OsString, OsString)>,
    message: File,
    longest: Duration,
) -> Ended {
    match start(command, environment, message) {
        Ok(child) => watch(child, longest).await,
        Err(why) => not_started(why),
    }
}

fn not_started(why: String) -> Ended {
    Ended {
        ending: Ending::NotStarted(why),
        stdout: Vec::new(),
        stderr: Vec::new(),
    }
}

fn start(
    run: &TicketCommand,
    environment: Vec<(OsString, OsString)>,
    message: File,
) -> Result<Child, String> {
    let (program, arguments) = run
        .command
        .split_first()
        .ok_or("no command is configured")?;
    let program = find(program)?;
    let mut command = Command::new(&program);
    if let Some(directory) = &run.directory {
        is_directory(directory)?;
        command.current_dir(directory);
    }
    command
        .args(arguments)
        .env_clear()
        .envs(environment)
        .stdin(Stdio::from(message))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(|e| format!("{} could not be started: {e}", program.display()))
}

async fn watch(mut child: Child, longest: Duration) -> Ended {
    let mut group = Group(
        child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .and_then(Pid::from_raw),
    );
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (mut said, mut complained) = (Vec::new(), Vec::new());
    let ending = {
        let reading = join(
            read_tail(stdout, &mut said),
            read_tail(stderr, &mut complained),
        );
        tokio::pin!(reading);
        let mut read = false;
        let ended = timeout(longest, async {
            loop {
                tokio::select! {
                    status = child.wait() => break status,
                    _ = &mut reading, if !read => read = true,
                }
            }
        })
        .await;
        let ending = match ended {
            Ok(Ok(status)) => of_status(status),
            Ok(Err(e)) => Ending::NotStarted(format!("waiting for the command failed: {e}")),
            Err(_) => {
                group.kill(Signal::TERM);
                let _ = timeout(TERM, child.wait()).await;
                // Also when the command itself obeyed: what it started may not have.
                group.kill(Signal::KILL);
                let _ = child.wait().await;
                Ending::TimedOut(longest)
            }
        };
        group.0 = None;
        if !read {
            let _ = timeout(AFTER_END, reading).await;
        }
        ending
    };
    Ended {
        ending,
        stdout: said,
        stderr: complained,
    }
}

fn of_status(status: ExitStatus) -> Ending {
    match (status.code(), status.signal()) {
        (Some(code), _) => Ending::Exit(code),
        (None, signal) => Ending::Signal(signal.unwrap_or(0)),
    }
}

/// A command's process group, killed when dropped before the command has ended.
struct Group(Option<Pid>);

impl Group {
    fn kill(&self, signal: Signal) {
        if let Some(leader) = self.0 {
            // Fails only if all of it has ended.
            let _ = kill_process_group(leader, signal);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill(Signal::KILL);
    }
}

/// Reads to the end, keeping at least the last [`OUTPUT`] bytes and never more than twice as many.
async fn read_tail(pipe: Option<impl AsyncRead + Unpin>, kept: &mut Vec<u8>) {
    let Some(mut pipe) = pipe else { return };
    loop {
        kept.reserve(4096);
        match pipe.read_buf(kept).await {
            Ok(0) | Err(_) => break,
            Ok(_) if kept.len() > 2 * OUTPUT => {
                kept.drain(..kept.len() - OUTPUT);
            }
            Ok(_) => {}
        }
    }
}

/// Both outputs for people, [`OUTPUT`] bytes of them at most; what one doesn't need, the other gets. None if the command said nothing.
fn output(stdout: &[u8], stderr: &[u8]) -> Option<String> {
    let half = OUTPUT / 2;
    let shares = [
        ("stderr", stderr, OUTPUT - stdout.len().min(half)),
        ("stdout", stdout, OUTPUT - stderr.len().min(half)),
    ];
    let mut text = String::new();
    for (name, bytes, share) in shares {
        let words = String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(share)..]);
        if !words.trim().is_empty() {
            text.push_str(name);
            text.push_str(":\n");
            text.push_str(words.trim_end());
            text.push('\n');
        }
    }
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
#[path = "command/tests.rs"]
mod tests;
