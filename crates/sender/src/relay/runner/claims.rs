//! What a relay has in its hands: claims made ahead, and put back when they are nobody's or grow old.
use super::{BATCH, Runner, deliveries_of, release};
use spool::{Direction, OutClaim};
use std::time::Duration;
use tokio::time::Instant;
use tracing::warn;

/// A claim outlasts its message, or that would go out twice: at most [`STALE`] in the queue, 75 minutes to the final dot, ten
/// for its answer, five to record it; the rest is for connecting. A crash needs no lease to end, since the next start puts
/// claims back.
pub(super) const LEASE: Duration = Duration::from_secs(2 * 3600);
/// Claims that waited so long behind slow messages are put back and claimed anew.
const STALE: Duration = Duration::from_secs(600);
/// Claims made ahead for each connection, so that none waits for the spool.
const AHEAD: usize = 4;

impl Runner {
    /// A task before this one may have panicked with claims in its hands; they would wait for the end of their lease.
    pub(super) async fn put_back_left_behind(&self) {
        let spool = &self.account.parts.spool;
        match spool
            .release_account(Direction::Out, self.account.name())
            .await
        {
            Ok(0) => {}
            Ok(deliveries) => warn!(
                relay = self.account.name(),
                deliveries, "claims that were left behind are put back"
            ),
            Err(error) => {
                warn!(relay = self.account.name(), %error, "claims that may have been left behind could not be put back")
            }
        }
    }

    pub(super) async fn put_back_stale(&mut self) {
        if self.queue.is_empty() || self.queued_since.elapsed() < STALE {
            return;
        }
        self.look_at = Instant::now();
        let claims = std::mem::take(&mut self.queue);
        release(
            &self.account,
            claims.iter().flat_map(deliveries_of).collect(),
        )
        .await;
    }

    /// What waits here goes to the relay that takes over, if there is one.
    pub(super) async fn pass_on(&self) {
        let Some(other) = &self.account.relay.fallback else {
            return;
        };
        let (spool, mut passed_on) = (&self.account.parts.spool, 0);
        loop {
            match spool.reroute(self.account.name(), other, BATCH).await {
                Ok(0) => break,
                Ok(count) => passed_on += count,
                Err(error) => {
                    warn!(relay = self.account.name(), fallback = other, %error, "mail could not be passed on to the fallback");
                    break;
                }
            }
        }
        if passed_on > 0 {
            warn!(
                relay = self.account.name(),
                fallback = other,
                recipients = passed_on,
                "the relay could not send for long; its fallback takes over what waits"
            );
        }
    }

    /// Claims what is due, oldest first, unless enough is at hand.
    pub(super) async fn look(&mut self) {
        let now = Instant::now();
        let slots = self.gate.slots();
        if self.gate.shut().is_some() || now < self.look_at || self.queue.len() >= slots {
            return;
        }
        let spool = &self.account.parts.spool;
        let limit = (slots * AHEAD).min(self.pace.limit());
        let poll = self.account.timing.poll;
        self.look_at = match spool.claim_out(self.account.name(), limit, LEASE).await {
            Ok(claims) => {
                let more = claims.len() >= limit;
                if self.queue.is_empty() {
                    self.queued_since = now;
                }
                let most = self.account.relay.recipients;
                let claims = claims.into_iter().flat_map(|claim| split(claim, most));
                self.queue.extend(claims);
                match more {
                    true => now,
                    false => now + self.due_in().map_or(poll, |due| due.min(poll)),
                }
            }
            Err(error) => {
                warn!(relay = self.account.name(), %error, "the spool could not be asked for what is due");
                now + poll
            }
        };
    }

    fn due_in(&self) -> Option<Duration> {
        let due = self
            .account
            .parts
            .spool
            .next_due(Direction::Out, self.account.name());
        due.unwrap_or_else(|error| {
            warn!(relay = self.account.name(), %error, "the spool could not say what is due next");
            None
        })
    }
}

/// One message for each so many recipients. What is then in doubt cannot be looked up, for each message leaves a copy.
fn split(mut claim: OutClaim, most: Option<usize>) -> Vec<OutClaim> {
    let Some(most) = most.filter(|most| claim.recipients.len() > *most && *most > 0) else {
        return vec![claim];
    };
    claim.in_doubt = None;
    let all = std::mem::take(&mut claim.recipients);
    let parts = all.chunks(most).map(|part| OutClaim {
        recipients: part.to_vec(),
        ..claim.clone()
    });
    parts.collect()
}
