//! What a refusal means: response codes first, and the few sentences for which providers have no code; pure.

use std::time::Duration;

use crate::error::{FetchError, Refusal, Status};

/// Response codes that ask for patience (RFC 5530, for POP3 RFC 2449 and RFC 3206, and what Yahoo, Outlook.com and Gmail send).
const PATIENCE: [&str; 8] = [
    "UNAVAILABLE",
    "INUSE",
    "IN-USE",
    "LOGIN-DELAY",
    "SYS/TEMP",
    "LIMIT",
    "THROTTLED",
    "SERVERBUG",
];

/// Sentences that ask for patience, of servers that have no code for it (Microsoft, Gmail, Dovecot, Cyrus); in lower case.
const PATIENT_WORDS: [&str; 5] = [
    // Microsoft: throttling, a wrong mailbox name, a missing permission or IMAP switched off; never "bad credentials".
    "authenticated but not connected",
    "request is throttled",
    "too many simultaneous connections",
    "too many connections",
    "maximum number of connections",
];

/// Longest text of a server that is kept.
const TEXT: usize = 300;

/// A server's text on one line, without control characters, cut.
pub(crate) fn printable(text: &str) -> String {
    text.trim()
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(TEXT)
        .collect()
}

/// What the caller does about a refusal. Providers have no code for some of these, only a sentence; all of them are read here.
pub(crate) fn meaning(refusal: Refusal) -> FetchError {
    let why = || refusal.to_string();
    let text = refusal.text.to_ascii_lowercase();
    if text.contains("accesstokenexpired") {
        return FetchError::TokenExpired {
            why: why(),
            token: None,
        };
    }
    let after = suggested(&text);
    let code = refusal.code.as_deref().unwrap_or_default();
    // One message that the server can't give, or one mailbox that is full, is not the account's trouble.
    let of_one_message = code == "SERVERBUG" && refusal.command == "UID FETCH";
    let mailbox_full = ["UID COPY", "UID MOVE", "CREATE"].contains(&refusal.command);
    if code == "OVERQUOTA" && !mailbox_full && after.is_none() {
        return FetchError::Quota(why());
    }
    let patience = after.is_some()
        || (PATIENCE.contains(&code) && !of_one_message)
        || PATIENT_WORDS.iter().any(|words| text.contains(words));
    if patience {
        return FetchError::Patience { why: why(), after };
    }
    FetchError::Refused(refusal)
}

/// What a refused sign-in means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Blame {
    /// The credential: another one is needed.
    Credential,
    /// The account, or its rights: a person must change something at the provider.
    Account,
    /// Neither: the command was not understood.
    Nobody,
}

/// Whom a refused AUTHENTICATE or LOGIN blames (RFC 5530 section 3). `challenged`: an error challenge came, which speaks of the token.
pub(crate) fn blame(refusal: &Refusal, challenged: bool) -> Blame {
    match refusal.code.as_deref() {
        Some("AUTHENTICATIONFAILED" | "EXPIRED") => Blame::Credential,
        Some("AUTHORIZATIONFAILED" | "CONTACTADMIN" | "PRIVACYREQUIRED" | "NOPERM") => {
            Blame::Account
        }
        _ if challenged => Blame::Credential,
        // Gmail: IMAP is switched off, or a web sign-in is needed. The words say what to do.
        Some("ALERT") => Blame::Account,
        _ if refusal.status == Status::Bad => Blame::Nobody,
        _ => Blame::Credential,
    }
}

/// `Suggested Backoff Time: N milliseconds`, in lower case.
fn suggested(text: &str) -> Option<Duration> {
    let (_, rest) = text.split_once("suggested backoff time:")?;
    let rest = rest.trim_start();
    let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    // A day at most: more would be a mistake of the server's.
    rest[..digits]
        .parse()
        .ok()
        .map(|ms: u64| Duration::from_millis(ms.min(86_400_000)))
}
