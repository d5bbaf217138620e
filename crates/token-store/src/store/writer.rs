//! The one writer: a thread that groups what waits into one transaction and answers after its commit.

use super::{Rows, StoreError};
use crate::seal::Key;
use rusqlite::{Connection, TransactionBehavior};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::JoinHandle;
use tokio::sync::{mpsc, oneshot};

/// Writes are rare (a refresh, a sign-in); askers beyond this wait, which is the pushback they should feel.
const QUEUE: usize = 256;
/// Jobs in one transaction: enough to share one fsync, few enough to answer soon.
const GROUP: usize = 64;

pub(super) struct Writer {
    // Dropped before the thread is joined.
    jobs: Option<mpsc::Sender<Box<dyn Job>>>,
    thread: Option<JoinHandle<()>>,
}

/// One caller's write.
trait Job: Send {
    /// Runs inside its own savepoint; true keeps what it wrote.
    fn run(&mut self, rows: &Rows<'_>) -> bool;
    /// It panicked.
    fn panicked(&mut self);
    /// The transaction ended, well or with this error.
    fn answer(self: Box<Self>, ended: Result<(), StoreError>);
}

struct Typed<T, F> {
    work: Option<F>,
    result: Option<Result<T, StoreError>>,
    answer: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, F> Job for Typed<T, F>
where
    T: Send,
    F: FnOnce(&Rows<'_>) -> Result<T, StoreError> + Send,
{
    fn run(&mut self, rows: &Rows<'_>) -> bool {
        if let Some(work) = self.work.take() {
            self.result = Some(work(rows));
        }
        matches!(self.result, Some(Ok(_)))
    }

    fn panicked(&mut self) {
        self.result = Some(Err(StoreError::Database(
            "a write panicked; it was taken back".into(),
        )));
    }

    fn answer(mut self: Box<Self>, ended: Result<(), StoreError>) {
        let result = match (ended, self.result.take()) {
            (_, Some(Err(own))) | (Err(own), _) => Err(own),
            (Ok(()), Some(Ok(value))) => Ok(value),
            (Ok(()), None) => Err(stopped()),
        };
        // The asker may have gone; what was committed stays committed.
        drop(self.answer.send(result));
    }
}

impl Writer {
    pub(super) fn start(connection: Connection, key: Key) -> std::io::Result<Self> {
        let (jobs, queue) = mpsc::channel(QUEUE);
        let thread = std::thread::Builder::new()
            .name("accounts-writer".into())
            .spawn(move || run(connection, &key, queue))?;
        Ok(Self {
            jobs: Some(jobs),
            thread: Some(thread),
        })
    }

    pub(super) async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Rows<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let job = Box::new(Typed {
            work: Some(work),
            result: None,
            answer,
        });
        let jobs = self.jobs.as_ref().ok_or_else(stopped)?;
        jobs.send(job).await.map_err(|_| stopped())?;
        answered.await.map_err(|_| stopped())?
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.jobs.take();
        if let Some(thread) = self.thread.take() {
            // It ends after the jobs that were queued; each is one commit.
            drop(thread.join());
        }
    }
}

fn run(mut connection: Connection, key: &Key, mut queue: mpsc::Receiver<Box<dyn Job>>) {
    let mut group = Vec::with_capacity(GROUP);
    while let Some(first) = queue.blocking_recv() {
        group.push(first);
        while group.len() < GROUP
            && let Ok(next) = queue.try_recv()
        {
            group.push(next);
        }
        let ended = commit(&mut connection, key, &mut group);
        for job in group.drain(..) {
            job.answer(ended.clone());
        }
    }
}

fn commit(
    connection: &mut Connection,
    key: &Key,
    group: &mut [Box<dyn Job>],
) -> Result<(), StoreError> {
    let mut transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for job in group {
        let savepoint = transaction.savepoint()?;
        let kept = catch_unwind(AssertUnwindSafe(|| job.run(&Rows::new(&savepoint, key))));
        match kept {
            Ok(true) => savepoint.commit()?,
            // Dropping a savepoint rolls it back.
            Ok(false) => drop(savepoint),
            Err(_) => {
                job.panicked();
                drop(savepoint);
            }
        }
    }
    transaction.commit()?;
    Ok(())
}

fn stopped() -> StoreError {
    StoreError::Database("the writer has stopped".into())
}
