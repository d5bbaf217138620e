//! Signing in, sessions, and the patience asked of guessers.

use crate::support::open;
use token_store::{Secret, Store, StoreError};

fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path().join("accounts.db"));
    (folder, store)
}

fn secret(text: &str) -> Secret {
    Secret::new(text)
}

#[tokio::test]
async fn a_session_lasts_until_signing_out_or_a_new_password() {
    let (_folder, store) = store();
    assert!(!store.has_admin().unwrap());
    store
        .set_admin_password("ann", secret("right"))
        .await
        .unwrap();
    assert!(store.has_admin().unwrap());
    assert!(
        store
            .sign_in("ann", secret("wrong"))
            .await
            .unwrap()
            .is_none()
    );
    assert!(
        store
            .sign_in("bob", secret("right"))
            .await
            .unwrap()
            .is_none()
    );

    let cookie = store
        .sign_in("ann", secret("right"))
        .await
        .unwrap()
        .unwrap();
    let other = store
        .sign_in("ann", secret("right"))
        .await
        .unwrap()
        .unwrap();
    let session = store.session(&cookie).await.unwrap().unwrap();
    assert_eq!(session.admin, "ann");
    assert_ne!(
        session.id,
        cookie.expose(),
        "the id may be stored, the cookie not"
    );
    assert_ne!(
        session.csrf,
        store.session(&other).await.unwrap().unwrap().csrf
    );
    assert!(store.session(&secret("guess")).await.unwrap().is_none());

    store.sign_out(&cookie).await.unwrap();
    assert!(store.session(&cookie).await.unwrap().is_none());
    assert!(store.session(&other).await.unwrap().is_some());
    store
        .set_admin_password("ann", secret("new"))
        .await
        .unwrap();
    assert!(store.session(&other).await.unwrap().is_none());
    assert!(
        store
            .sign_in("ann", secret("right"))
            .await
            .unwrap()
            .is_none()
    );
}

#[tokio::test]
async fn after_five_failures_a_name_waits_known_or_not_and_others_do_not() {
    let (_folder, store) = store();
    store
        .set_admin_password("ann", secret("right"))
        .await
        .unwrap();
    for name in ["ann", "nobody"] {
        let mut guesses = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let (store, name) = (store.clone(), name.to_owned());
            guesses.spawn(async move { store.sign_in(&name, secret("guess")).await });
        }
        let results = guesses.join_all().await;
        let patience = results
            .iter()
            .filter(|r| matches!(r, Err(StoreError::Patience { .. })))
            .count();
        assert_eq!(patience, 3, "guesses sent at once count one by one");
        let error = store.sign_in(name, secret("right")).await.unwrap_err();
        assert!(matches!(error, StoreError::Patience { .. }), "{error}");
    }
    store
        .set_admin_password("eve", secret("right"))
        .await
        .unwrap();
    assert!(
        store
            .sign_in("eve", secret("right"))
            .await
            .unwrap()
            .is_some()
    );
}

#[tokio::test]
async fn sessions_end_by_age_and_by_idleness() {
    let (folder, store) = store();
    store
        .set_admin_password("ann", secret("right"))
        .await
        .unwrap();
    let hours = 3_600_000_i64;
    for (column, age, lasts) in [
        ("created_at", 11, true),
        ("created_at", 13, false),
        ("seen_at", 1, true),
        ("seen_at", 3, false),
    ] {
        let cookie = store
            .sign_in("ann", secret("right"))
            .await
            .unwrap()
            .unwrap();
        let id = store.session(&cookie).await.unwrap().unwrap().id;
        let connection = rusqlite::Connection::open(folder.path().join("accounts.db")).unwrap();
        connection
            .execute(
                &format!("UPDATE session SET {column} = {column} - ?1 WHERE id = ?2"),
                (age * hours, id),
            )
            .unwrap();
        assert_eq!(
            store.session(&cookie).await.unwrap().is_some(),
            lasts,
            "{column} {age} h"
        );
    }
}

#[tokio::test]
async fn impossible_administrators_are_refused_and_the_audit_reads_newest_first() {
    let (_folder, store) = store();
    for (name, password) in [
        ("", "x"),
        ("a\nb", "x"),
        ("ann", ""),
        ("ann", &"x".repeat(2000)),
    ] {
        assert!(
            store
                .set_admin_password(name, secret(password))
                .await
                .is_err()
        );
    }
    assert!(
        store
            .sign_in("ann", secret(&"x".repeat(1 << 20)))
            .await
            .unwrap()
            .is_none()
    );
    store.audit("ann", "one").await.unwrap();
    store.audit("ann", "two").await.unwrap();
    let lines: Vec<_> = store
        .audited(10)
        .unwrap()
        .into_iter()
        .map(|line| line.what)
        .collect();
    assert_eq!(lines, ["two", "one"]);
}
