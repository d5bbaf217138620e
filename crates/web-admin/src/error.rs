//! Why a request gets no page, and the page it gets instead.

use axum::http::StatusCode;
use axum::http::header::{HeaderValue, LOCATION};
use axum::response::{IntoResponse, Response};
use spool::SpoolError;
use token_store::StoreError;

use crate::App;
use crate::pages::error_page;

/// Why a request gets no page, split by what the browser is told.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PageError {
    #[error("nobody is signed in")]
    SignInFirst {
        /// Where sign-in leads, when a page was asked for; `None` when something was to be changed.
        redirect: Option<String>,
    },
    #[error("another site led here, so the browser kept its cookie back")]
    LedHere {
        /// The same page, asked for again by itself.
        to: String,
    },
    #[error("this browser has asked for no token")]
    NotTheAsker,
    #[error("the request did not come from this page: {0}")]
    Forged(&'static str),
    #[error("the request names the unknown host {0:?}")]
    WrongHost(String),
    #[error("there is no such page")]
    NotFound,
    #[error("this address does not take that kind of request")]
    WrongMethod,
    #[error("the form cannot be read: {0}")]
    BadForm(String),
    #[error("the form is larger than 64 KiB")]
    TooLarge,
    #[error("not answered in time")]
    TooSlow,
    #[error("the handler of this page panicked")]
    Panicked,
    #[error("accounts.db: {0}")]
    Store(#[from] StoreError),
    #[error("spool.db: {0}")]
    Spool(#[from] SpoolError),
    #[error("the page cannot be written: {0}")]
    Template(#[from] askama::Error),
    #[error("the daemon could not do it: {0}")]
    Daemon(String),
    #[error("no random bytes from the system: {0}")]
    Random(getrandom::Error),
}

/// What the error page says; travels with the answer to the door, which knows the links.
#[derive(Debug, Clone)]
struct Trouble {
    title: &'static str,
    words: &'static str,
    sign_in: bool,
    /// The page to be loaded at once.
    again: Option<String>,
}

impl PageError {
    fn status(&self) -> StatusCode {
        match self {
            Self::SignInFirst { .. } | Self::LedHere { .. } | Self::NotTheAsker => {
                StatusCode::UNAUTHORIZED
            }
            Self::Forged(_) => StatusCode::FORBIDDEN,
            Self::WrongHost(_) => StatusCode::MISDIRECTED_REQUEST,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::WrongMethod => StatusCode::METHOD_NOT_ALLOWED,
            Self::BadForm(_) => StatusCode::BAD_REQUEST,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::SERVICE_UNAVAILABLE,
            Self::Panicked
            | Self::Store(_)
            | Self::Spool(_)
            | Self::Daemon(_)
            | Self::Template(_)
            | Self::Random(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Details go to the log and not into the page, which a stranger may be looking at.
    fn trouble(&self) -> Trouble {
        let (title, words) = match self {
            Self::SignInFirst { .. } => (
                "You are not signed in",
                "Your session has ended, or this browser has none. Nothing was changed.",
            ),
            Self::LedHere { .. } => (
                "One moment",
                "Another page led here, and your browser keeps the sign-in back for the first look.",
            ),
            Self::NotTheAsker => (
                "Not from here",
                "This browser has not asked for a token within the last ten minutes, or its session has ended, so nothing was \
                 changed. Sign in and request the token again.",
            ),
            Self::Forged(_) => (
                "Refused",
                "The request did not come from a page of this session, so nothing was changed. \
                 Open the page again and try once more.",
            ),
            Self::WrongHost(_) => (
                "Not at this address",
                "Postern answers only at its public_url and on loopback. If this is the right address, \
                 set web.public_url in postern.yaml to what the browser shows.",
            ),
            Self::NotFound => ("Not found", "There is no page at this address."),
            Self::WrongMethod => (
                "Not like this",
                "This address does not take that kind of request. Use the buttons of the page.",
            ),
            Self::BadForm(_) => (
                "The form cannot be read",
                "What arrived is not a form of this page. Open the page again and try once more.",
            ),
            Self::TooLarge => (
                "Too large",
                "A form of this page may have 64 KiB. Nothing was changed.",
            ),
            Self::TooSlow => (
                "No answer in time",
                "Postern could not answer within a minute. What was asked for may still have been done: \
                 look at the page again.",
            ),
            Self::Panicked | Self::Template(_) => (
                "An error in Postern",
                "This page failed; mail and tokens are not touched by it. The log of Postern says where. \
                 Please report it.",
            ),
            Self::Store(_) | Self::Spool(_) | Self::Daemon(_) | Self::Random(_) => (
                "The databases cannot be used",
                "Postern could not read or write its state directory. The log of Postern says why: a full \
                 disk, most often.",
            ),
        };
        Trouble {
            title,
            words,
            sign_in: matches!(self, Self::SignInFirst { .. } | Self::NotTheAsker),
            again: match self {
                Self::LedHere { to } => Some(to.clone()),
                _ => None,
            },
        }
    }
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        if let Self::SignInFirst { redirect: Some(to) } = self {
            return see_other(&to);
        }
        let status = self.status();
        if status.is_server_error() {
            tracing::error!(error = %self, "a page failed");
        } else {
            tracing::debug!(error = %self, status = status.as_u16(), "request refused");
        }
        let mut response = status.into_response();
        response.extensions_mut().insert(self.trouble());
        response
    }
}

/// The browser goes on with a GET of `to`.
pub(crate) fn see_other(to: &str) -> Response {
    match HeaderValue::from_str(to) {
        Ok(to) => (StatusCode::SEE_OTHER, [(LOCATION, to)]).into_response(),
        Err(_) => PageError::NotFound.into_response(),
    }
}

/// Turns an error's answer into a page with working links; other answers pass.
pub(crate) fn present(app: &App, response: Response) -> Response {
    let Some(trouble) = response.extensions().get::<Trouble>().cloned() else {
        return response;
    };
    let page = error_page(
        app,
        trouble.title,
        trouble.words,
        trouble.sign_in,
        trouble.again,
    );
    let (head, _) = response.into_parts();
    (head.status, page).into_response()
}
