//! The authorisation URL: the standard parameters, and the config's own over them.

use crate::TokenConfig;
use oauth2::basic::BasicClient;
use oauth2::{AuthUrl, ClientId, CsrfToken, PkceCodeChallenge, RedirectUrl, Scope};
use provider_template::{Autofill, Request};
use reqwest::Url;

/// The standard parameters by the oauth2 crate, then the config's own over them.
pub(super) fn authorisation_url(
    stored: &TokenConfig,
    base: Url,
    redirect_uri: &str,
    state: CsrfToken,
    challenge: PkceCodeChallenge,
    login_hint: Option<&str>,
) -> Result<Url, String> {
    let config = &stored.entry.config;
    let redirect = RedirectUrl::new(redirect_uri.to_owned())
        .map_err(|e| format!("the redirect URI {redirect_uri}: {e}"))?;
    let state_text = state.secret().clone();
    let client = BasicClient::new(ClientId::new(config.client_id.clone()))
        .set_auth_uri(AuthUrl::from_url(base))
        .set_redirect_uri(redirect);
    let mut request = client
        .authorize_url(move || state)
        .set_pkce_challenge(challenge);
    if !config.scope.trim().is_empty() {
        request = request.add_scope(Scope::new(config.scope.clone()));
    }
    let (mut url, _) = request.url();
    let empty = Request::default();
    let own = config
        .requests
        .authorization_code
        .as_ref()
        .unwrap_or(&empty);
    for (field, value) in &own.parameters {
        set(&mut url, field, value);
    }
    for (field, what) in &own.autofilled {
        match what {
            Autofill::ClientId => set(&mut url, field, &config.client_id),
            Autofill::RedirectUrl => set(&mut url, field, redirect_uri),
            Autofill::Scope => set(&mut url, field, &config.scope),
            Autofill::State => set(&mut url, field, &state_text),
            // A URL is seen by the browser and by logs: no secret belongs there, whatever the document says.
            Autofill::ClientSecret | Autofill::AuthorizationCode | Autofill::RefreshToken => {}
        }
    }
    if let Some(hint) = login_hint.filter(|hint| !hint.is_empty()) {
        set(&mut url, "login_hint", hint);
    }
    Ok(url)
}

/// Replaces a query parameter, or adds it. PKCE and state are ours alone.
fn set(url: &mut Url, field: &str, value: &str) {
    if value.is_empty() || matches!(field, "code_challenge" | "code_challenge_method") {
        return;
    }
    let mut pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    match pairs.iter_mut().find(|(known, _)| known == field) {
        Some(_) if field == "state" => return,
        Some((_, present)) => value.clone_into(present),
        None => pairs.push((field.to_owned(), value.to_owned())),
    }
    url.query_pairs_mut().clear().extend_pairs(pairs);
}
