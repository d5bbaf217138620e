//! Who administers, their sessions, and the audit.
//!
//! A password is stored as its argon2id hash, a session as the SHA-256 of its cookie: reading the file signs nobody in.

use crate::password::{self, hash, hashing, verify};
use crate::seal::{digest, random_text};
use crate::store::Rows;
use crate::{Secret, Store, StoreError, now};
use rusqlite::OptionalExtension;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// A working day; then everybody signs in again.
const SESSION_LIFE: i64 = 12 * 3600 * 1000;
/// An unattended browser.
const SESSION_IDLE: i64 = 2 * 3600 * 1000;
/// `seen_at` is written this often at most; a page view must not cost a commit.
const SEEN_STEP: i64 = 60 * 1000;
/// Wrong passwords that cost nothing but the hash.
const FREE_FAILURES: u32 = 5;
/// The delay after the next one; it doubles with each more.
const FIRST_DELAY: Duration = Duration::from_secs(5);
/// The growing delay ends here, so that an attacker can slow an administrator down but not lock them out.
const DELAY_CAP: Duration = Duration::from_secs(300);
/// Names remembered; beyond this the oldest are forgotten, since anyone can invent names.
const NAMES_CAP: usize = 1024;

/// A signed-in browser session.
#[derive(Debug, Clone)]
pub struct Session {
    /// Who.
    pub admin: String,
    /// Bound to forms of this session.
    pub csrf: String,
    /// A stable id of this session (hash), to bind consents.
    pub id: String,
}

/// One line of the audit.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Audited {
    /// Seconds since 1970.
    pub at: i64,
    /// The administrator, or the command line's user.
    pub who: String,
    /// What they did.
    pub what: String,
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
        let admin = admin.trim().to_owned();
        if admin.is_empty() || admin.chars().any(char::is_control) {
            return Err(invalid("an administrator needs a name"));
        }
        password::check(&password).map_err(invalid)?;
        let turn = self.hashing_turn().await?;
        let hash = hashing(move || hash(&password)).await??;
        drop(turn);
        self.write(move |rows| {
            rows.connection.execute(
                "INSERT INTO admin (name, password_hash, changed_at) VALUES (?1, ?2, ?3) ON CONFLICT (name)
                 DO UPDATE SET password_hash = excluded.password_hash, changed_at = excluded.changed_at",
                (&admin, hash, now()),
            )?;
            rows.connection.execute("DELETE FROM session WHERE admin = ?1", [&admin])?;
            Ok(())
        })
        .await
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

    /// Checks a password in constant effort (also for unknown names), off the async threads; a cookie value on
    /// success. It lasts 12 hours, 2 hours idle.
    ///
    /// # Errors
    /// [`StoreError::Patience`] after five failures for a name, for a time that grows with each more.
    pub async fn sign_in(
        &self,
        admin: &str,
        password: Secret,
    ) -> Result<Option<Secret>, StoreError> {
        let admin = admin.trim().to_owned();
        // The turn comes first: guesses sent at the same time are counted one after the other.
        let turn = self.hashing_turn().await?;
        if let Some(after) = self.attempts().delay(&admin, Instant::now()) {
            return Err(StoreError::Patience { after });
        }
        let stored = self.read(|rows| password_hash(rows, &admin))?;
        let known = stored.is_some();
        let matches = hashing(move || verify(&password, stored.as_deref())).await??;
        if !(known && matches) {
            self.attempts().failed(&admin, Instant::now());
            return Ok(None);
        }
        self.attempts().succeeded(&admin);
        drop(turn);
        let cookie = random_text().map_err(|e| StoreError::sealed("a session", &e))?;
        let csrf = random_text().map_err(|e| StoreError::sealed("a session", &e))?;
        let id = digest(cookie.expose());
        self.write(move |rows| {
            let now = now();
            rows.connection.execute(
                "DELETE FROM session WHERE created_at <= ?1 OR seen_at <= ?2",
                (now - SESSION_LIFE, now - SESSION_IDLE),
            )?;
            rows.connection.execute(
                "INSERT INTO session (id, admin, csrf, created_at, seen_at) VALUES (?1, ?2, ?3, ?4, ?4)",
                (id, admin, csrf.expose(), now),
            )?;
            Ok(())
        })
        .await?;
        Ok(Some(cookie))
    }

    /// The session of a cookie, if it still lasts.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn session(&self, cookie: &Secret) -> Result<Option<Session>, StoreError> {
        let id = digest(cookie.expose());
        let now = now();
        let found = self.read(|rows| find_session(rows, &id, now))?;
        let Some((session, seen_at)) = found else {
            return Ok(None);
        };
        if now - seen_at >= SEEN_STEP {
            self.write(move |rows| {
                rows.connection
                    .execute("UPDATE session SET seen_at = ?2 WHERE id = ?1", (id, now))?;
                Ok(())
            })
            .await?;
        }
        Ok(Some(session))
    }

    /// Ends a session.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn sign_out(&self, cookie: &Secret) -> Result<(), StoreError> {
        let id = digest(cookie.expose());
        self.write(move |rows| {
            rows.connection
                .execute("DELETE FROM session WHERE id = ?1", [id])?;
            Ok(())
        })
        .await
    }

    /// One line of the audit: who did what.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn audit(&self, who: &str, what: &str) -> Result<(), StoreError> {
        let line = (now(), who.to_owned(), what.to_owned());
        self.write(move |rows| {
            rows.connection.execute(
                "INSERT INTO audit (at, who, what) VALUES (?1, ?2, ?3)",
                line,
            )?;
            Ok(())
        })
        .await
    }

    /// The newest lines of the audit, newest first.
    ///
    /// # Errors
    /// When the database can't be read.
    pub fn audited(&self, at_most: u32) -> Result<Vec<Audited>, StoreError> {
        self.read(|rows| {
            let mut statement = rows
                .connection
                .prepare_cached("SELECT at, who, what FROM audit ORDER BY id DESC LIMIT ?1")?;
            let lines = statement.query_map([at_most], |row| {
                Ok(Audited {
                    at: row.get::<_, i64>(0)? / 1000,
                    who: row.get(1)?,
                    what: row.get(2)?,
                })
            })?;
            Ok(lines.collect::<Result<_, _>>()?)
        })
    }
}

