//! The words of the standards, Microsoft's numbers, and names of a document's own.

use super::*;
use crate::exchange::answer::{Names, read};
use provider_template::{Answer, Request};

fn verdict(status: u16, body: &str) -> Verdict {
    judge(
        status,
        None,
        read(status, body.as_bytes(), &Names::of(&Request::default())),
    )
}

fn name(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Granted(_) => "granted",
        Verdict::Retry { .. } => "retry",
        Verdict::AskPerson(_) => "person",
        Verdict::FixConfiguration(_) => "configuration",
    }
}

const ANSWERS: &[(u16, &str, &str)] = &[
    (
        200,
        r#"{"access_token":"a","token_type":"Bearer","expires_in":3600}"#,
        "granted",
    ),
    (
        201,
        r#"{"access_token":"a","token_type":"bearer"}"#,
        "granted",
    ),
    (200, r#"{"access_token":"a"}"#, "granted"),
    (200, "\u{feff}{\"access_token\":\"a\"}", "granted"),
    (
        200,
        r#"  {"access_token":"a","scope":["x","y"],"error":"","error_code":0}"#,
        "granted",
    ),
    (
        200,
        r#"{"access_token":"a","refresh_token":"r","error":"odd"}"#,
        "granted",
    ),
    (200, r#"{"access_token":""}"#, "retry"),
    (200, r#"{"access_token":null}"#, "retry"),
    (200, r#"{"token_type":"Bearer"}"#, "retry"),
    (200, r#"{"error":"invalid_grant"}"#, "person"),
    (200, "", "retry"),
    (200, "[]", "retry"),
    (200, "null", "retry"),
    (200, "ok", "retry"),
    (200, r#"{"access_token":"a""#, "retry"),
    (200, "<!DOCTYPE html><html><title>Sign in</title>", "retry"),
    (204, "", "retry"),
    (302, "", "retry"),
    (304, "<html>", "retry"),
    (
        400,
        r#"{"error":"invalid_grant","error_description":"Token has been expired or revoked."}"#,
        "person",
    ),
    (400, r#"{"error":"INVALID_GRANT"}"#, "person"),
    (401, r#"{"error":"invalid_grant"}"#, "person"),
    (403, r#"{"error":"access_denied"}"#, "person"),
    (400, r#"{"error":"interaction_required"}"#, "person"),
    (400, r#"{"error":"consent_required"}"#, "person"),
    (400, r#"{"error":"login_required"}"#, "person"),
    (
        400,
        r#"{"error":"invalid_grant","error_subtype":"invalid_rapt"}"#,
        "person",
    ),
    (
        400,
        r#"{"error":"invalid_grant","suberror":"bad_token"}"#,
        "person",
    ),
    (
        400,
        r#"{"error":"invalid_grant","suberror":"client_mismatch"}"#,
        "configuration",
    ),
    (
        400,
        r#"{"error":"invalid_grant","suberror":"protection_policy_required"}"#,
        "configuration",
    ),
    (401, r#"{"error":"invalid_client"}"#, "configuration"),
    (
        400,
        r#"{"error":"invalid_client","error_description":"The OAuth client was not found."}"#,
        "configuration",
    ),
    (400, r#"{"error":"unauthorized_client"}"#, "configuration"),
    (400, r#"{"error":"invalid_scope"}"#, "configuration"),
    (400, r#"{"error":"invalid_request"}"#, "configuration"),
    (
        400,
        r#"{"error":"unsupported_grant_type"}"#,
        "configuration",
    ),
    (400, r#"{"error":"invalid_resource"}"#, "configuration"),
    (400, r#"{"error":"redirect_uri_mismatch"}"#, "configuration"),
    (403, r#"{"error":"disabled_client"}"#, "configuration"),
    (403, r#"{"error":"org_internal"}"#, "configuration"),
    (400, r#"{"error":"temporarily_unavailable"}"#, "retry"),
    (400, r#"{"error":"slow_down"}"#, "retry"),
    (400, r#"{"error":"server_error"}"#, "retry"),
    (400, r#"{"error":"something_new"}"#, "retry"),
    (400, r#"{"message":"no healthy upstream"}"#, "retry"),
    (
        400,
        r#"{"error":{"code":400,"status":"INVALID_ARGUMENT","message":"Bad"}}"#,
        "configuration",
    ),
    (
        503,
        r#"{"error":{"code":503,"status":"UNAVAILABLE","message":"Later"}}"#,
        "retry",
    ),
    (400, r#"{"error":{}}"#, "retry"),
    (400, "Bad Request", "retry"),
    (403, "<html><title>Blocked by proxy</title></html>", "retry"),
    (404, "", "retry"),
    (407, "<html>", "retry"),
    (408, r#"{"error":"invalid_grant"}"#, "retry"),
    (429, r#"{"error":"invalid_request"}"#, "retry"),
    (500, r#"{"error":"invalid_grant"}"#, "retry"),
    (502, "<html>", "retry"),
    (503, r#"{"error":"temporarily_unavailable"}"#, "retry"),
    (599, "", "retry"),
];

#[test]
fn every_known_answer_has_its_verdict() {
    for (status, body, expected) in ANSWERS {
        let verdict = verdict(*status, body);
        assert_eq!(name(&verdict), *expected, "{status} {body}: {verdict:?}");
    }
}

#[test]
fn microsofts_numbers_refine_the_error_wherever_they_stand() {
    let table: &[(&[u32], &str)] = &[
        (
            &[90006, 90012, 90024, 90033, 90055, 90090, 70012, 50196],
            "retry",
        ),
        (
            &[700_082, 70008, 70043, 50173, 65001, 50076, 50079],
            "person",
        ),
        (
            &[
                70002, 700_016, 700_025, 50194, 9_001_023, 900_144, 7_000_215, 7_000_222, 53003,
            ],
            "configuration",
        ),
    ];
    for (codes, expected) in table {
        for code in *codes {
            let listed = format!(r#"{{"error":"invalid_grant","error_codes":[1,{code}]}}"#);
            let quoted = format!(
                r#"{{"error":"invalid_client","error_description":"AADSTS{code}: words. Trace ID: x"}}"#
            );
            for body in [listed, quoted] {
                assert_eq!(name(&verdict(400, &body)), *expected, "{body}");
            }
        }
    }
    let Verdict::Retry { after, .. } =
        verdict(400, r#"{"error":"invalid_grant","error_codes":[50196]}"#)
    else {
        panic!("a looping client is told to wait");
    };
    assert_eq!(after, Some(entra::LOOP_PAUSE));
}

#[test]
fn a_documents_own_answer_names_come_first() {
    let request = Request {
        answers: vec![
            ("tok".into(), Answer::Token),
            ("life".into(), Answer::TokenExpirationDate),
            ("again".into(), Answer::RefreshToken),
            ("why".into(), Answer::ErrorDescription),
            ("kind".into(), Answer::ErrorCode),
        ],
        ..Request::default()
    };
    let body = br#"{"tok":"mine","access_token":"other","life":"60","again":"r"}"#;
    let Verdict::Granted(grant) = judge(200, None, read(200, body, &Names::of(&request))) else {
        panic!("a token of another name");
    };
    assert_eq!(
        (grant.access.expose(), grant.expires_in),
        ("mine", Some(Duration::from_secs(60)))
    );
    let body = br#"{"kind":"invalid_grant","why":"gone"}"#;
    let verdict = judge(400, None, read(400, body, &Names::of(&request)));
    assert!(
        matches!(verdict, Verdict::AskPerson(Trouble { words, .. }) if words.contains("invalid_grant: gone"))
    );
}

#[test]
fn the_providers_words_are_quoted_in_one_short_line() {
    let body = r#"{"error":"invalid_grant","suberror":"bad_token","error_description":"AADSTS70008: The\r\nrefresh\u0000 token","error_uri":"https://x.example/e"}"#;
    let Verdict::AskPerson(trouble) = verdict(400, body) else {
        panic!("a dead grant")
    };
    assert_eq!(
        trouble.words,
        "invalid_grant: bad_token: AADSTS70008: The refresh token (see https://x.example/e) (HTTP status 400)"
    );
    let long = format!(
        r#"{{"error":"invalid_grant","error_description":"{}"}}"#,
        "ü".repeat(100_000)
    );
    let Verdict::AskPerson(trouble) = verdict(400, &long) else {
        panic!("a dead grant")
    };
    assert!(trouble.words.chars().count() < 700);
    let Verdict::Retry { trouble, .. } = verdict(502, "<html><head><title>Bad\nGateway</title>")
    else {
        panic!("a page")
    };
    assert!(
        trouble.words.contains("502") && trouble.words.contains("\"Bad Gateway\""),
        "{}",
        trouble.words
    );
}
