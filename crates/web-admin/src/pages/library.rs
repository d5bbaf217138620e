//! The provider templates, to be read: what they know, their notes, and the links in them.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use provider_template::{Entry, Host, Tls};

use super::add::notes_of;
use super::edit::{Asked, named};
use super::notes::{Block, Piece};
use super::{Frame, Section, html};
use crate::App;
use crate::error::PageError;
use crate::session::SignedIn;

#[derive(Template)]
#[template(path = "library.html")]
struct LibraryPage {
    frame: Frame,
    rows: Vec<Row>,
    problems: Vec<String>,
}

struct Row {
    name: String,
    title: String,
    flow: &'static str,
    hosts: String,
}

#[derive(Template)]
#[template(path = "template.html")]
struct TemplatePage {
    frame: Frame,
    name: String,
    facts: Vec<(&'static str, String)>,
    notes: Vec<Block>,
}

/// All of them, or the one that is asked for.
pub(crate) async fn page(
    State(app): State<App>,
    by: SignedIn,
    asked: Asked,
) -> Result<Response, PageError> {
    let library = &app.parts.library;
    let name = named(asked);
    if !name.is_empty() {
        let template = library.get(&name).ok_or(PageError::NotFound)?;
        return html(&TemplatePage {
            frame: app.frame(&by, Section::Templates, &title(template))?,
            facts: facts(template),
            notes: notes_of(template),
            name,
        });
    }
    html(&LibraryPage {
        frame: app.frame(&by, Section::Templates, "Templates")?,
        rows: library.templates.iter().map(row).collect(),
        problems: library.problems.iter().map(ToString::to_string).collect(),
    })
}

fn title(template: &Entry) -> String {
    let title = template.config.postern.title.as_ref();
    title.unwrap_or(&template.name).clone()
}

fn row(template: &Entry) -> Row {
    let postern = &template.config.postern;
    let hosts = [&postern.imap, &postern.pop3, &postern.smtp];
    let mut hosts: Vec<&str> = hosts
        .iter()
        .filter_map(|h| h.as_ref())
        .map(|h| &*h.host)
        .collect();
    hosts.dedup();
    Row {
        name: template.name.clone(),
        title: title(template),
        flow: template.config.flow.name(),
        hosts: hosts.join(", "),
    }
}

/// What a template knows, as name and value; what it says nothing of is left out.
fn facts(template: &Entry) -> Vec<(&'static str, String)> {
    let config = &template.config;
    let (postern, requests) = (&config.postern, &config.requests);
    let url = |request: &Option<provider_template::Request>| {
        request.as_ref().map(|r| r.url.clone()).unwrap_or_default()
    };
    let host = |host: &Option<Host>| host.as_ref().map(in_words).unwrap_or_default();
    let number = |n: Option<u64>| n.map(|n| n.to_string()).unwrap_or_default();
    let days = |n: Option<u32>| n.map(|n| format!("{n} days")).unwrap_or_default();
    let asks = |v: &provider_template::Variable| format!("{}: {}", v.name, v.asks);
    let variables: Vec<String> = template.variables().iter().map(asks).collect();
    let limits = &postern.limits;
    let all = [
        ("Flow", config.flow.name().to_owned()),
        ("Asks for", variables.join("; ")),
        ("Scope", config.scope.clone()),
        ("IMAP", host(&postern.imap)),
        ("POP3", host(&postern.pop3)),
        ("SMTP", host(&postern.smtp)),
        ("Authorization", url(&requests.authorization_code)),
        (
            "Token",
            config
                .first_request()
                .map(|r| r.url.clone())
                .unwrap_or_default(),
        ),
        (
            "Device code",
            postern.endpoints.device.clone().unwrap_or_default(),
        ),
        (
            "Revocation",
            postern.endpoints.revoke.clone().unwrap_or_default(),
        ),
        (
            "OpenID Connect issuer",
            postern.discovery.clone().unwrap_or_default(),
        ),
        (
            "Refresh token dies unused after",
            days(postern.refresh_idle_life),
        ),
        ("Refresh token dies after", days(postern.refresh_life)),
        (
            "Connections for sending",
            number(limits.smtp_connections.map(u64::from)),
        ),
        ("Messages a minute", number(limits.smtp_rate.map(u64::from))),
        (
            "Messages a day",
            number(limits.smtp_messages_per_day.map(u64::from)),
        ),
        (
            "Recipients a day",
            number(limits.smtp_recipients_per_day.map(u64::from)),
        ),
        (
            "Recipients a message",
            number(limits.smtp_recipients_per_message.map(u64::from)),
        ),
    ];
    all.into_iter()
        .filter(|(_, value)| !value.is_empty())
        .collect()
}

fn in_words(host: &Host) -> String {
    let tls = match host.tls {
        Tls::Implicit => "TLS",
        Tls::Starttls => "STARTTLS",
        Tls::None => "without TLS",
    };
    format!("{}:{}, {tls}", host.host, host.port)
}
