//! What a server's reply means for the message and for the account: pure, by the table in `answers`.
mod answers;

use crate::smtp_client::{Answer, ClientError, Stage};
use answers::{About, about};
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
/// Pause after the provider stopped the account: a person has to speak with it, and each try counts against the account.
const STOPPED_PAUSE: Duration = Duration::from_secs(3600);
/// Pause after being too fast: the windows that providers count in are a minute or more.
const HASTE_PAUSE: Duration = Duration::from_secs(60);

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
    let about = about(reply);
    if let Some((advice, pause)) = about_the_account(reply, about) {
        let why = format!("{why}. {advice}");
        let outcome = Outcome::Blocked {
            why: why.clone(),
            after: Some(pause),
        };
        return Verdict::Settle(outcome, Some(Trouble::Blocked { why, pause }));
    }
    match (about, reply.code) {
        (Some(About::Crowd), _) => Verdict::Release(Trouble::Crowded { why }),
        (Some(About::Haste), _) => pausing(why, Some(HASTE_PAUSE)),
        (Some(About::Crew), _) if stage == Stage::Rcpt => {
            settle(Outcome::Retry { why, after: None })
        }
        (Some(About::Sender), _) => settle(Outcome::Refused {
            why: format!("{why}. {SENDER_ADVICE}"),
        }),
        // The server closes; that it does so at this message again and again must not stop the others for ever.
        (_, 421) => pausing(why, None),
        (_, 200..300) => settle(Outcome::Delivered { why }),
        (_, 500..600) => settle(Outcome::Refused { why }),
        _ => settle(Outcome::Retry { why, after: None }),
    }
}

/// The message is tried again, and the relay pauses.
fn pausing(why: String, after: Option<Duration>) -> Verdict {
    let trouble = Trouble::Later {
        why: why.clone(),
        after,
    };
    Verdict::Settle(Outcome::Retry { why, after }, Some(trouble))
}

fn settle(outcome: Outcome) -> Verdict {
    Verdict::Settle(outcome, None)
}

/// Replies after which the account must wait, many of which look permanent: advice, and for how long.
fn about_the_account(reply: &Reply, about: Option<About>) -> Option<(&'static str, Duration)> {
    match about? {
        About::SignIn => Some((sign_in_advice(reply), SIGN_IN_PAUSE)),
        About::Passwords => Some((PASSWORDS_ADVICE, SIGN_IN_PAUSE)),
        About::Quota => Some((QUOTA_ADVICE, QUOTA_PAUSE)),
        About::Stopped => Some((STOPPED_ADVICE, STOPPED_PAUSE)),
        About::Crowd | About::Haste | About::Crew | About::Sender => None,
    }
}

const PASSWORDS_ADVICE: &str = "The provider no longer takes passwords for sending: give the relay a token (auth: {token: ...})";
const STOPPED_ADVICE: &str = "The provider has stopped this account from sending, mostly because its mail looked like spam: an administrator \
     finds out why and has it released there; until then its mail waits";
const SENDER_ADVICE: &str = "The account that the relay signs in with may not send under this address: grant it there (send as), or serve the \
     address by another relay";
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
            let advice = about_the_account(reply, about(reply))
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
    let about = about(reply);
    match about_the_account(reply, about) {
        Some((advice, pause)) => Trouble::Blocked {
            why: format!("{why}. {advice}"),
            pause,
        },
        None => match about {
            Some(About::Crowd) => Trouble::Crowded { why },
            Some(About::Haste) => Trouble::Later {
                why,
                after: Some(HASTE_PAUSE),
            },
            _ => Trouble::Later { why, after: None },
        },
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
