//! First start: the one-time link's page, and the steps that follow it.

use askama::Template;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::{HeaderValue, REFERRER_POLICY};
use axum::response::{IntoResponse, Response};
use token_store::admins::SHORTEST_PASSWORD;
use token_store::state::State as TokenState;
use token_store::{Secret, StoreError};

use super::sign_in::welcome;
use super::{Frame, Section, html};
use crate::error::PageError;
use crate::session::{Fields, SignedIn};
use crate::visitor::Arrival;
use crate::{App, Inner};

#[derive(Template)]
#[template(path = "welcome.html")]
struct WelcomePage {
    frame: Frame,
    key: String,
    admin: String,
    mistake: Option<String>,
    shortest: usize,
}

#[derive(Template)]
#[template(path = "link_over.html")]
struct LinkOverPage {
    frame: Frame,
}

/// The link's page: a password to choose. Looking at it uses nothing up.
pub(crate) async fn link(
    State(app): State<App>,
    Path(key): Path<String>,
) -> Result<Response, PageError> {
    match app.store().admin_link(&key)? {
        Some(admin) => choose(&app, key, admin, None),
        None => over(&app),
    }
}

fn choose(
    app: &Inner,
    key: String,
    admin: String,
    mistake: Option<String>,
) -> Result<Response, PageError> {
    let status = match &mistake {
        None => StatusCode::OK,
        Some(_) => StatusCode::UNPROCESSABLE_ENTITY,
    };
    let page = html(&WelcomePage {
        frame: app.bare_frame("Choose a password"),
        key,
        admin,
        mistake,
        shortest: SHORTEST_PASSWORD,
    })?;
    Ok((status, without_referrer(page)).into_response())
}

fn over(app: &Inner) -> Result<Response, PageError> {
    let frame = app.bare_frame("This link has ended");
    let page = html(&LinkOverPage { frame })?;
    Ok((StatusCode::GONE, without_referrer(page)).into_response())
}

/// The address holds the key.
fn without_referrer(mut page: Response) -> Response {
    page.headers_mut()
        .insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    page
}

/// Sets the password, and goes on signed in.
pub(crate) async fn use_link(
    State(app): State<App>,
    Path(key): Path<String>,
    arrival: Arrival,
    fields: Fields,
) -> Result<Response, PageError> {
    let Some(admin) = app.store().admin_link(&key)? else {
        return over(&app);
    };
    let password = Secret::new(fields.raw("password"));
    if let Some(mistake) = weakness(&password, fields.raw("repeated")) {
        return choose(&app, key, admin, Some(mistake));
    }
    let used = app.store().use_admin_link(&key, password, &arrival.visitor);
    match used.await {
        Ok(Some((admin, session))) => {
            let what = "set a password with a one-time link";
            app.audit_as(&admin, what, &arrival.visitor).await;
            welcome(&app, &admin, &session, "/start", &arrival).await
        }
        Ok(None) => over(&app),
        Err(StoreError::Invalid { why, .. }) => choose(&app, key, admin, Some(why)),
        Err(error) => Err(error.into()),
    }
}

/// What is wrong with a new password; shorter ones are guessed, whatever the hash.
pub(super) fn weakness(password: &Secret, repeated: &str) -> Option<String> {
    if password.expose().chars().count() < SHORTEST_PASSWORD {
        return Some(format!(
            "A password has at least {SHORTEST_PASSWORD} characters."
        ));
    }
    (password.expose() != repeated).then(|| "The two passwords differ.".to_owned())
}

/// The way to the first mail.
#[derive(Template)]
#[template(path = "start.html")]
struct StartPage {
    frame: Frame,
    steps: Vec<Step>,
    finished: bool,
}

struct Step {
    title: &'static str,
    /// None: not yet.
    done: Option<String>,
    words: &'static str,
    link: &'static str,
    label: &'static str,
}

/// The steps, and which of them are done.
pub(crate) async fn steps(State(app): State<App>, by: SignedIn) -> Result<Response, PageError> {
    let steps = vec![
        Step {
            title: "Password",
            done: Some(format!("You are signed in as {}.", by.session.admin)),
            words: "",
            link: "/settings",
            label: "Password, second factor, further administrators",
        },
        token(&app)?,
        accounts(
            "First mailbox",
            app.store().mailboxes()?.into_iter().map(|m| m.name),
            "A mailbox is fetched, and each of its messages is handed to the ticket system.",
            "/mailboxes",
            "Mailboxes",
        ),
        accounts(
            "First relay",
            app.store().relays()?.into_iter().map(|r| r.name),
            "A relay sends the ticket system’s replies through the provider.",
            "/relays",
            "Relays",
        ),
    ];
    html(&StartPage {
        frame: app.frame(&by, Section::Elsewhere, "First steps")?,
        finished: steps.iter().all(|step| step.done.is_some()),
        steps,
    })
}

fn token(app: &Inner) -> Result<Step, PageError> {
    let statuses = app.store().token_statuses()?;
    let ready = statuses.iter().find(|s| s.state == TokenState::Ready);
    let (words, link, label) = if statuses.is_empty() {
        (
            "A token lets Postern into the mailboxes of a provider. Choose the provider’s template; its notes say where to \
             register the app. For a mailbox with a password you need none.",
            "/tokens/add",
            "Add by template",
        )
    } else {
        (
            "The configuration is there. Request its token now: you sign in at the provider as the mailbox.",
            "/tokens",
            "Tokens",
        )
    };
    Ok(Step {
        title: "First token",
        done: ready.map(|status| format!("{} has a token.", status.config)),
        words,
        link,
        label,
    })
}

fn accounts(
    title: &'static str,
    mut names: impl Iterator<Item = String>,
    words: &'static str,
    link: &'static str,
    label: &'static str,
) -> Step {
    Step {
        title,
        done: names.next().map(|name| format!("{name} is set up.")),
        words,
        link,
        label,
    }
}
