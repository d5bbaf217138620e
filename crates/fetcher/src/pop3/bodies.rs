//! Bodies from the server into the spool: RETRs sent ahead within a window, each answer streamed, the commits beside it.

use std::collections::VecDeque;

use spool::{Headline, Key, Spool, Unfetchable};
use token_store::accounts::Mailbox;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;

use super::connection::{Connection, Incoming};
use super::listing::{Listed, headers, top};
use super::memory::Memory;
use super::taking::Taking;
use crate::error::FetchError;
use crate::headline::headline;
use crate::loops::{Limits, marks};

/// Commands sent ahead of their answers: together they are far smaller than any socket's buffer, so that sending never waits for a server
/// that waits for us to read.
const AHEAD: usize = 64;
/// Bytes asked for ahead; they stream, so this bounds only how long a shutdown or an acknowledgement waits.
const AHEAD_BYTES: u64 = 2 * 1024 * 1024;
/// The beginning of a message that is looked at for lists.
const HEADER: usize = 64 * 1024;
/// So many bytes of a message over the limit are read past to save the session; more, and the connection is closed.
const READ_PAST: u64 = 4 * 1024 * 1024;

/// A message to be fetched.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) uid: u32,
    pub(super) listed: Listed,
}

/// Why fetching stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// Nothing is left to fetch.
    Empty,
    /// As many undelivered messages as the mailbox may have.
    Full,
    /// The caller wanted a pause.
    Paused,
}

/// Fetches what is pending.
pub(super) struct Intake<'a, S> {
    connection: &'a mut Connection<S>,
    spool: &'a Spool,
    mailbox: &'a Mailbox,
    memory: &'a Memory,
    pending: &'a mut VecDeque<Job>,
    /// Whether commands may be sent ahead.
    ahead: bool,
    sent: VecDeque<Job>,
    sent_bytes: u64,
    taking: Taking<'a>,
    /// Messages that were listed and not taken in.
    skipped: usize,
    piece: Vec<u8>,
}

/// How a run of fetching ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fetched {
    pub(super) stop: Stop,
    /// Messages taken in.
    pub(super) taken: usize,
    /// Messages that were asked for and put off.
    pub(super) skipped: usize,
}

/// What a session lends to the fetching.
pub(super) struct Means<'a, S> {
    pub(super) connection: &'a mut Connection<S>,
    pub(super) spool: &'a Spool,
    pub(super) mailbox: &'a Mailbox,
    pub(super) memory: &'a Memory,
    pub(super) taken: &'a Notify,
    pub(super) ahead: bool,
}

impl<'a, S: AsyncRead + AsyncWrite + Unpin> Intake<'a, S> {
    pub(super) fn new(means: Means<'a, S>, pending: &'a mut VecDeque<Job>) -> Self {
        let Means {
            connection,
            spool,
            mailbox,
            memory,
            taken,
            ahead,
        } = means;
        Self {
            connection,
            spool,
            mailbox,
            memory,
            pending,
            ahead,
            sent: VecDeque::new(),
            sent_bytes: 0,
            taking: Taking::new(spool, &mailbox.name, taken),
            skipped: 0,
            piece: Vec::new(),
        }
    }

    /// Fetches until nothing is pending, no room is left, or `pause` says so; what was sent ahead is read in any case.
    pub(super) async fn run(
        &mut self,
        mut pause: impl FnMut(usize) -> bool,
    ) -> Result<Fetched, FetchError> {
        let stop = loop {
            let paused = pause(self.taking.count);
            if !paused {
                self.send_ahead().await?;
            }
            let Some(job) = self.sent.pop_front() else {
                break match (paused, self.pending.is_empty()) {
                    (true, _) => Stop::Paused,
                    (false, true) => Stop::Empty,
                    (false, false) => Stop::Full,
                };
            };
            self.sent_bytes -= weight(&job);
            let result = self.receive(&job).await;
            if let Err(FetchError::Again(_)) = &result {
                self.memory.broke(&job.listed);
            }
            result?;
        };
        self.taking.drain(0).await?;
        Ok(Fetched {
            stop,
            taken: self.taking.count,
            skipped: self.skipped,
        })
    }

