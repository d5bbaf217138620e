//! What is shown of token configs; never a secret.

use provider_template::Entry;
use serde_json::json;
use token_store::state::State;
use token_store::{Introspection, TokenId, TokenStatus};

use super::{named, revoke};
use crate::cli::exit::Failure;
use crate::cli::office::Office;
use crate::cli::table;
use crate::run::status::clock;

pub(super) fn list(office: &Office, json: bool) -> Result<(), Failure> {
    let statuses = office.store()?.token_statuses()?;
    if json {
        return table::json(&statuses);
    }
    let rows: Vec<[String; 5]> = statuses
        .iter()
        .map(|status| {
            let name = TokenId::for_subject(&status.config, &status.subject).to_string();
            [
                name,
                state(status),
                status.token.clone(),
                status.refresh_token.clone(),
                status.used_by.join(", "),
            ]
        })
        .collect();
    table::print(
        ["NAME", "STATE", "ACCESS TOKEN", "REFRESH TOKEN", "USED BY"],
        &rows,
    )
}

/// A token's state in words.
fn state(status: &TokenStatus) -> String {
    let words = match status.state {
        _ if !status.valid => "switched off",
        State::NeedsConsent => "needs consent",
        State::Ready => "ready",
        State::Broken => "broken",
    };
    words.to_owned()
}

pub(super) fn show(
    office: &Office,
    name: &str,
    known: Option<&Introspection>,
    json: bool,
) -> Result<(), Failure> {
    let store = office.store()?;
    let config = named(&store, name)?;
    let mut statuses = store.token_statuses()?;
    statuses.retain(|status| status.config == name);
    let entry = &config.entry.config;
    if json {
        return table::json(&json!({
            "name": name,
            "template": config.template,
            "declared_in": config.declared_in,
            "client_id": entry.client_id,
            "has_client_secret": !entry.client_secret.is_empty(),
            "scope": entry.scope,
            "status": statuses.first(),
            "tokens": statuses,
            "introspection": known,
        }));
    }
    let secret = if entry.client_secret.is_empty() {
        "none"
    } else {
        "*** (set)"
    };
    let mut lines = vec![
        ("name", name.to_owned()),
        (
            "template",
            config.template.clone().unwrap_or_else(|| "none".to_owned()),
        ),
        (
            "declared in",
            config
                .declared_in
                .clone()
                .unwrap_or_else(|| "nowhere: made by command line or page".to_owned()),
        ),
        ("client ID", entry.client_id.clone()),
        ("client secret", secret.to_owned()),
        ("scope", entry.scope.clone()),
    ];
    lines.extend(endpoints(&config.entry));
    if let Some(first) = statuses.first() {
        lines.push(("flow", first.flow.clone()));
    }
    lines.extend(statuses.iter().flat_map(about));
    lines.extend(known.into_iter().flat_map(revoke::lines));
    for (key, value) in lines {
        table::line(&format!(
            "{:<15}{}",
            format!("{key}:"),
            table::one_line(&value)
        ))?;
    }
    Ok(())
}

/// One token's lines.
fn about(status: &TokenStatus) -> Vec<(&'static str, String)> {
    let mut lines = Vec::new();
    if !status.subject.is_empty() {
        lines.push(("token for", status.subject.clone()));
    }
    lines.push(("state", state(status)));
    if let Some(who) = &status.signed_in_as {
        lines.push(("signed in as", who.clone()));
    }
    lines.push(("access token", status.token.clone()));
    lines.push(("refresh token", status.refresh_token.clone()));
    lines.push(("refreshes", status.refreshes.to_string()));
    lines.push(("used by", status.used_by.join(", ")));
    if let Some(failure) = &status.failure {
        lines.push((
            "last failure",
            format!("{}: {}", clock(failure.at), failure.words),
        ));
        lines.push(("what to do", failure.advice.clone()));
    }
    lines
}

fn endpoints(entry: &Entry) -> Vec<(&'static str, String)> {
    let requests = &entry.config.requests;
    let token = entry.config.first_request();
    let authorize = requests
        .authorization_code
        .as_ref()
        .map(|request| ("authorize", request.url.clone()));
    let token = token.map(|request| ("token", request.url.clone()));
    let postern = &entry.config.postern;
    let further = &postern.endpoints;
    let further = [
        ("device", &further.device),
        ("revoke", &further.revoke),
        ("introspect", &further.introspect),
        ("userinfo", &further.userinfo),
        ("discovery", &postern.discovery),
    ];
    let further = further
        .into_iter()
        .filter_map(|(key, url)| Some((key, url.clone()?)));
    authorize
        .into_iter()
        .chain(token)
        .chain(further)
        .filter(|(_, url)| !url.is_empty())
        .collect()
}
