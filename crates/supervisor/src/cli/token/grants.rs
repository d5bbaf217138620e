//! Refresh tokens in, access tokens out.

use std::path::Path;

use token_store::TokenId;

use super::named;
use crate::cli::exit::{Code, Failure};
use crate::cli::office::Office;
use crate::cli::{prompt, table};
use crate::control::Question;
use crate::run::status::clock;

pub(super) async fn seed(file: &Path, name: &str) -> Result<(), Failure> {
    let refresh_token = prompt::secret("refresh token")?;
    if refresh_token.is_empty() {
        return Err(Failure::new(
            Code::Data,
            "no refresh token was given; nothing was changed",
        ));
    }
    let office = Office::open(file).await?;
    let tokens = office.tokens()?;
    let config = named(tokens.store(), name)?;
    if !config.entry.config.flow.has_refresh_token() {
        return Err(Failure::new(
            Code::Data,
            format!("{name} signs in with its own client credentials and has no refresh token"),
        ));
    }
    tokens.seed(name, refresh_token).await?;
    office.tell_changed(name).await?;
    table::line(&format!(
        "{name} has its refresh token; `postern token refresh {name}` tries it"
    ))
}

pub(super) async fn refresh(office: &Office, id: TokenId) -> Result<(), Failure> {
    let expires = match office.daemon() {
        Some(client) => client
            .ask(&Question::Refresh {
                config: id.config.clone(),
                subject: id.subject.clone(),
            })
            .await?
            .as_i64(),
        None => {
            let token = office.tokens()?.refresh(&id).await?;
            let since = token
                .expires_at
                .and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
            since.and_then(|since| i64::try_from(since.as_secs()).ok())
        }
    };
    let until = expires.map_or_else(
        || "without an end date".to_owned(),
        |at| format!("until {}", clock(at)),
    );
    table::line(&format!("{id} has a fresh access token, valid {until}"))
}
