//! What the scheduler needs to know of tokens, without unsealing one.

use super::tokens::Raw;
use super::{Rows, configs};
use crate::configs::endpoint;
use crate::state::{RefreshLife, Token};
use crate::{StoreError, TokenId};
use rusqlite::{Connection, OptionalExtension, Row};

/// A token, as far as its refreshing goes.
pub(crate) struct Plan {
    pub(crate) id: TokenId,
    /// Its config may be used; and if it is of a mailbox user, an account signs in with it.
    pub(crate) valid: bool,
    /// Without a person.
    pub(crate) can_refresh: bool,
    /// Host and path.
    pub(crate) endpoint: String,
    pub(crate) lives: RefreshLife,
    /// With empty secrets.
    pub(crate) token: Token,
}

/// The token's columns with its long texts left out: they may lie on pages of their own.
const SELECT: &str = "
    SELECT config, subject, flow, endpoint, refresh_idle, refresh_life,
        valid AND (subject = ''
            OR EXISTS (SELECT 1 FROM mailbox WHERE token_config = config AND user = subject)
            OR EXISTS (SELECT 1 FROM relay WHERE token_config = config AND user = subject)) AS wanted,
        version, generation, state, iif(access_token IS NULL, NULL, x'') AS access_token, access_version, obtained_at,
        expires_at, refresh_at, rejected, iif(refresh_token IS NULL, NULL, x'') AS refresh_token,
        refresh_obtained_at, refresh_expires_at, failure_at, iif(failure_words IS NULL, NULL, '') AS failure_words,
        '' AS failure_advice, retry_at, attempts, refusals, refreshes, NULL AS identity, NULL AS granted_scope
    FROM token JOIN token_config ON config = token_config.name";

impl Plan {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        let flow = row.get_ref("flow")?.as_str()?;
        let by_person = configs::is_by_person(flow);
        let token = Raw::read(row)?.token;
        Ok(Self {
            id: TokenId {
                config: row.get("config")?,
                subject: row.get("subject")?,
            },
            valid: row.get("wanted")?,
            can_refresh: token.refresh.is_some() || !by_person,
            endpoint: row.get("endpoint")?,
            lives: RefreshLife::of_days(row.get("refresh_idle")?, row.get("refresh_life")?),
            token,
        })
    }
}

impl Rows<'_> {
    /// One token's; `None` when there is no such token.
    pub(crate) fn plan(&self, id: &TokenId) -> Result<Option<Plan>, StoreError> {
        let sql = format!("{SELECT} WHERE config = ?1 AND subject = ?2");
        let mut statement = self.connection.prepare_cached(&sql)?;
        let key = [&id.config, &id.subject];
        Ok(statement.query_row(key, Plan::read).optional()?)
    }

    /// Those of a config.
    pub(crate) fn plans_of(&self, config: &str) -> Result<Vec<Plan>, StoreError> {
        let sql = format!("{SELECT} WHERE config = ?1");
        let mut statement = self.connection.prepare_cached(&sql)?;
        let plans = statement.query_map([config], Plan::read)?;
        Ok(plans.collect::<Result<_, _>>()?)
    }

    /// A page of all of them, in order: those after a token.
    pub(crate) fn plans_after(&self, id: &TokenId, page: usize) -> Result<Vec<Plan>, StoreError> {
        let sql = format!(
            "{SELECT} WHERE (config, subject) > (?1, ?2) ORDER BY config, subject LIMIT {page}"
        );
        let mut statement = self.connection.prepare_cached(&sql)?;
        let plans = statement.query_map([&id.config, &id.subject], Plan::read)?;
        Ok(plans.collect::<Result<_, _>>()?)
    }

    /// Another one than before: another process has written.
    pub(crate) fn data_version(&self) -> Result<i64, StoreError> {
        let version = self
            .connection
            .pragma_query_value(None, "data_version", |row| row.get(0));
        Ok(version?)
    }
}

/// Of configs that were stored before there was a column for it.
pub(in crate::store) fn fill_endpoints(connection: &Connection) -> Result<(), StoreError> {
    let mut statement =
        connection.prepare("SELECT name, entry FROM token_config WHERE endpoint = ''")?;
    let configs: Vec<(String, String)> = statement
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    for (name, text) in configs {
        // One that can't be read is reported by whoever uses it.
        let entry = provider_template::read(&text)
            .ok()
            .and_then(|mut e| e.pop());
        if let Some(entry) = entry {
            let ours = &entry.config.postern;
            connection.execute(
                "UPDATE token_config SET endpoint = ?2, refresh_idle = ?3, refresh_life = ?4 WHERE name = ?1",
                (name, endpoint(&entry), ours.refresh_idle_life, ours.refresh_life),
            )?;
        }
    }
    Ok(())
}
