//! From entries to YAML.

use serde_json::{Map, Value, json};

use super::{INVALID, VALID};
use crate::additions::{Additions, Host};
use crate::entry::{Config, Entry, Flow, Request, Requests, Words};

/// Writes entries; stable: read(write(x)) == x and write(read(write(x))) == write(x). `secrets` false leaves ClientSecret empty.
pub fn write(entries: &[Entry], secrets: bool) -> String {
    let list: Vec<Value> = entries.iter().map(|one| entry(one, secrets)).collect();
    // Long lines stay lines: a scope or a secret broken into two reads worse, and trips readers that only half know YAML.
    let options = serde_saphyr::ser_options! { folded_wrap_chars: usize::MAX };
    serde_saphyr::to_string_with_options(&list, options)
        .expect("plain data with text keys always has a YAML form")
}

fn entry(entry: &Entry, secrets: bool) -> Value {
    let mut out = Map::new();
    out.insert("Name".to_owned(), json!(entry.name));
    out.insert("Config".to_owned(), config(&entry.config, secrets));
    let valid = if entry.valid { VALID } else { INVALID };
    out.insert("ValidID".to_owned(), json!(valid));
    finish(out, &entry.rest)
}

fn config(config: &Config, secrets: bool) -> Value {
    let mut out = Map::new();
    if let Some(template) = &config.template_name {
        out.insert("TemplateName".to_owned(), json!(template));
    }
    out.insert("ClientID".to_owned(), json!(config.client_id));
    let secret = if secrets {
        config.client_secret.expose()
    } else {
        ""
    };
    out.insert("ClientSecret".to_owned(), json!(secret));
    out.insert("Scope".to_owned(), json!(config.scope));
    if config.flow != Flow::default() {
        out.insert("AuthFlow".to_owned(), json!(config.flow.word()));
    }
    let notifications = json!({
        "NotifyOnExpiredToken": u8::from(config.notifications.expired_token),
        "NotifyOnExpiredRefreshToken": u8::from(config.notifications.expired_refresh_token),
    });
    out.insert("Notifications".to_owned(), notifications);
    out.insert("Requests".to_owned(), requests(&config.requests));
    if config.postern != Additions::default() {
        out.insert("Postern".to_owned(), additions(&config.postern));
    }
    finish(out, &config.rest)
}

/// Adds the unknown keys: those of this map at its end, and those of its inner maps at the ends of these.
fn finish(mut out: Map<String, Value>, rest: &Map<String, Value>) -> Value {
    for (key, value) in rest {
        match (out.get_mut(key), value) {
            (None, _) => {
                out.insert(key.clone(), value.clone());
            }
            (Some(Value::Object(inner)), Value::Object(more)) => {
                let whole = finish(std::mem::take(inner), more);
                out.insert(key.clone(), whole);
            }
            // A known key has its value already.
            (Some(_), _) => {}
        }
    }
    Value::Object(out)
}

fn requests(requests: &Requests) -> Value {
    let all = requests
        .iter()
        .map(|(name, one)| (name.to_owned(), request(one)));
    finish(all.collect(), &requests.rest)
}

fn request(request: &Request) -> Value {
    let fixed = request
        .parameters
        .iter()
        .map(|(field, value)| (field.clone(), json!(value)));
    let fixed: Map<String, Value> = fixed.collect();
    let out = json!({
        "Request": {
            "URL": request.url,
            "Parameters": fixed,
            "AutofilledParametersMapping": mapping(&request.autofilled),
        },
        "Response": { "ParametersMapping": mapping(&request.answers) },
    });
    match out {
        Value::Object(out) => finish(out, &request.rest),
        other => other,
    }
}

fn mapping<T: Words>(pairs: &[(String, T)]) -> Map<String, Value> {
    pairs
        .iter()
        .map(|(field, what)| (field.clone(), json!(what.word())))
        .collect()
}

fn additions(ours: &Additions) -> Value {
    let mut out = Map::new();
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
    if !ours.variables.is_empty() {
        out.insert("Variables".to_owned(), variables(ours));
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
    let limits = [
        (
            "SMTPConnections",
            ours.limits.smtp_connections.map(u64::from),
        ),
        ("SMTPRate", ours.limits.smtp_rate.map(u64::from)),
        ("SMTPSize", ours.limits.smtp_size),
    ];
    numbers(&mut out, "Limits", &limits, &ours.rest);
    let quirks = [
        (
            "SMTPNoInitialResponse",
            ours.quirks.smtp_no_initial_response.then_some(1),
        ),
        ("IdleMinutes", ours.quirks.idle_minutes.map(u64::from)),
    ];
    numbers(&mut out, "Quirks", &quirks, &ours.rest);
    finish(out, &ours.rest)
}

/// An inner map of numbers, where there are any, or unknown keys to follow them.
fn numbers(
    out: &mut Map<String, Value>,
    key: &str,
    numbers: &[(&str, Option<u64>)],
    rest: &Map<String, Value>,
) {
    let known = numbers
        .iter()
        .filter_map(|(name, number)| Some(((*name).to_owned(), json!((*number)?))));
    let known: Map<String, Value> = known.collect();
    if !known.is_empty() || rest.contains_key(key) {
        out.insert(key.to_owned(), Value::Object(known));
    }
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
