//! Signing in, sessions, and the patience asked of guessers.

use crate::support::open;
use token_store::admins::{Totp, TotpError, Visitor};
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
            .sign_in("ann", secret("wrong"), "", &Visitor::default())
            .await
            .unwrap()
            .is_none()
    );
    assert!(
        store
            .sign_in("bob", secret("right"), "", &Visitor::default())
            .await
            .unwrap()
            .is_none()
    );

    let cookie = store
        .sign_in("ann", secret("right"), "", &Visitor::default())
        .await
        .unwrap()
        .unwrap();
    let other = store
        .sign_in("ann", secret("right"), "", &Visitor::default())
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
            .sign_in("ann", secret("right"), "", &Visitor::default())
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
            guesses.spawn(async move {
                store
                    .sign_in(&name, secret("guess"), "", &Visitor::default())
                    .await
            });
        }
        let results = guesses.join_all().await;
        let patience = results
            .iter()
            .filter(|r| matches!(r, Err(StoreError::Patience { .. })))
            .count();
        assert_eq!(patience, 3, "guesses sent at once count one by one");
        let error = store
            .sign_in(name, secret("right"), "", &Visitor::default())
            .await
            .unwrap_err();
        assert!(matches!(error, StoreError::Patience { .. }), "{error}");
    }
    store
        .set_admin_password("eve", secret("right"))
        .await
        .unwrap();
    assert!(
        store
            .sign_in("eve", secret("right"), "", &Visitor::default())
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
            .sign_in("ann", secret("right"), "", &Visitor::default())
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
            .sign_in("ann", secret(&"x".repeat(1 << 20)), "", &Visitor::default())
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

fn from(address: &str) -> Visitor {
    Visitor {
        address: address.to_owned(),
        agent: "a browser".to_owned(),
    }
}

#[tokio::test]
async fn a_link_sets_one_password_opens_one_session_and_ends_those_before() {
    let (folder, store) = store();
    let key = store.make_admin_link(" ann ").await.unwrap();
    assert!(!store.has_admin().unwrap(), "a link alone makes nobody");
    assert_eq!(
        store.admin_link(key.expose()).unwrap().as_deref(),
        Some("ann")
    );
    let used = |key: &str| {
        let (store, key) = (store.clone(), key.to_owned());
        async move {
            store
                .use_admin_link(&key, secret("first"), &from("::1"))
                .await
        }
    };
    assert!(
        store
            .use_admin_link(key.expose(), secret(""), &from("::1"))
            .await
            .is_err(),
        "an empty password"
    );
    let (admin, cookie) = used(key.expose()).await.unwrap().unwrap();
    assert_eq!(admin, "ann");
    assert_eq!(store.session(&cookie).await.unwrap().unwrap().admin, "ann");
    assert!(used(key.expose()).await.unwrap().is_none(), "only once");
    assert_eq!(store.admin_link(key.expose()).unwrap(), None);
    assert!(
        store
            .knows_password("ann", secret("first"), &from("::1"))
            .await
            .unwrap()
    );

    let older = store.make_admin_link("ann").await.unwrap();
    let newer = store.make_admin_link("ann").await.unwrap();
    assert_eq!(store.admin_link(older.expose()).unwrap(), None);
    let connection = rusqlite::Connection::open(folder.path().join("accounts.db")).unwrap();
    let minutes = |n: i64| {
        let ms = n * 60_000;
        connection
            .execute("UPDATE admin_link SET expires_at = expires_at - ?1", [ms])
            .unwrap();
    };
    minutes(14);
    assert!(store.admin_link(newer.expose()).unwrap().is_some());
    minutes(1);
    assert_eq!(store.admin_link(newer.expose()).unwrap(), None);
    assert!(used(newer.expose()).await.unwrap().is_none());
    assert!(
        store.session(&cookie).await.unwrap().is_some(),
        "a link that has ended ends nothing"
    );
}

#[tokio::test]
async fn a_second_factor_is_asked_for_once_it_has_shown_a_code_and_each_code_counts_once() {
    let (folder, store) = store();
    store
        .set_admin_password("ann", secret("right"))
        .await
        .unwrap();
    // RFC 6238's own key; the tests beside the code hold the codes to its tables.
    let totp = Totp::of(secret("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"), "ann b");
    assert!(totp.uri.expose().contains("Postern:ann%20b?secret=GEZD"));
    let refused = store
        .set_second_factor("ann", totp.secret.clone(), "000")
        .await;
    assert!(matches!(refused, Err(TotpError::Wrong)));
    assert!(!store.admins().unwrap()[0].second_factor);

    // Planted as the store would write it, with a step far in the past: the code of this moment is not known here.
    let fresh = Totp::new("ann").unwrap();
    assert_ne!(
        fresh.secret.expose(),
        Totp::new("ann").unwrap().secret.expose()
    );
    let code = code_of_now(fresh.secret.expose());
    store
        .set_second_factor("ann", fresh.secret.clone(), &code)
        .await
        .unwrap();
    assert!(store.admins().unwrap()[0].second_factor);
    let sign_in = |code: String| {
        let store = store.clone();
        async move {
            let signed_in = store
                .sign_in("ann", secret("right"), &code, &from("::1"))
                .await;
            signed_in.unwrap().is_some()
        }
    };
    assert!(!sign_in(String::new()).await);
    assert!(!sign_in(code.clone()).await, "it was used to set it up");
    let connection = rusqlite::Connection::open(folder.path().join("accounts.db")).unwrap();
    connection
        .execute("UPDATE admin SET totp_step = totp_step - 10", [])
        .unwrap();
    let code = code_of_now(fresh.secret.expose());
    assert!(sign_in(code.clone()).await);
    assert!(!sign_in(code).await, "once");
    let key = store.make_admin_link("ann").await.unwrap();
    let used = store
        .use_admin_link(key.expose(), secret("right"), &from("::1"))
        .await;
    assert!(used.unwrap().is_some());
    assert!(
        sign_in(String::new()).await,
        "the link switched the second factor off"
    );
}

/// As an authenticator computes it, with its own Base32.
fn code_of_now(secret: &str) -> String {
    let bits: String = secret
        .bytes()
        .map(|b| {
            let value = match b {
                b'A'..=b'Z' => b - b'A',
                _ => b - b'2' + 26,
            };
            format!("{value:05b}")
        })
        .collect();
    let key: Vec<u8> = (0..bits.len() / 8)
        .map(|i| u8::from_str_radix(&bits[i * 8..i * 8 + 8], 2).unwrap())
        .collect();
    let step = jiff::Timestamp::now().as_second() / 30;
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &key);
    let tag = aws_lc_rs::hmac::sign(&key, &step.to_be_bytes());
    let tag = tag.as_ref();
    let at = usize::from(tag[19] & 15);
    let number = u32::from_be_bytes(tag[at..at + 4].try_into().unwrap()) & 0x7fff_ffff;
    format!("{:06}", number % 1_000_000)
}

