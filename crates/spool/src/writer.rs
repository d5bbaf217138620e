//! The one writer: takes what waits, runs it in one transaction, commits once, then answers all.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use crate::body::Body;
use crate::clock::{Clock, Reading, jump};
use crate::error::{Result, SpoolError};
use crate::hint::Hints;
use crate::housekeeper::{self, Housekeeper};
use crate::lease::Returned;
use crate::tables::Tables;
use crate::{DeliveryId, rows};

/// Jobs that may wait; further callers wait for a place. Twice a group, so that the next group fills
/// while one is committed.
const QUEUE: usize = 256;

/// Jobs in one transaction. Beyond this the fsync costs little beside the rows, and the first
/// caller waits for the last.
const GROUP: usize = 128;

/// Something to do inside a transaction, and somebody to answer after it.
trait Job: Send {
    /// Does it; false: its savepoint is rolled back.
    fn run(&mut self, tables: &Tables<'_>) -> bool;
    /// Answers, now that the group's transaction is committed or failed.
    fn answer(self: Box<Self>, committed: Result<()>);
}

struct Call<T, F> {
    work: Option<F>,
    result: Option<Result<T>>,
    caller: oneshot::Sender<Result<T>>,
}

impl<T, F> Job for Call<T, F>
where
    T: Send,
    F: FnOnce(&Tables<'_>) -> Result<T> + Send,
{
    fn run(&mut self, tables: &Tables<'_>) -> bool {
        let result = self.work.take().map(|work| work(tables));
        let ok = matches!(result, Some(Ok(_)));
        self.result = result;
        ok
    }

    fn answer(mut self: Box<Self>, committed: Result<()>) {
        // What was never run takes its body along before the caller hears of it.
        self.work = None;
        let answer = match (self.result, committed) {
            (Some(Ok(value)), Ok(())) => Ok(value),
            (Some(Err(error)), _) | (_, Err(error)) => Err(error),
            (None, Ok(())) => Err(SpoolError::Misused("a change panicked; see the log")),
        };
        // The caller may have gone; what is committed stays.
        let _ = self.caller.send(answer);
    }
}

enum Message {
    Job(Box<dyn Job>),
    Close,
}

/// The callers' end. Dropping it waits until everything queued is committed.
pub(crate) struct Writer {
    queue: mpsc::Sender<Message>,
    thread: std::sync::Mutex<Option<JoinHandle<()>>>,
    pub(crate) returned: Arc<Returned>,
    pub(crate) commits: Arc<AtomicU64>,
}

/// What the thread needs.
pub(crate) struct Start {
    pub(crate) conn: Connection,
    pub(crate) clock: Clock,
    pub(crate) hints: Arc<Hints>,
    pub(crate) housekeeper: Housekeeper,
    /// Whether this process owns the spool, and so moves the tables' times when the clock is set.
    pub(crate) owner: bool,
}

impl Writer {
    /// Starts the thread.
    pub(crate) fn start(start: Start) -> Result<Self> {
        let (queue, jobs) = mpsc::channel(QUEUE);
        let weak = queue.downgrade();
        let returned = Arc::new(Returned::new(move || {
            // Only to wake the writer: when its queue is full, it is awake.
            if let Some(queue) = weak.upgrade() {
                let _ = queue.try_send(Message::Job(Box::new(Call {
                    work: Some(|_: &Tables<'_>| Ok(())),
                    result: None,
                    caller: oneshot::channel().0,
                })));
            }
        }));
        let commits = Arc::new(AtomicU64::new(0));
        let thread = Thread {
            jobs,
            last: start.clock.read(),
            start,
            returned: Arc::clone(&returned),
            commits: Arc::clone(&commits),
        };
        let thread = std::thread::Builder::new()
            .name("spool-writer".to_owned())
            .spawn(move || thread.run())
            .map_err(|e| SpoolError::io("starting the writer of", "spool.db".as_ref(), e))?;
        Ok(Self {
            queue,
            thread: std::sync::Mutex::new(Some(thread)),
            returned,
            commits,
        })
    }

    /// Runs `work` in the next group; returns after its commit. Dropping the future does not undo
    /// what is queued.
    pub(crate) async fn call<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Tables<'_>) -> Result<T> + Send + 'static,
    {
        self.queue(work).await?.await
    }

    /// Returns when `work` is queued: what is queued later runs later. The future that it returns ends after the commit.
    pub(crate) async fn queue<T, F>(
        &self,
        work: F,
    ) -> Result<impl Future<Output = Result<T>> + Send + use<T, F>>
    where
        T: Send + 'static,
        F: FnOnce(&Tables<'_>) -> Result<T> + Send + 'static,
    {
        let (caller, answer) = oneshot::channel();
        let job = Message::Job(Box::new(Call {
            work: Some(work),
            result: None,
            caller,
        }));
        self.queue.send(job).await.map_err(|_| SpoolError::Closed)?;
        Ok(async move { answer.await.map_err(|_| SpoolError::Closed)? })
    }

    /// Takes no more jobs, and returns when those that wait are committed.
    pub(crate) async fn close(&self) {
        // An error means that it is closed already.
        let _ = self.queue.send(Message::Close).await;
        let thread = self.take_thread();
        let _ = tokio::task::spawn_blocking(move || join(thread)).await;
    }

    fn take_thread(&self) -> Option<JoinHandle<()>> {
        self.thread
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .take()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // The thread ends when the last sender is gone and the queue is empty.
        self.queue = mpsc::channel(1).0;
        join(self.take_thread());
    }
}

fn join(thread: Option<JoinHandle<()>>) {
    if thread.is_some_and(|thread| thread.join().is_err()) {
        tracing::error!("the spool's writer ended with a panic");
    }
}

struct Thread {
    jobs: mpsc::Receiver<Message>,
    start: Start,
    last: Reading,
    returned: Arc<Returned>,
    commits: Arc<AtomicU64>,
}

impl Thread {
    fn run(mut self) {
        let mut group = Vec::with_capacity(GROUP);
        while let Some(message) = self.jobs.blocking_recv() {
            let mut next = Some(message);
            while let Some(message) = next {
                match message {
                    Message::Job(job) => group.push(job),
                    Message::Close => self.jobs.close(),
                }
                next = (group.len() < GROUP)
                    .then(|| self.jobs.try_recv().ok())
                    .flatten();
            }
            self.commit(&mut group);
        }
        self.start.housekeeper.finish();
    }

    /// Commits a group, in more than one transaction only if SQLite gives one up on its own (a full
    /// disk): then the jobs up to that point fail and the others get a fresh one.
    fn commit(&mut self, group: &mut Vec<Box<dyn Job>>) {
        let mut jobs = group.drain(..);
        while jobs.len() > 0 {
            let now = self.start.clock.read();
            let moved = jump(self.last, now);
            let mut ran = Vec::with_capacity(jobs.len());
            let tables = Tables::new(&self.start.conn, crate::clock::seconds(now.wall));
            let returned = self.returned.take();
            let committed = self.transaction(&tables, moved, &returned, &mut jobs, &mut ran);
            let mut effects = tables.into_effects();
            match &committed {
                Ok(()) => {
                    self.last = now;
                    self.commits.fetch_add(1, Ordering::Relaxed);
                    effects.taken.iter_mut().for_each(Body::keep);
                    self.start.housekeeper.committed(ran.len(), effects.dropped);
                }
                Err(error) => {
                    tracing::warn!(%error, jobs = ran.len(), "the spool could not commit");
                    effects.taken.clear();
                    self.returned.give(returned);
                    // Nothing could even begin: nobody else would fare better.
                    if ran.is_empty() {
                        ran.extend(jobs.by_ref());
                    }
                }
            }
            for job in ran {
                job.answer(committed.clone());
            }
            self.start.hints.wake(effects.touched);
            if self.start.housekeeper.behind()
                && let Err(error) = housekeeper::checkpoint(&self.start.conn)
            {
                tracing::warn!(%error, "the spool could not be checkpointed");
            }
        }
    }

    /// One transaction over as many jobs as it survives.
    fn transaction(
        &self,
        tables: &Tables<'_>,
        moved: i64,
        returned: &[DeliveryId],
        jobs: &mut impl Iterator<Item = Box<dyn Job>>,
        ran: &mut Vec<Box<dyn Job>>,
    ) -> Result<()> {
        tables.execute("BEGIN IMMEDIATE", ())?;
        let rollback = |error: SpoolError| {
            if !tables.conn.is_autocommit() {
                let _ = tables.execute("ROLLBACK", ());
            }
            error
        };
        if self.start.owner && moved != 0 {
            rows::move_times(tables, moved).map_err(rollback)?;
        }
        rows::release(tables, returned).map_err(rollback)?;
        for mut job in jobs {
            let mark = tables.mark();
            if let Err(error) = tables.execute("SAVEPOINT job", ()) {
                ran.push(job);
                return Err(rollback(error));
            }
            // A bug in one job is not the end of everybody's mail.
            let ok = catch_unwind(AssertUnwindSafe(|| job.run(tables))).unwrap_or(false);
            ran.push(job);
            if tables.conn.is_autocommit() {
                return Err(SpoolError::Full {
                    what: "spool.db gave up a transaction".to_owned(),
                });
            }
            let ended = match ok {
                true => tables.execute("RELEASE job", ()),
                false => {
                    tables.forget_since(mark);
                    tables
                        .execute("ROLLBACK TO job", ())
                        .and_then(|_| tables.execute("RELEASE job", ()))
                }
            };
            ended.map_err(rollback)?;
        }
        tables.execute("COMMIT", ()).map_err(rollback)?;
        Ok(())
    }
}
