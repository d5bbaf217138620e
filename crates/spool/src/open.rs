//! Opening: modes, settings of a connection, migrations, and whether the file is ours and whole.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension};
use rusqlite_migration::{M, Migrations};

use crate::backup::{UPGRADE_KEPT, before_upgrade, forget_upgrades};
use crate::body::sync_folder;
use crate::error::{Result, SpoolError};

/// Numbered, append-only: a released one is never edited.
const STEPS: &[M<'_>] = &[
    M::up(include_str!("migrations/0001-spool.sql")),
    M::up(include_str!("migrations/0002-second.sql")),
    M::up(include_str!("migrations/0003-third.sql")),
];
pub(crate) const MIGRATIONS: Migrations<'_> = Migrations::from_slice(STEPS);

/// "PSTN", in the file's header: tells our database from another program's of the same name.
const APPLICATION_ID: i64 = 0x5053_544e;

/// For a command beside the daemon, or the daemon beside a command.
const BUSY: Duration = Duration::from_secs(5);

/// More than all statements of this crate.
const STATEMENTS: usize = 96;

/// Bytes of log that are kept as a file when it starts anew; writing over them is faster than
/// growing a file.
const LOG_KEPT: i64 = 64 * 1024 * 1024;

/// A connection with the settings that all of them share.
pub(crate) fn connect(database: &Path) -> Result<Connection> {
    let conn = Connection::open(database)?;
    conn.busy_timeout(BUSY)?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS);
    conn.pragma_update(None, "foreign_keys", true)?;
    conn.pragma_update(None, "synchronous", "FULL")?;
    conn.pragma_update(None, "temp_store", "MEMORY")?;
    // The housekeeper's work, beside the writing.
    conn.pragma_update(None, "wal_autocheckpoint", 0)?;
    conn.pragma_update(None, "journal_size_limit", LOG_KEPT)?;
    Ok(conn)
}

/// `dir/spool.db` and `dir/spool/`.
pub(crate) fn paths(dir: &Path) -> (PathBuf, PathBuf) {
    (dir.join("spool.db"), dir.join("spool"))
}

/// Makes what is missing, brings the tables up to date, and refuses what is not ours or damaged.
pub(crate) fn prepare(dir: &Path) -> Result<Connection> {
    let (database, folder) = paths(dir);
    private_folder(&folder)?;
    private_file(&database)?;
    sync_folder(dir)?;
    let mut conn = open_ours(&database)?;
    check_integrity(&conn, &database)?;
    forget_upgrades(&database, UPGRADE_KEPT)?;
    // rusqlite_migration says only in words which version it found, so ask first.
    if pending(&conn, &database)? > 0 {
        before_upgrade(&conn, &database)?;
        MIGRATIONS
            .to_latest(&mut conn)
            .map_err(|error| SpoolError::Unusable {
                file: database.clone(),
                why: format!("its tables could not be brought up to date: {error}"),
                advice: "nothing was changed; see that the disk has room, and start again"
                    .to_owned(),
            })?;
    }
    Ok(conn)
}

/// Opens what the daemon made, and changes nothing.
pub(crate) fn join(dir: &Path) -> Result<Connection> {
    let (database, _) = paths(dir);
    if !database.exists() {
        return Err(SpoolError::Unusable {
            file: database,
            why: "there is no spool yet".to_owned(),
            advice: "the daemon makes it at its first start; see that state_dir is the daemon's"
                .to_owned(),
        });
    }
    let conn = open_ours(&database)?;
    if pending(&conn, &database)? > 0 {
        return Err(SpoolError::Unusable {
            file: database,
            why: "it was made by an older Postern than this command".to_owned(),
            advice: "restart the daemon, which brings it up to date".to_owned(),
        });
    }
    Ok(conn)
}

/// SQLite's own check of the whole file.
pub(crate) fn check_integrity(conn: &Connection, database: &Path) -> Result<()> {
    let answer: String = conn
        .query_row("PRAGMA quick_check(1)", (), |row| row.get(0))
        .map_err(|error| unreadable(database, error))?;
    if answer == "ok" {
        return Ok(());
    }
    Err(damaged(database, answer))
}

