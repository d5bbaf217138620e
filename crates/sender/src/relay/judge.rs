//! What a server's reply means for the message and for the account: one table, pure.
//!
//! A reply is judged by its code and enhanced code. The text is looked at in one place, where a provider puts its
//! machine-readable code there and nowhere else.
use crate::smtp_client::{Answer, ClientError, Stage};
use spool::Outcome;
use std::time::Duration;
use token_store::TokenError;
use wire::dial::DialError;
use wire::smtp::Reply;

/// Pause while a person must consent or mend something; looking again costs no network.
pub(crate) const CONSENT_PAUSE: Duration = Duration::from_secs(30);
/// Pause after a refused sign-in: providers lock accounts that try too often.
pub(crate) const SIGN_IN_PAUSE: Duration = Duration::from_secs(300);
/// Pause after a used-up quota. Quotas roll over the last 24 hours, so room comes back bit by bit.
pub(crate) const QUOTA_PAUSE: Duration = Duration::from_secs(1800);

/// What stops the relay as a whole for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Not reached, or asked to come back: tried again with growing pauses.
    Later {
        why: String,
        after: Option<Duration>,
    },
    /// Too many connections at once: fewer are made.
    Crowded { why: String },
    /// The account can't send until someone acts or time passes: its mail waits and its clocks stop.
    Blocked { why: String, pause: Duration },
}

impl Trouble {
    pub(crate) fn why(&self) -> &str {
        match self {
            Self::Later { why, .. } | Self::Crowded { why } | Self::Blocked { why, .. } => why,
        }
    }

    fn weight(&self) -> u8 {
        match self {
            Self::Later { .. } => 0,
            Self::Crowded { .. } => 1,
            Self::Blocked { .. } => 2,
        }
    }

    /// The one that stops more.
    pub(crate) fn graver(self, other: Self) -> Self {
        if other.weight() > self.weight() {
            other
        } else {
            self
        }
    }
}

/// What an answer means for one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The recipient is settled so; where the answer says something about the account as well, with that.
    Settle(Outcome, Option<Trouble>),
    /// It says nothing about this message: the claim is put back.
    Release(Trouble),
}

/// Judges one recipient's answer.
pub(crate) fn judge(answer: &Answer) -> Verdict {
    let (stage, reply) = match answer {
        Answer::Reply(stage, reply) => (*stage, reply),
        Answer::Impossible(why) => return settle(Outcome::Refused { why: why.clone() }),
        Answer::Lost(why) => {
            return settle(Outcome::Retry {
                why: why.clone(),
                after: None,
            });
        }
        Answer::InDoubt(why) => return settle(Outcome::InDoubt { why: why.clone() }),
    };
    let why = match stage {
        Stage::End => reply.to_string(),
        _ => format!("{reply} (in answer to {stage})"),
    };
    if let Some((advice, pause)) = about_the_account(reply) {
        let why = format!("{why}. {advice}");
        let outcome = Outcome::Blocked {
            why: why.clone(),
            after: Some(pause),
        };
        return Verdict::Settle(outcome, Some(Trouble::Blocked { why, pause }));
    }
    if is_crowded(reply) {
        return Verdict::Release(Trouble::Crowded { why });
    }
    match (stage, reply.code) {
        // The server closes; that it does so at this message again and again must not stop the others for ever.
        (_, 421) => {
            let trouble = Trouble::Later {
                why: why.clone(),
                after: None,
            };
            Verdict::Settle(Outcome::Retry { why, after: None }, Some(trouble))
        }
        // Too many recipients, by servers older than RFC 5321 (its section 4.5.3.1.10).
        (Stage::Rcpt, 552) => settle(Outcome::Retry { why, after: None }),
        (_, 200..300) => settle(Outcome::Delivered { why }),
        (_, 500..600) => settle(Outcome::Refused { why }),
        _ => settle(Outcome::Retry { why, after: None }),
    }
}

fn settle(outcome: Outcome) -> Verdict {
    Verdict::Settle(outcome, None)
}

/// `432 4.3.2 Concurrent connections limit exceeded` (Microsoft) and its kin.
fn is_crowded(reply: &Reply) -> bool {
    reply.code == 432 || (reply.code == 421 && reply.is(4, 3, 2))
}

