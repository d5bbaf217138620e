//! Endpoints from an issuer's `/.well-known/openid-configuration` (OpenID Connect Discovery 1.0), kept for an hour.

use super::answer::one_line;
use super::verdict::unanswered;
use super::{Blame, Exchange, Trouble, Verdict, checked};
use provider_template::FurtherEndpoints;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Providers move endpoints rarely, and announce it by months.
const KEPT_FOR: Duration = Duration::from_secs(3600);

#[derive(Debug, Clone)]
pub(super) struct Endpoints {
    pub(super) authorize: String,
    pub(super) token: String,
    pub(super) further: FurtherEndpoints,
}

#[derive(Default)]
pub(super) struct Cache {
    known: Mutex<HashMap<String, (Instant, Endpoints)>>,
}

impl Cache {
    pub(super) async fn endpoints(
        &self,
        exchange: &Exchange,
        issuer: &str,
    ) -> Result<Endpoints, Verdict> {
        let known = self
            .known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(issuer)
            .cloned();
        if let Some((at, endpoints)) = known
            && at.elapsed() < KEPT_FOR
        {
            return Ok(endpoints);
        }
        let url = checked(&format!(
            "{}/.well-known/openid-configuration",
            issuer.trim_end_matches('/')
        ))?;
        let answer = exchange.http.get(url, None).await.map_err(unanswered)?;
        if answer.status != 200 || answer.cut.is_some() {
            let words = answer.cut.unwrap_or_else(|| {
                let status = answer.status;
                format!("discovery at {issuer} answered with HTTP status {status}")
            });
            let advice =
                "it is tried again by itself; if it stays, check the issuer or give the endpoints"
                    .into();
            return Err(Verdict::Retry {
                trouble: Trouble { words, advice },
                after: answer.retry_after,
                refresh: None,
                blame: Blame::Endpoint,
            });
        }
        let found = read(issuer, &answer.body)?;
        let entry = (Instant::now(), found.clone());
        self.known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(issuer.to_owned(), entry);
        Ok(found)
    }
}

/// A document whose issuer differs is another provider's, however it got there (section 4.3 of the standard).
pub(super) fn read(issuer: &str, body: &[u8]) -> Result<Endpoints, Verdict> {
    #[derive(serde::Deserialize)]
    struct Document {
        issuer: String,
        authorization_endpoint: Option<String>,
        token_endpoint: Option<String>,
        device_authorization_endpoint: Option<String>,
        revocation_endpoint: Option<String>,
        introspection_endpoint: Option<String>,
        userinfo_endpoint: Option<String>,
    }
    let document: Document = serde_json::from_slice(body).map_err(|_| {
        unanswered(format!(
            "{issuer} answered with something that is not a discovery document"
        ))
    })?;
    if document.issuer.trim_end_matches('/') == issuer.trim_end_matches('/') {
        return Ok(Endpoints {
            authorize: document.authorization_endpoint.unwrap_or_default(),
            token: document.token_endpoint.unwrap_or_default(),
            further: FurtherEndpoints {
                device: document.device_authorization_endpoint,
                revoke: document.revocation_endpoint,
                introspect: document.introspection_endpoint,
                userinfo: document.userinfo_endpoint,
            },
        });
    }
    let other = one_line(&document.issuer);
    Err(Verdict::FixConfiguration(Trouble {
        words: format!("the discovery document of {issuer} is for another issuer, {other}"),
        advice: "check the issuer, or give the endpoints instead".into(),
    }))
}
