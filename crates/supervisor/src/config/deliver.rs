//! `deliver` of a mailbox: one of the ways to the ticket system, and what all ways share.

use std::path::{Path, PathBuf};
use std::time::Duration;

use token_store::accounts::{Deliver, Http, Lmtp, LmtpServer, Preset, TicketCommand, Way};

use super::accounts::{Known, secret};
use super::quote::either;
use super::reader::{Field, Section};
use super::sections::{absolute, socket_path};

/// Slow ticket systems need minutes for a large message; ending a delivery early doubles the ticket. Also the time that RFC 5321
/// section 4.5.3.2.6 gives the answer to a message's end.
const TIMEOUT: Duration = Duration::from_secs(10 * 60);
/// Beyond this a host only swaps: each delivery may be an interpreter with a whole ticket system in it.
const MOST_AT_ONCE: u64 = 64;
/// A maildir's files are named in the order in which they came, so nothing is lost by writing several at a time; and the disk then
/// waits once for all of them.
const MAILDIR_AT_ONCE: usize = 8;
/// Commands for so many fit into a socket's buffer, so that a pipelining server is never waited for with both sides writing.
const MOST_RECIPIENTS: usize = 100;
const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);

/// What a mailbox without one is told.
pub(super) const EXPECTED: &str = "where its messages go, such as the ticket system's command";

/// The ways; exactly one must stand in the section.
const WAYS: [&str; 4] = ["command", "lmtp", "http", "maildir"];

/// Reads the section. `user` is whom the mailbox's mail is for.
pub(super) fn read(field: &Field<'_>, user: Option<&str>, known: &Known<'_>) -> Option<Deliver> {
    let section = field.section("keys such as `command: [/opt/tickets/bin/receive]`")?;
    let way = way(field, &section, user, known);
    let timeout = section
        .get("timeout")
        .map_or(Some(TIMEOUT), |field| field.duration(SECOND..=DAY));
    let usual = match &way {
        Some(Way::Maildir(_)) => MAILDIR_AT_ONCE,
        _ => 1,
    };
    let concurrency = section
        .get("concurrency")
        .map_or(Some(usual), |field| concurrency(&field, way.as_ref()));
    section.finish();
    Some(Deliver {
        way: way?,
        timeout: timeout?,
        concurrency: concurrency?,
    })
}

fn concurrency(field: &Field<'_>, way: Option<&Way>) -> Option<usize> {
    let number = field.number(1..=MOST_AT_ONCE)?;
    let number = usize::try_from(number).ok()?;
    if let Some(Way::Command(run)) = way
        && run.preset.one_at_a_time()
        && number > 1
    {
        field.expected("1: Zammad takes one message at a time");
        return None;
    }
    Some(number)
}

fn way(
    field: &Field<'_>,
    section: &Section<'_>,
    user: Option<&str>,
    known: &Known<'_>,
) -> Option<Way> {
    let [command, lmtp, http, maildir] = WAYS.map(|key| section.get(key));
    // Asked for in any case, so that they are known keys.
    let of_commands = [section.get("preset"), section.get("directory")];
    let to = section.get("to");
    match (command, lmtp, http, maildir) {
        (Some(command), None, None, None) => {
            only_for("lmtp", &[&to]);
            ticket_command(&command, &of_commands)
        }
        (None, Some(server), None, None) => {
            only_for("a command", &[&of_commands[0], &of_commands[1]]);
            deliver_by_lmtp(&server, to.as_ref(), user)
        }
        (None, None, Some(endpoint), None) => {
            only_for("a command", &[&of_commands[0], &of_commands[1]]);
            only_for("lmtp", &[&to]);
            deliver_by_http(&endpoint, known)
        }
        (None, None, None, Some(folder)) => {
            only_for("a command", &[&of_commands[0], &of_commands[1]]);
            only_for("lmtp", &[&to]);
            maildir_folder(&folder).map(Way::Maildir)
        }
        (None, None, None, None) => {
            section.require("command", "a list: the program's absolute path, then its arguments; or instead one of lmtp, http and maildir");
            None
        }
        _ => {
            field.mistake(format!(
                "there is more than one way to deliver; expected one of {}",
                either(&WAYS)
            ));
            None
        }
    }
}

/// Keys that mean something with another way alone.
fn only_for(way: &str, fields: &[&Option<Field<'_>>]) {
    for field in fields.iter().copied().flatten() {
        field.mistake(format!("means something for {way} alone"));
    }
}

fn ticket_command(command: &Field<'_>, more: &[Option<Field<'_>>; 2]) -> Option<Way> {
    let [preset, directory] = more;
    let words = words(command);
    let preset = preset.as_ref().map_or(Some(Preset::Command), |field| {
        field.one_of(&Preset::ALL.map(|preset| (preset.as_str(), preset)))
    });
    let directory = directory.as_ref().map(absolute);
    Some(Way::Command(TicketCommand {
        command: words?,
        preset: preset?,
        directory: match directory {
            Some(given) => Some(given?),
            None => None,
        },
    }))
}

/// A command: a list of texts, of which the first is a program's absolute path.
pub(super) fn words(field: &Field<'_>) -> Option<Vec<String>> {
    let expected =
        "a list: the program's absolute path, then its arguments; it is never given to a shell";
    let items = field.list(expected)?;
    let Some(program) = items.first() else {
        field.expected(expected);
        return None;
    };
    absolute(program)?;
    let mut words = Vec::with_capacity(items.len());
    for item in &items {
        match item.scalar() {
            Some(word) if !word.contains('\0') => words.push(word.to_owned()),
            _ => item.expected("a text"),
        }
    }
    (words.len() == items.len()).then_some(words)
}

