//! What the first start left in a mailbox, known again under another UIDVALIDITY without ever having been fetched.

use rusqlite::{OptionalExtension, params};

use crate::Spool;
use crate::error::Result;
use crate::identity::{folder_id, listed};
use crate::rows::size_in;
use crate::tables::Tables;

/// What a listing tells of a message: enough to know it again, in the same folder, as one that was there before. Another message
/// would have to have its size and have arrived within the same second, earlier than the first start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint {
    /// In its folder, under its uidvalidity.
    pub uid: u32,
    /// Bytes, as the server says.
    pub size: Option<u32>,
    /// When the server got it, in seconds since 1970.
    pub arrived: Option<i64>,
}

impl Spool {
    /// `start_from`: marks messages as seen without fetching them, and the folder as listed (also with none). All of them or,
    /// after a crash, none.
    pub async fn leave_out(
        &self,
        mailbox: &str,
        folder: &str,
        uidvalidity: u32,
        messages: Vec<Fingerprint>,
    ) -> Result<()> {
        let (mailbox, folder) = (mailbox.to_owned(), folder.to_owned());
        self.inner
            .writer
            .call(move |t| {
                let folder = listed(t, &mailbox, &folder)?;
                for message in &messages {
                    mark(t, folder, uidvalidity, message)?;
                }
                Ok(())
            })
            .await
    }

    /// Whether messages of this folder were left out under another uidvalidity, and not known again yet.
    pub fn left_out_elsewhere(
        &self,
        mailbox: &str,
        folder: &str,
        uidvalidity: u32,
    ) -> Result<bool> {
        self.inner.reads.with(|conn| {
            let Some(folder) = folder_id(conn, mailbox, folder)? else {
                return Ok(false);
            };
            Ok(conn
                .prepare_cached(
                    "SELECT 1 FROM left_out WHERE folder = ? AND uidvalidity <> ? LIMIT 1",
                )?
                .exists(params![folder, uidvalidity])?)
        })
    }

    /// Of messages that have no key yet those that were left out under another uidvalidity; their keys move. One for one: two
    /// alike are two. Without size or time of arrival nothing is known again.
    pub async fn recognise(
        &self,
        mailbox: &str,
        folder: &str,
        uidvalidity: u32,
        messages: Vec<Fingerprint>,
    ) -> Result<Vec<u32>> {
        let (mailbox, folder) = (mailbox.to_owned(), folder.to_owned());
        self.inner
            .writer
            .call(move |t| {
                let folder = listed(t, &mailbox, &folder)?;
                let mut known = Vec::new();
                for message in &messages {
                    if let Some(stale) = find(t, folder, uidvalidity, message)? {
                        forget(t, folder, stale)?;
                        mark(t, folder, uidvalidity, message)?;
                        known.push(message.uid);
                    }
                }
                Ok(known)
            })
            .await
    }
}

fn mark(t: &Tables<'_>, folder: i64, uidvalidity: u32, message: &Fingerprint) -> Result<()> {
    t.execute(
        "INSERT INTO seen (folder, uidvalidity, uid) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
        params![folder, uidvalidity, message.uid],
    )?;
    if let (Some(size), Some(arrived)) = (message.size, message.arrived) {
        t.execute(
            "INSERT INTO left_out (folder, uidvalidity, uid, size, arrived) VALUES (?, ?, ?, ?, ?)
             ON CONFLICT DO NOTHING",
            params![
                folder,
                uidvalidity,
                message.uid,
                size_in(size.into()),
                arrived
            ],
        )?;
    }
    Ok(())
}

/// The key under another uidvalidity of a message like this one.
fn find(
    t: &Tables<'_>,
    folder: i64,
    uidvalidity: u32,
    message: &Fingerprint,
) -> Result<Option<(i64, u32)>> {
    let (Some(size), Some(arrived)) = (message.size, message.arrived) else {
        return Ok(None);
    };
    Ok(t.conn
        .prepare_cached(
            "SELECT uidvalidity, uid FROM left_out
             WHERE folder = ? AND size = ? AND arrived = ? AND uidvalidity <> ?
             ORDER BY uidvalidity, uid LIMIT 1",
        )?
        .query_row(
            params![folder, size_in(size.into()), arrived, uidvalidity],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .optional()?)
}

fn forget(t: &Tables<'_>, folder: i64, (uidvalidity, uid): (i64, u32)) -> Result<()> {
    for table in ["seen", "left_out"] {
        t.execute(
            &format!("DELETE FROM {table} WHERE folder = ? AND uidvalidity = ? AND uid = ?"),
            params![folder, uidvalidity, uid],
        )?;
    }
    Ok(())
}
