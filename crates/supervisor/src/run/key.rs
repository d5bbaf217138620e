//! The sealing key: tried before anything is written, replaced on request, and put in place where a rotation was cut short.
//!
//! A rotation has four steps: the new key is written beside the old one, everything is sealed anew in one transaction that
//! also leaves the new key in the database under the old one, the new file replaces the old, and the way from the old key
//! is taken out. Killed after any of them, the key that is in place opens the database, and the next start goes on from there.

use std::path::{Path, PathBuf};

use token_store::seal::{Draft, Key, KeyError};
use token_store::{Store, StoreError};

use super::open::{DATABASE, OpenError, has_state};
use crate::config::{Config, KeySource};

/// Why a rotation did not take place; the key is as it was.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RotateError {
    #[error(
        "the sealing key is the systemd credential {}, which only root can replace; give --new-key-file FILE: the new key is read from it, or made in it",
        name(path)
    )]
    Credential { path: PathBuf },
    #[error("a new key can't be made: {0}")]
    Randomness(String),
    #[error("nothing was changed: {0}")]
    Key(#[from] KeyError),
    #[error("nothing was changed: {0}")]
    Store(#[from] StoreError),
    /// Sealed with the new key already.
    #[error(
        "everything is sealed with the new key, but {0}; the key before opens it too until the next start has put the new one in place"
    )]
    Place(KeyError),
}

/// What a rotation did, in words.
pub(crate) fn done(values: usize, source: &KeySource) -> String {
    let values = if values == 1 {
        "1 secret is".to_owned()
    } else {
        format!("{values} secrets are")
    };
    match source {
        KeySource::Made(path) => format!(
            "{values} sealed with a new key, which is in {}; keep a copy of it, the former one opens nothing any more",
            path.display()
        ),
        KeySource::Existing(path) => format!(
            "{values} sealed with the new key; now make its file the credential {0} (install -m 600 FILE /etc/credstore/{0}) and \
             restart the service; until then the former key opens them too",
            name(path)
        ),
    }
}

fn name(path: &Path) -> String {
    path.file_name()
        .unwrap_or(path.as_os_str())
        .to_string_lossy()
        .into_owned()
}

/// The sealing key; a fresh one is made only while there is no database that another one sealed.
pub(super) fn key(config: &Config) -> Result<Key, KeyError> {
    let fresh = !has_state(config);
    match &config.key {
        KeySource::Existing(path) => Key::read(path),
        KeySource::Made(path) => Key::read_or_make(path, fresh),
    }
}

/// Refuses a key that is missing or does not fit, before a byte is written.
pub(crate) fn check(config: &Config) -> Result<(), OpenError> {
    if !has_state(config) {
        return Ok(());
    }
    let key = key(config)?;
    Ok(Store::try_key(&config.state_dir.join(DATABASE), &key)?)
}

/// Seals everything with a new key: the given one, or one that is made. How many secrets there were.
pub(crate) async fn rotate(
    source: &KeySource,
    store: &Store,
    given: Option<Key>,
) -> Result<usize, RotateError> {
    let next = match (given, source) {
        (Some(key), _) => key,
        (None, KeySource::Made(_)) => {
            Key::generate().map_err(|error| RotateError::Randomness(error.to_string()))?
        }
        (None, KeySource::Existing(path)) => {
            let path = path.clone();
            return Err(RotateError::Credential { path });
        }
    };
    let KeySource::Made(path) = source else {
        return Ok(store.rotate_key(next).await?);
    };
    // First, since it shows whether the folder can be written at all. An error after it leaves a file that means nothing: only
    // the database says which key counts.
    let draft = Draft::write(&next, path)?;
    let values = store.rotate_key(next).await?;
    draft.put_in_place().map_err(RotateError::Place)?;
    store.key_is_in_place().await?;
    Ok(values)
}

/// Goes on with a rotation that was cut short. For whoever holds the lock of the state directory. Trouble is told, and the
/// key that is in place goes on opening the database.
pub(crate) async fn settle(source: &KeySource, store: &Store) {
    if let Err(error) = finish(source, store).await {
        tracing::warn!("the sealing key was rotated, and the new one is not in place yet: {error}");
    }
}

