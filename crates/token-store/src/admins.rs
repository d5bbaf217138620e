//! Who administers, their sessions, and the audit.
//!
//! A password is stored as its argon2id hash, a session as the SHA-256 of its cookie, a one-time link as that of its key: reading
//! the file signs nobody in. The second factor's secret is sealed.

mod attempts;
mod audit;
mod link;
mod sessions;
mod totp;

pub(crate) use attempts::Attempts;
pub use audit::Audited;
pub use sessions::{Session, SessionLine};
pub use totp::{Totp, TotpError};

use crate::password;
use crate::store::Rows;
use crate::{Secret, Store, StoreError, now};
use attempts::Who;
use rusqlite::OptionalExtension;
use std::time::Instant;

/// For those who ask people for a password: shorter ones are guessed, whatever the hash.
pub const SHORTEST_PASSWORD: usize = 8;
/// Longest name; it stands in tables and logs.
const NAME_CAP: usize = 200;

/// Whose browser it is, as far as it can be told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Visitor {
    /// The address it comes from; empty where there is none (a Unix socket).
    pub address: String,
    /// What it calls itself.
    pub agent: String,
}

/// An administrator, for lists.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Admin {
    /// The name.
    pub name: String,
    /// When the password was set; seconds since 1970.
    pub changed_at: i64,
    /// Whether signing in takes a code of an authenticator too.
    pub second_factor: bool,
}

impl Store {
    /// Sets an administrator's password (argon2id); their sessions end.
    ///
    /// # Errors
    /// An empty name, an empty or very long password.
    pub async fn set_admin_password(
        &self,
        admin: &str,
        password: Secret,
    ) -> Result<(), StoreError> {
        let admin = known_as(admin)?;
        let hash = self.hashed(password).await?;
        self.write(move |rows| set_password(rows, &admin, &hash))
            .await
    }

    /// A password's hash; one at a time.
    async fn hashed(&self, password: Secret) -> Result<String, StoreError> {
        password::check(&password).map_err(invalid)?;
        let _turn = self.hashing_turn().await?;
        password::hashing(move || password::hash(&password)).await?
    }

    /// Whether any administrator has a password yet.
    ///
    /// # Errors
    /// When the database can't be read.
    pub fn has_admin(&self) -> Result<bool, StoreError> {
        self.read(|rows| {
            let found =
                rows.connection
                    .query_row("SELECT EXISTS (SELECT 1 FROM admin)", [], |row| row.get(0));
            Ok(found?)
        })
    }

    /// Whether there is an administrator of this name.
    ///
    /// # Errors
    /// When the database can't be read.
    pub fn is_admin(&self, name: &str) -> Result<bool, StoreError> {
        Ok(self
            .read(|rows| password_hash(rows, name.trim()))?
            .is_some())
    }

    /// All administrators, by name.
    ///
    /// # Errors
    /// When the database can't be read.
    pub fn admins(&self) -> Result<Vec<Admin>, StoreError> {
        self.read(|rows| {
            let mut statement = rows.connection.prepare_cached(
                "SELECT name, changed_at, totp IS NOT NULL FROM admin ORDER BY name",
            )?;
            let admins = statement.query_map([], |row| {
                Ok(Admin {
                    name: row.get(0)?,
                    changed_at: row.get::<_, i64>(1)? / 1000,
                    second_factor: row.get(2)?,
                })
            })?;
            Ok(admins.collect::<Result<_, _>>()?)
        })
    }

    /// Makes an administrator of a new name.
    ///
    /// # Errors
    /// A name that exists, and as [`Store::set_admin_password`].
    pub async fn add_admin(&self, admin: &str, password: Secret) -> Result<(), StoreError> {
        let admin = known_as(admin)?;
        let hash = self.hashed(password).await?;
        self.write(move |rows| {
            if password_hash(rows, &admin)?.is_some() {
                return Err(invalid("there is an administrator of this name already"));
            }
            set_password(rows, &admin, &hash)
        })
        .await
    }

