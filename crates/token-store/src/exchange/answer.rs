//! The fields of a token endpoint's answer, read leniently: providers spell numbers, scopes and errors in many ways.

use super::body::{self, Body};
use super::{Grant, Owner};
use crate::Secret;
use provider_template::{Answer, Request};
use serde_json::{Map, Value};
use std::time::Duration;

/// No sane life is longer; keeps arithmetic with dates in range.
const LIFE_CAP: f64 = 10.0 * 366.0 * 86400.0;
/// Words of a server are shown to people; nobody reads more.
const WORDS_CAP: usize = 600;

/// What a body said.
#[derive(Debug)]
pub(crate) enum Answered {
    Grant(Grant),
    Complaint(Complaint),
    /// Neither.
    Nonsense {
        /// In words.
        what: String,
        /// A refresh token that came all the same, and may have replaced the one that was sent.
        refresh: Option<Secret>,
    },
}

/// An error answer.
#[derive(Debug, Default)]
pub(crate) struct Complaint {
    pub(crate) error: String,
    pub(crate) suberror: String,
    pub(crate) codes: Vec<u32>,
    description: String,
    uri: String,
}

/// What this request's answer fields are called: the mapped names first, then the standard ones.
#[derive(Debug, Clone)]
pub(crate) struct Names<'a> {
    request: &'a Request,
}

impl<'a> Names<'a> {
    pub(crate) fn of(request: &'a Request) -> Self {
        Self { request }
    }

    fn candidates(
        &self,
        wanted: Answer,
        standard: &'static [&'static str],
    ) -> impl Iterator<Item = &str> {
        let mapped = self
            .request
            .answers
            .iter()
            .filter(move |(_, means)| *means == wanted);
        mapped
            .map(|(field, _)| field.as_str())
            .chain(standard.iter().copied())
    }

    fn text(
        &self,
        body: &Map<String, Value>,
        wanted: Answer,
        standard: &'static [&'static str],
    ) -> Option<String> {
        let texts = self
            .candidates(wanted, standard)
            .filter_map(|field| plain(body.get(field)?));
        texts.into_iter().find(|text| !text.trim().is_empty())
    }

    fn life(
        &self,
        body: &Map<String, Value>,
        wanted: Answer,
        standard: &'static [&'static str],
    ) -> Option<Duration> {
        self.candidates(wanted, standard)
            .find_map(|field| seconds(body.get(field)?))
    }
}

/// Reads an answer.
///
/// Under a status of success a token counts before any error beside it: a rotated refresh token may come with it.
pub(crate) fn read(status: u16, bytes: &[u8], names: &Names<'_>) -> Answered {
    let success = (200..300).contains(&status);
    let (map, whole) = match body::read(bytes) {
        Body::Fields(map) => (map, true),
        Body::Beginning(map) => (map, false),
        Body::Other(what) => return nonsense(what, None),
    };
    let refresh = names
        .text(&map, Answer::RefreshToken, &["refresh_token"])
        .map(Secret::new)
        .filter(|_| success);
    if !whole {
        return beginning(&map, names, refresh);
    }
    match grant(&map, names).filter(|_| success) {
        Some(Ok(grant)) => return Answered::Grant(grant),
        Some(Err(what)) => return nonsense(what, refresh),
        None if refresh.is_some() => {
            return nonsense("a refresh token without an access token", refresh);
        }
        None => {}
    }
    let complaint = complaint(&map, names);
    if complaint.error.is_empty() && complaint.description.is_empty() {
        return nonsense("JSON that holds neither a token nor an error", None);
    }
    Answered::Complaint(complaint)
}

/// An answer that breaks off. Without a refresh token it is as if none had come, even when an access token stood before the
/// break: the request is repeated while a provider that rotates still forgives the repetition. An error is not believed.
fn beginning(map: &Map<String, Value>, names: &Names<'_>, refresh: Option<Secret>) -> Answered {
    match (grant(map, names), refresh) {
        (Some(Ok(grant)), Some(_)) => Answered::Grant(grant),
        (_, refresh) => nonsense("JSON that breaks off", refresh),
    }
}

fn nonsense(what: impl Into<String>, refresh: Option<Secret>) -> Answered {
    Answered::Nonsense {
        what: what.into(),
        refresh,
    }
}

