//! What the writer need not wait for: removing files that no row names, and checkpoints.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use rusqlite::Connection;

use crate::error::{Result, SpoolError};

/// Jobs between checkpoints: about 8 MiB of write-ahead log at the two pages that a small message
/// touches. Larger makes every page's copy into the database rarer, but reading slower.
const CHECKPOINT_EVERY: usize = 1_000;

/// Pages of write-ahead log (4 KiB each, 64 MiB) at which the writer waits for a checkpoint, since
/// only a pause in the writing lets the log start anew.
const LONG_LOG: i64 = 16_384;

/// Errands that may wait; beyond that the writer runs them itself.
const QUEUE: usize = 256;

enum Errand {
    Remove(String),
    Checkpoint,
}

/// The writer's end.
pub(crate) struct Housekeeper {
    errands: Option<SyncSender<Errand>>,
    thread: Option<JoinHandle<()>>,
    folder: Arc<Path>,
    database: PathBuf,
    jobs: usize,
    behind: Arc<AtomicBool>,
}

impl Housekeeper {
    /// Starts the thread, with a connection of its own.
    pub(crate) fn start(conn: Connection, database: PathBuf, folder: Arc<Path>) -> Result<Self> {
        let (errands, inbox) = sync_channel(QUEUE);
        let behind = Arc::new(AtomicBool::new(false));
        let thread = {
            let (folder, behind) = (Arc::clone(&folder), Arc::clone(&behind));
            std::thread::Builder::new()
                .name("spool-keeper".to_owned())
                .spawn(move || run(&inbox, &conn, &folder, &behind))
                .map_err(|e| SpoolError::io("starting the housekeeper of", &database, e))?
        };
        Ok(Self {
            errands: Some(errands),
            thread: Some(thread),
            folder,
            database,
            jobs: 0,
            behind,
        })
    }

    /// After a commit: files to remove, and perhaps a checkpoint.
    pub(crate) fn committed(&mut self, jobs: usize, files: Vec<String>) {
        for file in files {
            self.send(Errand::Remove(file));
        }
        self.jobs += jobs;
        if self.jobs >= CHECKPOINT_EVERY {
            self.jobs = 0;
            self.send(Errand::Checkpoint);
        }
    }

    /// Whether the log grew faster than it could be checkpointed beside the writing.
    pub(crate) fn behind(&self) -> bool {
        self.behind.swap(false, Ordering::Relaxed)
    }

    /// Returns when every errand is run.
    pub(crate) fn finish(&mut self) {
        self.errands = None;
        if self.thread.take().is_some_and(|t| t.join().is_err()) {
            tracing::error!(database = %self.database.display(), "the spool's housekeeper ended with a panic");
        }
    }

    fn send(&self, errand: Errand) {
        let Some(errands) = &self.errands else { return };
        if let Err(refused) = errands.try_send(errand) {
            use std::sync::mpsc::TrySendError::{Disconnected, Full};
            let (Full(errand) | Disconnected(errand)) = refused;
            if let Errand::Remove(file) = errand {
                remove(&self.folder, &file);
            }
        }
    }
}

fn run(inbox: &Receiver<Errand>, conn: &Connection, folder: &Path, behind: &AtomicBool) {
    while let Ok(errand) = inbox.recv() {
        match errand {
            Errand::Remove(file) => remove(folder, &file),
            Errand::Checkpoint => match checkpoint(conn) {
                Ok(pages) if pages > LONG_LOG => behind.store(true, Ordering::Relaxed),
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, "the spool could not be checkpointed"),
            },
        }
    }
}

/// Copies the log into the database as far as no reader is in the way; returns the log's pages.
pub(crate) fn checkpoint(conn: &Connection) -> Result<i64> {
    let pages = conn.query_row("PRAGMA wal_checkpoint(PASSIVE)", (), |row| row.get(1))?;
    Ok(pages)
}

/// Removes a body's file; one that is gone is fine.
pub(crate) fn remove(folder: &Path, file: &str) {
    let path = folder.join(file);
    match std::fs::remove_file(&path) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        // An orphan now; swept at the next start.
        Err(error) => tracing::warn!(file = %path.display(), %error, "could not remove a body"),
    }
}
