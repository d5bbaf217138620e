//! Rows of `token`, and of the refresh tokens that are kept aside.

use super::Rows;
use crate::seal::Place;
use crate::state::{Access, Refresh, State, Token};
use crate::{Failure, Secret, StoreError};
use rusqlite::{OptionalExtension, Row, named_params};

/// What the refresher needs to know of every token, without unsealing one.
#[derive(Debug)]
pub(crate) struct Due {
    pub(crate) config: String,
    /// `None`: only a person can help.
    pub(crate) at: Option<i64>,
}

/// A row as SQLite has it, secrets still sealed.
struct Raw {
    token: Token,
    access: Option<Vec<u8>>,
    refresh: Option<Vec<u8>>,
}

const COLUMNS: &str = "version, generation, state, access_token, access_version, obtained_at, expires_at, refresh_at,
    rejected, refresh_token, refresh_obtained_at, refresh_expires_at, failure_at, failure_words, failure_advice,
    retry_at, attempts, refusals, refreshes";

impl Raw {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        let access: Option<Vec<u8>> = row.get("access_token")?;
        let refresh: Option<Vec<u8>> = row.get("refresh_token")?;
        let failure_words: Option<String> = row.get("failure_words")?;
        let token = Token {
            version: row.get("version")?,
            generation: row.get("generation")?,
            state: match row.get_ref("state")?.as_str()? {
                "ready" => State::Ready,
                "broken" => State::Broken,
                _ => State::NeedsConsent,
            },
            access: match access {
                None => None,
                Some(_) => Some(Access {
                    secret: Secret::default(),
                    version: row.get("access_version")?,
                    obtained_at: row.get("obtained_at")?,
                    expires_at: row.get("expires_at")?,
                    refresh_at: row.get("refresh_at")?,
                    rejected: row.get("rejected")?,
                }),
            },
            refresh: match refresh {
                None => None,
                Some(_) => Some(Refresh {
                    secret: Secret::default(),
                    obtained_at: row.get("refresh_obtained_at")?,
                    expires_at: row.get("refresh_expires_at")?,
                }),
            },
            failure: match failure_words {
                None => None,
                Some(words) => Some(Failure {
                    at: row.get("failure_at")?,
                    words,
                    advice: row.get("failure_advice")?,
                }),
            },
            retry_at: row.get("retry_at")?,
            attempts: row.get("attempts")?,
            refusals: row.get("refusals")?,
            refreshes: u64::try_from(row.get::<_, i64>("refreshes")?).unwrap_or(0),
        };
        Ok(Self {
            token,
            access,
            refresh,
        })
    }
}

