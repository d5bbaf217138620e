//! What a refusal means: response codes first, and the few sentences for which providers have no code; pure.

use std::time::Duration;

use imap_proto::{Outcome, ResponseCode};

use crate::error::{FetchError, Refusal, Status};

/// Response codes that ask for patience (RFC 5530, and what Yahoo, Outlook.com and Gmail send).
const PATIENCE: [&str; 7] = [
    "UNAVAILABLE",
    "INUSE",
    "IN-USE",
    "LIMIT",
    "OVERQUOTA",
    "THROTTLED",
    "SERVERBUG",
];

/// Longest text of a server that is kept.
const TEXT: usize = 300;

/// The refusal in an answer that wasn't OK.
pub(crate) fn refusal(command: &'static str, status: Status, outcome: &Outcome<'_>) -> Refusal {
    let told = outcome.information.as_deref().unwrap_or_default();
    let (code, text) = match (&outcome.code, known(outcome.code.as_ref())) {
        (Some(_), Some(code)) => (Some(code.to_owned()), format!("[{code}] {told}")),
        (Some(_), None) => (None, told.to_owned()),
        (None, _) => (leading_code(told), told.to_owned()),
    };
    Refusal {
        command,
        status,
        code,
        text: printable(&text),
    }
}

/// The codes that the parser knows and that can come with a refusal.
fn known(code: Option<&ResponseCode<'_>>) -> Option<&'static str> {
    match code? {
        ResponseCode::Alert => Some("ALERT"),
        ResponseCode::TryCreate => Some("TRYCREATE"),
        ResponseCode::ReadOnly => Some("READ-ONLY"),
        ResponseCode::Parse => Some("PARSE"),
        _ => None,
    }
}

/// `UNAVAILABLE` of `[UNAVAILABLE] text`: the parser hands unknown codes on as text.
fn leading_code(text: &str) -> Option<String> {
    let (inside, _) = text.strip_prefix('[')?.split_once(']')?;
    let code = inside.split(' ').next().unwrap_or_default();
    (!code.is_empty()).then(|| code.to_ascii_uppercase())
}

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
    let text = refusal.text.to_ascii_lowercase();
    if text.contains("accesstokenexpired") {
        return FetchError::TokenExpired(refusal.to_string());
    }
    let after = suggested(&text);
    let patience = after.is_some()
        || refusal.code.as_deref().is_some_and(|c| PATIENCE.contains(&c))
        // Microsoft: throttling, a wrong mailbox name, a missing permission or IMAP switched off; never "bad credentials".
        || text.contains("authenticated but not connected")
        || text.contains("request is throttled")
        || text.contains("too many simultaneous connections");
    if patience {
        return FetchError::Patience {
            why: refusal.to_string(),
            after,
        };
    }
    FetchError::Refused(refusal)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &[u8]) -> FetchError {
        let (_, response) = imap_proto::Response::parse(line).unwrap();
        let (status, outcome) = match &response {
            imap_proto::Response::Done {
                status, outcome, ..
            }
            | imap_proto::Response::Data { status, outcome } => (status, outcome),
            other => panic!("{other:?}"),
        };
        let status = match status {
            imap_proto::Status::No => Status::No,
            imap_proto::Status::Bad => Status::Bad,
            _ => Status::Bye,
        };
        meaning(refusal("SELECT", status, outcome))
    }

    #[test]
    fn codes_and_sentences_that_ask_for_patience_are_no_refusal() {
        for line in [
            &b"A1 NO [UNAVAILABLE] backend down\r\n"[..],
            b"A1 NO [INUSE] Mailbox in use\r\n",
            b"A1 NO [LIMIT] Rate limit hit\r\n",
            b"A1 NO [OVERQUOTA] Account exceeded command or bandwidth limits\r\n",
            b"A1 BAD User is authenticated but not connected.\r\n",
            b"A1 NO [ALERT] Too many simultaneous connections. (Failure)\r\n",
        ] {
            assert!(
                matches!(read(line), FetchError::Patience { after: None, .. }),
                "{}",
                String::from_utf8_lossy(line)
            );
        }
    }

    #[test]
    fn a_suggested_time_is_kept() {
        let told =
            read(b"A1 BAD Request is throttled. Suggested Backoff Time: 92415 milliseconds\r\n");
        assert!(
            matches!(told, FetchError::Patience { after: Some(d), .. } if d == Duration::from_millis(92_415))
        );
    }

    #[test]
    fn an_expired_access_token_is_told_apart() {
        assert!(matches!(
            read(b"* BYE Session invalidated - AccessTokenExpired\r\n"),
            FetchError::TokenExpired(_)
        ));
    }

    #[test]
    fn other_refusals_keep_code_and_words() {
        let FetchError::Refused(refusal) =
            read(b"A1 NO [AUTHENTICATIONFAILED] Invalid credentials (Failure)\r\n")
        else {
            panic!()
        };
        assert_eq!(refusal.code.as_deref(), Some("AUTHENTICATIONFAILED"));
        assert_eq!(
            refusal.to_string(),
            "the server answered SELECT with NO [AUTHENTICATIONFAILED] Invalid credentials (Failure)"
        );
        let FetchError::Refused(refusal) = read(b"A1 NO [TRYCREATE] no such folder\r\n") else {
            panic!()
        };
        assert_eq!(
            (refusal.code.as_deref(), refusal.text.as_str()),
            (Some("TRYCREATE"), "[TRYCREATE] no such folder")
        );
    }
}
