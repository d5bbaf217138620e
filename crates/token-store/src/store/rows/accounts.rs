//! Rows of `mailbox` and `relay`: the definition as JSON, its secrets sealed beside it.

use super::{Change, Rows};
use crate::accounts::{Auth, Deliver, Mailbox, Relay};
use crate::seal::Place;
use crate::{Secret, StoreError};
use rusqlite::{OptionalExtension, Row};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// What mailboxes and relays have in common as rows.
pub(crate) trait Account: Serialize + DeserializeOwned {
    const TABLE: &'static str;
    fn name(&self) -> &str;
    fn auth(&self) -> &Auth;
    fn auth_mut(&mut self) -> &mut Auth;
    /// Where its messages are delivered; relays deliver nothing.
    fn deliver(&self) -> Option<&Deliver>;
    fn deliver_mut(&mut self) -> Option<&mut Deliver>;
    fn declared_in(&self) -> Option<&str>;
    fn declare_in(&mut self, file: &str);
    fn paused_mut(&mut self) -> &mut bool;
}

macro_rules! account {
    ($kind:ty, $table:literal $(, $deliver:ident)?) => {
        impl Account for $kind {
            const TABLE: &'static str = $table;
            fn name(&self) -> &str {
                &self.name
            }
            fn auth(&self) -> &Auth {
                &self.auth
            }
            fn auth_mut(&mut self) -> &mut Auth {
                &mut self.auth
            }
            fn deliver(&self) -> Option<&Deliver> {
                None$(.or(Some(&self.$deliver)))?
            }
            fn deliver_mut(&mut self) -> Option<&mut Deliver> {
                None$(.or(Some(&mut self.$deliver)))?
            }
            fn declared_in(&self) -> Option<&str> {
                self.declared_in.as_deref()
            }
            fn declare_in(&mut self, file: &str) {
                self.declared_in = Some(file.to_owned());
            }
            fn paused_mut(&mut self) -> &mut bool {
                &mut self.paused
            }
        }
    };
}
account!(Mailbox, "mailbox", deliver);
account!(Relay, "relay");

/// What stands beside a definition in its row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Beside {
    /// Which write of the definition this is.
    pub(crate) version: i64,
    /// A person switched it off.
    pub(crate) paused: bool,
}

const COLUMNS: &str = "name, definition, password, version, paused";

