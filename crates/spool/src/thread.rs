//! Order within a conversation: a later message to a recipient does not overtake an earlier one, unless that one is in trouble.
//!
//! A message waits for its turn while an earlier one of the same conversation, to the same recipient through the same relay, is due or
//! claimed; and while that one waits for a retry, until it was taken [`PATIENCE`] ago (time in which the account was blocked not
//! counted). One that is held or delivered is in nobody's way. Each candidate of a claim costs one look into an index.

use sha2::{Digest, Sha256};

/// Greylisting and a restarted server are over by then; after an hour the answer is worth more to its reader than the order.
pub(crate) const PATIENCE: i64 = 3600;

/// Holds for a delivery `d` whose turn it is. Takes the time and [`PATIENCE`] as `:now` and `:patience`.
pub(crate) const ITS_TURN: &str = "NOT EXISTS (
   SELECT 1 FROM delivery e WHERE e.thread = d.thread AND e.due_at IS NOT NULL AND e.account = d.account AND e.id < d.id AND e.message <> d.message
     AND (e.state = 'claimed' OR e.due_at <= :now
       OR :now - e.since - e.blocked_for - coalesce(max(:now - e.blocked_since, 0), 0) < :patience))";

/// The number of a conversation at one recipient. Two that share one by chance (64 bits) would only wait for each other now and then.
pub(crate) fn number(conversation: &str, recipient: &str) -> i64 {
    let mut hash = Sha256::new();
    hash.update(conversation.as_bytes());
    hash.update([0]);
    hash.update(recipient.to_ascii_lowercase().as_bytes());
    let mut first = [0; 8];
    first.copy_from_slice(&hash.finalize()[..8]);
    i64::from_be_bytes(first)
}
