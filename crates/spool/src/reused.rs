//! UIDs that were given twice: a mailbox that went back to an earlier state and kept its UIDVALIDITY (RFC 9051 section 2.3.1.1 forbids it;
//! a restored snapshot does it all the same).
//!
//! New mail then comes under UIDs that stand in `seen` already, and would never be fetched; and an acknowledgement by such a UID would
//! hit somebody else's message. So the old keys are put under a number that no server can name, and count as those of another
//! uidvalidity: by their content hashes alone.

use rusqlite::{Connection, params};

use crate::Spool;
use crate::error::Result;
use crate::identity::folder_id;

impl Spool {
    /// The highest UID that has a key. A server that names it, or a lower one, as the next to be given has gone back.
    pub fn highest_uid(
        &self,
        mailbox: &str,
        folder: &str,
        uidvalidity: u32,
    ) -> Result<Option<u32>> {
        self.inner.reads.with(|conn| {
            let Some(folder) = folder_id(conn, mailbox, folder)? else {
                return Ok(None);
            };
            Ok(conn
                .prepare_cached("SELECT max(uid) FROM seen WHERE folder = ? AND uidvalidity = ?")?
                .query_row(params![folder, uidvalidity], |row| row.get(0))?)
        })
    }

    /// The folder's UIDs under this uidvalidity mean other messages than before: what was taken in is known by its content
    /// from now on, and nothing is acknowledged by a UID of before.
    pub async fn uids_reused(&self, mailbox: &str, folder: &str, uidvalidity: u32) -> Result<()> {
        let (mailbox, folder) = (mailbox.to_owned(), folder.to_owned());
        self.inner
            .writer
            .call(move |t| {
                let Some(folder) = folder_id(t.conn, &mailbox, &folder)? else {
                    return Ok(());
                };
                let former = lowest(t.conn, folder)?.min(0) - 1;
                for table in ["seen", "message", "left_out"] {
                    t.execute(
                        &format!("UPDATE {table} SET uidvalidity = ?3 WHERE folder = ?1 AND uidvalidity = ?2"),
                        params![folder, uidvalidity, former],
                    )?;
                }
                t.execute("DELETE FROM flagged WHERE folder = ?", [folder])?;
                t.execute(
                    "UPDATE folder SET uidvalidity = NULL, whole_at = NULL WHERE id = ?",
                    [folder],
                )?;
                Ok(())
            })
            .await
    }
}

/// The numbers of former keys count down from -1.
fn lowest(conn: &Connection, folder: i64) -> Result<i64> {
    Ok(conn
        .prepare_cached("SELECT coalesce(min(uidvalidity), 0) FROM seen WHERE folder = ?")?
        .query_row([folder], |row| row.get(0))?)
}
