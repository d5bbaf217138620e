//! The one list of what there is, and who may see it.

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{MethodRouter, get, post};

use crate::error::PageError;
use crate::pages::{
    self, accounts, add, consent, device, edit, health, library, live, log, overview, queue,
    settings, sign_in, start, tokens, transfer,
};
use crate::{App, address};

/// A form's size; the longest has a dozen fields of a line each.
pub(crate) const BODY_LIMIT: usize = 64 * 1024;
/// A document with the token configs of a large installation, some 3 KiB each.
const DOCUMENT_LIMIT: usize = 4 << 20;
/// Answers by any host name, without a session.
pub(crate) const HEALTH: &str = "/healthz";

/// Who may see a route. The handlers enforce it by what they take; the tests hold them to this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Anybody who reaches the port.
    Everybody,
    /// A signed-in administrator.
    Administrator,
}

/// One address and its handlers.
pub(crate) struct Route {
    pub(crate) path: &'static str,
    /// Read by the tests, which try every method without a session.
    #[cfg_attr(not(test), expect(dead_code, reason = "the tests' half of the list"))]
    pub(crate) access: Access,
    handlers: MethodRouter<App>,
}

/// Everything there is.
pub(crate) fn list() -> Vec<Route> {
    let everybody = |path, handlers| Route {
        path,
        access: Access::Everybody,
        handlers,
    };
    let administrator = |path, handlers| Route {
        path,
        access: Access::Administrator,
        handlers,
    };
    let of_accounts = |route: (&'static str, MethodRouter<App>)| administrator(route.0, route.1);
    let mut list = vec![
        everybody(HEALTH, get(health::check)),
        everybody(pages::STYLE_PATH, get(pages::style)),
        everybody(pages::SCRIPT_PATH, get(pages::script)),
        everybody("/sign-in", get(sign_in::form).post(sign_in::sign_in)),
        everybody("/welcome/{key}", get(start::link).post(start::use_link)),
        administrator("/start", get(start::steps)),
        administrator("/sign-out", post(sign_in::sign_out)),
        administrator("/", get(overview::page)),
        administrator("/tokens", get(tokens::page)),
        administrator("/tokens/add", get(add::form).post(add::save)),
        administrator("/tokens/edit", get(edit::form).post(edit::save)),
        administrator("/tokens/delete", get(edit::ask_delete).post(edit::delete)),
        administrator("/tokens/transfer", get(transfer::page)),
        administrator("/tokens/export", post(transfer::export)),
        administrator(
            "/tokens/import",
            post(transfer::preview).layer(DefaultBodyLimit::max(DOCUMENT_LIMIT)),
        ),
        administrator("/tokens/import/apply", post(transfer::apply)),
        administrator("/tokens/request", post(consent::request)),
        administrator("/tokens/device", get(device::page)),
        administrator("/tokens/device/state", get(device::state)),
        administrator("/tokens/paste", post(consent::paste)),
        administrator("/tokens/refresh", post(tokens::refresh)),
        administrator(address::CALLBACK, get(consent::callback)),
        administrator("/events", get(live::events)),
        administrator("/templates", get(library::page)),
        administrator("/log", get(log::page)),
        administrator("/settings", get(settings::page)),
        administrator("/settings/password", post(settings::password)),
        administrator("/settings/admins/add", post(settings::add)),
        administrator(
            "/settings/admins/delete",
            get(settings::ask_delete).post(settings::delete),
        ),
        administrator("/settings/sessions/end", post(settings::end_session)),
        administrator(
            "/settings/second-factor",
            get(settings::second_factor).post(settings::confirm_second_factor),
        ),
        administrator(
            "/settings/second-factor/remove",
            post(settings::remove_second_factor),
        ),
        administrator("/queue", get(queue::page)),
        administrator("/queue/message", get(queue::message::page)),
        administrator("/queue/raw", get(queue::message::raw)),
        administrator("/queue/act", post(queue::act::act)),
        administrator("/mailboxes/fetch", post(accounts::fetch)),
    ];
    list.extend(accounts::routes().into_iter().map(of_accounts));
    list
}

/// The router over that list.
pub(crate) fn router(app: &App) -> Router {
    list()
        .into_iter()
        .fold(Router::new(), |router, route| {
            router.route(route.path, route.handlers)
        })
        .fallback(|| async { PageError::NotFound })
        .method_not_allowed_fallback(|| async { PageError::WrongMethod })
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .with_state(app.clone())
}
