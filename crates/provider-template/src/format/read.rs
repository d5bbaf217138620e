//! From YAML to entries.

use serde_json::{Map, Value};

mod additions;

use super::tree::{Fields, Place, parse};
use super::{COLUMNS, Problem, VALID};
use crate::entry::{Config, Entry, Notifications, Request, Requests, Words};
use crate::flow::Flow;
use crate::secret::Secret;

/// Reads a document (a list of entries, or one). All or nothing; the error has line and reason and never quotes the document.
pub fn read(text: &str) -> Result<Vec<Entry>, Problem> {
    let text = without_bom(text);
    let tree = parse(text)?;
    let root = Place::root(text, &tree);
    match root.items() {
        Some(items) => items.iter().map(entry).collect(),
        None => Ok(vec![single(&root)?]),
    }
}

/// Reads the first entry of a document, all that counts in a template file, and looks at it: `check` says what is wrong with it.
pub(crate) fn read_first(
    text: &str,
    check: impl FnOnce(&Entry) -> Option<String>,
) -> Result<Entry, Problem> {
    let text = without_bom(text);
    let tree = parse(text)?;
    let root = Place::root(text, &tree);
    let items = root.items();
    let (place, first) = match items.as_deref() {
        Some([first, ..]) => (first, entry(first)?),
        Some([]) => return Err(root.problem("the list is empty; expected one entry")),
        None => (&root, single(&root)?),
    };
    match check(&first) {
        Some(why) => Err(place.problem(why)),
        None => Ok(first),
    }
}

/// The mark that some editors put in front would shift every place by its three bytes.
fn without_bom(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

fn single(root: &Place<'_>) -> Result<Entry, Problem> {
    if root.is_null() {
        return Err(root.problem("the document is empty; expected a list of entries, or one entry"));
    }
    entry(root)
}

fn entry(place: &Place<'_>) -> Result<Entry, Problem> {
    let mut fields = place.fields("an entry with Name and Config")?;
    let name = fields.need("Name")?;
    let valid = match fields.take("ValidID") {
        Some(id) => validity(&id)?,
        None => true,
    };
    let entry = Entry {
        name: match name.text()? {
            text if text.trim().is_empty() => return Err(name.unexpected("a name")),
            text => text,
        },
        valid,
        config: config(&fields.need("Config")?)?,
        rest: Map::new(),
    };
    for column in COLUMNS {
        fields.take(column);
    }
    Ok(Entry {
        rest: fields.rest(),
        ..entry
    })
}

/// 1 is valid; 2 and the exporting system's other kinds of invalid are not.
fn validity(place: &Place<'_>) -> Result<bool, Problem> {
    let expected = "1 (valid) or 2 (invalid)";
    match place.text()?.to_ascii_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Ok(place.number::<u64>(expected)? == VALID),
    }
}

fn config(place: &Place<'_>) -> Result<Config, Problem> {
    let mut fields = place.fields("a map with ClientID, Requests and so on")?;
    let mut inner = Map::new();
    let mut config = Config {
        template_name: fields.some_text("TemplateName")?,
        client_id: fields.text("ClientID")?,
        client_secret: Secret::new(fields.text("ClientSecret")?),
        scope: fields.text("Scope")?,
        flow: match fields.take("AuthFlow") {
            Some(flow) if !flow.is_null() => {
                flow.word_among(|flow: Flow| flow.known_to_all() == flow)?
            }
            _ => Flow::default(),
        },
        ..Config::default()
    };
    if let Some(mut asked) = sub(&mut fields, "Notifications")? {
        config.notifications = Notifications {
            expired_token: asked.flag("NotifyOnExpiredToken")?,
            expired_refresh_token: asked.flag("NotifyOnExpiredRefreshToken")?,
        };
        keep(&mut inner, "Notifications", asked);
    }
    if let Some(all) = sub(&mut fields, "Requests")? {
        config.requests = requests(all)?;
    }
    if let Some(mut ours) = sub(&mut fields, "Postern")? {
        if let Some(flow) = ours.some_word("Flow")? {
            config.flow = flow;
        }
        config.private_key = Secret::new(ours.text("PrivateKey")?);
        config.user = ours.text("User")?;
        config.password = Secret::new(ours.text("Password")?);
        config.postern = additions::read(ours)?;
    }
    config.rest = fields.rest();
    config.rest.extend(inner);
    Ok(config)
}

/// The fields of an inner map, if it is there.
fn sub<'a>(fields: &mut Fields<'a>, key: &str) -> Result<Option<Fields<'a>>, Problem> {
    fields
        .take(key)
        .map(|place| place.fields("a map"))
        .transpose()
}

/// Remembers what nobody read of an inner map under that map's name.
fn keep(rest: &mut Map<String, Value>, key: &str, unread: Fields<'_>) {
    let unread = unread.rest();
    if !unread.is_empty() {
        rest.insert(key.to_owned(), Value::Object(unread));
    }
}

fn requests(mut fields: Fields<'_>) -> Result<Requests, Problem> {
    let mut one = |key| -> Result<Option<Request>, Problem> {
        sub(&mut fields, key)?.map(request).transpose()
    };
    Ok(Requests {
        authorization_code: one("AuthorizationCode")?,
        token_by_authorization_code: one("TokenByAuthorizationCode")?,
        token_by_refresh_token: one("TokenByRefreshToken")?,
        token_by_client_credentials: one("TokenByClientCredentials")?,
        rest: fields.rest(),
    })
}

fn request(mut fields: Fields<'_>) -> Result<Request, Problem> {
    let mut request = Request::default();
    let mut inner = Map::new();
    if let Some(mut ask) = sub(&mut fields, "Request")? {
        request.url = ask.text("URL")?;
        if let Some(fixed) = sub(&mut ask, "Parameters")? {
            for (field, value) in fixed.all() {
                request.parameters.push((field, value.text()?));
            }
        }
        request.autofilled = mapping(&mut ask, "AutofilledParametersMapping")?;
        keep(&mut inner, "Request", ask);
    }
    if let Some(mut response) = sub(&mut fields, "Response")? {
        request.answers = mapping(&mut response, "ParametersMapping")?;
        keep(&mut inner, "Response", response);
    }
    request.rest = fields.rest();
    request.rest.extend(inner);
    Ok(request)
}

fn mapping<T: Words>(fields: &mut Fields<'_>, key: &str) -> Result<Vec<(String, T)>, Problem> {
    let Some(map) = sub(fields, key)? else {
        return Ok(Vec::new());
    };
    map.all()
        .map(|(field, place)| Ok((field, place.word()?)))
        .collect()
}
