//! One HTTP exchange with a token endpoint -> Verdict.
//!
//! The form is filled from the token config's own requests; the answer is read by [`answer`], judged by [`verdict`].
//! Nothing here touches the database, and nothing here retries: that is the schedule's business.

mod answer;
mod body;
mod discovery;
mod tls;
mod verdict;

pub(crate) use answer::one_line;
pub(crate) use verdict::{Grant, Trouble, Verdict};

use crate::Secret;
use answer::Names;
use oauth2::url::form_urlencoded;
use provider_template::{Autofill, Entry, Request, url_is_safe};
use reqwest::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE, HeaderMap, LOCATION, RETRY_AFTER};
use reqwest::{Client, Url};
use std::path::Path;
use std::time::{Duration, SystemTime};
use verdict::{judge, unanswered};

/// TCP and TLS to the token endpoint.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The whole exchange. Long, because an answer given up on may have rotated the refresh token.
const TOTAL_TIMEOUT: Duration = Duration::from_secs(45);
/// A token answer is a few kilobytes, tens with large claims; what is longer is something else.
const ANSWER_CAP: usize = 1024 * 1024;

/// Which request of a token config is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ask<'a> {
    Refresh {
        refresh_token: &'a Secret,
    },
    Code {
        code: &'a Secret,
        redirect_uri: &'a str,
        verifier: &'a Secret,
    },
    ClientCredentials,
}

/// The HTTP client of all token endpoints.
pub(crate) struct Exchange {
    /// Obeys the proxy variables of the environment.
    outside: Client,
    /// A proxy would look for a loopback endpoint on its own host.
    loopback: Client,
    discovery: discovery::Cache,
}

impl Exchange {
    /// # Errors
    /// When the CA file can't be read, in words.
    pub(crate) fn new(ca_file: Option<&Path>) -> Result<Self, String> {
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
            discovery: discovery::Cache::default(),
        })
    }

    /// Makes one request. Always ends within [`TOTAL_TIMEOUT`] (twice that when endpoints are discovered first).
    pub(crate) async fn ask(&self, entry: &Entry, ask: Ask<'_>) -> Verdict {
        let Some(request) = request_for(entry, ask) else {
            return Verdict::FixConfiguration(Trouble {
                words: format!(
                    "the token config {} has no request of this kind ({})",
                    entry.name,
                    ask.name()
                ),
                advice: "add the request to the token config, or choose another flow".into(),
            });
        };
        let url = match self.token_url(entry, request).await {
            Ok(url) => url,
            Err(verdict) => return verdict,
        };
        let form = form(entry, request, ask);
        let verdict = match self.post(url, encode(&form)).await {
            Ok(answer) => decide(answer, &Names::of(request)),
            Err(why) => unanswered(why),
        };
        finished(entry, verdict, &form)
    }

    /// The URL a person is sent to, before its parameters.
    pub(crate) async fn authorize_url(&self, entry: &Entry) -> Result<Url, Verdict> {
        let given = entry
            .config
            .requests
            .authorization_code
            .as_ref()
            .map_or("", |r| r.url.as_str());
        if !given.is_empty() {
            return checked(given);
        }
        checked(&self.discovered(entry).await?.authorize)
    }

    async fn token_url(&self, entry: &Entry, request: &Request) -> Result<Url, Verdict> {
        if !request.url.is_empty() {
            return checked(&request.url);
        }
        checked(&self.discovered(entry).await?.token)
    }

    async fn discovered(&self, entry: &Entry) -> Result<discovery::Endpoints, Verdict> {
        let Some(issuer) = entry
            .config
            .postern
            .discovery
            .as_deref()
            .filter(|i| !i.is_empty())
        else {
            return Err(Verdict::FixConfiguration(Trouble {
                words: format!(
                    "the token config {} names neither this endpoint nor an issuer",
                    entry.name
                ),
                advice: "give the endpoint, or the issuer to discover it from".into(),
            }));
        };
        self.discovery.endpoints(self, issuer).await
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

    async fn post(&self, url: Url, form: String) -> Result<Answer, String> {
        let host = url.host_str().unwrap_or_default().to_owned();
        let sent = self
            .client(&url)
            .post(url)
            .header(ACCEPT, "application/json")
            .header(ACCEPT_ENCODING, "identity")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form)
            .send()
            .await;
        receive(sent.map_err(|e| format!("no answer from {host}: {}", chain(&e)))?).await
    }

    async fn get(&self, url: Url) -> Result<Answer, String> {
        let host = url.host_str().unwrap_or_default().to_owned();
        let sent = self
            .client(&url)
            .get(url)
            .header(ACCEPT, "application/json")
            .send()
            .await;
        receive(sent.map_err(|e| format!("no answer from {host}: {}", chain(&e)))?).await
    }
}

/// What came back.
struct Answer {
    status: u16,
    retry_after: Option<Duration>,
    /// The host that a redirect names. It is not followed: a token request belongs to the endpoint it was made for.
    redirect: Option<String>,
    body: Vec<u8>,
    /// Why the body ended early.
    cut: Option<String>,
}

