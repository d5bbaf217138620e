//! The state directory, the sealing key and accounts.db, for the daemon and for commands beside it.

use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::PathBuf;

use token_store::seal::KeyError;
use token_store::{Store, StoreError};

use super::lock::LockError;
use crate::config::Config;

/// Tokens and the sealing key live there.
pub(super) const DATABASE: &str = "accounts.db";

/// Why the state could not be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error("the state directory {} cannot be made: {source}", path.display())]
    StateDir {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Makes the state directory, for its owner alone, where it doesn't exist.
pub(crate) fn state_dir(config: &Config) -> Result<(), OpenError> {
    let made = std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&config.state_dir);
    made.map_err(|source| OpenError::StateDir {
        path: config.state_dir.clone(),
        source,
    })
}

/// Whether anything is kept in the state directory yet.
pub(crate) fn has_state(config: &Config) -> bool {
    config.state_dir.join(DATABASE).exists()
}

/// Opens accounts.db.
pub(crate) fn store(config: &Config) -> Result<Store, OpenError> {
    let key = super::key::key(config)?;
    Ok(Store::open(&config.state_dir.join(DATABASE), key)?)
}

/// What a command may make in the state directory.
const OURS: [&str; 10] = [
    "accounts.db",
    "accounts.db-wal",
    "accounts.db-shm",
    "accounts.db-refresh.lock",
    "spool.db",
    "spool.db-wal",
    "spool.db-shm",
    "spool",
    "postern.key",
    "postern.lock",
];

/// Gives what a command typed by root has made in the state directory to that directory's owner, the daemon's user,
/// who could not open it otherwise. Nothing but files of ours with one name: that user may have put links there.
pub(crate) fn give_to_owner(config: &Config) -> std::io::Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let owner = std::fs::metadata(&config.state_dir)?;
    for path in OURS.map(|name| config.state_dir.join(name)) {
        let Ok(meta) = std::fs::symlink_metadata(&path) else {
            continue;
        };
        let plain = meta.is_dir() || (meta.is_file() && meta.nlink() == 1);
        if plain && meta.uid() != owner.uid() && meta.uid() == 0 {
            std::os::unix::fs::lchown(&path, Some(owner.uid()), Some(owner.gid()))?;
        }
    }
    Ok(())
}
