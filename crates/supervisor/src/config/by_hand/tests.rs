//! What the two doors have in common: every account of the commented configuration, through the other door.

use super::*;
use crate::config::Config;
use token_store::seal::Key as SealingKey;

const COMMENTED: &str = include_str!("../../../../../config/postern.yaml");

fn store(folder: &std::path::Path) -> Store {
    Store::open(&folder.join("accounts.db"), SealingKey::from_bytes([7; 32])).unwrap()
}

/// The commented configuration with secrets that are there.
fn commented() -> Config {
    let text: Vec<String> = COMMENTED
        .lines()
        .map(
            |line| match line.find("{credential:").or_else(|| line.find("{file:")) {
                Some(at) if !line.trim_start().starts_with('#') => {
                    let end = line[at..].find('}').unwrap();
                    format!("{}planted{}", &line[..at], &line[at + end + 1..])
                }
                _ => line.to_owned(),
            },
        )
        .filter(|line| !line.starts_with("key:"))
        .collect();
    // Certificates of listeners are looked at, and there are none here.
    let mut section = String::new();
    let text: Vec<String> = text
        .into_iter()
        .filter(|line| {
            if line.starts_with(|first: char| first.is_ascii_lowercase()) {
                section = line.clone();
            }
            !section.starts_with("submission:")
        })
        .collect();
    let file = std::path::Path::new("/etc/postern/postern.yaml");
    Config::from_text(file, &text.join("\n")).unwrap_or_else(|mistakes| panic!("{mistakes}"))
}

#[tokio::test]
async fn an_account_that_a_file_declares_is_made_the_same_by_hand() {
    let folder = tempfile::tempdir().unwrap();
    let (store, config) = (store(folder.path()), commented());
    let declared = config.declared.clone();
    store.declare("postern.yaml", declared).await.unwrap();
    let mut seen = 0;
    for kind in [Kind::Mailbox, Kind::Relay] {
        for defined in store.accounts(kind).unwrap() {
            let order = store
                .order_of(&defined.definition, &config.library)
                .unwrap();
            let made = read(kind, &order, &config.library, &store).unwrap();
            let by_hand = match defined.definition.clone() {
                Definition::Mailbox(mut mailbox) => {
                    mailbox.declared_in = None;
                    Definition::Mailbox(mailbox)
                }
                Definition::Relay(mut relay) => {
                    relay.declared_in = None;
                    Definition::Relay(relay)
                }
            };
            assert_eq!(made, by_hand);
            seen += 1;
        }
    }
    assert!(seen >= 7, "{seen}");
}

#[test]
fn mistakes_are_those_of_the_file_at_the_key_without_a_position() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let mut order = Order::default();
    order.set_text("name", "support");
    order.set_text("user", "support@example.com");
    order.set_text("auth.token", "suport");
    order.set("folders", Given::List(vec!["INBOX".into(), "inbox".into()]));
    order.set_text("poll", "often");
    order.set_text("paused", "yes");
    let library = Library::load(None);
    let Err(Unfit::Mistakes(mistakes)) = read(Kind::Mailbox, &order, &library, &store) else {
        panic!("it was taken");
    };
    let mut lines: Vec<String> = in_lines(&mistakes).lines().map(str::to_owned).collect();
    lines.sort();
    assert_eq!(
        lines,
        [
            "auth.token: there is no token config \"suport\"; token_configs names none",
            "deliver: is missing; expected where its messages go, such as the ticket system's command",
            "folders: the folder \"inbox\" stands in this list already",
            "paused: found \"yes\"; expected true or false",
            "poll: found \"often\"; expected a duration such as 500ms, 30s, 10m, 2h or 5d",
        ]
    );
}

#[test]
fn a_template_gives_an_account_with_a_password_its_server_and_quirks() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let library = Library::load(None);
    let mut order = Order::default();
    order.set_text("name", "m");
    order.set_text("template", "google");
    order.set_text("user", "a@example.com");
    order.set(
        "auth.password",
        Given::Secret(token_store::Secret::new("null")),
    );
    order.set_text("deliver.maildir", "/var/mail/a");
    let Ok(Definition::Mailbox(mailbox)) = read(Kind::Mailbox, &order, &library, &store) else {
        panic!("not taken");
    };
    assert_eq!(
        (mailbox.host.as_str(), mailbox.port),
        ("imap.gmail.com", 993)
    );
    assert!(mailbox.trash_on_delete);
    assert_eq!(mailbox.template.as_deref(), Some("google"));
    let again = store
        .order_of(&Definition::Mailbox(mailbox), &library)
        .unwrap();
    assert_eq!(again.get("host"), None, "left to the template");
    order.set_text("auth.token", "t");
    let Err(Unfit::Mistakes(_)) = read(Kind::Mailbox, &order, &library, &store) else {
        panic!("taken with an unknown token config");
    };
}
