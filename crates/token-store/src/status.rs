//! What lists and pages show of a token, in words; no secret in it.

use crate::configs::refresh_life;
use crate::state::{State, Token};
use crate::store::Rows;
use crate::{Failure, Store, StoreError, TokenConfig, TokenId, state};
use provider_template::Config;

/// What is shown of a token.
#[derive(Debug, Clone, serde::Serialize)]
pub struct TokenStatus {
    /// The token config's name.
    pub config: String,
    /// Of which mailbox user the token is, for a config that gives one to each; empty otherwise.
    pub subject: String,
    /// The template it was made from.
    pub template: Option<String>,
    /// Whether it may be used.
    pub valid: bool,
    /// The file that declares it; `None`: made by command line or page.
    pub declared_in: Option<String>,
    /// Its key: `authorization_code`, `client_credentials`, ...
    pub flow: String,
    /// Its state.
    pub state: state::State,
    /// Who signed in, as far as the provider told.
    pub signed_in_as: Option<String>,
    /// In words: `no token was requested yet`, `valid until ...`, `expired on ...`, `last request failed: ...`.
    pub token: String,
    /// In words: `valid until ...`, `valid, no end date known`, `expired on ...`, `none yet`, `not needed`, `not configured`.
    pub refresh_token: String,
    /// Seconds since 1970.
    pub expires_at: Option<i64>,
    /// Seconds since 1970.
    pub refresh_expires_at: Option<i64>,
    /// When the refresh token ends, as told by the provider or known of it; a day it dies of disuse is one too. Seconds
    /// since 1970.
    pub refresh_ends_at: Option<i64>,
    /// That is soon, or past, and refreshes have not moved it: only a new consent does.
    pub refresh_ends_soon: bool,
    /// The provider's own words of the last failure, and what to do.
    pub failure: Option<Failure>,
    /// How often it was refreshed.
    pub refreshes: u64,
    /// `mailbox support`, `relay support`.
    pub used_by: Vec<String>,
}

impl Store {
    /// Everything lists and pages show of each token, by name and user; no secret in it.
    ///
    /// # Errors
    /// When the database can't be read.
    pub fn token_statuses(&self) -> Result<Vec<TokenStatus>, StoreError> {
        let now = self.clock().wall();
        self.read(|rows| {
            let mut statuses = Vec::new();
            for config in rows.token_configs()? {
                for (id, token) in tokens(rows, &config)? {
                    statuses.push(status(rows, &config, id, token, now)?);
                }
            }
            Ok(statuses)
        })
    }
}

impl Store {
    /// The tokens that a config gives: its only one, or those of the accounts that sign in with it.
    ///
    /// # Errors
    /// When there is no such config.
    pub fn tokens_in_use(&self, config: &str) -> Result<Vec<TokenId>, StoreError> {
        self.read(|rows| {
            if rows.standing(config)?.per_subject {
                rows.subjects_of(config)
            } else {
                Ok(vec![TokenId::of(config)])
            }
        })
    }
}

impl Store {
    /// The users of the accounts that sign in with a token config, each once.
    ///
    /// # Errors
    /// When the database can't be read.
    pub fn account_users(&self, config: &str) -> Result<Vec<String>, StoreError> {
        let users = self.read(|rows| rows.subjects_of(config))?;
        Ok(users.into_iter().map(|id| id.subject).collect())
    }
}

/// The tokens of a config; a config for many users that none has used yet is shown by a token that nobody has.
fn tokens(rows: &Rows<'_>, config: &TokenConfig) -> Result<Vec<(TokenId, Token)>, StoreError> {
    let mut tokens = rows.tokens_without_secrets(&config.entry.name)?;
    if tokens.is_empty() {
        tokens.push((TokenId::of(&config.entry.name), Token::new(false)));
    }
    Ok(tokens)
}

fn status(
    rows: &Rows<'_>,
    config: &TokenConfig,
    id: TokenId,
    token: Token,
    now: i64,
) -> Result<TokenStatus, StoreError> {
    let flow = config.entry.config.flow;
    let refresh_end = flow
        .has_refresh_token()
        .then(|| token.refresh_end(refresh_life(&config.entry), now))
        .flatten();
    Ok(TokenStatus {
        refresh_ends_at: refresh_end.map(|end| seconds(end.at)),
        refresh_ends_soon: refresh_end.is_some_and(|end| end.soon),
        used_by: rows.users_of_token(&id)?,
        config: id.config,
        subject: id.subject,
        template: config.template.clone(),
        valid: config.entry.valid,
        declared_in: config.declared_in.clone(),
        signed_in_as: token.identity.clone(),
        flow: flow.key().to_owned(),
        state: token.state,
        token: access_words(&token, now),
        refresh_token: refresh_words(&token, &config.entry.config, now),
        expires_at: token
            .access
            .as_ref()
            .and_then(|a| a.expires_at)
            .map(seconds),
        refresh_expires_at: token
            .refresh
            .as_ref()
            .and_then(|r| r.expires_at)
            .map(seconds),
        refreshes: token.refreshes,
        failure: token.failure,
    })
}

fn access_words(token: &Token, now: i64) -> String {
    let failed = token
        .failure
        .as_ref()
        .map(|f| format!("last request failed: {}", f.words));
    match (&token.access, failed) {
        (Some(access), _) if access.rejected => {
            "refused by the mail server, a new one is being requested".into()
        }
        (Some(access), _) => until(access.expires_at, now),
        (None, Some(failed)) => failed,
        (None, None) if token.state == State::Ready => "requested at first use".into(),
        (None, None) => "no token was requested yet".into(),
    }
}

fn refresh_words(token: &Token, config: &Config, now: i64) -> String {
    let configured = config.requests.token_by_refresh_token.is_some();
    match &token.refresh {
        _ if !config.flow.needs_person() => "not needed".into(),
        // Without such a request in the document a refresh token would be of no use.
        None if !configured => "not configured".into(),
        None => "none yet".into(),
        Some(_) if token.state == State::NeedsConsent => "refused by the provider".into(),
        Some(refresh) => until(refresh.expires_at, now),
    }
}

fn until(end: Option<i64>, now: i64) -> String {
    match end {
        None => "valid, no end date known".into(),
        Some(end) if end > now => format!("valid until {}", date(end)),
        Some(end) => format!("expired on {}", date(end)),
    }
}

/// `2026-11-24 10:00:00 UTC`.
fn date(millis: i64) -> String {
    jiff::Timestamp::from_millisecond(millis).map_or_else(
        |_| "an unknown date".into(),
        |at| at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
    )
}

fn seconds(millis: i64) -> i64 {
    millis.div_euclid(1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_read_as_people_write_them() {
        assert_eq!(date(1_795_514_400_000), "2026-11-24 10:00:00 UTC");
        assert_eq!(
            until(Some(1_795_514_400_000), 0),
            "valid until 2026-11-24 10:00:00 UTC"
        );
        assert_eq!(
            until(Some(1_795_514_400_000), i64::MAX),
            "expired on 2026-11-24 10:00:00 UTC"
        );
        assert_eq!(until(None, 0), "valid, no end date known");
    }
}
