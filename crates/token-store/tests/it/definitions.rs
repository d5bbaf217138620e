//! Import, export, declare and delete: what happens to rows, and to the tokens behind them.

use crate::support::{Rig, mailbox, relay};
use provider_template::Edit;
use token_store::accounts::{Auth, Declared, Http, Mailbox, Way};
use token_store::state::State;
use token_store::{AddError, Edited, Imported, Secret, StoreError};

fn token(name: &str) -> Auth {
    Auth::Token(name.into())
}

/// The whole definition of a file in these tests: one token config, one mailbox, one relay.
fn declared(rig: &Rig) -> Declared {
    Declared {
        token_configs: vec![("generic".into(), rig.entry("declared"))],
        mailboxes: vec![mailbox("m", token("declared"))],
        relays: vec![relay("r", Auth::Password(Secret::new("pw")))],
    }
}

async fn seed(rig: &Rig, config: &str) -> String {
    let planted = rig.endpoint.world().plant();
    rig.tokens
        .seed(config, Secret::new(planted.clone()))
        .await
        .unwrap();
    planted
}

#[tokio::test]
async fn what_is_declared_comes_back_as_it_was_with_its_password() {
    let rig = Rig::new().await;
    rig.store().declare("a.yaml", declared(&rig)).await.unwrap();
    let mut expected = (
        mailbox("m", token("declared")),
        relay("r", Auth::Password(Secret::new("pw"))),
    );
    expected.0.declared_in = Some("a.yaml".into());
    expected.1.declared_in = Some("a.yaml".into());
    assert_eq!(rig.store().mailboxes().unwrap(), [expected.0]);
    assert_eq!(rig.store().relays().unwrap(), [expected.1]);
    let config = rig.store().token_config("declared").unwrap().unwrap();
    assert_eq!(config.entry, rig.entry("declared"));
    assert_eq!(
        (config.template.as_deref(), config.declared_in.as_deref()),
        (Some("generic"), Some("a.yaml"))
    );
    assert_eq!(rig.status("declared").used_by, ["mailbox m"]);
}

#[tokio::test]
async fn the_secret_of_an_http_delivery_is_sealed_beside_the_definition_and_comes_back() {
    let rig = Rig::new().await;
    let http = Http {
        url: "https://desk.example.com/mail".into(),
        secret: Secret::new("signed with this"),
        ca_file: Some("/etc/ca.pem".into()),
    };
    let mut declared = declared(&rig);
    declared.mailboxes[0].deliver.way = Way::Http(http.clone());
    rig.store().declare("a.yaml", declared).await.unwrap();
    let mailbox = rig.store().mailboxes().unwrap().remove(0);
    assert_eq!(mailbox.deliver.way, Way::Http(http));
    let database = std::fs::read(rig.database()).unwrap();
    let wal = std::fs::read(rig.database().with_extension("db-wal")).unwrap_or_default();
    for file in [database, wal] {
        assert!(!file.windows(16).any(|bytes| bytes == b"signed with this"));
    }
}

#[tokio::test]
async fn declaring_again_keeps_tokens_and_removes_what_is_gone_but_nothing_made_by_hand() {
    let rig = Rig::seeded().await;
    rig.store().declare("a.yaml", declared(&rig)).await.unwrap();
    seed(&rig, "declared").await;
    let before = rig.tokens.access("declared").await.unwrap();
    rig.store().declare("a.yaml", declared(&rig)).await.unwrap();
    assert_eq!(
        rig.tokens.access("declared").await.unwrap().version,
        before.version
    );

    rig.store()
        .declare("a.yaml", Declared::default())
        .await
        .unwrap();
    assert_eq!(rig.store().mailboxes().unwrap(), []);
    assert_eq!(rig.store().relays().unwrap(), []);
    assert_eq!(rig.store().token_config("declared").unwrap(), None);
    assert!(rig.store().token_config("t").unwrap().is_some());

    // The line had been deleted by mistake: its consent comes back with it.
    rig.store().declare("a.yaml", declared(&rig)).await.unwrap();
    assert_eq!(rig.status("declared").state, State::Ready);
    rig.tokens.access("declared").await.unwrap();
}

