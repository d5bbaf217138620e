//! The file itself: private, sealed, and left alone when it is not ours to use.

use crate::support::{Rig, key, mailbox, open};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use token_store::accounts::{Auth, Declared};
use token_store::admins::Visitor;
use token_store::seal::Key;
use token_store::{CallbackAnswer, Secret, Store, StoreError};

#[tokio::test]
async fn no_secret_is_readable_in_the_files() {
    let rig = Rig::seeded().await;
    rig.endpoint.world().rotate = true;
    rig.tokens.access("t").await.unwrap();
    let password = Auth::Password(Secret::new("planted-password"));
    let declared = Declared {
        mailboxes: vec![mailbox("m", password)],
        ..Declared::default()
    };
    rig.store().declare("a.yaml", declared).await.unwrap();
    let url = rig
        .tokens
        .begin(
            "t",
            "http://localhost/cb",
            "planted-session",
            token_store::SignIn::Anybody,
        )
        .await
        .unwrap();
    let query: std::collections::HashMap<_, _> = oauth2::url::Url::parse(&url)
        .unwrap()
        .query_pairs()
        .into_owned()
        .collect();
    let waiting = search(&rig, &[query["state"].as_str()]);
    assert_eq!(waiting, Vec::<String>::new(), "while the consent waits");
    let code = rig.endpoint.world().code_for(&query["code_challenge"]);
    let answer = CallbackAnswer {
        state: Some(query["state"].clone()),
        code: Some(code),
        ..CallbackAnswer::default()
    };
    rig.tokens
        .complete("planted-session", answer)
        .await
        .unwrap();
    rig.store()
        .set_admin_password("root", Secret::new("planted-admin"))
        .await
        .unwrap();
    let cookie = rig
        .store()
        .sign_in(
            "root",
            Secret::new("planted-admin"),
            "",
            &Visitor::default(),
        )
        .await
        .unwrap()
        .unwrap();
    // A grant that lost its place is kept aside, sealed too.
    let mut other = rig.entry("t");
    other.config.client_id = "another".into();
    rig.import(other).await;
    let verifier = rig.endpoint.world().requests.last().unwrap()["code_verifier"].clone();
    assert_eq!(
        search(&rig, &["planted-", &verifier, cookie.expose()]),
        Vec::<String>::new()
    );
    assert_eq!(
        search(&rig, &["imap.example.com"]).len(),
        1,
        "the search does find what is not secret"
    );
}

/// Which of the texts are in accounts.db or beside it.
fn search(rig: &Rig, texts: &[&str]) -> Vec<String> {
    let mut all = Vec::new();
    for file in std::fs::read_dir(rig.database().parent().unwrap()).unwrap() {
        all.extend(std::fs::read(file.unwrap().path()).unwrap());
    }
    let holds = |text: &&&str| all.windows(text.len()).any(|w| w == text.as_bytes());
    texts
        .iter()
        .filter(holds)
        .map(|t| (*t).to_owned())
        .collect()
}

#[test]
fn the_database_and_what_is_beside_it_are_private() {
    let folder = tempfile::tempdir().unwrap();
    let _store = open(folder.path().join("accounts.db"));
    let mut names = Vec::new();
    for file in std::fs::read_dir(folder.path()).unwrap() {
        let file = file.unwrap();
        assert_eq!(
            file.metadata().unwrap().permissions().mode() & 0o777,
            0o600,
            "{:?}",
            file.path()
        );
        names.push(file.file_name());
    }
    assert!(names.len() >= 3, "{names:?}");
}

#[tokio::test]
async fn another_key_is_refused_and_nothing_changes() {
    let rig = Rig::seeded().await;
    let path = rig.database();
    let before = rig.store().export(None).unwrap();
    let error = Store::open(&path, Key::from_bytes([8; 32])).err().unwrap();
    assert!(matches!(error, StoreError::WrongKey { .. }), "{error}");
    assert_eq!(
        Store::open(&path, key()).unwrap().export(None).unwrap(),
        before
    );
}

