//! POP3 names messages by text (UIDL): each name gets a number, and where names fail the bytes decide.
//!
//! A message that is listed under a name has the key (INBOX, uidvalidity 0, the name's number). Names fail where a server has none,
//! gives one name to several messages, gives a name again after its message was deleted, or gives every message another one (a mailbox
//! moved to another server). Then the old key becomes nameless, the message is fetched under a new number, and taking it in
//! recognises known bytes as it does under a changed UIDVALIDITY.

use std::collections::{HashMap, HashSet};

use rusqlite::{Connection, OptionalExtension, params};

use crate::error::Result;
use crate::identity::{folder_id, listed};
use crate::inbound::Key;
use crate::rows::drop_message;
use crate::tables::Tables;
use crate::{MessageId, Spool};

/// A maildrop has one folder, and it is the one that IMAP calls so: whoever changes the protocol of a mailbox keeps what is known.
const FOLDER: &str = "INBOX";
/// Keys with a number of this module; RFC 9051 knows no UIDVALIDITY 0.
pub(crate) const LISTED: u32 = 0;
/// Keys that lost their name; no server has this UIDVALIDITY in practice.
const NAMELESS: u32 = u32::MAX;
/// Names looked up in one read, so that other tasks get their turn.
const CHUNK: usize = 1_000;

/// A message as a POP3 server lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// Its UIDL; None if the server has none.
    pub name: Option<Vec<u8>>,
    /// To be marked as seen if it is new, without being fetched (`start_from`).
    pub left_out: bool,
}

/// What is known of a listed message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Numbered {
    /// The uid of its key.
    pub uid: u32,
    /// It was taken in, or left out, before.
    pub known: bool,
}

/// What a listing means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recognised {
    /// In the order of the listing.
    pub messages: Vec<Numbered>,
    /// None of the names that should be there is: the server names its messages anew.
    pub renamed: bool,
}

/// What the table says of a name.
#[derive(Debug, Clone, Copy)]
struct Row {
    uid: u32,
    gone: bool,
    seen: bool,
}

impl Key {
    /// The key of a message in a POP3 maildrop.
    pub fn of_maildrop(mailbox: &str, uid: u32) -> Self {
        Self {
            mailbox: mailbox.to_owned(),
            folder: FOLDER.to_owned(),
            uidvalidity: LISTED,
            uid,
        }
    }
}

impl Spool {
    /// Compares a whole POP3 listing with what is known. Every message gets the number that its key has from now on; a message that is
    /// not known by its name gets a new one and is to be fetched, since its bytes may be known all the same.
    pub async fn recognise_names(&self, mailbox: &str, listing: Vec<Named>) -> Result<Recognised> {
        let single = names_given_once(&listing);
        let mut rows = HashMap::new();
        let mut names = single.iter();
        loop {
            let chunk: Vec<&Vec<u8>> = names.by_ref().take(CHUNK).collect();
            if chunk.is_empty() {
                break;
            }
            self.look_up(mailbox, &chunk, &mut rows)?;
            tokio::task::yield_now().await;
        }
        let row = |named: &Named| named.name.as_ref().and_then(|name| rows.get(name));
        let found: Vec<Option<Row>> = listing.iter().map(|named| row(named).copied()).collect();
        let unchanged = found.iter().all(|row| row.is_some_and(|row| !row.gone));
        let reads = &self.inner.reads;
        let (first, unnamed, live) = reads.with(|conn| about(conn, mailbox))?;
        let renamed =
            live && !listing.is_empty() && !found.iter().flatten().any(|row| row.seen && !row.gone);
        if unchanged && !first && !unnamed && !renamed {
            let numbered = |row: Row| Numbered {
                uid: row.uid,
                known: row.seen,
            };
            let messages = found.into_iter().flatten().map(numbered).collect();
            return Ok(Recognised { messages, renamed });
        }
        drop(single);
        let mailbox = mailbox.to_owned();
        let write = move |t: &Tables<'_>| number(t, &mailbox, &listing, &found, renamed);
        let messages = self.inner.writer.call(write).await?;
        Ok(Recognised { messages, renamed })
    }

