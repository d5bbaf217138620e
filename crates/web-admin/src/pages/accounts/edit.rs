//! *Add* and *Edit*: the form, and what becomes of it.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use token_store::accounts::{Change, Defined, Kind, Order};

use super::form::{Block, Form, Look, Offers};
use super::{Asked, Words, named, told};
use crate::error::PageError;
use crate::flash::Flash;
use crate::pages::form::Line;
use crate::pages::{Frame, Section, html};
use crate::session::{Posted, SignedIn};
use crate::{App, ChangeError};

#[derive(Template)]
#[template(path = "account_form.html")]
struct FormPage {
    frame: Frame,
    words: Words,
    action: &'static str,
    /// Empty for a new one.
    name: String,
    /// What was seen when the form was opened.
    version: i64,
    form: Form,
    lines: Vec<Line>,
    paused: bool,
}

/// *Add*.
pub(crate) fn add(kind: Kind) -> MethodRouter<App> {
    let words = Words::of(kind);
    let form = move |State(app): State<App>, by: SignedIn| async move {
        let form = Form::new(kind, &offers(&app)?);
        page(&app, &by, words, None, form, Vec::new(), false)
    };
    let save = move |State(app): State<App>, posted: Posted| async move {
        let mut form = Form::new(kind, &offers(&app)?);
        form.typed(&posted.fields);
        let mut order = form.order(&posted.fields, Order::default());
        let paused = posted.fields.ticked("paused");
        if paused {
            order.set_text("paused", "true");
        }
        let name = order.text("name").to_owned();
        match app
            .parts
            .gateway
            .change_account(kind, Change::Add(order))
            .await
        {
            Ok(()) => {}
            Err(error) => {
                let lines = marked(&mut form, error)?;
                return page(&app, &posted.by, words, None, form, lines, paused);
            }
        }
        app.audit(&posted.by, &format!("added the {} {name}", words.one))
            .await;
        let flash =
            Flash::good(&format!("The {} {name} was added.", words.one)).advise(if paused {
                "It is paused: test it, and let it go on."
            } else {
                "Its state is below."
            });
        let link = format!("{}/show?name={}", words.path, encoded(&name));
        Ok(told(&app, &posted.by, flash, &link))
    };
    get(form).post(save)
}

/// *Edit*.
pub(crate) fn edit(kind: Kind) -> MethodRouter<App> {
    let words = Words::of(kind);
    let form = move |State(app): State<App>, by: SignedIn, asked: Asked| async move {
        let found = named(&app, kind, asked)?;
        if let Some(file) = found.definition.declared_in() {
            let name = found.definition.name();
            let why = format!("{name} is declared in {file}; change it there.");
            return Ok(told(&app, &by, Flash::bad(&why), words.path));
        }
        let order = app
            .store()
            .order_of(&found.definition, &app.parts.library)?;
        let form = Form::of(kind, &offers(&app)?, &order);
        page(&app, &by, words, Some(&found), form, Vec::new(), false)
    };
    let save = move |State(app): State<App>, posted: Posted| async move {
        save_edit(&app, words, &posted).await
    };
    get(form).post(save)
}

async fn save_edit(app: &App, words: Words, posted: &Posted) -> Result<Response, PageError> {
    let (kind, fields) = (words.kind, &posted.fields);
    let name = fields.raw("account").to_owned();
    let found = app.store().account(kind, &name)?;
    let mut found = found.ok_or(PageError::NotFound)?;
    let version = fields
        .raw("version")
        .parse()
        .map_err(|_| PageError::NotFound)?;
    let present = app
        .store()
        .order_of(&found.definition, &app.parts.library)?;
    let mut form = Form::of(kind, &offers(app)?, &present);
    form.typed(fields);
    let order = form.order(fields, present);
    let change = Change::Edit {
        name: name.clone(),
        version,
        order,
        password_stays_home: true,
    };
    if let Err(error) = app.parts.gateway.change_account(kind, change).await {
        found.version = version;
        let lines = marked(&mut form, error)?;
        return page(app, &posted.by, words, Some(&found), form, lines, false);
    }
    app.audit(&posted.by, &format!("changed the {} {name}", words.one))
        .await;
    let flash = Flash::good(&format!("The {} {name} was changed.", words.one));
    let link = format!("{}/show?name={}", words.path, encoded(&name));
    Ok(told(app, &posted.by, flash, &link))
}

/// What keeps the form from being saved, each mistake at its field.
fn marked(form: &mut Form, error: ChangeError) -> Result<Vec<Line>, PageError> {
    match error {
        ChangeError::Mistakes(mistakes) => Ok(form.mark(mistakes)),
        ChangeError::Refused(why) => Ok(vec![Line {
            field: String::new(),
            words: why,
        }]),
        ChangeError::Failed(why) => Err(PageError::Daemon(why)),
    }
}

fn offers(app: &App) -> Result<Offers, PageError> {
    let store = app.store();
    let mut configs = store.token_configs()?;
    configs.retain(|config| config.entry.valid);
    let mailboxes = store.accounts(Kind::Mailbox)?;
    let names = mailboxes
        .iter()
        .map(|found| found.definition.name().to_owned());
    Ok(Offers::new(&configs, &app.parts.library, names.collect()))
}

fn page(
    app: &App,
    by: &SignedIn,
    words: Words,
    present: Option<&Defined>,
    form: Form,
    lines: Vec<Line>,
    paused: bool,
) -> Result<Response, PageError> {
    let name = present
        .map_or("", |found| found.definition.name())
        .to_owned();
    let doing = match present {
        None => format!("Add a {}", words.one),
        Some(_) => format!("Edit {name}"),
    };
    let (status, title) = match lines.is_empty() {
        true => (StatusCode::OK, doing),
        false => (
            StatusCode::UNPROCESSABLE_ENTITY,
            format!("Not saved: {doing}"),
        ),
    };
    let page = html(&FormPage {
        frame: app.frame(by, words.section(), &title)?,
        words,
        action: if present.is_some() { "edit" } else { "add" },
        name,
        version: present.map_or(0, |found| found.version),
        form,
        lines,
        paused,
    })?;
    Ok((status, page).into_response())
}

/// A name within an address.
pub(super) fn encoded(name: &str) -> String {
    let Ok(encoded) = askama::filters::urlencode(name);
    encoded.to_string()
}
