//! The table of mailboxes or relays, a page at a time.

use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::Response;
use axum::routing::{MethodRouter, get};
use token_store::accounts::{Defined, Definition, Kind};

use super::{Row, Words};
use crate::App;
use crate::error::PageError;
use crate::pages::{Frame, Section, html};
use crate::session::SignedIn;

/// Rows on a page, which stays well below 60 KB so.
const PAGE: usize = 20;

#[derive(Template)]
#[template(path = "accounts.html")]
struct AccountsPage {
    frame: Frame,
    words: Words,
    rows: Vec<Row>,
    search: String,
    /// `1 to 20 of 500`; None: they are all here.
    pages: Option<String>,
    /// The last name of this page, if there are more.
    next: Option<String>,
}

/// Which part of the table.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
struct Part {
    q: String,
    /// The last name that was seen.
    after: String,
}

/// The table.
pub(crate) fn page(kind: Kind) -> MethodRouter<App> {
    let handler = move |State(app): State<App>,
                        by: SignedIn,
                        part: Result<Query<Part>, QueryRejection>| async move {
        let part = part.map(|Query(part)| part).unwrap_or_default();
        table(&app, &by, Words::of(kind), &part)
    };
    get(handler)
}

fn table(app: &App, by: &SignedIn, words: Words, part: &Part) -> Result<Response, PageError> {
    let search = part.q.trim().to_lowercase();
    let mut found = app.store().accounts(words.kind)?;
    found.retain(|defined| means(defined, &search));
    let all = found.len();
    let before = found
        .iter()
        .filter(|defined| defined.definition.name() <= part.after.as_str());
    let before = if part.after.is_empty() {
        0
    } else {
        before.count()
    };
    let rows = found.iter().skip(before).take(PAGE);
    let rows: Vec<Row> = rows
        .map(|defined| Row::of(app, defined))
        .collect::<Result<_, _>>()?;
    let shown = before + rows.len();
    let next = rows
        .last()
        .filter(|_| shown < all)
        .map(|row| row.fare.name.clone());
    let pages = (all > PAGE).then(|| format!("{} to {shown} of {all}", before + 1));
    html(&AccountsPage {
        frame: app.frame(by, words.section(), words.many)?,
        words,
        rows,
        search: part.q.trim().to_owned(),
        pages,
        next,
    })
}

/// Whether an account has this in its name or user.
fn means(defined: &Defined, search: &str) -> bool {
    let user = match &defined.definition {
        Definition::Mailbox(mailbox) => &mailbox.user,
        Definition::Relay(relay) => &relay.user,
    };
    let name = defined.definition.name();
    [name, user.as_str()]
        .iter()
        .any(|text| text.to_lowercase().contains(search))
}
