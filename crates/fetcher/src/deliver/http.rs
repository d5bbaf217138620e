//! Delivers by HTTP POST: the exact bytes as the body, signed, over a connection that is kept.
//!
//! The signature is HMAC-SHA256 with the mailbox's secret over the timestamp, a dot, and the body. The delivery id is the same for
//! every attempt: the one window is an answer that was lost after the endpoint took the message, and by that id it can tell.

pub(super) mod answer;
mod connection;
mod message;
mod sign;

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyper::header::{CONTENT_TYPE, HOST, HeaderName, HeaderValue, USER_AGENT};
use hyper::{Method, Request, Uri};
use spool::{Outcome, Stored};
use token_store::accounts::Http;
use tokio::time::{Instant, timeout};
use wire::dial::{self, Target, Tls, Trust, is_loopback};

use self::connection::{Answered, Connection, Unanswered};
use self::message::Message;
use super::job::{Finished, Job};

/// Name, TCP and TLS, each.
const CONNECT: Duration = Duration::from_secs(30);
/// Servers close idle connections after 5 to 75 seconds (nginx: 75, Apache: 5); one that we close ourselves is never a race.
const IDLE: Duration = Duration::from_secs(4);

/// An HTTP endpoint as a place to deliver to.
pub(crate) struct Poster {
    endpoint: Result<Endpoint, String>,
    key: sign::Key,
    mailbox: String,
    user: String,
    longest: Duration,
    kept: Mutex<Vec<(Connection, Instant)>>,
}

/// Where to post.
struct Endpoint {
    target: Target,
    /// `HOST` or `HOST:PORT`, as the URL has it.
    host: HeaderValue,
    /// Path and query.
    path: Uri,
    trust: Trust,
}

impl Endpoint {
    fn of(http: &Http) -> Result<Self, String> {
        let wrong = || format!("{} is no URL to post to", shown(&http.url));
        let url: Uri = http.url.parse().map_err(|_| wrong())?;
        let authority = url.authority().ok_or_else(wrong)?;
        let tls = match url.scheme_str() {
            Some("https") => Tls::Implicit,
            Some("http") if is_loopback(authority.host()) => Tls::None,
            _ => return Err(wrong()),
        };
        let usual = if tls == Tls::Implicit { 443 } else { 80 };
        let path = url.path_and_query().map_or("/", |path| path.as_str());
        Ok(Self {
            target: Target {
                host: authority.host().to_owned(),
                port: authority.port_u16().unwrap_or(usual),
                tls,
            },
            host: HeaderValue::from_str(authority.as_str()).map_err(|_| wrong())?,
            path: path.parse().map_err(|_| wrong())?,
            trust: trust(http.ca_file.as_deref())?,
        })
    }

    async fn connect(&self) -> Result<Connection, String> {
        let stream = dial::connect(&self.target, &self.trust, CONNECT).await;
        Connection::over(stream.map_err(|e| e.to_string())?).await
    }
}

fn trust(ca_file: Option<&Path>) -> Result<Trust, String> {
    Trust::new(ca_file).map_err(|e| e.to_string())
}

/// A URL for people: a query may hold a key.
fn shown(url: &str) -> &str {
    url.split('?').next().unwrap_or_default()
}

impl Poster {
    pub(crate) fn new(http: &Http, mailbox: &str, user: &str, longest: Duration) -> Self {
        Self {
            endpoint: Endpoint::of(http),
            key: sign::Key::new(&http.secret),
            mailbox: mailbox.to_owned(),
            user: user.to_owned(),
            longest,
            kept: Mutex::default(),
        }
    }

    /// Posts one message.
    pub(crate) async fn deliver(&self, job: Job) -> Finished {
        let endpoint = match &self.endpoint {
            Ok(endpoint) => endpoint,
            Err(why) => {
                let (why, after) = (why.clone(), None);
                return Finished::new(Outcome::Blocked { why, after }, None);
            }
        };
        let host = &endpoint.target.host;
        match timeout(self.longest, self.post(endpoint, job)).await {
            Ok(Ok(answered)) => Finished::new(answer::read(&answered), Some(answered.in_words())),
            Ok(Err(why)) => later(why),
            Err(_) => later(format!(
                "no answer from {host} within {} s; it may have the message, and gets it again",
                self.longest.as_secs()
            )),
        }
    }

    async fn post(&self, endpoint: &Endpoint, job: Job) -> Result<Answered, String> {
        let mut request = self.request(endpoint, job).await?;
        if let Some(kept) = self.take() {
            match kept.send(request).await {
                Ok((answered, connection)) => return Ok(self.keep(answered, connection)),
                // Closed while it was idle; nothing of the request was sent.
                Err(Unanswered::Unsent(unsent)) => request = *unsent,
                Err(Unanswered::Broken(why)) => return Err(why),
            }
        }
        match endpoint.connect().await?.send(request).await {
            Ok((answered, connection)) => Ok(self.keep(answered, connection)),
            Err(Unanswered::Unsent(_)) => Err("the connection was closed at once".to_owned()),
            Err(Unanswered::Broken(why)) => Err(why),
        }
    }

    /// The signed request.
    async fn request(&self, endpoint: &Endpoint, job: Job) -> Result<Request<Message>, String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let timestamp = now.unwrap_or_default().as_secs().to_string();
        let unreadable = |e: std::io::Error| format!("the stored message can't be read: {e}");
        let (signature, stored): (String, Stored) = self
            .key
            .sign(&timestamp, job.message)
            .await
            .map_err(unreadable)?;
        let own = [
            ("x-postern-delivery-id", job.id),
            ("x-postern-mailbox", self.mailbox.clone()),
            ("x-postern-envelope-to", self.user.clone()),
            ("x-postern-attempt", job.attempt.to_string()),
            ("x-postern-sha256", job.sha256),
            ("x-postern-timestamp", timestamp),
            ("x-postern-signature", format!("sha256={signature}")),
        ];
        let mut request = Request::new(Message::new(stored, job.size));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = endpoint.path.clone();
        let headers = request.headers_mut();
        headers.insert(HOST, endpoint.host.clone());
        headers.insert(USER_AGENT, HeaderValue::from_static("postern"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("message/rfc822"));
        for (name, value) in own {
            let value = HeaderValue::from_bytes(value.as_bytes())
                .map_err(|_| format!("{name} can't be sent: it holds a control character"))?;
            headers.insert(HeaderName::from_static(name), value);
        }
        Ok(request)
    }

    fn take(&self) -> Option<Connection> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(_, used)| used.elapsed() < IDLE);
        kept.pop().map(|(connection, _)| connection)
    }

    fn keep(&self, answered: Answered, connection: Option<Connection>) -> Answered {
        if let Some(connection) = connection {
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.push((connection, Instant::now()));
        }
        answered
    }

    /// Nothing was delivered for a while: ends connections that nobody needs.
    pub(crate) fn rest(&self) {
        self.kept
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }
}

fn later(why: String) -> Finished {
    Finished::new(Outcome::Retry { why, after: None }, None)
}

/// Whether the endpoint's server can be reached, for `postern check`; nothing is posted.
pub(crate) async fn look(http: &Http) -> Result<String, String> {
    let endpoint = Endpoint::of(http)?;
    let stream = dial::connect(&endpoint.target, &endpoint.trust, CONNECT).await;
    let how = match stream.map_err(|e| e.to_string())?.is_tls() {
        true => "answers under TLS",
        false => "answers",
    };
    Ok(format!("{how}; nothing was posted"))
}

#[cfg(test)]
#[path = "http/tests.rs"]
mod tests;
