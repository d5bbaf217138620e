//! Mailboxes and relays: twins, so every page and every action here is for both.

mod act;
mod edit;
mod form;
mod list;
mod show;
pub(crate) mod test;

use std::collections::BTreeMap;

use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use axum::response::Response;
use axum::routing::{MethodRouter, get};
use provider_template::Tls;
use spool::{Counts, Direction};
use token_store::accounts::{
    After, Auth, Condition, Defined, Definition, Kind, Light, Mailbox, Relay,
};

use super::Section;
use super::notices::anchor;
use crate::error::{PageError, see_other};
use crate::flash::Flash;
use crate::session::SignedIn;
use crate::words::{Badge, Moment, Prose, Tone, condition, count, now};
use crate::{App, ChangeError, Inner};
pub(crate) use act::fetch;

/// The pages of both kinds.
pub(crate) fn routes() -> [(&'static str, MethodRouter<App>); 18] {
    use Kind::{Mailbox, Relay};
    [
        ("/mailboxes", list::page(Mailbox)),
        ("/mailboxes/show", show::show(Mailbox)),
        ("/mailboxes/add", edit::add(Mailbox)),
        ("/mailboxes/edit", edit::edit(Mailbox)),
        ("/mailboxes/delete", act::delete(Mailbox)),
        ("/mailboxes/pause", act::pause(Mailbox, true)),
        ("/mailboxes/resume", act::pause(Mailbox, false)),
        ("/mailboxes/test", test::test(Mailbox)),
        ("/mailboxes/test/events", get(test::events)),
        ("/relays/test", test::test(Relay)),
        ("/relays/test/events", get(test::events)),
        ("/relays", list::page(Relay)),
        ("/relays/show", show::show(Relay)),
        ("/relays/add", edit::add(Relay)),
        ("/relays/edit", edit::edit(Relay)),
        ("/relays/delete", act::delete(Relay)),
        ("/relays/pause", act::pause(Relay, true)),
        ("/relays/resume", act::pause(Relay, false)),
    ]
}

/// What differs between the twins in words and links.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Words {
    kind: Kind,
    one: &'static str,
    many: &'static str,
    path: &'static str,
    key: &'static str,
    third: &'static str,
    done: &'static str,
}

const MAILBOX: Words = Words {
    kind: Kind::Mailbox,
    one: "mailbox",
    many: "Mailboxes",
    path: "/mailboxes",
    key: "mailboxes",
    third: "Delivery",
    done: "Delivered",
};
const RELAY: Words = Words {
    kind: Kind::Relay,
    one: "relay",
    many: "Relays",
    path: "/relays",
    key: "relays",
    third: "Senders",
    done: "Sent",
};

impl Words {
    fn of(kind: Kind) -> Self {
        match kind {
            Kind::Mailbox => MAILBOX,
            Kind::Relay => RELAY,
        }
    }

    fn section(&self) -> Section {
        match self.kind {
            Kind::Mailbox => Section::Mailboxes,
            Kind::Relay => Section::Relays,
        }
    }
}

/// Which account a page is about.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(crate) struct Which {
    name: String,
}

type Asked = Result<Query<Which>, QueryRejection>;

fn named(app: &App, kind: Kind, asked: Asked) -> Result<Defined, PageError> {
    let name = asked.map(|Query(which)| which.name).unwrap_or_default();
    app.store().account(kind, &name)?.ok_or(PageError::NotFound)
}

/// Leaves word and leads to a page.
fn told(app: &App, by: &SignedIn, flash: Flash, path: &str) -> Response {
    app.flashes.leave(&by.session.id, flash);
    see_other(&app.address.link(path))
}

