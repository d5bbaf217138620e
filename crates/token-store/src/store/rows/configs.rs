//! Rows of `token_config`: the exchange document without its secret, and the secret sealed.

use super::Rows;
use crate::configs::fingerprint;
use crate::seal::Place;
use crate::{Secret, StoreError, TokenConfig};
use provider_template::Entry;
use rusqlite::{OptionalExtension, Row, named_params};

struct Raw {
    name: String,
    template: Option<String>,
    declared_in: Option<String>,
    entry: String,
    client_secret: Vec<u8>,
}

impl Raw {
    const COLUMNS: &'static str = "name, template, declared_in, entry, client_secret";

    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            name: row.get(0)?,
            template: row.get(1)?,
            declared_in: row.get(2)?,
            entry: row.get(3)?,
            client_secret: row.get(4)?,
        })
    }
}

impl Rows<'_> {
    pub(crate) fn token_configs(&self) -> Result<Vec<TokenConfig>, StoreError> {
        let mut statement = self.connection.prepare_cached(&format!(
            "SELECT {} FROM token_config ORDER BY name",
            Raw::COLUMNS
        ))?;
        let raw = statement
            .query_map([], Raw::read)?
            .collect::<Result<Vec<_>, _>>()?;
        raw.into_iter().map(|raw| self.config(raw)).collect()
    }

    pub(crate) fn token_config(&self, name: &str) -> Result<Option<TokenConfig>, StoreError> {
        let mut statement = self.connection.prepare_cached(&format!(
            "SELECT {} FROM token_config WHERE name = ?1",
            Raw::COLUMNS
        ))?;
        let raw = statement.query_row([name], Raw::read).optional()?;
        raw.map(|raw| self.config(raw)).transpose()
    }

    /// The config, or the error that says there is none.
    pub(crate) fn known_config(&self, name: &str) -> Result<TokenConfig, StoreError> {
        self.token_config(name)?.ok_or_else(|| unknown(name))
    }

    /// Whether the config may be used, without unsealing anything.
    pub(crate) fn is_valid(&self, name: &str) -> Result<bool, StoreError> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT valid FROM token_config WHERE name = ?1")?;
        statement
            .query_row([name], |row| row.get(0))
            .optional()?
            .ok_or_else(|| unknown(name))
    }

    /// Whose grant the config's refresh token is.
    pub(crate) fn fingerprint_of(&self, name: &str) -> Result<String, StoreError> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT fingerprint FROM token_config WHERE name = ?1")?;
        statement
            .query_row([name], |row| row.get(0))
            .optional()?
            .ok_or_else(|| unknown(name))
    }

    /// Inserts or replaces the config's own columns; its token is another row.
    pub(crate) fn put_token_config(&self, config: &TokenConfig) -> Result<(), StoreError> {
        let entry = &config.entry;
        let mut statement = self.connection.prepare_cached(
            "INSERT INTO token_config (name, template, declared_in, valid, flow, fingerprint, entry, client_secret)
             VALUES (:name, :template, :declared_in, :valid, :flow, :fingerprint, :entry, :client_secret)
             ON CONFLICT (name) DO UPDATE SET
                template = excluded.template, declared_in = excluded.declared_in, valid = excluded.valid,
                flow = excluded.flow, fingerprint = excluded.fingerprint, entry = excluded.entry,
                client_secret = excluded.client_secret",
        )?;
        statement.execute(named_params! {
            ":name": entry.name,
            ":template": config.template,
            ":declared_in": config.declared_in,
            ":valid": entry.valid,
            ":flow": entry.config.flow.key(),
            ":fingerprint": fingerprint(entry),
            ":entry": provider_template::write(std::slice::from_ref(entry), false),
            ":client_secret": self.seal(&secret_of(&entry.name), &entry.config.client_secret)?,
        })?;
        Ok(())
    }

    /// Deletes the config and its token. False when there was none.
    pub(crate) fn remove_token_config(&self, name: &str) -> Result<bool, StoreError> {
        Ok(self
            .connection
            .execute("DELETE FROM token_config WHERE name = ?1", [name])?
            > 0)
    }

    /// The mailboxes and relays that sign in with a token config, in words: `mailbox support`.
    pub(crate) fn users_of(&self, name: &str) -> Result<Vec<String>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT 'mailbox ' || name FROM mailbox WHERE token_config = ?1
             UNION ALL SELECT 'relay ' || name FROM relay WHERE token_config = ?1 ORDER BY 1",
        )?;
        let users = statement
            .query_map([name], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        Ok(users)
    }

    fn config(&self, raw: Raw) -> Result<TokenConfig, StoreError> {
        let secret = self.unseal(&secret_of(&raw.name), &raw.client_secret)?;
        Ok(TokenConfig {
            entry: entry(&raw, secret)?,
            template: raw.template,
            declared_in: raw.declared_in,
        })
    }
}

fn entry(raw: &Raw, secret: Secret) -> Result<Entry, StoreError> {
    let damaged = |why: &str| {
        StoreError::Database(format!(
            "the stored token config {} can't be read: {why}",
            raw.name
        ))
    };
    let mut entries =
        provider_template::read(&raw.entry).map_err(|problem| damaged(&problem.why))?;
    let mut entry = entries.pop().ok_or_else(|| damaged("it is empty"))?;
    entry.config.client_secret = secret;
    Ok(entry)
}

pub(crate) fn unknown(name: &str) -> StoreError {
    StoreError::Unknown {
        what: "token config",
        name: name.to_owned(),
    }
}

fn secret_of(name: &str) -> Place<'_> {
    Place {
        table: "token_config",
        row: name,
        column: "client_secret",
    }
}