    fn look_up(
        &self,
        mailbox: &str,
        names: &[&Vec<u8>],
        rows: &mut HashMap<Vec<u8>, Row>,
    ) -> Result<()> {
        self.inner.reads.with(|conn| {
            let Some(folder) = folder_id(conn, mailbox, FOLDER)? else {
                return Ok(());
            };
            let mut one = conn.prepare_cached(
                "SELECT uid, gone, EXISTS (SELECT 1 FROM seen s
                   WHERE s.folder = u.folder AND s.uidvalidity = ?3 AND s.uid = u.uid)
                 FROM uidl u WHERE folder = ?1 AND name = ?2",
            )?;
            for name in names {
                let row = one.query_row(params![folder, name, LISTED], |row| {
                    Ok(Row {
                        uid: row.get(0)?,
                        gone: row.get(1)?,
                        seen: row.get(2)?,
                    })
                });
                if let Some(row) = row.optional()? {
                    rows.insert((*name).clone(), row);
                }
            }
            Ok(())
        })
    }

    /// The server confirmed that these delivered messages are deleted, or no longer lists them: body and message go, the
    /// key stays, and the name may come again for another message.
    pub async fn deleted(&self, messages: Vec<MessageId>) -> Result<()> {
        let write = move |t: &Tables<'_>| {
            for message in &messages {
                if let Some((folder, uid)) = delivered_key(t, *message)? {
                    gone(t, folder, uid)?;
                    drop_message(t, *message)?;
                }
            }
            Ok(())
        };
        self.inner.writer.call(write).await
    }
}

/// Names that stand once in a listing: those that stand twice name nothing.
fn names_given_once(listing: &[Named]) -> HashSet<Vec<u8>> {
    let (mut once, mut twice) = (HashSet::new(), HashSet::new());
    for name in listing.iter().filter_map(|named| named.name.as_ref()) {
        if !once.insert(name) {
            twice.insert(name);
        }
    }
    once.difference(&twice)
        .map(|name| (*name).clone())
        .collect()
}

/// Whether this is the first listing; whether keys without a name are left of the last one; whether known messages are
/// named that should still be in the mailbox.
fn about(conn: &Connection, mailbox: &str) -> Result<(bool, bool, bool)> {
    let Some(folder) = folder_id(conn, mailbox, FOLDER)? else {
        return Ok((true, false, false));
    };
    let unnamed = conn
        .prepare_cached("SELECT 1 FROM uidl WHERE folder = ? AND name IS NULL LIMIT 1")?
        .exists([folder])?;
    let live = conn
        .prepare_cached(
            "SELECT 1 FROM uidl u JOIN seen s ON s.folder = u.folder AND s.uidvalidity = ?2 AND s.uid = u.uid
             WHERE u.folder = ?1 AND u.gone = 0 AND u.name IS NOT NULL LIMIT 1",
        )?
        .exists(params![folder, LISTED])?;
    Ok((false, unnamed, live))
}

/// Makes nameless what lost its name, and numbers what has none.
fn number(
    t: &Tables<'_>,
    mailbox: &str,
    listing: &[Named],
    found: &[Option<Row>],
    renamed: bool,
) -> Result<Vec<Numbered>> {
    let folder = listed(t, mailbox, FOLDER)?;
    if renamed {
        unname_all(t, folder)?;
    } else {
        for uid in without_name(t, folder)? {
            unname(t, folder, uid)?;
        }
    }
    let mut next = next_number(t, folder)?;
    let mut given_twice = HashSet::new();
    let single = names_given_once(listing);
    let mut messages = Vec::with_capacity(listing.len());
    for (named, row) in listing.iter().zip(found) {
        if let Some(row) = row.filter(|row| !renamed && !row.gone) {
            messages.push(Numbered {
                uid: row.uid,
                known: row.seen,
            });
            continue;
        }
        let name = named.name.as_ref().filter(|name| single.contains(*name));
        if let Some(row) = row.filter(|row| row.gone && !renamed) {
            unname(t, folder, row.uid)?;
        } else if let (None, Some(name)) = (name, &named.name)
            && given_twice.insert(name)
            && let Some(uid) = number_of(t, folder, name)?
        {
            unname(t, folder, uid)?;
        }
        t.execute(
            "INSERT INTO uidl (folder, uid, name) VALUES (?, ?, ?)",
            params![folder, next, name],
        )?;
        if named.left_out {
            leave_out(t, folder, next)?;
        }
        messages.push(Numbered {
            uid: next,
            known: named.left_out,
        });
        next += 1;
    }
    Ok(messages)
}

