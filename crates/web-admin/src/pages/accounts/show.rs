//! One mailbox or relay: how it fares, what it is, and its last messages in flight.

use askama::Template;
use axum::extract::State;
use axum::routing::{MethodRouter, get};
use spool::{Part, Search};
use token_store::accounts::{Given, Kind};

use super::{Asked, Row, Words, direction, named};
use crate::App;
use crate::pages::queue::Message;
use crate::pages::{Frame, Section, html};
use crate::session::SignedIn;
use crate::words::now;

/// As many as an administrator wants to look over.
const MESSAGES: usize = 50;

#[derive(Template)]
#[template(path = "account.html")]
struct AccountPage {
    frame: Frame,
    words: Words,
    name: String,
    row: Row,
    paused_by_hand: bool,
    /// Keys of the configuration file with their values; secrets are left out.
    settings: Vec<(String, String)>,
    messages: Vec<Message>,
}

/// The page of one account.
pub(crate) fn show(kind: Kind) -> MethodRouter<App> {
    get(
        move |State(app): State<App>, by: SignedIn, asked: Asked| async move {
            let words = Words::of(kind);
            let found = named(&app, kind, asked)?;
            let name = found.definition.name().to_owned();
            let order = app
                .store()
                .order_of(&found.definition, &app.parts.library)?;
            let settings = order.iter().filter(|(key, _)| *key != "name");
            let settings = settings.map(|(key, value)| (key.to_owned(), in_words(value)));
            let search = Search {
                direction: Some(direction(kind)),
                account: Some(name.clone()),
                ..Search::default()
            };
            let now = now();
            let rows = app.parts.spool.search(&search, Part::Newest, MESSAGES)?;
            let messages = rows.iter().map(|row| Message::of(row, now));
            html(&AccountPage {
                frame: app.frame(&by, words.section(), &name)?,
                words,
                row: Row::of(&app, &found)?,
                paused_by_hand: found.paused,
                settings: settings.collect(),
                messages: messages.collect(),
                name,
            })
        },
    )
}

fn in_words(value: &Given) -> String {
    match value {
        Given::Text(text) => text.clone(),
        Given::List(items) => items.join(", "),
        Given::Secret(_) => "stored, never shown".to_owned(),
    }
}
