//! *Edit* and *Delete*: changes to a token config that was made here or on the command line.

use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use token_store::{AddError, Edited, StoreError, TokenConfig};

use super::add::notes_of;
use super::form::{Form, Line};
use super::notes::{Block, Piece};
use super::{Confirm, Frame, Section, html};
use crate::App;
use crate::error::{PageError, see_other};
use crate::flash::Flash;
use crate::session::{Posted, SignedIn};

#[derive(Template)]
#[template(path = "edit.html")]
struct EditPage {
    frame: Frame,
    name: String,
    template: String,
    notes: Vec<Block>,
    form: Form,
    lines: Vec<Line>,
    redirect_uri: Option<String>,
}

/// Which token config.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(crate) struct Which {
    name: String,
}

/// The query of a page about one thing.
pub(super) type Asked = Result<Query<Which>, QueryRejection>;

/// Its name; empty when there is none.
pub(super) fn named(asked: Asked) -> String {
    asked.map(|Query(which)| which.name).unwrap_or_default()
}

/// Whether a token config may be changed here.
enum Changeable {
    Yes(Box<TokenConfig>),
    /// The answer says why not.
    No(Response),
}

fn changeable(app: &App, by: &SignedIn, name: &str) -> Result<Changeable, PageError> {
    let config = app.store().token_config(name)?;
    let config = config.ok_or(PageError::NotFound)?;
    let Some(file) = &config.declared_in else {
        return Ok(Changeable::Yes(Box::new(config)));
    };
    let why = format!("{name} is declared in {file}; change it there.");
    Ok(Changeable::No(refused(app, by, &why)))
}

fn refused(app: &App, by: &SignedIn, why: &str) -> Response {
    app.flashes.leave(&by.session.id, Flash::bad(why));
    see_other(&app.address.link("/tokens"))
}

/// The form, filled with what is stored but for secrets.
pub(crate) async fn form(
    State(app): State<App>,
    by: SignedIn,
    asked: Asked,
) -> Result<Response, PageError> {
    let config = match changeable(&app, &by, &named(asked))? {
        Changeable::Yes(config) => *config,
        Changeable::No(answer) => return Ok(answer),
    };
    let form = Form::of(&config.entry);
    show(&app, &by, config, form, Vec::new())
}

fn show(
    app: &App,
    by: &SignedIn,
    config: TokenConfig,
    form: Form,
    lines: Vec<Line>,
) -> Result<Response, PageError> {
    let name = config.entry.name;
    let (status, title) = if lines.is_empty() {
        (StatusCode::OK, format!("Edit {name}"))
    } else {
        (
            StatusCode::UNPROCESSABLE_ENTITY,
            format!("Not saved: {name}"),
        )
    };
    let template = config.template.as_deref();
    let template = template.and_then(|name| app.parts.library.get(name));
    let by_person = form.by_person;
    let page = html(&EditPage {
        frame: app.frame(by, Section::Tokens, &title)?,
        notes: template.map(notes_of).unwrap_or_default(),
        template: config.template.unwrap_or_else(|| "none".to_owned()),
        name,
        form,
        lines,
        redirect_uri: by_person.then(|| app.address.redirect_uri.clone()),
    })?;
    Ok((status, page).into_response())
}

/// Saves the form. With mistakes it comes back as it was typed, but for secrets.
pub(crate) async fn save(State(app): State<App>, posted: Posted) -> Result<Response, PageError> {
    let by = &posted.by;
    let config = match changeable(&app, by, posted.fields.raw("name"))? {
        Changeable::Yes(config) => *config,
        Changeable::No(answer) => return Ok(answer),
    };
    let mut form = Form::retyped(&config.entry, &posted.fields);
    let edit = form.edit(&config.entry, &posted.fields);
    let name = config.entry.name.clone();
    let edited = match app.store().edit_token_config(&name, edit).await {
        Ok(edited) => edited,
        Err(AddError::Mistakes(mistakes)) => {
            let lines = form.mark(mistakes);
            return show(&app, by, config, form, lines);
        }
        Err(AddError::Store(error)) => return gone_meanwhile(&app, by, error),
    };
    if edited != Edited::Unchanged {
        app.audit(by, &format!("changed the token config {name}"))
            .await;
        app.parts.gateway.tokens_changed(&name);
    }
    let flash = match edited {
        Edited::Unchanged => Flash::good(&format!("The token config {name} was the same already.")),
        Edited::Changed => Flash::good(&format!("The token config {name} was changed.")),
        Edited::TokenAside => Flash::good(&format!("The token config {name} was changed.")).advise(
            "It names another client or endpoint now, so its refresh token is kept aside. Request a new token: \
             until then the accounts that use it wait.",
        ),
    };
    app.flashes.leave(&by.session.id, flash);
    Ok(see_other(&app.address.link("/tokens")))
}

/// Somebody else was faster, or the database failed.
fn gone_meanwhile(app: &App, by: &SignedIn, error: StoreError) -> Result<Response, PageError> {
    match error {
        StoreError::DeclaredIn { .. } | StoreError::InUse { .. } | StoreError::Unknown { .. } => {
            Ok(refused(app, by, &format!("Nothing was changed: {error}.")))
        }
        error => Err(error.into()),
    }
}

/// Asks whether a token config is really to be deleted; while something uses it, says what.
pub(crate) async fn ask_delete(
    State(app): State<App>,
    by: SignedIn,
    asked: Asked,
) -> Result<Response, PageError> {
    let name = named(asked);
    if let Changeable::No(answer) = changeable(&app, &by, &name)? {
        return Ok(answer);
    }
    let statuses = app.store().token_statuses()?.into_iter();
    let statuses = statuses.filter(|status| status.config == name);
    let mut users: Vec<String> = statuses.flat_map(|status| status.used_by).collect();
    users.dedup();
    let words = if users.is_empty() {
        vec![
            format!("The token config {name} is deleted with its token, for good; nothing uses it."),
            "An export keeps the configuration. To take the grant back at the provider too, revoke the token first.".to_owned(),
        ]
    } else {
        vec![format!(
            "The token config {name} cannot be deleted while it is used. Change or delete these first:"
        )]
    };
    html(&Confirm {
        frame: app.frame(&by, Section::Tokens, &format!("Delete {name}?"))?,
        words,
        in_the_way: users,
        action: "/tokens/delete",
        name,
        button: "Delete for good",
        back: "/tokens",
    })
}

/// Deletes it.
pub(crate) async fn delete(State(app): State<App>, posted: Posted) -> Result<Response, PageError> {
    let by = &posted.by;
    let name = posted.fields.raw("name");
    if let Err(error) = app.store().delete_token_config(name).await {
        return gone_meanwhile(&app, by, error);
    }
    app.audit(by, &format!("deleted the token config {name}"))
        .await;
    app.parts.gateway.tokens_changed(name);
    let flash = Flash::good(&format!("The token config {name} was deleted."));
    app.flashes.leave(&by.session.id, flash);
    Ok(see_other(&app.address.link("/tokens")))
}
