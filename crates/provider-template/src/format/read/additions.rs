//! From YAML to Postern's own additions.

use serde_json::{Map, Value};

use super::super::Problem;
use super::super::tree::{Fields, Place};
use super::{keep, sub};
use crate::additions::{
    Additions, Assertion, FurtherEndpoints, Host, Limits, Quirks, ServiceAccount, Tls, Variable,
};
use crate::flow::Flow;

pub(super) fn read(mut fields: Fields<'_>) -> Result<Additions, Problem> {
    let mut inner = Map::new();
    let mut ours = Additions {
        title: fields.some_text("Title")?,
        notes: fields.some_text("Notes")?,
        discovery: fields.some_text("Discovery")?,
        flows: flows(&mut fields)?,
        endpoints: endpoints(&mut fields, &mut inner)?,
        assertion: assertion(&mut fields, &mut inner)?,
        service_account: service_account(&mut fields, &mut inner)?,
        refresh_idle_life: fields.number("RefreshIdleDays", "a number of days")?,
        refresh_life: fields.number("RefreshLifeDays", "a number of days")?,
        ..Additions::default()
    };
    if let Some(place) = fields.take("Variables") {
        ours.variables = variables(&place, &mut inner)?;
    }
    ours.imap = host(&mut fields, "IMAP", &mut inner)?;
    ours.pop3 = host(&mut fields, "POP3", &mut inner)?;
    ours.smtp = host(&mut fields, "SMTP", &mut inner)?;
    ours.limits = limits(&mut fields, &mut inner)?;
    ours.quirks = quirks(&mut fields, &mut inner)?;
    ours.rest = fields.rest();
    ours.rest.extend(inner);
    Ok(ours)
}

fn flows(fields: &mut Fields<'_>) -> Result<Vec<Flow>, Problem> {
    let Some(place) = fields.take("Flows").filter(|place| !place.is_null()) else {
        return Ok(Vec::new());
    };
    let items = place
        .items()
        .ok_or_else(|| place.unexpected("a list of flows"))?;
    items.iter().map(Place::word).collect()
}

fn endpoints(
    fields: &mut Fields<'_>,
    inner: &mut Map<String, Value>,
) -> Result<FurtherEndpoints, Problem> {
    let Some(mut map) = sub(fields, "Endpoints")? else {
        return Ok(FurtherEndpoints::default());
    };
    let endpoints = FurtherEndpoints {
        device: map.some_text("Device")?,
        revoke: map.some_text("Revoke")?,
        introspect: map.some_text("Introspect")?,
        userinfo: map.some_text("UserInfo")?,
    };
    keep(inner, "Endpoints", map);
    Ok(endpoints)
}

fn assertion(
    fields: &mut Fields<'_>,
    inner: &mut Map<String, Value>,
) -> Result<Option<Assertion>, Problem> {
    let Some(place) = fields.take("Assertion").filter(|place| !place.is_null()) else {
        return Ok(None);
    };
    let mut map = place.fields("a map with Algorithm and Certificate")?;
    let assertion = Assertion {
        algorithm: map.some_word("Algorithm")?.unwrap_or_default(),
        certificate: map.text("Certificate")?,
        audience: map.some_text("Audience")?,
    };
    keep(inner, "Assertion", map);
    Ok(Some(assertion))
}

fn service_account(
    fields: &mut Fields<'_>,
    inner: &mut Map<String, Value>,
) -> Result<Option<ServiceAccount>, Problem> {
    let Some(place) = fields
        .take("ServiceAccount")
        .filter(|place| !place.is_null())
    else {
        return Ok(None);
    };
    let mut map = place.fields("a map with Email and KeyID")?;
    let account = ServiceAccount {
        email: map.text("Email")?,
        key_id: map.some_text("KeyID")?,
        audience: map.some_text("Audience")?,
    };
    keep(inner, "ServiceAccount", map);
    Ok(Some(account))
}

fn limits(fields: &mut Fields<'_>, inner: &mut Map<String, Value>) -> Result<Limits, Problem> {
    let Some(mut map) = sub(fields, "Limits")? else {
        return Ok(Limits::default());
    };
    let messages = "a number of messages";
    let recipients = "a number of recipients";
    let limits = Limits {
        smtp_connections: map.number("SMTPConnections", "a number of connections")?,
        smtp_rate: map.number("SMTPRate", "a number of messages a minute")?,
        smtp_size: map.number("SMTPSize", "a number of bytes")?,
        smtp_messages_per_day: map.number("SMTPMessagesPerDay", messages)?,
        smtp_recipients_per_day: map.number("SMTPRecipientsPerDay", recipients)?,
        smtp_recipients_per_message: map.number("SMTPRecipientsPerMessage", recipients)?,
        smtp_messages_per_connection: map.number("SMTPMessagesPerConnection", messages)?,
        imap_connections: map.number("IMAPConnections", "a number of connections")?,
        imap_megabytes_per_day: map.number("IMAPMegabytesPerDay", "a number of megabytes")?,
        pop3_megabytes_per_day: map.number("POP3MegabytesPerDay", "a number of megabytes")?,
    };
    keep(inner, "Limits", map);
    Ok(limits)
}

fn quirks(fields: &mut Fields<'_>, inner: &mut Map<String, Value>) -> Result<Quirks, Problem> {
    let Some(mut map) = sub(fields, "Quirks")? else {
        return Ok(Quirks::default());
    };
    let quirks = Quirks {
        smtp_no_initial_response: map.flag("SMTPNoInitialResponse")?,
        pop3_two_line_auth: map.flag("POP3TwoLineAuth")?,
        trash_on_delete: map.flag("TrashOnDelete")?,
        idle_minutes: map.number("IdleMinutes", "a number of minutes")?,
        sasl_preferred: map.some_word("SASLPreferred")?,
        sasl_refused: map.some_word("SASLRefused")?,
    };
    keep(inner, "Quirks", map);
    Ok(quirks)
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
