//! The log: who did what, when, and from where.

use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::Response;

use super::{Frame, Section, html};
use crate::App;
use crate::error::PageError;
use crate::session::SignedIn;
use crate::words::{Moment, now};

/// Lines of one page.
const LINES: u32 = 100;

#[derive(Template)]
#[template(path = "log.html")]
struct LogPage {
    frame: Frame,
    lines: Vec<Line>,
    /// Before which line the next page begins.
    older: Option<i64>,
    newest: bool,
}

struct Line {
    at: Moment,
    who: String,
    what: String,
    source: String,
}

/// Which part of it.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(crate) struct Part {
    before: Option<i64>,
}

/// A page of it, newest first.
pub(crate) async fn page(
    State(app): State<App>,
    by: SignedIn,
    part: Result<Query<Part>, QueryRejection>,
) -> Result<Response, PageError> {
    let before = part.ok().and_then(|Query(part)| part.before);
    let mut audited = app
        .store()
        .audited_before(before.unwrap_or(i64::MAX), LINES + 1)?;
    let more = audited.len() > LINES as usize;
    audited.truncate(LINES as usize);
    let now = now();
    html(&LogPage {
        frame: app.frame(&by, Section::Log, "Log")?,
        older: audited.last().filter(|_| more).map(|line| line.id),
        newest: before.is_none(),
        lines: audited
            .into_iter()
            .map(|line| Line {
                at: Moment::exact(line.at, now),
                who: line.who,
                what: line.what,
                source: line.source,
            })
            .collect(),
    })
}
