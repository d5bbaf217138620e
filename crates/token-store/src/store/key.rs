//! Which key opens accounts.db.
//!
//! `key_check` is a known text under the current key. After a rotation, until the new key is where the administrator
//! keeps it, `key_bridge` is that key under the one before: so the key that is in place opens the database at every
//! moment, and what a kill leaves behind is finished at the next start.

use super::StoreError;
use super::open::{unreadable, unusable};
use crate::Secret;
use crate::seal::{Key, Place, Ring, SealError};
use rusqlite::{Connection, OpenFlags, OptionalExtension};
use std::path::{Path, PathBuf};

const CHECK: &str = "key_check";
const CHECK_TEXT: &str = "this is Postern's accounts.db";
const BRIDGE: &str = "key_bridge";

const CHECK_PLACE: Place<'static> = Place {
    table: "meta",
    row: CHECK,
    column: "value",
};
const BRIDGE_PLACE: Place<'static> = Place {
    row: BRIDGE,
    ..CHECK_PLACE
};

/// The keys of a database that this key opens, itself or by the bridge; `None` when nothing was sealed yet: killed
/// between making the tables and writing the check.
pub(super) fn fitting(
    path: &Path,
    connection: &Connection,
    key: &Key,
) -> Result<Option<Ring>, StoreError> {
    let Some(check) = value(path, connection, CHECK)? else {
        return Ok(None);
    };
    let damaged = || {
        unusable(
            path,
            "its key check is damaged; restore it from a backup".into(),
        )
    };
    if key.sealed(&check) {
        let text = key.open(&CHECK_PLACE, &check).map_err(|_| damaged())?;
        return match text.expose() == CHECK_TEXT {
            true => Ok(Some(Ring::new(key.clone(), None))),
            false => Err(damaged()),
        };
    }
    let wrong = || StoreError::WrongKey {
        path: path.to_owned(),
    };
    let bridge = value(path, connection, BRIDGE)?.filter(|bridge| key.sealed(bridge));
    let bridge = bridge.ok_or_else(wrong)?;
    let current = key
        .open(&BRIDGE_PLACE, &bridge)
        .ok()
        .and_then(|text| Key::from_text(&text))
        .filter(|current| current.open(&CHECK_PLACE, &check).is_ok())
        .ok_or_else(damaged)?;
    Ok(Some(Ring::new(current, Some(key.clone()))))
}

/// Writes the check of a new database. Another process may be quicker: what is there then counts.
pub(super) fn write_check(
    path: &Path,
    connection: &Connection,
    key: &Key,
) -> Result<Ring, StoreError> {
    put_check(connection, key, "INSERT OR IGNORE")?;
    // Into the file itself, where a later start with another key finds it without touching anything.
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    let missing = || unusable(path, "its key check could not be written".into());
    fitting(path, connection, key)?.ok_or_else(missing)
}

fn put_check(connection: &Connection, key: &Key, insert: &str) -> Result<(), StoreError> {
    let sealed = key.seal(&CHECK_PLACE, &Secret::new(CHECK_TEXT));
    put(connection, insert, CHECK, sealed)
}

fn put(
    connection: &Connection,
    insert: &str,
    name: &str,
    sealed: Result<Vec<u8>, SealError>,
) -> Result<(), StoreError> {
    let sealed = sealed.map_err(|e| StoreError::sealed(name, &e))?;
    let statement = format!("{insert} INTO meta (name, value) VALUES (?1, ?2)");
    connection.execute(&statement, (name, sealed))?;
    Ok(())
}

/// Inside the transaction of a rotation: `next` is the key, and who has `outer` finds it.
pub(super) fn turn(connection: &Connection, next: &Key, outer: &Key) -> Result<(), StoreError> {
    put_check(connection, next, "INSERT OR REPLACE")?;
    if outer == next {
        return drop_bridge(connection);
    }
    let bridge = outer.seal(&BRIDGE_PLACE, &next.text());
    put(connection, "INSERT OR REPLACE", BRIDGE, bridge)
}

/// The new key is in place: the one before opens nothing any more.
pub(super) fn drop_bridge(connection: &Connection) -> Result<(), StoreError> {
    connection.execute("DELETE FROM meta WHERE name = ?1", [BRIDGE])?;
    Ok(())
}

/// Whether a key before the current one still opens the database.
pub(super) fn has_bridge(connection: &Connection) -> Result<bool, StoreError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM meta WHERE name = ?1)";
    Ok(connection.query_row(sql, [BRIDGE], |row| row.get(0))?)
}

/// Whether this key still is the current one: another process may have rotated it.
pub(super) fn still_fits(connection: &Connection, key: &Key) -> Result<bool, StoreError> {
    let mut statement = connection.prepare_cached("SELECT value FROM meta WHERE name = ?1")?;
    let check: Vec<u8> = statement.query_row([CHECK], |row| row.get(0))?;
    Ok(key.sealed(&check))
}

/// Refuses a key that does not fit, before anything is written: not one byte of the file or beside it changes. Where that
/// can't be told without a write, it is left to the opening.
pub(super) fn peek(path: &Path, key: &Key) -> Result<(), StoreError> {
    if !path.exists() {
        return Ok(());
    }
    // The file as it is, its write-ahead log left out.
    match looked(path, key, "immutable=1") {
        Some(true) => return Ok(()),
        Some(false) if !has_log(path) => {}
        None if !has_log(path) => return Ok(()),
        // The log of a killed process may hold a newer check. Its index is only read, and so is the log.
        _ if looked(path, key, "mode=ro&readonly_shm=1") != Some(false) => return Ok(()),
        _ => {}
    }
    Err(StoreError::WrongKey {
        path: path.to_owned(),
    })
}

/// Whether a key fits what a look of this kind shows; `None` when it shows nothing.
fn looked(path: &Path, key: &Key, how: &str) -> Option<bool> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_URI
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let uri = format!("file:{}?{how}", escaped(path)?);
    let connection = Connection::open_with_flags(uri, flags).ok()?;
    match fitting(path, &connection, key) {
        Ok(Some(_)) => Some(true),
        Err(StoreError::WrongKey { .. }) => Some(false),
        Ok(None) | Err(_) => None,
    }
}

/// A path as SQLite's URIs take it.
fn escaped(path: &Path) -> Option<String> {
    use std::fmt::Write as _;
    let mut out = String::new();
    for byte in path.to_str()?.bytes() {
        if byte.is_ascii_alphanumeric() || b"/._-".contains(&byte) {
            out.push(char::from(byte));
        } else {
            write!(out, "%{byte:02X}").ok()?;
        }
    }
    Some(out)
}

fn has_log(path: &Path) -> bool {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    std::fs::metadata(PathBuf::from(log)).is_ok_and(|meta| meta.len() > 0)
}

fn value(path: &Path, connection: &Connection, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
    let found = connection
        .query_row("SELECT value FROM meta WHERE name = ?1", [name], |row| {
            row.get(0)
        })
        .optional();
    found.map_err(|e| unreadable(path, &e))
}
