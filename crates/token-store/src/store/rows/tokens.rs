//! Rows of `token`, and of the refresh tokens that are kept aside.

use super::{Change, Rows};
use crate::seal::Place;
use crate::state::pace::SOON_CAP;
use crate::state::{Access, Refresh, State, Token};
use crate::{Failure, Secret, StoreError, TokenId};
use rusqlite::{OptionalExtension, Row, named_params, params};
use std::borrow::Cow;

/// Scripts ask for tokens too, of users without an account here; what none of them wanted for a week is out of use.
const UNUSED: i64 = 7 * 86_400_000;

/// A row as SQLite has it, secrets still sealed.
pub(super) struct Raw {
    pub(super) token: Token,
    access: Option<Vec<u8>>,
    refresh: Option<Vec<u8>>,
}

const COLUMNS: &str = "version, generation, state, access_token, access_version, obtained_at, expires_at, refresh_at,
    rejected, refresh_token, refresh_obtained_at, refresh_expires_at, failure_at, failure_words, failure_advice,
    retry_at, attempts, refusals, refreshes, identity, granted_scope";

impl Raw {
    pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
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
            identity: row.get("identity")?,
            granted_scope: row.get("granted_scope")?,
        };
        Ok(Self {
            token,
            access,
            refresh,
        })
    }
}

impl Rows<'_> {
    /// A token that there is; those of subjects are made at their first use.
    pub(crate) fn token(&self, id: &TokenId) -> Result<Token, StoreError> {
        self.token_if_any(id)?
            .ok_or_else(|| super::configs::unknown(&id.config))
    }

    /// A token, if its row was made already.
    pub(crate) fn token_if_any(&self, id: &TokenId) -> Result<Option<Token>, StoreError> {
        let mut statement = self.connection.prepare_cached(&format!(
            "SELECT {COLUMNS} FROM token WHERE config = ?1 AND subject = ?2"
        ))?;
        let found = statement.query_row([&id.config, &id.subject], Raw::read);
        let Some(raw) = found.optional()? else {
            return Ok(None);
        };
        let mut token = raw.token;
        if let (Some(access), Some(sealed)) = (&mut token.access, raw.access) {
            access.secret = self.unseal(&place(&row_of(id), "access_token"), &sealed)?;
        }
        if let (Some(refresh), Some(sealed)) = (&mut token.refresh, raw.refresh) {
            refresh.secret = self.unseal(&place(&row_of(id), "refresh_token"), &sealed)?;
        }
        Ok(Some(token))
    }

    /// The tokens of a config, by subject, with empty secrets.
    pub(crate) fn tokens_without_secrets(
        &self,
        config: &str,
    ) -> Result<Vec<(TokenId, Token)>, StoreError> {
        let mut statement = self.connection.prepare_cached(&format!(
            "SELECT subject, {COLUMNS} FROM token WHERE config = ?1 ORDER BY subject"
        ))?;
        let tokens = statement
            .query_map([config], |row| {
                let subject: String = row.get("subject")?;
                let id = TokenId::for_subject(config, &subject);
                Ok((id, Raw::read(row)?.token))
            })?
            .collect::<Result<_, _>>()?;
        Ok(tokens)
    }

    /// Tokens of valid configs that may not be well, after the given one, by config and subject, with empty secrets.
    pub(crate) fn suspects(
        &self,
        after: &TokenId,
        now: i64,
        limit: u32,
    ) -> Result<Vec<(TokenId, Token)>, StoreError> {
        let soon = now.saturating_add(SOON_CAP);
        let mut statement = self.connection.prepare_cached(&format!(
            "SELECT config, subject, {COLUMNS} FROM token JOIN token_config ON config = token_config.name
             WHERE (config, subject) > (?1, ?2) AND valid AND (state <> 'ready' OR failure_at IS NOT NULL
                OR expires_at <= ?3 OR refresh_expires_at <= ?5
                OR refresh_obtained_at + refresh_life * 86400000 <= ?5
                OR max(refresh_obtained_at, coalesce(obtained_at, 0)) + refresh_idle * 86400000 <= ?5)
             ORDER BY config, subject LIMIT ?4"
        ))?;
        let suspects = statement
            .query_map(
                params![after.config, after.subject, now, limit, soon],
                |row| {
                    let id = TokenId {
                        config: row.get("config")?,
                        subject: row.get("subject")?,
                    };
                    Ok((id, Raw::read(row)?.token))
                },
            )?
            .collect::<Result<_, _>>()?;
        Ok(suspects)
    }

    pub(crate) fn insert_token(&self, id: &TokenId, token: &Token) -> Result<(), StoreError> {
        self.connection.execute(
            "INSERT INTO token (config, subject, version, generation, state) VALUES (?1, ?2, 0, 0, 'needs_consent')",
            [&id.config, &id.subject],
        )?;
        self.put_token(id, 0, token)
    }

    /// The token's config now gives tokens of another kind, or nobody uses this one any more.
    pub(crate) fn remove_token(&self, id: &TokenId) -> Result<(), StoreError> {
        self.connection.execute(
            "DELETE FROM token WHERE config = ?1 AND subject = ?2",
            [&id.config, &id.subject],
        )?;
        self.note(Change::Token(id.clone()));
        Ok(())
    }

    /// Tokens of subjects that no account signs in with, and nobody asked for lately either; the next use makes them again,
    /// without a person.
    pub(crate) fn remove_unused_subjects(&self, now: i64) -> Result<(), StoreError> {
        self.connection.execute(
            "DELETE FROM token WHERE subject <> '' AND refresh_token IS NULL
                AND max(coalesce(obtained_at, 0), coalesce(failure_at, 0) * 1000) < ?1
                AND NOT EXISTS (SELECT 1 FROM mailbox WHERE token_config = config AND user = subject)
                AND NOT EXISTS (SELECT 1 FROM relay WHERE token_config = config AND user = subject)",
            [now - UNUSED],
        )?;
        Ok(())
    }

    /// Writes a token over the version that was seen.
    pub(crate) fn put_token(
        &self,
        id: &TokenId,
        seen: i64,
        token: &Token,
    ) -> Result<(), StoreError> {
        let sealed = |column, secret: Option<&Secret>| {
            secret
                .map(|secret| self.seal(&place(&row_of(id), column), secret))
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
                refreshes = :refreshes, identity = :identity, granted_scope = :granted_scope
             WHERE config = :config AND subject = :subject AND version = :seen",
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
            ":identity": token.identity,
            ":granted_scope": token.granted_scope,
            ":config": id.config,
            ":subject": id.subject,
            ":seen": seen,
        })?;
        if changed == 1 {
            self.note(Change::Token(id.clone()));
            return Ok(());
        }
        Err(StoreError::Database(format!(
            "the token of {id} changed while it was being written"
        )))
    }

    /// Keeps a refresh token aside, under the client it belongs to; says in which row.
    pub(crate) fn keep_aside(
        &self,
        id: &TokenId,
        fingerprint: &str,
        secret: &Secret,
        now: i64,
        why: &str,
    ) -> Result<i64, StoreError> {
        self.connection.execute(
            "INSERT INTO former_refresh_token (config, subject, fingerprint, refresh_token, kept_at, why)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            (
                &id.config,
                &id.subject,
                fingerprint,
                self.seal(&aside(&id.config), secret)?,
                now,
                why,
            ),
        )?;
        Ok(self.connection.last_insert_rowid())
    }

    /// It has its place again.
    pub(crate) fn remove_aside(&self, number: i64) -> Result<(), StoreError> {
        self.connection
            .execute("DELETE FROM former_refresh_token WHERE id = ?1", [number])?;
        Ok(())
    }

    /// Takes back the newest refresh token kept aside for this token and client.
    pub(crate) fn take_back(
        &self,
        id: &TokenId,
        fingerprint: &str,
    ) -> Result<Option<Refresh>, StoreError> {
        let found: Option<(i64, Vec<u8>, i64)> = self
            .connection
            .query_row(
                "SELECT id, refresh_token, kept_at FROM former_refresh_token
                 WHERE config = ?1 AND subject = ?2 AND fingerprint = ?3 ORDER BY id DESC LIMIT 1",
                [&id.config, &id.subject, fingerprint],
                |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
            )
            .optional()?;
        let Some((number, sealed, obtained_at)) = found else {
            return Ok(None);
        };
        let secret = self.unseal(&aside(&id.config), &sealed)?;
        self.remove_aside(number)?;
        Ok(Some(Refresh {
            secret,
            obtained_at,
            expires_at: None,
        }))
    }

    /// A person took the grant back: what was kept aside of it goes too.
    pub(crate) fn forget_aside_of(
        &self,
        id: &TokenId,
        fingerprint: &str,
    ) -> Result<(), StoreError> {
        self.connection.execute(
            "DELETE FROM former_refresh_token WHERE config = ?1 AND subject = ?2 AND fingerprint = ?3",
            [&id.config, &id.subject, fingerprint],
        )?;
        Ok(())
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

/// What stands for the row in a seal: no config name holds a line end.
fn row_of(id: &TokenId) -> Cow<'_, str> {
    if id.subject.is_empty() {
        Cow::Borrowed(&id.config)
    } else {
        Cow::Owned(format!("{}\n{}", id.config, id.subject))
    }
}

