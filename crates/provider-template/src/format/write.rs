//! From entries to YAML.

mod additions;

use serde_json::{Map, Value, json};

use super::{INVALID, VALID};
use crate::entry::{Config, Entry, Request, Requests, Words};
use crate::flow::Flow;
use crate::secret::Secret;

/// Writes entries; stable: read(write(x)) == x and write(read(write(x))) == write(x). `secrets` false leaves ClientSecret empty, and a private key
/// and a password out.
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
    let known = config.flow.known_to_all();
    if known != Flow::default() {
        out.insert("AuthFlow".to_owned(), json!(known.word()));
    }
    let notifications = json!({
        "NotifyOnExpiredToken": u8::from(config.notifications.expired_token),
        "NotifyOnExpiredRefreshToken": u8::from(config.notifications.expired_refresh_token),
    });
    out.insert("Notifications".to_owned(), notifications);
    out.insert("Requests".to_owned(), requests(&config.requests));
    let ours = postern(config, secrets);
    if !ours.is_empty() {
        out.insert("Postern".to_owned(), Value::Object(ours));
    }
    finish(out, &config.rest)
}

/// What stands under `Postern`: the flow, who signs in, and the further secrets, where there are any; then the additions.
fn postern(config: &Config, secrets: bool) -> Map<String, Value> {
    let mut out = Map::new();
    if config.flow != config.flow.known_to_all() {
        out.insert("Flow".to_owned(), json!(config.flow.word()));
    }
    if !config.user.is_empty() {
        out.insert("User".to_owned(), json!(config.user));
    }
    for (key, secret) in config.further_secrets() {
        if secrets && !secret.is_empty() {
            out.insert(key.to_owned(), json!(Secret::expose(secret)));
        }
    }
    additions::write(out, &config.postern)
}

/// Adds the unknown keys: those of this map at its end, and those of its inner maps at the ends of these.
fn finish(out: Map<String, Value>, rest: &Map<String, Value>) -> Value {
    Value::Object(followed(out, rest))
}

fn followed(mut out: Map<String, Value>, rest: &Map<String, Value>) -> Map<String, Value> {
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
    out
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
