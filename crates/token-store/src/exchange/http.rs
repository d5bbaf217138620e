//! HTTP to a provider's endpoints: no redirect followed, no repetition, one deadline, a bounded answer.

use super::tls;
use super::verdict::{Trouble, Verdict};
use super::{Form, one_line};
use oauth2::url::form_urlencoded;
use provider_template::url_is_safe;
use reqwest::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION,
    RETRY_AFTER,
};
use reqwest::{Client, Url};
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::Secret;

/// TCP and TLS to the token endpoint.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The whole exchange. Long, because an answer given up on may have rotated the refresh token.
const TOTAL_TIMEOUT: Duration = Duration::from_secs(45);
/// A token answer is a few kilobytes, tens with large claims; what is longer is something else.
const ANSWER_CAP: usize = 1024 * 1024;

/// The HTTP client of all endpoints.
pub(super) struct Http {
    /// Obeys the proxy variables of the environment.
    outside: Client,
    /// A proxy would look for a loopback endpoint on its own host.
    loopback: Client,
}

/// What came back.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) retry_after: Option<Duration>,
    /// The host that a redirect names. It is not followed: a token request belongs to the endpoint it was made for.
    pub(super) redirect: Option<String>,
    pub(super) body: Vec<u8>,
    /// Why the body ended early.
    pub(super) cut: Option<String>,
}

impl Http {
    /// # Errors
    /// When the CA file can't be read, in words.
    pub(super) fn new(ca_file: Option<&Path>) -> Result<Self, String> {
        let config = tls::client_config(ca_file)?;
        let builder = || {
            Client::builder()
                .tls_backend_preconfigured(config.clone())
                .redirect(reqwest::redirect::Policy::none())
                .retry(reqwest::retry::never())
                .connect_timeout(CONNECT_TIMEOUT)
                .timeout(TOTAL_TIMEOUT)
                // A kept connection may close just as a refresh token travels on it, and the answer is lost.
                .pool_max_idle_per_host(0)
                .user_agent(concat!("postern/", env!("CARGO_PKG_VERSION")))
        };
        let build = |builder: reqwest::ClientBuilder| builder.build().map_err(|e| chain(&e));
        Ok(Self {
            outside: build(builder())?,
            loopback: build(builder().no_proxy())?,
        })
    }

    fn client(&self, url: &Url) -> &Client {
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
        let loopback = host == "localhost"
            || host
                .parse::<std::net::IpAddr>()
                .is_ok_and(|ip| ip.is_loopback());
        if loopback {
            &self.loopback
        } else {
            &self.outside
        }
    }

    /// Posts a form.
    pub(super) async fn post(&self, url: Url, form: &Form) -> Result<Answer, String> {
        let host = url.host_str().unwrap_or_default().to_owned();
        let sent = self
            .client(&url)
            .post(url)
            .header(ACCEPT, "application/json")
            .header(ACCEPT_ENCODING, "identity")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(encode(form))
            .send()
            .await;
        receive(sent.map_err(|e| format!("no answer from {host}: {}", chain(&e)))?).await
    }

    /// Fetches a document, with an access token where it is somebody's own.
    pub(super) async fn get(&self, url: Url, bearer: Option<&Secret>) -> Result<Answer, String> {
        let host = url.host_str().unwrap_or_default().to_owned();
        let mut request = self
            .client(&url)
            .get(url)
            .header(ACCEPT, "application/json");
        if let Some(token) = bearer {
            let value = HeaderValue::try_from(format!("Bearer {}", token.expose()));
            let mut value = value.map_err(|_| "the access token fits no header".to_owned())?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        let sent = request.send().await;
        receive(sent.map_err(|e| format!("no answer from {host}: {}", chain(&e)))?).await
    }
}

async fn receive(mut response: reqwest::Response) -> Result<Answer, String> {
    let status = response.status().as_u16();
    let headers = response.headers();
    let retry_after = retry_after(headers, SystemTime::now());
    let redirect = headers
        .get(LOCATION)
        .filter(|_| (300..400).contains(&status))
        .and_then(|place| {
            Url::parse(place.to_str().ok()?)
                .ok()?
                .host_str()
                .map(one_line)
        });
    let mut body = Vec::new();
    let cut = loop {
        match response.chunk().await {
            Ok(None) => break None,
            Ok(Some(chunk)) if body.len() + chunk.len() > ANSWER_CAP => {
                break Some(format!("the answer is longer than {ANSWER_CAP} bytes"));
            }
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Err(e) => break Some(format!("the answer broke off: {}", chain(&e))),
        }
    };
    Ok(Answer {
        status,
        retry_after,
        redirect,
        body,
        cut,
    })
}

/// Seconds, or an HTTP date (RFC 9110 section 10.2.3).
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::parse(text).ok()?;
    SystemTime::from(date.timestamp()).duration_since(now).ok()
}

/// An endpoint that secrets may be sent to.
pub(super) fn checked(url: &str) -> Result<Url, Verdict> {
    if url.contains('{') {
        return Err(Verdict::FixConfiguration(Trouble {
            words: format!("the endpoint {} still holds a placeholder", one_line(url)),
            advice: "put the tenant (or what the braces name) in its place".into(),
        }));
    }
    let parsed = Url::parse(url).ok().filter(|_| url_is_safe(url));
    parsed.ok_or_else(|| {
        Verdict::FixConfiguration(Trouble {
            words: format!("the endpoint {} may not be used", one_line(url)),
            advice: "give an https:// URL (http:// is possible on loopback only)".into(),
        })
    })
}

pub(super) fn encode(form: &Form) -> String {
    let mut out = form_urlencoded::Serializer::new(String::new());
    for (field, value) in form {
        out.append_pair(field, value.expose());
    }
    out.finish()
}

/// An error with its causes, since reqwest's own line says only "error sending request". The URL is left out: ours
/// carries no secret, but a misconfigured one might.
fn chain(error: &dyn std::error::Error) -> String {
    let mut words = Vec::new();
    let mut cause = Some(error);
    while let Some(e) = cause {
        words.push(e.to_string());
        cause = e.source();
    }
    one_line(&words.split_off(words.len().saturating_sub(2)).join(": "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_514_400);
        let read = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, text.parse().unwrap());
            retry_after(&headers, now)
        };
        assert_eq!(read("120"), Some(Duration::from_secs(120)));
        assert_eq!(
            read("Tue, 24 Nov 2026 10:01:00 GMT"),
            Some(Duration::from_secs(60))
        );
        assert_eq!(read("Tue, 24 Nov 2026 09:00:00 GMT"), None, "it is over");
        assert_eq!(read("-5"), None);
        assert_eq!(read("soon"), None);
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }
}
