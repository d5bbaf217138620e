//! *Add by template*: choose a template, fill the form, save a token config.

use askama::Template;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use provider_template::{Entry, Mistake, Order};
use serde::Deserialize;
use token_store::{AddError, StoreError};

use super::form::{Form, Label, Line};
use super::notes::{self, Block, Piece};
use super::{Frame, Section, html};
use crate::App;
use crate::error::{PageError, see_other};
use crate::flash::Flash;
use crate::session::{Posted, SignedIn};

#[derive(Template)]
#[template(path = "templates.html")]
struct TemplatesPage {
    frame: Frame,
    choices: Vec<Choice>,
    problems: Vec<String>,
}

struct Choice {
    name: String,
    title: String,
    notes: Vec<Block>,
}

impl Choice {
    fn new(template: &Entry) -> Self {
        let postern = &template.config.postern;
        Self {
            name: template.name.clone(),
            title: postern
                .title
                .clone()
                .unwrap_or_else(|| template.name.clone()),
            notes: notes_of(template),
        }
    }
}

/// A template's notes, as blocks.
pub(super) fn notes_of(template: &Entry) -> Vec<Block> {
    notes::blocks(template.config.postern.notes.as_deref().unwrap_or_default())
}

#[derive(Template)]
#[template(path = "add.html")]
struct AddPage {
    frame: Frame,
    template: Choice,
    form: Form,
    lines: Vec<Line>,
    /// What to register at the provider; `None` when nobody is sent there.
    redirect_uri: Option<String>,
}

/// What the address of the page says.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Asked {
    template: Option<String>,
}

/// The templates to choose from, or the empty form of the chosen one.
pub(crate) async fn form(
    State(app): State<App>,
    by: SignedIn,
    Query(asked): Query<Asked>,
) -> Result<Response, PageError> {
    let library = &app.parts.library;
    let Some(name) = asked.template else {
        return html(&TemplatesPage {
            frame: app.frame(&by, Section::Tokens, "Add by template")?,
            choices: library.templates.iter().map(Choice::new).collect(),
            problems: library.problems.iter().map(ToString::to_string).collect(),
        });
    };
    let template = library.get(&name).ok_or(PageError::NotFound)?;
    show(&app, &by, template, Form::empty(template), Vec::new())
}

fn show(
    app: &App,
    by: &SignedIn,
    template: &Entry,
    form: Form,
    lines: Vec<Line>,
) -> Result<Response, PageError> {
    let template_choice = Choice::new(template);
    let title = if lines.is_empty() {
        format!("Add by template: {}", template_choice.title)
    } else {
        format!("Not saved: {}", template_choice.title)
    };
    let by_person = template.config.flow.needs_person();
    let status = if lines.is_empty() {
        StatusCode::OK
    } else {
        StatusCode::UNPROCESSABLE_ENTITY
    };
    let page = html(&AddPage {
        frame: app.frame(by, Section::Tokens, &title)?,
        template: template_choice,
        form,
        lines,
        redirect_uri: by_person.then(|| app.address.redirect_uri.clone()),
    })?;
    Ok((status, page).into_response())
}

/// Saves the form. With mistakes it comes back as it was typed, but for the secret.
pub(crate) async fn save(State(app): State<App>, posted: Posted) -> Result<Response, PageError> {
    let library = &app.parts.library;
    let template = library
        .get(posted.fields.raw("template"))
        .ok_or(PageError::NotFound)?;
    let mut form = Form::typed(template, &posted.fields);
    let order = form.order(&posted.fields);
    let name = order.name.clone();
    match add(&app, &template.name, order).await? {
        Added::Saved => {}
        Added::Mistakes(mistakes) => {
            let lines = form.mark(mistakes);
            return show(&app, &posted.by, template, form, lines);
        }
    }
    app.audit(
        &posted.by,
        &format!("added the token config {name} ({})", template.name),
    )
    .await;
    app.parts.gateway.tokens_changed(&name);
    let flash = Flash::good(&format!("The token config {name} was added."))
        .advise("Request its token now: until then the accounts that use it wait.");
    app.flashes.leave(&posted.by.session.id, flash);
    Ok(see_other(&app.address.link("/tokens")))
}

enum Added {
    Saved,
    Mistakes(Vec<Mistake>),
}

async fn add(app: &App, template: &str, order: Order) -> Result<Added, PageError> {
    match app
        .store()
        .add_token_config(&app.parts.library, template, order)
        .await
    {
        Ok(()) => Ok(Added::Saved),
        Err(AddError::Mistakes(mistakes)) => Ok(Added::Mistakes(mistakes)),
        Err(AddError::Store(StoreError::NameTaken { origin, .. })) => {
            let why = format!("is taken: another token config has this name, {origin}");
            Ok(Added::Mistakes(vec![Mistake {
                field: Label::NAME.to_owned(),
                why,
            }]))
        }
        Err(AddError::Store(StoreError::Invalid { why, .. })) => {
            Ok(Added::Mistakes(vec![Mistake {
                field: Label::NAME.to_owned(),
                why,
            }]))
        }
        Err(AddError::Store(error)) => Err(error.into()),
    }
}
