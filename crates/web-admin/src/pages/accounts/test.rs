//! *Test*: each step shown as it happens, live where scripts run, by reloading where they don't.

use askama::Template;
use axum::body::{Body, Bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use futures_util::stream;
use std::convert::Infallible;
use token_store::accounts::Kind;

use super::{Words, told};
use crate::App;
use crate::error::{PageError, see_other};
use crate::flash::Flash;
use crate::pages::{Frame, Section, html};
use crate::session::{Posted, SignedIn, random_token};
use crate::trials::{Course, Trial};
use crate::words::Prose;

#[derive(Template)]
#[template(path = "account_test.html")]
struct TestPage {
    frame: Frame,
    words: Words,
    name: String,
    run: String,
    steps: Steps,
    over: bool,
}

/// The steps so far; what is sent when there are more, too.
#[derive(Template)]
#[template(path = "account_steps.html")]
struct Steps {
    lines: Vec<Line>,
    over: bool,
    good: bool,
}
/// Escapes what it holds itself.
impl askama::filters::HtmlSafe for Steps {}

struct Line {
    good: bool,
    what: String,
    found: Prose,
}

impl Steps {
    fn of(course: &Course) -> Self {
        let lines = course.steps.iter().map(|step| Line {
            good: step.found.is_ok(),
            what: step.what.clone(),
            found: Prose::new(step.found.as_ref().unwrap_or_else(|why| why)),
        });
        Self {
            lines: lines.collect(),
            over: course.over,
            good: course.steps.iter().all(|step| step.found.is_ok()),
        }
    }
}

/// Which test.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(crate) struct Which {
    run: String,
}

type Asked = Result<Query<Which>, QueryRejection>;

fn trial(app: &App, by: &SignedIn, asked: Asked) -> Result<(String, Trial), PageError> {
    let run = asked.map(|Query(which)| which.run).unwrap_or_default();
    let found = app.trials.find(&run, &by.session.id);
    found.map(|trial| (run, trial)).ok_or(PageError::NotFound)
}

/// *Test*: begins one, and shows how it goes.
pub(super) fn test(kind: Kind) -> MethodRouter<App> {
    let begin = move |State(app): State<App>, posted: Posted| async move {
        let words = Words::of(kind);
        let name = posted.fields.raw("account").to_owned();
        app.store()
            .account(kind, &name)?
            .ok_or(PageError::NotFound)?;
        let to = Some(posted.fields.text("to").to_owned()).filter(|to| !to.is_empty());
        let with = to
            .as_ref()
            .map_or_else(String::new, |to| format!(" with a message to {to}"));
        let run = random_token()?;
        let (gateway, tested) = (app.parts.gateway.clone(), name.clone());
        let ids = (run.clone(), posted.by.session.id.clone());
        let begun = app.trials.begin(ids, (kind, name.clone()), move |tell| {
            gateway.test_account(kind, &tested, to, tell)
        });
        if !begun {
            let flash = Flash::bad("Too many tests run at this moment; wait for one to end.");
            return Ok::<_, PageError>(told(&app, &posted.by, flash, words.path));
        }
        app.audit(
            &posted.by,
            &format!("tested the {} {name}{with}", words.one),
        )
        .await;
        let link = format!("{}/test?run={run}", words.path);
        Ok(see_other(&app.address.link(&link)))
    };
    let show = move |State(app): State<App>, by: SignedIn, asked: Asked| async move {
        let (run, trial) = trial(&app, &by, asked)?;
        let words = Words::of(trial.kind);
        let course = trial.course.borrow().clone();
        html(&TestPage {
            frame: app.frame(&by, words.section(), &format!("Test of {}", trial.name))?,
            words,
            name: trial.name,
            run,
            steps: Steps::of(&course),
            over: course.over,
        })
    };
    get(show).post(begin)
}

/// The same live: the steps so far, anew whenever there are more, until it is over.
pub(crate) async fn events(
    State(app): State<App>,
    by: SignedIn,
    asked: Asked,
) -> Result<Response, PageError> {
    let (_, trial) = trial(&app, &by, asked)?;
    let mut course = trial.course;
    course.mark_changed();
    let events = stream::unfold(Some(course), |course| async move {
        let mut course = course?;
        // Its other end is gone when it is over.
        course.changed().await.ok()?;
        let now = course.borrow_and_update().clone();
        let event = Bytes::from(event(&now));
        Some((Ok::<_, Infallible>(event), (!now.over).then_some(course)))
    });
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        // A proxy in front passes it on as it comes.
        (
            HeaderName::from_static("x-accel-buffering"),
            HeaderValue::from_static("no"),
        ),
    ];
    Ok((headers, Body::from_stream(events)).into_response())
}

/// One event: the steps as HTML, a line of it on each line.
fn event(course: &Course) -> String {
    let kind = if course.over { "over" } else { "steps" };
    let html = Steps::of(course).render().unwrap_or_default();
    let lines: String = html.lines().map(|line| format!("data: {line}\n")).collect();
    format!("event: {kind}\n{lines}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Step;

    #[test]
    fn an_event_is_lines_of_escaped_html() {
        let course = Course {
            steps: vec![Step {
                what: "sign-in\n\nevent: over".to_owned(),
                found: Err("NO <script>alert(1)</script>".to_owned()),
            }],
            over: false,
        };
        let event = event(&course);
        assert!(event.starts_with("event: steps\ndata: "), "{event}");
        assert!(
            event.ends_with("\n\n") && !event.trim_end().contains("\n\n"),
            "{event}"
        );
        assert!(event.contains("&#60;script&#62;"), "{event}");
        let lines = event.trim_end().lines().skip(1);
        assert!(
            lines.clone().all(|line| line.starts_with("data: ")),
            "{event}"
        );
    }
}
