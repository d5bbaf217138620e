//! Bodies from the server into the spool: small ones many a command, large ones in pieces, one command under way.
//!
//! A server may work on several FETCH commands at once and answer them in any order (RFC 9051 section 5.5; Dovecot does), so
//! commands are not pipelined here: one command streams many small messages, and a piece is large enough that the round trip
//! between two of them does not matter. Taking in overlaps the fetching all the same.

pub(super) mod came;
mod oversize;
mod pieces;
mod taking;
mod whole;

use std::collections::VecDeque;
use std::pin::Pin;

use imap_proto::MessageSection;
use spool::{Key, Marks, Spool, SpoolError, Taken};
use token_store::accounts::Mailbox;
use tokio::sync::Notify;

use self::came::{Came, body_of};
use self::pieces::Partial;
use super::connection::{Connection, Said, Sent};
use super::folder::Folder;
use super::listing::Listed;
use super::session::Memory;
use crate::error::FetchError;
use crate::loops::{Limits, marks};

/// A message up to this size is fetched whole; a larger one in pieces of this size. One piece, or one whole message, and what is
/// being taken in are all that is ever in memory.
pub(crate) const PIECE: u32 = 512 * 1024;
/// Bytes asked for by one command of whole messages; they stream, so this bounds only how long acknowledging waits.
const BATCH_BYTES: u64 = 4 * 1024 * 1024;
/// Messages asked for by one command: keeps the line short (RFC 7162 section 4 recommends 8,192 bytes).
const BATCH: usize = 256;

/// Why fetching stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Nothing is pending.
    Empty,
    /// As many undelivered messages as the mailbox may have.
    Full,
    /// The caller wanted a pause.
    Paused,
}

type Taking = Pin<Box<dyn Future<Output = Result<Taken, SpoolError>> + Send>>;

/// What is known of the server and of earlier sessions.
pub(crate) struct Source<'a> {
    /// Whether RFC822.SIZE is near enough to fetch messages whole.
    pub(crate) whole: bool,
    /// Whether it has Gmail's own items (X-GM-EXT-1).
    pub(crate) gmail: bool,
    pub(crate) memory: &'a Memory,
}

/// Fetches what is pending in one folder.
pub(crate) struct Intake<'a> {
    pub(crate) connection: &'a mut Connection,
    pub(crate) spool: &'a Spool,
    pub(crate) mailbox: &'a Mailbox,
    pub(crate) folder: &'a mut Folder,
    /// Told of every message taken in.
    pub(crate) taken: &'a Notify,
    uidvalidity: u32,
    source: Source<'a>,
    taking: VecDeque<(u64, u32, Taking)>,
    taking_bytes: u64,
    /// Shorter than announced: to be asked whether they end there.
    doubtful: Vec<Partial>,
    /// Messages taken in so far.
    count: usize,
}

/// What is fetched next.
enum Job {
    Whole(Vec<Listed>),
    Pieces(Listed),
    TooBig(Listed),
}

impl<'a> Intake<'a> {
    pub(crate) fn new(
        connection: &'a mut Connection,
        spool: &'a Spool,
        mailbox: &'a Mailbox,
        folder: &'a mut Folder,
        taken: &'a Notify,
        source: Source<'a>,
    ) -> Self {
        let uidvalidity = folder.uidvalidity();
        let (taking, doubtful) = (VecDeque::new(), Vec::new());
        Self {
            connection,
            spool,
            mailbox,
            folder,
            taken,
            uidvalidity,
            source,
            taking,
            taking_bytes: 0,
            doubtful,
            count: 0,
        }
    }

    /// Fetches until nothing is pending, no room is left, or `pause` says so between two commands.
    pub(crate) async fn run(
        &mut self,
        mut pause: impl FnMut(usize) -> bool,
    ) -> Result<(Stop, usize), FetchError> {
        let stop = loop {
            let room = self.room()?;
            match self.next_job(room) {
                None if room == 0 && !self.folder.pending.is_empty() => break Stop::Full,
                None => break Stop::Empty,
                Some(Job::Whole(batch)) => self.whole_messages(batch).await?,
                Some(Job::Pieces(listed)) => self.pieces(listed).await?,
                Some(Job::TooBig(listed)) => self.too_big(listed).await?,
            }
            self.resolve_doubts().await?;
            self.source.memory.answered();
            if pause(self.count) {
                break Stop::Paused;
            }
        };
        self.drain(0).await?;
        self.connection.expect_literals_up_to(None);
        Ok((stop, self.count))
    }

