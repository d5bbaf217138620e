//! Who signed in: the names in an ID token, or in the answer of a userinfo endpoint.
//!
//! The ID token came from the token endpoint itself over TLS, so its signature need not be checked (OpenID Connect Core 1.0
//! section 3.1.3.7); that it is of this issuer and for this client must be.

use super::body::{self, Body};
use crate::Secret;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use provider_template::Config;
use serde_json::{Map, Value};

/// Claims that name a mailbox or a sign-in name, the most telling first: OpenID Connect's, Microsoft's, Yandex'.
const CLAIMS: [&str; 8] = [
    "email",
    "upn",
    "preferred_username",
    "unique_name",
    "mail",
    "userPrincipalName",
    "default_email",
    "sub",
];
/// Clocks differ; an ID token that ended longer ago is not of this sign-in.
const LEEWAY: i64 = 600;

/// The names in an ID token, or why it is not believed.
pub(super) fn of_id_token(
    id_token: &Secret,
    config: &Config,
    now: i64,
) -> Result<Vec<String>, String> {
    let claims = id_token
        .expose()
        .split('.')
        .nth(1)
        .and_then(|part| URL_SAFE_NO_PAD.decode(part.trim_end_matches('=')).ok());
    let Some(Body::Fields(claims)) = claims.map(|bytes| body::read(&bytes)) else {
        return Err("it is not a JWT".into());
    };
    let known = config.postern.discovery.as_deref().unwrap_or_default();
    let issuer = claims
        .get("iss")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if !known.is_empty() && !same_issuer(known, issuer) {
        return Err("it is of another issuer".into());
    }
    if !is_for(claims.get("aud"), &config.client_id) {
        return Err("it is for another client".into());
    }
    let end = claims.get("exp").and_then(Value::as_i64);
    if end.is_some_and(|end| end < now - LEEWAY) {
        return Err("it has expired".into());
    }
    Ok(names(&claims))
}

/// Whether two spellings name one issuer; where ours holds a placeholder, the provider fills it in.
pub(crate) fn same_issuer(known: &str, said: &str) -> bool {
    known.contains('{') || known.trim_end_matches('/') == said.trim_end_matches('/')
}

/// One audience or a list.
fn is_for(audience: Option<&Value>, client_id: &str) -> bool {
    match audience {
        Some(Value::String(one)) => one == client_id,
        Some(Value::Array(many)) => many.iter().any(|one| one == client_id),
        _ => false,
    }
}

/// The names in the claims: what a person would recognise, so no opaque `sub`.
pub(super) fn names(claims: &Map<String, Value>) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for claim in CLAIMS {
        let Some(name) = claims.get(claim).and_then(Value::as_str).map(str::trim) else {
            continue;
        };
        let fit = !name.is_empty() && name.len() <= 320 && !name.chars().any(char::is_control);
        let telling = claim != "sub" || name.contains('@');
        if fit && telling && !names.iter().any(|known| known.eq_ignore_ascii_case(name)) {
            names.push(name.to_owned());
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn config() -> Config {
        let mut config = Config {
            client_id: "client".into(),
            ..Config::default()
        };
        config.postern.discovery = Some("https://id.example".into());
        config
    }

    fn token(claims: &Value) -> Secret {
        let part = |text: String| URL_SAFE_NO_PAD.encode(text);
        Secret::new(format!(
            "{}.{}.sig",
            part("{}".into()),
            part(claims.to_string())
        ))
    }

    fn read(claims: &Value) -> Result<Vec<String>, String> {
        of_id_token(&token(claims), &config(), 1000)
    }

    #[test]
    fn the_names_come_by_how_telling_they_are_and_each_once() {
        let claims = json!({"iss": "https://id.example/", "aud": ["x", "client"], "exp": 2000, "sub": "8f3a",
            "preferred_username": "ANNA@example.com", "email": "anna@example.com", "upn": "anna@corp.example"});
        assert_eq!(
            read(&claims).unwrap(),
            ["anna@example.com", "anna@corp.example"]
        );
        let claims =
            json!({"iss": "https://id.example", "aud": "client", "sub": "anna@example.com"});
        assert_eq!(read(&claims).unwrap(), ["anna@example.com"]);
        let claims = json!({"iss": "https://id.example", "aud": "client", "sub": "1", "email": "a\u{7}b", "upn": 7});
        assert!(read(&claims).unwrap().is_empty());
    }

    #[test]
    fn a_token_of_another_issuer_for_another_client_or_long_over_is_not_believed() {
        let good =
            json!({"iss": "https://id.example", "aud": "client", "exp": 1000, "email": "a@b"});
        assert!(read(&good).is_ok());
        for (claim, value) in [
            ("iss", json!("https://evil.example")),
            ("iss", Value::Null),
            ("aud", json!("other")),
            ("aud", json!(["other"])),
            ("aud", Value::Null),
            ("exp", json!(399)),
        ] {
            let mut bad = good.clone();
            bad[claim] = value.clone();
            assert!(read(&bad).is_err(), "{claim} {value}");
        }
        for text in ["", "a.b", "a.!!.c", "a.e30x.c"] {
            assert!(
                of_id_token(&Secret::new(text), &config(), 0).is_err(),
                "{text}"
            );
        }
    }

    #[test]
    fn an_issuer_with_the_tenant_to_be_filled_in_is_any_tenants() {
        assert!(same_issuer(
            "https://login.example/{tenantid}/v2.0",
            "https://login.example/5/v2.0"
        ));
        assert!(!same_issuer("https://a.example", "https://b.example"));
    }
}
