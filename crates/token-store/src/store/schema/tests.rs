//! A database of the first release goes on with everything it held.

use super::*;
use crate::accounts::Auth;
use crate::seal::{Key, Place};
use crate::state::State;
use crate::{Secret, Store, StoreError, TokenId};
use rusqlite::Connection;
use std::path::{Path, PathBuf};

const RELEASED: &str = include_str!("released-1.sql");

fn released(folder: &Path) -> PathBuf {
    let path = folder.join("accounts.db");
    let connection = Connection::open(&path).unwrap();
    connection.execute_batch(RELEASED).unwrap();
    path
}

fn key() -> Key {
    Key::from_bytes([7; 32])
}

#[test]
fn what_the_first_release_wrote_is_all_there_after_the_upgrade() {
    let folder = tempfile::tempdir().unwrap();
    let path = released(folder.path());
    let store = Store::open(&path, key()).unwrap();
    let read = store.read(|rows| {
        let secret = rows.known_config("t")?.entry.config.client_secret;
        assert_eq!(secret.expose(), "planted-client-secret");
        let (t, app) = (rows.token(&"t".into())?, rows.token(&"app".into())?);
        assert_eq!(
            (t.state, t.version, t.generation, t.refreshes),
            (State::Ready, 5, 2, 2)
        );
        assert_eq!(t.refresh.unwrap().secret.expose(), "planted-refresh-newer");
        assert_eq!(t.access.unwrap().secret.expose(), "planted-access-4");
        assert_eq!(t.identity, None);
        assert_eq!(app.access.unwrap().secret.expose(), "planted-access-3");
        assert_eq!(rows.token(&"declared".into())?.state, State::NeedsConsent);
        assert_eq!(rows.users_of("declared")?, ["mailbox box"]);
        assert_eq!(rows.users_of("t")?, ["relay out"]);
        rows.connection
            .query_row("SELECT count(*) FROM consent", [], |row| {
                row.get::<_, i64>(0)
            })
            .map_err(StoreError::from)
    });
    assert_eq!(read.unwrap(), 1, "the consent under way");
    assert_eq!(store.token_statuses().unwrap().len(), 3);
    let passwords: Vec<_> = store
        .mailboxes()
        .unwrap()
        .into_iter()
        .map(|m| m.auth)
        .collect();
    let planted = Auth::Password(Secret::new("planted-mailbox-password"));
    assert_eq!(passwords, [Auth::Token("declared".into()), planted]);
    assert_eq!(store.relays().unwrap().len(), 1);
    assert!(store.has_admin().unwrap());
    assert_eq!(store.audited(10).unwrap()[0].what, "made it all");
}

#[tokio::test]
async fn what_was_kept_aside_comes_back_and_references_hold_after_the_upgrade() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&released(folder.path()), key()).unwrap();
    let done = store.write(|rows| {
        let fingerprint = rows.fingerprint_of("t")?;
        let back = rows.take_back(&"t".into(), &fingerprint)?;
        assert_eq!(back.unwrap().secret.expose(), "planted-refresh-1");
        rows.remove_token_config("app")?;
        let gone = rows.token_if_any(&"app".into())?;
        assert!(gone.is_none(), "a token goes with its config");
        // A relay still signs in with this one.
        rows.remove_token_config("t").map(drop)
    });
    let refused = done.await.unwrap_err().to_string();
    assert!(refused.contains("FOREIGN KEY"), "{refused}");
}

#[tokio::test]
async fn the_second_release_goes_on_with_users_of_submission_listeners() {
    let folder = tempfile::tempdir().unwrap();
    let path = released(folder.path());
    let mut connection = Connection::open(&path).unwrap();
    connection
        .execute_batch("PRAGMA foreign_keys = OFF")
        .unwrap();
    migrations().to_version(&mut connection, 2).unwrap();
    drop(connection);
    let store = Store::open(&path, key()).unwrap();
    assert_eq!(store.token_statuses().unwrap().len(), 3);
    assert!(store.has_admin().unwrap() && store.list_submitters().unwrap().is_empty());
    let password = Secret::new("of the helpdesk");
    store
        .set_submitter("u", password.clone(), None)
        .await
        .unwrap();
    assert!(
        store
            .sign_in_submitter("u", password)
            .await
            .unwrap()
            .is_some()
    );
}

#[tokio::test]
async fn the_database_as_it_was_is_kept_beside_until_the_key_changes() {
    let folder = tempfile::tempdir().unwrap();
    let path = released(folder.path());
    let store = Store::open(&path, key()).unwrap();
    let former = folder.path().join("accounts.db.version-1");
    let version = |path: &std::path::Path| -> i64 {
        let connection = Connection::open(path).unwrap();
        let version = connection.pragma_query_value(None, "user_version", |row| row.get(0));
        version.unwrap()
    };
    assert_eq!((version(&former), version(&path)), (1, latest()));
    assert_eq!(
        std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&former).unwrap()) & 0o777,
        0o600
    );
    // It opens with the key, and so must not outlive it.
    let copy = folder.path().join("again").join("accounts.db");
    std::fs::create_dir(copy.parent().unwrap()).unwrap();
    std::fs::copy(&former, &copy).unwrap();
    assert_eq!(
        Store::open(&copy, key()).unwrap().relays().unwrap().len(),
        1
    );
    store.rotate_key(Key::generate().unwrap()).await.unwrap();
    assert!(former.exists(), "the former key is still the one in place");
    assert!(store.key_is_in_place().await.unwrap());
    assert!(!former.exists());
}

