//! When a message is the same message: keys, and content hashes where keys lost their meaning.

use std::collections::HashSet;

use rusqlite::{Connection, OptionalExtension, params};

use crate::error::Result;
use crate::inbound::Key;
use crate::rows::size_in;
use crate::tables::Tables;
use crate::uidl::LISTED;
use crate::{Direction, Headline};

/// UIDs closer together than this (on average) are looked up as a range: a step along the index
/// costs about a sixteenth of a search in it.
const DENSE: u64 = 16;

/// UIDs that are looked up at once, so that one gap doesn't make a whole folder sparse.
const WINDOW: usize = 1_000;

/// The row of a folder that was listed before.
pub(crate) fn folder_id(conn: &Connection, mailbox: &str, folder: &str) -> Result<Option<i64>> {
    Ok(conn
        .prepare_cached("SELECT id FROM folder WHERE mailbox = ? AND name = ?")?
        .query_row([mailbox, folder], |row| row.get(0))
        .optional()?)
}

/// The folder's row, made if this is its first message.
pub(crate) fn listed(t: &Tables<'_>, mailbox: &str, folder: &str) -> Result<i64> {
    if let Some(id) = folder_id(t.conn, mailbox, folder)? {
        return Ok(id);
    }
    t.execute(
        "INSERT INTO folder (mailbox, name) VALUES (?, ?)",
        [mailbox, folder],
    )?;
    Ok(t.conn.last_insert_rowid())
}

/// Those of the (sorted) UIDs that have a key.
pub(crate) fn find_known(
    conn: &Connection,
    folder: i64,
    uidvalidity: u32,
    uids: &[u32],
) -> Result<HashSet<u32>> {
    let mut range = conn.prepare_cached(
        "SELECT uid FROM seen WHERE folder = ? AND uidvalidity = ? AND uid BETWEEN ? AND ?",
    )?;
    let mut one =
        conn.prepare_cached("SELECT 1 FROM seen WHERE folder = ? AND uidvalidity = ? AND uid = ?")?;
    let mut known = HashSet::new();
    for window in uids.chunks(WINDOW) {
        let (first, last) = (window[0], window[window.len() - 1]);
        if u64::from(last - first) <= DENSE * window.len() as u64 {
            let rows =
                range.query_map(params![folder, uidvalidity, first, last], |row| row.get(0))?;
            for uid in rows {
                known.insert(uid?);
            }
            continue;
        }
        for uid in window {
            if one.exists(params![folder, uidvalidity, uid])? {
                known.insert(*uid);
            }
        }
    }
    Ok(known)
}

/// Whether the key was seen before; if not, it is now.
pub(crate) fn is_known(
    t: &Tables<'_>,
    folder: i64,
    key: &Key,
    sha256: Option<&[u8; 32]>,
    provider_id: Option<&str>,
) -> Result<bool> {
    let inserted = t.execute(
        "INSERT INTO seen (folder, uidvalidity, uid, sha256, provider_id) VALUES (?, ?, ?, ?, ?)
         ON CONFLICT DO NOTHING",
        params![folder, key.uidvalidity, key.uid, sha256, provider_id],
    )?;
    Ok(inserted == 0)
}

