//! What the provider says about a token, and how it takes one back.
use serde_json::json;
use std::time::SystemTime;

use super::token::{client, error, seconds};
use crate::http::{Request, Response, field};
use crate::provider::CLIENT_ID;
use crate::state::State;

/// RFC 7662, with `username`, in each way that Dovecot asks: form, query, or the token as the bearer.
pub(super) fn introspect(request: &Request, state: &mut State, now: SystemTime) -> Response {
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

pub(super) fn userinfo(request: &Request, state: &mut State, now: SystemTime) -> Response {
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

/// RFC 7009: a token that is unknown or over is as good as revoked. What it came of goes with it.
pub(super) fn revoke(request: &Request, state: &mut State, base: &str) -> Response {
    if let Err(refusal) = client(request, state, &format!("{base}/token")) {
        return refusal;
    }
    let token = field(&request.form, "token").unwrap_or_default();
    state.counts.revocations += 1;
    state.grants.revoke_token(token);
    Response::json(200, &json!({}))
}
