//! One process at a time keeps a state directory: an exclusive lock on `postern.lock`, released by the kernel however the process ends.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{Instant, sleep};

/// The file that is locked; its text says by whom, for people only.
const LOCK_FILE: &str = "postern.lock";
/// More than any holder writes.
const LONGEST_HOLDER: u64 = 200;

/// How a command names itself: it holds the lock for moments.
pub(crate) const COMMAND: &str = "a postern command";
const DAEMON: &str = "postern run";
/// How long a starting daemon waits for a command that is at work; a refresh may wait for a slow token endpoint.
const PATIENCE: Duration = Duration::from_secs(60);
const BETWEEN_TRIES: Duration = Duration::from_millis(50);

/// The lock, held until dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

/// Why the lock was not to be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LockError {
    /// Another process has it.
    #[error("{} is in use already by {holder}; two at once would use the same refresh token, so stop that one, or wait for it to end", dir.display())]
    Held { dir: PathBuf, holder: String },
    /// The file could not be opened or locked.
    #[error("{} cannot be locked: {source}; it belongs to the user that the daemon runs as", path.display())]
    Io {
        path: PathBuf,
        source: std::io::Error,
    },
}

impl Lock {
    /// Takes the lock for the daemon. A command at work is waited for, another daemon is not.
    pub(crate) async fn of_the_daemon(state_dir: &Path) -> Result<Self, LockError> {
        let give_up = Instant::now() + PATIENCE;
        loop {
            match Self::take(state_dir, DAEMON) {
                Err(LockError::Held { holder, .. })
                    if holder.starts_with(COMMAND) && Instant::now() < give_up =>
                {
                    sleep(BETWEEN_TRIES).await;
                }
                taken => return taken,
            }
        }
    }

    /// Takes the lock of a state directory at once, or says who has it. `holder` is what others are told.
    pub(crate) fn take(state_dir: &Path, holder: &str) -> Result<Self, LockError> {
        let path = state_dir.join(LOCK_FILE);
        let io = |source| LockError::Io {
            path: path.clone(),
            source,
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let holder = read_holder(&mut file);
                return Err(LockError::Held {
                    dir: state_dir.to_owned(),
                    holder,
                });
            }
            Err(TryLockError::Error(source)) => return Err(io(source)),
        }
        let text = format!("{holder} (process {})\n", std::process::id());
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| file.write_all(text.as_bytes()))
            .map_err(io)?;
        Ok(Self { _file: file })
    }
}

fn read_holder(file: &mut File) -> String {
    let mut text = String::new();
    let read = file.take(LONGEST_HOLDER).read_to_string(&mut text);
    match (read, text.trim()) {
        (Ok(_), holder) if !holder.is_empty() => holder.to_owned(),
        _ => "another process".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holder_is_told_who_the_first_is_until_that_one_ends() {
        let dir = tempfile::tempdir().unwrap();
        let first = Lock::take(dir.path(), "postern run").unwrap();
        let refused = Lock::take(dir.path(), "postern token refresh").unwrap_err();
        let words = refused.to_string();
        assert!(
            words.contains(&format!(
                "in use already by postern run (process {})",
                std::process::id()
            )),
            "{words}"
        );
        drop(first);
        Lock::take(dir.path(), "postern token refresh").unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_starting_daemon_waits_for_a_command_and_not_for_another_daemon() {
        let dir = tempfile::tempdir().unwrap();
        let command = Lock::take(dir.path(), COMMAND).unwrap();
        let works = async {
            sleep(Duration::from_secs(5)).await;
            drop(command);
        };
        let (daemon, ()) = tokio::join!(Lock::of_the_daemon(dir.path()), works);
        let _daemon = daemon.unwrap();
        let begun = Instant::now();
        let second = Lock::of_the_daemon(dir.path()).await;
        assert!(matches!(second, Err(LockError::Held { .. })));
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }

    #[test]
    fn a_state_directory_that_is_missing_is_named() {
        let words = Lock::take(Path::new("/nonexistent/postern"), "x")
            .unwrap_err()
            .to_string();
        assert!(
            words.starts_with("/nonexistent/postern/postern.lock cannot be locked: "),
            "{words}"
        );
    }
}