/// A token that may be presented, or why it may not.
fn grant(map: &Map<String, Value>, names: &Names<'_>) -> Option<Result<Grant, &'static str>> {
    let access = names.text(map, Answer::Token, &["access_token"])?;
    // It travels in a header line and in a SASL payload, where either would begin something else.
    if access.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Some(Err(
            "an access token that holds a space or a control character",
        ));
    }
    Some(Ok(Grant {
        access: Secret::new(access),
        expires_in: names.life(map, Answer::TokenExpirationDate, &["expires_in"]),
        refresh: names
            .text(map, Answer::RefreshToken, &["refresh_token"])
            .map(Secret::new),
        refresh_expires_in: names.life(
            map,
            Answer::RefreshTokenExpirationDate,
            &["refresh_token_expires_in", "refresh_expires_in"],
        ),
        owner: map
            .get("id_token")
            .and_then(plain)
            .map_or(Owner::Untold, |text| Owner::IdToken(Secret::new(text))),
    }))
}

fn complaint(map: &Map<String, Value>, names: &Names<'_>) -> Complaint {
    let mut found = Complaint::default();
    // Google's APIs and some proxies answer with an object: {"error": {"status": ..., "message": ...}}.
    if let Some(Value::Object(object)) = map.get("error") {
        let of = |keys: &[&str]| {
            keys.iter()
                .find_map(|k| plain(object.get(*k)?))
                .unwrap_or_default()
        };
        found.error = of(&["error", "status", "type", "errorId", "code"]);
        found.description = of(&["error_description", "message", "description"]);
        if found.error.is_empty() {
            found.error = "unknown_error".into();
        }
    } else {
        let mut code = names
            .text(
                map,
                Answer::ErrorCode,
                &["error", "errorCode", "error_code"],
            )
            .unwrap_or_default();
        let message = names
            .text(map, Answer::ErrorMessage, &["error"])
            .unwrap_or_default();
        // Documents map either of the two to `error`.
        if code.is_empty() || code.bytes().all(|b| b.is_ascii_digit()) {
            let standard = map.get("error").and_then(plain).unwrap_or_default();
            code = if standard.is_empty() { code } else { standard };
        }
        found.description = names
            .text(
                map,
                Answer::ErrorDescription,
                &[
                    "error_description",
                    "errorSummary",
                    "error_message",
                    "message",
                ],
            )
            .unwrap_or(message);
        found.error = code;
    }
    found.error = found.error.trim().to_ascii_lowercase();
    let extra = |keys: &[&str]| {
        keys.iter()
            .find_map(|k| plain(map.get(*k)?))
            .unwrap_or_default()
    };
    found.suberror = extra(&["suberror", "error_subtype"]).to_ascii_lowercase();
    found.uri = extra(&["error_uri"]);
    if let Some(Value::Array(codes)) = map.get("error_codes") {
        found.codes = codes
            .iter()
            .filter_map(|c| plain(c)?.parse().ok())
            .collect();
    }
    found.codes.extend(codes_in(&found.description));
    found
}

/// The numbers after `AADSTS` in a description.
fn codes_in(text: &str) -> impl Iterator<Item = u32> + '_ {
    text.split("AADSTS").skip(1).filter_map(|rest| {
        let end = rest
            .bytes()
            .position(|b| !b.is_ascii_digit())
            .unwrap_or(rest.len());
        rest[..end].parse().ok()
    })
}

impl Complaint {
    /// The provider's words, in one line.
    pub(crate) fn words(&self, status: u16) -> String {
        let mut words = String::new();
        for part in [&self.error, &self.suberror] {
            if !part.is_empty() {
                words.push_str(part);
                words.push_str(": ");
            }
        }
        if self.description.is_empty() || self.description.eq_ignore_ascii_case(&self.error) {
            words.push_str("no further words from the provider");
        } else {
            words.push_str(&self.description);
        }
        if !self.uri.is_empty() {
            words.push_str(&format!(" (see {})", self.uri));
        }
        one_line(&format!("{words} (HTTP status {status})"))
    }
}

/// Text of a server as one short line without characters that steer a terminal or turn the direction of writing.
pub(crate) fn one_line(text: &str) -> String {
    let steers = |c: char| {
        c.is_whitespace()
            || c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let spaced = text.split(steers).filter(|w| !w.is_empty());
    let joined = spaced.collect::<Vec<_>>().join(" ");
    match joined.char_indices().nth(WORDS_CAP) {
        Some((end, _)) => format!("{}...", &joined[..end]),
        None => joined,
    }
}

fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Seconds to live as number, float or text. Zero and less mean "no date known": believing them would refresh for ever.
pub(super) fn seconds(value: &Value) -> Option<Duration> {
    let number: f64 = match value {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => text.trim().parse().ok()?,
        _ => return None,
    };
    (number.is_finite() && number > 0.0).then(|| Duration::from_secs_f64(number.min(LIFE_CAP)))
}
