//! accounts.db: one writer thread, one reading connection, and the rows between them and the rest of this crate.

mod changes;
mod copy;
mod key;
mod open;
mod refresh_lock;
mod reseal;
mod rows;
mod schema;
mod writer;

pub(crate) use changes::{Change, Changes, Waiting};
pub(crate) use refresh_lock::{RefreshGuard, RefreshLock};
pub(crate) use rows::{Account, Beside, Device, DeviceEnd, Plan, Rows, UnderWay, unknown};

use crate::admins::Attempts;
use crate::clock::Clock;
use crate::seal::{Key, Ring, SealError};
use crate::submitters::Submitters;
use rusqlite::Connection;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit};
use writer::Writer;

/// accounts.db. Clone is cheap. Reads take microseconds and are sync; writes go through one writer thread and return
/// after their commit.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    path: PathBuf,
    writer: Writer,
    reader: Mutex<Connection>,
    ring: Arc<Ring>,
    clock: Clock,
    changes: Arc<Changes>,
    attempts: Mutex<Attempts>,
    /// A password hash takes 19 MiB for its time; one at a time keeps the daemon small.
    hashing: Semaphore,
    submitters: Submitters,
    refresh_lock: RefreshLock,
}

/// Why the store could not do it, split by what the caller does next. Nothing was changed in any case.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The file can't be used at all: the start stops here.
    #[error("{path}: {why}", path = .path.display())]
    Unusable {
        /// The database.
        path: PathBuf,
        /// What is wrong and what to do.
        why: String,
    },
    /// The key is not the one the file was sealed with.
    #[error("{path} was sealed with another key; start with the key it was made with, or restore both from one backup", path = .path.display())]
    WrongKey {
        /// The database.
        path: PathBuf,
    },
    /// Another process has sealed the file with another key since it was opened.
    #[error("accounts.db was sealed with a new key meanwhile; do it again")]
    KeyChanged,
    /// No row of that name.
    #[error("there is no {what} named {name}")]
    Unknown {
        /// `token config`, `mailbox`, ...
        what: &'static str,
        /// The name asked for.
        name: String,
    },
    /// The name is in use by a row of another origin.
    #[error(
        "the {what} {name} exists already, {origin}; choose another name, or remove that one first"
    )]
    NameTaken {
        /// `token config`, `mailbox`, `relay`.
        what: &'static str,
        /// The name.
        name: String,
        /// Who made the other one, in words.
        origin: String,
    },
    /// Something else needs the row.
    #[error("the {what} {name} is used by {by}; change or delete those first", by = .by.join(", "))]
    InUse {
        /// `token config`, `mailbox`.
        what: &'static str,
        /// Its name.
        name: String,
        /// `mailbox support`, `relay support`.
        by: Vec<String>,
    },
    /// A file declares the row, so only the file can change it.
    #[error("{name} is declared in {file}; change it there")]
    DeclaredIn {
        /// The row.
        name: String,
        /// The file.
        file: String,
    },
    /// Somebody else has changed the row since the caller looked at it.
    #[error(
        "the {what} {name} was changed by somebody else meanwhile; look at it again, and change it then"
    )]
    Meanwhile {
        /// `mailbox`, `relay`.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// What was given can't be stored.
    #[error("{name}: {why}")]
    Invalid {
        /// What it is about.
        name: String,
        /// What is wrong.
        why: String,
    },
    /// Too many wrong passwords for this name.
    #[error("too many failed sign-ins; try again in {} seconds", .after.as_secs().max(1))]
    Patience {
        /// How long to wait.
        after: Duration,
    },
    /// The disk or the database failed; the same call may work later.
    #[error("accounts.db: {0}")]
    Database(String),
    /// One stored value can't be unsealed.
    #[error(
        "accounts.db: {what} can't be unsealed: {why}; restore it from a backup, or enter it again"
    )]
    Sealed {
        /// Which value.
        what: String,
        /// Why.
        why: String,
    },
}