fn open_ours(database: &Path) -> Result<Connection> {
    let conn = connect(database).map_err(|error| explain(database, error))?;
    let mode: String = conn
        .query_row("PRAGMA journal_mode = WAL", (), |row| row.get(0))
        .map_err(|error| unreadable(database, error))?;
    if mode != "wal" {
        return Err(SpoolError::Unusable {
            file: database.to_owned(),
            why: format!("this file system cannot keep a write-ahead log (SQLite chose {mode:?})"),
            advice: "put state_dir on a local disk".to_owned(),
        });
    }
    let id: i64 = conn.query_row("PRAGMA application_id", (), |row| row.get(0))?;
    let empty = conn
        .query_row("SELECT 1 FROM sqlite_schema LIMIT 1", (), |_| Ok(()))
        .optional()?
        .is_none();
    if empty {
        conn.pragma_update(None, "application_id", APPLICATION_ID)?;
    } else if id != APPLICATION_ID {
        return Err(SpoolError::Unusable {
            file: database.to_owned(),
            why: "this is another program's database".to_owned(),
            advice: "move it away, or give Postern a state_dir of its own".to_owned(),
        });
    }
    Ok(conn)
}

/// Migrations that the file lacks.
fn pending(conn: &Connection, database: &Path) -> Result<i32> {
    let pending = MIGRATIONS.pending_migrations(conn).unwrap_or(0);
    if pending < 0 {
        return Err(SpoolError::Unusable {
            file: database.to_owned(),
            why: "it was made by a newer Postern than this one".to_owned(),
            advice: "install that version again".to_owned(),
        });
    }
    Ok(pending)
}

fn explain(database: &Path, error: SpoolError) -> SpoolError {
    let SpoolError::Database { source } = error else {
        return error;
    };
    unreadable(
        database,
        std::sync::Arc::try_unwrap(source).unwrap_or(rusqlite::Error::InvalidQuery),
    )
}

fn unreadable(database: &Path, error: rusqlite::Error) -> SpoolError {
    use rusqlite::ErrorCode;
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => SpoolError::Unusable {
            file: database.to_owned(),
            why: "this is not a database".to_owned(),
            advice: "move it away: a new one is made at the next start".to_owned(),
        },
        Some(ErrorCode::DatabaseCorrupt) => damaged(database, error.to_string()),
        Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
            SpoolError::Unusable {
                file: database.to_owned(),
                why: error.to_string(),
                advice: "it and its folder must be writable for the daemon's user".to_owned(),
            }
        }
        _ => error.into(),
    }
}

fn damaged(database: &Path, what: String) -> SpoolError {
    SpoolError::Unusable {
        file: database.to_owned(),
        why: format!("the database is damaged ({what})"),
        advice: "copy it away together with its -wal file and the folder spool, then try \
                 `sqlite3 spool.db .recover` on the copy: replies that were accepted are only there. \
                 With a new file the mailboxes give again what was not acknowledged"
            .to_owned(),
    }
}

/// Mail is nobody else's to read: 0700, also when an earlier umask was generous.
fn private_folder(folder: &Path) -> Result<()> {
    match DirBuilder::new().mode(0o700).create(folder) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => tighten(folder, 0o700),
        Err(error) => Err(SpoolError::io("creating", folder, error)),
    }
}

/// 0600; SQLite gives its -wal and -shm the same.
fn private_file(file: &Path) -> Result<()> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(file)
        .map_err(|e| SpoolError::io("opening", file, e))?;
    tighten(file, 0o600)
}

fn tighten(path: &Path, mode: u32) -> Result<()> {
    let now = fs::metadata(path)
        .map_err(|e| SpoolError::io("looking at", path, e))?
        .permissions()
        .mode();
    if now & 0o777 & !mode == 0 {
        return Ok(());
    }
    fs::set_permissions(path, Permissions::from_mode(mode))
        .map_err(|e| SpoolError::io("changing the mode of", path, e))
}
