//! Who may sign in to a submission listener, from one process and beside another.

use crate::support::open;
use std::time::Instant;
use token_store::{Secret, StoreError};

fn secret(text: &str) -> Secret {
    Secret::new(text)
}

#[tokio::test]
async fn a_user_signs_in_until_the_password_changes_or_the_user_goes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("accounts.db");
    let store = open(path.clone());
    let signed_in = async |name: &str, password: &str| {
        let user = store.sign_in_submitter(name, secret(password)).await;
        user.unwrap().map(|user| user.name)
    };
    let senders = vec!["@a.example".to_owned()];
    assert!(
        store
            .set_submitter("znuny", secret("first one"), Some(senders.clone()))
            .await
            .unwrap()
    );
    assert_eq!(
        signed_in("znuny", "first one").await.as_deref(),
        Some("znuny")
    );
    assert_eq!(signed_in("znuny", "wrong").await, None);
    assert_eq!(signed_in("nobody", "first one").await, None);
    assert_eq!(signed_in("Znuny", "first one").await, None);

    // Remembered now; and forgotten with the next password, which another process sets.
    let remembers = |password| {
        let user = store.remembered_submitter("znuny", &secret(password));
        user.unwrap().is_some()
    };
    assert!(remembers("first one") && !remembers("wrong"));
    let other = open(path);
    assert!(
        !other
            .set_submitter("znuny", secret("second one"), None)
            .await
            .unwrap()
    );
    assert!(!remembers("first one"));
    assert_eq!(signed_in("znuny", "first one").await, None);
    assert_eq!(
        signed_in("znuny", "second one").await.as_deref(),
        Some("znuny")
    );
    let listed = store.list_submitters().unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(
        listed[0].senders, senders,
        "a new password lifts no restriction"
    );

    assert!(remembers("second one"));
    let before = store
        .sign_in_submitter("znuny", secret("second one"))
        .await
        .unwrap()
        .unwrap();
    assert!(store.is_unchanged(&before).unwrap());
    other.delete_submitter("znuny").await.unwrap();
    assert!(!remembers("second one"));
    assert!(!store.is_unchanged(&before).unwrap());
    assert_eq!(signed_in("znuny", "second one").await, None);
    let gone = other.delete_submitter("znuny").await.unwrap_err();
    assert_eq!(gone.to_string(), "there is no submission user named znuny");
}

#[tokio::test]
async fn a_remembered_password_costs_no_hash() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path().join("accounts.db"));
    store
        .set_submitter("u", secret("right one"), None)
        .await
        .unwrap();
    let begun = Instant::now();
    store
        .sign_in_submitter("u", secret("right one"))
        .await
        .unwrap()
        .unwrap();
    let first = begun.elapsed();
    let begun = Instant::now();
    for _ in 0..10 {
        store
            .sign_in_submitter("u", secret("right one"))
            .await
            .unwrap()
            .unwrap();
    }
    let ten = begun.elapsed();
    assert!(
        ten < first,
        "ten more sign-ins took {ten:?}, the first {first:?}"
    );
}

#[tokio::test]
async fn names_and_passwords_that_no_client_could_send_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path().join("accounts.db"));
    let long = "x".repeat(2000);
    for (name, password) in [
        ("", "password"),
        ("a\0b", "password"),
        (long.as_str(), "password"),
        ("u", ""),
        ("u", "line\nend"),
        ("u", long.as_str()),
    ] {
        let refused = store.set_submitter(name, secret(password), None).await;
        assert!(
            matches!(refused, Err(StoreError::Invalid { .. })),
            "{name:?}"
        );
    }
    assert_eq!(store.list_submitters().unwrap(), []);
}
