//! From YAML to entries.

use serde_json::{Map, Value};

use super::tree::{Fields, Place, parse};
use super::{COLUMNS, Problem, VALID};
use crate::additions::{Additions, Host, Limits, Quirks, Tls, Variable};
use crate::entry::{Config, Entry, Flow, Notifications, Request, Requests, Words};
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
            Some(flow) if !flow.is_null() => flow.word::<Flow>()?,
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
    if let Some(ours) = sub(&mut fields, "Postern")? {
        config.postern = additions(ours)?;
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

fn additions(mut fields: Fields<'_>) -> Result<Additions, Problem> {
    let mut inner = Map::new();
    let mut ours = Additions {
        title: fields.some_text("Title")?,
        notes: fields.some_text("Notes")?,
        discovery: fields.some_text("Discovery")?,
        ..Additions::default()
    };
    if let Some(place) = fields.take("Variables") {
        ours.variables = variables(&place, &mut inner)?;
    }
    ours.imap = host(&mut fields, "IMAP", &mut inner)?;
    ours.pop3 = host(&mut fields, "POP3", &mut inner)?;
    ours.smtp = host(&mut fields, "SMTP", &mut inner)?;
    if let Some(mut limits) = sub(&mut fields, "Limits")? {
        ours.limits = Limits {
            smtp_connections: limits.number("SMTPConnections", "a number of connections")?,
            smtp_rate: limits.number("SMTPRate", "a number of messages a minute")?,
            smtp_size: limits.number("SMTPSize", "a number of bytes")?,
        };
        keep(&mut inner, "Limits", limits);
    }
    if let Some(mut quirks) = sub(&mut fields, "Quirks")? {
        ours.quirks = Quirks {
            smtp_no_initial_response: quirks.flag("SMTPNoInitialResponse")?,
            idle_minutes: quirks.number("IdleMinutes", "a number of minutes")?,
        };
        keep(&mut inner, "Quirks", quirks);
    }
    ours.rest = fields.rest();
    ours.rest.extend(inner);
    Ok(ours)
}

fn variables(place: &Place<'_>, inner: &mut Map<String, Value>) -> Result<Vec<Variable>, Problem> {
    let expected = "a list of variables with Name and Asks";
    if place.is_null() {
        return Ok(Vec::new());
    }
    let items = place.items().ok_or_else(|| place.unexpected(expected))?;
    let mut unread = Map::new();
    let mut variables = Vec::new();
    for item in &items {
        let mut fields = item.fields("a variable with Name and Asks")?;
        let name = fields.need("Name")?.text()?;
        let asks = fields.text("Asks")?;
        keep(&mut unread, &name, fields);
        variables.push(Variable { name, asks });
    }
    if !unread.is_empty() {
        inner.insert("Variables".to_owned(), Value::Object(unread));
    }
    Ok(variables)
}

fn host(
    fields: &mut Fields<'_>,
    key: &str,
    inner: &mut Map<String, Value>,
) -> Result<Option<Host>, Problem> {
    let Some(place) = fields.take(key).filter(|place| !place.is_null()) else {
        return Ok(None);
    };
    let mut fields = place.fields("a map with Host, Port and TLS")?;
    let name = fields.need("Host")?;
    let port = fields.need("Port")?;
    let host = Host {
        host: match name.text()? {
            text if text.is_empty() => return Err(name.unexpected("a host name")),
            text => text,
        },
        port: match port.number("a port between 1 and 65535")? {
            0 => return Err(port.unexpected("a port between 1 and 65535")),
            number => number,
        },
        tls: fields.need("TLS")?.word::<Tls>()?,
    };
    keep(inner, key, fields);
    Ok(Some(host))
}