async fn finish(source: &KeySource, store: &Store) -> Result<(), RotateError> {
    match (store.misplaced_key(), source) {
        (Some(key), KeySource::Made(path)) => Draft::write(&key, path)?.put_in_place()?,
        (Some(_), KeySource::Existing(path)) => {
            tracing::warn!(
                "the sealing key was rotated, and the credential {} still holds the former one, which opens everything until the \
                 credential is replaced",
                name(path)
            );
            return Ok(());
        }
        (None, KeySource::Made(path)) => Draft::sweep(path),
        (None, KeySource::Existing(_)) => {}
    }
    if store.key_is_in_place().await? {
        tracing::info!("the new sealing key is in place; the former one opens nothing any more");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use token_store::Secret;

    /// A folder with a key file and a database in it that holds one secret.
    async fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path()).unwrap();
        store
            .set_admin_password("root", Secret::new("long enough"))
            .await
            .unwrap();
        let document = "- Name: t\n  Config: {ClientID: c, ClientSecret: planted, Scope: s}\n";
        let entries = provider_template::read(document).unwrap();
        store.import(entries, false).await.unwrap();
        folder
    }

    fn open(folder: &Path) -> Result<Store, OpenError> {
        let key = Key::read_or_make(&folder.join("key"), !folder.join(DATABASE).exists())?;
        Ok(Store::open(&folder.join(DATABASE), key)?)
    }

    fn secret(store: &Store) -> String {
        let config = store.token_config("t").unwrap().unwrap();
        config.entry.config.client_secret.expose().to_owned()
    }

    /// What a kill leaves: every file as it is at this moment.
    fn as_it_is(folder: &Path) -> tempfile::TempDir {
        let copy = tempfile::tempdir().unwrap();
        for file in std::fs::read_dir(folder).unwrap().flatten() {
            std::fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
        }
        copy
    }

    #[tokio::test]
    async fn killed_after_any_step_of_a_rotation_the_next_start_has_every_secret_and_ends_it() {
        let folder = folder().await;
        let source = KeySource::Made(folder.path().join("key"));
        let former = Key::read(&folder.path().join("key")).unwrap();
        let store = open(folder.path()).unwrap();
        let next = Key::generate().unwrap();

        let before = as_it_is(folder.path());
        let draft = Draft::write(&next, &folder.path().join("key")).unwrap();
        let drafted = as_it_is(folder.path());
        store.rotate_key(next.clone()).await.unwrap();
        let sealed = as_it_is(folder.path());
        draft.put_in_place().unwrap();
        let placed = as_it_is(folder.path());
        store.key_is_in_place().await.unwrap();
        let ended = as_it_is(folder.path());
        drop(source);

        for (step, copy, rotated) in [
            ("before", before, false),
            ("the new key is written beside", drafted, false),
            ("everything is sealed anew", sealed, true),
            ("the new key is in place", placed, true),
            ("the way from the former key is gone", ended, true),
        ] {
            let source = KeySource::Made(copy.path().join("key"));
            let started = open(copy.path()).unwrap();
            assert_eq!(secret(&started), "planted", "{step}");
            settle(&source, &started).await;
            drop(started);
            let counts = Key::read(&copy.path().join("key")).unwrap();
            assert_eq!(
                counts,
                if rotated {
                    next.clone()
                } else {
                    former.clone()
                },
                "{step}"
            );
            assert!(!copy.path().join("key.new").exists(), "{step}");
            let again = open(copy.path()).unwrap();
            assert_eq!(secret(&again), "planted", "{step}");
            drop(again);
            let other = if rotated { &former } else { &next };
            let refused = Store::try_key(&copy.path().join(DATABASE), other);
            assert!(
                matches!(refused, Err(StoreError::WrongKey { .. })),
                "{step}"
            );
        }
    }

    #[tokio::test]
    async fn a_key_file_that_cannot_be_replaced_is_said_before_anything_is_sealed() {
        let folder = folder().await;
        let store = open(folder.path()).unwrap();
        let source = KeySource::Made(folder.path().join("gone/key"));
        let error = rotate(&source, &store, None).await.unwrap_err().to_string();
        assert!(
            error.starts_with("nothing was changed: the key file"),
            "{error}"
        );
        drop(store);
        assert_eq!(secret(&open(folder.path()).unwrap()), "planted");
    }
}
