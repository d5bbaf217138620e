//! Rows of `notice` and `notice_told`.

use super::Rows;
use crate::StoreError;
use crate::notices::{About, Cause, Change, Channel, Kind, Notice, Telling, Told};
use rusqlite::{OptionalExtension, Row, params};
use std::collections::BTreeMap;

impl Rows<'_> {
    /// All of them, the open ones first. A kind that only a newer version knows is left out.
    pub(crate) fn notices(&self) -> Result<Vec<Notice>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT id, kind, about, words, advice, since, cleared_at FROM notice
             ORDER BY cleared_at IS NOT NULL, since, id",
        )?;
        let notices = statement
            .query_map([], read)?
            .collect::<Result<Vec<_>, _>>()?;
        let mut told = self.told()?;
        let notices = notices.into_iter().flatten().map(|mut notice| {
            notice.told = told.remove(&notice.id).unwrap_or_default();
            notice
        });
        Ok(notices.collect())
    }

    fn told(&self) -> Result<BTreeMap<i64, BTreeMap<Channel, Told>>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT notice, channel, raised_at, mended_at, tries, retry_at, error FROM notice_told",
        )?;
        let mut rows = statement.query([])?;
        let mut told: BTreeMap<i64, BTreeMap<Channel, Told>> = BTreeMap::new();
        while let Some(row) = rows.next()? {
            let word = row.get_ref(1)?.as_str().unwrap_or_default();
            let Some(channel) = Channel::ALL.into_iter().find(|c| c.key() == word) else {
                continue;
            };
            let this = Told {
                raised_at: row.get(2)?,
                mended_at: row.get(3)?,
                tries: row.get(4)?,
                retry_at: row.get(5)?,
                error: row.get(6)?,
            };
            told.entry(row.get(0)?).or_default().insert(channel, this);
        }
        Ok(told)
    }

    pub(crate) fn change_notice(&self, change: &Change, now: i64) -> Result<(), StoreError> {
        let reword = "UPDATE notice SET words = ?2, advice = ?3, cleared_at = NULL WHERE id = ?1";
        match change {
            Change::Raise(cause) => self.connection.execute(
                "INSERT INTO notice (kind, about, words, advice, since) VALUES (?1, ?2, ?3, ?4, ?5)",
                params![cause.kind.key(), cause.about.to_string(), cause.words, cause.advice, now],
            ),
            Change::Reopen(id, cause) | Change::Reword(id, cause) => self
                .connection
                .execute(reword, params![id, cause.words, cause.advice]),
            Change::Clear(id, _) => self
                .connection
                .execute("UPDATE notice SET cleared_at = ?2 WHERE id = ?1", [*id, now]),
            Change::Forget(id) => self
                .connection
                .execute("DELETE FROM notice WHERE id = ?1", [*id]),
        }?;
        Ok(())
    }

    pub(crate) fn notice_told(
        &self,
        notice: i64,
        channel: Channel,
        telling: Telling,
        now: i64,
    ) -> Result<(), StoreError> {
        let column = match telling {
            Telling::Raised | Telling::Repeated => "raised_at",
            Telling::Mended => "mended_at",
        };
        // A notice that is gone by now has nothing to be remembered for.
        self.connection.execute(
            &format!(
                "INSERT INTO notice_told (notice, channel, {column}) SELECT id, ?2, ?3 FROM notice WHERE id = ?1
                 ON CONFLICT DO UPDATE SET {column} = excluded.{column}, tries = 0, retry_at = NULL, error = NULL"
            ),
            params![notice, channel.key(), now],
        )?;
        Ok(())
    }

    /// `next_try` says when, by the failures in a row before this one.
    pub(crate) fn notice_not_told(
        &self,
        notice: i64,
        channel: Channel,
        error: &str,
        next_try: impl FnOnce(u32) -> i64,
    ) -> Result<(), StoreError> {
        let before: Option<u32> = self
            .connection
            .query_row(
                "SELECT tries FROM notice_told WHERE notice = ?1 AND channel = ?2",
                params![notice, channel.key()],
                |row| row.get(0),
            )
            .optional()?;
        let before = before.unwrap_or(0);
        self.connection.execute(
            "INSERT INTO notice_told (notice, channel, tries, retry_at, error)
                SELECT id, ?2, ?3, ?4, ?5 FROM notice WHERE id = ?1
             ON CONFLICT DO UPDATE SET tries = excluded.tries, retry_at = excluded.retry_at, error = excluded.error",
            params![
                notice,
                channel.key(),
                before.saturating_add(1),
                next_try(before),
                error
            ],
        )?;
        Ok(())
    }
}

fn read(row: &Row<'_>) -> rusqlite::Result<Option<Notice>> {
    let kind = Kind::from_key(row.get_ref(1)?.as_str().unwrap_or_default());
    let about = About::parse(row.get_ref(2)?.as_str().unwrap_or_default());
    let (Some(kind), Some(about)) = (kind, about) else {
        return Ok(None);
    };
    Ok(Some(Notice {
        id: row.get(0)?,
        cause: Cause {
            kind,
            about,
            words: row.get(3)?,
            advice: row.get(4)?,
        },
        since: row.get(5)?,
        cleared_at: row.get(6)?,
        told: BTreeMap::new(),
    }))
}
