//! Outcomes and claims on their way to disk, against a spool that cannot for a while.
use super::connect::Account;
use spool::{DeliveryId, Outcome, SpoolError};
use std::time::Duration;
use tracing::{error, warn};

/// How often, and how long in all, an outcome that could not be recorded is tried again. As long as a delivered message is not
/// recorded, it could go out once more.
const RECORD_PAUSE: Duration = Duration::from_secs(1);
const RECORD_TRIES: u32 = 300;
/// As often a claim that could not be put back is tried again: it would be in nobody's hands until its lease ends.
const RELEASE_TRIES: u32 = 10;

/// Puts an outcome on disk, against a spool that can't for a while.
pub(crate) async fn record(account: &Account, delivery: DeliveryId, outcome: Outcome) {
    keep_recording(account, delivery, outcome, false).await;
}

/// `tell`: what left is closed with a report that it did (RFC 3461 section 5.2.2).
pub(super) async fn keep_recording(
    account: &Account,
    delivery: DeliveryId,
    outcome: Outcome,
    tell: bool,
) {
    for _ in 0..RECORD_TRIES {
        match put(account, delivery, outcome.clone(), tell).await {
            Ok(()) => return,
            // Somebody else decided meanwhile: a person deleted it, or its lease had ended.
            Err(SpoolError::NotClaimed(_)) => {
                return warn!(
                    relay = account.name(),
                    delivery = delivery.0,
                    ?outcome,
                    "an outcome came too late to count"
                );
            }
            Err(error) => {
                warn!(relay = account.name(), delivery = delivery.0, %error, "an outcome could not be recorded yet")
            }
        }
        tokio::time::sleep(RECORD_PAUSE).await;
    }
    error!(
        relay = account.name(),
        delivery = delivery.0,
        ?outcome,
        "an outcome was not recorded; the delivery may be repeated"
    );
}

async fn put(
    account: &Account,
    delivery: DeliveryId,
    outcome: Outcome,
    tell: bool,
) -> Result<(), SpoolError> {
    let spool = &account.parts.spool;
    match outcome {
        Outcome::Delivered { why } if tell => spool.settle_relayed(delivery, why).await,
        outcome => spool
            .settle(delivery, outcome, None, &account.policy)
            .await
            .map(drop),
    }
}

/// Puts claims back as they were. If that keeps failing, the lease runs out by itself.
pub(crate) async fn release(account: &Account, deliveries: Vec<DeliveryId>) {
    if deliveries.is_empty() {
        return;
    }
    for _ in 0..RELEASE_TRIES {
        match account.parts.spool.release(deliveries.clone()).await {
            Ok(()) => return,
            Err(error) => {
                warn!(relay = account.name(), %error, "claims could not be put back yet")
            }
        }
        tokio::time::sleep(RECORD_PAUSE).await;
    }
    error!(
        relay = account.name(),
        "claims were not put back; their messages wait until the lease ends"
    );
}
