//! A rotation of the sealing key: every sealed value opened and sealed anew, in one transaction.

use super::{StoreError, key};
use crate::seal::{Key, Place, Ring};
use rusqlite::{Connection, TransactionBehavior};
use std::time::Duration;

/// Where sealed values are: the row's name within a seal as SQL, and the columns.
struct Sealed {
    table: &'static str,
    row: &'static str,
    columns: &'static [&'static str],
}

/// All of them but the key's own check; a test compares this with the tables.
const SEALED: &[Sealed] = &[
    Sealed {
        table: "token",
        row: "iif(subject = '', config, config || char(10) || subject)",
        columns: &["access_token", "refresh_token"],
    },
    Sealed {
        table: "former_refresh_token",
        row: "config",
        columns: &["refresh_token"],
    },
    Sealed {
        table: "token_config",
        row: "name",
        columns: &["client_secret", "private_key", "password"],
    },
    Sealed {
        table: "consent",
        row: "state",
        columns: &["verifier"],
    },
    Sealed {
        table: "device_consent",
        row: "config",
        columns: &["device_code", "user_code", "complete_uri"],
    },
    Sealed {
        table: "mailbox",
        row: "name",
        columns: &["password", "deliver_secret"],
    },
    Sealed {
        table: "relay",
        row: "name",
        columns: &["password"],
    },
    Sealed {
        table: "admin",
        row: "name",
        columns: &["totp"],
    },
];

/// A reader ends within milliseconds; the log is emptied at the next start at the latest.
const LOG_TRIES: u32 = 20;
const LOG_PAUSE: Duration = Duration::from_millis(10);

/// Seals everything with `next`; how many values there were. With an error nothing has changed.
pub(super) fn everything(
    connection: &mut Connection,
    ring: &Ring,
    next: Key,
) -> Result<usize, StoreError> {
    let before = ring.current();
    if before == next {
        return Err(StoreError::Invalid {
            name: "the new key".into(),
            why: "it is the present one".into(),
        });
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if !key::still_fits(&transaction, &before)? {
        return Err(StoreError::KeyChanged);
    }
    let mut count = 0;
    for sealed in SEALED {
        for column in sealed.columns {
            count += reseal(&transaction, &before, &next, sealed, column)?;
        }
    }
    key::turn(&transaction, &next, &ring.outer())?;
    ring.stage(&next);
    transaction.commit()?;
    ring.turn(next);
    empty_log(connection);
    Ok(count)
}

/// The new key is in place: takes the way from the one before to it out of the database.
pub(super) fn settle(connection: &Connection, ring: &Ring) -> Result<(), StoreError> {
    key::drop_bridge(connection)?;
    ring.in_place();
    empty_log(connection);
    Ok(())
}

fn reseal(
    connection: &Connection,
    before: &Key,
    next: &Key,
    sealed: &Sealed,
    column: &'static str,
) -> Result<usize, StoreError> {
    let Sealed { table, row, .. } = sealed;
    // The numbers first: a row that is changed while it is walked over might come twice.
    let numbers: Vec<i64> = connection
        .prepare(&format!(
            "SELECT rowid FROM {table} WHERE {column} IS NOT NULL"
        ))?
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let mut read = connection.prepare(&format!(
        "SELECT {row}, {column} FROM {table} WHERE rowid = ?1"
    ))?;
    let mut write = connection.prepare(&format!(
        "UPDATE {table} SET {column} = ?2 WHERE rowid = ?1"
    ))?;
    for number in &numbers {
        let (row, value): (String, Vec<u8>) =
            read.query_row([number], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let place = Place {
            table,
            row: &row,
            column,
        };
        let anew = before
            .open(&place, &value)
            .and_then(|secret| next.seal(&place, &secret))
            .map_err(|e| StoreError::sealed(format!("{column} of {table} {row}"), &e))?;
        write.execute((number, anew))?;
    }
    Ok(numbers.len())
}

/// The log still holds what the key before opens; best effort, since what counts is committed.
fn empty_log(connection: &Connection) {
    let truncate = || {
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| {
            row.get::<_, i64>(0)
        })
    };
    for _ in 0..LOG_TRIES {
        match truncate() {
            Ok(0) => return,
            Ok(_) => std::thread::sleep(LOG_PAUSE),
            Err(error) => {
                tracing::warn!(%error, "the database's log could not be emptied");
                return;
            }
        }
    }
    tracing::warn!("the database's log is in use; it is emptied at the next start");
}

#[cfg(test)]
mod tests;
