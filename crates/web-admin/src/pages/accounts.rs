//! Mailboxes and relays with their state, read-only.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use provider_template::Tls;
use spool::{Counts, Direction};
use token_store::accounts::{After, Auth, Condition, Kind, Light, Mailbox, Relay};

use super::notices::anchor;
use super::{Frame, Section, html};
use crate::error::PageError;
use crate::session::SignedIn;
use crate::words::{Badge, Moment, Prose, Tone, condition, now};
use crate::{App, Inner};

/// How an account fares: what both tables and the overview show.
pub(crate) struct Fare {
    pub(crate) name: String,
    pub(crate) badge: Badge,
    /// What it does, or what is in its way, in the server's words.
    pub(crate) words: Prose,
    pub(crate) since: Option<Moment>,
    pub(crate) next_try: Option<Moment>,
    pub(crate) last_success: Option<Moment>,
    pub(crate) counts: Counts,
}

impl Fare {
    /// Whether somebody should look.
    pub(crate) fn wants_attention(&self) -> bool {
        self.badge.tone.wants_attention()
    }
}

struct MailboxRow {
    fare: Fare,
    server: String,
    user: String,
    token: Option<String>,
    folders: String,
    deliver: String,
    after: String,
    declared_in: Option<String>,
}

struct RelayRow {
    fare: Fare,
    server: String,
    user: String,
    token: Option<String>,
    senders: String,
    limits: String,
    declared_in: Option<String>,
}

impl MailboxRow {
    fn anchor(&self) -> String {
        anchor("mailbox", &self.fare.name)
    }
}

impl RelayRow {
    fn anchor(&self) -> String {
        anchor("relay", &self.fare.name)
    }
}

#[derive(Template)]
#[template(path = "mailboxes.html")]
struct MailboxesPage {
    frame: Frame,
    rows: Vec<MailboxRow>,
}

#[derive(Template)]
#[template(path = "relays.html")]
struct RelaysPage {
    frame: Frame,
    rows: Vec<RelayRow>,
}

/// The mailboxes.
pub(crate) async fn mailboxes(State(app): State<App>, by: SignedIn) -> Result<Response, PageError> {
    let rows = app
        .store()
        .mailboxes()?
        .into_iter()
        .map(|m| mailbox_row(&app, m));
    let rows = rows.collect::<Result<_, _>>()?;
    let frame = app.frame(&by, Section::Mailboxes, "Mailboxes")?;
    html(&MailboxesPage { frame, rows })
}

/// The relays.
pub(crate) async fn relays(State(app): State<App>, by: SignedIn) -> Result<Response, PageError> {
    let rows = app
        .store()
        .relays()?
        .into_iter()
        .map(|r| relay_row(&app, r));
    let rows = rows.collect::<Result<_, _>>()?;
    let frame = app.frame(&by, Section::Relays, "Relays")?;
    html(&RelaysPage { frame, rows })
}

impl Inner {
    /// How an account fares.
    pub(crate) fn fare(&self, kind: Kind, name: &str, paused: bool) -> Result<Fare, PageError> {
        let direction = match kind {
            Kind::Mailbox => Direction::In,
            Kind::Relay => Direction::Out,
        };
        let light = self.parts.board.get(kind, name);
        let counts = self.parts.spool.counts(direction, name)?;
        Ok(fare(name, light.as_ref(), paused, counts, now()))
    }
}

fn fare(name: &str, light: Option<&Light>, paused: bool, counts: Counts, now: i64) -> Fare {
    let (badge, words) = condition(light, paused);
    // A person must see held mail however well the account works.
    let badge = if counts.held > 0 && badge.tone == Tone::Good {
        Badge::new(Tone::Warn, format!("{}, holds mail", badge.words))
    } else {
        badge
    };
    let next_try = light.and_then(|light| match light.condition {
        Condition::Waiting { until, .. } => Some(Moment::new(until, now)),
        _ => None,
    });
    Fare {
        name: name.to_owned(),
        badge,
        words: Prose::new(&words),
        since: light.map(|light| Moment::since(light.since, now)),
        next_try,
        last_success: light
            .and_then(|light| light.last_success)
            .map(|at| Moment::new(at, now)),
        counts,
    }
}

fn mailbox_row(app: &Inner, mailbox: Mailbox) -> Result<MailboxRow, PageError> {
    Ok(MailboxRow {
        fare: app.fare(Kind::Mailbox, &mailbox.name, mailbox.paused)?,
        server: server(&mailbox.host, mailbox.port, mailbox.tls),
        user: mailbox.user,
        token: token(mailbox.auth),
        folders: mailbox.folders.join(", "),
        deliver: mailbox.deliver.in_words(),
        after: match mailbox.after {
            After::Delete => "deleted".to_owned(),
            After::Seen => "marked as seen".to_owned(),
            After::Keep => "kept".to_owned(),
            After::Move { folder, .. } => format!("moved to {folder}"),
        },
        declared_in: mailbox.declared_in,
    })
}

fn relay_row(app: &Inner, relay: Relay) -> Result<RelayRow, PageError> {
    let connections = crate::words::count(relay.connections as u64, "connection", "connections");
    let limits = match relay.rate {
        Some(rate) => format!("{connections}, {rate} messages a minute"),
        None => connections,
    };
    Ok(RelayRow {
        fare: app.fare(Kind::Relay, &relay.name, relay.paused)?,
        server: server(&relay.host, relay.port, relay.tls),
        user: relay.user,
        token: token(relay.auth),
        senders: relay.senders.join(", "),
        limits,
        declared_in: relay.declared_in,
    })
}

fn server(host: &str, port: u16, tls: Tls) -> String {
    let tls = match tls {
        Tls::Implicit => "TLS",
        Tls::Starttls => "STARTTLS",
        Tls::None => "without TLS",
    };
    format!("{host}:{port}, {tls}")
}

fn token(auth: Auth) -> Option<String> {
    match auth {
        Auth::Token(config) => Some(config),
        Auth::Password(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn held_mail_is_seen_even_while_the_account_works() {
        let doing = "waiting for new mail".to_owned();
        let light = Light {
            condition: Condition::Working { doing },
            since: 1,
            last_success: Some(1),
            failing_since: None,
        };
        let held = Counts {
            held: 1,
            ..Counts::default()
        };
        assert!(fare("a", Some(&light), false, held, 2).wants_attention());
        assert!(!fare("a", Some(&light), false, Counts::default(), 2).wants_attention());
    }
}
