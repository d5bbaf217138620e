//! Rows of `mailbox` and `relay`: the definition as JSON, its secrets sealed beside it.

use super::{Change, Rows};
use crate::accounts::{Auth, Deliver, Mailbox, Relay};
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
    /// Where its messages are delivered; relays deliver nothing.
    fn deliver(&self) -> Option<&Deliver>;
    fn deliver_mut(&mut self) -> Option<&mut Deliver>;
    fn declared_in(&self) -> Option<&str>;
    fn declare_in(&mut self, file: &str);
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
        }
    };
}
account!(Mailbox, "mailbox", deliver);
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
            *secret = self.unseal(&place::<A>(name, "password"), &sealed)?;
        }
        if let Some(secret) = account.deliver_mut().and_then(Deliver::secret_mut) {
            let mut statement = self
                .connection
                .prepare_cached("SELECT deliver_secret FROM mailbox WHERE name = ?1")?;
            let sealed: Option<Vec<u8>> = statement.query_row([name], |row| row.get(0))?;
            if let Some(sealed) = sealed {
                *secret = self.unseal(&place::<A>(name, "deliver_secret"), &sealed)?;
            }
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
            .map(|p| self.seal(&place::<A>(account.name(), "password"), p))
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
        if let Some(secret) = account.deliver().and_then(Deliver::secret) {
            let sealed = self.seal(&place::<A>(account.name(), "deliver_secret"), secret)?;
            self.connection.execute(
                "UPDATE mailbox SET deliver_secret = ?2 WHERE name = ?1",
                (account.name(), sealed),
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

fn place<'a, A: Account>(name: &'a str, column: &'static str) -> Place<'a> {
    Place {
        table: A::TABLE,
        row: name,
        column,
    }
}
