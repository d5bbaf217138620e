//! Claims of one mailbox: made before the last ones run out, and given back when they were not begun.

use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::stream::StreamExt as _;
use spool::{DeliveryId, Direction, InClaim, SpoolError};
use tokio::time::Instant;

use super::{Claiming, Deliveries, record};

/// Claimed at once while deliveries are quick.
const CLAIMS: usize = 32;
/// Claims are renewed when fewer are left.
const LOW: usize = 8;
/// A hint may be lost: the spool is looked at after this in any case.
const LOOK: Duration = Duration::from_secs(60);
/// A delivery that is due but can't be claimed (somebody else's lease) is looked at again after this.
const LEASED: Duration = Duration::from_secs(1);

impl Deliveries {
    /// Claims more before the last claims run out.
    pub(super) fn claim(&mut self) {
        if self.claiming.is_some()
            || self.idle
            || self.paused_until.is_some()
            || self.queue.len() >= LOW
        {
            return;
        }
        let deliver = &self.mailbox.deliver;
        let concurrency = deliver.concurrency.max(1);
        let limit = match (self.slump.probing(), self.quick) {
            (true, _) => 1,
            (false, true) => CLAIMS,
            (false, false) => concurrency + 1,
        };
        if self.queue.len() >= limit || (self.slump.probing() && !self.running.is_empty()) {
            return;
        }
        // Long enough for every claim to be last in the queue behind deliveries that all time out.
        let turns = u32::try_from((limit + LOW) / concurrency + 2).unwrap_or(u32::MAX);
        let lease = deliver
            .timeout
            .saturating_mul(turns)
            .saturating_add(self.pace.span(limit + LOW))
            .saturating_add(Duration::from_secs(60));
        let (spool, name) = (self.spool.clone(), self.mailbox.name.clone());
        self.claiming = Some(Box::pin(async move {
            spool.claim_in(&name, limit, lease).await
        }));
    }

    pub(super) fn claimed(&mut self, claimed: Result<Vec<InClaim>, SpoolError>) {
        match claimed {
            Ok(claims) => {
                self.idle = claims.is_empty();
                // Outcomes on disk first: what a person had retried since then is to be begun again.
                while let Some(Some(settled)) = self.settling.next().now_or_never() {
                    self.settled(&settled);
                }
                let mine = &mut self.mine;
                self.queue
                    .extend(claims.into_iter().filter(|c| mine.insert(c.delivery)));
            }
            Err(e) => {
                tracing::error!(
                    mailbox = self.mailbox.name,
                    "deliveries can't be claimed: {e}"
                );
                self.paused_until = Some(Instant::now() + record::AGAIN);
            }
        }
    }

    /// When to look at the spool, or go on, without being told.
    pub(super) fn look_at(&self) -> Instant {
        let now = Instant::now();
        if let Some(until) = self.throttled_until.filter(|&until| until > now) {
            return until;
        }
        if let Some(until) = self.paused_until {
            return until;
        }
        if !self.idle || !self.queue.is_empty() {
            return now + LOOK;
        }
        let due = self
            .spool
            .next_due(Direction::In, &self.mailbox.name)
            .ok()
            .flatten();
        now + due.map_or(LOOK, |d| d.clamp(LEASED, LOOK))
    }

    /// At the start: this task is the mailbox's only claimant, so what is claimed is of one that panicked.
    pub(super) async fn put_back_left(&mut self) {
        let name = &self.mailbox.name;
        match self.spool.release_account(Direction::In, name).await {
            Ok(0) => {}
            Ok(claims) => tracing::info!(mailbox = name, claims, "put back what was left claimed"),
            // Their lease ends by itself.
            Err(e) => tracing::warn!(mailbox = name, "left claims could not be put back: {e}"),
        }
    }

    /// Gives claims back that were not begun.
    pub(super) async fn put_back(&mut self) {
        let ready = self.ready.take().map(|(claim, _)| claim);
        let claims: Vec<DeliveryId> = ready
            .into_iter()
            .chain(self.queue.drain(..))
            .map(|c| c.delivery)
            .collect();
        for claim in &claims {
            self.mine.remove(claim);
        }
        if !claims.is_empty()
            && let Err(e) = self.spool.release(claims).await
        {
            // Their lease ends by itself.
            tracing::warn!(
                mailbox = self.mailbox.name,
                "claims could not be given back: {e}"
            );
        }
    }
}

/// The claim under way; never, if there is none.
pub(super) async fn next_claim(
    claiming: &mut Option<Claiming>,
) -> Result<Vec<InClaim>, SpoolError> {
    match claiming {
        Some(claim) => {
            let claimed = claim.await;
            *claiming = None;
            claimed
        }
        None => std::future::pending().await,
    }
}
