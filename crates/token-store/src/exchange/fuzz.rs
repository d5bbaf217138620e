//! What a token endpoint, or whatever answers in its place, may send.

use std::time::Duration;

use provider_template::{Answer as Means, Config, Request};
use serde_json::{Map, Value};

use super::answer::Names;
use super::http::Answer;
use super::verdict::{Trouble, Verdict};
use super::{Form, decide, device, discovery, identity, one_line};
use crate::Secret;

/// An answer: the status on the first line, the body below. Every reader of such bodies has a look at it.
pub fn token_answer(bytes: &[u8]) {
    let (status, body) = match bytes.iter().position(|b| *b == b'\n') {
        Some(end) => (number(&bytes[..end]), &bytes[end + 1..]),
        None => (None, bytes),
    };
    let status = status.unwrap_or(200);
    for request in [Request::default(), mapped()] {
        token(status, body, &request);
    }
    device_code(status, body);
    if let Err(verdict) = discovery::read("https://id.example", body) {
        assert_verdict_is_shown_safely(&verdict);
    }
    let config = Config {
        client_id: "client".into(),
        ..Config::default()
    };
    let id_token = Secret::new(String::from_utf8_lossy(body));
    if let Ok(names) = identity::of_id_token(&id_token, &config, 1_000) {
        assert!(
            names
                .iter()
                .all(|name| !name.is_empty() && name.len() <= 320)
        );
        names.iter().for_each(|name| assert_is_shown_safely(name));
    }
}

fn number(digits: &[u8]) -> Option<u16> {
    let number = std::str::from_utf8(digits).ok()?.parse().ok()?;
    (100..600).contains(&number).then_some(number)
}

/// A provider with names of its own for the fields.
fn mapped() -> Request {
    Request {
        answers: vec![
            ("t".into(), Means::Token),
            ("r".into(), Means::RefreshToken),
            ("e".into(), Means::TokenExpirationDate),
            ("c".into(), Means::ErrorCode),
            ("m".into(), Means::ErrorMessage),
        ],
        ..Request::default()
    }
}

fn answer(status: u16, body: &[u8]) -> Answer {
    Answer {
        status,
        retry_after: None,
        redirect: None,
        body: body.to_vec(),
        cut: None,
    }
}

fn token(status: u16, body: &[u8], request: &Request) {
    let verdict = decide(answer(status, body), &Names::of(request));
    assert_verdict_is_shown_safely(&verdict);
    let success = (200..300).contains(&status);
    if let Verdict::Granted(grant) = &verdict {
        let access = grant.access.expose();
        assert!(success && !access.is_empty());
        assert!(!access.contains(|c: char| c.is_whitespace() || c.is_control()));
        let lives = grant.expires_in.into_iter().chain(grant.refresh_expires_in);
        lives.for_each(|life| assert!(life <= Duration::from_secs(10 * 366 * 86_400)));
    }
    // A refresh token that comes with a success may be the only living one, whatever stands beside it.
    let fields: Map<String, Value> = serde_json::from_slice(body).unwrap_or_default();
    let of_ours = fields.get("r").filter(|_| !request.answers.is_empty());
    let named = [of_ours, fields.get("refresh_token")];
    let told = named
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .find(|text| !text.trim().is_empty());
    let kept = verdict.refresh_token().map(Secret::expose);
    let plain = !named.into_iter().flatten().any(Value::is_number);
    if let Some(told) = told.filter(|_| success && plain) {
        assert_eq!(kept, Some(told), "{verdict:?}");
    }
    assert!(success || kept.is_none(), "{verdict:?}");
}

fn device_code(status: u16, body: &[u8]) {
    let answer = answer(status, body);
    let request = Request::default();
    if let Some(device::Polled::Over(trouble)) =
        device::told(&answer, &Names::of(&request), &Form::default())
    {
        assert_trouble_is_shown_safely(&trouble);
    }
    let Some(started) = device::started(&answer) else {
        return;
    };
    assert!((200..300).contains(&status));
    assert_is_shown_safely(started.user_code.expose());
    for uri in [&started.verification_uri]
        .into_iter()
        .map(String::as_str)
        .chain(started.complete_uri.iter().map(Secret::expose))
    {
        assert!(provider_template::url_is_safe(uri), "{uri}");
        assert_is_shown_safely(uri);
    }
    assert!(started.life <= Duration::from_secs(3600));
    assert!(started.interval <= Duration::from_secs(300));
}

fn assert_verdict_is_shown_safely(verdict: &Verdict) {
    match verdict {
        Verdict::Granted(_) => {}
        Verdict::Retry { trouble, .. }
        | Verdict::AskPerson(trouble)
        | Verdict::FixConfiguration(trouble) => assert_trouble_is_shown_safely(trouble),
    }
}

fn assert_trouble_is_shown_safely(trouble: &Trouble) {
    assert_is_shown_safely(&trouble.words);
    assert!(trouble.words.chars().count() <= 1_300, "{}", trouble.words);
}

/// One line that steers no terminal and turns no direction of writing.
fn assert_is_shown_safely(text: &str) {
    assert!(!text.chars().any(char::is_control), "{text:?}");
    assert_eq!(
        one_line(text).is_empty(),
        text.trim().is_empty(),
        "{text:?}"
    );
    assert!(
        !text.contains(['\u{202e}', '\u{2066}', '\u{200f}']),
        "{text:?}"
    );
}
