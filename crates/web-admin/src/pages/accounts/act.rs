//! *Fetch now*, *Pause*, *Resume*, *Delete*.

use axum::extract::State;
use axum::response::Response;
use axum::routing::{MethodRouter, get, post};
use token_store::accounts::{Change, Kind};

use super::edit::encoded;
use super::{Asked, Words, direction, named, refused, told};
use crate::App;
use crate::error::PageError;
use crate::flash::Flash;
use crate::pages::{Confirm, html};
use crate::session::{Posted, SignedIn};

/// *Fetch now*; relays have no such thing.
pub(crate) async fn fetch(State(app): State<App>, posted: Posted) -> Result<Response, PageError> {
    let name = posted.fields.raw("account");
    let words = Words::of(Kind::Mailbox);
    let flash = match app.parts.gateway.fetch_now(name) {
        true => {
            app.audit(&posted.by, &format!("fetched the mailbox {name} now"))
                .await;
            Flash::good(&format!("The mailbox {name} is being fetched."))
        }
        false => Flash::bad(&format!("No mailbox named {name} is running.")),
    };
    Ok(told(&app, &posted.by, flash, words.path))
}

/// *Pause*, and with `false` *Resume*.
pub(crate) fn pause(kind: Kind, paused: bool) -> MethodRouter<App> {
    post(move |State(app): State<App>, posted: Posted| async move {
        let words = Words::of(kind);
        let name = posted.fields.raw("account").to_owned();
        let change = Change::Pause {
            name: name.clone(),
            paused,
        };
        let flash = match app.parts.gateway.change_account(kind, change).await {
            Ok(()) => {
                let did = if paused { "paused" } else { "resumed" };
                app.audit(&posted.by, &format!("{did} the {} {name}", words.one))
                    .await;
                paused_words(words, &name, paused)
            }
            Err(error) => refused(error)?,
        };
        let link = format!("{}/show?name={}", words.path, encoded(&name));
        Ok::<_, PageError>(told(&app, &posted.by, flash, &link))
    })
}

fn paused_words(words: Words, name: &str, paused: bool) -> Flash {
    let one = words.one;
    match (paused, words.kind) {
        (false, _) => Flash::good(&format!("The {one} {name} goes on.")),
        (true, Kind::Mailbox) => Flash::good(&format!("The mailbox {name} is paused."))
            .advise("What is being delivered ends; nothing more is fetched, also after a restart, until you resume it."),
        (true, Kind::Relay) => Flash::good(&format!("The relay {name} is paused."))
            .advise("What is being sent ends; replies are taken and wait, also after a restart, until you resume it."),
    }
}

/// Asks whether an account is really to be deleted.
fn ask_delete(kind: Kind) -> MethodRouter<App> {
    get(
        move |State(app): State<App>, by: SignedIn, asked: Asked| async move {
            let words = Words::of(kind);
            let found = named(&app, kind, asked)?;
            let name = found.definition.name().to_owned();
            if let Some(file) = found.definition.declared_in() {
                let why = format!("{name} is declared in {file}; remove it there.");
                return Ok(told(&app, &by, Flash::bad(&why), words.path));
            }
            let counts = app.parts.spool.counts(direction(kind), &name)?;
            let mut in_the_way = Vec::new();
            if counts.waiting > 0 {
                in_the_way.push(format!("{} waiting", counts.waiting));
            }
            if counts.held > 0 {
                in_the_way.push(format!("{} held", counts.held));
            }
            let sentences = match (in_the_way.is_empty(), kind) {
            (false, _) => vec![format!(
                "{name} has messages that are not delivered. Let them go out, or delete them from the queue; pause the {} meanwhile, so that it takes no new ones.",
                words.one
            )],
            (true, Kind::Mailbox) => vec![
                format!("Postern forgets the mailbox {name}. The mailbox itself and what is in it are not touched."),
                "What was fetched before is remembered: should a mailbox of this name come again, it is not fetched twice.".to_owned(),
            ],
            (true, Kind::Relay) => vec![format!("Replies of its senders are refused from then on, unless another relay serves them. Postern forgets {name} and its password.")],
        };
            html(&Confirm {
                frame: app.frame(&by, words.section(), &format!("Delete {name}?"))?,
                words: sentences,
                in_the_way,
                action: match kind {
                    Kind::Mailbox => "/mailboxes/delete",
                    Kind::Relay => "/relays/delete",
                },
                name,
                button: "Delete",
                back: words.path,
            })
        },
    )
}

/// Deletes it.
pub(crate) fn delete(kind: Kind) -> MethodRouter<App> {
    let done = move |State(app): State<App>, posted: Posted| async move {
        let words = Words::of(kind);
        let name = posted.fields.raw("name").to_owned();
        let change = Change::Delete(name.clone());
        let flash = match app.parts.gateway.change_account(kind, change).await {
            Ok(()) => {
                app.audit(&posted.by, &format!("deleted the {} {name}", words.one))
                    .await;
                Flash::good(&format!("The {} {name} was deleted.", words.one))
            }
            Err(error) => refused(error)?,
        };
        Ok::<_, PageError>(told(&app, &posted.by, flash, words.path))
    };
    ask_delete(kind).post(done)
}
