//! An answer of a token endpoint -> Verdict. Pure: status, Retry-After and body in, a decision with words out.
//!
//! The order of looking: a status that means "later" (408, 429, 5xx) or comes from somebody between (3xx, 407); the
//! provider's numbered codes, which refine a broad `error`; the `error` itself. Everything else, an HTML page or a proxy's
//! message among them, is *retry*. No verdict ever says "drop the refresh token".

mod entra;

use super::answer::{Answered, Complaint};
use crate::Secret;
use std::time::Duration;

/// How a token request ended.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Verdict {
    /// Here is a token.
    Granted(Grant),
    /// It may work later by itself.
    Retry {
        trouble: Trouble,
        /// What the server asked for.
        after: Option<Duration>,
        /// A refresh token that came with an answer of no other use: it replaces the one that was sent.
        refresh: Option<Secret>,
        /// Whom else it concerns.
        blame: Blame,
    },
    /// A person must sign in again.
    AskPerson(Trouble),
    /// The administrator must change something.
    FixConfiguration(Trouble),
}

impl Verdict {
    /// The refresh token that came with the answer.
    pub(crate) fn refresh_token(&self) -> Option<&Secret> {
        match self {
            Verdict::Granted(grant) => grant.refresh.as_ref(),
            Verdict::Retry { refresh, .. } => refresh.as_ref(),
            Verdict::AskPerson(_) | Verdict::FixConfiguration(_) => None,
        }
    }
}

/// Whom a failure that may pass concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Blame {
    /// The token endpoint is away, or something else answers in its place: every token that is refreshed there.
    Endpoint,
    /// It has had enough of this client's requests: every token of this client there.
    Client,
    /// Nobody else, as far as the answer tells.
    Token,
}

/// What was granted.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Grant {
    pub(crate) access: Secret,
    pub(crate) expires_in: Option<Duration>,
    pub(crate) refresh: Option<Secret>,
    pub(crate) refresh_expires_in: Option<Duration>,
    /// Whose token it is.
    pub(crate) owner: Owner,
}

/// Whose token it is, as far as the provider tells.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) enum Owner {
    #[default]
    Untold,
    /// To be read, and then dropped.
    IdToken(Secret),
    /// By these names, the most telling first; at least one.
    Named(Vec<String>),
}

impl Owner {
    /// By names that may be none.
    pub(crate) fn named(names: Vec<String>) -> Self {
        if names.is_empty() {
            Self::Untold
        } else {
            Self::Named(names)
        }
    }

    pub(crate) fn names(&self) -> &[String] {
        match self {
            Self::Named(names) => names,
            Self::Untold | Self::IdToken(_) => &[],
        }
    }
}

/// The provider's own words, and what to do about them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trouble {
    pub(crate) words: String,
    pub(crate) advice: String,
}

const ADVICE_WAIT: &str = "nothing to do: it is tried again by itself";
const ADVICE_UNKNOWN: &str =
    "it is tried again by itself; if it stays, look these words up in the provider's documentation";
const ADVICE_ENDPOINT: &str = "compare the token endpoint's address with the provider's documentation; it is tried again by itself";
const ADVICE_PROXY: &str = "give the proxy's user and password in the `https_proxy` variable of the service; it is tried again by itself";
const ADVICE_BETWEEN: &str = "it is tried again by itself; if it stays, something answers in the provider's place (a proxy, a firewall, \
     a network's own sign-in page), or the token endpoint's address is wrong";
/// `NAME` becomes the token config's.
const ADVICE_PERSON: &str =
    "request a new token, on the tokens page or with `postern token request NAME`";

