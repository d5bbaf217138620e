//! One HTTP exchange with a provider's endpoint -> Verdict.
//!
//! The form is filled from the token config's own requests ([`form`]); the answer is read by [`answer`], judged by [`verdict`].
//! Nothing here touches the database, and nothing here retries: that is the schedule's business.

mod answer;
mod assertion;
mod body;
mod device;
mod discovery;
mod form;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzz;
mod http;
mod identity;
mod service;
mod tls;
mod verdict;

pub(crate) use answer::one_line;
pub(crate) use device::{Polled, expired};
pub(crate) use form::Ask;
pub(crate) use identity::same_issuer;
pub(crate) use service::Kind;
pub(crate) use verdict::{Blame, Grant, Owner, Trouble, Verdict};

use answer::{Answered, Names};
use form::{Form, finished, request_for};
use http::{Answer, Http, checked};
use provider_template::{Entry, FurtherEndpoints, Request};
use reqwest::Url;
use std::path::Path;
use std::time::SystemTime;
use verdict::{judge, unanswered};

/// The way to all endpoints.
pub(crate) struct Exchange {
    http: Http,
    discovery: discovery::Cache,
}

impl Exchange {
    /// # Errors
    /// When the CA file can't be read, in words.
    pub(crate) fn new(ca_file: Option<&Path>) -> Result<Self, String> {
        Ok(Self {
            http: Http::new(ca_file)?,
            discovery: discovery::Cache::default(),
        })
    }

    /// Makes one token request. Always ends within the client's deadline (twice that when endpoints are discovered first).
    pub(crate) async fn ask(&self, entry: &Entry, ask: Ask<'_>) -> Verdict {
        let (answer, form, names) = match self.send(entry, ask).await {
            Ok(sent) => sent,
            Err(verdict) => return verdict,
        };
        match finished(entry, decide(answer, &names), &form) {
            Verdict::Granted(grant) => Verdict::Granted(self.told(entry, grant)),
            other => other,
        }
    }

    /// Sends a token request; what came back, what was sent, and how the answer's fields are called.
    async fn send<'a>(
        &self,
        entry: &'a Entry,
        ask: Ask<'_>,
    ) -> Result<(Answer, Form, Names<'a>), Verdict> {
        let request = request_for(entry, ask).map_err(|name| {
            Verdict::FixConfiguration(Trouble {
                words: format!("the token config {} has no request {name}", entry.name),
                advice: "add the request to the token config, or choose another flow".into(),
            })
        })?;
        let url = self.token_url(entry, request).await?;
        let signed = assertion::sign(entry, ask, url.as_str(), SystemTime::now())?;
        let form = form::form(entry, request, ask, &signed);
        match self.http.post(url, &form).await {
            Ok(answer) => Ok((answer, form, Names::of(request))),
            Err(why) => Err(finished(entry, unanswered(why), &form)),
        }
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

    /// The token endpoint, as the audience of assertions for its neighbours.
    async fn any_token_url(&self, entry: &Entry) -> Result<Url, Verdict> {
        match entry.config.first_request() {
            Some(request) => self.token_url(entry, request).await,
            None => checked(&self.discovered(entry).await?.token),
        }
    }

    /// An endpoint beside the token endpoint: the config's own, or the discovered one. None: there is none.
    async fn further_url(
        &self,
        entry: &Entry,
        own: fn(&FurtherEndpoints) -> &Option<String>,
        discovered: fn(&FurtherEndpoints) -> &Option<String>,
    ) -> Result<Option<Url>, Verdict> {
        let postern = &entry.config.postern;
        if let Some(url) = own(&postern.endpoints) {
            return checked(url).map(Some);
        }
        if postern.discovery.as_deref().unwrap_or_default().is_empty() {
            return Ok(None);
        }
        let found = self.discovered(entry).await?;
        discovered(&found.further)
            .as_deref()
            .map(checked)
            .transpose()
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
}

/// Why an endpoint beside the token endpoint did not do what it was asked.
fn complaint(entry: &Entry, answer: Answer, form: &Form) -> Verdict {
    let (status, request) = (answer.status, Request::default());
    let verdict = match decide(answer, &Names::of(&request)) {
        Verdict::Granted(_) => unanswered(format!("the endpoint answered {status} with a token")),
        other => other,
    };
    finished(entry, verdict, form)
}

/// What an answer of the token endpoint means.
fn decide(answer: Answer, names: &Names<'_>) -> Verdict {
    let mut answered = answer::read(answer.status, &answer.body, names);
    if let (Answered::Nonsense { what, .. }, Some(host)) = (&mut answered, answer.redirect) {
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

#[cfg(test)]
mod tests;
