//! Tests of accounts: each runs as a task of its own, and whoever asked looks on, live or page by page.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use token_store::accounts::Kind;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::{Promise, Step};

/// Trials that are kept to look at; the oldest go.
const KEPT: usize = 32;
/// Trials that run at the same time; each is a connection to a provider.
const AT_ONCE: usize = 8;
/// Each step has a limit of its own; this is for the sum of them.
const LONGEST: Duration = Duration::from_secs(180);

/// What has become of a trial.
#[derive(Debug, Clone, Default)]
pub(crate) struct Course {
    pub(crate) steps: Vec<Step>,
    pub(crate) over: bool,
}

/// One test of one account.
#[derive(Debug, Clone)]
pub(crate) struct Trial {
    id: String,
    /// The session that asked; nobody else sees it.
    session: String,
    pub(crate) kind: Kind,
    pub(crate) name: String,
    pub(crate) course: watch::Receiver<Course>,
}

/// All of them.
#[derive(Default)]
pub(crate) struct Trials {
    kept: Mutex<VecDeque<Trial>>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Trials {
    /// Begins a trial: `work` is given where to tell its steps. False: too many run.
    pub(crate) fn begin(
        &self,
        (id, session): (String, String),
        (kind, name): (Kind, String),
        work: impl FnOnce(crate::Tell) -> Promise<'static, ()>,
    ) -> bool {
        let mut kept = self.kept();
        let running = kept.iter().filter(|trial| !trial.course.borrow().over);
        if running.count() >= AT_ONCE {
            return false;
        }
        let (course, seen) = watch::channel(Course::default());
        let course = Arc::new(course);
        let told = course.clone();
        let work = work(Box::new(move |step| {
            told.send_modify(|course| course.steps.push(step));
        }));
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            let late = tokio::select! {
                done = timeout(LONGEST, work) => done.is_err(),
                () = stop.cancelled() => false,
            };
            course.send_modify(|course| {
                if late {
                    course.steps.push(Step {
                        what: "the test".to_owned(),
                        found: Err(format!("was ended after {} s", LONGEST.as_secs())),
                    });
                }
                course.over = true;
            });
        });
        if kept.len() >= KEPT {
            kept.pop_front();
        }
        kept.push_back(Trial {
            id,
            session,
            kind,
            name,
            course: seen,
        });
        true
    }

    /// A trial of this session.
    pub(crate) fn find(&self, id: &str, session: &str) -> Option<Trial> {
        let kept = self.kept();
        let mine = kept
            .iter()
            .find(|trial| trial.id == id && trial.session == session);
        mine.cloned()
    }

    /// Ends all of them.
    pub(crate) async fn end(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    fn kept(&self) -> MutexGuard<'_, VecDeque<Trial>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(what: &str) -> Step {
        Step {
            what: what.to_owned(),
            found: Ok(String::new()),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_trial_is_its_sessions_and_ends_whatever_it_waits_for() {
        let trials = Trials::default();
        let ids = |id: &str| (id.to_owned(), "mine".to_owned());
        let of = || (Kind::Mailbox, "m".to_owned());
        assert!(trials.begin(ids("a"), of(), |tell| Box::pin(
            async move { tell(step("one")) }
        )));
        assert!(trials.begin(ids("b"), of(), |_| Box::pin(std::future::pending())));
        assert!(trials.find("a", "another's").is_none());
        for (id, last) in [("a", "one"), ("b", "the test")] {
            let mut course = trials.find(id, "mine").unwrap().course;
            let course = course.wait_for(|course| course.over).await.unwrap();
            assert_eq!(course.steps.last().unwrap().what, last);
        }
        for n in 0..AT_ONCE {
            assert!(trials.begin(ids(&n.to_string()), of(), |_| Box::pin(
                std::future::pending()
            )));
        }
        assert!(!trials.begin(ids("more"), of(), |_| Box::pin(std::future::pending())));
        trials.end().await;
    }
}
