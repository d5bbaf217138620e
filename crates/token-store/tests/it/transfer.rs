//! Export and import: byte-stable round trips, and refresh tokens that move to another installation.

use crate::support::Rig;
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use provider_template::{Config, Entry, Flow, Request, ServiceAccount, read, write};
use token_store::seal::Key;
use token_store::state::State;
use token_store::transfer::{Arrived, Carried, Parcel, sealed};
use token_store::{Imported, Secret, Store, TokenId};

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        select(vec![
            "",
            "no",
            "~",
            "0755",
            "# x",
            "two\nlines\n",
            "\u{85}",
            "{TenantID}"
        ])
        .prop_map(str::to_owned),
        any::<String>(),
    ]
}

fn unknown() -> impl Strategy<Value = serde_json::Map<String, serde_json::Value>> {
    btree_map(text().prop_map(|key| format!("_{key}")), text(), 0..2).prop_map(|map| {
        map.into_iter()
            .map(|(key, value)| (key, value.into()))
            .collect()
    })
}

fn request() -> impl Strategy<Value = Request> {
    (
        select(vec![
            "",
            "https://a.example/token",
            "http://127.0.0.1:1/{TenantID}",
        ]),
        btree_map(text(), text(), 0..3),
        unknown(),
    )
        .prop_map(|(url, parameters, rest)| Request {
            url: url.to_owned(),
            parameters: parameters.into_iter().collect(),
            rest,
            ..Request::default()
        })
}

fn config() -> impl Strategy<Value = Config> {
    let texts = (text(), text(), text(), text(), text(), text());
    let request = || option::of(request());
    let requests = (request(), request(), request(), request());
    let further = (
        select(Flow::ALL.to_vec()),
        option::of(text()),
        unknown(),
        unknown(),
    );
    (texts, requests, further).prop_map(|(texts, requests, (flow, email, ours, rest))| {
        let mut config = Config {
            client_id: texts.0,
            client_secret: Secret::new(texts.1),
            private_key: Secret::new(texts.2),
            user: texts.3,
            password: Secret::new(texts.4),
            scope: texts.5,
            flow,
            rest,
            ..Config::default()
        };
        config.requests.authorization_code = requests.0;
        config.requests.token_by_authorization_code = requests.1;
        config.requests.token_by_refresh_token = requests.2;
        config.requests.token_by_client_credentials = requests.3;
        config.postern.rest = ours;
        config.postern.service_account = email.map(|email| ServiceAccount {
            email,
            ..ServiceAccount::default()
        });
        config
    })
}

fn entries() -> impl Strategy<Value = Vec<Entry>> {
    let one = (any::<bool>(), config(), unknown());
    vec(one, 1..4).prop_map(|all| {
        all.into_iter()
            .enumerate()
            .map(|(number, (valid, config, rest))| Entry {
                name: format!("config {number}"),
                valid,
                config,
                rest,
            })
            .collect()
    })
}

fn store(folder: &tempfile::TempDir, name: &str) -> Store {
    let key = Key::from_bytes([7; 32]);
    Store::open(&folder.path().join(name), key).unwrap()
}

fn exported(store: &Store, secrets: bool) -> String {
    write(&store.export(None).unwrap(), secrets)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(40) })]

    #[test]
    fn what_was_exported_once_is_the_same_to_the_byte_wherever_it_is_brought(entries in entries()) {
        let folder = crate::support::folder();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let first = store(&folder, "first.db");
            first.import(entries, false).await.unwrap();
            let document = exported(&first, true);

            let second = store(&folder, "second.db");
            second.import(read(&document).unwrap(), false).await.unwrap();
            assert_eq!(exported(&second, true), document);

            let bare = exported(&first, false);
            for (document, overwrite) in [(&document, true), (&document, false), (&bare, true)] {
                let done = first.import(read(document).unwrap(), overwrite).await.unwrap();
                let expected = if overwrite { Imported::Unchanged } else { Imported::LeftAlone };
                assert!(done.iter().all(|(_, done)| *done == expected), "{done:?}");
            }
            assert_eq!(exported(&first, true), document);
        });
    }
}

#[tokio::test]
async fn a_document_of_one_entry_or_a_list_with_database_columns_is_taken_as_it_comes() {
    let rig = Rig::new().await;
    let columns = "ID: 4\nCreateTime: 2026-01-31 10:00:00\nCreateBy: 1\nChangeTime: 2026-01-31 10:00:00\nChangeBy: 1\nValidID: 2\n";
    let one = format!("Name: one\nConfig:\n  ClientID: c\n{columns}");
    let list = format!(
        "- Name: two\n  Config: {{}}\n  {}- Name: three\n  Config: {{}}\n",
        columns.replace('\n', "\n  ").trim_end_matches(' ')
    );
    for document in [one, list] {
        rig.store()
            .import(read(&document).unwrap(), false)
            .await
            .unwrap();
    }
    let valid = |name: &str| rig.store().token_config(name).unwrap().unwrap().entry.valid;
    assert!(!valid("one") && !valid("two") && valid("three"));
    let text = exported(rig.store(), true);
    assert!(
        !text.contains("CreateTime") && !text.contains("ID: 4"),
        "{text}"
    );
    assert_eq!(text.matches("ValidID: 2").count(), 2);
}

/// The token of config `t` as it would travel.
fn carried(refresh_token: &str) -> Carried {
    Carried {
        id: TokenId::of("t"),
        refresh_token: Secret::new(refresh_token),
        obtained_at: Some(1_700_000_000_000),
        expires_at: Some(4_000_000_000_000),
        identity: Some("support@example.com".to_owned()),
    }
}

