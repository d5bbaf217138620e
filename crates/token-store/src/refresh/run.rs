//! The task that refreshes ahead of need: one for all tokens, woken by what changed, what is due, and the clock.

use super::gates::Room;
use super::schedule::{Lane, Schedule, Want};
use crate::clock::{Reading, jump};
use crate::state::pace::{SECOND, scaled};
use crate::store::{Change, Plan, Waiting};
use crate::{StoreError, TokenId, Tokens};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

/// The command line may write beside the daemon, the clock may be set, the machine may sleep: each is seen this late at
/// most.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// Turns are at most [`LOOK_AGAIN`] apart; more means that the machine slept.
const ASLEEP: i64 = 90 * SECOND;
/// Rows read at once: a page takes a millisecond or two, and readers wait no longer than that.
const PAGE: usize = 1000;

/// How much there is to do; for the status and the metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Workload {
    /// Tokens that refresh themselves.
    pub tokens: usize,
    /// Of these, due and waiting for their turn at the token endpoint.
    pub waiting: usize,
    /// Rows looked at so far, to learn what is due.
    pub rows_read: u64,
}

impl Tokens {
    /// Refreshes ahead of need, for every token, until shutdown; then waits until the flights under way have landed.
    pub async fn run(&self, shutdown: CancellationToken) {
        let mut scheduler = Scheduler::new(self);
        scheduler.load(0).await;
        loop {
            let next = scheduler.turn().await;
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = self.shared.store.changes().news() => {}
                () = sleep_until(next) => {}
            }
        }
        self.shared.stopping.cancel();
        self.land().await;
    }

    /// How much there is to do.
    #[must_use]
    pub fn workload(&self) -> Workload {
        *self.shared.workload()
    }

    /// A command beside the daemon changed a token config or its tokens.
    pub fn look_at(&self, config: &str) {
        let change = Change::Config(config.to_owned());
        self.shared.store.changes().add([change]);
    }
}

struct Scheduler<'a> {
    tokens: &'a Tokens,
    schedule: Schedule<Arc<TokenId>>,
    /// The names of lanes, each once.
    lanes: HashSet<Lane>,
    /// When the last turn was.
    last: Reading,
    /// When rows that others may have written were looked for last.
    looked: i64,
    version: Option<i64>,
    /// The rows could not be read: again at the next turn.
    unread: bool,
    turns: usize,
    rows_read: u64,
}

impl<'a> Scheduler<'a> {
    fn new(tokens: &'a Tokens) -> Self {
        let now = tokens.shared.store.clock().read();
        Self {
            tokens,
            schedule: Schedule::new(),
            lanes: HashSet::new(),
            last: now,
            looked: now.steady,
            version: None,
            unread: false,
            turns: 0,
            rows_read: 0,
        }
    }

    /// Looks at what happened, starts what is due; says when to look again.
    async fn turn(&mut self) -> Instant {
        let before = std::mem::replace(&mut self.last, self.tokens.shared.store.clock().read());
        let set = jump(before, self.last);
        let slept = self.last.steady.saturating_sub(before.steady) > ASLEEP;
        if set != 0 {
            tracing::warn!(
                "the clock was set {} by {} s; every token's dates are looked at anew",
                if set > 0 { "forward" } else { "back" },
                set.unsigned_abs() / 1000
            );
        }
        if set != 0 || slept || self.unread {
            self.load(set.min(0).saturating_neg()).await;
        }
        let Waiting { hints, all } = self.tokens.shared.store.changes().take();
        for hint in hints {
            self.hear(hint);
        }
        if all || self.others_wrote().await {
            self.look_at_all().await;
        }
        self.start()
    }

    /// Reads every row, and spreads what is overdue. `back`: by how much the clock was set back.
    async fn load(&mut self, back: i64) {
        self.look_at_all().await;
        if back > 0 {
            self.schedule.pull(back);
        }
        self.schedule.spread(self.last.wall, fastrand::f64);
    }

    async fn look_at_all(&mut self) {
        self.unread = false;
        self.schedule.look_at_all();
        let mut after = TokenId::of("");
        loop {
            let page = self.read(|rows| rows.plans_after(&after, PAGE));
            let Some(page) = page else {
                self.unread = true;
                return;
            };
            let more = page.len() == PAGE;
            if let Some(last) = page.last() {
                after.clone_from(&last.id);
            }
            page.into_iter().for_each(|plan| self.set(plan));
            if !more {
                break;
            }
            tokio::task::yield_now().await;
        }
        self.schedule.seen_all();
    }