fn leave_out(t: &Tables<'_>, folder: i64, uid: u32) -> Result<()> {
    let seen =
        "INSERT INTO seen (folder, uidvalidity, uid) VALUES (?, ?, ?) ON CONFLICT DO NOTHING";
    t.execute(seen, params![folder, LISTED, uid])?;
    Ok(())
}

/// Above every number in use, named or nameless.
fn next_number(t: &Tables<'_>, folder: i64) -> Result<u32> {
    Ok(t.conn
        .prepare_cached(
            "SELECT 1 + max((SELECT coalesce(max(uid), 0) FROM uidl WHERE folder = ?1),
                            (SELECT coalesce(max(uid), 0) FROM seen WHERE folder = ?1 AND uidvalidity = ?2))",
        )?
        .query_row(params![folder, NAMELESS], |row| row.get(0))?)
}

fn number_of(t: &Tables<'_>, folder: i64, name: &[u8]) -> Result<Option<u32>> {
    Ok(t.conn
        .prepare_cached("SELECT uid FROM uidl WHERE folder = ? AND name = ?")?
        .query_row(params![folder, name], |row| row.get(0))
        .optional()?)
}

fn without_name(t: &Tables<'_>, folder: i64) -> Result<Vec<u32>> {
    let mut statement = t
        .conn
        .prepare_cached("SELECT uid FROM uidl WHERE folder = ? AND name IS NULL")?;
    let rows = statement.query_map([folder], |row| row.get(0))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// From now on only its bytes tell this message.
fn unname(t: &Tables<'_>, folder: i64, uid: u32) -> Result<()> {
    for table in ["seen", "message"] {
        let sql = format!(
            "UPDATE {table} SET uidvalidity = ?4 WHERE folder = ?1 AND uidvalidity = ?2 AND uid = ?3"
        );
        t.execute(&sql, params![folder, LISTED, uid, NAMELESS])?;
    }
    t.execute(
        "DELETE FROM uidl WHERE folder = ? AND uid = ?",
        params![folder, uid],
    )?;
    Ok(())
}

fn unname_all(t: &Tables<'_>, folder: i64) -> Result<()> {
    for table in ["seen", "message"] {
        let sql =
            format!("UPDATE {table} SET uidvalidity = ?3 WHERE folder = ?1 AND uidvalidity = ?2");
        t.execute(&sql, params![folder, LISTED, NAMELESS])?;
    }
    t.execute("DELETE FROM uidl WHERE folder = ?", [folder])?;
    Ok(())
}

/// The folder and number of a message of a maildrop that is delivered.
fn delivered_key(t: &Tables<'_>, message: MessageId) -> Result<Option<(i64, u32)>> {
    Ok(t.conn
        .prepare_cached(
            "SELECT m.folder, m.uid FROM message m JOIN delivery d ON d.message = m.id
             WHERE m.id = ? AND m.uidvalidity = ? AND d.state = 'delivered'",
        )?
        .query_row(params![message.0, LISTED], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?)
}

/// A name that comes again may be another message's; a message without a name is known by its bytes from now on.
fn gone(t: &Tables<'_>, folder: i64, uid: u32) -> Result<()> {
    let named = "UPDATE uidl SET gone = 1 WHERE folder = ? AND uid = ? AND name IS NOT NULL";
    if t.execute(named, params![folder, uid])? == 0 {
        unname(t, folder, uid)?;
    }
    Ok(())
}
