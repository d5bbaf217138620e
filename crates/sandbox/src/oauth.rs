//! The OAuth server: authorisation, tokens, devices, revocation, introspection, discovery and user information.
mod about;
mod assertion;
mod device;
mod token;

pub(crate) use assertion::Signers;
pub(crate) use device::Devices;

use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::net::TcpStream;
use wire::lines::Lines;

use crate::fault::{Fault, Service};
use crate::http::{self, Request, RequestError, Response, field};
use crate::pages;
use crate::provider::CLIENT_ID;
use crate::state::{Shared, State};

/// A kept connection is closed after this silence, as web servers do.
const IDLE: Duration = Duration::from_secs(75);

/// One connection, until the client closes it.
pub(crate) async fn serve(stream: TcpStream, shared: Arc<Shared>, base: String) {
    let mut lines = Lines::new(stream, IDLE);
    loop {
        let request = match http::read(&mut lines).await {
            Ok(request) => request,
            Err(RequestError::Gone) => return,
            Err(RequestError::Bad(status, why)) => {
                let refusal = Response::html(status, pages::mistake(why)).to_bytes(false);
                // The connection ends here either way.
                lines.send(&refusal).await.ok();
                return;
            }
        };
        let fault = shared.fault(Service::Oauth, &request.path);
        if request.path == "/token" {
            shared.with(|state| state.counts.token_requests += 1);
        }
        let answer = match fault {
            Some(Fault::Drop) => return,
            Some(Fault::Reply(text)) => {
                lines.send(text.as_bytes()).await.ok();
                return;
            }
            Some(Fault::Lose | Fault::Cut(_)) => {
                handle(&request, &shared, &base);
                return;
            }
            Some(Fault::Delay(time)) => {
                tokio::time::sleep(time).await;
                handle(&request, &shared, &base)
            }
            Some(Fault::Withhold(time)) => {
                let answer = handle(&request, &shared, &base);
                tokio::time::sleep(time).await;
                answer
            }
            None => handle(&request, &shared, &base),
        };
        let sent = lines.send(&answer.to_bytes(request.keep_alive)).await;
        if sent.is_err() || !request.keep_alive {
            return;
        }
    }
}

fn handle(request: &Request, shared: &Shared, base: &str) -> Response {
    let now = SystemTime::now();
    let method = request.method.as_str();
    shared.with(|state| match (method, request.path.as_str()) {
        ("GET", "/authorize") => authorize(request, state, now),
        ("POST", "/token") => token::token(request, state, base, now),
        ("POST", "/device_authorization") => {
            match token::client(request, state, &format!("{base}/token")) {
                Ok(()) => device::begin(state, base, now),
                Err(refusal) => refusal,
            }
        }
        ("GET", "/device") => device::page(request, state),
        ("POST", "/revoke") => about::revoke(request, state, base),
        ("GET" | "POST", "/introspect") => about::introspect(request, state, now),
        ("GET", "/userinfo") => about::userinfo(request, state, now),
        ("GET", "/.well-known/openid-configuration") => Response::json(200, &discovery(base)),
        (_, "/token" | "/authorize") => {
            Response::html(405, pages::mistake("This address takes another method."))
        }
        _ => Response::html(404, pages::mistake("There is nothing at this address.")),
    })
}

fn discovery(base: &str) -> Value {
    json!({
        "issuer": base,
        "authorization_endpoint": format!("{base}/authorize"),
        "token_endpoint": format!("{base}/token"),
        "introspection_endpoint": format!("{base}/introspect"),
        "userinfo_endpoint": format!("{base}/userinfo"),
        "device_authorization_endpoint": format!("{base}/device_authorization"),
        "revocation_endpoint": format!("{base}/revoke"),
        "response_types_supported": ["code"],
        "grant_types_supported": ["authorization_code", "refresh_token", "client_credentials", "password",
            "urn:ietf:params:oauth:grant-type:device_code", "urn:ietf:params:oauth:grant-type:jwt-bearer"],
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "private_key_jwt"],
        "scopes_supported": ["mail", "offline_access"],
    })
}

/// Asks the person, or consents at once for a `login_hint`. A client or redirect that cannot be trusted gets a page, never a
/// redirect (RFC 6749 section 4.1.2.1).
fn authorize(request: &Request, state: &mut State, now: SystemTime) -> Response {
    let value = |name| field(&request.query, name);
    if value("client_id") != Some(CLIENT_ID) {
        return Response::html(400, pages::mistake("The client_id is unknown."));
    }
    let Some(redirect_uri) = value("redirect_uri").filter(|uri| is_loopback_url(uri)) else {
        let why = "The redirect_uri must be http on this machine, or https.";
        return Response::html(400, pages::mistake(why));
    };
    let back = |answer: &str| {
        let joint = if redirect_uri.contains('?') { '&' } else { '?' };
        let state = value("state").map_or_else(String::new, |state| {
            format!("&state={}", http::percent_encode(state))
        });
        Response::redirect(format!("{redirect_uri}{joint}{answer}{state}"))
    };
    if value("response_type") != Some("code") {
        return back("error=unsupported_response_type");
    }
    let challenge = value("code_challenge");
    let s256 = value("code_challenge_method") == Some("S256");
    if (challenge.is_some() && !s256) || (challenge.is_none() && state.knobs.require_pkce) {
        return back("error=invalid_request&error_description=PKCE+with+S256+is+required");
    }
    if value("deny").is_some() {
        return back("error=access_denied&error_description=the+person+refused");
    }
    if let Some(user) = value("login_hint") {
        let code = state.grants.code(user, redirect_uri, challenge, now);
        return back(&format!("code={code}"));
    }
    let scope = value("scope").unwrap_or("nothing in particular");
    let page = pages::consent("/authorize", &request.query, &token::users(state), scope);
    Response::html(200, page)
}

/// Whether the person can only be sent back to this machine, or to a site under TLS.
fn is_loopback_url(url: &str) -> bool {
    if url.starts_with("https://") {
        return true;
    }
    let Some(rest) = url.strip_prefix("http://") else {
        return false;
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        return false;
    }
    let host = match authority.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    matches!(host, "127.0.0.1" | "::1" | "localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_or_tls_is_a_redirect() {
        for good in [
            "http://127.0.0.1:8025/cb",
            "http://localhost/cb?x=1",
            "http://[::1]:1/",
            "https://helpdesk.example.com/postern/oauth2/callback",
        ] {
            assert!(is_loopback_url(good), "{good}");
        }
        for bad in [
            "http://example.com/",
            "http://127.0.0.1.example.com/",
            "http://localhost@example.com/",
            "http://localhost:1@example.com/",
            "ftp://127.0.0.1/",
            "",
        ] {
            assert!(!is_loopback_url(bad), "{bad}");
        }
    }
}
