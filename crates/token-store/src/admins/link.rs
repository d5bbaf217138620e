//! The one-time link: whoever may run commands as root or the daemon's user gets into the admin page with it.

use super::{Visitor, known_as, sessions, set_password};
use crate::seal::{digest, random_text};
use crate::store::Rows;
use crate::{Secret, Store, StoreError, now};
use rusqlite::OptionalExtension;

/// Long enough to copy it to another machine.
const LIFE: i64 = 15 * 60 * 1000;

impl Store {
    /// Makes a link's key for an administrator, who need not exist yet. It lasts 15 minutes and for one password; one that was made
    /// before ends.
    ///
    /// # Errors
    /// An empty name.
    pub async fn make_admin_link(&self, admin: &str) -> Result<Secret, StoreError> {
        let admin = known_as(admin)?;
        let key = random_text().map_err(|e| StoreError::sealed("a link", &e))?;
        let id = digest(key.expose());
        self.write(move |rows| {
            let now = now();
            rows.connection.execute(
                "DELETE FROM admin_link WHERE admin = ?1 OR expires_at <= ?2",
                (&admin, now),
            )?;
            rows.connection.execute(
                "INSERT INTO admin_link (id, admin, expires_at) VALUES (?1, ?2, ?3)",
                (id, admin, now + LIFE),
            )?;
            Ok(())
        })
        .await?;
        Ok(key)
    }

    /// For whom a link is, if it still lasts. Looking does not use it up: mail programs look at links too.
    ///
    /// # Errors
    /// When the database can't be read.
    pub fn admin_link(&self, key: &str) -> Result<Option<String>, StoreError> {
        let id = digest(key);
        self.read(|rows| owner(rows, &id))
    }

    /// Uses a link up: sets the password, switches a second factor off (its telephone may be lost), ends the administrator's
    /// sessions, opens a new one and gives its cookie. None: the link has ended.
    ///
    /// # Errors
    /// An empty or very long password; the link is then still good.
    pub async fn use_admin_link(
        &self,
        key: &str,
        password: Secret,
        visitor: &Visitor,
    ) -> Result<Option<(String, Secret)>, StoreError> {
        let id = digest(key);
        // Before the hash: nobody else is to make us work.
        if self.read(|rows| owner(rows, &id))?.is_none() {
            return Ok(None);
        }
        let hash = self.hashed(password).await?;
        let cookie = random_text().map_err(|e| StoreError::sealed("a session", &e))?;
        let (session, visitor) = (digest(cookie.expose()), visitor.clone());
        let used = self.write(move |rows| {
            let Some(admin) = owner(rows, &id)? else {
                return Ok(None);
            };
            rows.connection
                .execute("DELETE FROM admin_link WHERE id = ?1", [&id])?;
            set_password(rows, &admin, &hash)?;
            rows.connection.execute(
                "UPDATE admin SET totp = NULL, totp_step = NULL WHERE name = ?1",
                [&admin],
            )?;
            sessions::open(rows, &session, &admin, &visitor)?;
            Ok(Some(admin))
        });
        Ok(used.await?.map(|admin| (admin, cookie)))
    }
}

fn owner(rows: &Rows<'_>, id: &str) -> Result<Option<String>, StoreError> {
    let found = rows.connection.query_row(
        "SELECT admin FROM admin_link WHERE id = ?1 AND expires_at > ?2",
        (id, now()),
        |row| row.get(0),
    );
    Ok(found.optional()?)
}
