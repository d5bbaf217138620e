//! `relays`: one remote submission service to send through each.

use std::collections::BTreeMap;
use std::time::Duration;

use provider_template::Tls;
use token_store::accounts::{BouncesTo, Mailbox, Relay};

use super::accounts::{Known, Names, Ports, endpoint, sign_in, template, user};
use super::reader::{Field, Section};

/// RFC 8314 and RFC 6409.
const SUBMISSION: Ports = Ports {
    implicit: 465,
    starttls: 587,
    plain: 25,
    usual: Tls::Starttls,
};
/// What Microsoft 365 grants, the least of the known providers.
const CONNECTIONS: u32 = 3;
const KEEP_TRYING: Duration = Duration::from_secs(5 * 86_400);
const SECOND: Duration = Duration::from_secs(1);
const MONTH: Duration = Duration::from_secs(30 * 86_400);

/// Reads every relay.
pub(super) fn read(
    root: &Section<'_>,
    known: &Known<'_>,
    mailboxes: &[Mailbox],
    origin: &str,
) -> Vec<Relay> {
    let Some(field) = root.get("relays") else {
        return Vec::new();
    };
    let mut names = Names::default();
    let mut claims = Claims::default();
    let items = field
        .list("a list of relays, each beginning with `- name: ...`")
        .unwrap_or_default();
    let relays: Vec<Relay> = items
        .iter()
        .filter_map(|item| relay(item, known, mailboxes, &mut names, &mut claims, origin))
        .collect();
    // One that is missing may be the one with a mistake in it.
    if relays.len() == items.len() {
        for item in items {
            check_fallback(&item, &relays);
        }
    }
    relays
}

/// The relay that takes over stands in the same file, and has nobody to pass mail on to: it would go round.
fn check_fallback(item: &Field<'_>, relays: &[Relay]) {
    let section = item.section("keys such as `name: support`");
    let Some(field) = section.and_then(|section| section.get("fallback")) else {
        return;
    };
    let Some(name) = field.text("the name of another relay") else {
        return;
    };
    match relays.iter().find(|relay| relay.name == name) {
        None => field.mistake(format!("there is no relay \"{name}\" in this file")),
        Some(relay) if relay.fallback.is_some() => field.mistake(format!(
            "the relay \"{name}\" has a fallback itself; mail would be passed on and on"
        )),
        Some(_) => {}
    }
}

/// Reads one relay.
pub(super) fn relay(
    item: &Field<'_>,
    known: &Known<'_>,
    mailboxes: &[Mailbox],
    names: &mut Names,
    claims: &mut Claims,
    origin: &str,
) -> Option<Relay> {
    let section = item.section("keys such as `name: support`")?;
    let name = names.read(&section, "relay");
    let user = user(&section);
    let mut sign_in = sign_in(&section, known);
    let template = template(&section, known, sign_in.as_mut());
    let (entry, mistaken) = sign_in
        .as_ref()
        .map_or((None, true), |s| (s.entry, s.mistaken));
    let postern = entry.map(|entry| &entry.config.postern);
    let endpoint = endpoint(
        &section,
        postern.and_then(|p| p.smtp.as_ref()),
        &SUBMISSION,
        mistaken,
    );
    let senders = section
        .require(
            "senders",
            "the envelope senders it serves, such as [support@example.com, \"@example.org\"]",
        )
        .and_then(|field| claims.read(&field));
    let limits = postern.map(|p| p.limits.clone()).unwrap_or_default();
    let connections = section.get("connections").map_or(
        Some(u64::from(limits.smtp_connections.unwrap_or(CONNECTIONS))),
        |field| field.number(1..=100),
    );
    let rate = section
        .get("rate")
        .map_or(Some(limits.smtp_rate), |field| field.rate().map(Some));
    let keep_trying = section
        .get("keep_trying")
        .map_or(Some(KEEP_TRYING), |field| field.duration(SECOND..=MONTH));
    let (recipients, per_connection) = (
        at_most(&section, "recipients", limits.smtp_recipients_per_message),
        at_most(
            &section,
            "messages_per_connection",
            limits.smtp_messages_per_connection,
        ),
    );
    let (fallback, send_as) = (fallback(&section, name.as_deref()), send_as(&section));
    let bounces = section.get("bounces_to");
    let bounces_to = bounces.map_or(Some(None), |field| {
        bounces_to(&field, mailboxes, known).map(Some)
    });
    let paused = section
        .get("paused")
        .map_or(Some(false), |field| field.switch());
    section.finish();
    let (sign_in, endpoint) = (sign_in?, endpoint?);
    Some(Relay {
        name: name?,
        template: template?,
        host: endpoint.host,
        port: endpoint.port,
        tls: endpoint.tls,
        tls_ca_file: endpoint.ca_file,
        user: user?,
        auth: sign_in.auth,
        sasl: sign_in.sasl,
        senders: senders?,
        connections: usize::try_from(connections?).ok()?,
        rate: rate?,
        keep_trying: keep_trying?,
        bounces_to: bounces_to?,
        fallback: fallback?,
        send_as: send_as?,
        recipients: recipients?,
        messages_per_connection: per_connection?,
        no_initial_response: postern.is_some_and(|p| p.quirks.smtp_no_initial_response),
        paused: paused?,
        declared_in: Some(origin.to_owned()),
    })
}

