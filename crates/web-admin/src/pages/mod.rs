//! The pages: each reads what it shows, fills its template, and nothing more.

pub(crate) mod accounts;
pub(crate) mod add;
pub(crate) mod consent;
pub(crate) mod device;
pub(crate) mod edit;
mod form;
pub(crate) mod health;
pub(crate) mod library;
pub(crate) mod live;
pub(crate) mod log;
mod notes;
mod notices;
pub(crate) mod overview;
pub(crate) mod queue;
pub(crate) mod settings;
pub(crate) mod sign_in;
pub(crate) mod start;
pub(crate) mod tokens;
pub(crate) mod transfer;

pub(crate) use transfer::Imports;

use askama::Template;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{Html, IntoResponse, Response};

use crate::error::PageError;
use crate::flash::Flash;
use crate::session::SignedIn;
use crate::{App, Inner};
use notices::Notices;
use token_store::admins::Visitor;

/// The style sheet's route.
pub(crate) const STYLE_PATH: &str = "/style.css";
const STYLE: &str = include_str!("../../static/style.css");
/// The script's route.
pub(crate) const SCRIPT_PATH: &str = "/postern.js";
const SCRIPT: &str = include_str!("../../static/postern.js");

/// Which entry of the navigation is the current one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Section {
    Overview,
    Tokens,
    Mailboxes,
    Relays,
    Queue,
    Templates,
    Log,
    Settings,
    /// Not in the navigation.
    Elsewhere,
}

impl Section {
    /// Name and path of what the navigation offers.
    const NAVIGATION: [(Self, &'static str, &'static str); 8] = [
        (Self::Overview, "Overview", "/"),
        (Self::Tokens, "Tokens", "/tokens"),
        (Self::Mailboxes, "Mailboxes", "/mailboxes"),
        (Self::Relays, "Relays", "/relays"),
        (Self::Queue, "Queue", "/queue"),
        (Self::Templates, "Templates", "/templates"),
        (Self::Log, "Log", "/log"),
        (Self::Settings, "Settings", "/settings"),
    ];
}

/// What is around every page: head, navigation, who is signed in, messages.
pub(crate) struct Frame {
    /// The path part of `public_url`; every link starts with it.
    base: String,
    /// The style sheet's link, below `base`.
    style: String,
    /// The script's.
    script: String,
    title: String,
    section: Section,
    who: Option<Who>,
    flash: Option<Flash>,
    notices: Notices,
}

struct Who {
    admin: String,
    csrf: String,
}

impl Frame {
    /// What every form of the page carries; empty when nobody is signed in.
    fn csrf(&self) -> &str {
        self.who.as_ref().map_or("", |who| &who.csrf)
    }
}

impl Inner {
    /// The frame of a page for nobody in particular.
    pub(crate) fn bare_frame(&self, title: &str) -> Frame {
        Frame {
            base: self.address.prefix.clone(),
            style: self.style.clone(),
            script: self.script.clone(),
            title: title.to_owned(),
            section: Section::Elsewhere,
            who: None,
            flash: None,
            notices: Notices::default(),
        }
    }

    /// The frame of an administrator's page; takes the message that waits for it.
    pub(crate) fn frame(
        &self,
        by: &SignedIn,
        section: Section,
        title: &str,
    ) -> Result<Frame, PageError> {
        Ok(Frame {
            section,
            who: Some(Who {
                admin: by.session.admin.clone(),
                csrf: by.session.csrf.clone(),
            }),
            flash: self.flashes.take(&by.session.id),
            notices: notices::open(self.store())?,
            ..self.bare_frame(title)
        })
    }

    /// Writes a line of the audit. What it is about is done by then, so a failure goes to the log only.
    pub(crate) async fn audit(&self, by: &SignedIn, what: &str) {
        self.audit_as(&by.session.admin, what, &by.visitor).await;
    }

    async fn audit_as(&self, admin: &str, what: &str, visitor: &Visitor) {
        let from = &*visitor.address;
        tracing::info!(admin, what, from, "admin page");
        if let Err(error) = self.store().audit_from(admin, what, from).await {
            tracing::error!(%error, admin, what, "the audit could not be written");
        }
    }
}

/// Renders a page.
fn html(page: &impl Template) -> Result<Response, PageError> {
    Ok(Html(page.render()?).into_response())
}

/// The style sheet. Its link changes with its content, so browsers may keep it.
pub(crate) async fn style() -> Response {
    kept("text/css; charset=utf-8", STYLE)
}

/// The script, likewise.
pub(crate) async fn script() -> Response {
    kept("text/javascript; charset=utf-8", SCRIPT)
}

fn kept(kind: &'static str, text: &'static str) -> Response {
    let headers = [
        (CONTENT_TYPE, kind),
        (CACHE_CONTROL, "public, max-age=31536000, immutable"),
    ];
    (headers, text).into_response()
}

/// The links of style sheet and script.
pub(crate) fn static_links() -> (String, String) {
    (link(STYLE_PATH, STYLE), link(SCRIPT_PATH, SCRIPT))
}

/// A route, and its content's FNV-1a hash so that an update is fetched at once.
fn link(path: &str, text: &str) -> String {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{path}?{hash:016x}")
}

/// Asks before something is done for good, or says what is in its way.
#[derive(Template)]
#[template(path = "confirm.html")]
struct Confirm {
    frame: Frame,
    words: Vec<String>,
    /// Not empty: it cannot be done while there are these.
    in_the_way: Vec<String>,
    action: &'static str,
    name: String,
    button: &'static str,
    back: &'static str,
}

/// The page of an error.
#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage<'a> {
    frame: Frame,
    words: &'a str,
    sign_in: bool,
    again: Option<String>,
}

/// Renders the page of an error; plain words should even that fail.
pub(crate) fn error_page(
    app: &App,
    title: &str,
    words: &str,
    sign_in: bool,
    again: Option<String>,
) -> Html<String> {
    let page = ErrorPage {
        frame: app.bare_frame(title),
        words,
        sign_in,
        again,
    };
    Html(page.render().unwrap_or_else(|_| words.to_owned()))
}