/// Replies that look permanent and mean that the account must wait: advice, and for how long.
fn about_the_account(reply: &Reply) -> Option<(&'static str, Duration)> {
    let advice = match reply.code {
        530 | 534 | 535 | 538 => return Some((sign_in_advice(reply), SIGN_IN_PAUSE)),
        550 if reply.is(5, 7, 30) => {
            "The provider no longer takes passwords for sending: give the relay a token (auth: {token: ...})"
        }
        500..600 if reply.is(5, 4, 5) => return Some((QUOTA_ADVICE, QUOTA_PAUSE)),
        554 if reply.is(5, 2, 0) && reply.text().contains("SubmissionQuotaExceededException") => {
            return Some((QUOTA_ADVICE, QUOTA_PAUSE));
        }
        _ => return None,
    };
    Some((advice, SIGN_IN_PAUSE))
}

const QUOTA_ADVICE: &str =
    "The account has used up what it may send for now; its mail waits and is tried again by itself";

/// What a refused sign-in asks of a person.
fn sign_in_advice(reply: &Reply) -> &'static str {
    match reply.enhanced {
        Some([5, 7, 139]) if reply.text().contains("SmtpClientAuthentication") => {
            "Authenticated SMTP is switched off for this mailbox or the whole organization: an administrator switches it on \
             (Microsoft 365 admin center, the user, Mail, Manage email apps, Authenticated SMTP)"
        }
        Some([5, 7, 139]) => {
            "A policy of the organization forbids this sign-in: an administrator looks at the sign-in log of the account"
        }
        Some([5, 7, 57]) => {
            "The server does not count the session as signed in: check the relay's user and auth"
        }
        Some([5, 7, 9]) => {
            "The account needs another way to sign in: use a token, or a password made for applications"
        }
        _ => {
            "Check the relay's user, and that the token is this user's and its scope covers sending (or that the password is right)"
        }
    }
}

/// What a failed connection or sign-in means for the relay.
pub(crate) fn judge_connection(error: &ClientError) -> Trouble {
    let why = error.to_string();
    match error {
        ClientError::Dial(DialError::CaFile { .. })
        | ClientError::NoStartTls
        | ClientError::NoMechanism { .. }
        | ClientError::Sasl(_) => Trouble::Blocked {
            why,
            pause: CONSENT_PAUSE,
        },
        ClientError::Dial(_) | ClientError::Lost { .. } | ClientError::Injected { .. } => {
            Trouble::Later { why, after: None }
        }
        ClientError::Refused { reply, .. } => refusal(reply, why),
        ClientError::SignIn { reply, .. } if reply.class() == 5 => {
            let advice = about_the_account(reply)
                .map_or_else(|| sign_in_advice(reply), |(advice, _)| advice);
            Trouble::Blocked {
                why: format!("{why}. {advice}"),
                pause: SIGN_IN_PAUSE,
            }
        }
        ClientError::SignIn { reply, .. } => refusal(reply, why),
    }
}

fn refusal(reply: &Reply, why: String) -> Trouble {
    match about_the_account(reply) {
        Some((advice, pause)) => Trouble::Blocked {
            why: format!("{why}. {advice}"),
            pause,
        },
        None if is_crowded(reply) => Trouble::Crowded { why },
        None => Trouble::Later { why, after: None },
    }
}

/// What a missing token means for the relay.
pub(crate) fn judge_token(error: &TokenError) -> Trouble {
    let why = error.to_string();
    match error {
        TokenError::NeedsConsent { .. } | TokenError::Broken { .. } | TokenError::Unknown(_) => {
            Trouble::Blocked {
                why,
                pause: CONSENT_PAUSE,
            }
        }
        TokenError::Later { after, .. } => Trouble::Later {
            why,
            after: Some(*after),
        },
        TokenError::Store(_) => Trouble::Later { why, after: None },
    }
}

/// Whether a refused sign-in may be the token's fault, so that a fresh one is worth a try.
pub(crate) fn may_be_the_token(error: &ClientError) -> bool {
    match error {
        ClientError::SignIn { reply, .. } => reply.class() == 5 && !reply.is(5, 7, 139),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
