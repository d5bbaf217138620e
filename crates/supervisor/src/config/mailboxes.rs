//! `mailboxes`: one remote account to fetch each.

use std::time::Duration;

use provider_template::Tls;
use token_store::accounts::{After, Care, Failed, Mailbox, Protocol, StartFrom, Watch};

use super::accounts::{Known, Names, Ports, endpoint, sign_in, template, user};
use super::deliver;
use super::reader::{Field, Section};
use super::sections::{MAX_SIZE, SIZES};

/// RFC 8314 and RFC 9051.
const IMAP: Ports = Ports {
    implicit: 993,
    starttls: 143,
    plain: 143,
    usual: Tls::Implicit,
};
/// RFC 8314 and RFC 2595.
const POP3: Ports = Ports {
    implicit: 995,
    starttls: 110,
    plain: 110,
    usual: Tls::Implicit,
};
/// Enough to keep a ticket command busy, little enough to lose nothing but time when it is down.
const MAX_UNDELIVERED: u64 = 500;
/// A poll all the same, since IDLE can die silently.
const POLL: Duration = Duration::from_secs(5 * 60);
/// Servers end an idle session after 30 minutes (RFC 9051, 6.3.13); routers forget it earlier.
const IDLE_MINUTES: u32 = 25;
const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);
/// Held mail is looked at by somebody within so long, or never.
const YEARS: Duration = Duration::from_secs(10 * 365 * 86_400);
/// Below this one large message would already be too much; above it a disk is full first.
const HELD_SIZES: std::ops::RangeInclusive<u64> = 1 << 20..=1 << 44;

/// Reads every mailbox.
pub(super) fn read(root: &Section<'_>, known: &Known<'_>, origin: &str) -> Vec<Mailbox> {
    let Some(field) = root.get("mailboxes") else {
        return Vec::new();
    };
    let mut names = Names::default();
    let items = field
        .list("a list of mailboxes, each beginning with `- name: ...`")
        .unwrap_or_default();
    items
        .iter()
        .filter_map(|item| mailbox(item, known, &mut names, origin))
        .collect()
}

/// Reads one mailbox.
pub(super) fn mailbox(
    item: &Field<'_>,
    known: &Known<'_>,
    names: &mut Names,
    origin: &str,
) -> Option<Mailbox> {
    let section = item.section("keys such as `name: support`")?;
    let name = names.read(&section, "mailbox");
    let protocol = section
        .get("protocol")
        .map_or(Some(Protocol::Imap), |field| {
            field.one_of(&[("imap", Protocol::Imap), ("pop3", Protocol::Pop3)])
        });
    // Without a protocol the other keys are read as IMAP's, which allows more.
    let pop3 = protocol == Some(Protocol::Pop3);
    let user = user(&section);
    let mut sign_in = sign_in(&section, known);
    let template = template(&section, known, sign_in.as_mut());
    let (entry, mistaken) = sign_in
        .as_ref()
        .map_or((None, true), |s| (s.entry, s.mistaken));
    let quirks = entry.map(|entry| &entry.config.postern);
    let (host, ports) = if pop3 {
        (quirks.and_then(|postern| postern.pop3.as_ref()), &POP3)
    } else {
        (quirks.and_then(|postern| postern.imap.as_ref()), &IMAP)
    };
    let endpoint = endpoint(&section, host, ports, mistaken);
    if pop3 {
        super::pop3::check(&section, entry);
    }
    let folders = folders(&section);
    let watch = section
        .get("watch")
        .map_or(Some(Watch::Idle), |field| watch(&field));
    let max_undelivered = section
        .get("max_undelivered")
        .map_or(Some(MAX_UNDELIVERED), |field| field.number(1..=1_000_000));
    let poll = section
        .get("poll")
        .map_or(Some(POLL), |field| field.duration(SECOND..=DAY));
    let start_from = section
        .get("start_from")
        .map_or(Some(StartFrom::All), |field| start_from(&field));
    let max_size = section
        .get("max_size")
        .map_or(Some(MAX_SIZE), |field| field.size(SIZES));
    let deliver = section
        .require("deliver", deliver::EXPECTED)
        .and_then(|field| deliver::read(&field, user.as_deref(), known));
    let after = section
        .get("after")
        .map_or(Some(After::Delete), |field| after(&field, &folders));
    let care = care(&section, &folders);
    let paused = section
        .get("paused")
        .map_or(Some(false), |field| field.switch());
    section.finish();
    let (sign_in, endpoint) = (sign_in?, endpoint?);
    Some(Mailbox {
        name: name?,
        template: template?,
        protocol: protocol?,
        host: endpoint.host,
        port: endpoint.port,
        tls: endpoint.tls,
        tls_ca_file: endpoint.ca_file,
        user: user?,
        auth: sign_in.auth,
        sasl: sign_in.sasl,
        folders,
        max_undelivered: max_undelivered?,
        watch: watch?,
        poll: poll?,
        start_from: start_from?,
        max_size: max_size?,
        deliver: deliver?,
        after: after?,
        care: care?,
        paused: paused?,
        idle_minutes: quirks
            .and_then(|postern| postern.quirks.idle_minutes)
            .unwrap_or(IDLE_MINUTES),
        trash_on_delete: quirks.is_some_and(|postern| postern.quirks.trash_on_delete),
        pop3_two_line_auth: quirks.is_some_and(|postern| postern.quirks.pop3_two_line_auth),
        declared_in: Some(origin.to_owned()),
    })
}

