//! What the overview shows, sent again whenever it changes: server-sent events.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep};

use super::overview;
use crate::App;
use crate::error::PageError;
use crate::session::SignedIn;

/// Between two looks; quick enough to see mail move, and seldom enough to cost nothing.
const LOOK: Duration = Duration::from_secs(2);
/// Something is sent at least this often, so that proxies and browsers know that the other end is there.
const SIGN_OF_LIFE: Duration = Duration::from_secs(20);

/// The viewer of one page.
struct Viewer {
    app: App,
    /// The session's id: with it, the view ends.
    session: String,
    last: String,
    told: Instant,
    _seat: OwnedSemaphorePermit,
}

/// The overview's changes, until shutdown, sign-out, or the browser goes. Viewers have a number of seats of their own, so that
/// they leave connections for everybody else.
pub(crate) async fn events(State(app): State<App>, by: SignedIn) -> Result<Response, PageError> {
    let Ok(seat) = app.viewers.clone().try_acquire_owned() else {
        // A browser asks no more after that; the page goes on without being live.
        return Ok(StatusCode::NO_CONTENT.into_response());
    };
    let viewer = Viewer {
        last: overview::live(&app)?,
        app,
        session: by.session.id,
        told: Instant::now(),
        _seat: seat,
    };
    let first = stream::once(std::future::ready(Ok::<_, Infallible>(event(&viewer.last))));
    let rest = stream::unfold(viewer, |mut viewer| async move {
        let event = viewer.next().await?;
        Some((Ok(event), viewer))
    });
    let both = futures_util::StreamExt::chain(first, rest);
    Ok(Sse::new(both).into_response())
}

impl Viewer {
    /// The next change; None: the view is over.
    async fn next(&mut self) -> Option<Event> {
        loop {
            tokio::select! {
                () = self.app.shutdown.cancelled() => return None,
                () = sleep(LOOK) => {}
            }
            let store = self.app.store();
            store.session_of_id(&self.session).ok().flatten()?;
            let now = overview::live(&self.app).ok()?;
            if now != self.last {
                self.last = now;
                self.told = Instant::now();
                return Some(event(&self.last));
            }
            if self.told.elapsed() >= SIGN_OF_LIFE {
                self.told = Instant::now();
                return Some(Event::default().comment("still here"));
            }
        }
    }
}

fn event(html: &str) -> Event {
    // A carriage return would end the line of an event.
    Event::default().event("page").data(html.replace('\r', ""))
}
