//! `/healthz`: whether the process answers and can read its databases; for monitoring, without sign-in.

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use spool::Direction;

use crate::{App, Inner};

/// 200 `ok`, or 503 with the database that cannot be read; why is in the log.
pub(crate) async fn check(State(app): State<App>) -> impl IntoResponse {
    let (status, words) = match unreadable(&app) {
        None => (StatusCode::OK, "ok\n"),
        Some(words) => (StatusCode::SERVICE_UNAVAILABLE, words),
    };
    (status, [(CONTENT_TYPE, "text/plain; charset=utf-8")], words)
}

fn unreadable(app: &Inner) -> Option<&'static str> {
    if let Err(error) = app.store().has_admin() {
        tracing::error!(%error, "healthz: accounts.db");
        return Some("accounts.db cannot be read\n");
    }
    if let Err(error) = app.parts.spool.counts(Direction::In, "") {
        tracing::error!(%error, "healthz: spool.db");
        return Some("spool.db cannot be read\n");
    }
    None
}