fn place<'a>(row: &'a str, column: &'static str) -> Place<'a> {
    Place {
        table: "token",
        row,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::Key;
    use crate::{Store, TokenConfig};
    use provider_template::{Config, Entry, Flow};

    const NOW: i64 = 1_795_514_400_000;

    #[tokio::test]
    async fn what_no_account_and_no_script_wanted_for_a_week_goes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("accounts.db");
        let store = Store::open(&path, Key::from_bytes([7; 32])).unwrap();
        let entry = Entry {
            name: "robot".into(),
            valid: true,
            config: Config {
                flow: Flow::ServiceAccount,
                ..Config::default()
            },
            rest: serde_json::Map::default(),
        };
        let config = TokenConfig {
            entry,
            template: None,
            declared_in: None,
        };
        let left = store.write(move |rows| {
            rows.put_token_config(&config)?;
            for (subject, age) in [("new", 0), ("recent", UNUSED - 1), ("old", UNUSED + 1)] {
                let mut token = Token::new(false);
                let grant = crate::exchange::Grant::default();
                token.consented(&grant, NOW - age, 0.5);
                token.failure = None;
                rows.insert_token(&TokenId::for_subject("robot", subject), &token)?;
            }
            rows.remove_unused_subjects(NOW)?;
            rows.tokens_without_secrets("robot")
        });
        let left = left.await.unwrap();
        let left: Vec<_> = left.iter().map(|(id, _)| id.subject.as_str()).collect();
        assert_eq!(left, ["new", "recent"]);
    }
}