#[tokio::test]
async fn a_renamed_file_and_a_config_made_by_hand_are_taken_over_with_their_tokens() {
    let rig = Rig::seeded().await;
    rig.store().declare("a.yaml", declared(&rig)).await.unwrap();
    seed(&rig, "declared").await;
    let mut renamed = declared(&rig);
    renamed
        .token_configs
        .push(("generic".into(), rig.entry("t")));
    rig.store().declare("b.yaml", renamed).await.unwrap();
    for name in ["declared", "t"] {
        let config = rig.store().token_config(name).unwrap().unwrap();
        assert_eq!(config.declared_in.as_deref(), Some("b.yaml"));
        assert_eq!(rig.status(name).state, State::Ready);
        rig.tokens.access(name).await.unwrap();
    }
    assert!(
        rig.store()
            .mailboxes()
            .unwrap()
            .iter()
            .all(|m| m.declared_in.as_deref() == Some("b.yaml"))
    );
}

#[tokio::test]
async fn a_bad_declaration_changes_nothing() {
    let rig = Rig::new().await;
    rig.store().declare("a.yaml", declared(&rig)).await.unwrap();
    let missing = Declared {
        relays: vec![relay("x", token("nobody"))],
        ..Declared::default()
    };
    let twice = Declared {
        mailboxes: vec![mailbox("y", token("t")), mailbox("y", token("t"))],
        ..Declared::default()
    };
    let cases = [
        (
            missing,
            "relay x: it signs in with the token config nobody, which does not exist",
        ),
        (twice, "mailbox y: it is declared twice"),
    ];
    for (bad, words) in cases {
        let error = rig
            .store()
            .declare("b.yaml", bad)
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains(words), "{error}");
    }
    // One bad line undoes the good ones before it.
    let mut mixed = Declared {
        relays: vec![relay("x", token("nobody"))],
        ..declared(&rig)
    };
    mixed.mailboxes.clear();
    rig.store().declare("a.yaml", mixed).await.unwrap_err();
    assert_eq!(rig.store().mailboxes().unwrap().len(), 1);
    // A token config that a mailbox needs stays.
    let other = Declared {
        mailboxes: vec![mailbox("other", token("declared"))],
        ..Declared::default()
    };
    let error = rig.store().declare("a.yaml", other).await.unwrap_err();
    assert!(
        error.to_string().contains("used by mailbox other"),
        "{error}"
    );
}

#[tokio::test]
async fn an_import_leaves_existing_names_alone_unless_told_to_overwrite() {
    let rig = Rig::seeded().await;
    let mut changed = rig.entry("t");
    changed.config.scope = "mail more".into();
    let both = || vec![changed.clone(), rig.entry("new")];
    let done = rig.store().import(both(), false).await.unwrap();
    assert_eq!(
        done,
        [
            ("t".into(), Imported::LeftAlone),
            ("new".into(), Imported::Added)
        ]
    );
    assert_eq!(
        rig.store()
            .token_config("t")
            .unwrap()
            .unwrap()
            .entry
            .config
            .scope,
        "mail"
    );
    let done = rig.store().import(both(), true).await.unwrap();
    assert_eq!(
        done,
        [
            ("t".into(), Imported::Changed),
            ("new".into(), Imported::Unchanged)
        ]
    );
    assert_eq!(rig.store().export(Some(&["t".into()])).unwrap(), [changed]);
    assert_eq!(
        rig.status("t").state,
        State::Ready,
        "same client, same endpoints: the token stays"
    );
    rig.tokens.access("t").await.unwrap();
    assert_eq!(rig.endpoint.world().requests[0]["scope"], "mail more");
}

