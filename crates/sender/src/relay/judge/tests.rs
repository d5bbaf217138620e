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
        Verdict::Settle(Outcome::Refused { why }, None) if why.contains("send as") => {
            "refused, with advice"
        }
        Verdict::Settle(Outcome::Refused { .. }, None) => "refused",
        other => panic!("{other:?}"),
    }
}

/// Real answers, as providers and servers give them, and what each must lead to.
#[rustfmt::skip]
const TABLE: &[(Stage, &str, &str)] = &[
    // Google
    (End, "250 2.0.0 OK  1700000000 x-20020a05.1 - gsmtp", "delivered"),
    (Mail, "550 5.4.5 Daily user sending limit exceeded. For more information on Gmail sending limits go to", "blocked"),
    (Rcpt, "550 5.4.5 Daily SMTP relay sending limit exceeded for user.", "blocked"),
    (Mail, "421 4.7.0 Try again later, closing connection. (MAIL)", "retry, relay pauses"),
    (End, "421 4.7.28 Our system has detected an unusual rate of unsolicited mail originating from your IP address.", "retry, relay pauses"),
    (Rcpt, "450 4.2.1 The user you are trying to contact is receiving mail too quickly. Please resend your message at a later time.", "retry"),
    (Rcpt, "452 4.2.2 The email account that you tried to reach is over quota.", "retry"),
    (Rcpt, "552 5.2.2 The email account that you tried to reach is over quota.", "refused"),
    (Rcpt, "452 4.5.3 Your message has too many recipients.", "retry"),
    (Rcpt, "550 5.1.1 The email account that you tried to reach does not exist.", "refused"),
    (End, "550 5.7.1 Our system has detected that this message is likely unsolicited mail.", "refused"),
    (End, "552 5.7.0 This message was blocked because its content presents a potential security issue.", "refused"),
    (End, "552 5.2.3 Your message exceeded Google's message size limits.", "refused"),
    (Mail, "530 5.7.0 Authentication Required. Learn more at", "blocked"),
    (Mail, "530 5.7.0 Must issue a STARTTLS command first", "blocked"),
    (Mail, "535 5.7.8 Username and Password not accepted.", "blocked"),
    (Mail, "534 5.7.9 Application-specific password required.", "blocked"),
    (Mail, "534 5.7.14 Please log in through your web browser and then try again.", "blocked"),
    // Microsoft
    (Mail, "432 4.3.2 Concurrent connections limit exceeded. Visit https://aka.ms/concurrent_sending for more information.", "crowded"),
    (Mail, "421 4.3.2 Service not available", "crowded"),
    (Rcpt, "451 4.7.500 Server busy. Please try again later from [203.0.113.1]. (S77719)", "retry, relay pauses"),
    (End, "554 5.2.0 STOREDRV.Submission.Exception:SubmissionQuotaExceededException; Failed to process message due to a permanent exception", "blocked"),
    (Rcpt, "550 5.1.90 Your message can't be sent because you've reached your daily limit for message recipients", "blocked"),
    (End, "550 5.7.232 Your message can't be sent because your trial tenant has exceeded its tenant external recipient rate limit", "blocked"),
    (Mail, "550 5.1.8 Access denied, bad outbound sender AS(42004)", "blocked"),
    (End, "550 5.7.501 Access denied, spam abuse detected", "blocked"),
    (End, "550 5.7.705 Access denied, tenant has exceeded threshold", "blocked"),
    (Mail, "550 5.7.30 Basic authentication is not supported for Client Submission.", "blocked"),
    (Mail, "530 5.7.57 Client not authenticated to send mail.", "blocked"),
    (Mail, "535 5.7.3 Authentication unsuccessful", "blocked"),
    (Mail, "550 5.7.60 SMTP; Client does not have permissions to send as this sender", "refused, with advice"),
    (End, "554 5.2.0 STOREDRV.Submission.Exception:SendAsDeniedException.MapiExceptionSendAsDenied; Failed to process message", "refused, with advice"),
    (End, "554 5.2.252 SendAsDenied; support@example.com not allowed to send as desk@example.com", "refused, with advice"),
    (Rcpt, "550 5.7.124 Sender not in allowed-senders list", "refused"),
    (End, "554 5.6.0 Corrupt message content", "refused"),
    (End, "552 5.3.4 Message size exceeds fixed maximum message size", "refused"),
    (End, "451 4.7.0 Temporary server error. Please try again later. PRX4", "retry"),
    // Yahoo and AOL
    (Mail, "421 4.7.0 [TSS04] Messages from 203.0.113.1 temporarily deferred due to user complaints", "retry, relay pauses"),
    (End, "554 5.7.9 Message not accepted for policy reasons.", "refused"),
    (End, "554 Message not allowed - [PH01] Email not accepted for policy reasons.", "refused"),
    (Rcpt, "451 Message temporarily deferred - [160]", "retry"),
    (Mail, "535 5.7.0 (#AUTH005) Too many bad auth attempts.", "blocked"),
    // Postfix
    (End, "250 2.0.0 Ok: queued as 0686FAE68C7", "delivered"),
    (Rcpt, "554 5.7.1 <a@b.example>: Relay access denied", "refused"),
    (Rcpt, "553 5.7.1 <a@b.example>: Sender address rejected: not owned by user desk", "refused, with advice"),
    (Rcpt, "450 4.1.1 <a@b.example>: Recipient address rejected: unverified address", "retry"),
    (Rcpt, "450 4.7.1 <a@b.example>: Recipient address rejected: Greylisted", "retry"),
    (Mail, "450 4.7.1 Error: too much mail from 203.0.113.1", "retry, relay pauses"),
    (Mail, "421 4.7.0 mx.example Error: too many connections from 203.0.113.1", "crowded"),
    (Mail, "421 4.7.0 mx.example Error: too many errors", "retry, relay pauses"),
    (Mail, "452 4.3.1 Insufficient system storage", "retry"),
    (Mail, "552 5.3.4 Message size exceeds fixed limit", "refused"),
    (Data, "554 5.5.1 Error: no valid recipients", "refused"),
    // Exim
    (End, "250 OK id=1r2abc-0003Xy-Qz", "delivered"),
    (Mail, "421 Too many concurrent SMTP connections; please try again later", "crowded"),
    (Mail, "451 Temporary local problem - please try later", "retry"),
    (Rcpt, "452 too many recipients", "retry"),
    (Rcpt, "550 Sender verify failed", "refused"),
    (Mail, "535 Incorrect authentication data", "blocked"),
    // Amazon SES, Zoho
    (End, "454 Throttling failure: Maximum sending rate exceeded.", "retry, relay pauses"),
    (End, "454 Throttling failure: Daily message quota exceeded.", "blocked"),
    (End, "550 5.4.6 Unusual sending activity detected. Please try after sometime", "blocked"),
    // Nobody's in particular: RFC 5321 and RFC 3463 by class.
    (End, "250", "delivered"),
    (Rcpt, "251 2.1.5 will forward", "delivered"),
    (Mail, "451 4.7.1 greylisted", "retry"),
    (Rcpt, "552 too many recipients", "retry"),
    (Rcpt, "552 5.5.3 too many recipients", "retry"),
    (End, "552 5.5.3 too many recipients", "refused"),
    (Rcpt, "554 5.4.5 limit", "blocked"),
    (Rcpt, "599 9.9.9 unheard of", "refused"),
    (Rcpt, "499 unheard of", "retry"),
    (End, "421 closing", "retry, relay pauses"),
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
