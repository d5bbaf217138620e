//! One claimed message: over a kept or a new connection to the server, and every recipient's answer into the spool.
use super::connect::Account;
use super::judge::{Trouble, Verdict, judge};
use super::needs::{Needs, needs};
use super::record::{keep_recording, release};
use super::sent::{Left, without_arrived};
use crate::smtp_client::{Answer, Client, Envelope, Sent, Stage, To};
use futures_util::future::join_all;
use spool::{DeliveryId, OutClaim, OutRecipient, Outcome, Pieces, SpoolError, Stored};
use std::sync::Arc;
use tracing::{info, warn};
use wire::dial::Stream;
use wire::smtp::Capabilities;

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
    /// Nothing was left to send.
    fn done(client: Option<Client<Stream>>) -> Self {
        Self {
            client,
            untouched: None,
            trouble: None,
            worked: false,
        }
    }

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
    mut kept: Option<Client<Stream>>,
) -> Carried {
    let claim = match without_arrived(&account, claim).await {
        Left::ToSend(claim) => claim,
        Left::Nothing => return Carried::done(kept),
        Left::Untouched(claim) => return Carried::untouched(claim, None),
    };
    loop {
        let was_kept = kept.is_some();
        let client = match kept.take() {
            Some(client) => client,
            None => {
                let connected = tokio::select! {
                    biased;
                    () = account.shutdown.cancelled() => return Carried::untouched(claim, None),
                    connected = account.connect() => connected,
                };
                match connected {
                    Ok(client) => client,
                    Err(trouble) => return Carried::untouched(claim, Some(trouble)),
                }
            }
        };
        let reports = client.offered.dsn;
        let sent = exchange(&account, &claim, client).await;
        let stale = was_kept && (sent.untouched || is_sign_in_over(&sent.answers));
        // It happens once: from then on DATA is used.
        let refused_chunk = sent.untouched && sent.chunking_refused;
        if !stale && !refused_chunk {
            return settle(&account, &claim, sent, reports).await;
        }
    }
}

/// The token of a kept connection may have run out meanwhile; only a new sign-in tells.
fn is_sign_in_over(answers: &[Answer]) -> bool {
    let refused = |answer: &Answer| matches!(answer, Answer::Reply(Stage::Mail, reply) if matches!(reply.code, 530 | 535));
    answers.iter().all(refused)
}

async fn exchange(account: &Account, claim: &OutClaim, client: Client<Stream>) -> Sent<Stream> {
    let recipients: Vec<To<'_>> = claim.recipients.iter().map(to).collect();
    let (stored, needs) = match open(account, claim, &client.offered).await {
        Ok(opened) => opened,
        Err(answer) => {
            return Sent {
                connection: Some(client),
                answers: vec![answer; recipients.len()],
                untouched: false,
                chunking_refused: false,
            };
        }
    };
    let envelope = Envelope {
        sender: account.sender_of(claim),
        recipients: &recipients,
        size: claim.size,
        smtputf8: claim.smtputf8,
        utf8_header: needs.utf8_header,
        eight_bit: needs.eight_bit,
        ret: claim.ret,
        envid: claim.envid.as_deref(),
    };
    let sent = client.send(envelope, Pieces::of(stored)).await;
    if sent.chunking_refused {
        account.give_up_chunking();
    }
    sent
}

/// The message's text, and what it needs of a server. What was declared at submission counts, unless this server cannot
/// do it: then the text itself is asked, for a client may declare out of habit.
async fn open(
    account: &Account,
    claim: &OutClaim,
    offered: &Capabilities,
) -> Result<(Stored, Needs), Answer> {
    let declared = Needs {
        eight_bit: claim.eight_bit,
        utf8_header: claim.smtputf8,
    };
    let lacks = (declared.eight_bit && !offered.eight_bit_mime)
        || (declared.utf8_header && !offered.smtputf8);
    let body = account.parts.spool.open_body(claim.message);
    let stored = body.await.map_err(|error| match error {
        SpoolError::Torn { .. } | SpoolError::Gone(_) => Answer::Impossible(error.to_string()),
        _ => Answer::Lost(error.to_string()),
    })?;
    if !lacks {
        return Ok((stored, declared));
    }
    let lost = |error: std::io::Error| Answer::Lost(error.to_string());
    let found = needs(Pieces::of(stored)).await.map_err(lost)?;
    let again = account.parts.spool.open_body(claim.message).await;
    let stored = again.map_err(|error| Answer::Lost(error.to_string()))?;
    Ok((stored, found))
}

fn to(recipient: &OutRecipient) -> To<'_> {
    To {
        address: &recipient.address,
        notify: recipient.notify,
        orcpt: recipient.orcpt.as_deref(),
    }
}

/// Records each recipient's outcome before the connection is used again, so that no more than one message for each
/// connection is ever between its answer and the disk. `reports`: the server was told what the submitter wants to know, and
/// answers for it from here on.
async fn settle(account: &Account, claim: &OutClaim, sent: Sent<Stream>, reports: bool) -> Carried {
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
    let tell = |delivery: DeliveryId| !reports && asks_to_be_told(account, claim, delivery);
    join_all(outcomes.into_iter().map(|(delivery, outcome)| {
        let tell = tell(delivery);
        keep_recording(account, delivery, outcome, tell)
    }))
    .await;
    release(account, released).await;
    Carried {
        client: sent.connection,
        untouched: None,
        trouble,
        worked,
    }
}

/// Whether the submitter wants to hear that this recipient's copy left, and somebody is there to be told.
fn asks_to_be_told(account: &Account, claim: &OutClaim, delivery: DeliveryId) -> bool {
    let mut recipients = claim.recipients.iter();
    let recipient = recipients.find(|recipient| recipient.delivery == delivery);
    let wanted = recipient.and_then(|r| r.notify).is_some_and(|n| n.success);
    wanted && !claim.sender.is_empty() && account.relay.bounces_to.is_some()
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
