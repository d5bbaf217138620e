//! A refusal in IMAP's own form, read for the rest of the fetcher; pure.

use imap_proto::{Outcome, ResponseCode};

use crate::error::{Refusal, Status};
use crate::refusal::printable;

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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::error::FetchError;
    use crate::refusal::{Blame, blame, meaning};

    fn read(line: &[u8], command: &'static str) -> FetchError {
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
        meaning(refusal(command, status, outcome))
    }

    /// What follows, in one word.
    fn follows(line: &[u8], command: &'static str) -> &'static str {
        match read(line, command) {
            FetchError::Patience { after: Some(_), .. } => "as long as told",
            FetchError::Patience { after: None, .. } => "back off",
            FetchError::Quota(_) => "back off for hours",
            FetchError::TokenExpired { .. } => "a fresh token",
            FetchError::Refused(refusal) if ["AUTHENTICATE", "LOGIN"].contains(&command) => {
                match blame(&refusal, false) {
                    Blame::Credential => "reject the credential",
                    Blame::Account => "tell the administrator",
                    Blame::Nobody => "try again",
                }
            }
            FetchError::Refused(_) => "tell the administrator",
            other => panic!("{other:?}"),
        }
    }

    const COMMANDS: [&str; 9] = [
        "AUTHENTICATE",
        "UID FETCH",
        "SELECT",
        "IDLE",
        "UID MOVE",
        "CREATE",
        "LOGIN",
        "the connection",
        "UID STORE",
    ];
    /// What was asked | what the server said | what follows.
    const TABLE: &str = "\
AUTHENTICATE | A1 NO [UNAVAILABLE] backend down | back off
UID FETCH | A1 NO [UNAVAILABLE] backend down | back off
UID FETCH | * BYE [UNAVAILABLE] shutting down | back off
SELECT | A1 NO [INUSE] Mailbox in use | back off
SELECT | A1 NO [LIMIT] Rate limit hit | back off
SELECT | A1 NO [SERVERBUG] Internal error occurred | back off
UID FETCH | A1 NO [SERVERBUG] Internal error occurred | tell the administrator
UID FETCH | A1 NO [OVERQUOTA] Account exceeded command or bandwidth limits. (Failure) | back off for hours
IDLE | * BYE [OVERQUOTA] Account exceeded command or bandwidth limits. | back off for hours
UID MOVE | A1 NO [OVERQUOTA] The mailbox is full | tell the administrator
CREATE | A1 NO [OVERQUOTA] The mailbox is full | tell the administrator
AUTHENTICATE | A1 NO [AUTHENTICATIONFAILED] Invalid credentials (Failure) | reject the credential
LOGIN | A1 NO [AUTHENTICATIONFAILED] Authentication failed. | reject the credential
LOGIN | A1 NO [EXPIRED] That password has expired | reject the credential
AUTHENTICATE | A1 NO [EXPIRED] The token has expired | reject the credential
AUTHENTICATE | A1 NO AUTHENTICATE failed. | reject the credential
AUTHENTICATE | A1 NO [AUTHORIZATIONFAILED] No such authorization-ID | tell the administrator
AUTHENTICATE | A1 NO [CONTACTADMIN] The account is locked | tell the administrator
LOGIN | A1 NO [PRIVACYREQUIRED] Use TLS | tell the administrator
AUTHENTICATE | A1 NO [ALERT] Your account is not enabled for IMAP use. (Failure) | tell the administrator
AUTHENTICATE | A1 NO [ALERT] Too many simultaneous connections. (Failure) | back off
the connection | * BYE Too many connections from your address | back off
the connection | * BYE Maximum number of connections from user+IP exceeded (mail_max_userip_connections=10) | back off
AUTHENTICATE | A1 BAD User is authenticated but not connected. | back off
SELECT | A1 BAD User is authenticated but not connected. | back off
UID FETCH | A1 BAD Request is throttled. Suggested Backoff Time: 92415 milliseconds | as long as told
IDLE | * BYE Request is throttled. Suggested Backoff Time: 92415 milliseconds | as long as told
AUTHENTICATE | A1 BAD Command Argument Error. 12 | try again
IDLE | * BYE Session invalidated - AccessTokenExpired | a fresh token
UID STORE | A1 NO [NOPERM] no right | tell the administrator
SELECT | A1 NO [NONEXISTENT] no such folder | tell the administrator";

    #[test]
    fn response_codes_and_the_sentences_of_providers_decide_what_follows() {
        for row in TABLE.lines() {
            let columns: Vec<&str> = row.split(" | ").collect();
            let [command, line, then] = columns[..] else {
                panic!("{row}")
            };
            let command = COMMANDS.into_iter().find(|known| *known == command);
            let got = follows(format!("{line}\r\n").as_bytes(), command.unwrap());
            assert_eq!(got, then, "{row}");
        }
    }

    #[test]
    fn an_error_challenge_speaks_of_the_token_whatever_the_code_but_not_of_a_missing_right() {
        let refusal = |line: &str| match read(line.as_bytes(), "AUTHENTICATE") {
            FetchError::Refused(refusal) => refusal,
            other => panic!("{other:?}"),
        };
        let challenged = |line| blame(&refusal(line), true);
        assert_eq!(
            challenged("A1 NO [ALERT] Invalid credentials\r\n"),
            Blame::Credential
        );
        assert_eq!(challenged("A1 BAD cancelled\r\n"), Blame::Credential);
        assert_eq!(
            challenged("A1 NO [AUTHORIZATIONFAILED] no\r\n"),
            Blame::Account
        );
    }

    #[test]
    fn a_suggested_time_is_kept() {
        let told = read(
            b"A1 BAD Request is throttled. Suggested Backoff Time: 92415 milliseconds\r\n",
            "SELECT",
        );
        assert!(
            matches!(told, FetchError::Patience { after: Some(d), .. } if d == Duration::from_millis(92_415))
        );
    }

    #[test]
    fn other_refusals_keep_code_and_words() {
        let FetchError::Refused(refusal) = read(
            b"A1 NO [AUTHENTICATIONFAILED] Invalid credentials (Failure)\r\n",
            "SELECT",
        ) else {
            panic!()
        };
        assert_eq!(refusal.code.as_deref(), Some("AUTHENTICATIONFAILED"));
        assert_eq!(
            refusal.to_string(),
            "the server answered SELECT with NO [AUTHENTICATIONFAILED] Invalid credentials (Failure)"
        );
        let FetchError::Refused(refusal) = read(b"A1 NO [TRYCREATE] no such folder\r\n", "SELECT")
        else {
            panic!()
        };
        assert_eq!(
            (refusal.code.as_deref(), refusal.text.as_str()),
            (Some("TRYCREATE"), "[TRYCREATE] no such folder")
        );
    }
}
