//! What a session does between two looks: IDLE or a pause, and acknowledging meanwhile.

use token_store::accounts::Watch;
use tokio::time::Instant;

use super::{BREATH, Context, End, GATHER, KEEP_OPEN, LINGER, Session};
use crate::error::FetchError;
use crate::imap::watch::{Woken, idle, longest_idle, pause};

impl Session {
    /// Waits until there is a reason to look again; acknowledges meanwhile. Some: the session is over.
    pub(super) async fn wait(&mut self) -> Result<Option<End>, FetchError> {
        let mailbox = self.context.mailbox.clone();
        let period = match mailbox.watch {
            Watch::Every(period) => period,
            Watch::Idle => mailbox.poll,
        };
        let can_idle = mailbox.watch == Watch::Idle && self.capabilities.has("IDLE");
        let poll = Instant::now() + period;
        let leave = !can_idle && period > KEEP_OPEN;
        let until = if leave { Instant::now() + LINGER } else { poll };
        loop {
            self.acknowledge_all().await?;
            if self.stopping() {
                self.last_acknowledgements().await?;
                return Ok(Some(End::Shutdown));
            }
            if leave
                && (Instant::now() >= until
                    || self.context.parts.spool.undelivered(&mailbox.name)? == 0)
            {
                return Ok(Some(End::Rest(
                    poll.saturating_duration_since(Instant::now()),
                )));
            }
            self.show_alert();
            self.context.show.session("waiting for new mail".into());
            let mut poked = false;
            let woken = if can_idle && let Some(home) = self.home() {
                if !self.open(home).await? {
                    return Ok(None);
                }
                if self.folders[home].has_unlisted(self.connection.exists) {
                    return Ok(None);
                }
                let until = until.min(Instant::now() + longest_idle(mailbox.idle_minutes));
                idle(
                    &mut self.connection,
                    until,
                    called(&self.context, &mut poked),
                )
                .await?
            } else {
                pause(until, called(&self.context, &mut poked)).await
            };
            let look = match woken {
                Woken::News => {
                    self.announced = true;
                    true
                }
                Woken::Called => poked,
                Woken::Time => Instant::now() >= poll,
            };
            if poked {
                // A person who asks for a fetch means all of it.
                self.list_anew();
            }
            if look && !self.stopping() {
                return Ok(None);
            }
        }
    }
}

/// Resolves when something wants the session: a poke (then `poked`), shutdown, or deliveries worth acknowledging.
async fn called(context: &Context, poked: &mut bool) {
    let Context {
        mailbox,
        parts,
        signals,
        stops,
        ..
    } = context;
    tokio::select! {
        () = stops.shutdown.cancelled() => {}
        () = parts.poke.notified() => *poked = true,
        () = signals.delivered.notified() => {
            // More are likely to follow: one round of commands for all of them.
            let gathered = async {
                while parts.spool.undelivered(&mailbox.name).is_ok_and(|n| n > 0) {
                    tokio::time::sleep(BREATH).await;
                }
            };
            tokio::select! {
                () = gathered => {}
                () = tokio::time::sleep(GATHER) => {}
                () = stops.shutdown.cancelled() => {}
            }
        }
    }
}
