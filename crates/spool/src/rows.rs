//! What several parts do to the rows: words, messages and bodies in and out, releases, times.

use rusqlite::{OptionalExtension, params};

use crate::body::{Body, Content};
use crate::error::Result;
use crate::own::Own;
use crate::tables::Tables;
use crate::{DeliveryId, Direction, Headline, MessageId};

/// Characters of a header field that lists show.
const HEADLINE: usize = 200;

impl Headline {
    /// As the tables keep it, and lists show it.
    pub(crate) fn shortened(&self) -> Self {
        let short = |text: &str| printable(cut(text, HEADLINE));
        Self {
            from: short(&self.from),
            subject: short(&self.subject),
            message_id: short(&self.message_id),
        }
    }
}

/// The columns of a new message that the two directions share.
pub(crate) struct NewMessage<'a> {
    pub(crate) direction: Direction,
    pub(crate) account: &'a str,
    pub(crate) headline: &'a Headline,
    /// Folder row, uidvalidity, uid.
    pub(crate) key: Option<(i64, u32, u32)>,
    /// Envelope sender, smtputf8, eight_bit.
    pub(crate) envelope: Option<(&'a str, bool, bool)>,
    pub(crate) size: u64,
    /// None: it cannot be fetched.
    pub(crate) body: Option<Body>,
    pub(crate) own: Option<&'a Own>,
}

/// Inserts a message and its body; the body's file stays once this is committed.
pub(crate) fn insert_message(t: &Tables<'_>, new: NewMessage<'_>) -> Result<MessageId> {
    let headline = new.headline.shortened();
    let (place, file, durable) = match new.body.as_ref() {
        None => ("none", None, true),
        Some(body) => match &body.content {
            Content::Inline(_) => ("inline", None, true),
            Content::File { place, durable } => ("file", Some(place.name()), *durable),
        },
    };
    let (folder, uidvalidity, uid) = new.key.map_or((None, None, None), |(folder, v, uid)| {
        (Some(folder), Some(v), Some(uid))
    });
    let (sender, smtputf8, eight_bit) = new
        .envelope
        .map_or((None, false, false), |(sender, u, e)| (Some(sender), u, e));
    t.execute(
        "INSERT INTO message (direction, account, folder, uidvalidity, uid, sender, smtputf8, eight_bit,
           header_from, header_subject, header_message_id, size, sha256, place, file, durable, taken_at, own, own_id)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        params![
            new.direction.as_str(),
            new.account,
            folder,
            uidvalidity,
            uid,
            sender,
            smtputf8,
            eight_bit,
            headline.from,
            headline.subject,
            headline.message_id,
            size_in(new.size),
            new.body.as_ref().map(|body| body.sha256),
            place,
            file,
            durable,
            t.now,
            new.own.map(|own| own.kind.as_str()),
            new.own.map(|own| &own.id),
        ],
    )?;
    let message = MessageId(t.conn.last_insert_rowid());
    if let Some(body) = new.body {
        if let Content::Inline(bytes) = &body.content {
            t.execute(
                "INSERT INTO body (message, bytes) VALUES (?, ?)",
                params![message.0, bytes],
            )?;
        }
        t.keep(body);
    }
    Ok(message)
}

/// Removes a message with its body and deliveries; its key stays. False: it was not there.
pub(crate) fn drop_message(t: &Tables<'_>, message: MessageId) -> Result<bool> {
    let file: Option<Option<String>> = t
        .conn
        .prepare_cached("DELETE FROM message WHERE id = ? RETURNING file")?
        .query_row([message.0], |row| row.get(0))
        .optional()?;
    let there = file.is_some();
    if let Some(name) = file.flatten() {
        t.remove_file(name);
    }
    Ok(there)
}

/// Removes an inbound message and its key, so that it is fetched again.
pub(crate) fn forget_message(t: &Tables<'_>, message: MessageId) -> Result<()> {
    t.execute(
        "DELETE FROM own WHERE (mailbox, id) = (SELECT account, own_id FROM message WHERE id = ?)",
        [message.0],
    )?;
    t.execute(
        "DELETE FROM seen WHERE (folder, uidvalidity, uid) =
           (SELECT folder, uidvalidity, uid FROM message WHERE id = ?)",
        [message.0],
    )?;
    t.execute(
        "UPDATE folder SET forgotten = forgotten + 1 WHERE id = (SELECT folder FROM message WHERE id = ?)",
        [message.0],
    )?;
    drop_message(t, message)?;
    Ok(())
}

