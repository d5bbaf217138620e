//! What the overview counts: messages delivered in each hour of the last month, and how much waits, is held, or is to be acknowledged.
//!
//! Both are kept as they change, so that asking costs the same however full the spool is. The backlog follows every change of
//! `delivery` by triggers (migration 3); the hours are counted where a delivery is settled.

use std::collections::BTreeMap;

use crate::error::Result;
use crate::rows::unsigned;
use crate::tables::Tables;
use crate::{Counts, Direction, Spool};

/// Hours that are kept: thirty days, and the one that has begun.
const KEPT: i64 = 30 * 24 + 1;
const HOUR: i64 = 3600;

/// Counts a delivery, for its account and for this hour.
pub(crate) fn delivered(t: &Tables<'_>, direction: Direction, account: &str) -> Result<()> {
    t.execute(
        "INSERT INTO counter (direction, account, delivered) VALUES (?, ?, 1)
         ON CONFLICT DO UPDATE SET delivered = delivered + 1",
        [direction.as_str(), account],
    )?;
    let hour = t.now.div_euclid(HOUR);
    let count: i64 = t
        .conn
        .prepare_cached(
            "INSERT INTO hourly (direction, hour, delivered) VALUES (?, ?, 1)
             ON CONFLICT DO UPDATE SET delivered = delivered + 1 RETURNING delivered",
        )?
        .query_row((direction.as_str(), hour), |row| row.get(0))?;
    // The first of an hour clears those that have grown too old.
    if count == 1 {
        t.execute(
            "DELETE FROM hourly WHERE direction = ? AND hour <= ?",
            (direction.as_str(), hour - KEPT),
        )?;
    }
    Ok(())
}

impl Spool {
    /// How many deliveries ended well in each of the last `hours`, at most 30 days of them; the oldest first, the hour that has
    /// begun last.
    pub fn delivered_hourly(&self, direction: Direction, hours: usize) -> Result<Vec<u64>> {
        let mut counts = vec![0; hours.min(30 * 24)];
        let last = self.inner.clock.seconds().div_euclid(HOUR);
        let first = last + 1 - i64::try_from(counts.len()).unwrap_or(KEPT);
        self.inner.reads.with(|conn| {
            let mut statement = conn.prepare_cached(
                "SELECT hour, delivered FROM hourly WHERE direction = ? AND hour BETWEEN ? AND ?",
            )?;
            let mut rows = statement.query((direction.as_str(), first, last))?;
            while let Some(row) = rows.next()? {
                let at = usize::try_from(row.get::<_, i64>(0)? - first).unwrap_or(usize::MAX);
                if let Some(count) = counts.get_mut(at) {
                    *count = unsigned(row, 1)?;
                }
            }
            Ok(())
        })?;
        Ok(counts)
    }

    /// How much of every account's mail is where, for those that ever had any.
    pub fn all_counts(&self) -> Result<BTreeMap<(Direction, String), Counts>> {
        self.inner.reads.with(|conn| {
            let mut all: BTreeMap<(Direction, String), Counts> = BTreeMap::new();
            let mut statement = conn.prepare_cached(
                "SELECT direction, account, waiting, held, delivered FROM backlog",
            )?;
            let mut rows = statement.query(())?;
            while let Some(row) = rows.next()? {
                let direction = Direction::from_word(&row.get::<_, String>(0)?);
                let counts = all.entry((direction, row.get(1)?)).or_default();
                counts.waiting = unsigned(row, 2)?;
                counts.held = unsigned(row, 3)?;
                if direction == Direction::In {
                    counts.unacknowledged = unsigned(row, 4)?;
                }
            }
            let mut statement =
                conn.prepare_cached("SELECT direction, account, delivered FROM counter")?;
            let mut rows = statement.query(())?;
            while let Some(row) = rows.next()? {
                let direction = Direction::from_word(&row.get::<_, String>(0)?);
                let counts = all.entry((direction, row.get(1)?)).or_default();
                counts.done = unsigned(row, 2)?;
            }
            Ok(all)
        })
    }
}
