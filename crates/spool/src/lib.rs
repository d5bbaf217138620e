//! Every message in flight, both ways.
//!
//! The spool is `spool.db` and the folder `spool/` in the state directory. A message is a row of
//! `message`, its body a row of `body` or (above 256 KiB) a file, and each thing to be done
//! with it a row of `delivery`: one for an inbound message, one per recipient for an outbound one.
//!
//! Inbound: the fetcher asks which UIDs are [`unknown`](Spool::unknown), streams each into a
//! [`BodyWriter`] and [takes it in](Spool::take_in); it [claims](Spool::claim_in) what is due, delivers
//! it, and [settles](Spool::settle) the outcome; what is delivered is
//! [to be acknowledged](Spool::to_acknowledge), and when the mailbox was told, it is
//! [acknowledged](Spool::acknowledged): the message goes, its key stays in `seen` for good. A POP3 listing is
//! [recognised](Spool::recognise_names) as a whole first, which gives each of its names the UID that the rest works with.
//!
//! What a server asked to be left alone for is a [pause](Spool::keep_pause) of that account, which outlives a restart.
//!
//! A message of our own making (a bounce, say) may be [taken in](Spool::take_in_local) for a mailbox's ticket command too; it is delivered
//! like the others, and goes when it is.
//!
//! Outbound: the submission server streams a body and [takes the message out](Spool::take_out) before it says
//! 250; the sender [claims](Spool::claim_out) what is due for a relay and settles each recipient; with
//! the last one the message goes. Messages of one conversation are claimed one after the other for each recipient.
//!
//! What must hold:
//! - Every async method that writes returns only after its commit, fsync included.
//! - One commit decides whether a message exists. A file is written before a row names it (and is on
//!   disk by then, for an outbound message), and removed after no row does; what a crash leaves between the two is swept by [`Spool::open`].
//! - A claim is a lease with an end. A delivery has one claimant until it is settled, released, or the lease
//!   has ended; attempts are counted when they begin.
//! - [`schedule::next`] alone decides what follows an outcome. Nothing is thrown away but by a person:
//!   what cannot be delivered is held.
//! - Dropping any future is safe. What was queued is committed all the same, except a claim, which
//!   is put back.
//!
//! One thread writes, and groups what waits into one transaction. Reads are synchronous, take
//! microseconds, and never wait for the writer. The fetcher, the sender, the admin page and the command line
//! call this crate; it knows nothing of them.

mod backup;
mod body;
mod claim;
mod clock;
pub mod dsn;
mod error;
mod flagged;
mod held;
mod hint;
mod housekeeper;
mod identity;
mod inbound;
mod kept;
mod lease;
mod left_out;
mod open;
mod outbound;
pub mod outcome;
mod own;
mod pause;
mod person;
mod pieces;
mod queue;
mod reads;
mod repeat;
pub mod report;
mod reroute;
mod reused;
mod rows;
pub mod schedule;
mod search;
mod sent;
mod sweep;
mod tables;
mod tally;
mod thread;
mod uidl;
mod writer;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rusqlite::{Connection, OptionalExtension};
use tokio::sync::Notify;

pub use body::{Body, BodyWriter, Stored};
pub use error::{Result, SpoolError};
pub use held::HeldReport;
pub use inbound::{InClaim, Incoming, Key, Taken, Unfetchable};
pub use kept::Keeping;
pub use left_out::Fingerprint;
pub use outbound::{OutClaim, OutRecipient, Outgoing, Recipient, TakenOut};
pub use outcome::Outcome;
pub use own::{Local, Marks, ORIGIN_HEADER, Own, OwnKind};
pub use pause::{Pause, PauseKind};
pub use pieces::Pieces;
pub use queue::{Counts, QueueDelivery, QueueEntry, QueueRow};
pub use search::{Part, Search};
pub use uidl::{Named, Numbered, Recognised};

use clock::Clock;
use hint::Hints;
use housekeeper::Housekeeper;
use reads::Readers;
use tables::Tables;
use writer::{Start, Writer};

/// Names a message; never given twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageId(pub i64);

/// Names a delivery; never given twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeliveryId(pub i64);

/// From a mailbox, or to a relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// From a mailbox to the ticket system.
    In,
    /// From the ticket system to a relay.
    Out,
}

impl Direction {
    /// The word in the tables and in lists.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::In => "in",
            Self::Out => "out",
        }
    }

    /// The tables hold no third word.
    pub(crate) fn from_word(word: &str) -> Self {
        if word == "in" { Self::In } else { Self::Out }
    }
}

/// Header fields for lists, as text, cut to 200 characters.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Headline {
    /// From.
    pub from: String,
    /// Subject.
    pub subject: String,
    /// Message-ID.
    pub message_id: String,
}

/// All mail in flight. Clone is cheap. Every async method returns only after its commit (fsync).
/// Dropping the last clone waits for what is queued; [`Spool::close`] does so without blocking a
/// worker.
#[derive(Clone)]
pub struct Spool {
    inner: Arc<Inner>,
}

struct Inner {
    writer: Writer,
    reads: Readers,
    hints: Arc<Hints>,
    clock: Clock,
    /// `spool/`.
    folder: Arc<Path>,
    /// What our own messages are known by.
    instance: String,
}

