//! Bodies from the server into the spool: small ones many a command, large ones in pieces, one command under way.
//!
//! A server may work on several FETCH commands at once and answer them in any order (RFC 9051 section 5.5; Dovecot does), so
//! commands are not pipelined here: one command streams many small messages, and a piece is large enough that the round trip
//! between two of them does not matter. Taking in overlaps the fetching all the same.

mod came;
mod pieces;

use std::collections::VecDeque;
use std::pin::Pin;

use futures_util::FutureExt as _;
use imap_proto::MessageSection;
use spool::{Headline, Incoming, Key, Spool, SpoolError, Taken, Unfetchable};
use token_store::accounts::Mailbox;
use tokio::sync::Notify;

use self::came::{Came, body_of};
use self::pieces::Partial;
use super::connection::{Connection, Said, Sent};
use super::folder::Folder;
use super::listing::Listed;
use super::names::uid_set;
use crate::error::FetchError;
use crate::headline::headline;

/// A message up to this size is fetched whole; a larger one in pieces of this size. One piece, or one whole message, and what is
/// being taken in are all that is ever in memory.
pub(crate) const PIECE: u32 = 512 * 1024;
/// Bytes asked for by one command of whole messages; they stream, so this bounds only how long acknowledging waits.
const BATCH_BYTES: u64 = 4 * 1024 * 1024;
/// Messages asked for by one command: keeps the line short (RFC 7162 section 4 recommends 8,192 bytes).
const BATCH: usize = 256;
/// A whole message may be so much larger than its RFC822.SIZE said (Exchange estimates it).
const WHOLE_LITERAL: u64 = 2 * PIECE as u64;
/// Headers kept of a message too large to fetch.
const HEADER: u32 = 64 * 1024;
/// Messages on their way into the spool at once; the writer commits them together.
const TAKING: usize = 128;
/// Bytes on their way into the spool at once.
const TAKING_BYTES: u64 = 2 * 1024 * 1024;

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

