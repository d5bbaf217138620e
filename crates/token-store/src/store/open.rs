//! Opening accounts.db: made privately when there is none, and otherwise checked before anything is written.

use super::refresh_lock::RefreshLock;
use super::rows::fill_endpoints;
use super::schema::{APPLICATION_ID, latest, migrations};
use super::{StoreError, copy, key};
use crate::seal::{Key, Ring, sync_folder};
use rusqlite::{Connection, ErrorCode, OpenFlags};
use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

/// Another process (the command line) commits within milliseconds; what takes this long is stuck.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

pub(super) struct Opened {
    pub(super) ring: Ring,
    pub(super) writer: Connection,
    pub(super) reader: Connection,
    pub(super) refresh_lock: RefreshLock,
}

pub(super) fn open(path: &Path, key: &Key) -> Result<Opened, StoreError> {
    key::peek(path, key)?;
    create_privately(path)?;
    let mut writer = connect(path)?;
    let version = inspect(path, &writer, key)?;
    let refresh_lock =
        RefreshLock::open(path).map_err(|e| unusable(path, format!("its lock file: {e}")))?;
    prepare(path, &writer)?;
    if version < latest() {
        // Two processes at the first start: one makes the tables, the other finds them.
        let _alone = refresh_lock
            .block()
            .map_err(|e| unusable(path, format!("its lock file: {e}")))?;
        migrate(path, &mut writer)?;
    }
    let ring = match key::fitting(path, &writer, key)? {
        Some(ring) => ring,
        None => key::write_check(path, &writer, key)?,
    };
    let reader = connect(path)?;
    prepare(path, &reader)?;
    reader.pragma_update(None, "query_only", true)?;
    Ok(Opened {
        ring,
        writer,
        reader,
        refresh_lock,
    })
}

/// SQLite would make the file with the umask's permissions; its -wal and -shm follow the file's.
fn create_privately(path: &Path) -> Result<(), StoreError> {
    match OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
    {
        Ok(_) => sync_folder(path).map_err(|e| unusable(path, format!("its folder: {e}"))),
        Err(e) if e.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(e) => Err(unusable(path, format!("it can't be made: {e}"))),
    }
}

fn connect(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection =
        Connection::open_with_flags(path, flags).map_err(|e| unusable(path, e.to_string()))?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    Ok(connection)
}

/// Reads only: whose file it is, which version, whether it is whole, and whether the key fits.
fn inspect(path: &Path, connection: &Connection, key: &Key) -> Result<i64, StoreError> {
    let number = |pragma: &str| {
        connection
            .pragma_query_value(None, pragma, |row| row.get::<_, i64>(0))
            .map_err(|e| unreadable(path, &e))
    };
    // One snapshot for all three: another process may be making the tables at this moment.
    let snapshot = connection
        .unchecked_transaction()
        .map_err(|e| unreadable(path, &e))?;
    let tables: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(|e| unreadable(path, &e))?;
    let version = number("user_version")?;
    let application = number("application_id")?;
    drop(snapshot);
    if application != i64::from(APPLICATION_ID) && (application, version, tables) != (0, 0, 0) {
        return Err(unusable(
            path,
            "it is another program's database; nothing was changed".into(),
        ));
    }
    if version > latest() {
        return Err(unusable(
            path,
            format!(
                "it was written by a newer Postern (its version is {version}, this one knows {})",
                latest()
            ),
        ));
    }
    if version == 0 {
        return Ok(0);
    }
    key::fitting(path, connection, key)?;
    let verdict: String = connection
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(|e| unreadable(path, &e))?;
    if verdict != "ok" {
        return Err(unusable(
            path,
            format!("it is damaged ({verdict}); restore it from a backup; nothing was changed"),
        ));
    }
    Ok(version)
}

fn prepare(path: &Path, connection: &Connection) -> Result<(), StoreError> {
    let set = || -> rusqlite::Result<()> {
        // Set before the journal changes to WAL, so that it is in the file's own header from the start.
        let marked: i64 =
            connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
        if marked == 0 {
            connection.pragma_update(None, "application_id", APPLICATION_ID)?;
        }
        connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
        connection.pragma_update(None, "synchronous", "full")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        connection.pragma_update_and_check(None, "secure_delete", true, |_| Ok(()))?;
        Ok(())
    };
    set().map_err(|e| unreadable(path, &e))
}

/// All of the new tables, or nothing; the database as it was is kept beside. Foreign keys are off meanwhile: a table that is made anew is dropped first.
fn migrate(path: &Path, writer: &mut Connection) -> Result<(), StoreError> {
    let made = |e: &dyn std::fmt::Display| {
        unusable(
            path,
            format!("its tables could not be made: {e}; nothing was changed"),
        )
    };
    // Read again: another process may have been faster.
    let version: i64 = writer.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if (1..latest()).contains(&version) {
        copy::before_upgrade(path, version, writer).map_err(|e| {
            unusable(
                path,
                format!("it could not be copied before its upgrade: {e}; nothing was changed"),
            )
        })?;
    }
    writer.pragma_update(None, "foreign_keys", false)?;
    migrations().to_latest(writer).map_err(|e| made(&e))?;
    writer.pragma_update(None, "foreign_keys", true)?;
    // A killed upgrade is mended at the next change of a config, and until then its tokens wait in one queue.
    fill_endpoints(writer)
}

pub(super) fn unreadable(path: &Path, error: &rusqlite::Error) -> StoreError {
    let why = match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => "it is not a SQLite database; nothing was changed".into(),
        Some(ErrorCode::DatabaseCorrupt) => {
            "it is damaged; restore it from a backup; nothing was changed".into()
        }
        _ => error.to_string(),
    };
    unusable(path, why)
}

pub(super) fn unusable(path: &Path, why: String) -> StoreError {
    StoreError::Unusable {
        path: path.to_owned(),
        why,
    }
}