/// Why a change was not made, in words; the database's failures are pages of their own.
fn refused(error: ChangeError) -> Result<Flash, PageError> {
    match error {
        ChangeError::Mistakes(mistakes) => {
            let lines = mistakes.iter().map(|m| format!("{}: {}", m.field, m.why));
            let lines: Vec<String> = lines.collect();
            Ok(Flash::bad(&format!(
                "Nothing was changed: {}",
                lines.join("; ")
            )))
        }
        ChangeError::Refused(why) => Ok(Flash::bad(&format!("Nothing was changed: {why}."))),
        ChangeError::Failed(why) => Err(PageError::Daemon(why)),
    }
}

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

/// The direction in which an account's messages travel.
fn direction(kind: Kind) -> Direction {
    match kind {
        Kind::Mailbox => Direction::In,
        Kind::Relay => Direction::Out,
    }
}

impl Inner {
    /// How an account fares.
    pub(crate) fn fare(&self, kind: Kind, name: &str, paused: bool) -> Result<Fare, PageError> {
        let light = self.parts.board.get(kind, name);
        let counts = self.parts.spool.counts(direction(kind), name)?;
        Ok(fare(name, light.as_ref(), paused, counts, now()))
    }

    /// The same, with the counts of all accounts at hand.
    pub(crate) fn fare_of(
        &self,
        kind: Kind,
        name: &str,
        paused: bool,
        all: &BTreeMap<(Direction, String), Counts>,
    ) -> Fare {
        let light = self.parts.board.get(kind, name);
        let counts = all.get(&(direction(kind), name.to_owned())).copied();
        fare(
            name,
            light.as_ref(),
            paused,
            counts.unwrap_or_default(),
            now(),
        )
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

/// An account as a line of a table.
struct Row {
    fare: Fare,
    anchor: String,
    server: String,
    user: String,
    token: Option<String>,
    /// Folders, or limits.
    more: String,
    /// Where messages go, or which senders are served.
    third: String,
    then: String,
    declared_in: Option<String>,
    /// Paused, whoever says so.
    off: bool,
}

impl Row {
    fn of(app: &Inner, defined: &Defined) -> Result<Self, PageError> {
        let definition = &defined.definition;
        let (kind, name, off) = (definition.kind(), definition.name(), defined.is_off());
        let (user, tls, more, third, then) = match definition {
            Definition::Mailbox(mailbox) => of_mailbox(mailbox),
            Definition::Relay(relay) => of_relay(relay),
        };
        let (host, port) = definition.server();
        Ok(Self {
            fare: app.fare(kind, name, off)?,
            anchor: anchor(kind.word(), name),
            server: format!("{host}:{port}, {}", in_words(tls)),
            user,
            token: match definition.auth() {
                Auth::Token(config) => Some(config.clone()),
                Auth::Password(_) => None,
            },
            more,
            third,
            then,
            declared_in: definition.declared_in().map(str::to_owned),
            off,
        })
    }
}

fn of_mailbox(mailbox: &Mailbox) -> (String, Tls, String, String, String) {
    let after = match &mailbox.after {
        After::Delete => "then deleted".to_owned(),
        After::Seen => "then marked as seen".to_owned(),
        After::Keep => "then kept".to_owned(),
        After::Move { folder, .. } => format!("then moved to {folder}"),
    };
    (
        mailbox.user.clone(),
        mailbox.tls,
        format!("folders: {}", mailbox.folders.join(", ")),
        mailbox.deliver.in_words(),
        after,
    )
}

fn of_relay(relay: &Relay) -> (String, Tls, String, String, String) {
    let connections = count(relay.connections as u64, "connection", "connections");
    let limits = match relay.rate {
        Some(rate) => format!("{connections}, {rate} messages a minute"),
        None => connections,
    };
    let senders = relay.senders.join(", ");
    (
        relay.user.clone(),
        relay.tls,
        limits,
        senders,
        String::new(),
    )
}

fn in_words(tls: Tls) -> &'static str {
    match tls {
        Tls::Implicit => "TLS",
        Tls::Starttls => "STARTTLS",
        Tls::None => "without TLS",
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
