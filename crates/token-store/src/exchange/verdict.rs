//! An answer of a token endpoint -> Verdict. Pure: status, Retry-After and body in, a decision with words out.
//!
//! The order of looking: a status that means "later" (408, 429, 5xx); the provider's numbered codes, which refine a
//! broad `error`; the `error` itself. Everything else, an HTML page or a proxy's message among them, is *retry*.
//! No verdict ever says "drop the refresh token".

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
    },
    /// A person must sign in again.
    AskPerson(Trouble),
    /// The administrator must change something.
    FixConfiguration(Trouble),
}

/// What was granted.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Grant {
    pub(crate) access: Secret,
    pub(crate) expires_in: Option<Duration>,
    pub(crate) refresh: Option<Secret>,
    pub(crate) refresh_expires_in: Option<Duration>,
}

/// The provider's own words, and what to do about them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trouble {
    pub(crate) words: String,
    pub(crate) advice: String,
}

/// Microsoft's "looping client" wants a real pause before the next request.
const LOOP_PAUSE: Duration = Duration::from_secs(15 * 60);

const ADVICE_WAIT: &str = "nothing to do: it is tried again by itself";
/// `NAME` becomes the token config's.
const ADVICE_PERSON: &str =
    "request a new token, on the tokens page or with `postern token request NAME`";

#[derive(Clone, Copy)]
enum Kind {
    Retry(Option<Duration>),
    Person(&'static str),
    Configuration(&'static str),
}

/// Decides what an answer means.
pub(crate) fn judge(status: u16, retry_after: Option<Duration>, answered: Answered) -> Verdict {
    let complaint = match answered {
        Answered::Grant(grant) => return Verdict::Granted(grant),
        Answered::Complaint(complaint) => complaint,
        Answered::Nonsense(what) => {
            let words = format!("the token endpoint answered {status} with {what}");
            return Verdict::Retry {
                trouble: trouble(words, ADVICE_WAIT),
                after: retry_after,
            };
        }
    };
    let words = complaint.words(status);
    match kind(status, &complaint) {
        Kind::Retry(pause) => Verdict::Retry {
            trouble: trouble(words, ADVICE_WAIT),
            after: pause.into_iter().chain(retry_after).max(),
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
    }
}

fn trouble(words: String, advice: &str) -> Trouble {
    Trouble {
        words,
        advice: advice.to_owned(),
    }
}

fn kind(status: u16, complaint: &Complaint) -> Kind {
    if matches!(status, 408 | 425 | 429 | 500..=599) {
        return Kind::Retry(None);
    }
    complaint
        .codes
        .iter()
        .find_map(|code| by_code(*code))
        .or_else(|| by_suberror(&complaint.suberror))
        .or_else(|| by_error(&complaint.error))
        .unwrap_or(Kind::Retry(None))
}

/// Microsoft Entra's numbers (AADSTS...), the ones a mail gateway meets.
fn by_code(code: u32) -> Option<Kind> {
    Some(match code {
        90006 | 90012 | 90024 | 90033 | 90055 | 90090 | 70012 => Kind::Retry(None),
        50196 => Kind::Retry(Some(LOOP_PAUSE)),
        700_082 | 70008 => Kind::Person(ADVICE_PERSON),
        70043 => Kind::Person(
            "a sign-in frequency policy ended the grant; request a new token, and ask the tenant's administrator to exempt this app",
        ),
        50173 => Kind::Person(
            "the password was changed or the sessions were revoked; request a new token",
        ),
        65001 => Kind::Person(
            "consent is missing or was withdrawn; request a new token, or let the tenant's administrator grant consent",
        ),
        50076 | 50079 => Kind::Person(
            "multi-factor authentication is asked for; request a new token and complete it",
        ),
        70002 | 7_000_215 => {
            Kind::Configuration("the client secret is wrong: enter the secret's value, not its id")
        }
        7_000_222 => Kind::Configuration(
            "the client secret has expired: make a new one in the app registration and enter it",
        ),
        700_016 => Kind::Configuration(
            "the client id is not known in this tenant: compare it, and the tenant in the endpoints, with the app registration",
        ),
        700_025 => Kind::Configuration(
            "the app is registered as a public client: leave the client secret empty",
        ),
        50194 => Kind::Configuration(
            "the app belongs to one tenant: use the tenant's own endpoints instead of `common`",
        ),
        9_001_023 => Kind::Configuration(
            "this grant is not possible on `common` or `consumers`: use the tenant's own endpoints",
        ),
        900_144 => Kind::Configuration(
            "a required field is missing in the request: map it in the token config (`scope` for Microsoft)",
        ),
        53003 => Kind::Configuration(
            "a conditional access policy blocks this sign-in: ask the tenant's administrator to exempt this app; the token is kept",
        ),
        _ => return None,
    })
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
        | "rate_limit_exceeded"
        | "too_many_requests"
        | "unavailable" => Kind::Retry(None),
        "invalid_grant"
        | "interaction_required"
        | "consent_required"
        | "login_required"
        | "access_denied"
        | "account_selection_required"
        | "expired_token"
        | "invalid_token"
        | "token_expired" => Kind::Person(ADVICE_PERSON),
        "invalid_client" | "disabled_client" | "deleted_client" => {
            Kind::Configuration("compare client id and client secret with the app registration")
        }
        "unauthorized_client" => Kind::Configuration(
            "the app registration does not allow this kind of request for this client: allow it there",
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
        "redirect_uri_mismatch" => {
            Kind::Configuration("register the redirect URI at the provider exactly as it is sent")
        }
        "invalid_request" | "invalid_argument" => Kind::Configuration(
            "the provider found the request incomplete: check the token config's request fields against its documentation",
        ),
        "admin_policy_enforced" | "org_internal" | "restricted_client" => Kind::Configuration(
            "the organisation's policy blocks this app: ask its administrator to allow it",
        ),
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
