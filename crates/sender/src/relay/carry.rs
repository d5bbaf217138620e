//! One claimed message: over a kept or a new connection to the server, and every recipient's answer into the spool.
use super::connect::Account;
use super::judge::{Trouble, Verdict, judge};
use crate::smtp_client::{Answer, Client, Envelope, Sent, Stage};
use futures_util::future::join_all;
use spool::{DeliveryId, OutClaim, OutRecipient, Outcome, SpoolError};
use std::sync::Arc;
use std::time::Duration;
use tracing::{error, info, warn};
use wire::dial::Stream;

/// How often, and how long in all, an outcome that could not be recorded is tried again. As long as a delivered message is not
/// recorded, it could go out once more.
const RECORD_PAUSE: Duration = Duration::from_secs(1);
const RECORD_TRIES: u32 = 300;
/// As often a claim that could not be put back is tried again: it would be in nobody's hands until its lease ends.
const RELEASE_TRIES: u32 = 10;

/// How a task ended.
pub(crate) struct Carried {
    /// For the next message, if it can be used.
    pub(crate) client: Option<Client<Stream>>,
    /// The claim, if nothing was done with it.
    pub(crate) untouched: Option<OutClaim>,
    /// What the relay as a whole should know.
    pub(crate) trouble: Option<Trouble>,
    /// The server answered for this message.
    pub(crate) worked: bool,
}

impl Carried {
    fn untouched(claim: OutClaim, trouble: Option<Trouble>) -> Self {
        Self {
            client: None,
            untouched: Some(claim),
            trouble,
            worked: false,
        }
    }
}

/// Sends one message and settles it. A connection that the server had closed meanwhile is replaced by a new one; a
/// connection not yet made is given up on shutdown, an exchange that has begun is not.
pub(crate) async fn carry(
    account: Arc<Account>,
    claim: OutClaim,
    kept: Option<Client<Stream>>,
) -> Carried {
    if let Some(client) = kept {
        let sent = exchange(&account, &claim, client).await;
        if !sent.untouched && !is_sign_in_over(&sent.answers) {
            return settle(&account, &claim, sent).await;
        }
    }
    let connected = tokio::select! {
        biased;
        () = account.shutdown.cancelled() => return Carried::untouched(claim, None),
        connected = account.connect() => connected,
    };
    match connected {
        Ok(client) => {
            let sent = exchange(&account, &claim, client).await;
            settle(&account, &claim, sent).await
        }
        Err(trouble) => Carried::untouched(claim, Some(trouble)),
    }
}

/// The token of a kept connection may have run out meanwhile; only a new sign-in tells.
fn is_sign_in_over(answers: &[Answer]) -> bool {
    let refused = |answer: &Answer| matches!(answer, Answer::Reply(Stage::Mail, reply) if matches!(reply.code, 530 | 535));
    answers.iter().all(refused)
}

async fn exchange(account: &Account, claim: &OutClaim, client: Client<Stream>) -> Sent<Stream> {
    let recipients: Vec<&str> = claim
        .recipients
        .iter()
        .map(|r| r.address.as_str())
        .collect();
    let stored = match account.parts.spool.open_body(claim.message).await {
        Ok(stored) => stored,
        Err(error) => {
            let answer = match error {
                SpoolError::Torn { .. } | SpoolError::Gone(_) => {
                    Answer::Impossible(error.to_string())
                }
                _ => Answer::Lost(error.to_string()),
            };
            return Sent {
                connection: Some(client),
                answers: vec![answer; recipients.len()],
                untouched: false,
            };
        }
    };
    let envelope = Envelope {
        sender: &claim.sender,
        recipients: &recipients,
        size: claim.size,
        smtputf8: claim.smtputf8,
        eight_bit: claim.eight_bit,
    };
    client.send(envelope, spool::Pieces::of(stored)).await
}

/// Records each recipient's outcome before the connection is used again, so that no more than one message for each
/// connection is ever between its answer and the disk.
async fn settle(account: &Account, claim: &OutClaim, sent: Sent<Stream>) -> Carried {
    let mut trouble: Option<Trouble> = None;
    let mut released = Vec::new();
    let mut outcomes = Vec::new();
    for (recipient, answer) in claim.recipients.iter().zip(&sent.answers) {
        let found = match judge(answer) {
            Verdict::Settle(outcome, found) => {
                note(account, claim, recipient, &outcome);
                outcomes.push((recipient.delivery, outcome));
                found
            }
            Verdict::Release(found) => {
                released.push(recipient.delivery);
                Some(found)
            }
        };
        trouble = match (trouble, found) {
            (Some(known), Some(found)) => Some(known.graver(found)),
            (known, found) => known.or(found),
        };
    }
    note_delivered(account, claim, &outcomes);
    let worked = sent
        .answers
        .iter()
        .any(|answer| matches!(answer, Answer::Reply(..)));
    join_all(
        outcomes
            .into_iter()
            .map(|(delivery, outcome)| record(account, delivery, outcome)),
    )
    .await;
    release(account, released).await;
    Carried {
        client: sent.connection,
        untouched: None,
        trouble,
        worked,
    }
}

/// Puts an outcome on disk, against a spool that can't for a while.
pub(crate) async fn record(account: &Account, delivery: DeliveryId, outcome: Outcome) {
    for _ in 0..RECORD_TRIES {
        match account
            .parts
            .spool
            .settle(delivery, outcome.clone(), None, &account.policy)
            .await
        {
            Ok(_) => return,
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

/// One line for each recipient whose message did not go through.
fn note(account: &Account, claim: &OutClaim, recipient: &OutRecipient, outcome: &Outcome) {
    let (relay, message, recipient) = (account.name(), claim.message.0, recipient.address.as_str());
    match outcome {
        Outcome::Delivered { .. } => {}
        Outcome::Refused { why } => {
            info!(
                relay,
                queue_id = message,
                recipient,
                why,
                "the recipient was refused"
            )
        }
        Outcome::Retry { why, .. } => info!(
            relay,
            queue_id = message,
            recipient,
            why,
            "not sent; tried again later"
        ),
        Outcome::InDoubt { why } => warn!(
            relay,
            queue_id = message,
            recipient,
            why,
            "in doubt: the server may have taken the message"
        ),
        Outcome::Blocked { why, .. } => info!(
            relay,
            queue_id = message,
            recipient,
            why,
            "waits: the account can't send now"
        ),
    }
}

/// One line for each message that went out.
fn note_delivered(account: &Account, claim: &OutClaim, outcomes: &[(DeliveryId, Outcome)]) {
    let mut delivered = outcomes.iter().filter_map(|(_, outcome)| match outcome {
        Outcome::Delivered { why } => Some(why),
        _ => None,
    });
    if let Some(reply) = delivered.next() {
        let (relay, message, recipients) = (account.name(), claim.message.0, 1 + delivered.count());
        info!(
            relay,
            queue_id = message,
            recipients,
            size = claim.size,
            reply,
            "relayed a message"
        );
    }
}
