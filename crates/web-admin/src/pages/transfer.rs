//! Backup and migration: token configs out into a file, and in again.

mod import;

pub(crate) use import::{Imports, apply, preview};

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE, HeaderValue};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use token_store::transfer::{Parcel, file_name, sealed};
use token_store::{Secret, StoreError};

use super::{Frame, Section, html};
use crate::error::PageError;
use crate::session::{Fields, Posted, SignedIn};
use crate::words::listed;
use crate::{App, Inner};

/// Both forms.
#[derive(Template)]
#[template(path = "transfer.html")]
struct TransferPage {
    frame: Frame,
    export: ExportForm,
    import: ImportForm,
}

/// What was chosen for an export.
#[derive(Default)]
struct ExportForm {
    /// Name, and whether it is ticked.
    configs: Vec<(String, bool)>,
    /// There are more of them than one page has room for.
    more: bool,
    chosen: bool,
    sealed: bool,
    with_tokens: bool,
    mistake: Option<String>,
}

/// What was chosen for an import.
#[derive(Default)]
struct ImportForm {
    overwrite: bool,
    mistake: Option<String>,
}

/// The forms as they are at first.
pub(crate) async fn page(State(app): State<App>, by: SignedIn) -> Result<Response, PageError> {
    show(&app, &by, ExportForm::empty(&app)?, ImportForm::default())
}

/// Token configs to choose from; the others are named on the command line.
const CHOICES: usize = 300;

fn names(app: &Inner) -> Result<Vec<String>, PageError> {
    let configs = app.store().token_configs()?.into_iter();
    Ok(configs.map(|config| config.entry.name).collect())
}

fn show(
    app: &Inner,
    by: &SignedIn,
    export: ExportForm,
    import: ImportForm,
) -> Result<Response, PageError> {
    let wrong = export.mistake.is_some() || import.mistake.is_some();
    let page = html(&TransferPage {
        frame: app.frame(by, Section::Tokens, "Backup and migration")?,
        export,
        import,
    })?;
    let status = if wrong {
        StatusCode::UNPROCESSABLE_ENTITY
    } else {
        StatusCode::OK
    };
    Ok((status, page).into_response())
}

impl ExportForm {
    fn empty(app: &Inner) -> Result<Self, PageError> {
        let mut names = names(app)?;
        let more = names.len() > CHOICES;
        names.truncate(CHOICES);
        Ok(Self {
            configs: names.into_iter().map(|name| (name, false)).collect(),
            more,
            ..Self::default()
        })
    }

    /// The same as it was chosen.
    fn typed(mut self, fields: &Fields) -> Self {
        for (name, ticked) in &mut self.configs {
            *ticked = fields.all("config").any(|chosen| chosen == name);
        }
        self.chosen = fields.raw("which") == "chosen";
        self.sealed = fields.raw("secrets") == "sealed";
        self.with_tokens = fields.ticked("with_tokens");
        self
    }

    /// Which are exported; None: all.
    fn names(&self) -> Option<Vec<String>> {
        let ticked = self.configs.iter().filter(|(_, ticked)| *ticked);
        self.chosen
            .then(|| ticked.map(|(name, _)| name.clone()).collect())
    }
}

/// The file, or the form again with what is wrong.
pub(crate) async fn export(State(app): State<App>, posted: Posted) -> Result<Response, PageError> {
    let mut form = ExportForm::empty(&app)?.typed(&posted.fields);
    match exported(&app, &posted, &form).await? {
        Ok(file) => Ok(file),
        Err(mistake) => {
            form.mistake = Some(mistake);
            show(&app, &posted.by, form, ImportForm::default())
        }
    }
}

async fn exported(
    app: &Inner,
    posted: &Posted,
    form: &ExportForm,
) -> Result<Result<Response, String>, PageError> {
    let (by, fields) = (&posted.by, &posted.fields);
    let names = form.names();
    if names.as_ref().is_some_and(Vec::is_empty) {
        return Ok(Err(
            "Tick at least one token config, or choose all.".to_owned()
        ));
    }
    if form.sealed && fields.raw("passphrase") != fields.raw("repeated") {
        return Ok(Err("The two passphrases differ.".to_owned()));
    }
    if let Some(mistake) = password_mistake(app, by, fields.raw("password")).await? {
        return Ok(Err(mistake));
    }
    let mut parcel = Parcel {
        entries: app.store().export(names.as_deref())?,
        tokens: Vec::new(),
    };
    let text = if form.sealed {
        if form.with_tokens {
            parcel.tokens = app.store().export_tokens(names.as_deref())?;
        }
        let passphrase = Secret::new(fields.raw("passphrase"));
        let inside = parcel.clone();
        let seal = move || sealed::seal(&inside, &passphrase).map_err(|e| format!("{e}."));
        match app.sealing(seal).await {
            Ok(text) => text,
            Err(mistake) => return Ok(Err(mistake)),
        }
    } else {
        provider_template::write(&parcel.entries, false)
    };
    let what = match (form.sealed, parcel.tokens.len()) {
        (false, _) => "without secrets".to_owned(),
        (true, 0) => "with secrets, sealed".to_owned(),
        (true, tokens) => format!("with secrets and {tokens} refresh tokens, sealed"),
    };
    let which = listed(parcel.entries.iter().map(|entry| entry.name.as_str()));
    app.audit(by, &format!("exported {which} ({what})")).await;
    Ok(Ok(attachment(&file_name(Timestamp::now()), text)))
}

/// What is wrong with the administrator's own password, asked for again.
pub(super) async fn password_mistake(
    app: &Inner,
    by: &SignedIn,
    password: &str,
) -> Result<Option<String>, PageError> {
    let (admin, password) = (&by.session.admin, Secret::new(password));
    let known = app.store().knows_password(admin, password, &by.visitor);
    match known.await {
        Ok(true) => Ok(None),
        Ok(false) => {
            app.audit(by, "gave a wrong password where it was asked for again")
                .await;
            Ok(Some("Your password is wrong.".to_owned()))
        }
        Err(StoreError::Patience { after }) => Ok(Some(format!(
            "Too many wrong passwords. Try again in {} seconds.",
            after.as_secs().max(1)
        ))),
        Err(error) => Err(error.into()),
    }
}

fn attachment(name: &str, text: String) -> Response {
    let mut response = text.into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/yaml"));
    if let Ok(value) = HeaderValue::try_from(format!("attachment; filename=\"{name}\"")) {
        headers.insert(CONTENT_DISPOSITION, value);
    }
    response
}