    /// Keeps the window of commands under way filled; half of it at a time, so that many go in one write.
    async fn send_ahead(&mut self) -> Result<(), FetchError> {
        let window = if self.ahead { AHEAD } else { 1 };
        if self.sent.len() > window / 2 || self.sent_bytes > AHEAD_BYTES / 2 {
            return Ok(());
        }
        let mut room = self.room()?;
        let mut commands = String::new();
        while self.sent.len() < window && room > 0 {
            let Some(next) = self.pending.front() else {
                break;
            };
            let alone = self.memory.breaks(&next.listed);
            let full = self.sent_bytes + weight(next) > AHEAD_BYTES;
            if !self.sent.is_empty() && (alone || full) {
                break;
            }
            commands.push_str(&match self.too_big(next) {
                true => top(next.listed.number),
                false => format!("RETR {}\r\n", next.listed.number),
            });
            self.sent_bytes += weight(next);
            self.sent.extend(self.pending.pop_front());
            room -= 1;
            if alone {
                break;
            }
        }
        if commands.is_empty() {
            return Ok(());
        }
        self.connection.send("RETR", &commands).await
    }

    /// How many more messages may be asked for.
    fn room(&self) -> Result<usize, FetchError> {
        let cap = usize::try_from(self.mailbox.max_undelivered.max(1)).unwrap_or(usize::MAX);
        let undelivered =
            usize::try_from(self.spool.undelivered(&self.mailbox.name)?).unwrap_or(usize::MAX);
        Ok(cap
            .saturating_sub(undelivered)
            .saturating_sub(self.taking.len())
            .saturating_sub(self.sent.len()))
    }

    fn too_big(&self, job: &Job) -> bool {
        job.listed
            .size
            .is_some_and(|size| size > self.mailbox.max_size)
    }

    async fn receive(&mut self, job: &Job) -> Result<(), FetchError> {
        if self.too_big(job) {
            let found = headers(self.connection, job.listed.number).await?;
            let headline = headline(&found.unwrap_or_default());
            let size = job.listed.size.unwrap_or_default();
            return self.hold(job, size, headline).await;
        }
        match self.connection.ok("RETR").await {
            Ok(_) => self.body(job).await,
            Err(FetchError::Refused(refusal)) => {
                self.put_off(job, &refusal.to_string());
                Ok(())
            }
            Err(e) => Err(e),
        }
    }

    /// Streams a body into the spool. Nothing is taken in before its end has come.
    async fn body(&mut self, job: &Job) -> Result<(), FetchError> {
        let mut incoming = Incoming::new();
        let (mut body, mut head) = (self.spool.body(), Vec::new());
        let mut received = 0_u64;
        loop {
            self.piece.clear();
            let end = self
                .connection
                .piece("RETR", &mut incoming, &mut self.piece)
                .await?;
            received += self.piece.len() as u64;
            let room = HEADER - head.len();
            head.extend_from_slice(&self.piece[..self.piece.len().min(room)]);
            if received <= self.mailbox.max_size {
                body.write(&self.piece).await?;
            }
            if end {
                break;
            }
            if received > self.mailbox.max_size.saturating_add(READ_PAST) {
                self.hold(job, received, headline(&head)).await?;
                return Err(FetchError::Again(format!(
                    "message {} is far larger than listed; it is held, and the connection was closed",
                    job.listed.number
                )));
            }
        }
        let headline = headline(&head);
        if received > self.mailbox.max_size {
            drop(body);
            return self.hold(job, received, headline).await;
        }
        if received == 0 {
            self.put_off(job, "its body is empty");
            return Ok(());
        }
        if received < job.listed.size.unwrap_or(0) / 2 && !self.memory.insisted(&job.listed) {
            self.put_off(job, "less than half of its announced size came");
            return Ok(());
        }
        let limits = Limits {
            max_received: self.mailbox.care.max_received,
            address: &self.mailbox.user,
        };
        let marks = marks(&head, limits, |origin| self.spool.own(origin));
        self.taking.take(job.uid, headline, marks, body).await
    }

    fn put_off(&mut self, job: &Job, why: &str) {
        self.skipped += 1;
        if self.memory.put_off(&job.listed) {
            tracing::warn!(
                mailbox = self.mailbox.name,
                number = job.listed.number,
                why,
                "not taken in; looked at again later"
            );
        }
    }

    async fn hold(&mut self, job: &Job, size: u64, headline: Headline) -> Result<(), FetchError> {
        let why = format!(
            "larger than this mailbox's max_size of {} bytes; it stays in the mailbox",
            self.mailbox.max_size
        );
        tracing::warn!(
            mailbox = self.mailbox.name,
            number = job.listed.number,
            size,
            "held: {why}"
        );
        let key = Key::of_maildrop(&self.mailbox.name, job.uid);
        self.spool
            .hold_unfetched(Unfetchable {
                key,
                headline,
                size,
                why,
            })
            .await?;
        Ok(())
    }
}

/// What a message weighs in the window.
fn weight(job: &Job) -> u64 {
    job.listed.size.unwrap_or(0)
}
