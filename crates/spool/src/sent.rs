//! What left in the last minute, so that a relay's rate holds over a restart.

use std::time::Duration;

use rusqlite::params;

use crate::clock::seconds;
use crate::error::Result;
use crate::tables::Tables;
use crate::{MessageId, Spool};

/// The window that providers count messages in.
const MINUTE: i64 = 60;

impl Spool {
    /// How long ago each message left that a relay took in the last minute, the oldest first. Whole seconds, rounded down: never too long.
    pub fn sent(&self, relay: &str) -> Result<Vec<Duration>> {
        let now = seconds(self.inner.clock.wall());
        self.inner.reads.with(|conn| {
            let mut statement = conn.prepare_cached(
                "SELECT at FROM sent WHERE relay = ?1 AND at > ?2 - ?3 ORDER BY at",
            )?;
            let rows = statement.query_map(params![relay, now, MINUTE + 1], |row| {
                let ago = now - row.get::<_, i64>(0)? - 1;
                Ok(Duration::from_secs(ago.max(0).unsigned_abs()))
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }
}

/// Notes that a relay took a message, for one more of its recipients maybe.
pub(crate) fn note(t: &Tables<'_>, relay: &str, message: MessageId) -> Result<()> {
    t.execute("DELETE FROM sent WHERE at < ?", [t.now - MINUTE - 1])?;
    t.execute(
        "INSERT INTO sent (relay, message, at) VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET at = ?3",
        params![relay, message.0, t.now],
    )?;
    Ok(())
}