fn password_hash(rows: &Rows<'_>, admin: &str) -> Result<Option<String>, StoreError> {
    let mut statement = rows
        .connection
        .prepare_cached("SELECT password_hash FROM admin WHERE name = ?1")?;
    Ok(statement.query_row([admin], |row| row.get(0)).optional()?)
}

fn find_session(rows: &Rows<'_>, id: &str, now: i64) -> Result<Option<(Session, i64)>, StoreError> {
    let mut statement = rows.connection.prepare_cached(
        "SELECT admin, csrf, id, seen_at FROM session WHERE id = ?1 AND created_at > ?2 AND seen_at > ?3",
    )?;
    let found = statement.query_row((id, now - SESSION_LIFE, now - SESSION_IDLE), |row| {
        Ok((
            Session {
                admin: row.get(0)?,
                csrf: row.get(1)?,
                id: row.get(2)?,
            },
            row.get(3)?,
        ))
    });
    Ok(found.optional()?)
}

fn invalid(why: &str) -> StoreError {
    StoreError::Invalid {
        name: "administrator".into(),
        why: why.into(),
    }
}

/// Failed sign-ins by name; in memory, so a restart forgives.
#[derive(Default)]
pub(crate) struct Attempts {
    by_name: HashMap<String, Failures>,
}

struct Failures {
    count: u32,
    last: Instant,
}

impl Attempts {
    /// How long this name must still wait.
    fn delay(&self, name: &str, now: Instant) -> Option<Duration> {
        let failures = self.by_name.get(name)?;
        let over = failures.count.checked_sub(FREE_FAILURES)?;
        let delay = FIRST_DELAY.saturating_mul(1 << over.min(16)).min(DELAY_CAP);
        delay
            .checked_sub(now.duration_since(failures.last))
            .filter(|left| !left.is_zero())
    }

    fn failed(&mut self, name: &str, now: Instant) {
        if self.by_name.len() >= NAMES_CAP && !self.by_name.contains_key(name) {
            let oldest = self
                .by_name
                .iter()
                .min_by_key(|(_, f)| f.last)
                .map(|(name, _)| name.clone());
            oldest.and_then(|name| self.by_name.remove(&name));
        }
        let failures = self.by_name.entry(name.to_owned()).or_insert(Failures {
            count: 0,
            last: now,
        });
        failures.count = failures.count.saturating_add(1);
        failures.last = now;
    }

    fn succeeded(&mut self, name: &str) {
        self.by_name.remove(name);
    }
}
