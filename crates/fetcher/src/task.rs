//! One mailbox until shutdown: sessions one after the other with pauses in between, and deliveries beside them.

mod pauses;
mod throttled;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use token_store::accounts::{Condition, Mailbox, Protocol};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::Parts;
use crate::deliver::Deliveries;
use crate::error::FetchError;
use crate::session::{Context, End, Memory, Signals, Stops};
use crate::show::Show;

use self::pauses::{Next, Pauses};

/// After the last delivery has ended at shutdown, the session gets so long to acknowledge and to log out.
const FAREWELL: Duration = Duration::from_secs(10);
/// After a panic of the deliveries.
const AFTER_PANIC: Duration = Duration::from_secs(1);

/// Runs one mailbox until shutdown: sessions with backoff, deliveries, acknowledgements. Errors end in the board and the log,
/// never here.
///
/// On shutdown there is no new claim, the running delivery gets until `parts`' caller drops the future (the grace time), claims that
/// were not begun go back, and what was delivered is acknowledged once more. Dropping the future kills the commands that still run.
pub async fn run(mailbox: Mailbox, parts: Parts, shutdown: CancellationToken) {
    let show = Show::new(parts.board.clone(), &mailbox.name);
    if mailbox.paused {
        show.condition(Condition::Paused);
        shutdown.cancelled().await;
        return;
    }
    show.condition(Condition::Starting);
    let mailbox = Arc::new(mailbox);
    let signals = Arc::new(Signals::default());
    let stops = Stops {
        shutdown: shutdown.clone(),
        drained: CancellationToken::new(),
    };
    let sessions = Sessions {
        mailbox: mailbox.clone(),
        parts: parts.clone(),
        signals: signals.clone(),
        memory: Arc::new(Memory::default()),
        stops: stops.clone(),
        show: show.clone(),
        pauses: Pauses::default(),
    };
    let deliveries = async {
        deliver(&mailbox, &parts, &signals, &show, &shutdown).await;
        stops.drained.cancel();
    };
    tokio::join!(sessions.run(), deliveries);
    show.condition(Condition::Stopped);
}

/// Keeps the deliveries going; a panic in them does not end the mailbox, and what they had claimed is put back when they begin anew.
async fn deliver(
    mailbox: &Arc<Mailbox>,
    parts: &Parts,
    signals: &Arc<Signals>,
    show: &Show,
    shutdown: &CancellationToken,
) {
    let mut tasks = JoinSet::new();
    loop {
        let deliveries = Deliveries::new(
            mailbox.clone(),
            parts.spool.clone(),
            signals.clone(),
            show.clone(),
        );
        tasks.spawn(deliveries.run(shutdown.clone()));
        match tasks.join_next().await {
            Some(Err(e)) if !shutdown.is_cancelled() => {
                tracing::error!(
                    mailbox = mailbox.name,
                    "the deliveries failed and begin anew: {e}"
                );
                sleep(AFTER_PANIC).await;
            }
            _ => return,
        }
    }
}

/// The sessions of one mailbox.
struct Sessions {
    mailbox: Arc<Mailbox>,
    parts: Parts,
    signals: Arc<Signals>,
    memory: Arc<Memory>,
    stops: Stops,
    show: Show,
    pauses: Pauses,
}

impl Sessions {
    async fn run(mut self) {
        self.sit_out_earlier_pauses().await;
        while !self.stops.shutdown.is_cancelled() {
            let begun = Instant::now();
            let ended = self.session().await;
            if self.memory.worked.swap(false, Ordering::Relaxed) {
                self.pauses.worked(begun.elapsed());
            }
            match self.next(ended).await {
                Next::Over => return,
                Next::AtOnce => {}
                Next::Rest(pause) => {
                    self.show.session("waiting for the next poll".into());
                    self.rest(pause).await;
                }
                Next::Wait { why, pause } => {
                    tracing::warn!(
                        mailbox = self.mailbox.name,
                        seconds = pause.as_secs_f64().ceil(),
                        "{why}; tried again after a pause"
                    );
                    self.show.waiting(why, pause);
                    self.rest(pause).await;
                }
                Next::Throttled(pause) => self.throttled(pause).await,
                Next::Blocked { why, pause } => {
                    tracing::warn!(mailbox = self.mailbox.name, "waits for a person: {why}");
                    self.show.condition(Condition::Blocked { why });
                    self.rest(pause).await;
                }
            }
        }
    }

    /// One session in a task of its own, so that a panic (of the parser, say) stays in it.
    async fn session(&self) -> Result<Result<End, FetchError>, JoinError> {
        let context = Context {
            mailbox: self.mailbox.clone(),
            parts: self.parts.clone(),
            signals: self.signals.clone(),
            memory: self.memory.clone(),
            stops: self.stops.clone(),
            show: self.show.clone(),
        };
        let mut tasks = JoinSet::new();
        match self.mailbox.protocol {
            Protocol::Imap => tasks.spawn(crate::imap::run(context)),
            Protocol::Pop3 => tasks.spawn(crate::pop3::run(context)),
        };
        let farewell = async {
            self.stops.drained.cancelled().await;
            sleep(FAREWELL).await;
        };
        tokio::select! {
            Some(ended) = tasks.join_next() => ended,
            () = farewell => Ok(Ok(End::Shutdown)),
        }
    }

    /// Decides what follows; tells the token store of a refused token.
    async fn next(&mut self, ended: Result<Result<End, FetchError>, JoinError>) -> Next {
        if self.stops.shutdown.is_cancelled() {
            return Next::Over;
        }
        let error = match ended {
            Ok(Ok(End::Shutdown)) => return Next::Over,
            Ok(Ok(End::Rest(pause))) => return Next::Rest(pause),
            Ok(Err(error)) => error,
            Err(_) => FetchError::Again(
                "the session failed within Postern (see the log); this is a bug".into(),
            ),
        };
        self.memory.imap.learn(&error);
        let rejected = match &error {
            FetchError::TokenRefused { token, .. } => Some(token),
            FetchError::TokenExpired { token, .. } => token.as_ref(),
            _ => None,
        };
        if let Some(token) = rejected
            && let Err(e) = self.parts.tokens.rejected(token).await
        {
            return self.pauses.after(
                &FetchError::NoToken {
                    why: e.to_string(),
                    after: None,
                },
                fastrand::f64(),
            );
        }
        self.pauses.after(&error, fastrand::f64())
    }

    async fn rest(&self, pause: Duration) {
        tokio::select! {
            () = sleep(pause) => {}
            // A person who asks for a fetch means all of it.
            () = self.parts.poke.notified() => self.memory.imap.looks.forget(),
            () = self.stops.shutdown.cancelled() => {}
        }
    }
}