    /// Deletes an administrator; their sessions end.
    ///
    /// # Errors
    /// An unknown name, and the last one: nobody could sign in then.
    pub async fn delete_admin(&self, admin: &str) -> Result<(), StoreError> {
        let admin = admin.trim().to_owned();
        self.write(move |rows| {
            if password_hash(rows, &admin)?.is_none() {
                return Err(invalid("there is no administrator of this name"));
            }
            let count: i64 = rows
                .connection
                .query_row("SELECT count(*) FROM admin", [], |row| row.get(0))?;
            if count == 1 {
                return Err(invalid(
                    "this is the only administrator; add another one first, or nobody could sign in",
                ));
            }
            rows.connection
                .execute("DELETE FROM admin WHERE name = ?1", [&admin])?;
            rows.connection
                .execute("DELETE FROM admin_link WHERE admin = ?1", [&admin])?;
            Ok(())
        })
        .await
    }

    /// Checks name, password and, where one is set up, the second factor's code, in constant effort (also for unknown names), off the
    /// async threads; a cookie value on success. It lasts 12 hours, 2 hours idle.
    ///
    /// # Errors
    /// [`StoreError::Patience`] after five failures for a name or twenty from an address, for a time that grows with each more.
    pub async fn sign_in(
        &self,
        admin: &str,
        password: Secret,
        code: &str,
        visitor: &Visitor,
    ) -> Result<Option<Secret>, StoreError> {
        let admin = admin.trim();
        if !self.proves(admin, password, Some(code), visitor).await? {
            return Ok(None);
        }
        self.open_session(admin, visitor).await
    }

    /// Whether this is the administrator's password, asked for again before something grave; guesses at it are slowed as at sign-in.
    ///
    /// # Errors
    /// As [`Store::sign_in`].
    pub async fn knows_password(
        &self,
        admin: &str,
        password: Secret,
        visitor: &Visitor,
    ) -> Result<bool, StoreError> {
        self.proves(admin.trim(), password, None, visitor).await
    }

    async fn proves(
        &self,
        admin: &str,
        password: Secret,
        code: Option<&str>,
        visitor: &Visitor,
    ) -> Result<bool, StoreError> {
        let mut who = vec![Who::Name(admin.to_owned())];
        who.extend(
            Some(visitor.address.clone())
                .filter(|address| !address.is_empty())
                .map(Who::Address),
        );
        // The turn comes first: guesses sent at the same time are counted one after the other.
        let turn = self.hashing_turn().await?;
        if let Some(after) = self.attempts().delay(&who, Instant::now()) {
            return Err(StoreError::Patience { after });
        }
        let stored = self.read(|rows| password_hash(rows, admin))?;
        let known = stored.is_some();
        let matches =
            password::hashing(move || password::verify(&password, stored.as_deref())).await??;
        let proved = known
            && matches
            && match code {
                Some(code) => self.second_factor(admin, code).await?,
                None => true,
            };
        if proved {
            self.attempts().succeeded(admin);
        } else {
            self.attempts().failed(&who, Instant::now());
        }
        drop(turn);
        Ok(proved)
    }
}

/// A name as it may be stored.
fn known_as(admin: &str) -> Result<String, StoreError> {
    let admin = admin.trim();
    if admin.is_empty() || admin.chars().any(char::is_control) {
        return Err(invalid("an administrator needs a name"));
    }
    if admin.len() > NAME_CAP {
        return Err(invalid("the name may have 200 bytes"));
    }
    Ok(admin.to_owned())
}

fn set_password(rows: &Rows<'_>, admin: &str, hash: &str) -> Result<(), StoreError> {
    rows.connection.execute(
        "INSERT INTO admin (name, password_hash, changed_at) VALUES (?1, ?2, ?3) ON CONFLICT (name)
         DO UPDATE SET password_hash = excluded.password_hash, changed_at = excluded.changed_at",
        (admin, hash, now()),
    )?;
    rows.connection
        .execute("DELETE FROM session WHERE admin = ?1", [admin])?;
    Ok(())
}

fn password_hash(rows: &Rows<'_>, admin: &str) -> Result<Option<String>, StoreError> {
    let mut statement = rows
        .connection
        .prepare_cached("SELECT password_hash FROM admin WHERE name = ?1")?;
    Ok(statement.query_row([admin], |row| row.get(0)).optional()?)
}

fn invalid(why: &str) -> StoreError {
    StoreError::Invalid {
        name: "administrator".into(),
        why: why.into(),
    }
}