    /// How many more messages may be taken in.
    fn room(&self) -> Result<usize, FetchError> {
        let cap = usize::try_from(self.mailbox.max_undelivered.max(1)).unwrap_or(usize::MAX);
        let undelivered =
            usize::try_from(self.spool.undelivered(&self.mailbox.name)?).unwrap_or(usize::MAX);
        Ok(cap
            .saturating_sub(undelivered)
            .saturating_sub(self.taking.len()))
    }

    fn is_whole(&self, listed: &Listed) -> bool {
        self.source.whole
            && listed
                .size
                .is_some_and(|s| s <= PIECE && u64::from(s) <= self.mailbox.max_size)
    }

    /// With how many others the next pending message may share a command; 0 if it can't share one.
    fn front_shares(&self) -> usize {
        match self.folder.pending.front() {
            Some(listed) if !self.is_whole(listed) => 0,
            Some(listed) if self.folder.alone.contains(&listed.uid) => 1,
            Some(listed) => self
                .source
                .memory
                .group(&self.folder.name, self.uidvalidity, listed.uid)
                .map_or(0, |group| group.min(BATCH)),
            None => 0,
        }
    }

    /// Takes the next job off the pending list: a run of small messages, or one large one.
    fn next_job(&mut self, room: usize) -> Option<Job> {
        if room == 0 {
            return None;
        }
        self.pass_over_outcasts();
        let mut most = self.front_shares().min(room);
        if most == 0 {
            let listed = self.folder.pending.pop_front()?;
            let too_big = listed
                .size
                .is_some_and(|s| u64::from(s) > self.mailbox.max_size);
            return Some(if too_big {
                Job::TooBig(listed)
            } else {
                Job::Pieces(listed)
            });
        }
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while batch.len() < most {
            let size = self
                .folder
                .pending
                .front()
                .and_then(|l| l.size)
                .map_or(0, u64::from);
            if !batch.is_empty() && bytes + size > BATCH_BYTES {
                break;
            }
            bytes += size;
            batch.extend(self.folder.pending.pop_front());
            most = most.min(self.front_shares());
        }
        Some(Job::Whole(batch))
    }

    /// Puts off messages over which the connection broke again and again.
    fn pass_over_outcasts(&mut self) {
        while let Some(uid) = self.folder.pending.front().map(|l| l.uid)
            && self
                .source
                .memory
                .group(&self.folder.name, self.uidvalidity, uid)
                .is_none()
        {
            self.folder.pending.pop_front();
            self.put_off(uid, "the connection broke each time it was fetched");
        }
    }

    /// The items that come beside a body.
    fn items(&self) -> &'static str {
        if self.source.gmail {
            "UID X-GM-MSGID"
        } else {
            "UID"
        }
    }

    /// Sends a command for these bodies, and remembers them until it is answered.
    async fn ask(&mut self, uids: &[u32], line: &str) -> Result<Sent, FetchError> {
        let uids = uids.iter().copied();
        self.source
            .memory
            .asks(&self.folder.name, self.uidvalidity, uids);
        self.connection.send("UID FETCH", line).await
    }

    /// The next response to a FETCH: None at its tagged OK, Some(None) if it brings no body.
    async fn next_body(
        &mut self,
        sent: &Sent,
        section: Option<&MessageSection>,
    ) -> Result<Option<Option<Came>>, FetchError> {
        match self
            .connection
            .next(sent, |response| body_of(response, section))
            .await?
        {
            Said::Untagged(body) => Ok(Some(body)),
            Said::Done(_) => Ok(None),
            Said::Go(_) => Err(FetchError::Again(
                "the server asked for more after UID FETCH".into(),
            )),
        }
    }

    fn put_off(&mut self, uid: u32, why: &str) {
        if self.folder.put_off(uid, why) {
            self.tell_put_off(uid, why);
        }
    }

    fn came_short(&mut self, uid: u32, why: &str) {
        if self.folder.came_short(uid, why) {
            self.tell_put_off(uid, why);
        }
    }

    fn tell_put_off(&self, uid: u32, why: &str) {
        tracing::warn!(
            mailbox = self.mailbox.name,
            folder = self.folder.name,
            uid,
            why,
            "not taken in; looked at again later"
        );
    }

    /// What the beginning of a message tells of loops.
    fn marks(&self, bytes: &[u8]) -> Marks {
        let limits = Limits {
            max_received: self.mailbox.care.max_received,
            address: &self.mailbox.user,
        };
        marks(bytes, limits, |origin| self.spool.own(origin))
    }

    fn key(&self, uid: u32) -> Key {
        Key {
            mailbox: self.mailbox.name.clone(),
            folder: self.folder.name.clone(),
            uidvalidity: self.uidvalidity,
            uid,
        }
    }
}
