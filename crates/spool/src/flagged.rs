//! Messages that were acknowledged by a flag alone, and are to be expunged once that harms nobody.

use std::collections::BTreeSet;

use rusqlite::params;

use crate::Spool;
use crate::error::Result;
use crate::identity::folder_id;

impl Spool {
    /// UIDs of this folder that Postern itself flagged `\Deleted` and that are still to be expunged.
    pub fn flagged(&self, mailbox: &str, folder: &str, uidvalidity: u32) -> Result<BTreeSet<u32>> {
        self.inner.reads.with(|conn| {
            let Some(folder) = folder_id(conn, mailbox, folder)? else {
                return Ok(BTreeSet::new());
            };
            let mut statement = conn
                .prepare_cached("SELECT uid FROM flagged WHERE folder = ? AND uidvalidity = ?")?;
            let rows = statement.query_map(params![folder, uidvalidity], |row| row.get(0))?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// Replaces that set; UIDs of another uidvalidity mean nothing any more.
    pub async fn set_flagged(
        &self,
        mailbox: &str,
        folder: &str,
        uidvalidity: u32,
        uids: BTreeSet<u32>,
    ) -> Result<()> {
        let (mailbox, folder) = (mailbox.to_owned(), folder.to_owned());
        self.inner
            .writer
            .call(move |t| {
                let Some(folder) = folder_id(t.conn, &mailbox, &folder)? else {
                    return Ok(());
                };
                t.execute("DELETE FROM flagged WHERE folder = ?", [folder])?;
                for uid in &uids {
                    t.execute(
                        "INSERT INTO flagged (folder, uidvalidity, uid) VALUES (?, ?, ?)",
                        params![folder, uidvalidity, uid],
                    )?;
                }
                Ok(())
            })
            .await
    }
}
