//! A rotation seals everything, at one moment; the key in place opens the database at every moment.

use super::*;
use crate::store::open::open;
use crate::{Secret, Store};
use std::collections::BTreeSet;
use std::path::Path;

fn key(n: u8) -> Key {
    Key::from_bytes([n; 32])
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// Puts a sealed value into every place there is, past all constraints.
fn plant(path: &Path, key: &Key) -> usize {
    let connection = Connection::open(path).unwrap();
    connection
        .execute_batch(
            "PRAGMA foreign_keys = off; PRAGMA ignore_check_constraints = on;
             INSERT INTO token (config, version, generation, state) VALUES ('c', 1, 0, 'ready');
             INSERT INTO token (config, subject, version, generation, state) VALUES ('c', 'anna', 1, 0, 'ready');
             INSERT INTO former_refresh_token (config, fingerprint, refresh_token, kept_at, why) VALUES ('c', '', x'', 0, '');
             INSERT INTO token_config (name, valid, flow, fingerprint, entry, client_secret)
                VALUES ('c', 1, 'authorization_code', '', '', x'');
             INSERT INTO consent (state, session, config, fingerprint, redirect_uri, verifier, expires_at)
                VALUES ('s', '', 'c', '', '', x'', 0);
             INSERT INTO device_consent (config, fingerprint, device_code, user_code, verification_uri, pause, next_at,
                expires_at, state) VALUES ('c', '', x'', x'', '', 0, 0, 0, 'waiting');
             INSERT INTO mailbox (name, definition) VALUES ('m', '{}');
             INSERT INTO relay (name, definition) VALUES ('r', '{}');",
        )
        .unwrap();
    let mut count = 0;
    for (sealed, column) in places() {
        let Sealed { table, row, .. } = sealed;
        let rows: Vec<(i64, String)> = connection
            .prepare(&format!("SELECT rowid, {row} FROM {table}"))
            .unwrap()
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        for (number, row) in rows {
            let place = Place {
                table,
                row: &row,
                column,
            };
            let value = key.seal(&place, &Secret::new(&row)).unwrap();
            connection
                .execute(
                    &format!("UPDATE {table} SET {column} = ?2 WHERE rowid = ?1"),
                    (number, value),
                )
                .unwrap();
            count += 1;
        }
    }
    count
}

fn places() -> impl Iterator<Item = (&'static Sealed, &'static str)> {
    SEALED
        .iter()
        .flat_map(|sealed| sealed.columns.iter().map(move |column| (sealed, *column)))
}

/// How many of the planted values a key opens.
fn opened(path: &Path, key: &Key) -> usize {
    let connection = Connection::open(path).unwrap();
    let mut count = 0;
    for (sealed, column) in places() {
        let Sealed { table, row, .. } = sealed;
        let mut read = connection
            .prepare(&format!("SELECT {row}, {column} FROM {table}"))
            .unwrap();
        let rows = read
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap();
        for (row, value) in rows.map(Result::<(String, Vec<u8>), _>::unwrap) {
            let place = Place {
                table,
                row: &row,
                column,
            };
            count += usize::from(key.open(&place, &value).is_ok_and(|s| s.expose() == row));
        }
    }
    count
}

#[test]
fn every_column_that_may_hold_a_sealed_value_is_known() {
    let folder = folder();
    let path = folder.path().join("accounts.db");
    drop(open(&path, &key(1)).unwrap());
    let connection = Connection::open(&path).unwrap();
    let columns: BTreeSet<(String, String)> = connection
        .prepare(
            "SELECT t.name, c.name FROM sqlite_schema t JOIN pragma_table_info(t.name) c
             WHERE t.type = 'table' AND c.type = 'BLOB' AND t.name <> 'meta'",
        )
        .unwrap()
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let known = places().map(|(s, column)| (s.table.to_owned(), column.to_owned()));
    assert_eq!(columns, known.collect());
}

#[tokio::test]
async fn a_rotation_seals_every_value_and_the_key_in_place_opens_the_database_until_the_new_one_is()
{
    let folder = folder();
    let path = folder.path().join("accounts.db");
    let store = Store::open(&path, key(1)).unwrap();
    let planted = plant(&path, &key(1));
    assert_eq!(store.rotate_key(key(2)).await.unwrap(), planted);
    assert_eq!(
        (opened(&path, &key(1)), opened(&path, &key(2))),
        (0, planted)
    );
    assert_eq!(store.misplaced_key(), Some(key(2)));
    // Killed here: what is in place is still the key before.
    for k in [1, 2] {
        let again = Store::open(&path, key(k)).unwrap();
        assert_eq!(again.misplaced_key(), (k == 1).then(|| key(2)), "key {k}");
    }
    // A second rotation before the first was finished: the key in place is still the first.
    assert_eq!(store.rotate_key(key(3)).await.unwrap(), planted);
    assert!(Store::open(&path, key(1)).is_ok() && Store::open(&path, key(3)).is_ok());
    assert!(matches!(
        Store::open(&path, key(2)),
        Err(StoreError::WrongKey { .. })
    ));
    assert!(store.key_is_in_place().await.unwrap());
    assert!(!store.key_is_in_place().await.unwrap(), "told once");
    assert_eq!(store.misplaced_key(), None);
    assert!(matches!(
        Store::open(&path, key(1)),
        Err(StoreError::WrongKey { .. })
    ));
    assert_eq!(opened(&path, &key(3)), planted);
    let same = store.rotate_key(key(3)).await.unwrap_err();
    assert!(same.to_string().contains("present one"), "{same}");
}

#[tokio::test]
async fn a_rotation_back_to_the_key_in_place_needs_no_bridge() {
    let folder = folder();
    let path = folder.path().join("accounts.db");
    let store = Store::open(&path, key(1)).unwrap();
    store.rotate_key(key(2)).await.unwrap();
    store.rotate_key(key(1)).await.unwrap();
    assert_eq!(store.misplaced_key(), None);
    assert!(Store::open(&path, key(2)).is_err() && Store::open(&path, key(1)).is_ok());
}

#[tokio::test]
async fn nothing_the_key_before_could_open_is_left_in_any_file() {
    let folder = folder();
    let path = folder.path().join("accounts.db");
    let store = Store::open(&path, key(1)).unwrap();
    plant(&path, &key(1));
    store.rotate_key(key(2)).await.unwrap();
    store.key_is_in_place().await.unwrap();
    // A sealed value begins with its format and the key's id.
    let place = Place {
        table: "x",
        row: "",
        column: "x",
    };
    let header = key(1).seal(&place, &Secret::new("x")).unwrap()[..9].to_vec();
    for file in std::fs::read_dir(folder.path()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        assert!(!bytes.windows(9).any(|w| w == header));
    }
}

#[tokio::test]
async fn a_value_that_does_not_open_stops_the_rotation_and_nothing_has_changed() {
    let folder = folder();
    let path = folder.path().join("accounts.db");
    let store = Store::open(&path, key(1)).unwrap();
    let planted = plant(&path, &key(1));
    let meddler = Connection::open(&path).unwrap();
    let kept: Vec<u8> = meddler
        .query_row("SELECT password FROM relay", [], |row| row.get(0))
        .unwrap();
    meddler
        .execute("UPDATE relay SET password = x'00'", [])
        .unwrap();
    let error = store.rotate_key(key(2)).await.unwrap_err().to_string();
    assert!(error.contains("password of relay r"), "{error}");
    assert_eq!(opened(&path, &key(1)), planted - 1);
    meddler
        .execute("UPDATE relay SET password = ?1", [kept])
        .unwrap();
    store.rotate_key(key(2)).await.unwrap();
    assert_eq!(opened(&path, &key(2)), planted);
}

#[tokio::test]
async fn who_opened_the_file_before_a_rotation_writes_nothing_with_the_old_key() {
    let folder = folder();
    let path = folder.path().join("accounts.db");
    let daemon = Store::open(&path, key(1)).unwrap();
    let guest = Store::open(&path, key(1)).unwrap();
    daemon.rotate_key(key(2)).await.unwrap();
    let refused = guest.audit("me", "x").await.unwrap_err();
    assert!(matches!(refused, StoreError::KeyChanged), "{refused}");
    assert!(matches!(
        guest.rotate_key(key(3)).await,
        Err(StoreError::KeyChanged)
    ));
    daemon.audit("me", "x").await.unwrap();
}

#[tokio::test]
async fn readers_and_writers_go_on_through_a_rotation() {
    let folder = folder();
    let path = folder.path().join("accounts.db");
    let store = Store::open(&path, key(1)).unwrap();
    let place = || Place {
        table: "meta",
        row: "probe",
        column: "value",
    };
    for n in 2..30 {
        let rotating = store.clone();
        let mut both = tokio::task::JoinSet::new();
        both.spawn(async move { rotating.rotate_key(key(n)).await.map(|_| ()) });
        let writing = store.clone();
        both.spawn(async move {
            writing
                .write(move |rows| {
                    let value = rows.seal(&place(), &Secret::new("probe"))?;
                    assert!(rows.unseal(&place(), &value).is_ok());
                    Ok(())
                })
                .await
        });
        both.join_all().await.into_iter().for_each(Result::unwrap);
    }
}
