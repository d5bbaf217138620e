//! The queue: every message in flight, searched, filtered, a page at a time.

pub(crate) mod act;
pub(crate) mod message;

use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::Response;
use spool::{Direction, MessageId, Part, QueueRow, Search};
use token_store::accounts::{Kind, show_size};

use super::{Frame, Section, html};
use crate::App;
use crate::error::PageError;
use crate::session::{Fields, SignedIn};
use crate::words::{Badge, Moment, Prose, Tone, now};

/// Messages on a page, which stays below 60 KB so.
const PAGE: usize = 40;

/// The states that can be asked for: the word in the spool, and in the list.
const STATES: [(&str, &str); 6] = [
    ("held", "held: waits for a person"),
    ("waiting", "waiting for its account"),
    ("in doubt", "in doubt"),
    ("claimed", "on the way now"),
    ("due", "due, or due later"),
    ("delivered", "delivered, mailbox not told yet"),
];

/// A message as lists show it.
pub(crate) struct Message {
    pub(crate) id: i64,
    pub(crate) from: String,
    subject: String,
    /// `mailbox support`, `relay support`.
    account: String,
    to: String,
    pub(crate) badge: Badge,
    pub(crate) why: Prose,
    size: String,
    attempts: u32,
    next: Option<Moment>,
    pub(crate) taken: Moment,
}

impl Message {
    pub(crate) fn of(row: &QueueRow, now: i64) -> Self {
        let kind = if row.direction == "in" {
            "mailbox"
        } else {
            "relay"
        };
        let to = match row.to.as_slice() {
            [] => String::new(),
            [one] => one.clone(),
            [first, rest @ ..] => format!("{first} and {} more", rest.len()),
        };
        Self {
            id: row.id,
            from: row.from.clone(),
            subject: row.subject.clone(),
            account: format!("{kind} {}", row.account),
            to,
            badge: badge(&row.state),
            why: Prose::new(&row.why),
            size: show_size(row.size),
            attempts: row.attempts,
            next: row
                .next_seconds
                .filter(|s| *s > 0)
                .map(|s| Moment::new(now.saturating_add(s), now)),
            taken: Moment::new(now.saturating_sub(row.age_seconds), now),
        }
    }

    /// The subject, or that there is none.
    pub(crate) fn title(&self) -> &str {
        match self.subject.trim() {
            "" => "(no subject)",
            subject => subject,
        }
    }
}

/// A state with its colour.
fn badge(state: &str) -> Badge {
    let tone = match state {
        "held" => Tone::Bad,
        "waiting" | "in doubt" => Tone::Warn,
        "claimed" | "delivered" => Tone::Good,
        _ => Tone::Off,
    };
    Badge::new(tone, state)
}

/// What the address asks for.
#[derive(Debug, Clone, Default, serde::Deserialize)]
#[serde(default)]
pub(crate) struct Asked {
    q: String,
    /// `in`, `out` or empty.
    way: String,
    state: String,
    mailbox: String,
    relay: String,
    before: String,
    after: String,
}

impl Asked {
    /// The same from the hidden fields of a form.
    fn typed(fields: &Fields) -> Self {
        let text = |name: &str| fields.text(name).to_owned();
        Self {
            q: text("q"),
            way: text("way"),
            state: text("state"),
            mailbox: text("mailbox"),
            relay: text("relay"),
            ..Self::default()
        }
    }

    fn search(&self) -> Search {
        let given = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let direction = match (
            self.way.as_str(),
            self.mailbox.as_str(),
            self.relay.as_str(),
        ) {
            ("in", ..) => Some(Direction::In),
            ("out", ..) => Some(Direction::Out),
            (_, mailbox, _) if !mailbox.is_empty() => Some(Direction::In),
            (.., relay) if !relay.is_empty() => Some(Direction::Out),
            _ => None,
        };
        Search {
            direction,
            account: given(&self.mailbox).or_else(|| given(&self.relay)),
            state: given(&self.state),
            text: self.q.trim().to_owned(),
        }
    }