#[tokio::test]
async fn a_copy_opens_with_the_same_key_and_holds_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&released(folder.path()), key()).unwrap();
    let copy = folder.path().join("copy.db");
    store.copy_to(&copy).await.unwrap();
    let again = store.copy_to(&copy).await.unwrap_err().to_string();
    assert!(again.contains("copy.db: File exists"), "{again}");
    let copied = Store::open(&copy, key()).unwrap();
    let secret = |store: &Store| {
        let token = store.read(|rows| rows.token(&TokenId::of("t"))).unwrap();
        token.refresh.unwrap().secret.expose().to_owned()
    };
    assert_eq!(secret(&copied), secret(&store));
}

#[test]
fn an_upgrade_that_is_cut_short_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = released(folder.path());
    let connection = Connection::open(&path).unwrap();
    connection
        .execute_batch("CREATE TABLE device_consent (in_the_way TEXT)")
        .unwrap();
    let refused = Store::open(&path, key()).err().unwrap().to_string();
    assert!(refused.contains("nothing was changed"), "{refused}");
    connection
        .execute_batch("DROP TABLE device_consent")
        .unwrap();
    drop(connection);
    let store = Store::open(&path, key()).unwrap();
    let token = store.read(|rows| rows.token(&TokenId::of("t"))).unwrap();
    assert!(token.refresh.is_some());
}

#[test]
fn accounts_of_the_second_version_go_on_and_none_is_paused() {
    let folder = tempfile::tempdir().unwrap();
    let path = released(folder.path());
    let mut connection = Connection::open(&path).unwrap();
    connection
        .pragma_update(None, "foreign_keys", false)
        .unwrap();
    migrations().to_version(&mut connection, 2).unwrap();
    drop(connection);
    let store = Store::open(&path, key()).unwrap();
    let found = store.accounts(crate::accounts::Kind::Mailbox).unwrap();
    let beside: Vec<_> = found.iter().map(|f| (f.version, f.paused)).collect();
    assert_eq!(beside, [(1, false), (1, false)]);
    assert_eq!(store.relays().unwrap().len(), 1);
}

#[test]
fn the_migrations_hold_and_a_fresh_database_takes_every_flow() {
    migrations().validate().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("accounts.db");
    let store = Store::open(&path, key()).unwrap();
    drop(store);
    let connection = Connection::open(&path).unwrap();
    for flow in [
        "authorization_code",
        "device_code",
        "client_credentials",
        "service_account",
        "password",
    ] {
        let made = connection.execute(
            "INSERT INTO token_config (name, valid, flow, fingerprint, entry, client_secret)
             VALUES (?1, 1, ?1, '', '', x'00')",
            [flow],
        );
        made.unwrap();
    }
}

#[test]
fn a_sealed_value_of_one_subject_does_not_open_for_another() {
    // Built as the rows build it: the subject is part of what a seal is bound to.
    let place = |row| Place {
        table: "token",
        row,
        column: "access_token",
    };
    let sealed = key().seal(&place("c\na@x"), &Secret::new("s")).unwrap();
    assert!(key().open(&place("c\nb@x"), &sealed).is_err());
}

#[tokio::test]
async fn sessions_and_audit_of_the_second_version_go_on_in_the_third() {
    let folder = tempfile::tempdir().unwrap();
    let path = released(folder.path());
    let mut connection = Connection::open(&path).unwrap();
    connection
        .pragma_update(None, "foreign_keys", false)
        .unwrap();
    migrations().to_version(&mut connection, 2).unwrap();
    let cookie = Secret::new("the cookie of somebody at work");
    let now = crate::now();
    connection
        .execute(
            "INSERT INTO session (id, admin, csrf, created_at, seen_at) VALUES (?1, 'admin', 'in clear', ?2, ?2)",
            (crate::seal::digest(cookie.expose()), now),
        )
        .unwrap();
    drop(connection);
    let store = Store::open(&path, key()).unwrap();
    let session = store.session(&cookie).await.unwrap().unwrap();
    assert_eq!(session.admin, "admin");
    assert!(!session.csrf.is_empty() && session.csrf != "in clear");
    assert_eq!(store.audited(10).unwrap()[0].source, "");
    assert!(!store.admins().unwrap()[0].second_factor);
    let bytes = std::fs::read(&path).unwrap();
    let token = session.csrf.as_bytes();
    let found = bytes.windows(token.len()).any(|window| window == token);
    assert!(!found, "the CSRF token is stored nowhere");
}