fn parcel(entries: Vec<Entry>, tokens: Vec<Carried>) -> Parcel {
    Parcel { entries, tokens }
}

#[tokio::test]
async fn a_refresh_token_moves_sealed_to_another_installation_and_works_there() {
    let rig = Rig::seeded().await;
    let names = ["t".to_owned()];
    let parcel = parcel(
        rig.store().export(Some(&names)).unwrap(),
        rig.store().export_tokens(Some(&names)).unwrap(),
    );
    assert_eq!(parcel.tokens.len(), 1);
    let passphrase = Secret::new("correct horse battery");
    let travelling = sealed::seal(&parcel, &passphrase).unwrap();

    let folder = crate::support::folder();
    let elsewhere = store(&folder, "accounts.db");
    let arrived = sealed::open(&travelling, &passphrase).unwrap();
    let arrivals = elsewhere.take_in(arrived, false, false).await.unwrap();
    assert_eq!(arrivals.entries, [("t".to_owned(), Imported::Added)]);
    assert_eq!(arrivals.tokens, [(TokenId::of("t"), Arrived::Taken)]);
    assert_eq!(elsewhere.export_tokens(None).unwrap(), parcel.tokens);
    let tokens = token_store::Tokens::new(elsewhere, Default::default()).unwrap();
    tokens.access("t").await.unwrap();
}

#[tokio::test]
async fn a_refresh_token_that_is_there_stays_unless_told_and_is_then_kept_aside() {
    let rig = Rig::seeded().await;
    let before = rig.store().export_tokens(None).unwrap();
    let newer = Carried {
        obtained_at: before[0].obtained_at.map(|at| at + 1),
        ..carried("another")
    };
    let take = |overwrite, try_only| {
        let parcel = parcel(vec![rig.entry("t")], vec![newer.clone()]);
        rig.store().take_in(parcel, overwrite, try_only)
    };
    let arrivals = take(false, false).await.unwrap();
    assert_eq!(arrivals.tokens, [(TokenId::of("t"), Arrived::LeftAlone)]);
    let arrivals = take(true, true).await.unwrap();
    assert_eq!(arrivals.tokens, [(TokenId::of("t"), Arrived::Replaced)]);
    assert_eq!(
        rig.store().export_tokens(None).unwrap(),
        before,
        "only tried"
    );

    let arrivals = take(true, false).await.unwrap();
    assert_eq!(arrivals.tokens, [(TokenId::of("t"), Arrived::Replaced)]);
    let taken = rig.store().export_tokens(None).unwrap();
    assert_eq!(taken[0].refresh_token, newer.refresh_token);
    let again = take(true, false).await.unwrap();
    assert_eq!(again.entries, [("t".to_owned(), Imported::Unchanged)]);
    assert_eq!(again.tokens, [(TokenId::of("t"), Arrived::Same)]);

    let database = rusqlite::Connection::open(rig.database()).unwrap();
    let kept: Vec<String> = database
        .prepare("SELECT why FROM former_refresh_token WHERE config = 't'")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    assert_eq!(kept, ["another refresh token was imported"]);
}

#[tokio::test]
async fn an_export_from_before_a_rotation_does_not_end_the_grant_that_works() {
    let rig = Rig::seeded().await;
    rig.endpoint.world().rotate = true;
    let old = parcel(Vec::new(), rig.store().export_tokens(None).unwrap());
    rig.tokens.access("t").await.unwrap();
    let present = rig.store().export_tokens(None).unwrap();
    assert_ne!(present, old.tokens, "the provider rotates");

    let arrivals = rig.store().take_in(old.clone(), true, false).await.unwrap();
    assert_eq!(arrivals.tokens, [(TokenId::of("t"), Arrived::Older)]);
    assert_eq!(rig.store().export_tokens(None).unwrap(), present);
    rig.tokens.refresh("t").await.unwrap();

    // The time when it was had is not always known: then what was asked for is done.
    let mut undated = old;
    undated.tokens[0].obtained_at = None;
    let arrivals = rig.store().take_in(undated, true, false).await.unwrap();
    assert_eq!(arrivals.tokens, [(TokenId::of("t"), Arrived::Replaced)]);
}

#[tokio::test]
async fn trying_an_import_says_all_and_changes_nothing() {
    let rig = Rig::new().await;
    let mut token = carried("fresh");
    token.id = TokenId::of("new");
    let parcel = parcel(vec![rig.entry("new")], vec![token]);
    let tried = rig
        .store()
        .take_in(parcel.clone(), false, true)
        .await
        .unwrap();
    assert_eq!(rig.store().token_config("new").unwrap(), None);
    assert!(rig.store().export_tokens(None).unwrap().is_empty());
    let done = rig.store().take_in(parcel, false, false).await.unwrap();
    assert_eq!(done, tried);
    assert_eq!(rig.status("new").state, State::Ready);
}

#[tokio::test]
async fn a_token_without_a_place_refuses_the_whole_parcel() {
    let rig = Rig::new().await;
    let lost = Carried {
        id: TokenId::of("nowhere"),
        ..carried("fresh")
    };
    let of_subject = Carried {
        id: TokenId::for_subject("t", "anna"),
        ..carried("fresh")
    };
    let of_app = Carried {
        id: TokenId::of("app"),
        ..carried("fresh")
    };
    for token in [lost, of_subject, of_app, carried(" "), carried("two words")] {
        let parcel = parcel(vec![rig.app_entry("app")], vec![token]);
        rig.store().take_in(parcel, true, false).await.unwrap_err();
        assert_eq!(rig.store().token_config("app").unwrap(), None);
    }
}
