//! In doubt: before the second try the account's Sent folder is asked whether the first one arrived.
//!
//! Most providers keep a copy of what is submitted. The copy must carry our own trace line of this very submission: a
//! Message-ID alone may be shared by several submissions, of which another one had arrived.
use super::connect::Account;
use super::record::record;
use crate::listen::own_id;
use futures_util::future::{BoxFuture, join_all};
use spool::{OutClaim, Outcome, Pieces};
use std::sync::Arc;
use std::time::Duration;
use tracing::{info, warn};

/// Connecting, signing in and searching; the second try has waited for minutes already, and a large folder is searched slowly.
const LOOK: Duration = Duration::from_secs(120);

/// What is looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The Message-ID, without its angle brackets.
    pub message_id: String,
    /// What a `Received` field of the copy contains.
    pub received: String,
}

/// Looks into the Sent folder of a relay's account: whether it is there, or why that cannot be said.
pub type SentFolder = Arc<dyn Fn(Wanted) -> BoxFuture<'static, Result<bool, String>> + Send + Sync>;

/// What is to be done with a claim, once it was looked for.
pub(super) enum Left {
    /// What did not arrive, or could not be looked for.
    ToSend(OutClaim),
    /// Nothing: all of it had arrived, and is settled.
    Nothing,
    /// The daemon stops, and nothing was done.
    Untouched(OutClaim),
}

/// Settles what has arrived.
pub(super) async fn without_arrived(account: &Account, mut claim: OutClaim) -> Left {
    let arrived = tokio::select! {
        biased;
        () = account.shutdown.cancelled(), if claim.in_doubt.is_some() => return Left::Untouched(claim),
        arrived = has_arrived(account, &claim) => arrived,
    };
    if !arrived {
        return Left::ToSend(claim);
    }
    let (arrived, left) = claim.recipients.into_iter().partition(|r| r.doubted);
    let arrived: Vec<spool::OutRecipient> = arrived;
    info!(
        relay = account.name(),
        queue_id = claim.message.0,
        recipients = arrived.len(),
        "a message in doubt is in the account's Sent folder, so that it is not sent again"
    );
    let outcome = Outcome::Delivered {
        why: "the first try had arrived: the message is in the account's Sent folder".to_owned(),
    };
    let settled = arrived
        .iter()
        .map(|recipient| record(account, recipient.delivery, outcome.clone()));
    join_all(settled).await;
    claim.recipients = left;
    match claim.recipients.is_empty() {
        true => Left::Nothing,
        false => Left::ToSend(claim),
    }
}

async fn has_arrived(account: &Account, claim: &OutClaim) -> bool {
    let (Some(look), Some(message_id)) = (&account.parts.sent, &claim.in_doubt) else {
        return false;
    };
    let Some(received) = trace_of(account, claim).await else {
        return false;
    };
    let wanted = Wanted {
        message_id: message_id.trim_matches(['<', '>']).to_owned(),
        received,
    };
    let why = match tokio::time::timeout(LOOK, look(wanted)).await {
        Ok(Ok(found)) => return found,
        Ok(Err(why)) => why,
        Err(_) => format!("no answer within {} s", LOOK.as_secs()),
    };
    warn!(
        relay = account.name(),
        queue_id = claim.message.0,
        why,
        "whether a message in doubt arrived could not be looked up; it is sent once more"
    );
    false
}

/// Our own trace line of the submission; a message that has none was not submitted here.
async fn trace_of(account: &Account, claim: &OutClaim) -> Option<String> {
    let stored = account.parts.spool.open_body(claim.message).await.ok()?;
    let mut text = Pieces::of(stored);
    let head = text.next().await.ok()?;
    own_id(head).map(|id| format!("id {id}"))
}