impl Store {
    /// Opens accounts.db, or makes it (0600) when there is none.
    ///
    /// # Errors
    /// When the file is torn, not ours, from a newer version, or sealed with another key: it is left as it is.
    pub fn open(path: &Path, key: Key) -> Result<Self, StoreError> {
        Self::open_at(path, key, Clock::system())
    }

    /// The same, by a clock of the caller's.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_at(path: &Path, key: Key, clock: Clock) -> Result<Self, StoreError> {
        let opened = open::open(path, &key)?;
        let (ring, changes) = (Arc::new(opened.ring), Arc::<Changes>::default());
        let writer = Writer::start(opened.writer, ring.clone(), changes.clone())
            .map_err(|e| StoreError::Database(format!("the writer thread could not start: {e}")))?;
        let inner = Inner {
            path: path.to_owned(),
            writer,
            reader: Mutex::new(opened.reader),
            ring,
            clock,
            changes,
            attempts: Mutex::default(),
            hashing: Semaphore::new(1),
            submitters: Submitters::new().map_err(|e| StoreError::sealed("a random key", &e))?,
            refresh_lock: opened.refresh_lock,
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Reads; sees every commit that was answered before.
    pub(crate) fn read<T>(
        &self,
        work: impl FnOnce(&Rows<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let reader = self
            .inner
            .reader
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        // One snapshot for all statements of this read.
        let transaction = reader.unchecked_transaction()?;
        work(&Rows::new(&transaction, &self.inner.ring))
    }

    /// Writes; all of `work` or nothing, on disk when this returns `Ok`.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Rows<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.inner.writer.write(work).await
    }

    /// Whether a key fits the file, without changing a byte; one that does not exist fits every key.
    ///
    /// # Errors
    /// [`StoreError::WrongKey`].
    pub fn try_key(path: &Path, key: &Key) -> Result<(), StoreError> {
        key::peek(path, key)
    }

    /// Seals every secret with a new key, in one transaction; how many there were. Until [`Store::key_is_in_place`] the
    /// key before opens the database too, so that nothing is lost wherever this is interrupted.
    ///
    /// # Errors
    /// When one of them can't be opened, or the disk refuses: then nothing has changed.
    pub async fn rotate_key(&self, new: Key) -> Result<usize, StoreError> {
        self.inner.writer.reseal(new).await
    }

    /// The key that seals, when it is another one than the store was opened with: it has to be put in place.
    #[must_use]
    pub fn misplaced_key(&self) -> Option<Key> {
        let ring = &self.inner.ring;
        ring.is_bridged().then(|| ring.current())
    }

    /// The key that seals is where the next start looks for it: the one before opens nothing any more. True when that
    /// was news.
    ///
    /// # Errors
    /// When it can't be written down.
    pub async fn key_is_in_place(&self) -> Result<bool, StoreError> {
        if !self.read(|rows| key::has_bridge(rows.connection))? {
            return Ok(false);
        }
        copy::forget_upgrades(&self.inner.path)
            .map_err(|e| StoreError::Database(format!("a copy that an upgrade left: {e}")))?;
        self.inner.writer.key_is_in_place().await?;
        Ok(true)
    }

    /// Where the time is read.
    pub(crate) fn clock(&self) -> &Clock {
        &self.inner.clock
    }

    /// What changed, for the scheduler.
    pub(crate) fn changes(&self) -> &Changes {
        &self.inner.changes
    }

    pub(crate) fn attempts(&self) -> std::sync::MutexGuard<'_, Attempts> {
        self.inner
            .attempts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) async fn hashing_turn(&self) -> Result<SemaphorePermit<'_>, StoreError> {
        self.inner
            .hashing
            .acquire()
            .await
            .map_err(|e| StoreError::Database(e.to_string()))
    }

    pub(crate) fn submitters(&self) -> &Submitters {
        &self.inner.submitters
    }

    pub(crate) fn refresh_lock(&self) -> &RefreshLock {
        &self.inner.refresh_lock
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error.to_string())
    }
}

impl StoreError {
    pub(crate) fn sealed(what: impl Into<String>, error: &SealError) -> Self {
        Self::Sealed {
            what: what.into(),
            why: error.to_string(),
        }
    }
}