impl Spool {
    /// Opens `dir/spool.db` and `dir/spool/`, made if they are missing; verifies them, sweeps orphan
    /// files, forgets torn inbound bodies, releases the leases of an earlier process. The caller holds the state directory's
    /// lock: no other process has opened this spool so. Reads the whole database, so not on an
    /// async worker that others wait for.
    pub fn open(dir: &Path) -> Result<Self> {
        Self::open_at(dir, Clock::system())
    }

    /// For commands beside a running daemon: same tables, no sweep, no release, nothing made or
    /// migrated. Hints don't reach the other process, which finds what changed when it looks next.
    pub fn open_beside(dir: &Path) -> Result<Self> {
        Self::start(dir, open::join(dir)?, Clock::system(), false)
    }

    fn open_at(dir: &Path, clock: Clock) -> Result<Self> {
        let conn = open::prepare(dir)?;
        let tables = Tables::new(&conn, clock.seconds());
        let (_, folder) = open::paths(dir);
        tables.execute("BEGIN IMMEDIATE", ())?;
        sweep::sweep(&tables, &folder)?;
        tables.execute("COMMIT", ())?;
        tables.remove_dropped(&folder);
        Self::start(dir, conn, clock, true)
    }

    fn start(dir: &Path, conn: Connection, clock: Clock, owner: bool) -> Result<Self> {
        let (database, folder) = open::paths(dir);
        let folder: Arc<Path> = folder.into();
        let hints = Arc::new(Hints::default());
        let instance = conn.query_row("SELECT id FROM instance", (), |row| row.get(0))?;
        let housekeeper = Housekeeper::start(
            open::connect(&database)?,
            database.clone(),
            Arc::clone(&folder),
        )?;
        let writer = Writer::start(Start {
            conn,
            clock: clock.clone(),
            hints: Arc::clone(&hints),
            housekeeper,
            owner,
        })?;
        Ok(Self {
            inner: Arc::new(Inner {
                writer,
                reads: Readers::new(database),
                hints,
                clock,
                folder,
                instance,
            }),
        })
    }

    /// Takes no more changes, and returns when those that wait are committed. Reads still work.
    pub async fn close(&self) {
        self.inner.writer.close().await;
    }

    /// A body to be written, for [`Spool::take_in`] or [`Spool::take_out`].
    pub fn body(&self) -> BodyWriter {
        BodyWriter::new(Arc::clone(&self.inner.folder))
    }

    /// A message's body. [`SpoolError::Gone`]: it is not in the spool any more, or was never fetched.
    /// [`SpoolError::Torn`]: it is not what was taken; hold it, never deliver it.
    pub async fn open_body(&self, message: MessageId) -> Result<Stored> {
        let (size, file, bytes) = self
            .inner
            .reads
            .with(|conn| {
                Ok(conn
                    .prepare_cached(
                        "SELECT size, file, bytes FROM message LEFT JOIN body ON message = id
                         WHERE id = ? AND place <> 'none'",
                    )?
                    .query_row([message.0], |row| {
                        let bytes: Option<Vec<u8>> = row.get(2)?;
                        Ok((
                            rows::unsigned(row, 0)?,
                            row.get::<_, Option<String>>(1)?,
                            bytes,
                        ))
                    })
                    .optional()?)
            })?
            .ok_or(SpoolError::Gone(message))?;
        if let Some(bytes) = bytes {
            return Ok(Stored::Inline(bytes));
        }
        let path = self.inner.folder.join(file.unwrap_or_default());
        let torn = |why: String| SpoolError::Torn { message, why };
        let opened = std::fs::File::open(&path).and_then(|file| {
            let length = file.metadata()?.len();
            Ok((file, length))
        });
        match opened {
            Ok((file, length)) if length == size => Ok(Stored::File(file)),
            Ok((_, length)) => Err(torn(format!(
                "{} has {length} of {size} bytes",
                path.display()
            ))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Err(torn(format!("{} is missing", path.display())))
            }
            Err(error) => Err(SpoolError::io("opening", &path, error)),
        }
    }

    /// A hint that something changed for an account (taken in, settled, retried); may be lost or
    /// superfluous. Each caller has its own: take it once, before the loop that waits on it.
    pub fn hint(&self, direction: Direction, account: &str) -> Arc<Notify> {
        self.inner.hints.listen(direction, account)
    }

    /// SQLite's own check of the whole database, which [`Spool::open`] has made already. Reads all of it.
    pub fn check_integrity(&self) -> Result<()> {
        self.inner
            .reads
            .with(|conn| open::check_integrity(conn, self.inner.reads.database()))
    }

    /// Bytes free on the spool's disk, for 452.
    pub fn free_bytes(&self) -> Result<u64> {
        let disk = rustix::fs::statvfs(&*self.inner.folder)
            .map_err(|e| SpoolError::io("asking the space of", &self.inner.folder, e.into()))?;
        Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
    }

    /// Transactions committed by this process since it opened the spool.
    pub fn commits(&self) -> u64 {
        self.inner.writer.commits.load(Ordering::Relaxed)
    }
}
