//! Pauses that a server asks for: sat out, and kept in the spool, so that a restart does not knock early.

use spool::{Direction, Pause, PauseKind, SpoolError};
use tokio::time::{Instant, sleep_until};

use super::Sessions;
use crate::session::peer;

impl Sessions {
    /// Sits out what an earlier process, or this one under another configuration, was told.
    pub(super) async fn sit_out_earlier_pauses(&self) {
        match self.kept() {
            Ok(pauses) => {
                let own = |pause: &Pause| pause.kind != PauseKind::Turn;
                if let Some(pause) = pauses.into_iter().find(own) {
                    self.sit_out(pause, true).await;
                }
            }
            Err(e) => tracing::warn!(mailbox = self.mailbox.name, "earlier pauses: {e}"),
        }
    }

    /// Leaves the account alone for a while, and remembers that.
    pub(super) async fn throttled(&self, pause: Pause) {
        let spool = &self.parts.spool;
        let peer = peer(&self.mailbox);
        let kept = spool.keep_pause(Direction::In, &self.mailbox.name, &peer, &pause);
        let kept = match kept.await {
            Ok(()) => true,
            Err(e) => {
                tracing::warn!(
                    mailbox = self.mailbox.name,
                    "a restart will forget a pause: {e}"
                );
                false
            }
        };
        self.sit_out(pause, kept).await;
    }

    /// A time of our own guess ends early when somebody wants a fetch. A time that the server named does not: that would only make it
    /// longer. It is lifted by a person who takes it out of the spool first.
    async fn sit_out(&self, pause: Pause, kept: bool) {
        let Pause { kind, why, left } = pause;
        tracing::warn!(
            mailbox = self.mailbox.name,
            seconds = left.as_secs_f64().ceil(),
            "{why}; left alone until then"
        );
        self.show.waiting(why, left);
        let end = Instant::now() + left;
        loop {
            tokio::select! {
                () = sleep_until(end) => break,
                () = self.parts.poke.notified() => {
                    self.memory.imap.looks.forget();
                    let lifted = kept && self.kept().is_ok_and(|kept| kept.iter().all(|pause| pause.kind != kind));
                    if kind == PauseKind::Guessed || lifted {
                        break;
                    }
                }
                () = self.stops.shutdown.cancelled() => return,
            }
        }
        let kinds = [kind];
        let spool = &self.parts.spool;
        let over = spool.end_pauses(Direction::In, &self.mailbox.name, &kinds);
        if let Err(e) = over.await {
            // Its time is over all the same: it would only be sat out again after a restart within it.
            tracing::warn!(mailbox = self.mailbox.name, "a pause that is over: {e}");
        }
    }

    fn kept(&self) -> Result<Vec<Pause>, SpoolError> {
        let spool = &self.parts.spool;
        spool.pauses(Direction::In, &self.mailbox.name, &peer(&self.mailbox))
    }
}
