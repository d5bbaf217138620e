//! Sessions of browsers: in the database, with an end for the idle and an end for all.

use super::Visitor;
use crate::seal::{digest, random_text};
use crate::store::Rows;
use crate::{Secret, Store, StoreError, now};
use rusqlite::{OptionalExtension, Row};

/// A working day; then everybody signs in again.
const LIFE: i64 = 12 * 3600 * 1000;
/// An unattended browser.
const IDLE: i64 = 2 * 3600 * 1000;
/// `seen_at` is written this often at most; a page view must not cost a commit.
const SEEN_STEP: i64 = 60 * 1000;
/// Of what a browser calls itself.
const AGENT_CAP: usize = 200;

/// A signed-in browser session.
#[derive(Debug, Clone)]
pub struct Session {
    /// Who.
    pub admin: String,
    /// Bound to forms of this session. Made of its cookie, so it is stored nowhere; empty for a session found by its id.
    pub csrf: String,
    /// A stable id of this session (hash), to bind consents.
    pub id: String,
}

/// A session, for lists. Times are seconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionLine {
    /// Its id.
    pub id: String,
    /// Whose.
    pub admin: String,
    /// Where it was opened from.
    pub visitor: Visitor,
    /// When.
    pub created_at: i64,
    /// When it was last seen, to a minute.
    pub seen_at: i64,
}

impl Store {
    /// Opens a session for somebody who has proved to be this administrator; the cookie's value. None: there is no such administrator.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn open_session(
        &self,
        admin: &str,
        visitor: &Visitor,
    ) -> Result<Option<Secret>, StoreError> {
        let (admin, visitor) = (admin.trim().to_owned(), visitor.clone());
        let cookie = random_text().map_err(|e| StoreError::sealed("a session", &e))?;
        let id = digest(cookie.expose());
        let opened = self.write(move |rows| open(rows, &id, &admin, &visitor));
        Ok(opened.await?.then_some(cookie))
    }

    /// The session of a cookie, if it still lasts.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn session(&self, cookie: &Secret) -> Result<Option<Session>, StoreError> {
        let id = digest(cookie.expose());
        let now = now();
        let found = self.read(|rows| find(rows, &id, now))?;
        let Some((mut session, seen_at)) = found else {
            return Ok(None);
        };
        session.csrf = digest(&format!("csrf\n{}", cookie.expose()));
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

    /// A session by its id, if it still lasts; for who holds no cookie of it.
    ///
    /// # Errors
    /// When the database can't be read.
    pub fn session_of_id(&self, id: &str) -> Result<Option<Session>, StoreError> {
        let found = self.read(|rows| find(rows, id, now()))?;
        Ok(found.map(|(session, _)| session))
    }

    /// The sessions that last, the latest seen first.
    ///
    /// # Errors
    /// When the database can't be read.
    pub fn sessions(&self) -> Result<Vec<SessionLine>, StoreError> {
        let now = now();
        self.read(|rows| {
            let mut statement = rows.connection.prepare_cached(
                "SELECT id, admin, source, agent, created_at, seen_at FROM session
                 WHERE created_at > ?1 AND seen_at > ?2 ORDER BY seen_at DESC, id",
            )?;
            let lines = statement.query_map((now - LIFE, now - IDLE), line)?;
            Ok(lines.collect::<Result<_, _>>()?)
        })
    }

    /// Ends a session.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn sign_out(&self, cookie: &Secret) -> Result<(), StoreError> {
        self.end_session(&digest(cookie.expose())).await.map(drop)
    }

    /// Ends a session by its id; false: there was none.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn end_session(&self, id: &str) -> Result<bool, StoreError> {
        let id = id.to_owned();
        self.write(move |rows| {
            let ended = rows
                .connection
                .execute("DELETE FROM session WHERE id = ?1", [id])?;
            Ok(ended > 0)
        })
        .await
    }
}

/// A row for a new session; those that have ended go. False: there is no such administrator.
pub(super) fn open(
    rows: &Rows<'_>,
    id: &str,
    admin: &str,
    visitor: &Visitor,
) -> Result<bool, StoreError> {
    let now = now();
    rows.connection.execute(
        "DELETE FROM session WHERE created_at <= ?1 OR seen_at <= ?2",
        (now - LIFE, now - IDLE),
    )?;
    let agent: String = visitor.agent.chars().take(AGENT_CAP).collect();
    let made = rows.connection.execute(
        "INSERT INTO session (id, admin, source, agent, created_at, seen_at)
         SELECT ?1, name, ?3, ?4, ?5, ?5 FROM admin WHERE name = ?2",
        (id, admin, &visitor.address, agent, now),
    )?;
    Ok(made > 0)
}

fn find(rows: &Rows<'_>, id: &str, now: i64) -> Result<Option<(Session, i64)>, StoreError> {
    let mut statement = rows.connection.prepare_cached(
        "SELECT admin, id, seen_at FROM session WHERE id = ?1 AND created_at > ?2 AND seen_at > ?3",
    )?;
    let found = statement.query_row((id, now - LIFE, now - IDLE), |row| {
        let session = Session {
            admin: row.get(0)?,
            csrf: String::new(),
            id: row.get(1)?,
        };
        Ok((session, row.get(2)?))
    });
    Ok(found.optional()?)
}

fn line(row: &Row<'_>) -> rusqlite::Result<SessionLine> {
    Ok(SessionLine {
        id: row.get(0)?,
        admin: row.get(1)?,
        visitor: Visitor {
            address: row.get(2)?,
            agent: row.get(3)?,
        },
        created_at: row.get::<_, i64>(4)? / 1000,
        seen_at: row.get::<_, i64>(5)? / 1000,
    })
}
