//! Accounts made by hand: added, changed, deleted, paused; and what a file's declaration makes of that.

use crate::support::{Rig, mailbox, relay};
use token_store::accounts::{Auth, BouncesTo, Declared, Definition, Http, Kind, Mailbox, Way};
use token_store::{Secret, StoreError};

fn password() -> Auth {
    Auth::Password(Secret::new("planted"))
}

fn defined(mailbox: Mailbox) -> Definition {
    Definition::Mailbox(Box::new(mailbox))
}

fn relay_for(name: &str, senders: &[&str]) -> Definition {
    let mut relay = relay(name, password());
    relay.senders = senders.iter().map(|s| (*s).to_owned()).collect();
    Definition::Relay(Box::new(relay))
}

#[tokio::test]
async fn of_two_people_who_change_an_account_at_once_the_second_is_told() {
    let rig = Rig::new().await;
    let store = rig.store();
    let first = mailbox("m", password());
    store.add_account(defined(first.clone())).await.unwrap();
    let taken = store.add_account(defined(first.clone())).await.unwrap_err();
    assert!(matches!(taken, StoreError::NameTaken { .. }), "{taken}");

    let seen = store.account(Kind::Mailbox, "m").unwrap().unwrap();
    assert_eq!(seen.definition, defined(first.clone()));
    let mut changed = first.clone();
    changed.auth = Auth::Token("t".into());
    changed.deliver.way = Way::Http(Http {
        url: "https://desk.example.com/mail".into(),
        secret: Secret::new("signed"),
        ca_file: None,
    });
    store
        .edit_account(defined(changed.clone()), seen.version)
        .await
        .unwrap();
    let late = store
        .edit_account(defined(first.clone()), seen.version)
        .await
        .unwrap_err();
    assert!(matches!(late, StoreError::Meanwhile { .. }), "{late}");
    assert_eq!(store.mailboxes().unwrap(), [changed]);

    let seen = store.account(Kind::Mailbox, "m").unwrap().unwrap();
    let mut astray = first.clone();
    astray.auth = Auth::Token("nobody's".into());
    let refused = store
        .edit_account(defined(astray), seen.version)
        .await
        .unwrap_err();
    assert!(matches!(refused, StoreError::Invalid { .. }), "{refused}");
    store
        .edit_account(defined(first.clone()), seen.version)
        .await
        .unwrap();
    store.delete_account(Kind::Mailbox, "m").await.unwrap();
    let gone = store
        .edit_account(defined(first), seen.version + 1)
        .await
        .unwrap_err();
    assert!(matches!(gone, StoreError::Unknown { .. }), "{gone}");
}

#[tokio::test]
async fn a_pause_lasts_over_declarations_edits_and_restarts_and_a_files_own_is_the_files() {
    let rig = Rig::new().await;
    let store = rig.store();
    let mut off = relay("off", password());
    off.senders = vec!["off@example.com".into()];
    let declared = Declared {
        mailboxes: vec![mailbox("m", password())],
        relays: vec![off],
        ..Declared::default()
    };
    store.declare("a.yaml", declared.clone()).await.unwrap();
    store.pause_account(Kind::Mailbox, "m", true).await.unwrap();
    store.declare("a.yaml", declared).await.unwrap();
    let beside = rig.beside();
    let paused: Vec<bool> = beside
        .store()
        .mailboxes()
        .unwrap()
        .iter()
        .map(|m| m.paused)
        .collect();
    assert_eq!(paused, [true]);
    let found = beside.store().account(Kind::Mailbox, "m").unwrap().unwrap();
    assert!(found.paused && !found.definition.paused() && found.is_off());
    store
        .pause_account(Kind::Mailbox, "m", false)
        .await
        .unwrap();
    assert!(!store.mailboxes().unwrap()[0].paused);

    let refused = store
        .pause_account(Kind::Relay, "off", false)
        .await
        .unwrap_err();
    assert_eq!(
        refused.to_string(),
        "off is declared in a.yaml as paused; change it there"
    );
    let refused = store.delete_account(Kind::Mailbox, "m").await.unwrap_err();
    assert!(
        matches!(refused, StoreError::DeclaredIn { .. }),
        "{refused}"
    );

    let mut by_hand = mailbox("h", password());
    by_hand.paused = true;
    store.add_account(defined(by_hand.clone())).await.unwrap();
    let found = store.account(Kind::Mailbox, "h").unwrap().unwrap();
    assert!(
        found.paused && !found.definition.paused(),
        "a pause is no definition"
    );
    store
        .edit_account(defined(by_hand), found.version)
        .await
        .unwrap();
    assert!(store.account(Kind::Mailbox, "h").unwrap().unwrap().paused);
}

#[tokio::test]
async fn two_relays_never_claim_one_sender_and_a_mailbox_that_is_reported_to_stays() {
    let rig = Rig::new().await;
    let store = rig.store();
    store
        .add_account(defined(mailbox("m", password())))
        .await
        .unwrap();
    store
        .add_account(relay_for("a", &["desk@example.com"]))
        .await
        .unwrap();
    let refused = store
        .add_account(relay_for("b", &["Desk@example.com"]))
        .await
        .unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("claimed by the relay a already"),
        "{refused}"
    );
    let mut reports = relay("b", password());
    reports.senders = vec!["@example.org".into()];
    reports.bounces_to = Some(BouncesTo::Mailbox("m".into()));
    store
        .add_account(Definition::Relay(Box::new(reports)))
        .await
        .unwrap();
    let refused = store.delete_account(Kind::Mailbox, "m").await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the mailbox m is used by relay b; change or delete those first"
    );
    store.delete_account(Kind::Relay, "b").await.unwrap();
    store.delete_account(Kind::Mailbox, "m").await.unwrap();
}
