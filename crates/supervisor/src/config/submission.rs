//! `submission`: where the ticket system hands over its replies.

mod door;

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use sender::{BareNewlines, Limits, Listen, Protection, SocketFile, Submission};

use super::reader::{Field, Section};
use super::sections::{MAX_SIZE, SIZES, listen};
use super::surroundings::Surroundings;

const PORT: u16 = 2525;
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
/// Far below LimitNOFILE of the unit, since a session takes one open file, and a large message two.
const MOST_CONNECTIONS: u64 = 10_000;

/// Reads the listeners; without the key there is one.
pub(super) fn read(root: &Section<'_>, surroundings: &Surroundings) -> Vec<Submission> {
    let Some(field) = root.get("submission") else {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, PORT));
        return vec![Submission {
            listen: Listen::Tcp(address),
            socket: SocketFile::default(),
            tls: Protection::None,
            sign_in: false,
            max_size: MAX_SIZE,
            bare_newlines: BareNewlines::Refuse,
            limits: Limits::default(),
        }];
    };
    let (mut listeners, mut addresses) = (Vec::new(), Vec::new());
    for item in field
        .list("a list such as `- listen: 127.0.0.1:2525`, or [] for none")
        .unwrap_or_default()
    {
        let Some(section) = item.section("keys such as `listen: 127.0.0.1:2525`") else {
            continue;
        };
        let address = section.require("listen", "HOST:PORT or a Unix socket's path");
        let listen = address.as_ref().and_then(listen);
        let door = door::read(&section, address.as_ref(), listen.as_ref(), surroundings);
        let listener = listener(&section, listen.as_ref(), door);
        section.finish();
        listeners.extend(listener);
        let (Some(address), Some(listen)) = (address, listen) else {
            continue;
        };
        if addresses.contains(&listen) && !is_any_port(&listen) {
            address.mistake("another submission listener has this address already");
        }
        addresses.push(listen);
    }
    listeners
}

fn listener(
    section: &Section<'_>,
    listen: Option<&Listen>,
    door: Option<door::Door>,
) -> Option<Submission> {
    let socket = socket(section, listen);
    let max_size = section
        .get("max_size")
        .map_or(Some(MAX_SIZE), |field| field.size(SIZES));
    let ways = [
        ("refuse", BareNewlines::Refuse),
        ("repair", BareNewlines::Repair),
    ];
    let bare_newlines = section
        .get("bare_newlines")
        .map_or(Some(BareNewlines::Refuse), |field| field.one_of(&ways));
    let limits = section
        .get("limits")
        .map_or(Some(Limits::default()), |field| limits(&field));
    let door = door?;
    Some(Submission {
        listen: listen?.clone(),
        socket: socket?,
        tls: door.tls,
        sign_in: door.sign_in,
        max_size: max_size?,
        bare_newlines: bare_newlines?,
        limits: limits?,
    })
}

fn is_any_port(listen: &Listen) -> bool {
    matches!(listen, Listen::Tcp(address) if address.port() == 0)
}

/// `socket_mode` and `socket_group`.
fn socket(section: &Section<'_>, listen: Option<&Listen>) -> Option<SocketFile> {
    let (mode, group) = (section.get("socket_mode"), section.get("socket_group"));
    let is_tcp = matches!(listen, Some(Listen::Tcp(_)));
    for field in mode.iter().chain(&group).filter(|_| is_tcp) {
        field.mistake("is about the file of a Unix socket, and `listen` names a port");
    }
    if is_tcp && (mode.is_some() || group.is_some()) {
        return None;
    }
    let default = SocketFile::default();
    Some(SocketFile {
        mode: mode.map_or(Some(default.mode), |field| file_mode(&field))?,
        group: group.map_or(Some(None), |field| group_id(&field).map(Some))?,
    })
}

/// Three octal digits, perhaps with a zero before them: YAML 1.2 has no octal numbers, so that 660 means what it says.
fn file_mode(field: &Field<'_>) -> Option<u32> {
    let text = field.scalar().unwrap_or_default();
    let digits = text.strip_prefix('0').unwrap_or(text);
    let mode = (digits.len() == 3)
        .then(|| u32::from_str_radix(digits, 8).ok())
        .flatten();
    if mode.is_none() {
        field.expected("permissions such as 0660");
    }
    mode
}

/// A group of /etc/group, or its number.
fn group_id(field: &Field<'_>) -> Option<u32> {
    let name = field.text("a group's name or number")?;
    let groups = std::fs::read_to_string("/etc/group").unwrap_or_default();
    let id = name.parse().ok().or_else(|| find_group(&groups, name));
    if id.is_none() {
        field.mistake(format!(
            "there is no group \"{name}\" in /etc/group; give the number of a group that is kept elsewhere"
        ));
    }
    id
}

fn find_group(groups: &str, name: &str) -> Option<u32> {
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok())?
    })
}

fn limits(field: &Field<'_>) -> Option<Limits> {
    let section = field.section("keys such as `connections: 200`")?;
    let default = Limits::default();
    let count = |key, range: RangeInclusive<u64>, default: u64| {
        let read = section
            .get(key)
            .map_or(Some(default), |field| field.number(range));
        read.and_then(|n| usize::try_from(n).ok())
    };
    let rate = |key| {
        section
            .get(key)
            .map_or(Some(None), |field| field.rate().map(Some))
    };
    let time = |key, range: RangeInclusive<Duration>, default| {
        section
            .get(key)
            .map_or(Some(default), |field| field.duration(range))
    };
    let connections = count(
        "connections",
        1..=MOST_CONNECTIONS,
        default.connections as u64,
    );
    let connections_per_address = count(
        "connections_per_address",
        1..=MOST_CONNECTIONS,
        default.connections_per_address as u64,
    );
    // RFC 5321 section 4.5.3.1.8: at least 100.
    let recipients = count("recipients", 100..=100_000, default.recipients as u64);
    let rate_all = rate("rate");
    let rate_per_connection = rate("rate_per_connection");
    let rate_per_user = rate("rate_per_user");
    let errors = count("errors", 1..=1000, default.errors.into());
    let idle_commands = count("idle_commands", 10..=100_000, default.idle_commands.into());
    let command_timeout = time("command_timeout", SECOND..=HOUR, default.command_timeout);
    let data_timeout = time("data_timeout", SECOND..=HOUR, default.data_timeout);
    let message_timeout = time("message_timeout", SECOND..=DAY, default.message_timeout);
    let sign_in_timeout = time("sign_in_timeout", SECOND..=HOUR, default.sign_in_timeout);
    let session_timeout = time("session_timeout", SECOND..=DAY, default.session_timeout);
    section.finish();
    Some(Limits {
        connections: connections?,
        connections_per_address: connections_per_address?,
        recipients: recipients?,
        rate: rate_all?,
        rate_per_connection: rate_per_connection?,
        rate_per_user: rate_per_user?,
        errors: u32::try_from(errors?).ok()?,
        idle_commands: u32::try_from(idle_commands?).ok()?,
        command_timeout: command_timeout?,
        data_timeout: data_timeout?,
        message_timeout: message_timeout?,
        sign_in_timeout: sign_in_timeout?,
        session_timeout: session_timeout?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_found_by_its_name() {
        let groups = "root:x:0:\nbroken\nznuny:x:998:www-data\nzn:x:5:\n";
        assert_eq!(find_group(groups, "znuny"), Some(998));
        assert_eq!(find_group(groups, "zn"), Some(5));
        assert_eq!(find_group(groups, "broken"), None);
        assert_eq!(find_group(groups, "www-data"), None);
    }
}