/// Puts claims back untouched: the attempt is not counted, and they are due before anything that
/// came later. What is not claimed any more is left alone.
pub(crate) fn release(t: &Tables<'_>, deliveries: &[DeliveryId]) -> Result<()> {
    for delivery in deliveries {
        let account: Option<(String, String)> = t
            .conn
            .prepare_cached(
                "UPDATE delivery SET state = iif(hold_why IS NULL, 'due', 'held'),
                   due_at = iif(hold_why IS NULL, min(since, ?2), NULL), attempts = max(attempts - 1, 0),
                   held_at = iif(hold_why IS NULL, NULL, ?2), why = coalesce(hold_why, why), hold_why = NULL
                 WHERE id = ?1 AND state = 'claimed' RETURNING direction, account",
            )?
            .query_row(params![delivery.0, t.now], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .optional()?;
        if let Some((direction, account)) = account {
            t.touch(Direction::from_word(&direction), &account);
        }
    }
    Ok(())
}

/// What a claimant that is gone has left; `?1` is now, `?2` the pause of an outbound message, which may
/// have been on its way. The attempt stays counted, so that a message which ends its claimant each
/// time shows in the lists.
pub(crate) const PUT_BACK: &str = "UPDATE delivery SET state = iif(hold_why IS NULL, 'due', 'held'),
   due_at = CASE WHEN hold_why IS NOT NULL THEN NULL WHEN direction = 'out' THEN ?1 + ?2 ELSE min(since, ?1) END,
   held_at = iif(hold_why IS NULL, NULL, ?1), why = coalesce(hold_why, why), hold_why = NULL
 WHERE due_at IS NOT NULL AND state = 'claimed'";

/// The relay gets so many seconds to drop a dead connection before the message comes again.
pub(crate) const DEAD_PAUSE: i64 = 5;

/// The clock was set by `moved` seconds. What is due moves back with it, or it would wait for the
/// old time to come again; ages move both ways, or a clock that is first set after the start (no
/// battery) would make fresh mail decades old. A lease is a span of time: it moves both ways too, or
/// a clock set ahead (also by a suspended machine) would end it under a delivery that still runs.
pub(crate) fn move_times(t: &Tables<'_>, moved: i64) -> Result<()> {
    tracing::warn!(
        seconds = moved,
        "the system clock was set; the spool follows"
    );
    t.execute(
        "UPDATE delivery SET due_at = due_at + CASE state WHEN 'claimed' THEN ?1 ELSE min(?1, 0) END,
           since = min(since + ?1, ?2), blocked_since = min(blocked_since + ?1, ?2), held_at = min(held_at + ?1, ?2)",
        params![moved, t.now],
    )?;
    t.execute(
        "UPDATE folder SET whole_at = min(whole_at + ?1, ?2)",
        params![moved, t.now],
    )?;
    t.execute("UPDATE pause SET until = until + ?1", [moved])?;
    t.execute(
        "UPDATE message SET taken_at = min(taken_at + ?1, ?2)",
        params![moved, t.now],
    )?;
    Ok(())
}

/// At most `most` characters.
pub(crate) fn cut(text: &str, most: usize) -> &str {
    match text.char_indices().nth(most) {
        Some((end, _)) => &text[..end],
        None => text,
    }
}

/// A stranger's words, for a terminal: control characters become spaces.
pub(crate) fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

/// At most the last `most` bytes, on a character's boundary.
pub(crate) fn tail(text: &str, most: usize) -> &str {
    let start = text.len().saturating_sub(most);
    let start = (start..=text.len())
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(text.len());
    &text[start..]
}

/// A size as SQLite keeps it. None of ours comes near the end of an i64.
pub(crate) fn size_in(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

/// A size or count that SQLite kept.
pub(crate) fn unsigned(row: &rusqlite::Row<'_>, at: usize) -> rusqlite::Result<u64> {
    Ok(row.get::<_, i64>(at)?.max(0).unsigned_abs())
}

/// Lower-case hexadecimal, as hashes are shown.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