/// Fetches what is pending in one folder.
pub(crate) struct Intake<'a> {
    pub(crate) connection: &'a mut Connection,
    pub(crate) spool: &'a Spool,
    pub(crate) mailbox: &'a Mailbox,
    pub(crate) folder: &'a mut Folder,
    /// Told of every message taken in.
    pub(crate) taken: &'a Notify,
    uidvalidity: u32,
    /// Whether RFC822.SIZE is near enough to fetch messages whole.
    whole: bool,
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
        whole: bool,
    ) -> Self {
        let uidvalidity = folder.selected.map_or(0, |s| s.uidvalidity);
        let (taking, doubtful) = (VecDeque::new(), Vec::new());
        Self {
            connection,
            spool,
            mailbox,
            folder,
            taken,
            uidvalidity,
            whole,
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
        self.whole
            && listed
                .size
                .is_some_and(|s| s <= PIECE && u64::from(s) <= self.mailbox.max_size)
    }

    fn front_is_whole(&self) -> bool {
        self.folder
            .pending
            .front()
            .is_some_and(|l| self.is_whole(l))
    }

    /// Takes the next job off the pending list: a run of small messages, or one large one.
    fn next_job(&mut self, room: usize) -> Option<Job> {
        if room == 0 {
            return None;
        }
        if !self.front_is_whole() {
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
        while self.front_is_whole() && batch.len() < room.min(BATCH) {
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
        }
        Some(Job::Whole(batch))
    }

    /// Fetches small messages whole. A UID without an answer has vanished meanwhile and is skipped.
    async fn whole_messages(&mut self, mut batch: Vec<Listed>) -> Result<(), FetchError> {
        self.connection.expect_literals_up_to(Some(WHOLE_LITERAL));
        let uids: Vec<u32> = batch.iter().map(|l| l.uid).collect();
        let line = format!("UID FETCH {} (UID BODY.PEEK[])", uid_set(&uids));
        let sent = self.connection.send("UID FETCH", &line).await?;
        loop {
            let Came { uid, bytes, .. } = match self.next_body(&sent, None).await? {
                Some(Some(body)) => body,
                Some(None) => continue,
                None => break,
            };
            let Ok(at) = batch.binary_search_by_key(&uid, |l| l.uid) else {
                continue;
            };
            let listed = batch.remove(at);
            self.whole_body(listed, &bytes).await?;
        }
        for gone in batch {
            tracing::debug!(
                mailbox = self.mailbox.name,
                folder = self.folder.name,
                uid = gone.uid,
                "vanished before it was fetched"
            );
            self.folder.done(gone.uid);
        }
        Ok(())
    }

    async fn whole_body(&mut self, listed: Listed, bytes: &[u8]) -> Result<(), FetchError> {
        if bytes.is_empty() {
            self.put_off(listed.uid, "its body is empty");
            return Ok(());
        }
        if bytes.len() as u64 > self.mailbox.max_size {
            let headline = headline(bytes);
            return self.hold(listed.uid, bytes.len() as u64, headline).await;
        }
        let mut body = self.spool.body();
        body.write(bytes).await?;
        let partial = Partial {
            headline: headline(bytes),
            body,
            listed,
        };
        if partial.short() {
            self.doubtful.push(partial);
            return Ok(());
        }
        self.take(partial).await
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

    fn put_off(&mut self, uid: u32, why: &'static str) {
        if self.folder.put_off(uid) {
            tracing::warn!(
                mailbox = self.mailbox.name,
                folder = self.folder.name,
                uid,
                why,
                "not taken in; looked at again later"
            );
        }
    }

    /// Hands a complete message to the spool and goes on; messages are taken in the order of these calls.
    async fn take(&mut self, partial: Partial) -> Result<(), FetchError> {
        let (uid, bytes) = (partial.listed.uid, partial.body.len());
        // The mailbox still holds the message, and a torn body is recognised: no wait for the disk.
        let body = partial.body.finish(false).await?;
        tracing::debug!(
            mailbox = self.mailbox.name,
            folder = self.folder.name,
            uid,
            sha256 = crate::hex(&body.sha256),
            bytes,
            "fetched"
        );
        let incoming = Incoming {
            key: self.key(uid),
            headline: partial.headline,
            body,
        };
        let spool = self.spool.clone();
        let mut taking: Taking = Box::pin(async move { spool.take_in(incoming).await });
        // The first poll queues it with the writer: this is what keeps the order.
        match taking.as_mut().now_or_never() {
            Some(taken) => self.took(uid, taken?),
            None => {
                self.taking_bytes += bytes;
                self.taking.push_back((bytes, uid, taking));
            }
        }
        self.drain(TAKING).await
    }

    /// Waits until at most `left` messages are on their way, and collects those that are through.
    async fn drain(&mut self, left: usize) -> Result<(), FetchError> {
        while let Some((bytes, uid, mut taking)) = self.taking.pop_front() {
            let full = self.taking.len() >= left || self.taking_bytes > TAKING_BYTES;
            let taken = if full {
                taking.await
            } else if let Some(taken) = taking.as_mut().now_or_never() {
                taken
            } else {
                self.taking.push_front((bytes, uid, taking));
                return Ok(());
            };
            self.taking_bytes -= bytes;
            self.took(uid, taken?);
        }
        Ok(())
    }

    fn took(&mut self, uid: u32, taken: Taken) {
        self.folder.done(uid);
        self.count += 1;
        if let Taken::New(message) = taken {
            tracing::debug!(
                mailbox = self.mailbox.name,
                folder = self.folder.name,
                uid,
                queue_id = message.0,
                "taken in"
            );
            self.taken.notify_one();
        }
    }

    fn key(&self, uid: u32) -> Key {
        Key {
            mailbox: self.mailbox.name.clone(),
            folder: self.folder.name.clone(),
            uidvalidity: self.uidvalidity,
            uid,
        }
    }

    /// Fetches only the headers of a message over the limit, and holds it.
    async fn too_big(&mut self, listed: Listed) -> Result<(), FetchError> {
        let uid = listed.uid;
        self.connection
            .expect_literals_up_to(Some(u64::from(HEADER)));
        let line = format!("UID FETCH {uid} (UID BODY.PEEK[HEADER]<0.{HEADER}>)");
        let sent = self.connection.send("UID FETCH", &line).await?;
        let mut found = None;
        while let Some(body) = self.next_body(&sent, Some(&MessageSection::Header)).await? {
            if let Some(body) = body.filter(|b| b.uid == uid) {
                found = Some(headline(&body.bytes));
            }
        }
        match found {
            Some(headline) => {
                self.hold(uid, listed.size.map_or(0, u64::from), headline)
                    .await
            }
            None => Ok(()),
        }
    }

    async fn hold(&mut self, uid: u32, size: u64, headline: Headline) -> Result<(), FetchError> {
        let why = format!(
            "larger than this mailbox's max_size of {} bytes; it stays in the mailbox",
            self.mailbox.max_size
        );
        tracing::warn!(
            mailbox = self.mailbox.name,
            folder = self.folder.name,
            uid,
            size,
            "held: {why}"
        );
        self.spool
            .hold_unfetched(Unfetchable {
                key: self.key(uid),
                headline,
                size,
                why,
            })
            .await?;
        self.folder.done(uid);
        Ok(())
    }
}