/// Whether the same bytes stand under another uidvalidity; if so, that key becomes `key`. Of several,
/// one whose message is still here goes first: the others may have left the mailbox.
pub(crate) fn moved_by_hash(
    t: &Tables<'_>,
    folder: i64,
    key: &Key,
    sha256: &[u8; 32],
) -> Result<bool> {
    if !may_be_old(t, folder, key)? {
        return Ok(false);
    }
    let stale = t
        .conn
        .prepare_cached(
            "SELECT uidvalidity, uid FROM seen s WHERE folder = ? AND sha256 = ? AND uidvalidity <> ?
             ORDER BY NOT EXISTS (SELECT 1 FROM message m WHERE m.folder = s.folder
               AND m.uidvalidity = s.uidvalidity AND m.uid = s.uid), uidvalidity, uid LIMIT 1",
        )?
        .query_row(params![folder, sha256, key.uidvalidity], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?;
    move_key(t, folder, stale, key)
}

/// Whether another folder of the mailbox showed the same message before: at Gmail a label looks like a folder.
pub(crate) fn is_elsewhere(
    t: &Tables<'_>,
    folder: i64,
    mailbox: &str,
    provider_id: Option<&str>,
) -> Result<bool> {
    let Some(provider_id) = provider_id else {
        return Ok(false);
    };
    Ok(t.conn
        .prepare_cached(
            "SELECT 1 FROM seen s CROSS JOIN folder f ON f.id = s.folder
             WHERE s.provider_id = ? AND f.mailbox = ? AND f.id <> ?",
        )?
        .exists(params![provider_id, mailbox, folder])?)
}

/// The same for a message that was never fetched: it has no hash, so its headline and size speak for it.
pub(crate) fn moved_by_headline(
    t: &Tables<'_>,
    folder: i64,
    key: &Key,
    headline: &Headline,
    size: u64,
) -> Result<bool> {
    if !may_be_old(t, folder, key)? {
        return Ok(false);
    }
    let headline = headline.shortened();
    let stale = t
        .conn
        .prepare_cached(
            "SELECT uidvalidity, uid FROM message
             WHERE folder = ? AND uidvalidity <> ? AND place = 'none' AND size = ?
               AND header_from = ? AND header_subject = ? AND header_message_id = ?
             ORDER BY uidvalidity, uid LIMIT 1",
        )?
        .query_row(
            params![
                folder,
                key.uidvalidity,
                size_in(size),
                headline.from,
                headline.subject,
                headline.message_id
            ],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .optional()?;
    move_key(t, folder, stale, key)
}

/// So long after a folder was first listed to its end under a new uidvalidity, its messages may be old ones that are still being put
/// back. After that they are new, also when they have the very bytes of an old one.
const RESTORING: i64 = 7 * 86_400;

/// Whether a message under this key may be one that had another key before. In a maildrop any may: names fail there at any time.
fn may_be_old(t: &Tables<'_>, folder: i64, key: &Key) -> Result<bool> {
    if key.uidvalidity == LISTED {
        return Ok(true);
    }
    Ok(!t
        .conn
        .prepare_cached("SELECT 1 FROM folder WHERE id = ? AND uidvalidity = ? AND whole_at < ?")?
        .exists(params![folder, key.uidvalidity, t.now - RESTORING])?)
}

/// The folder was listed, and its messages taken in, to its end.
pub(crate) fn listed_whole(t: &Tables<'_>, folder: i64, uidvalidity: u32) -> Result<()> {
    t.execute(
        "UPDATE folder SET uidvalidity = ?2, whole_at = ?3 WHERE id = ?1 AND uidvalidity IS NOT ?2",
        params![folder, uidvalidity, t.now],
    )?;
    Ok(())
}

/// Replaces a stale key (uidvalidity, uid) by `key`, whose row is there already. A message that is
/// still here follows, so that it can be acknowledged. False: there is no stale key.
fn move_key(t: &Tables<'_>, folder: i64, stale: Option<(i64, u32)>, key: &Key) -> Result<bool> {
    let Some((uidvalidity, uid)) = stale else {
        return Ok(false);
    };
    t.execute(
        "DELETE FROM seen WHERE folder = ? AND uidvalidity = ? AND uid = ?",
        params![folder, uidvalidity, uid],
    )?;
    t.execute(
        "UPDATE message SET uidvalidity = ?4, uid = ?5
         WHERE folder = ?1 AND uidvalidity = ?2 AND uid = ?3",
        params![folder, uidvalidity, uid, key.uidvalidity, key.uid],
    )?;
    t.touch(Direction::In, &key.mailbox);
    Ok(true)
}
