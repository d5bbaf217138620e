//! The pages: each reads what it shows, fills its template, and nothing more.

pub(crate) mod accounts;
pub(crate) mod add;
pub(crate) mod consent;
mod form;
pub(crate) mod health;
mod notes;
pub(crate) mod overview;
pub(crate) mod sign_in;
pub(crate) mod tokens;

use askama::Template;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{Html, IntoResponse, Response};
use token_store::state::State;
use token_store::{TokenConfig, TokenStatus};

use crate::error::PageError;
use crate::flash::Flash;
use crate::session::SignedIn;
use crate::{App, Inner, words};

/// The style sheet's route.
pub(crate) const STYLE_PATH: &str = "/style.css";
const STYLE: &str = include_str!("../../static/style.css");

/// Which entry of the navigation is the current one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Section {
    Overview,
    Tokens,
    Mailboxes,
    Relays,
    /// Not in the navigation.
    Elsewhere,
}

impl Section {
    /// Name and path of what the navigation offers.
    const NAVIGATION: [(Self, &'static str, &'static str); 4] = [
        (Self::Overview, "Overview", "/"),
        (Self::Tokens, "Tokens", "/tokens"),
        (Self::Mailboxes, "Mailboxes", "/mailboxes"),
        (Self::Relays, "Relays", "/relays"),
    ];
}

/// What is around every page: head, navigation, who is signed in, messages.
pub(crate) struct Frame {
    /// The path part of `public_url`; every link starts with it.
    base: String,
    /// The style sheet's link, below `base`.
    style: String,
    title: String,
    section: Section,
    who: Option<Who>,
    flash: Option<Flash>,
    notices: Vec<Notice>,
}

struct Who {
    admin: String,
    csrf: String,
}

/// A token that wants an administrator, shown below the top bar as its notifications say.
struct Notice {
    token: String,
    words: String,
}

impl Inner {
    /// The frame of a page for nobody in particular.
    pub(crate) fn bare_frame(&self, title: &str) -> Frame {
        Frame {
            base: self.address.prefix.clone(),
            style: self.style.clone(),
            title: title.to_owned(),
            section: Section::Elsewhere,
            who: None,
            flash: None,
            notices: Vec::new(),
        }
    }

    /// The frame of an administrator's page; takes the message that waits for it.
    pub(crate) fn frame(
        &self,
        by: &SignedIn,
        section: Section,
        title: &str,
    ) -> Result<Frame, PageError> {
        let statuses = self.store().token_statuses()?;
        let configs = self.store().token_configs()?;
        Ok(Frame {
            section,
            who: Some(Who {
                admin: by.session.admin.clone(),
                csrf: by.session.csrf.clone(),
            }),
            flash: self.flashes.take(&by.session.id),
            notices: notices(&statuses, &configs, words::now()),
            ..self.bare_frame(title)
        })
    }

    /// Writes a line of the audit. What it is about is done by then, so a failure goes to the log only.
    pub(crate) async fn audit(&self, by: &SignedIn, what: &str) {
        self.audit_as(&by.session.admin, what).await;
    }

    async fn audit_as(&self, admin: &str, what: &str) {
        tracing::info!(admin, what, "admin page");
        if let Err(error) = self.store().audit(admin, what).await {
            tracing::error!(%error, admin, what, "the audit could not be written");
        }
    }
}

/// Which valid tokens have ended although somebody wants to be told.
fn notices(statuses: &[TokenStatus], configs: &[TokenConfig], now: i64) -> Vec<Notice> {
    let past = |at: Option<i64>| at.is_some_and(|at| at <= now);
    let mut notices = Vec::new();
    for status in statuses.iter().filter(|status| status.valid) {
        let Some(config) = configs.iter().find(|c| c.entry.name == status.config) else {
            continue;
        };
        let wanted = config.entry.config.notifications;
        let refused = status.state == State::NeedsConsent && status.failure.is_some();
        let words = if wanted.expired_refresh_token && past(status.refresh_expires_at) {
            "the refresh token has expired"
        } else if wanted.expired_refresh_token && refused {
            "the refresh token is no longer accepted"
        } else if wanted.expired_token && past(status.expires_at) {
            "the token has expired"
        } else {
            continue;
        };
        notices.push(Notice {
            token: status.config.clone(),
            words: words.to_owned(),
        });
    }
    notices
}

/// Renders a page.
fn html(page: &impl Template) -> Result<Response, PageError> {
    Ok(Html(page.render()?).into_response())
}

/// The style sheet. Its link changes with its content, so browsers may keep it.
pub(crate) async fn style() -> Response {
    let headers = [
        (CONTENT_TYPE, "text/css; charset=utf-8"),
        (CACHE_CONTROL, "public, max-age=31536000, immutable"),
    ];
    (headers, STYLE).into_response()
}

/// The style sheet's link: its route, and its content's FNV-1a hash so that an update is fetched at once.
pub(crate) fn style_link() -> String {
    let hash = STYLE.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{STYLE_PATH}?{hash:016x}")
}

/// The page of an error.
#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage<'a> {
    frame: Frame,
    words: &'a str,
    sign_in: bool,
}

/// Renders the page of an error; plain words should even that fail.
pub(crate) fn error_page(app: &App, title: &str, words: &str, sign_in: bool) -> Html<String> {
    let page = ErrorPage {
        frame: app.bare_frame(title),
        words,
        sign_in,
    };
    Html(page.render().unwrap_or_else(|_| words.to_owned()))
}
