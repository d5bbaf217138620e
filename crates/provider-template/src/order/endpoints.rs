//! The endpoints of an order: instead of the template's, or discovered.

use super::Endpoints;
use crate::check::{Mistake, UNSAFE};
use crate::entry::{Entry, Request};
use crate::flow::Flow;
use crate::url::url_is_safe;

/// The path that an issuer's discovery document has (OpenID Connect Discovery 1.0, section 4); people paste it along.
const WELL_KNOWN: &str = "/.well-known/openid-configuration";

impl Entry {
    /// Puts an order's endpoints in place of the template's, and looks at what this entry then has.
    pub(super) fn use_endpoints(&mut self, given_ones: &Endpoints, mistakes: &mut Vec<Mistake>) {
        let flow = self.config.flow;
        let discovery = given(&given_ones.discovery)
            .map(|url| url.strip_suffix(WELL_KNOWN).unwrap_or(url).to_owned());
        if let Some(issuer) = discovery {
            safe("endpoints.discovery", &issuer, mistakes);
            self.config.postern.discovery = Some(issuer);
        }
        let discovered = self.config.postern.discovery.is_some();
        let requests = &mut self.config.requests;
        let authorize = [&mut requests.authorization_code];
        let token = [
            &mut requests.token_by_authorization_code,
            &mut requests.token_by_refresh_token,
            &mut requests.token_by_client_credentials,
        ];
        let asks_browser = flow == Flow::AuthorizationCode;
        if given(&given_ones.authorize).is_some() && !asks_browser {
            mistakes.push(Mistake::new(
                "endpoints.authorize",
                "no browser is sent anywhere in this flow",
            ));
        }
        let url = &given_ones.authorize;
        endpoint(
            "endpoints.authorize",
            url,
            authorize,
            discovered || !asks_browser,
            mistakes,
        );
        let url = &given_ones.token;
        endpoint("endpoints.token", url, token, discovered, mistakes);
        let browser = &mut self.config.requests.authorization_code;
        // Nobody is sent there in this flow, and nothing says where it would be.
        if !asks_browser && !discovered && browser.as_ref().is_some_and(|b| b.url.is_empty()) {
            *browser = None;
        }
        self.use_further_endpoints(given_ones, mistakes);
    }

    fn use_further_endpoints(&mut self, given_ones: &Endpoints, mistakes: &mut Vec<Mistake>) {
        let flow = self.config.flow;
        let discovered = self.config.postern.discovery.is_some();
        let own = &mut self.config.postern.endpoints;
        let pairs = [
            ("endpoints.device", &given_ones.device, &mut own.device),
            ("endpoints.revoke", &given_ones.revoke, &mut own.revoke),
            (
                "endpoints.introspect",
                &given_ones.introspect,
                &mut own.introspect,
            ),
            (
                "endpoints.userinfo",
                &given_ones.userinfo,
                &mut own.userinfo,
            ),
        ];
        for (field, instead, own) in pairs {
            if let Some(url) = given(instead) {
                safe(field, url, mistakes);
                *own = Some(url.to_owned());
            }
        }
        if flow == Flow::DeviceCode && own.device.is_none() && !discovered {
            mistakes.push(Mistake::new("endpoints.device", MISSING));
        }
    }
}

const MISSING: &str = "is missing; this template has no address of its own, so give it here, or give the OpenID Connect issuer (endpoints.discovery)";

/// Sets one endpoint in the requests that use it, and looks at what they then have.
fn endpoint<const N: usize>(
    field: &str,
    instead: &Option<String>,
    requests: [&mut Option<Request>; N],
    discovered: bool,
    mistakes: &mut Vec<Mistake>,
) {
    let mut missing = false;
    for request in requests.into_iter().flatten() {
        if let Some(url) = given(instead) {
            request.url = url.to_owned();
        }
        missing |= request.url.is_empty() && !discovered;
    }
    if missing {
        mistakes.push(Mistake::new(field, MISSING));
    }
    if let Some(url) = given(instead) {
        safe(field, url, mistakes);
    }
}

/// A given override; an empty form field is none.
fn given(url: &Option<String>) -> Option<&str> {
    url.as_deref().map(str::trim).filter(|url| !url.is_empty())
}

fn safe(field: &str, url: &str, mistakes: &mut Vec<Mistake>) {
    if !url_is_safe(url) {
        mistakes.push(Mistake::new(field, UNSAFE));
    }
}
