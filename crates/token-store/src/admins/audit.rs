//! The audit: who did what, when, and from where.

use crate::{Store, StoreError, now};

/// Thirteen months: whoever looks back a year finds the same month of the year before.
const KEPT: i64 = 396 * 24 * 3600 * 1000;

/// One line of the audit.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Audited {
    /// Its number; grows.
    pub id: i64,
    /// Seconds since 1970.
    pub at: i64,
    /// The administrator, or the command line's user.
    pub who: String,
    /// What they did.
    pub what: String,
    /// The address they came from; empty on the command line.
    pub source: String,
}

impl Store {
    /// One line of the audit: who did what. Lines older than thirteen months go.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn audit(&self, who: &str, what: &str) -> Result<(), StoreError> {
        self.audit_from(who, what, "").await
    }

    /// The same, and from where.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn audit_from(&self, who: &str, what: &str, source: &str) -> Result<(), StoreError> {
        let now = now();
        let line = (now, who.to_owned(), what.to_owned(), source.to_owned());
        self.write(move |rows| {
            rows.connection.execute(
                "INSERT INTO audit (at, who, what, source) VALUES (?1, ?2, ?3, ?4)",
                line,
            )?;
            rows.connection
                .execute("DELETE FROM audit WHERE at < ?1", [now - KEPT])?;
            Ok(())
        })
        .await
    }

    /// The newest lines of the audit, newest first.
    ///
    /// # Errors
    /// When the database can't be read.
    pub fn audited(&self, at_most: u32) -> Result<Vec<Audited>, StoreError> {
        self.audited_before(i64::MAX, at_most)
    }

    /// The newest lines before one, newest first.
    ///
    /// # Errors
    /// When the database can't be read.
    pub fn audited_before(&self, id: i64, at_most: u32) -> Result<Vec<Audited>, StoreError> {
        self.read(|rows| {
            let mut statement = rows.connection.prepare_cached(
                "SELECT id, at, who, what, source FROM audit WHERE id < ?1 ORDER BY id DESC LIMIT ?2",
            )?;
            let lines = statement.query_map((id, at_most), |row| {
                Ok(Audited {
                    id: row.get(0)?,
                    at: row.get::<_, i64>(1)? / 1000,
                    who: row.get(2)?,
                    what: row.get(3)?,
                    source: row.get(4)?,
                })
            })?;
            Ok(lines.collect::<Result<_, _>>()?)
        })
    }
}