    /// Whether another process has written since the last look, which is taken at a slow pace.
    async fn others_wrote(&mut self) -> bool {
        let due = self.looked.saturating_add(millis(LOOK_AGAIN));
        if self.version.is_some() && self.last.steady < due {
            return false;
        }
        self.looked = self.last.steady;
        // On the connection that writes: its own commits don't count there.
        let version = self.tokens.shared.store.write(|rows| rows.data_version());
        match version.await {
            Ok(version) => self.version.replace(version).is_some_and(|v| v != version),
            Err(error) => {
                tracing::error!(%error, "changes of others could not be looked for");
                false
            }
        }
    }

    fn hear(&mut self, hint: Change) {
        match hint {
            Change::Landed { id, pause } => {
                let pause = pause.saturating_add(scaled(pause / 4, fastrand::f64()));
                self.schedule
                    .landed(&id, self.last.wall.saturating_add(pause));
                self.look_at(id);
            }
            Change::Token(id) => self.look_at(id),
            Change::Config(name) => {
                let plans = self.read(|rows| rows.plans_of(&name)).unwrap_or_default();
                plans.into_iter().for_each(|plan| self.set(plan));
            }
        }
    }

    fn look_at(&mut self, id: TokenId) {
        match self.read(|rows| rows.plan(&id)) {
            Some(Some(plan)) => self.set(plan),
            Some(None) => self.schedule.set(Arc::new(id), None, self.last.wall),
            None => {}
        }
    }

    fn set(&mut self, plan: Plan) {
        self.rows_read += 1;
        let now = self.last.wall;
        let due = plan.token.due_at(plan.can_refresh, plan.lives, now);
        let ends = plan.token.access_end();
        let lane = self.lane(&plan.endpoint);
        let want = due
            .filter(|_| plan.valid)
            .map(|due| Want { lane, due, ends });
        self.schedule.set(Arc::new(plan.id), want, now);
    }

    fn lane(&mut self, endpoint: &str) -> Lane {
        if let Some(lane) = self.lanes.get(endpoint) {
            return lane.clone();
        }
        let lane = Lane::from(endpoint);
        self.lanes.insert(lane.clone());
        lane
    }

    fn read<T>(
        &mut self,
        work: impl FnOnce(&crate::store::Rows<'_>) -> Result<T, StoreError>,
    ) -> Option<T> {
        let read = self.tokens.shared.store.read(work);
        let told = |error: &StoreError| {
            tracing::error!(%error, "the tokens' due dates could not be read");
        };
        self.unread |= read.is_err();
        read.inspect_err(told).ok()
    }

    /// Starts what is due, as far as there is room; says when to look again.
    fn start(&mut self) -> Instant {
        let now = self.last.wall;
        self.schedule.wake(now);
        let mut next = LOOK_AGAIN;
        let mut lanes = self.schedule.waiting();
        // No lane is always the first.
        self.turns = self.turns.wrapping_add(1);
        if !lanes.is_empty() {
            let first = self.turns % lanes.len();
            lanes.rotate_left(first);
        }
        let mut waiting = 0;
        for (lane, count) in lanes {
            let started = self.start_in(&lane, count, &mut next);
            waiting += count - started;
        }
        if let Some(due) = self.schedule.next() {
            next = next.min(span(due.saturating_sub(now)));
        }
        *self.tokens.shared.workload() = Workload {
            tokens: self.schedule.len(),
            waiting,
            rows_read: self.rows_read,
        };
        Instant::now() + next
    }

    fn start_in(&mut self, lane: &Lane, count: usize, next: &mut Duration) -> usize {
        for started in 0..count {
            let room = self.tokens.shared.gates.room(lane, count - started);
            let (slots, last) = match room {
                Room::Free(slots) => (slots, false),
                Room::Try(slots) => (slots, true),
                Room::Full => return started,
                Room::Closed(after) => {
                    *next = (*next).min(after);
                    return started;
                }
            };
            let Some(id) = self.schedule.give(lane) else {
                return started;
            };
            // Nobody waits for it: its outcome is in the row.
            drop(self.tokens.take_off(&id, false, Some(slots)));
            if last {
                return started + 1;
            }
        }
        count
    }
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

fn span(left: i64) -> Duration {
    Duration::from_millis(u64::try_from(left).unwrap_or(0))
}
