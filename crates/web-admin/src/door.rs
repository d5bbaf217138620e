//! What every request passes on its way in and every answer on its way out.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use axum::http::uri::PathAndQuery;
use axum::http::{Request, Uri};
use axum::response::{IntoResponse, Response};
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::error::{PageError, present};
use crate::visitor::Peer;
use crate::{App, routes};

/// From the header's end to the answer. Above the deadline of a token request, so that its own words are shown.
pub(crate) const REQUEST_LIMIT: Duration = Duration::from_secs(60);

/// On every answer, whatever it is.
///
/// `form-action 'self'`: the way to the provider is a link of a page and not a redirect after a POST, which this
/// would block. `same-origin` as referrer policy: with `no-referrer` browsers send `Origin: null` with our own
/// forms; the callback, whose address holds a code, says `no-referrer` for itself.
const HEADERS: [(HeaderName, &str); 8] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data:; form-action 'self'; \
         frame-ancestors 'none'; base-uri 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "same-origin"),
    (header::CACHE_CONTROL, "no-store"),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("permissions-policy"),
        "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    ),
];

/// The way in and out.
pub(crate) struct Door {
    app: App,
    router: TowerToHyperService<Router>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Door {
    /// `tasks` is what the caller drains; `stop` ends handlers that outlive the grace time.
    pub(crate) fn new(
        app: App,
        router: Router,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        Self {
            app,
            router: TowerToHyperService::new(router),
            tasks,
            stop,
        }
    }

    /// Answers one request; there is always an answer.
    pub(crate) async fn answer(&self, mut request: Request<Body>, peer: Peer) -> Response {
        let arrival = self.app.parts.proxies.look(peer, request.headers());
        request.extensions_mut().insert(arrival);
        let answer = match self.admit(&mut request) {
            Ok(()) => self.handle(request).await,
            Err(refused) => refused.into_response(),
        };
        let mut answer = present(&self.app, answer);
        for (name, value) in HEADERS {
            answer
                .headers_mut()
                .entry(name)
                .or_insert(HeaderValue::from_static(value));
        }
        answer
    }

    /// Takes the prefix off and checks the host; whether we are alive may be asked by any name.
    fn admit(&self, request: &mut Request<Body>) -> Result<(), PageError> {
        let uri = request.uri();
        let path = self.app.address.inner_path(uri.path(), uri.query());
        if path != routes::HEALTH {
            self.check_host(request)?;
        }
        let inner = match uri.query() {
            Some(query) => format!("{path}?{query}"),
            None => path.to_owned(),
        };
        let inner = PathAndQuery::try_from(inner).map_err(|_| PageError::NotFound)?;
        *request.uri_mut() = Uri::from(inner);
        Ok(())
    }

    fn check_host(&self, request: &Request<Body>) -> Result<(), PageError> {
        let named = host(request.headers());
        let asked = request
            .uri()
            .authority()
            .map(|authority| authority.as_str());
        for host in std::iter::once(named).chain(asked) {
            if !self.app.address.knows_host(host) {
                return Err(PageError::WrongHost(host.to_owned()));
            }
        }
        Ok(())
    }

    /// Runs the handler as a task of its own: its panic is its own, and it goes on when the browser has left,
    /// because half a token request may be a refresh token lost.
    async fn handle(&self, request: Request<Body>) -> Response {
        let handler = self.router.call(request);
        let stop = self.stop.clone();
        let task = self.tasks.spawn(async move {
            tokio::select! {
                answer = timeout(REQUEST_LIMIT, handler) => match answer {
                    Ok(Ok(answer)) => answer,
                    Ok(Err(never)) => match never {},
                    Err(_) => PageError::TooSlow.into_response(),
                },
                () = stop.cancelled() => PageError::TooSlow.into_response(),
            }
        });
        task.await
            .unwrap_or_else(|_| PageError::Panicked.into_response())
    }
}

/// The `Host` header; empty when there is none or it is no text.
pub(crate) fn host(headers: &HeaderMap) -> &str {
    headers
        .get(header::HOST)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}