/// What an answer of the token endpoint means.
fn decide(answer: Answer, names: &Names<'_>) -> Verdict {
    let mut answered = answer::read(answer.status, &answer.body, names);
    if let (answer::Answered::Nonsense { what, .. }, Some(host)) = (&mut answered, answer.redirect)
    {
        *what = format!("a redirect to {host}");
    }
    let mut verdict = judge(answer.status, answer.retry_after, answered);
    let Some(why) = answer.cut else {
        return verdict;
    };
    match &mut verdict {
        // What arrived was enough after all: believe it, its refresh token may be the only living one.
        Verdict::Granted(_) => {}
        Verdict::Retry { trouble, .. } => trouble.words = why,
        Verdict::AskPerson(_) | Verdict::FixConfiguration(_) => verdict = unanswered(why),
    }
    verdict
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

fn checked(url: &str) -> Result<Url, Verdict> {
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

impl Ask<'_> {
    fn name(&self) -> &'static str {
        match self {
            Ask::Refresh { .. } => "TokenByRefreshToken",
            Ask::Code { .. } => "TokenByAuthorizationCode",
            Ask::ClientCredentials => "TokenByClientCredentials",
        }
    }

    fn grant_type(&self) -> &'static str {
        match self {
            Ask::Refresh { .. } => "refresh_token",
            Ask::Code { .. } => "authorization_code",
            Ask::ClientCredentials => "client_credentials",
        }
    }
}

fn request_for<'a>(entry: &'a Entry, ask: Ask<'_>) -> Option<&'a Request> {
    let requests = &entry.config.requests;
    match ask {
        Ask::Refresh { .. } => requests.token_by_refresh_token.as_ref(),
        Ask::Code { .. } => requests.token_by_authorization_code.as_ref(),
        Ask::ClientCredentials => requests.token_by_client_credentials.as_ref(),
    }
}

/// The form's fields; a value is secret or not, but never printed.
type Form = Vec<(String, Secret)>;

/// Fixed parameters, then what is filled in, then what the grant needs and the config forgot.
fn form(entry: &Entry, request: &Request, ask: Ask<'_>) -> Form {
    let config = &entry.config;
    let mut form: Form = Vec::new();
    let mut put = |field: &str, value: &str| {
        if !value.is_empty() && !form.iter().any(|(known, _)| known == field) {
            form.push((field.to_owned(), Secret::new(value)));
        }
    };
    for (field, value) in &request.parameters {
        put(field, value);
    }
    for (field, what) in &request.autofilled {
        put(
            field,
            match (what, ask) {
                (Autofill::ClientId, _) => &config.client_id,
                (Autofill::ClientSecret, _) => config.client_secret.expose(),
                (Autofill::Scope, _) => &config.scope,
                (Autofill::RedirectUrl, Ask::Code { redirect_uri, .. }) => redirect_uri,
                (Autofill::AuthorizationCode, Ask::Code { code, .. }) => code.expose(),
                (Autofill::RefreshToken, Ask::Refresh { refresh_token }) => refresh_token.expose(),
                _ => "",
            },
        );
    }
    let names = |what: Autofill| request.autofilled.iter().any(|(_, filled)| *filled == what);
    put("grant_type", ask.grant_type());
    match ask {
        Ask::Refresh { refresh_token } if !names(Autofill::RefreshToken) => {
            put("refresh_token", refresh_token.expose());
        }
        Ask::Code {
            code,
            redirect_uri,
            verifier,
        } => {
            if !names(Autofill::AuthorizationCode) {
                put("code", code.expose());
            }
            if !names(Autofill::RedirectUrl) {
                put("redirect_uri", redirect_uri);
            }
            put("code_verifier", verifier.expose());
        }
        _ => {}
    }
    form
}

fn encode(form: &Form) -> String {
    let mut out = form_urlencoded::Serializer::new(String::new());
    for (field, value) in form {
        out.append_pair(field, value.expose());
    }
    out.finish()
}

/// What is left to do for a config: hide what was sent, name the config, and see whether there is a person to ask.
fn finished(entry: &Entry, verdict: Verdict, form: &Form) -> Verdict {
    let mut verdict = match verdict {
        Verdict::AskPerson(Trouble { words, .. }) if !entry.config.flow.needs_person() => {
            let advice = "nobody signs in for this flow: check client id, client secret and the permissions \
                          granted to the application";
            Verdict::FixConfiguration(Trouble {
                words,
                advice: advice.into(),
            })
        }
        other => other,
    };
    let trouble = match &mut verdict {
        Verdict::Granted(_) => return verdict,
        Verdict::Retry { trouble, .. }
        | Verdict::AskPerson(trouble)
        | Verdict::FixConfiguration(trouble) => trouble,
    };
    let public = ["grant_type", "scope", "redirect_uri", "client_id"];
    for (_, value) in form
        .iter()
        .filter(|(field, value)| !public.contains(&field.as_str()) && value.expose().len() >= 8)
    {
        // A server may quote in its error what it was sent.
        trouble.words = trouble.words.replace(value.expose(), "***");
    }
    trouble.advice = trouble.advice.replace("NAME", &entry.name);
    verdict
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
mod tests;
