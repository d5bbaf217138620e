//! What a provider offers beside the token endpoint: whose token it is, what it is good for, and taking it back.

use super::body::{self, Body};
use super::form::further_form;
use super::identity;
use super::verdict::{Grant, Owner, Verdict, unanswered};
use super::{Exchange, one_line};
use crate::Secret;
use provider_template::Entry;
use serde_json::{Map, Value};

/// What to call a token to the provider (RFC 7009 section 2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Access,
    Refresh,
}

impl Kind {
    fn hint(self) -> &'static str {
        match self {
            Self::Access => "access_token",
            Self::Refresh => "refresh_token",
        }
    }
}

impl Exchange {
    /// Takes a token back at the provider (RFC 7009). None: the provider has no endpoint for it.
    pub(crate) async fn revoke(
        &self,
        entry: &Entry,
        token: &Secret,
        kind: Kind,
    ) -> Option<Result<(), Verdict>> {
        let url = self.further_url(entry, |e| &e.revoke, |d| &d.revoke).await;
        let url = match url.transpose()? {
            Ok(url) => url,
            Err(verdict) => return Some(Err(verdict)),
        };
        Some(self.ask_about(entry, url, token, kind).await.map(drop))
    }

    /// What the provider says of a token (RFC 7662). None: the provider has no endpoint for it.
    pub(crate) async fn introspect(
        &self,
        entry: &Entry,
        token: &Secret,
    ) -> Option<Result<Map<String, Value>, Verdict>> {
        let url = self
            .further_url(entry, |e| &e.introspect, |d| &d.introspect)
            .await;
        let url = match url.transpose()? {
            Ok(url) => url,
            Err(verdict) => return Some(Err(verdict)),
        };
        let answer = self.ask_about(entry, url, token, Kind::Access).await;
        Some(answer.and_then(|body| match body::read(&body) {
            Body::Fields(fields) if fields.contains_key("active") => Ok(fields),
            _ => Err(unanswered(
                "the introspection endpoint answered with something that is no introspection",
            )),
        }))
    }

    /// Posts a token with who asks; only a whole answer of success counts.
    async fn ask_about(
        &self,
        entry: &Entry,
        url: reqwest::Url,
        token: &Secret,
        kind: Kind,
    ) -> Result<Vec<u8>, Verdict> {
        let signed = self.sign_client(entry).await?;
        let fields = [("token", token.expose()), ("token_type_hint", kind.hint())];
        let form = further_form(entry, &fields, &signed);
        let answer = self.http.post(url, &form).await.map_err(unanswered)?;
        if answer.status == 200 && answer.cut.is_none() {
            return Ok(answer.body);
        }
        Err(super::complaint(entry, answer, &form))
    }

    /// A grant with the names that its ID token tells.
    pub(super) fn told(&self, entry: &Entry, mut grant: Grant) -> Grant {
        if let Owner::IdToken(id_token) = &grant.owner {
            let names = identity::of_id_token(id_token, &entry.config, crate::now() / 1000);
            grant.owner = Owner::named(names.unwrap_or_else(|why| {
                tracing::warn!(token = %entry.name, "the ID token tells nothing: {why}");
                Vec::new()
            }));
        }
        grant
    }

    /// Whether the provider may tell more than the token answer did.
    pub(crate) fn tells_more(&self, entry: &Entry) -> bool {
        let postern = &entry.config.postern;
        postern.endpoints.userinfo.is_some() || postern.discovery.is_some()
    }

    /// Who signed in, as the userinfo endpoint tells; nobody where there is none, or it doesn't tell.
    pub(crate) async fn owner(&self, entry: &Entry, grant: &Grant) -> Owner {
        let url = self
            .further_url(entry, |e| &e.userinfo, |d| &d.userinfo)
            .await;
        let Ok(Some(url)) = url else {
            return Owner::Untold;
        };
        let answer = match self.http.get(url, Some(&grant.access)).await {
            Ok(answer) if answer.status == 200 && answer.cut.is_none() => answer,
            Ok(answer) => {
                // Many endpoints want another scope than the mail hosts': then the provider doesn't tell.
                tracing::info!(token = %entry.name, status = answer.status, "the userinfo endpoint doesn't tell who signed in");
                return Owner::Untold;
            }
            Err(why) => {
                tracing::info!(token = %entry.name, "the userinfo endpoint doesn't tell who signed in: {}", one_line(&why));
                return Owner::Untold;
            }
        };
        match body::read(&answer.body) {
            Body::Fields(claims) => Owner::named(identity::names(&claims)),
            _ => Owner::Untold,
        }
    }
}
