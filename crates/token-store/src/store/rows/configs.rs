//! Rows of `token_config`: the exchange document without its secret, and the secret sealed.

use super::{Change, Rows};
use crate::configs::{endpoint, fingerprint};
use crate::seal::Place;
use crate::{Secret, StoreError, TokenConfig, TokenId};
use provider_template::{Entry, Flow};
use rusqlite::{OptionalExtension, Row, named_params};

/// What decides how a config's tokens are handed out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Standing {
    pub(crate) valid: bool,
    /// A token for each mailbox user.
    pub(crate) per_subject: bool,
}

struct Raw {
    name: String,
    template: Option<String>,
    declared_in: Option<String>,
    entry: String,
    client_secret: Vec<u8>,
    private_key: Option<Vec<u8>>,
    password: Option<Vec<u8>>,
}

impl Raw {
    const COLUMNS: &'static str =
        "name, template, declared_in, entry, client_secret, private_key, password";

    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            name: row.get(0)?,
            template: row.get(1)?,
            declared_in: row.get(2)?,
            entry: row.get(3)?,
            client_secret: row.get(4)?,
            private_key: row.get(5)?,
            password: row.get(6)?,
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

    /// Whether the config may be used and whom its tokens are for, without unsealing anything.
    pub(crate) fn standing(&self, name: &str) -> Result<Standing, StoreError> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT valid, flow FROM token_config WHERE name = ?1")?;
        statement
            .query_row([name], |row| {
                Ok(Standing {
                    valid: row.get(0)?,
                    per_subject: is_per_subject(row.get_ref(1)?.as_str()?),
                })
            })
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
            "INSERT INTO token_config (name, template, declared_in, valid, flow, fingerprint, endpoint, refresh_idle,
                refresh_life, entry, client_secret, private_key, password)
             VALUES (:name, :template, :declared_in, :valid, :flow, :fingerprint, :endpoint, :refresh_idle,
                :refresh_life, :entry, :client_secret, :private_key, :password)
             ON CONFLICT (name) DO UPDATE SET
                template = excluded.template, declared_in = excluded.declared_in, valid = excluded.valid,
                flow = excluded.flow, fingerprint = excluded.fingerprint, endpoint = excluded.endpoint,
                refresh_idle = excluded.refresh_idle, refresh_life = excluded.refresh_life, entry = excluded.entry,
                client_secret = excluded.client_secret, private_key = excluded.private_key,
                password = excluded.password",
        )?;
        statement.execute(named_params! {
            ":name": entry.name,
            ":template": config.template,
            ":declared_in": config.declared_in,
            ":valid": entry.valid,
            ":flow": entry.config.flow.key(),
            ":fingerprint": fingerprint(entry),
            ":endpoint": endpoint(entry),
            ":refresh_idle": entry.config.postern.refresh_idle_life,
            ":refresh_life": entry.config.postern.refresh_life,
            ":entry": provider_template::write(std::slice::from_ref(entry), false),
            ":client_secret": self.seal(&secret_of(&entry.name, "client_secret"), &entry.config.client_secret)?,
            ":private_key": self.seal_if_any(&secret_of(&entry.name, "private_key"), &entry.config.private_key)?,
            ":password": self.seal_if_any(&secret_of(&entry.name, "password"), &entry.config.password)?,
        })?;
        self.note(Change::Config(entry.name.clone()));
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

    /// The users of the accounts that sign in with a token config.
    pub(crate) fn subjects_of(&self, name: &str) -> Result<Vec<TokenId>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT user FROM mailbox WHERE token_config = ?1
             UNION SELECT user FROM relay WHERE token_config = ?1 ORDER BY 1",
        )?;
        let subjects = statement
            .query_map([name], |row| {
                Ok(TokenId::for_subject(name, row.get_ref(0)?.as_str()?))
            })?
            .collect::<Result<_, _>>()?;
        Ok(subjects)
    }

    /// Those that sign in with the token of one subject.
    pub(crate) fn users_of_token(&self, id: &TokenId) -> Result<Vec<String>, StoreError> {
        if id.subject.is_empty() {
            return self.users_of(&id.config);
        }
        let mut statement = self.connection.prepare_cached(
            "SELECT 'mailbox ' || name FROM mailbox WHERE token_config = ?1 AND user = ?2
             UNION ALL SELECT 'relay ' || name FROM relay WHERE token_config = ?1 AND user = ?2 ORDER BY 1",
        )?;
        let users = statement
            .query_map([&id.config, &id.subject], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        Ok(users)
    }

    /// An empty secret is no value.
    fn seal_if_any(
        &self,
        place: &Place<'_>,
        secret: &Secret,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let some = (!secret.is_empty()).then(|| self.seal(place, secret));
        some.transpose()
    }

    fn config(&self, raw: Raw) -> Result<TokenConfig, StoreError> {
        let unseal = |column, sealed: &Option<Vec<u8>>| match sealed {
            Some(sealed) => self.unseal(&secret_of(&raw.name, column), sealed),
            None => Ok(Secret::default()),
        };
        let mut entry = entry(&raw)?;
        entry.config.client_secret =
            self.unseal(&secret_of(&raw.name, "client_secret"), &raw.client_secret)?;
        entry.config.private_key = unseal("private_key", &raw.private_key)?;
        entry.config.password = unseal("password", &raw.password)?;
        Ok(TokenConfig {
            entry,
            template: raw.template,
            declared_in: raw.declared_in,
        })
    }
}

/// The entry without its secrets.
fn entry(raw: &Raw) -> Result<Entry, StoreError> {
    let damaged = |why: &str| {
        StoreError::Database(format!(
            "the stored token config {} can't be read: {why}",
            raw.name
        ))
    };
    let mut entries =
        provider_template::read(&raw.entry).map_err(|problem| damaged(&problem.why))?;
    entries.pop().ok_or_else(|| damaged("it is empty"))
}

pub(crate) fn unknown(name: &str) -> StoreError {
    StoreError::Unknown {
        what: "token config",
        name: name.to_owned(),
    }
}

/// Whether a stored flow begins with a person.
pub(crate) fn is_by_person(flow: &str) -> bool {
    Flow::from_key(flow).is_some_and(Flow::needs_person)
}

/// Whether a stored flow gives a token for each mailbox user.
fn is_per_subject(flow: &str) -> bool {
    Flow::from_key(flow).is_some_and(Flow::per_subject)
}

fn secret_of<'a>(name: &'a str, column: &'static str) -> Place<'a> {
    Place {
        table: "token_config",
        row: name,
        column,
    }
}
