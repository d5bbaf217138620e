//! What the start does about the last end: leases of a dead process, orphan files, torn bodies.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use rusqlite::params;
use sha2::{Digest, Sha256};

use crate::MessageId;
use crate::body::{CHUNK, is_body_name};
use crate::error::{Result, SpoolError};
use crate::own::forget_old;
use crate::rows::{DEAD_PAUSE, PUT_BACK, forget_message, move_times, unsigned};
use crate::tables::Tables;

/// A message whose body is a file.
struct FileBody {
    message: MessageId,
    /// From a mailbox, which may still hold it.
    fetched: bool,
    file: String,
    size: u64,
    sha256: Vec<u8>,
    durable: bool,
    undelivered: bool,
}

/// Runs inside one transaction, before anybody else has the spool.
pub(crate) fn sweep(t: &Tables<'_>, folder: &Path) -> Result<()> {
    follow_clock(t)?;
    release_leases(t)?;
    forget_old(t)?;
    t.execute("DELETE FROM pause WHERE until <= ?", [t.now])?;
    let bodies = file_bodies(t)?;
    let mut named: HashSet<&str> = HashSet::new();
    for body in &bodies {
        named.insert(&body.file);
        if body.undelivered
            && let Some(why) = damage(folder, body)
        {
            set_aside(t, body, &why)?;
        }
    }
    remove_orphans(folder, &named)
}

/// The newest message cannot be younger than now: if it is, the clock was set back meanwhile.
fn follow_clock(t: &Tables<'_>) -> Result<()> {
    let newest: Option<i64> = t
        .conn
        .query_row("SELECT max(taken_at) FROM message", (), |row| row.get(0))?;
    match newest {
        Some(newest) if newest > t.now => move_times(t, t.now - newest),
        _ => Ok(()),
    }
}

/// Every lease is of an earlier process: the caller holds the state directory's lock.
fn release_leases(t: &Tables<'_>) -> Result<()> {
    let released = t.execute(PUT_BACK, params![t.now, DEAD_PAUSE])?;
    if released > 0 {
        tracing::info!(
            deliveries = released,
            "put back what an earlier process had claimed"
        );
    }
    Ok(())
}

fn file_bodies(t: &Tables<'_>) -> Result<Vec<FileBody>> {
    let mut statement = t.conn.prepare_cached(
        "SELECT id, folder IS NOT NULL, file, size, sha256, durable,
           EXISTS (SELECT 1 FROM delivery WHERE message = m.id AND state <> 'delivered')
         FROM message m WHERE file IS NOT NULL",
    )?;
    let rows = statement.query_map((), |row| {
        Ok(FileBody {
            message: MessageId(row.get(0)?),
            fetched: row.get(1)?,
            file: row.get(2)?,
            size: unsigned(row, 3)?,
            sha256: row.get(4)?,
            durable: row.get(5)?,
            undelivered: row.get(6)?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// What is wrong with a body's file; one that cannot be read is damaged, and no reason not to
/// start. The hash is computed only where a power cut can have torn it.
fn damage(folder: &Path, body: &FileBody) -> Option<String> {
    let path = folder.join(&body.file);
    let wrong = |what: String| Some(format!("{} {what}", path.display()));
    let checked = File::open(&path).and_then(|file| {
        let length = file.metadata()?.len();
        let whole = length == body.size && (body.durable || hash(file)? == body.sha256);
        Ok((length, whole))
    });
    match checked {
        Ok((_, true)) => None,
        Ok((length, _)) if length != body.size => {
            wrong(format!("has {length} of {} bytes", body.size))
        }
        Ok(_) => wrong("does not hold what was written".to_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            wrong("is missing".to_owned())
        }
        Err(error) => wrong(format!("cannot be read: {error}")),
    }
}

fn hash(mut file: File) -> std::io::Result<Vec<u8>> {
    let mut hasher = Sha256::new();
    let mut chunk = vec![0; CHUNK];
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok(hasher.finalize().to_vec()),
            read => hasher.update(&chunk[..read]),
        }
    }
}

/// An inbound body that was not made durable is still in its mailbox: it is forgotten, and fetched
/// again. Any other damage is a failing disk's, and a person must know.
fn set_aside(t: &Tables<'_>, body: &FileBody, why: &str) -> Result<()> {
    if body.fetched && !body.durable {
        tracing::warn!(
            queue_id = body.message.0,
            why,
            "a body was torn; it is fetched again"
        );
        return forget_message(t, body.message);
    }
    tracing::error!(
        queue_id = body.message.0,
        why,
        "a body is damaged; its message is held"
    );
    t.execute(
        "UPDATE delivery SET state = 'held', due_at = NULL, why = 'its body is damaged: ' || ?2, held_at = coalesce(held_at, ?3)
         WHERE message = ?1 AND state <> 'delivered'",
        params![body.message.0, why, t.now],
    )?;
    if body.fetched {
        // Retrying it forgets it, so that a mailbox that still holds it gives it again.
        t.execute(
            "UPDATE message SET place = 'none' WHERE id = ?",
            [body.message.0],
        )?;
    }
    Ok(())
}

/// Bodies that no row names: never taken, or their message went just before the end.
fn remove_orphans(folder: &Path, named: &HashSet<&str>) -> Result<()> {
    let entries = fs::read_dir(folder).map_err(|e| SpoolError::io("listing", folder, e))?;
    for entry in entries {
        let entry = entry.map_err(|e| SpoolError::io("listing", folder, e))?;
        let name = entry.file_name();
        let orphan = |name: &str| is_body_name(name) && !named.contains(name);
        if !name.to_str().is_some_and(orphan) {
            continue;
        }
        match fs::remove_file(entry.path()) {
            Ok(()) => tracing::debug!(file = %entry.path().display(), "removed an orphan body"),
            Err(error) => {
                tracing::warn!(file = %entry.path().display(), %error, "could not remove an orphan body");
            }
        }
    }
    Ok(())
}