#[tokio::test]
async fn an_import_is_all_or_nothing() {
    let rig = Rig::new().await;
    rig.store().declare("a.yaml", declared(&rig)).await.unwrap();
    let mut of_file = rig.entry("declared");
    of_file.config.scope = "other".into();
    let mut in_clear = rig.entry("in clear");
    let refresh = in_clear.config.requests.token_by_refresh_token.as_mut();
    refresh.unwrap().url = "http://provider.example/token".into();
    for bad in [of_file, rig.entry("new"), rig.entry(" "), in_clear] {
        rig.store()
            .import(vec![rig.entry("new"), bad], true)
            .await
            .unwrap_err();
        assert_eq!(rig.store().token_config("new").unwrap(), None);
    }
    let same = rig
        .store()
        .import(vec![rig.entry("declared")], true)
        .await
        .unwrap();
    assert_eq!(
        same,
        [("declared".into(), Imported::Unchanged)],
        "a file's own export is no change"
    );
}

#[tokio::test]
async fn another_client_asks_for_consent_and_going_back_brings_the_grant_back() {
    let rig = Rig::seeded().await;
    rig.tokens.access("t").await.unwrap();
    let mut other = rig.entry("t");
    other.config.client_id = "another".into();
    rig.import(other).await;
    assert_eq!(rig.status("t").state, State::NeedsConsent);
    rig.tokens.access("t").await.unwrap_err();
    assert_eq!(
        rig.endpoint.count(),
        1,
        "the former client's refresh token is not shown to the new one's endpoint"
    );
    rig.import(rig.entry("t")).await;
    assert_eq!(rig.status("t").state, State::Ready);
    rig.tokens.access("t").await.unwrap();
}

#[tokio::test]
async fn an_export_without_secrets_brought_back_does_not_erase_the_secret() {
    let rig = Rig::seeded().await;
    let mut bare = rig.entry("t");
    bare.config.client_secret = Secret::default();
    let done = rig.store().import(vec![bare], true).await.unwrap();
    assert_eq!(done, [("t".into(), Imported::Unchanged)]);
    rig.tokens.access("t").await.unwrap();
    assert_eq!(
        rig.endpoint.world().requests[0]["client_secret"],
        "planted-client-secret"
    );
}

#[tokio::test]
async fn the_template_of_a_token_config_stays() {
    let rig = Rig::new().await;
    let mut from = rig.entry("x");
    from.config.template_name = Some("google".into());
    rig.import(from.clone()).await;
    from.config.template_name = Some("microsoft-common".into());
    let error = rig.store().import(vec![from], true).await.unwrap_err();
    assert!(
        error.to_string().contains("google") && error.to_string().contains("microsoft-common"),
        "{error}"
    );
}

#[tokio::test]
async fn a_token_config_in_use_or_declared_is_not_deleted() {
    let rig = Rig::seeded().await;
    let mut all = declared(&rig);
    all.mailboxes.push(mailbox("m2", token("t")));
    all.relays.push(relay("r2", token("t")));
    rig.store().declare("b.yaml", all).await.unwrap();
    let error = rig.store().delete_token_config("t").await.unwrap_err();
    assert!(
        error.to_string().contains("mailbox m2, relay r2"),
        "{error}"
    );
    let error = rig
        .store()
        .delete_token_config("declared")
        .await
        .unwrap_err();
    assert!(
        matches!(&error, StoreError::DeclaredIn { file, .. } if file == "b.yaml"),
        "{error}"
    );
    rig.store()
        .declare("b.yaml", Declared::default())
        .await
        .unwrap();
    rig.store().delete_token_config("t").await.unwrap();
    let error = rig.store().delete_token_config("t").await.unwrap_err();
    assert!(matches!(error, StoreError::Unknown { .. }), "{error}");
    // Deleted by hand means gone: made anew, it has no token.
    rig.import(rig.entry("t")).await;
    assert_eq!(rig.status("t").state, State::NeedsConsent);
}