/// A limit; without the key the template's.
fn at_most(section: &Section<'_>, key: &'static str, usual: Option<u32>) -> Option<Option<usize>> {
    let limit = match section.get(key) {
        None => usual.map(u64::from),
        Some(field) => Some(field.number(1..=100_000)?),
    };
    Some(limit.and_then(|limit| usize::try_from(limit).ok()))
}

fn fallback(section: &Section<'_>, own: Option<&str>) -> Option<Option<String>> {
    let Some(field) = section.get("fallback") else {
        return Some(None);
    };
    let name = field.text("the name of another relay")?;
    if own == Some(name) {
        field.mistake("a relay cannot take over from itself".to_owned());
        return None;
    }
    Some(Some(name.to_owned()))
}

fn send_as(section: &Section<'_>) -> Option<Option<String>> {
    let Some(field) = section.get("send_as") else {
        return Some(None);
    };
    let expected = "an address such as support@example.com";
    let text = field.text(expected)?;
    if text.starts_with('@') || !is_sender(text) || text == "*" {
        field.expected(expected);
        return None;
    }
    Some(Some(text.to_owned()))
}

fn bounces_to(field: &Field<'_>, mailboxes: &[Mailbox], known: &Known<'_>) -> Option<BouncesTo> {
    let expected = "{mailbox: NAME} (into that mailbox's ticket command) or {address: ADDRESS}";
    let section = field.section(expected)?;
    let (mailbox, address) = (section.get("mailbox"), section.get("address"));
    section.finish();
    match (mailbox, address) {
        (Some(mailbox), None) => {
            let name = mailbox.text("the name of a mailbox")?;
            if !mailboxes.iter().any(|mailbox| mailbox.name == name) {
                mailbox.mistake(format!("there is no mailbox \"{name}\"{}", known.within));
                return None;
            }
            Some(BouncesTo::Mailbox(name.to_owned()))
        }
        (None, Some(address)) => {
            let text = address.text("an address")?;
            if text.starts_with('@') || !is_sender(text) {
                address.expected("an address such as bounces@example.com");
                return None;
            }
            Some(BouncesTo::Address(text.to_owned()))
        }
        _ => {
            field.expected(expected);
            None
        }
    }
}

/// Which sender was claimed where, in words; two relays cannot serve one.
#[derive(Default)]
pub(super) struct Claims(BTreeMap<String, String>);

impl Claims {
    /// What other relays claim already.
    pub(super) fn of(relays: &[Relay]) -> Self {
        let claim = |relay: &Relay| {
            let by = format!("by the relay {}", relay.name);
            let senders = relay.senders.iter();
            senders
                .map(|sender| (sender.to_lowercase(), by.clone()))
                .collect::<Vec<_>>()
        };
        Self(relays.iter().flat_map(claim).collect())
    }

    fn read(&mut self, field: &Field<'_>) -> Option<Vec<String>> {
        let expected =
            "a list such as [support@example.com, \"@example.org\"], or [\"*\"] for every sender";
        let items = field.list(expected)?;
        if items.is_empty() {
            field.expected(expected);
            return None;
        }
        let mut senders = Vec::new();
        for item in items {
            let expected = "an address, @DOMAIN or \"*\"";
            let Some(sender) = item.text(expected) else {
                continue;
            };
            if !is_sender(sender) {
                item.expected(expected);
                continue;
            }
            if let Some(first) = self.0.get(&sender.to_lowercase()) {
                item.mistake(format!(
                    "the sender \"{sender}\" is claimed {first} already"
                ));
                continue;
            }
            let line = format!("on line {}", item.at().line);
            self.0.insert(sender.to_lowercase(), line);
            senders.push(sender.to_owned());
        }
        Some(senders)
    }
}

/// An address, @DOMAIN, or `*`.
pub(crate) fn is_sender(text: &str) -> bool {
    let Some((_, domain)) = text.rsplit_once('@') else {
        return text == "*";
    };
    !domain.is_empty() && !text.contains(char::is_whitespace) && !text.contains(['<', '>', ','])
}
