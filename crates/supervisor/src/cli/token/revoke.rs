//! Taking a grant back, and what the provider knows of a token.

use token_store::{Introspection, TokenId};

use super::named;
use crate::cli::exit::Failure;
use crate::cli::office::Office;
use crate::cli::table;
use crate::control::Question;
use crate::run::status::clock;

pub(super) async fn revoke(office: &Office, name: &str, forget: bool) -> Result<(), Failure> {
    match office.daemon() {
        Some(client) => {
            let question = Question::Revoke {
                config: name.to_owned(),
                forget,
            };
            client.ask(&question).await?;
        }
        None => {
            let tokens = office.tokens()?;
            named(tokens.store(), name)?;
            tokens.revoke(name, forget).await?;
        }
    }
    let words = if forget {
        "is removed here; the provider may still list the grant, where it can be withdrawn"
    } else {
        "is taken back at the provider and removed here"
    };
    table::line(&format!(
        "the token of {name} {words}; `postern token request {name}` gets a new one"
    ))
}

/// Asks the provider about a token.
pub(super) async fn introspect(office: &Office, id: &TokenId) -> Result<Introspection, Failure> {
    let Some(client) = office.daemon() else {
        return Ok(office.tokens()?.introspect(id).await?);
    };
    let question = Question::Introspect {
        config: id.config.clone(),
        subject: id.subject.clone(),
    };
    Ok(serde_json::from_value(client.ask(&question).await?)?)
}

/// Its lines for people.
pub(super) fn lines(known: &Introspection) -> Vec<(&'static str, String)> {
    let active = if known.active { "yes" } else { "no" };
    let mut lines = vec![("active", active.to_owned())];
    lines.extend(known.sub.clone().map(|sub| ("of", sub)));
    lines.extend(known.scope.clone().map(|scope| ("for", scope)));
    lines.extend(known.exp.map(|exp| ("until", clock(exp))));
    lines
}
