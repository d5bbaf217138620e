//! The table of replies, row by row.
use super::*;

use Stage::{Data, End, Mail, Rcpt};

/// A reply from its text: code, enhanced code if there is one, words.
fn reply(text: &str) -> Reply {
    let (code, rest) = text.split_at(3);
    let rest = rest.trim_start();
    let (word, words) = rest.split_once(' ').unwrap_or((rest, ""));
    let parts: Vec<u16> = word
        .split('.')
        .filter_map(|part| part.parse().ok())
        .collect();
    let enhanced = <[u16; 3]>::try_from(parts).ok();
    let words = if enhanced.is_some() { words } else { rest };
    Reply {
        code: code.parse().expect("a code"),
        enhanced,
        lines: vec![words.to_owned()],
    }
}

/// A verdict in one word.
fn word(stage: Stage, reply: Reply) -> &'static str {
    match judge(&Answer::Reply(stage, reply)) {
        Verdict::Release(Trouble::Crowded { .. }) => "crowded",
        Verdict::Release(_) => "released",
        Verdict::Settle(Outcome::Blocked { .. }, Some(Trouble::Blocked { .. })) => "blocked",
        Verdict::Settle(Outcome::Retry { .. }, Some(Trouble::Later { .. })) => {
            "retry, relay pauses"
        }
        Verdict::Settle(Outcome::Delivered { .. }, None) => "delivered",
        Verdict::Settle(Outcome::Retry { .. }, None) => "retry",
        Verdict::Settle(Outcome::Refused { .. }, None) => "refused",
        other => panic!("{other:?}"),
    }
}

const TABLE: &[(Stage, &str, &str)] = &[
    (End, "250 2.0.0 OK", "delivered"),
    (End, "250", "delivered"),
    (Mail, "451 4.7.1 greylisted", "retry"),
    (Rcpt, "450 4.2.1 busy", "retry"),
    (Rcpt, "452 4.5.3 too many recipients", "retry"),
    (Rcpt, "552 too many recipients", "retry"),
    (Mail, "552 5.3.4 too big", "refused"),
    (End, "552 5.2.3 too big", "refused"),
    (Rcpt, "550 5.1.1 no such user", "refused"),
    (Rcpt, "554 relay access denied", "refused"),
    (Data, "554 5.5.1 no valid recipients", "refused"),
    (
        Mail,
        "550 5.7.60 no permissions to send as this sender",
        "refused",
    ),
    (
        End,
        "554 5.2.0 STOREDRV.Submission.Exception:SendAsDeniedException",
        "refused",
    ),
    (
        End,
        "554 5.2.0 STOREDRV.Submission.Exception:SubmissionQuotaExceededException",
        "blocked",
    ),
    (
        Mail,
        "550 5.4.5 Daily user sending limit exceeded",
        "blocked",
    ),
    (Rcpt, "554 5.4.5 limit", "blocked"),
    (
        Mail,
        "530 5.7.57 Client not authenticated to send mail",
        "blocked",
    ),
    (
        Mail,
        "530 5.7.0 Must issue a STARTTLS command first",
        "blocked",
    ),
    (Mail, "535 5.7.3 Authentication unsuccessful", "blocked"),
    (
        Mail,
        "550 5.7.30 Basic authentication is not supported",
        "blocked",
    ),
    (
        Mail,
        "432 4.3.2 Concurrent connections limit exceeded",
        "crowded",
    ),
    (Mail, "421 4.3.2 Service not available", "crowded"),
    (
        Mail,
        "421 4.7.0 Try again later, closing connection",
        "retry, relay pauses",
    ),
    (End, "421 closing", "retry, relay pauses"),
    (End, "451 4.3.0 queue full", "retry"),
];

#[test]
fn every_reply_of_the_table_has_its_verdict() {
    for (stage, text, expected) in TABLE {
        assert_eq!(word(*stage, reply(text)), *expected, "{text} at {stage}");
    }
}

#[test]
fn what_was_not_answered_is_retried_or_in_doubt_and_never_both() {
    assert!(matches!(
        judge(&Answer::Lost("x".into())),
        Verdict::Settle(Outcome::Retry { .. }, None)
    ));
    assert!(matches!(
        judge(&Answer::InDoubt("x".into())),
        Verdict::Settle(Outcome::InDoubt { .. }, None)
    ));
    assert!(matches!(
        judge(&Answer::Impossible("x".into())),
        Verdict::Settle(Outcome::Refused { .. }, None)
    ));
}

#[test]
fn a_refused_sign_in_names_the_administrators_switch() {
    let said = "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant.";
    let error = ClientError::SignIn {
        mechanism: "XOAUTH2",
        reply: reply(said),
        challenge: None,
    };
    assert!(
        !may_be_the_token(&error),
        "a fresh token changes nothing about a switch"
    );
    let Trouble::Blocked { why, .. } = judge_connection(&error) else {
        panic!("blocked");
    };
    assert!(
        why.contains("535 5.7.139") && why.contains("Authenticated SMTP is switched off"),
        "{why}"
    );
}

#[test]
fn a_temporary_failure_of_the_sign_in_is_no_refusal() {
    let reply = reply("454 4.7.0 Temporary authentication failure");
    let error = ClientError::SignIn {
        mechanism: "XOAUTH2",
        reply,
        challenge: None,
    };
    assert!(!may_be_the_token(&error));
    assert!(matches!(judge_connection(&error), Trouble::Later { .. }));
}

#[test]
fn a_missing_token_blocks_or_delays_by_its_kind() {
    let consent = TokenError::NeedsConsent {
        words: "expired".into(),
        advice: "Sign in again".into(),
    };
    assert!(matches!(judge_token(&consent), Trouble::Blocked { .. }));
    let after = Duration::from_secs(7);
    let later = TokenError::Later {
        words: "503".into(),
        after,
    };
    assert!(matches!(judge_token(&later), Trouble::Later { after: Some(a), .. } if a == after));
}
