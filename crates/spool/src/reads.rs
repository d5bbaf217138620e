//! Connections that only read; a reader sees what was committed when it begins and blocks nobody.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rusqlite::Connection;

use crate::error::Result;
use crate::open::connect;

/// Idle connections that are kept. Reads take microseconds: more at once are rare, and get a
/// connection for the occasion.
const KEEP: usize = 4;

pub(crate) struct Readers {
    database: PathBuf,
    idle: Mutex<Vec<Connection>>,
}

impl Readers {
    pub(crate) fn new(database: PathBuf) -> Self {
        Self {
            database,
            idle: Mutex::default(),
        }
    }

    /// The file that is read.
    pub(crate) fn database(&self) -> &Path {
        &self.database
    }

    /// Runs `read` on a connection of its own, in one transaction, so that all of it sees the same state.
    pub(crate) fn with<T>(&self, read: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        let idle = self.lock().pop();
        let conn = match idle {
            Some(conn) => conn,
            None => {
                let conn = connect(&self.database)?;
                conn.pragma_update(None, "query_only", true)?;
                conn
            }
        };
        let transaction = conn.unchecked_transaction()?;
        let result = read(&transaction);
        drop(transaction);
        let mut idle = self.lock();
        if idle.len() < KEEP {
            idle.push(conn);
        }
        result
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
