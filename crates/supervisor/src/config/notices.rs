//! `notices`: how an administrator is told of what is wrong, beside the admin page.

use provider_template::{Secret, url_is_safe};

use super::accounts::secret;
use super::deliver::words;
use super::reader::{Field, Section};
use super::surroundings::Surroundings;

/// The channels that are switched on.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Notices {
    /// Program and arguments; empty: off.
    pub(crate) command: Vec<String>,
    /// Where notices are posted.
    pub(crate) webhook: Option<Webhook>,
    /// Who gets them by mail; empty: off.
    pub(crate) mail_to: Vec<String>,
    /// The sender of those mails; None: that of the relay they go through.
    pub(crate) mail_from: Option<String>,
}

/// Where notices are posted.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Webhook {
    /// A secret too: many services put a key into the path.
    pub(crate) url: Secret,
    /// What signs the posts.
    pub(crate) secret: Option<Secret>,
}

const URL: &str = "an https:// URL; http:// is for this machine only";

/// Reads the section.
pub(super) fn read(root: &Section<'_>, surroundings: &Surroundings) -> Notices {
    let Some(section) = root
        .get("notices")
        .and_then(|field| field.section("keys such as `mail_to: postmaster@example.com`"))
    else {
        return Notices::default();
    };
    let command = section.get("command").and_then(|field| words(&field));
    let webhook = section
        .get("webhook")
        .and_then(|field| webhook(&field, surroundings));
    let mail_to = section.get("mail_to").and_then(|field| addresses(&field));
    let mail_from = section.get("mail_from").and_then(|field| address(&field));
    section.finish();
    Notices {
        command: command.unwrap_or_default(),
        webhook,
        mail_to: mail_to.unwrap_or_default(),
        mail_from,
    }
}

/// A URL, or a section with one and a secret.
fn webhook(field: &Field<'_>, surroundings: &Surroundings) -> Option<Webhook> {
    if field.scalar().is_some() {
        return Some(Webhook {
            url: url(field)?,
            secret: None,
        });
    }
    let expected = "a URL, or the keys url and secret";
    let section = field.section(expected)?;
    let url = section.require("url", URL).and_then(|field| url(&field));
    let key = section
        .get("secret")
        .map(|field| secret(&field, surroundings));
    section.finish();
    Some(Webhook {
        url: url?,
        secret: match key {
            Some(key) => Some(key?),
            None => None,
        },
    })
}

/// Not quoted when it is wrong, for the path may hold a key.
fn url(field: &Field<'_>) -> Option<Secret> {
    let text = field
        .scalar()
        .filter(|text| url_is_safe(text) && !text.contains(['@', '#']));
    if text.is_none() {
        field.mistake(format!("is no URL that may be used; expected {URL}"));
    }
    text.map(Secret::new)
}

fn addresses(field: &Field<'_>) -> Option<Vec<String>> {
    if field.scalar().is_some() {
        return Some(vec![address(field)?]);
    }
    let items = field.list("an address, or a list of addresses")?;
    let read: Vec<_> = items.iter().map(address).collect();
    read.into_iter().collect()
}

fn address(field: &Field<'_>) -> Option<String> {
    let expected = "an address such as postmaster@example.com";
    let text = field.text(expected)?;
    if text.parse::<lettre::Address>().is_err() {
        field.expected(expected);
        return None;
    }
    Some(text.to_owned())
}