fn folders(section: &Section<'_>) -> Vec<String> {
    let expected = "a list of folder names such as [INBOX]";
    let Some(field) = section.get("folders") else {
        return vec!["INBOX".to_owned()];
    };
    let Some(items) = field.list(expected) else {
        return Vec::new();
    };
    if items.is_empty() {
        field.expected(expected);
    }
    let mut folders: Vec<String> = Vec::new();
    for item in items {
        let Some(folder) = item.text("a folder's name") else {
            continue;
        };
        if folders.iter().any(|other| same_folder(other, folder)) {
            item.mistake(format!(
                "the folder \"{folder}\" stands in this list already"
            ));
        } else {
            folders.push(folder.to_owned());
        }
    }
    folders
}

/// INBOX is the one name without case (RFC 9051, 5.1).
fn same_folder(a: &str, b: &str) -> bool {
    a == b || (a.eq_ignore_ascii_case("INBOX") && b.eq_ignore_ascii_case("INBOX"))
}

fn watch(field: &Field<'_>) -> Option<Watch> {
    match field.scalar() {
        Some("idle") => Some(Watch::Idle),
        Some(text) if super::units::duration(text).is_some() => {
            field.duration(SECOND..=DAY).map(Watch::Every)
        }
        _ => {
            field.expected("idle, or a duration between polls such as 1m");
            None
        }
    }
}

fn start_from(field: &Field<'_>) -> Option<StartFrom> {
    match field.scalar() {
        Some("all") => Some(StartFrom::All),
        Some("now") => Some(StartFrom::Now),
        Some(text) if let Some(midnight) = utc_midnight(text) => Some(StartFrom::Date(midnight)),
        _ => {
            field.expected("all, now, or a date such as 2026-01-31");
            None
        }
    }
}

fn utc_midnight(text: &str) -> Option<i64> {
    let date: jiff::civil::Date = text.parse().ok()?;
    let midnight = date.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    // The parser also takes times and other forms; a date is what was asked for.
    (date.to_string() == text).then(|| midnight.timestamp().as_second())
}

fn after(field: &Field<'_>, folders: &[String]) -> Option<After> {
    let expected = "delete, seen, keep or {move: FOLDER}";
    match field.scalar() {
        Some("delete") => return Some(After::Delete),
        Some("seen") => return Some(After::Seen),
        Some("keep") => return Some(After::Keep),
        Some(_) => {
            field.expected(expected);
            return None;
        }
        None => {}
    }
    let (folder, create) = move_to(field, expected, folders)?;
    Some(After::Move { folder, create })
}

/// What is done about mail that fails, loops, or comes in floods.
fn care(section: &Section<'_>, folders: &[String]) -> Option<Care> {
    let failed = section
        .get("failed")
        .map_or(Some(Failed::Keep), |field| failed(&field, folders));
    let held_for = section
        .get("held_for")
        .map_or(Some(Care::HELD_FOR), |field| field.duration(DAY..=YEARS));
    let max_held = section
        .get("max_held")
        .map_or(Some(Care::MAX_HELD), |field| field.size(HELD_SIZES));
    let rate = section
        .get("rate")
        .map_or(Some(None), |field| field.rate().map(Some));
    let max_received = section
        .get("max_received")
        .map_or(Some(u64::from(Care::MAX_RECEIVED)), |field| {
            field.number(10..=1_000)
        });
    Some(Care {
        failed: failed?,
        held_for: held_for?,
        max_held: max_held?,
        rate: rate?,
        max_received: u32::try_from(max_received?).ok()?,
    })
}

fn failed(field: &Field<'_>, folders: &[String]) -> Option<Failed> {
    let expected = "keep or {move: FOLDER}";
    match field.scalar() {
        Some("keep") => return Some(Failed::Keep),
        Some(_) => {
            field.expected(expected);
            return None;
        }
        None => {}
    }
    let (folder, create) = move_to(field, expected, folders)?;
    Some(Failed::Move { folder, create })
}

/// `{move: FOLDER, create: true}`.
fn move_to(field: &Field<'_>, expected: &str, folders: &[String]) -> Option<(String, bool)> {
    let section = field.section(expected)?;
    let target = section.require("move", "the folder to move to");
    let create = section
        .get("create")
        .map_or(Some(false), |field| field.switch());
    section.finish();
    let target = target?;
    let folder = target.text("the folder to move to")?;
    if folders.iter().any(|source| same_folder(source, folder)) {
        target.mistake(format!(
            "\"{folder}\" is a folder that is fetched; what is moved there would be fetched again"
        ));
        return None;
    }
    Some((folder.to_owned(), create?))
}
