//! `deliver` of a mailbox: the ticket command, and how its end is read.

use std::time::Duration;

use token_store::accounts::{Deliver, Preset, TicketCommand, Way};

use super::reader::{Field, Section};
use super::sections::absolute;

/// Slow ticket systems need minutes for a large message; ending a delivery early doubles the ticket. Also the time that RFC 5321
/// section 4.5.3.2.6 gives the answer to a message's end.
const TIMEOUT: Duration = Duration::from_secs(10 * 60);
/// Beyond this a host only swaps: each delivery may be an interpreter with a whole ticket system in it.
const MOST_AT_ONCE: u64 = 64;
const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);

/// What a mailbox without one is told.
pub(super) const EXPECTED: &str = "the ticket system's command";

/// Reads the section.
pub(super) fn read(field: &Field<'_>) -> Option<Deliver> {
    let section = field.section("keys such as `command: [/opt/tickets/bin/receive]`")?;
    let way = ticket_command(&section);
    let timeout = section
        .get("timeout")
        .map_or(Some(TIMEOUT), |field| field.duration(SECOND..=DAY));
    let concurrency = section
        .get("concurrency")
        .map_or(Some(1), |field| concurrency(&field, way.as_ref()));
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

fn ticket_command(section: &Section<'_>) -> Option<Way> {
    let command = section
        .require(
            "command",
            "a list: the program's absolute path, then its arguments",
        )
        .and_then(|field| words(&field));
    let preset = section
        .get("preset")
        .map_or(Some(Preset::Command), |field| {
            field.one_of(&Preset::ALL.map(|preset| (preset.as_str(), preset)))
        });
    let directory = section.get("directory").map(|field| absolute(&field));
    Some(Way::Command(TicketCommand {
        command: command?,
        preset: preset?,
        directory: match directory {
            Some(given) => Some(given?),
            None => None,
        },
    }))
}

fn words(field: &Field<'_>) -> Option<Vec<String>> {
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