impl Rows<'_> {
    /// All of a kind, by name; paused whoever says so.
    pub(crate) fn accounts<A: Account>(&self) -> Result<Vec<A>, StoreError> {
        let found = self.accounts_with_rest()?.into_iter();
        Ok(found
            .map(|(mut account, beside): (A, _)| {
                *account.paused_mut() |= beside.paused;
                account
            })
            .collect())
    }

    /// All of a kind, each as it is defined, and what stands beside it.
    pub(crate) fn accounts_with_rest<A: Account>(&self) -> Result<Vec<(A, Beside)>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM {} ORDER BY name", A::TABLE);
        let mut statement = self.connection.prepare_cached(&sql)?;
        let raw = statement
            .query_map([], Raw::read)?
            .collect::<Result<Vec<_>, _>>()?;
        raw.into_iter().map(|raw| self.account(raw)).collect()
    }

    /// One of them; `None`: there is none of this name.
    pub(crate) fn account_with_rest<A: Account>(
        &self,
        name: &str,
    ) -> Result<Option<(A, Beside)>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM {} WHERE name = ?1", A::TABLE);
        let mut statement = self.connection.prepare_cached(&sql)?;
        let raw = statement.query_row([name], Raw::read).optional()?;
        raw.map(|raw| self.account(raw)).transpose()
    }

    fn account<A: Account>(&self, raw: Raw) -> Result<(A, Beside), StoreError> {
        let Raw {
            name,
            definition,
            password,
            beside,
        } = raw;
        let mut account: A = serde_json::from_str(&definition).map_err(|e| {
            StoreError::Database(format!("the stored {} {name} can't be read: {e}", A::TABLE))
        })?;
        if let (Auth::Password(secret), Some(sealed)) = (account.auth_mut(), password) {
            *secret = self.unseal(&place::<A>(&name, "password"), &sealed)?;
        }
        if let Some(secret) = account.deliver_mut().and_then(Deliver::secret_mut) {
            let mut statement = self
                .connection
                .prepare_cached("SELECT deliver_secret FROM mailbox WHERE name = ?1")?;
            let sealed: Option<Vec<u8>> = statement.query_row([&name], |row| row.get(0))?;
            if let Some(sealed) = sealed {
                *secret = self.unseal(&place::<A>(&name, "deliver_secret"), &sealed)?;
            }
        }
        Ok((account, beside))
    }

    /// Switches an account off, or on again; false: there is none of this name.
    pub(crate) fn pause_account<A: Account>(
        &self,
        name: &str,
        paused: bool,
    ) -> Result<bool, StoreError> {
        let sql = format!("UPDATE {} SET paused = ?2 WHERE name = ?1", A::TABLE);
        Ok(self.connection.execute(&sql, (name, paused))? == 1)
    }

    pub(crate) fn put_account<A: Account>(&self, account: &A) -> Result<(), StoreError> {
        let definition = serde_json::to_string(account).map_err(|e| StoreError::Invalid {
            name: account.name().to_owned(),
            why: e.to_string(),
        })?;
        let (token_config, password): (Option<&str>, Option<&Secret>) = match account.auth() {
            Auth::Token(config) => (Some(config), None),
            Auth::Password(secret) => (None, Some(secret)),
        };
        let sealed = password
            .map(|p| self.seal(&place::<A>(account.name(), "password"), p))
            .transpose()?;
        self.connection.execute(
            &format!(
                "INSERT INTO {} (name, declared_in, token_config, definition, password)
                 VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT (name) DO UPDATE SET declared_in = ?2, token_config = ?3, definition = ?4, password = ?5,
                   version = version + 1",
                A::TABLE
            ),
            (
                account.name(),
                account.declared_in(),
                token_config,
                definition,
                sealed,
            ),
        )?;
        if let Some(deliver) = account.deliver() {
            let place = place::<A>(account.name(), "deliver_secret");
            let secret = deliver.secret().map(|secret| self.seal(&place, secret));
            self.connection.execute(
                "UPDATE mailbox SET deliver_secret = ?2 WHERE name = ?1",
                (account.name(), secret.transpose()?),
            )?;
        }
        // The token of a mailbox user is refreshed while an account signs in with it.
        if let Some(config) = token_config {
            self.note(Change::Config(config.to_owned()));
        }
        Ok(())
    }

    /// The names that the configuration file declares.
    pub(crate) fn declared_names(&self, table: &str) -> Result<Vec<String>, StoreError> {
        let mut statement = self.connection.prepare(&format!(
            "SELECT name FROM {table} WHERE declared_in IS NOT NULL ORDER BY name"
        ))?;
        let names = statement
            .query_map([], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        Ok(names)
    }

    pub(crate) fn remove_account<A: Account>(&self, name: &str) -> Result<(), StoreError> {
        self.connection
            .execute(&format!("DELETE FROM {} WHERE name = ?1", A::TABLE), [name])?;
        Ok(())
    }
}

/// A row before its secrets are unsealed.
struct Raw {
    name: String,
    definition: String,
    password: Option<Vec<u8>>,
    beside: Beside,
}

impl Raw {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            name: row.get(0)?,
            definition: row.get(1)?,
            password: row.get(2)?,
            beside: Beside {
                version: row.get(3)?,
                paused: row.get(4)?,
            },
        })
    }
}

fn place<'a, A: Account>(name: &'a str, column: &'static str) -> Place<'a> {
    Place {
        table: A::TABLE,
        row: name,
        column,
    }
}
