//! One message in flight: its headers, what was tried and what was said; and the message itself, to download.

use std::io::Read;

use askama::Template;
use axum::body::{Body, Bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use spool::{MessageId, Pieces, QueueDelivery, QueueEntry, Stored};
use token_store::accounts::show_size;

use super::{Message, badge, read};
use crate::App;
use crate::error::PageError;
use crate::pages::{Frame, Section, html};
use crate::session::SignedIn;
use crate::words::{Badge, Moment, Prose, now};

/// A header section is shown up to here; longer ones are not made for people, and the page stays small.
const HEADER: u64 = 24 * 1024;
/// Deliveries that are shown; a message to more recipients has the rest counted.
const DELIVERIES: usize = 50;

#[derive(Template)]
#[template(path = "message.html")]
struct MessagePage {
    frame: Frame,
    message: Message,
    path: &'static str,
    account: String,
    inbound: bool,
    facts: Vec<(&'static str, String)>,
    deliveries: Vec<Delivery>,
    more: usize,
    header: String,
    kept: bool,
    held: bool,
}

/// One delivery.
struct Delivery {
    who: String,
    badge: Badge,
    attempts: u32,
    next: Option<Moment>,
    held: Option<Moment>,
    why: Prose,
    wanted: Option<String>,
    output: String,
}

/// Which message.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(crate) struct Which {
    id: String,
}

type Asked = Result<Query<Which>, QueryRejection>;

async fn entry(app: &App, asked: Asked) -> Result<QueueEntry, PageError> {
    let id = asked.map(|Query(which)| which.id).unwrap_or_default();
    let id = id.parse().map_err(|_| PageError::NotFound)?;
    let found = read(app, move |spool| spool.show(MessageId(id))).await?;
    found.ok_or(PageError::NotFound)
}

/// The page of one message.
pub(crate) async fn page(
    State(app): State<App>,
    by: SignedIn,
    asked: Asked,
) -> Result<Response, PageError> {
    let entry = entry(&app, asked).await?;
    let header = match entry.kept {
        true => {
            header(app.parts.spool.open_body(MessageId(entry.row.id)).await).unwrap_or_default()
        }
        false => String::new(),
    };
    let now = now();
    let inbound = entry.row.direction == "in";
    let deliveries = entry.deliveries.iter().take(DELIVERIES);
    let message = Message::of(&entry.row, now);
    html(&MessagePage {
        frame: app.frame(&by, Section::Queue, &format!("Message {}", entry.row.id))?,
        path: if inbound { "/mailboxes" } else { "/relays" },
        account: entry.row.account.clone(),
        inbound,
        facts: facts(&entry),
        deliveries: deliveries.map(|d| delivery(d, now)).collect(),
        more: entry.deliveries.len().saturating_sub(DELIVERIES),
        header,
        kept: entry.kept,
        held: entry.deliveries.iter().any(|d| d.state == "held"),
        message,
    })
}

fn facts(entry: &QueueEntry) -> Vec<(&'static str, String)> {
    let row = &entry.row;
    let origin = match (&entry.own, &entry.folder, entry.uid) {
        (Some(own), None, _) => format!("a {own} of Postern’s own"),
        (_, Some(folder), Some(uid)) if entry.aside => {
            format!("{folder}, UID {uid}; moved out of the way there")
        }
        (_, Some(folder), Some(uid)) => format!("{folder}, UID {uid}"),
        _ => String::new(),
    };
    let size = format!("{} ({} bytes)", show_size(row.size), row.size);
    let facts = [
        ("From", row.from.clone()),
        (
            "To",
            row.to
                .iter()
                .take(DELIVERIES)
                .cloned()
                .collect::<Vec<_>>()
                .join(", "),
        ),
        ("Came from", origin),
        ("Size", size),
        ("Message-ID", entry.message_id.clone()),
        (
            "Gmail’s number",
            entry.provider_id.clone().unwrap_or_default(),
        ),
        ("SHA-256", entry.sha256.clone()),
    ];
    facts
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .collect()
}

fn delivery(delivery: &QueueDelivery, now: i64) -> Delivery {
    let at = |seconds: i64| Moment::new(now.saturating_add(seconds), now);
    let ticket_system = || "the ticket system".to_owned();
    Delivery {
        who: delivery.recipient.clone().unwrap_or_else(ticket_system),
        badge: badge(&delivery.state),
        attempts: delivery.attempts,
        next: delivery.next_seconds.map(at),
        held: delivery
            .held_seconds
            .map(|s| Moment::since(now.saturating_sub(s), now)),
        why: Prose::new(&delivery.why),
        wanted: delivery.hold_wanted.clone(),
        output: delivery.output.clone().unwrap_or_default(),
    }
}

/// The header section, for reading; None when the body can't be read.
fn header(body: spool::Result<Stored>) -> Option<String> {
    let mut bytes = Vec::new();
    match body.ok()? {
        Stored::Inline(whole) => bytes = whole,
        Stored::File(file) => {
            file.take(HEADER).read_to_end(&mut bytes).ok()?;
        }
    }
    bytes.truncate(usize::try_from(HEADER).unwrap_or(usize::MAX));
    let text = String::from_utf8_lossy(&bytes);
    let lines = text.lines().take_while(|line| !line.is_empty());
    Some(lines.collect::<Vec<_>>().join("\n"))
}

/// The message itself, byte for byte. Never shown in the browser: what is in it is a stranger's.
pub(crate) async fn raw(
    State(app): State<App>,
    _by: SignedIn,
    asked: Asked,
) -> Result<Response, PageError> {
    let entry = entry(&app, asked).await?;
    if !entry.kept {
        return Err(PageError::NotFound);
    }
    let id = entry.row.id;
    let stored = app.parts.spool.open_body(MessageId(id)).await?;
    let pieces = stream::try_unfold(Pieces::of(stored), |mut pieces| async move {
        let piece = Bytes::copy_from_slice(pieces.next().await?);
        Ok::<_, std::io::Error>((!piece.is_empty()).then_some((piece, pieces)))
    });
    // The name is made of the message's number alone, so nothing of the message is in the header.
    let name = HeaderValue::try_from(format!("attachment; filename=\"message-{id}.eml\""));
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("message/rfc822")),
        (CONTENT_DISPOSITION, name.map_err(|_| PageError::NotFound)?),
        (CONTENT_LENGTH, HeaderValue::from(entry.row.size)),
    ];
    Ok((StatusCode::OK, headers, Body::from_stream(pieces)).into_response())
}
