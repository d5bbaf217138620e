//! What `postern mailbox` and `postern relay` have in common: the keys of the configuration file as arguments, and what is done with them.

mod keys;

use clap::Args;
use provider_template::Library;
use serde_json::json;
use token_store::accounts::{Change, Defined, Given, Kind, Order};
use token_store::{Secret, Store};

use super::exit::{Code, Failure};
use super::office::Office;
use super::{prompt, status, table};
use crate::run::by_hand::make;
pub(super) use keys::{Delivery, Keys, put, put_list};

/// Keys of secrets: never an argument, which every user of the machine can read.
const PASSWORD: &str = "auth.password";
const HTTP_SECRET: &str = "deliver.http.secret";

/// Which secrets an edit asks for.
#[derive(Debug, Default, Args)]
pub(crate) struct Renewed {
    /// Sign in with a password, or another one; it is asked for, or read from standard input.
    #[arg(long, conflicts_with = "token")]
    password: bool,
    /// Another secret for the HTTP endpoint, likewise.
    #[arg(long)]
    http_secret: bool,
    /// Take a key back, so that its default holds; may be repeated.
    #[arg(long, value_name = "KEY")]
    unset: Vec<String>,
}

/// Adds an account; secrets that the order needs are asked for.
pub(super) async fn add(
    office: &Office,
    kind: Kind,
    mut order: Order,
    paused: bool,
) -> Result<(), Failure> {
    let mut wanted = Vec::new();
    if order.get("auth.token").is_none() {
        wanted.push(PASSWORD);
    }
    if order.get("deliver.http.url").is_some() {
        wanted.push(HTTP_SECRET);
    }
    ask(&mut order, &wanted)?;
    if paused {
        order.set_text("paused", "true");
    }
    let name = order.text("name").to_owned();
    change(office, kind, Change::Add(order)).await?;
    let next = match (office.daemon(), paused) {
        (_, true) => format!(
            "it is paused; `postern {} resume {name}` starts it",
            kind.word()
        ),
        (Some(_), _) => format!("`postern {} list` shows how it fares", kind.word()),
        (None, _) => "it starts with the daemon".to_owned(),
    };
    table::line(&format!("added {name}; {next}"))
}

/// Changes an account; what is not named stays.
pub(super) async fn edit(
    office: &Office,
    kind: Kind,
    name: &str,
    changes: Order,
    renewed: &Renewed,
) -> Result<(), Failure> {
    let store = office.store()?;
    let present = named(&store, kind, name)?;
    if let Some(file) = present.definition.declared_in() {
        let why = format!("{name} is declared in {file} and can only be changed there");
        return Err(Failure::new(Code::Data, why));
    }
    let library = &office.config.library;
    let mut order = store.order_of(&present.definition, library)?;
    let before = order.clone();
    for key in &renewed.unset {
        order.remove(key);
    }
    order.overlay(changes);
    let to_http = order.get("deliver.http.url").is_some();
    let mut wanted = Vec::new();
    if renewed.password {
        wanted.push(PASSWORD);
    }
    if renewed.http_secret || (to_http && order.get(HTTP_SECRET).is_none()) {
        wanted.push(HTTP_SECRET);
    }
    ask(&mut order, &wanted)?;
    // Another token config gives the server, unless one is named.
    if order.get("auth.token").is_some() {
        order.remove("template");
    }
    if order.says_the_same(&before) {
        return table::line(&format!("{name} is the same already"));
    }
    let version = present.version;
    let edit = Change::Edit {
        name: name.to_owned(),
        version,
        order,
        password_stays_home: false,
    };
    change(office, kind, edit).await?;
    table::line(&format!("{name} is changed"))
}

/// Asks for secrets, in this order.
fn ask(order: &mut Order, wanted: &[&str]) -> Result<(), Failure> {
    let questions: Vec<&str> = wanted
        .iter()
        .map(|key| match *key {
            PASSWORD => "password",
            _ => "secret of the HTTP endpoint",
        })
        .collect();
    let given: Vec<Secret> = prompt::secrets(&questions)?;
    for ((key, secret), question) in wanted.iter().zip(given).zip(questions) {
        if secret.is_empty() {
            let why = format!("no {question} was given; nothing was changed");
            return Err(Failure::new(Code::Data, why));
        }
        order.set(key, Given::Secret(secret));
    }
    Ok(())
}

