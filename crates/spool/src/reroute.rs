//! Outbound mail that another relay takes over.

use rusqlite::params;

use crate::error::Result;
use crate::{Direction, Spool};

impl Spool {
    /// Gives what waits for one relay to another, due at once, at most `limit` deliveries. What is in doubt stays, for its first try
    /// can be looked up only where it was made; reports of our own stay, for they are written in their relay's name. Returns how many.
    pub async fn reroute(&self, from: &str, to: &str, limit: usize) -> Result<usize> {
        let (from, to) = (from.to_owned(), to.to_owned());
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.inner
            .writer
            .call(move |t| {
                let waiting: Vec<(i64, i64)> = {
                    let mut statement = t.conn.prepare_cached(
                        "SELECT d.id, d.message FROM delivery d CROSS JOIN message m ON m.id = d.message
                         WHERE d.direction = 'out' AND d.account = ? AND d.due_at IS NOT NULL AND d.state IN ('due', 'waiting')
                           AND d.doubts = 0 AND d.hold_why IS NULL AND m.own IS NULL ORDER BY d.id LIMIT ?",
                    )?;
                    let rows = statement.query_map(params![from, limit], |row| {
                        Ok((row.get(0)?, row.get(1)?))
                    })?;
                    rows.collect::<rusqlite::Result<_>>()?
                };
                for (delivery, message) in &waiting {
                    t.execute(
                        "UPDATE delivery SET account = ?2, state = 'due', due_at = min(since, ?3),
                           blocked_for = blocked_for + coalesce(max(?3 - blocked_since, 0), 0), blocked_since = NULL WHERE id = ?1",
                        params![delivery, to, t.now],
                    )?;
                    t.execute(
                        "UPDATE message SET account = ?2 WHERE id = ?1",
                        params![message, to],
                    )?;
                }
                if !waiting.is_empty() {
                    t.touch(Direction::Out, &from);
                    t.touch(Direction::Out, &to);
                }
                Ok(waiting.len())
            })
            .await
    }
}