impl Rows<'_> {
    /// The token of a config.
    pub(crate) fn token(&self, config: &str) -> Result<Token, StoreError> {
        let raw = self.raw_token(config)?;
        let mut token = raw.token;
        if let (Some(access), Some(sealed)) = (&mut token.access, raw.access) {
            access.secret = self.unseal(&place(config, "access_token"), &sealed)?;
        }
        if let (Some(refresh), Some(sealed)) = (&mut token.refresh, raw.refresh) {
            refresh.secret = self.unseal(&place(config, "refresh_token"), &sealed)?;
        }
        Ok(token)
    }

    /// The same with empty secrets, for lists.
    pub(crate) fn token_without_secrets(&self, config: &str) -> Result<Token, StoreError> {
        Ok(self.raw_token(config)?.token)
    }

    fn raw_token(&self, config: &str) -> Result<Raw, StoreError> {
        let mut statement = self.connection.prepare_cached(&format!(
            "SELECT {COLUMNS} FROM token WHERE config = ?1 AND subject = ''"
        ))?;
        let found = statement.query_row([config], Raw::read).optional()?;
        found.ok_or_else(|| super::configs::unknown(config))
    }

    /// Whether a config is valid and can refresh without a person, and when that is due.
    pub(crate) fn dues(&self) -> Result<Vec<Due>, StoreError> {
        let mut statement = self.connection.prepare_cached(&format!(
            "SELECT config, flow, {COLUMNS} FROM token JOIN token_config ON config = name WHERE valid ORDER BY config"
        ))?;
        let dues = statement
            .query_map([], |row| {
                let Raw { token, refresh, .. } = Raw::read(row)?;
                let can_refresh =
                    refresh.is_some() || row.get_ref("flow")?.as_str()? == "client_credentials";
                Ok(Due {
                    config: row.get("config")?,
                    at: token.due_at(can_refresh),
                })
            })?
            .collect::<Result<_, _>>()?;
        Ok(dues)
    }

    pub(crate) fn insert_token(&self, config: &str, token: &Token) -> Result<(), StoreError> {
        self.connection.execute(
            "INSERT INTO token (config, version, generation, state) VALUES (?1, 0, 0, 'needs_consent')",
            [config],
        )?;
        self.put_token(config, 0, token)
    }

    /// Writes a token over the version that was seen.
    pub(crate) fn put_token(
        &self,
        config: &str,
        seen: i64,
        token: &Token,
    ) -> Result<(), StoreError> {
        let sealed = |column, secret: Option<&Secret>| {
            secret
                .map(|secret| self.seal(&place(config, column), secret))
                .transpose()
        };
        let access = token.access.as_ref();
        let refresh = token.refresh.as_ref();
        let failure = token.failure.as_ref();
        let mut statement = self.connection.prepare_cached(
            "UPDATE token SET version = :version, generation = :generation, state = :state,
                access_token = :access_token, access_version = :access_version, obtained_at = :obtained_at,
                expires_at = :expires_at, refresh_at = :refresh_at, rejected = :rejected,
                refresh_token = :refresh_token, refresh_obtained_at = :refresh_obtained_at,
                refresh_expires_at = :refresh_expires_at, failure_at = :failure_at, failure_words = :failure_words,
                failure_advice = :failure_advice, retry_at = :retry_at, attempts = :attempts, refusals = :refusals,
                refreshes = :refreshes
             WHERE config = :config AND subject = '' AND version = :seen",
        )?;
        let changed = statement.execute(named_params! {
            ":version": token.version,
            ":generation": token.generation,
            ":state": state_name(token.state),
            ":access_token": sealed("access_token", access.map(|a| &a.secret))?,
            ":access_version": access.map(|a| a.version),
            ":obtained_at": access.map(|a| a.obtained_at),
            ":expires_at": access.and_then(|a| a.expires_at),
            ":refresh_at": access.map(|a| a.refresh_at),
            ":rejected": access.is_some_and(|a| a.rejected),
            ":refresh_token": sealed("refresh_token", refresh.map(|r| &r.secret))?,
            ":refresh_obtained_at": refresh.map(|r| r.obtained_at),
            ":refresh_expires_at": refresh.and_then(|r| r.expires_at),
            ":failure_at": failure.map(|f| f.at),
            ":failure_words": failure.map(|f| &f.words),
            ":failure_advice": failure.map(|f| &f.advice),
            ":retry_at": token.retry_at,
            ":attempts": token.attempts,
            ":refusals": token.refusals,
            ":refreshes": i64::try_from(token.refreshes).unwrap_or(i64::MAX),
            ":config": config,
            ":seen": seen,
        })?;
        if changed == 1 {
            return Ok(());
        }
        Err(StoreError::Database(format!(
            "the token of {config} changed while it was being written"
        )))
    }

    /// Keeps a refresh token aside, under the client it belongs to.
    pub(crate) fn keep_aside(
        &self,
        config: &str,
        fingerprint: &str,
        secret: &Secret,
        now: i64,
        why: &str,
    ) -> Result<(), StoreError> {
        self.connection.execute(
            "INSERT INTO former_refresh_token (config, fingerprint, refresh_token, kept_at, why)
             VALUES (?1, ?2, ?3, ?4, ?5)",
            (
                config,
                fingerprint,
                self.seal(&aside(config), secret)?,
                now,
                why,
            ),
        )?;
        Ok(())
    }

    /// Takes back the newest refresh token kept aside for this config and client.
    pub(crate) fn take_back(
        &self,
        config: &str,
        fingerprint: &str,
    ) -> Result<Option<Refresh>, StoreError> {
        let found: Option<(i64, Vec<u8>, i64)> = self
            .connection
            .query_row(
                "SELECT id, refresh_token, kept_at FROM former_refresh_token
                 WHERE config = ?1 AND fingerprint = ?2 ORDER BY id DESC LIMIT 1",
                [config, fingerprint],
                |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
            )
            .optional()?;
        let Some((id, sealed, obtained_at)) = found else {
            return Ok(None);
        };
        let secret = self.unseal(&aside(config), &sealed)?;
        self.connection
            .execute("DELETE FROM former_refresh_token WHERE id = ?1", [id])?;
        Ok(Some(Refresh {
            secret,
            obtained_at,
            expires_at: None,
        }))
    }

    /// A person deleted the config: what was kept aside for it goes too.
    pub(crate) fn forget_aside(&self, config: &str) -> Result<(), StoreError> {
        self.connection.execute(
            "DELETE FROM former_refresh_token WHERE config = ?1",
            [config],
        )?;
        Ok(())
    }
}

fn place<'a>(config: &'a str, column: &'static str) -> Place<'a> {
    Place {
        table: "token",
        row: config,
        column,
    }
}

fn aside(config: &str) -> Place<'_> {
    Place {
        table: "former_refresh_token",
        row: config,
        column: "refresh_token",
    }
}

fn state_name(state: State) -> &'static str {
    match state {
        State::NeedsConsent => "needs_consent",
        State::Ready => "ready",
        State::Broken => "broken",
    }
}
