//! The token endpoint: who asks, by which grant, and what comes of it.
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::device;
use crate::grants::{Granted, NotGranted};
use crate::http::{self, Request, Response, field};
use crate::provider::{CLIENT_ID, CLIENT_SECRET};
use crate::state::State;

/// The user that a page offers when the provider knows none yet.
const SOMEBODY: &str = "helpdesk@sandbox.test";
/// RFC 7523 section 2.1.
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/// RFC 7523 section 2.2.
const CLIENT_JWT: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// RFC 8628 section 3.4.
const DEVICE_CODE: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// `POST /token`.
pub(super) fn token(request: &Request, state: &mut State, base: &str, now: SystemTime) -> Response {
    let value = |name| field(&request.form, name).unwrap_or_default();
    let audience = format!("{base}/token");
    // A service account's assertion proves who asks by itself.
    if value("grant_type") != JWT_BEARER
        && let Err(refusal) = client(request, state, &audience)
    {
        return refusal;
    }
    let granted = match value("grant_type") {
        "authorization_code" => state.grants.exchange(
            value("code"),
            value("redirect_uri"),
            field(&request.form, "code_verifier"),
            &state.knobs,
            now,
        ),
        "refresh_token" => {
            let granted = state
                .grants
                .refresh(value("refresh_token"), &state.knobs, now);
            state.counts.refreshes += u64::from(granted.is_ok());
            state.counts.reused += u64::from(granted == Err(NotGranted::Reused));
            granted
        }
        "client_credentials" => Ok(alone(None, state, now)),
        "password" => password(value("username"), value("password"), state, now),
        DEVICE_CODE => match device::ask(value("device_code"), state, now) {
            Ok(user) => Ok(state.grants.granted(&user, &state.knobs, now)),
            Err(refusal) => return refusal,
        },
        JWT_BEARER => {
            let user = state.signers.grants_user(value("assertion"), &audience);
            state.counts.assertions += u64::from(user.is_ok());
            user.map(|user| alone(Some(&user), state, now))
                .map_err(NotGranted::Invalid)
        }
        _ => return error(400, "unsupported_grant_type", "this grant_type is unknown"),
    };
    match granted {
        Ok(granted) => Response::json(200, &granted_json(granted, state, base, now)),
        Err(refused) => error(400, "invalid_grant", refused.words()),
    }
}

/// An access token without a refresh token.
fn alone(user: Option<&str>, state: &mut State, now: SystemTime) -> Granted {
    let life = state.knobs.token_life;
    Granted {
        access_token: state.grants.issue(user, life, now),
        refresh_token: None,
    }
}

fn password(
    user: &str,
    password: &str,
    state: &mut State,
    now: SystemTime,
) -> Result<Granted, NotGranted> {
    if state.passwords.get(user).map(String::as_str) == Some(password) {
        Ok(state.grants.granted(user, &state.knobs, now))
    } else {
        // Some servers quote what they were sent; a client must not show that.
        Err(NotGranted::Spoken(format!(
            "the password {password} of {user} is wrong"
        )))
    }
}

fn granted_json(granted: Granted, state: &State, base: &str, now: SystemTime) -> Value {
    let life = state.knobs.token_life;
    let mut answer = json!({
        "access_token": granted.access_token,
        "token_type": "Bearer",
        "expires_in": life.as_secs(),
        "scope": "mail offline_access",
    });
    let access = state.grants.access(&granted.access_token, now);
    if let Some(user) = access.and_then(|access| access.user.as_deref())
        && state.knobs.id_token
    {
        answer["id_token"] = Value::from(id_token(user, base, now + life));
    }
    if let Some(refresh_token) = granted.refresh_token {
        answer["refresh_token"] = Value::from(refresh_token);
    }
    answer
}

/// Its signature is none: who has it from the token endpoint itself need not look at it (OpenID Connect Core 1.0 section 3.1.3.7).
fn id_token(user: &str, base: &str, expires: SystemTime) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let claims =
        json!({"iss": base, "aud": CLIENT_ID, "sub": user, "email": user, "exp": seconds(expires)});
    let header = part(&json!({"alg": "RS256", "typ": "JWT"}));
    format!(
        "{header}.{}.{}",
        part(&claims),
        URL_SAFE_NO_PAD.encode("unsigned")
    )
}

/// Whether the client is the registered one, by secret or by certificate; or the refusal.
pub(super) fn client(request: &Request, state: &mut State, audience: &str) -> Result<(), Response> {
    let value = |name| field(&request.form, name);
    let refusal = |why: &str| {
        let mut refusal = error(401, "invalid_client", why);
        let challenge = ("WWW-Authenticate", "Basic realm=\"sandbox\"".to_owned());
        refusal.headers.push(challenge);
        refusal
    };
    if value("client_assertion_type") == Some(CLIENT_JWT) {
        let assertion = value("client_assertion").unwrap_or_default();
        let proved = state.signers.proves_client(assertion, CLIENT_ID, audience);
        state.counts.assertions += u64::from(proved.is_ok());
        return proved.map_err(refusal);
    }
    if client_is_known(request) {
        Ok(())
    } else {
        Err(refusal("the client id or secret is wrong"))
    }
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

/// The users there are; one to begin with when there is none.
pub(super) fn users(state: &State) -> Vec<String> {
    let mut users: Vec<String> = state.mailboxes.users().map(str::to_owned).collect();
    if users.is_empty() {
        users.push(SOMEBODY.to_owned());
    }
    users
}

pub(super) fn error(status: u16, error: &str, description: &str) -> Response {
    let body = json!({"error": error, "error_description": description});
    Response::json(status, &body)
}

pub(super) fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .as_ref()
        .map_or(0, Duration::as_secs)
}