    fn part(&self) -> Part {
        let number = |text: &str| text.parse().ok().map(MessageId);
        match (number(&self.before), number(&self.after)) {
            (Some(id), _) => Part::Before(id),
            (None, Some(id)) => Part::After(id),
            (None, None) => Part::Newest,
        }
    }

    /// Something narrows the list.
    fn narrows(&self) -> bool {
        self.search() != Search::default()
    }

    /// The filters that are set.
    fn given(&self) -> Vec<(&'static str, &str)> {
        let mut given = vec![
            ("q", self.q.as_str()),
            ("way", &self.way),
            ("state", &self.state),
            ("mailbox", &self.mailbox),
            ("relay", &self.relay),
        ];
        given.retain(|(_, value)| !value.is_empty());
        given
    }

    /// The same as the end of an address.
    fn query(&self) -> String {
        let mut query = String::new();
        for (name, value) in self.given() {
            let Ok(value) = askama::filters::urlencode(value);
            query.push_str(&format!("&{name}={value}"));
        }
        query
    }
}

#[derive(Template)]
#[template(path = "queue.html")]
struct QueuePage {
    frame: Frame,
    messages: Vec<Message>,
    asked: Asked,
    mailboxes: Vec<String>,
    relays: Vec<String>,
    /// For links to other parts of the same list; begins with `&`.
    query: String,
    newer: Option<i64>,
    older: Option<i64>,
    narrows: bool,
}

/// The list.
pub(crate) async fn page(
    State(app): State<App>,
    by: SignedIn,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Response, PageError> {
    let asked = asked.map(|Query(asked)| asked).unwrap_or_default();
    let (part, search) = (asked.part(), asked.search());
    // One more tells whether there are more.
    let mut rows = read(&app, move |spool| spool.search(&search, part, PAGE + 1)).await?;
    let more = rows.len() > PAGE;
    match part {
        Part::After(_) if more => drop(rows.remove(0)),
        _ => rows.truncate(PAGE),
    }
    let (newest, oldest) = (rows.first().map(|r| r.id), rows.last().map(|r| r.id));
    let (newer, older) = match part {
        Part::Newest => (None, oldest.filter(|_| more)),
        Part::Before(_) => (newest, oldest.filter(|_| more)),
        Part::After(_) => (newest.filter(|_| more), oldest),
    };
    let names = |kind| -> Result<Vec<String>, PageError> {
        let accounts = app.store().accounts(kind)?.into_iter();
        Ok(accounts
            .map(|found| found.definition.name().to_owned())
            .collect())
    };
    let now = now();
    html(&QueuePage {
        frame: app.frame(&by, Section::Queue, "Queue")?,
        messages: rows.iter().map(|row| Message::of(row, now)).collect(),
        mailboxes: names(Kind::Mailbox)?,
        relays: names(Kind::Relay)?,
        query: asked.query(),
        newer,
        older,
        narrows: asked.narrows(),
        asked,
    })
}

/// Reads the spool where it may block: a search may walk over a hundred thousand messages.
async fn read<T: Send + 'static>(
    app: &App,
    work: impl FnOnce(&spool::Spool) -> spool::Result<T> + Send + 'static,
) -> Result<T, PageError> {
    let spool = app.parts.spool.clone();
    let done = tokio::task::spawn_blocking(move || work(&spool)).await;
    Ok(done.map_err(|_| PageError::Panicked)??)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_says_what_is_looked_for() {
        let mut asked = Asked {
            q: " a&b ".into(),
            mailbox: "support".into(),
            ..Asked::default()
        };
        let search = asked.search();
        assert_eq!(search.direction, Some(Direction::In));
        assert_eq!(search.account.as_deref(), Some("support"));
        assert_eq!(search.text, "a&b");
        assert_eq!(asked.query(), "&q=%20a%26b%20&mailbox=support");
        assert!(asked.narrows() && !Asked::default().narrows());
        asked.before = "7".into();
        assert_eq!(asked.part(), Part::Before(MessageId(7)));
        asked.before = "x".into();
        assert_eq!(asked.part(), Part::Newest);
    }
}
