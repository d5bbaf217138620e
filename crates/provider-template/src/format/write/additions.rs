//! From Postern's own additions to YAML.

use serde_json::{Map, Value, json};

use super::{finish, followed};
use crate::additions::{Additions, Assertion, Host, Limits, Quirks, ServiceAccount};
use crate::entry::Words;

/// Adds the additions to what stands under `Postern` already.
pub(super) fn write(mut out: Map<String, Value>, ours: &Additions) -> Map<String, Value> {
    let texts = [
        ("Title", &ours.title),
        ("Notes", &ours.notes),
        ("Discovery", &ours.discovery),
    ];
    for (key, text) in texts {
        if let Some(text) = text {
            out.insert(key.to_owned(), json!(text));
        }
    }
    if !ours.flows.is_empty() {
        let words: Vec<&str> = ours.flows.iter().map(|flow| flow.word()).collect();
        out.insert("Flows".to_owned(), json!(words));
    }
    if !ours.variables.is_empty() {
        out.insert("Variables".to_owned(), variables(ours));
    }
    endpoints(&mut out, ours);
    if let Some(proof) = &ours.assertion {
        out.insert("Assertion".to_owned(), assertion(proof));
    }
    if let Some(account) = &ours.service_account {
        out.insert("ServiceAccount".to_owned(), service_account(account));
    }
    let lives = [
        ("RefreshIdleDays", ours.refresh_idle_life),
        ("RefreshLifeDays", ours.refresh_life),
    ];
    for (key, days) in lives {
        if let Some(days) = days {
            out.insert(key.to_owned(), json!(days));
        }
    }
    let hosts = [
        ("IMAP", &ours.imap),
        ("POP3", &ours.pop3),
        ("SMTP", &ours.smtp),
    ];
    for (key, place) in hosts {
        if let Some(place) = place {
            out.insert(key.to_owned(), host(place));
        }
    }
    limits(&mut out, &ours.limits, &ours.rest);
    quirks(&mut out, &ours.quirks, &ours.rest);
    followed(out, &ours.rest)
}

fn endpoints(out: &mut Map<String, Value>, ours: &Additions) {
    let known: Map<String, Value> = ours
        .endpoints
        .iter()
        .map(|(key, url)| (key.to_owned(), json!(url)))
        .collect();
    if !known.is_empty() || ours.rest.contains_key("Endpoints") {
        out.insert("Endpoints".to_owned(), Value::Object(known));
    }
}

fn assertion(proof: &Assertion) -> Value {
    let mut out = Map::new();
    out.insert("Algorithm".to_owned(), json!(proof.algorithm.word()));
    out.insert("Certificate".to_owned(), json!(proof.certificate));
    if let Some(audience) = &proof.audience {
        out.insert("Audience".to_owned(), json!(audience));
    }
    Value::Object(out)
}

fn service_account(account: &ServiceAccount) -> Value {
    let mut out = Map::new();
    out.insert("Email".to_owned(), json!(account.email));
    for (key, text) in [("KeyID", &account.key_id), ("Audience", &account.audience)] {
        if let Some(text) = text {
            out.insert(key.to_owned(), json!(text));
        }
    }
    Value::Object(out)
}

fn limits(out: &mut Map<String, Value>, limits: &Limits, rest: &Map<String, Value>) {
    let values = [
        ("SMTPConnections", some(limits.smtp_connections)),
        ("SMTPRate", some(limits.smtp_rate)),
        ("SMTPSize", some(limits.smtp_size)),
        ("SMTPMessagesPerDay", some(limits.smtp_messages_per_day)),
        ("SMTPRecipientsPerDay", some(limits.smtp_recipients_per_day)),
        (
            "SMTPRecipientsPerMessage",
            some(limits.smtp_recipients_per_message),
        ),
        (
            "SMTPMessagesPerConnection",
            some(limits.smtp_messages_per_connection),
        ),
        ("IMAPConnections", some(limits.imap_connections)),
        ("IMAPMegabytesPerDay", some(limits.imap_megabytes_per_day)),
        ("POP3MegabytesPerDay", some(limits.pop3_megabytes_per_day)),
    ];
    inner(out, "Limits", values, rest);
}

fn quirks(out: &mut Map<String, Value>, quirks: &Quirks, rest: &Map<String, Value>) {
    let values = [
        (
            "SMTPNoInitialResponse",
            flag(quirks.smtp_no_initial_response),
        ),
        ("POP3TwoLineAuth", flag(quirks.pop3_two_line_auth)),
        ("TrashOnDelete", flag(quirks.trash_on_delete)),
        ("IdleMinutes", some(quirks.idle_minutes)),
        (
            "SASLPreferred",
            some(quirks.sasl_preferred.map(Words::word)),
        ),
        ("SASLRefused", some(quirks.sasl_refused.map(Words::word))),
    ];
    inner(out, "Quirks", values, rest);
}

/// An inner map, where it says anything, or unknown keys are to follow.
fn inner<const N: usize>(
    out: &mut Map<String, Value>,
    key: &str,
    values: [(&str, Option<Value>); N],
    rest: &Map<String, Value>,
) {
    let known = values
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)));
    let known: Map<String, Value> = known.collect();
    if !known.is_empty() || rest.contains_key(key) {
        out.insert(key.to_owned(), Value::Object(known));
    }
}

/// A number, a text or a word, where there is one.
fn some<T: Into<Value>>(value: Option<T>) -> Option<Value> {
    value.map(Into::into)
}

fn flag(set: bool) -> Option<Value> {
    set.then(|| json!(1))
}

fn host(host: &Host) -> Value {
    json!({ "Host": host.host, "Port": host.port, "TLS": host.tls.word() })
}

fn variables(ours: &Additions) -> Value {
    let unread = ours.rest.get("Variables").and_then(Value::as_object);
    let one = |variable: &crate::additions::Variable| {
        let mut out = Map::new();
        out.insert("Name".to_owned(), json!(variable.name));
        out.insert("Asks".to_owned(), json!(variable.asks));
        match unread.and_then(|all| all.get(&variable.name)) {
            Some(Value::Object(more)) => finish(out, more),
            _ => Value::Object(out),
        }
    };
    Value::Array(ours.variables.iter().map(one).collect())
}
