//! The OAuth server: authorisation, token, introspection, discovery and user information.
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::net::TcpStream;
use wire::lines::Lines;

use crate::fault::{Fault, Service};
use crate::grants::{Granted, NotGranted};
use crate::http::{self, Request, RequestError, Response, field};
use crate::pages;
use crate::provider::{CLIENT_ID, CLIENT_SECRET};
use crate::state::{Shared, State};

/// A kept connection is closed after this silence, as web servers do.
const IDLE: Duration = Duration::from_secs(75);
/// The user that the consent page offers when the provider knows none yet.
const SOMEBODY: &str = "helpdesk@sandbox.test";

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
        ("POST", "/token") => token(request, state, now),
        ("GET" | "POST", "/introspect") => introspect(request, state, now),
        ("GET", "/userinfo") => userinfo(request, state, now),
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
        "response_types_supported": ["code"],
        "grant_types_supported": ["authorization_code", "refresh_token", "client_credentials"],
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
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
    let mut users: Vec<String> = state.mailboxes.users().map(str::to_owned).collect();
    if users.is_empty() {
        users.push(SOMEBODY.to_owned());
    }
    let scope = value("scope").unwrap_or("nothing in particular");
    Response::html(200, pages::consent(&request.query, &users, scope))
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

fn token(request: &Request, state: &mut State, now: SystemTime) -> Response {
    if !client_is_known(request) {
        let mut refusal = error(401, "invalid_client", "the client id or secret is wrong");
        let challenge = ("WWW-Authenticate", "Basic realm=\"sandbox\"".to_owned());
        refusal.headers.push(challenge);
        return refusal;
    }
    let value = |name| field(&request.form, name);
    let knobs = &state.knobs;
    let granted = match value("grant_type") {
        Some("authorization_code") => state.grants.exchange(
            value("code").unwrap_or_default(),
            value("redirect_uri").unwrap_or_default(),
            value("code_verifier"),
            knobs,
            now,
        ),
        Some("refresh_token") => {
            let token = value("refresh_token").unwrap_or_default();
            let granted = state.grants.refresh(token, knobs, now);
            state.counts.refreshes += u64::from(granted.is_ok());
            state.counts.reused += u64::from(granted == Err(NotGranted::Reused));
            granted
        }
        Some("client_credentials") => Ok(Granted {
            access_token: state.grants.issue(None, knobs.token_life, now),
            refresh_token: None,
        }),
        _ => return error(400, "unsupported_grant_type", "this grant_type is unknown"),
    };
    match granted {
        Ok(granted) => Response::json(200, &granted_json(granted, knobs.token_life)),
        Err(refused) => error(400, "invalid_grant", refused.words()),
    }
}

fn granted_json(granted: Granted, life: Duration) -> Value {
    let mut answer = json!({
        "access_token": granted.access_token,
        "token_type": "Bearer",
        "expires_in": life.as_secs(),
        "scope": "mail offline_access",
    });
    if let Some(refresh_token) = granted.refresh_token {
        answer["refresh_token"] = Value::from(refresh_token);
    }
    answer
}

fn error(status: u16, error: &str, description: &str) -> Response {
    let body = json!({"error": error, "error_description": description});
    Response::json(status, &body)
}

/// By form fields, or by basic authentication (RFC 6749 section 2.3.1).
fn client_is_known(request: &Request) -> bool {
    let basic = request
        .authorization
        .as_deref()
        .and_then(|header| header.strip_prefix("Basic "))
        .and_then(|base64| STANDARD.decode(base64).ok())
        .and_then(|bytes| String::from_utf8(bytes).ok());
    if let Some((id, secret)) = basic.as_deref().and_then(|text| text.split_once(':')) {
        let (id, secret) = (http::percent_decode(id), http::percent_decode(secret));
        return id == CLIENT_ID && secret == CLIENT_SECRET;
    }
    field(&request.form, "client_id") == Some(CLIENT_ID)
        && field(&request.form, "client_secret") == Some(CLIENT_SECRET)
}

/// RFC 7662, with `username`, in each way that Dovecot asks: form, query, or the token as the bearer.
fn introspect(request: &Request, state: &mut State, now: SystemTime) -> Response {
    state.counts.introspections += 1;
    let token = field(&request.form, "token")
        .or_else(|| field(&request.query, "token"))
        .or_else(|| bearer(request))
        .unwrap_or_default();
    let answer = match state.grants.access(token, now) {
        Some(access) => {
            let user = access.user.as_deref().unwrap_or(CLIENT_ID);
            json!({
                "active": true,
                "username": user,
                "sub": user,
                "client_id": CLIENT_ID,
                "scope": "mail offline_access",
                "token_type": "Bearer",
                "exp": seconds(access.expires),
            })
        }
        None => json!({"active": false}),
    };
    Response::json(200, &answer)
}

fn userinfo(request: &Request, state: &mut State, now: SystemTime) -> Response {
    let token = bearer(request).unwrap_or_default();
    let user = state
        .grants
        .access(token, now)
        .and_then(|access| access.user.clone());
    match user {
        Some(user) => Response::json(200, &json!({"sub": user, "email": user})),
        None => error(
            401,
            "invalid_token",
            "the access token is unknown or expired",
        ),
    }
}

fn bearer(request: &Request) -> Option<&str> {
    request.authorization.as_deref()?.strip_prefix("Bearer ")
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
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