fn deliver_by_lmtp(server: &Field<'_>, to: Option<&Field<'_>>, user: Option<&str>) -> Option<Way> {
    let at = lmtp_server(server);
    let to = match (to, user) {
        (Some(to), _) => recipients(to),
        (None, Some(user)) if is_address(user) => Some(vec![user.to_owned()]),
        (None, Some(user)) => {
            server.mistake(format!("for whom? The mailbox's user \"{user}\" is no address; expected the key `to` beside this one"));
            None
        }
        // The user has a mistake of its own.
        (None, None) => None,
    };
    Some(Way::Lmtp(Lmtp {
        server: at?,
        to: to?,
    }))
}

fn lmtp_server(field: &Field<'_>) -> Option<LmtpServer> {
    let expected = "HOST:PORT on this machine, or a Unix socket's path";
    let text = field.text(expected)?;
    match LmtpServer::parse(text) {
        Some(LmtpServer::Unix(_)) => socket_path(field).map(LmtpServer::Unix),
        Some(LmtpServer::Tcp(host, _)) if !wire::dial::is_loopback(&host) => {
            field.mistake(format!(
                "{host} is beyond this machine, and LMTP has neither TLS nor a sign-in; expected {expected}"
            ));
            None
        }
        Some(server) => Some(server),
        None => {
            field.expected(expected);
            None
        }
    }
}

/// One address, or a list of them.
fn recipients(field: &Field<'_>) -> Option<Vec<String>> {
    let expected = "an address, or a list of addresses";
    let items = match field.scalar() {
        Some(_) => vec![field.clone()],
        None => field.list(expected)?,
    };
    if items.is_empty() || items.len() > MOST_RECIPIENTS {
        field.expected(&format!("{expected}, at most {MOST_RECIPIENTS}"));
        return None;
    }
    let mut to: Vec<String> = Vec::with_capacity(items.len());
    for item in &items {
        match item.scalar() {
            Some(address) if to.iter().any(|other| other == address) => {
                item.mistake(format!("{address} stands in this list already"));
            }
            Some(address) if is_address(address) => to.push(address.to_owned()),
            _ => item.expected("an address such as support@example.com"),
        }
    }
    (to.len() == items.len()).then_some(to)
}

/// What may stand in an SMTP command as it is.
fn is_address(text: &str) -> bool {
    let plain = |c: char| !c.is_control() && !c.is_whitespace() && !"<>()[]\\,;:\"".contains(c);
    let parts = text.split_once('@');
    text.len() <= 254
        && text.chars().all(plain)
        && parts.is_some_and(|(local, domain)| {
            !local.is_empty() && !domain.is_empty() && !domain.contains('@')
        })
}

fn deliver_by_http(field: &Field<'_>, known: &Known<'_>) -> Option<Way> {
    let section = field.section_unquoted("the keys `url` and `secret`")?;
    let url = section
        .require("url", "an https:// URL to post messages to")
        .and_then(|field| endpoint(&field));
    let key = section
        .require("secret", "what each request is signed with: a text, {file: PATH}, {env: NAME} or {credential: NAME}")
        .and_then(|field| secret(&field, known.surroundings));
    let ca_file = section.get("ca_file").map(|field| absolute(&field));
    section.finish();
    Some(Way::Http(Http {
        url: url?,
        secret: key?,
        ca_file: match ca_file {
            Some(given) => Some(given?),
            None => None,
        },
    }))
}

/// Mail travels there, so it must be https, or stay on this machine. Not quoted: a query may hold a key.
fn endpoint(field: &Field<'_>) -> Option<String> {
    let expected = "an https:// URL; http:// is for this machine only";
    let Some(text) = field.scalar() else {
        field.expected(expected);
        return None;
    };
    if text.contains('@') {
        field.mistake(format!(
            "holds a user name, or an @ that must be written as %40; expected {expected}"
        ));
        return None;
    }
    if !text.is_ascii() || text.contains('#') || !provider_template::url_is_safe(text) {
        field.mistake(format!("found something else; expected {expected}"));
        return None;
    }
    Some(text.to_owned())
}

fn maildir_folder(field: &Field<'_>) -> Option<PathBuf> {
    let path = absolute(field)?;
    match not_a_maildir(&path) {
        Some(why) => {
            field.mistake(why);
            None
        }
        None => Some(path),
    }
}

/// Why a path cannot be a maildir, or a folder of one as Maildir++ names them (`.Parent.Child`).
fn not_a_maildir(path: &Path) -> Option<String> {
    let Some(name) = path.file_name().map(|name| name.to_string_lossy()) else {
        return Some("the root folder is no maildir".to_owned());
    };
    if matches!(&*name, "new" | "cur" | "tmp") {
        return Some(format!(
            "\"{name}\" is a part of a maildir; expected the maildir itself"
        ));
    }
    let parts = name.strip_prefix('.')?.split('.');
    parts.clone().any(str::is_empty).then(|| {
        format!(
            "\"{name}\" is no folder of a maildir; expected a name such as .Tickets or .Tickets.Old"
        )
    })
}
