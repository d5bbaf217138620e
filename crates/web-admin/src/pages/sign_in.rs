//! Sign-in with name and password, and sign-out.

use askama::Template;
use axum::extract::{Query, State};
use axum::http::header::{HeaderMap, SET_COOKIE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{AppendHeaders, IntoResponse, Response};
use serde::Deserialize;
use token_store::{Secret, StoreError};

use super::{Frame, Section, html};
use crate::App;
use crate::error::{PageError, see_other};
use crate::session::{
    Fields, Posted, cookie, known_return, random_token, same, set_consent, set_session,
    set_sign_in, sign_in_cookie, signed_in,
};
use crate::visitor::Arrival;

/// The form field that repeats the sign-in cookie.
const TOKEN: &str = "sign_in_token";

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignInPage {
    frame: Frame,
    /// An administrator exists; else there is nothing to sign in to.
    possible: bool,
    token: String,
    next: &'static str,
    name: String,
    mistake: Option<String>,
    signed_out: bool,
}

/// What the address of the page says.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Asked {
    next: String,
    signed_out: Option<String>,
}

/// The form; who is signed in already goes on.
pub(crate) async fn form(
    State(app): State<App>,
    headers: HeaderMap,
    arrival: Arrival,
    Query(asked): Query<Asked>,
) -> Result<Response, PageError> {
    let next = known_return(&asked.next);
    if signed_in(&headers, arrival.clone(), &app).await?.is_some() {
        return Ok(see_other(&app.address.link(next)));
    }
    let mut mistake = None;
    if let Some(user) = &arrival.user {
        if let Some(session) = app.store().open_session(user, &arrival.visitor).await? {
            return welcome(&app, user, &session, next, &arrival).await;
        }
        mistake = Some(format!(
            "The proxy has signed {user} in, and there is no administrator of that name here."
        ));
    }
    let page = SignInPage {
        frame: app.bare_frame("Sign in"),
        possible: app.store().has_admin()?,
        token: sign_in_token(&app, &headers)?,
        next,
        name: String::new(),
        mistake,
        signed_out: asked.signed_out.is_some(),
    };
    show(&app, StatusCode::OK, &page)
}

/// The token of the browser's cookie, so that two open forms both work; a new one when there is none of ours.
fn sign_in_token(app: &App, headers: &HeaderMap) -> Result<String, PageError> {
    let ours = |token: &&str| {
        token.len() == 43
            && token
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    };
    match cookie(headers, sign_in_cookie(&app.address)).filter(ours) {
        Some(token) => Ok(token.to_owned()),
        None => random_token(),
    }
}

fn show(app: &App, status: StatusCode, page: &SignInPage) -> Result<Response, PageError> {
    let cookie = set_sign_in(&app.address, &page.token)?;
    Ok((status, [(SET_COOKIE, cookie)], html(page)?).into_response())
}

/// Checks name and password. A failure doesn't say which of them was wrong.
pub(crate) async fn sign_in(
    State(app): State<App>,
    headers: HeaderMap,
    arrival: Arrival,
    fields: Fields,
) -> Result<Response, PageError> {
    let token = cookie(&headers, sign_in_cookie(&app.address)).unwrap_or_default();
    if !same(fields.raw(TOKEN), token) {
        return Err(PageError::Forged(
            "the sign-in token is missing or another browser's",
        ));
    }
    let name = fields.text("name");
    let next = known_return(fields.raw("next"));
    let password = Secret::new(fields.raw("password"));
    let code = fields.text("code");
    let visitor = &arrival.visitor;
    let signed_in = app.store().sign_in(name, password, code, visitor).await;
    let (status, mistake) = match signed_in {
        Ok(Some(session)) => return welcome(&app, name, &session, next, &arrival).await,
        Ok(None) => {
            tracing::warn!(name, from = visitor.address, "admin page: sign-in refused");
            (
                StatusCode::UNAUTHORIZED,
                "Name, password or code is wrong.".to_owned(),
            )
        }
        Err(StoreError::Patience { after }) => {
            let seconds = after.as_secs().max(1);
            let words = format!("Too many sign-ins failed. Try again in {seconds} seconds.");
            (StatusCode::TOO_MANY_REQUESTS, words)
        }
        Err(error) => return Err(error.into()),
    };
    let page = SignInPage {
        frame: app.bare_frame("Sign in"),
        possible: app.store().has_admin()?,
        token: sign_in_token(&app, &headers)?,
        next,
        name: name.to_owned(),
        mistake: Some(mistake),
        signed_out: false,
    };
    show(&app, status, &page)
}

/// Gives the new session's cookie and goes on.
pub(super) async fn welcome(
    app: &App,
    name: &str,
    session: &Secret,
    next: &str,
    arrival: &Arrival,
) -> Result<Response, PageError> {
    app.audit_as(name, "signed in", &arrival.visitor).await;
    let session = set_session(&app.address, session.expose())?;
    let spent = set_sign_in(&app.address, "")?;
    Ok(with_cookies([session, spent], &app.address.link(next)))
}

/// Ends the session.
pub(crate) async fn sign_out(
    State(app): State<App>,
    posted: Posted,
) -> Result<Response, PageError> {
    app.store().sign_out(&posted.by.cookie).await?;
    app.audit(&posted.by, "signed out").await;
    let gone = set_session(&app.address, "")?;
    let consent = set_consent(&app.address, "")?;
    Ok(with_cookies(
        [gone, consent],
        &app.address.link("/sign-in?signed_out=1"),
    ))
}

fn with_cookies<const N: usize>(cookies: [HeaderValue; N], to: &str) -> Response {
    let cookies = AppendHeaders(cookies.map(|cookie| (SET_COOKIE, cookie)));
    (cookies, see_other(to)).into_response()
}
