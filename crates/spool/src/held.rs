//! Held mail: what waits for a person, and for how long already.

use rusqlite::{Connection, params};

use crate::error::Result;
use crate::rows::unsigned;
use crate::{Direction, Headline, Spool};

/// What is held of one account, for a notice and for status.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct HeldReport {
    /// Mailbox or relay.
    pub account: String,
    /// Which of the two.
    pub direction: Direction,
    /// Messages; one that is held for several recipients counts once.
    pub count: u64,
    /// Bytes of their bodies that are kept in the spool; what was never fetched takes none.
    pub bytes: u64,
    /// When the first of them was held, in seconds since 1970.
    pub oldest_at: i64,
    /// When the first of those was held whose body is kept here. None: no body is.
    pub oldest_body_at: Option<i64>,
    /// When the last of them was held, in seconds since 1970: later than at the last look means that there are new ones.
    /// Our own notices don't count, or one about held mail that is held itself would bring the next. 0: there are only such.
    pub newest_at: i64,
    /// The one that was held last, also a notice of ours.
    pub newest: Headline,
    /// Why that one is held, in the peer's own words.
    pub last_error: String,
}

impl Spool {
    /// What is held, by account; accounts with nothing held are left out.
    pub fn held_report(&self) -> Result<Vec<HeldReport>> {
        self.inner.reads.with(|conn| {
            let mut reports = totals(conn)?;
            for report in &mut reports {
                add_newest(conn, report)?;
            }
            Ok(reports)
        })
    }
}

fn totals(conn: &Connection) -> Result<Vec<HeldReport>> {
    let mut statement = conn.prepare_cached(
        "SELECT direction, account, count(*), coalesce(sum(bytes), 0), min(held_at), min(held_at) FILTER (WHERE bytes IS NOT NULL),
           coalesce(max(held_at) FILTER (WHERE own IS NOT 'notice'), 0)
         FROM (SELECT d.direction, d.account, iif(m.place = 'none', NULL, m.size) AS bytes, min(d.held_at) AS held_at, m.own
               FROM delivery d CROSS JOIN message m ON m.id = d.message
               WHERE d.due_at IS NULL AND d.state = 'held' GROUP BY d.account, d.message)
         GROUP BY direction, account ORDER BY direction, account",
    )?;
    let rows = statement.query_map((), |row| {
        Ok(HeldReport {
            direction: Direction::from_word(row.get_ref(0)?.as_str()?),
            account: row.get(1)?,
            count: unsigned(row, 2)?,
            bytes: unsigned(row, 3)?,
            oldest_at: row.get(4)?,
            oldest_body_at: row.get(5)?,
            newest_at: row.get(6)?,
            newest: Headline::default(),
            last_error: String::new(),
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn add_newest(conn: &Connection, report: &mut HeldReport) -> Result<()> {
    (report.newest, report.last_error) = conn
        .prepare_cached(
            "SELECT m.header_from, m.header_subject, m.header_message_id, d.why
             FROM delivery d CROSS JOIN message m ON m.id = d.message
             WHERE d.direction = ? AND d.account = ? AND d.state = 'held' AND d.due_at IS NULL
             ORDER BY d.held_at DESC, d.id DESC LIMIT 1",
        )?
        .query_row(params![report.direction.as_str(), report.account], |row| {
            let newest = Headline {
                from: row.get(0)?,
                subject: row.get(1)?,
                message_id: row.get(2)?,
            };
            Ok((newest, row.get(3)?))
        })?;
    Ok(())
}