#[test]
fn what_is_not_ours_is_named_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(
        path("text"),
        "this is a text file, long enough to be taken for a header".repeat(9),
    )
    .unwrap();
    let foreign = rusqlite::Connection::open(path("foreign")).unwrap();
    foreign
        .execute_batch("CREATE TABLE theirs (x); INSERT INTO theirs VALUES (1)")
        .unwrap();
    drop(foreign);
    drop(open(path("newer")));
    rusqlite::Connection::open(path("newer"))
        .unwrap()
        .pragma_update(None, "user_version", 99)
        .unwrap();
    for (name, words) in [
        ("text", "not a SQLite database"),
        ("foreign", "another program"),
        ("newer", "newer Postern"),
    ] {
        let before = std::fs::read(path(name)).unwrap();
        let error = Store::open(&path(name), key()).err().unwrap().to_string();
        assert!(error.contains(words) && error.contains(name), "{error}");
        assert_eq!(std::fs::read(path(name)).unwrap(), before, "{name}");
    }
    let error = Store::open(Path::new("/nowhere/accounts.db"), key())
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("/nowhere/accounts.db"), "{error}");
}

#[tokio::test]
async fn a_torn_file_is_refused_at_every_cut_and_left_as_it_is() {
    let rig = Rig::seeded().await;
    let whole = {
        // Everything into the file itself.
        let connection = rusqlite::Connection::open(rig.database()).unwrap();
        connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
            .unwrap();
        std::fs::read(rig.database()).unwrap()
    };
    let folder = tempfile::tempdir().unwrap();
    for (n, cut) in [10, 90, 100, 4096, 5000, whole.len() / 2, whole.len() - 4096]
        .into_iter()
        .enumerate()
    {
        let path = folder.path().join(format!("torn{n}.db"));
        std::fs::write(&path, &whole[..cut]).unwrap();
        let error = Store::open(&path, key()).err();
        assert!(
            matches!(error, Some(StoreError::Unusable { .. })),
            "cut at {cut}: {error:?}"
        );
        assert_eq!(std::fs::read(&path).unwrap(), &whole[..cut], "cut at {cut}");
    }
}

#[tokio::test]
async fn an_altered_secret_is_an_error_of_that_one_token() {
    let rig = Rig::seeded().await;
    rig.import(rig.entry("other")).await;
    let planted = rig.endpoint.world().plant();
    rig.tokens
        .seed("other", Secret::new(planted))
        .await
        .unwrap();
    rusqlite::Connection::open(rig.database())
        .unwrap()
        .execute("UPDATE token SET refresh_token = (SELECT refresh_token FROM token WHERE config = 'other') WHERE config = 't'", [])
        .unwrap();
    let error = rig.tokens.access("t").await.unwrap_err().to_string();
    assert!(
        error.contains("refresh_token of token t can't be unsealed"),
        "{error}"
    );
    rig.tokens.access("other").await.unwrap();
    assert_eq!(
        rig.store().token_statuses().unwrap().len(),
        2,
        "lists still work"
    );
}

#[tokio::test]
async fn two_processes_write_side_by_side() {
    let rig = std::sync::Arc::new(Rig::new().await);
    let mut tasks = tokio::task::JoinSet::new();
    for process in 0..2 {
        let store = rig.beside().store().clone();
        for n in 0..20 {
            let store = store.clone();
            tasks.spawn(async move { store.audit("me", &format!("{process}:{n}")).await.unwrap() });
        }
    }
    tasks.join_all().await;
    assert_eq!(rig.store().audited(100).unwrap().len(), 40);
}

#[test]
fn first_starts_at_the_same_moment_make_one_database() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("accounts.db");
    std::thread::scope(|scope| {
        let starts: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| Store::open(&path, key()).map(drop)))
            .collect();
        for start in starts {
            start.join().unwrap().unwrap();
        }
    });
}