#[tokio::test]
async fn administrators_are_added_and_deleted_but_never_the_last_one() {
    let (_folder, store) = store();
    store.add_admin("ann", secret("one")).await.unwrap();
    let refused = store.add_admin("ann", secret("two")).await.unwrap_err();
    assert!(refused.to_string().contains("already"), "{refused}");
    let refused = store.delete_admin("ann").await.unwrap_err();
    assert!(
        refused.to_string().contains("only administrator"),
        "{refused}"
    );
    store.add_admin("bob", secret("two")).await.unwrap();
    let cookie = store.open_session("ann", &from("192.0.2.1")).await.unwrap();
    assert!(
        store
            .open_session("eve", &from("192.0.2.1"))
            .await
            .unwrap()
            .is_none()
    );
    let sessions = store.sessions().unwrap();
    assert_eq!(sessions.len(), 1);
    assert_eq!(
        (sessions[0].admin.as_str(), &sessions[0].visitor),
        ("ann", &from("192.0.2.1"))
    );
    assert!(store.session_of_id(&sessions[0].id).unwrap().is_some());
    store.delete_admin("ann").await.unwrap();
    assert!(store.session(&cookie.unwrap()).await.unwrap().is_none());
    assert!(!store.end_session(&sessions[0].id).await.unwrap());
    let names: Vec<_> = store
        .admins()
        .unwrap()
        .into_iter()
        .map(|a| a.name)
        .collect();
    assert_eq!(names, ["bob"]);
    assert!(store.is_admin("bob").unwrap() && !store.is_admin("ann").unwrap());
}

#[tokio::test]
async fn guesses_from_one_address_at_many_names_are_slowed_and_other_addresses_are_not() {
    let (_folder, store) = store();
    store.add_admin("ann", secret("right")).await.unwrap();
    let mut patient = 0;
    for n in 0..21 {
        let guess = store
            .sign_in(&format!("name{n}"), secret("guess"), "", &from("192.0.2.1"))
            .await;
        patient += usize::from(matches!(guess, Err(StoreError::Patience { .. })));
    }
    assert_eq!(patient, 1);
    let guessed = store
        .knows_password("ann", secret("right"), &from("192.0.2.1"))
        .await;
    assert!(matches!(guessed, Err(StoreError::Patience { .. })));
    assert!(
        store
            .sign_in("ann", secret("right"), "", &from("192.0.2.2"))
            .await
            .unwrap()
            .is_some()
    );
}

#[tokio::test]
async fn the_audit_says_from_where_is_read_in_pages_and_forgets_after_thirteen_months() {
    let (folder, store) = store();
    for n in 0..5 {
        store
            .audit_from("ann", &format!("did {n}"), "192.0.2.1")
            .await
            .unwrap();
    }
    let first = store.audited(2).unwrap();
    assert_eq!(first[1].what, "did 3");
    assert_eq!(first[1].source, "192.0.2.1");
    let next = store.audited_before(first[1].id, 2).unwrap();
    assert_eq!(next[0].what, "did 2");
    let connection = rusqlite::Connection::open(folder.path().join("accounts.db")).unwrap();
    let day = 24 * 3600 * 1000_i64;
    connection
        .execute(
            "UPDATE audit SET at = at - ?1 WHERE what = 'did 0'",
            [397 * day],
        )
        .unwrap();
    connection
        .execute(
            "UPDATE audit SET at = at - ?1 WHERE what = 'did 1'",
            [395 * day],
        )
        .unwrap();
    store.audit("ann", "did 5").await.unwrap();
    let all: Vec<_> = store
        .audited(10)
        .unwrap()
        .into_iter()
        .map(|l| l.what)
        .collect();
    assert_eq!(all, ["did 5", "did 4", "did 3", "did 2", "did 1"]);
}