#[derive(Clone, Copy)]
enum Kind {
    Retry {
        after: Option<Duration>,
        advice: &'static str,
    },
    Person(&'static str),
    Configuration(&'static str),
}

/// Decides what an answer means.
pub(crate) fn judge(status: u16, retry_after: Option<Duration>, answered: Answered) -> Verdict {
    let complaint = match answered {
        Answered::Grant(grant) => return Verdict::Granted(grant),
        Answered::Complaint(complaint) => complaint,
        Answered::Nonsense { what, refresh } => {
            let words = format!("the token endpoint answered {status} with {what}");
            return Verdict::Retry {
                trouble: trouble(words, patience(status).unwrap_or(ADVICE_BETWEEN)),
                after: retry_after,
                blame: blame(
                    status,
                    if refresh.is_some() {
                        Blame::Token
                    } else {
                        Blame::Endpoint
                    },
                ),
                refresh,
            };
        }
    };
    let words = complaint.words(status);
    match kind(status, &complaint) {
        Kind::Retry { after, advice } => Verdict::Retry {
            trouble: trouble(words, advice),
            after: after.into_iter().chain(retry_after).max(),
            refresh: None,
            blame: blame(status, Blame::Token),
        },
        Kind::Person(advice) => Verdict::AskPerson(trouble(words, advice)),
        Kind::Configuration(advice) => Verdict::FixConfiguration(trouble(words, advice)),
    }
}

/// The request never got a whole answer.
pub(crate) fn unanswered(why: impl Into<String>) -> Verdict {
    Verdict::Retry {
        trouble: trouble(why.into(), ADVICE_WAIT),
        after: None,
        refresh: None,
        blame: Blame::Endpoint,
    }
}

/// What to say of a status that leaves nothing to decide: the server is busy, or it was not the token endpoint that answered.
fn patience(status: u16) -> Option<&'static str> {
    match status {
        511 | 300..=399 => Some(ADVICE_BETWEEN),
        407 => Some(ADVICE_PROXY),
        408 | 425 | 429 | 500..=599 => Some(ADVICE_WAIT),
        404 | 405 | 410 => Some(ADVICE_ENDPOINT),
        _ => None,
    }
}

/// Whom an answer that means "later" concerns.
fn blame(status: u16, otherwise: Blame) -> Blame {
    match status {
        429 => Blame::Client,
        500..=599 => Blame::Endpoint,
        _ => otherwise,
    }
}

fn trouble(words: String, advice: &str) -> Trouble {
    Trouble {
        words,
        advice: advice.to_owned(),
    }
}

const LATER: Kind = Kind::Retry {
    after: None,
    advice: ADVICE_WAIT,
};

fn kind(status: u16, complaint: &Complaint) -> Kind {
    let later = |advice| Kind::Retry {
        after: None,
        advice,
    };
    if matches!(status, 300..=399 | 407 | 408 | 425 | 429 | 500..=599) {
        return later(patience(status).unwrap_or(ADVICE_WAIT));
    }
    complaint
        .codes
        .iter()
        .find_map(|code| entra::by_code(*code))
        .or_else(|| by_suberror(&complaint.suberror))
        .or_else(|| by_error(&complaint.error))
        .unwrap_or_else(|| later(patience(status).unwrap_or(ADVICE_UNKNOWN)))
}

fn by_suberror(suberror: &str) -> Option<Kind> {
    Some(match suberror {
        "bad_token" | "token_expired" | "consent_required" | "basic_action"
        | "additional_action" | "message_only" => Kind::Person(ADVICE_PERSON),
        "invalid_rapt" => Kind::Person(
            "a session length policy ended the grant; request a new token, and ask the Workspace administrator to trust this app",
        ),
        "client_mismatch" => Kind::Configuration(
            "the refresh token belongs to another client: restore the client id, or request a new token",
        ),
        "protection_policy_required" | "device_authentication_failed" => Kind::Configuration(
            "a device policy blocks this sign-in: ask the tenant's administrator to exempt this app; the token is kept",
        ),
        _ => return None,
    })
}

/// RFC 6749 sections 4.1.2.1 and 5.2, RFC 8628 section 3.5, OpenID Connect section 3.1.2.6, and what providers add.
fn by_error(error: &str) -> Option<Kind> {
    Some(match error {
        "temporarily_unavailable"
        | "server_error"
        | "slow_down"
        | "authorization_pending"
        | "internal_failure"
        | "internal"
        | "error_handling_request"
        | "rate_limit_exceeded"
        | "resource_exhausted"
        | "too_many_requests"
        | "too_many_attempts"
        | "unavailable" => LATER,
        "invalid_grant"
        | "interaction_required"
        | "consent_required"
        | "login_required"
        | "access_denied"
        | "account_selection_required"
        | "expired_token"
        | "invalid_token"
        | "invalid_refresh_token"
        | "bad_refresh_token"
        | "account_not_authorized"
        | "unmet_authentication_requirements"
        | "token_expired" => Kind::Person(ADVICE_PERSON),
        "mfa_required" => Kind::Person(
            "multi-factor authentication is asked for; request a new token and complete it",
        ),
        "invalid_client"
        | "invalid_client_secret"
        | "incorrect_client_credentials"
        | "disabled_client"
        | "deleted_client" => {
            Kind::Configuration("compare client id and client secret with the app registration")
        }
        "unauthorized_client" => Kind::Configuration(
            "compare client id and client secret with the app registration, and allow this kind of request there",
        ),
        "invalid_scope" => Kind::Configuration(
            "the provider does not know or allow this scope: correct it, then request a new token",
        ),
        "invalid_resource" | "invalid_target" => Kind::Configuration(
            "the scope names a resource this tenant does not have: correct the scope",
        ),
        "unsupported_grant_type" | "unsupported_response_type" => Kind::Configuration(
            "the token endpoint does not do this kind of request: check the endpoint's URL and the grant type",
        ),
        "redirect_uri_mismatch" | "invalid_redirect_uri" | "unsupported_redirect_uri" => {
            Kind::Configuration("register the redirect URI at the provider exactly as it is sent")
        }
        "invalid_request" | "invalid_argument" | "invalid_input" | "parameter_absent" => {
            Kind::Configuration(
                "the provider found the request incomplete: check the token config's request fields against its documentation",
            )
        }
        "admin_policy_enforced" | "org_internal" | "restricted_client" => Kind::Configuration(
            "the organisation's policy blocks this app: ask its administrator to allow it",
        ),
        _ => return None,
    })
}

#[cfg(test)]
mod table;
#[cfg(test)]
mod tests;
