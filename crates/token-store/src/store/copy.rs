//! Copies of accounts.db: for a backup, and before its tables are changed by a new version.

use super::{Store, StoreError};
use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Between the database's name and the version whose tables a copy has.
const OF_VERSION: &str = ".version-";

impl Store {
    /// Copies the database as it is at this moment into a new file (0600); secrets stay sealed with the present key.
    ///
    /// # Errors
    /// When the file exists, or the disk refuses.
    pub async fn copy_to(&self, path: &Path) -> Result<(), StoreError> {
        let (source, target) = (self.inner.path.clone(), path.to_owned());
        let copied = tokio::task::spawn_blocking(move || copy_file(&source, &target));
        let copied = copied
            .await
            .map_err(|_| StoreError::Database("the copy panicked; see the log".to_owned()))?;
        copied.map_err(|error| StoreError::Database(format!("{}: {error}", path.display())))
    }
}

fn copy_file(source: &Path, target: &Path) -> Result<(), Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    copy(&Connection::open_with_flags(source, flags)?, target)
}

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    File(#[from] std::io::Error),
    #[error(transparent)]
    Database(#[from] rusqlite::Error),
    #[error("another process uses the database just now; try again")]
    Busy,
}

fn copy(source: &Connection, target: &Path) -> Result<(), Error> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(target)?;
    let mut target = Connection::open(target)?;
    // One step is one moment's state; the file is on disk when it is done.
    match Backup::new(source, &mut target)?.step(-1)? {
        StepResult::Done => Ok(()),
        _ => Err(Error::Busy),
    }
}

/// Copies a database whose tables are about to be changed; a copy that an earlier try left is replaced.
pub(super) fn before_upgrade(
    path: &Path,
    version: i64,
    connection: &Connection,
) -> Result<(), Error> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!("{OF_VERSION}{version}"));
    let target = PathBuf::from(name);
    match std::fs::remove_file(&target) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    copy(connection, &target)
}

/// Removes the copies that upgrades have left: a former key must open nothing.
pub(super) fn forget_upgrades(path: &Path) -> std::io::Result<()> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Ok(());
    };
    let mut prefix = name.to_owned();
    prefix.push(OF_VERSION);
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if name
            .as_encoded_bytes()
            .starts_with(prefix.as_encoded_bytes())
        {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