#[tokio::test]
async fn statuses_speak_in_words() {
    let rig = Rig::new().await;
    let status = rig.status("t");
    assert_eq!(
        (status.token.as_str(), status.refresh_token.as_str()),
        ("no token was requested yet", "none yet")
    );
    seed(&rig, "t").await;
    let status = rig.status("t");
    assert_eq!(status.token, "requested at first use");
    assert_eq!(status.refresh_token, "valid, no end date known");
    rig.endpoint.world().canned.push_back((
        400,
        String::new(),
        r#"{"error":"invalid_grant"}"#.into(),
    ));
    rig.tokens.access("t").await.unwrap_err();
    let status = rig.status("t");
    assert!(
        status
            .token
            .starts_with("last request failed: invalid_grant"),
        "{}",
        status.token
    );
    assert_eq!(status.refresh_token, "refused by the provider");
    rig.tokens.refresh("t").await.unwrap();
    let status = rig.status("t");
    let end = status.expires_at.unwrap();
    assert!(
        status.token.starts_with("valid until 2") && status.token.ends_with(" UTC"),
        "{}",
        status.token
    );
    assert!(
        end > 1_700_000_000 && end < 100_000_000_000,
        "seconds, not milliseconds"
    );
    rig.import(rig.app_entry("app")).await;
    assert_eq!(rig.status("app").refresh_token, "not needed");
}

#[tokio::test]
async fn an_edit_keeps_the_token_while_client_and_endpoints_are_the_same() {
    let rig = Rig::seeded().await;
    let edit = |edit| rig.store().edit_token_config("t", edit);
    assert_eq!(edit(Edit::default()).await.unwrap(), Edited::Unchanged);
    let secret = Edit {
        client_secret: Some(Secret::new("newer-secret")),
        ..Edit::default()
    };
    assert_eq!(edit(secret).await.unwrap(), Edited::Changed);
    rig.tokens.access("t").await.unwrap();
    assert_eq!(
        rig.endpoint.world().requests[0]["client_secret"],
        "newer-secret"
    );
    let client = Edit {
        client_id: Some("another".into()),
        ..Edit::default()
    };
    assert_eq!(edit(client).await.unwrap(), Edited::TokenAside);
    assert_eq!(rig.status("t").state, State::NeedsConsent);
    let back = Edit {
        client_id: Some("client".into()),
        ..Edit::default()
    };
    assert_eq!(edit(back).await.unwrap(), Edited::Changed);
    assert_eq!(rig.status("t").state, State::Ready);
}

#[tokio::test]
async fn an_edit_is_refused_for_what_a_file_declares_and_for_mistakes() {
    let rig = Rig::new().await;
    rig.store().declare("a.yaml", declared(&rig)).await.unwrap();
    let scope = |scope: &str| Edit {
        scope: Some(scope.into()),
        ..Edit::default()
    };
    let refused = rig
        .store()
        .edit_token_config("declared", scope("more"))
        .await;
    assert!(refused.unwrap_err().to_string().contains("a.yaml"));
    let refused = rig.store().edit_token_config("t", scope(" ")).await;
    assert!(matches!(refused, Err(AddError::Mistakes(_))), "{refused:?}");
    let refused = rig
        .store()
        .edit_token_config("nowhere", scope("more"))
        .await;
    assert!(refused.is_err());
}

#[test]
fn a_mailbox_that_was_stored_before_there_was_pop3_is_read_as_imap() {
    let mailbox = mailbox("m", Auth::Token("t".into()));
    let mut row = serde_json::to_value(&mailbox).unwrap();
    for key in ["protocol", "pop3_two_line_auth"] {
        row.as_object_mut().unwrap().remove(key).unwrap();
    }
    let read: Mailbox = serde_json::from_value(row).unwrap();
    assert_eq!(read, mailbox);
}
