//! Outcomes written down: in the spool, by the schedule that fits them, and in the log.

use std::time::Duration;

use spool::schedule::Next;
use spool::{DeliveryId, InClaim, Outcome, Spool, SpoolError};
use tokio::time::sleep;

use super::job::Finished;

/// Between two tries to write an outcome down.
pub(super) const AGAIN: Duration = Duration::from_secs(1);

/// One line per delivery, with everything a message can be found by.
pub(super) fn log(
    mailbox: &str,
    claim: &InClaim,
    outcome: &Outcome,
    output: Option<&str>,
    took: Duration,
) {
    // One of our own making came from no folder.
    let folder = claim.key.as_ref().map(|key| key.folder.as_str());
    let uid = claim.key.as_ref().map(|key| key.uid);
    let (queue_id, sha256, attempt) = (claim.message.0, crate::hex(&claim.sha256), claim.attempt);
    match outcome {
        Outcome::Delivered { .. } => {
            let (bytes, ms) = (
                claim.size,
                u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            );
            tracing::info!(
                mailbox,
                folder,
                uid,
                queue_id,
                sha256,
                bytes,
                attempt,
                ms,
                "delivered"
            );
        }
        Outcome::Retry { why, .. }
        | Outcome::Refused { why }
        | Outcome::InDoubt { why }
        | Outcome::Blocked { why, .. } => {
            let last = output
                .and_then(|o| o.trim_end().lines().last())
                .unwrap_or_default();
            let last: String = last.chars().take(200).collect();
            tracing::warn!(
                mailbox,
                folder,
                uid,
                queue_id,
                sha256,
                attempt,
                output = last,
                "not delivered: {why}"
            );
        }
    }
}

/// Writes an outcome down, however long it takes: a delivery that is not on disk would be delivered again. Returns whether the
/// mailbox has something to be told: the message is delivered, or held.
pub(super) async fn settle(
    spool: Spool,
    mailbox: String,
    delivery: DeliveryId,
    finished: Finished,
) -> bool {
    let Finished {
        outcome,
        patience,
        output,
        done_for,
    } = finished;
    loop {
        // First, so that a repeat never goes to those who have it, whatever happens in between.
        let noted = match done_for.is_empty() {
            true => Ok(()),
            false => spool.handed_to(delivery, done_for.clone()).await,
        };
        if let Err(e) = noted {
            tracing::error!(
                mailbox,
                delivery = delivery.0,
                "who has a message can't be written, tried again: {e}"
            );
            sleep(AGAIN).await;
            continue;
        }
        match spool
            .settle(delivery, outcome.clone(), output.clone(), patience.policy())
            .await
        {
            Ok(next) => return matches!(next, Next::Done | Next::Hold { .. }),
            Err(e @ SpoolError::NotClaimed { .. }) => {
                tracing::warn!(
                    mailbox,
                    delivery = delivery.0,
                    "an outcome came too late: {e}"
                );
                return false;
            }
            Err(e) => {
                tracing::error!(
                    mailbox,
                    delivery = delivery.0,
                    "an outcome can't be written, tried again: {e}"
                );
                sleep(AGAIN).await;
            }
        }
    }
}
