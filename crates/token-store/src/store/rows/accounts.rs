//! Rows of `mailbox` and `relay`: the definition as JSON, the password sealed beside it.

use super::Rows;
use crate::accounts::{Auth, Mailbox, Relay};
use crate::seal::Place;
use crate::{Secret, StoreError};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// What mailboxes and relays have in common as rows.
pub(crate) trait Account: Serialize + DeserializeOwned {
    const TABLE: &'static str;
    fn name(&self) -> &str;
    fn auth(&self) -> &Auth;
    fn auth_mut(&mut self) -> &mut Auth;
    fn declared_in(&self) -> Option<&str>;
    fn declare_in(&mut self, file: &str);
}

macro_rules! account {
    ($kind:ty, $table:literal) => {
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
            fn declared_in(&self) -> Option<&str> {
                self.declared_in.as_deref()
            }
            fn declare_in(&mut self, file: &str) {
                self.declared_in = Some(file.to_owned());
            }
        }
    };
}
account!(Mailbox, "mailbox");
account!(Relay, "relay");

impl Rows<'_> {
    pub(crate) fn accounts<A: Account>(&self) -> Result<Vec<A>, StoreError> {
        let mut statement = self.connection.prepare_cached(&format!(
            "SELECT name, definition, password FROM {} ORDER BY name",
            A::TABLE
        ))?;
        let raw = statement
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
            .collect::<Result<Vec<(String, String, Option<Vec<u8>>)>, _>>()?;
        raw.into_iter()
            .map(|(name, definition, password)| self.account(&name, &definition, password))
            .collect()
    }

    fn account<A: Account>(
        &self,
        name: &str,
        definition: &str,
        password: Option<Vec<u8>>,
    ) -> Result<A, StoreError> {
        let mut account: A = serde_json::from_str(definition).map_err(|e| {
            StoreError::Database(format!("the stored {} {name} can't be read: {e}", A::TABLE))
        })?;
        if let (Auth::Password(secret), Some(sealed)) = (account.auth_mut(), password) {
            *secret = self.unseal(&password_of::<A>(name), &sealed)?;
        }
        Ok(account)
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
            .map(|p| self.seal(&password_of::<A>(account.name()), p))
            .transpose()?;
        self.connection.execute(
            &format!(
                "INSERT OR REPLACE INTO {} (name, declared_in, token_config, definition, password)
                 VALUES (?1, ?2, ?3, ?4, ?5)",
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

fn password_of<A: Account>(name: &str) -> Place<'_> {
    Place {
        table: A::TABLE,
        row: name,
        column: "password",
    }
}
