//! The one writer: a thread that groups what waits into one transaction and answers after its commit.

use super::changes::Changes;
use super::{Rows, StoreError, key, reseal};
use crate::seal::{Key, Ring};
use rusqlite::{Connection, TransactionBehavior};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use tokio::sync::{mpsc, oneshot};

/// Writes are rare (a refresh, a sign-in); askers beyond this wait, which is the pushback they should feel.
const QUEUE: usize = 256;
/// Jobs in one transaction: enough to share one fsync, few enough to answer soon.
const GROUP: usize = 64;

pub(super) struct Writer {
    // Dropped before the thread is joined.
    orders: Option<mpsc::Sender<Order>>,
    thread: Option<JoinHandle<()>>,
}

enum Order {
    Write(Box<dyn Job>),
    /// Seal everything anew with this key; how many values there were.
    Reseal(Key, oneshot::Sender<Result<usize, StoreError>>),
    /// The key before it opens nothing any more.
    InPlace(oneshot::Sender<Result<(), StoreError>>),
}

/// The connection that writes, and what its jobs need.
struct Desk {
    connection: Connection,
    ring: Arc<Ring>,
    changes: Arc<Changes>,
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
    pub(super) fn start(
        connection: Connection,
        ring: Arc<Ring>,
        changes: Arc<Changes>,
    ) -> std::io::Result<Self> {
        let (orders, queue) = mpsc::channel(QUEUE);
        let desk = Desk {
            connection,
            ring,
            changes,
        };
        let thread = std::thread::Builder::new()
            .name("accounts-writer".into())
            .spawn(move || run(desk, queue))?;
        Ok(Self {
            orders: Some(orders),
            thread: Some(thread),
        })
    }

    pub(super) async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Rows<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let job = Typed {
            work: Some(work),
            result: None,
            answer,
        };
        self.order(Order::Write(Box::new(job)), answered).await
    }

    pub(super) async fn reseal(&self, key: Key) -> Result<usize, StoreError> {
        let (answer, answered) = oneshot::channel();
        self.order(Order::Reseal(key, answer), answered).await
    }

    pub(super) async fn key_is_in_place(&self) -> Result<(), StoreError> {
        let (answer, answered) = oneshot::channel();
        self.order(Order::InPlace(answer), answered).await
    }

    async fn order<T>(
        &self,
        order: Order,
        answered: oneshot::Receiver<Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let orders = self.orders.as_ref().ok_or_else(stopped)?;
        orders.send(order).await.map_err(|_| stopped())?;
        answered.await.map_err(|_| stopped())?
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.orders.take();
        if let Some(thread) = self.thread.take() {
            // It ends after the jobs that were queued; each is one commit.
            drop(thread.join());
        }
    }
}

fn run(mut desk: Desk, mut queue: mpsc::Receiver<Order>) {
    let mut group = Vec::with_capacity(GROUP);
    let mut next = None;
    while let Some(order) = next.take().or_else(|| queue.blocking_recv()) {
        // An asker may have gone; what was committed stays committed.
        match order {
            Order::Write(first) => group.push(first),
            Order::Reseal(key, answer) => {
                drop(answer.send(reseal::everything(&mut desk.connection, &desk.ring, key)));
                continue;
            }
            Order::InPlace(answer) => {
                drop(answer.send(reseal::settle(&desk.connection, &desk.ring)));
                continue;
            }
        }
        while group.len() < GROUP
            && let Ok(order) = queue.try_recv()
        {
            match order {
                Order::Write(job) => group.push(job),
                other => {
                    next = Some(other);
                    break;
                }
            }
        }
        let ended = desk.commit(&mut group);
        for job in group.drain(..) {
            job.answer(ended.clone());
        }
    }
}

impl Desk {
    fn commit(&mut self, group: &mut [Box<dyn Job>]) -> Result<(), StoreError> {
        let mut transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        if !key::still_fits(&transaction, &self.ring.current())? {
            return Err(StoreError::KeyChanged);
        }
        let mut changed = Vec::new();
        for job in group {
            let savepoint = transaction.savepoint()?;
            let rows = Rows::new(&savepoint, &self.ring);
            let kept = catch_unwind(AssertUnwindSafe(|| job.run(&rows)));
            let changes = rows.into_changes();
            match kept {
                Ok(true) => {
                    savepoint.commit()?;
                    changed.extend(changes);
                }
                // Dropping a savepoint rolls it back.
                Ok(false) => drop(savepoint),
                Err(_) => {
                    job.panicked();
                    drop(savepoint);
                }
            }
        }
        transaction.commit()?;
        if !changed.is_empty() {
            self.changes.add(changed);
        }
        Ok(())
    }
}

fn stopped() -> StoreError {
    StoreError::Database("the writer has stopped".into())
}