/// Deletes an account.
pub(super) async fn delete(office: &Office, kind: Kind, name: &str) -> Result<(), Failure> {
    change(office, kind, Change::Delete(name.to_owned())).await?;
    let spool = office.spool()?;
    let left = spool.counts(crate::run::by_hand::direction(kind), name)?;
    table::line(&format!("{name} is deleted"))?;
    if left.waiting + left.held > 0 {
        let words = format!(
            "{} came meanwhile and stay in the queue: add the {} again to have them delivered, or delete them there",
            table::count(
                usize::try_from(left.waiting + left.held).unwrap_or(usize::MAX),
                "message"
            ),
            kind.word()
        );
        table::line(&words)?;
    }
    Ok(())
}

/// Pauses an account, or lets it go on.
pub(super) async fn pause(
    office: &Office,
    kind: Kind,
    name: &str,
    paused: bool,
) -> Result<(), Failure> {
    let name = name.to_owned();
    let words = match (paused, kind) {
        (true, Kind::Mailbox) => {
            "is paused: what is being delivered ends, and nothing more is fetched"
        }
        (true, Kind::Relay) => "is paused: what is being sent ends, and replies wait",
        (false, _) => "goes on",
    };
    let line = format!("{name} {words}");
    change(office, kind, Change::Pause { name, paused }).await?;
    table::line(&line)
}

/// Makes a change in the databases, and tells a running daemon.
async fn change(office: &Office, kind: Kind, change: Change) -> Result<(), Failure> {
    let (store, spool) = (office.store()?, office.spool()?);
    let library: &Library = &office.config.library;
    make((&store, &spool, library), kind, change).await?;
    office.tell_accounts_changed().await.map(drop)
}

/// An account by name, or 65 and which names there are.
pub(super) fn named(store: &Store, kind: Kind, name: &str) -> Result<Defined, Failure> {
    if let Some(found) = store.account(kind, name)? {
        return Ok(found);
    }
    let names: Vec<String> = store
        .accounts(kind)?
        .iter()
        .map(|defined| defined.definition.name().to_owned())
        .collect();
    let hint = match names.is_empty() {
        true => "there are none yet".to_owned(),
        false => format!("there are {}", names.join(", ")),
    };
    let what = kind.word();
    Err(Failure::new(
        Code::Data,
        format!("there is no {what} named {name}; {hint}"),
    ))
}

/// Prints an account by the keys of the configuration file, and how it fares; secrets as `***`.
pub(super) async fn show(
    office: &Office,
    kind: Kind,
    name: &str,
    as_json: bool,
) -> Result<(), Failure> {
    let store = office.store()?;
    let found = named(&store, kind, name)?;
    let report = status::report(office).await?;
    let lines = match kind {
        Kind::Mailbox => report.mailboxes,
        Kind::Relay => report.relays,
    };
    let fares = lines.into_iter().find(|line| line.name == name);
    let order = store.order_of(&found.definition, &office.config.library)?;
    if as_json {
        let keys: serde_json::Map<_, _> = order
            .iter()
            .map(|(key, value)| (key.to_owned(), in_json(value)))
            .collect();
        let value = json!({
            "declared_in": found.definition.declared_in(),
            "paused_by_hand": found.paused,
            "keys": keys,
            "fares": fares,
        });
        return table::json(&value);
    }
    let origin = found.definition.declared_in().map_or_else(
        || "made in the web page or on the command line".to_owned(),
        |file| format!("declared in {file}"),
    );
    table::line(&format!("{} {name}, {origin}", kind.word()))?;
    for (key, value) in order.iter().filter(|(key, _)| *key != "name") {
        table::line(&format!("  {key}: {}", table::one_line(&in_words(value))))?;
    }
    let (host, port) = found.definition.server();
    table::line(&format!("  connects to {host}:{port}"))?;
    if found.paused {
        table::line("  paused by a person")?;
    }
    match fares {
        Some(fares) => table::line(&format!(
            "  {}; {} waiting, {} held, {} done",
            table::one_line(&fares.words),
            fares.waiting,
            fares.held,
            fares.done
        )),
        None => Ok(()),
    }
}

fn in_json(value: &Given) -> serde_json::Value {
    match value {
        Given::Text(text) => json!(text),
        Given::List(items) => json!(items),
        Given::Secret(_) => json!("***"),
    }
}

fn in_words(value: &Given) -> String {
    match value {
        Given::Text(text) => text.clone(),
        Given::List(items) => items.join(", "),
        Given::Secret(_) => "***".to_owned(),
    }
}
