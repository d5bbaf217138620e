//! One process at a time refreshes: the daemon and a command beside it must not both spend the same refresh token.
//!
//! A lock on a file of its own (never on the database, where closing it would drop SQLite's locks). The system lets
//! go of it when the process dies, so a crash leaves nothing to wait for. Within one process many refreshes of
//! different tokens hold it together; the single flight per token sees to the rest.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Between looks at a lock that another process holds.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

pub(crate) struct RefreshLock {
    file: File,
    holders: Mutex<usize>,
}

/// Held while a refresh is under way, from before its row is read until after its answer is committed.
pub(crate) struct RefreshGuard<'a> {
    lock: &'a RefreshLock,
}

impl RefreshLock {
    pub(super) fn open(database: &Path) -> std::io::Result<Self> {
        let mut path = database.as_os_str().to_owned();
        path.push("-refresh.lock");
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)?;
        // Made by root on the command line: the daemon's user must be able to open it.
        let owner = std::fs::metadata(database)?;
        if file.metadata()?.uid() != owner.uid() {
            fchown(&file, Some(owner.uid()), Some(owner.gid()))?;
        }
        Ok(Self {
            file,
            holders: Mutex::new(0),
        })
    }

    /// Waits until no other process refreshes. The caller sets the deadline.
    pub(crate) async fn enter(&self) -> std::io::Result<RefreshGuard<'_>> {
        loop {
            if let Some(guard) = self.try_enter()? {
                return Ok(guard);
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// The same without a runtime, for the moment before there are tables.
    pub(super) fn block(&self) -> std::io::Result<RefreshGuard<'_>> {
        loop {
            if let Some(guard) = self.try_enter()? {
                return Ok(guard);
            }
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    fn try_enter(&self) -> std::io::Result<Option<RefreshGuard<'_>>> {
        let mut holders = self.holders();
        if *holders == 0 {
            match self.file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(e)) => return Err(e),
            }
        }
        *holders += 1;
        Ok(Some(RefreshGuard { lock: self }))
    }

    fn holders(&self) -> MutexGuard<'_, usize> {
        self.holders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for RefreshGuard<'_> {
    fn drop(&mut self) {
        let mut holders = self.lock.holders();
        *holders -= 1;
        if *holders == 0
            && let Err(error) = self.lock.file.unlock()
        {
            tracing::warn!(%error, "the refresh lock could not be released");
        }
    }
}
