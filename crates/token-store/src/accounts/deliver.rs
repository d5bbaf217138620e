//! Where a mailbox's messages go: a ticket command, and how its end is read; one flat row for all ways.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

/// Where a mailbox's messages go. Serialised with the keys of the configuration file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "DeliverRow", into = "DeliverRow")]
pub struct Deliver {
    /// How they are handed over.
    pub way: Way,
    /// A delivery that takes longer is ended, and the message tried again.
    pub timeout: Duration,
    /// Deliveries at the same time; 1 keeps the order.
    pub concurrency: usize,
}

/// How messages are handed over.
#[derive(Debug, Clone, PartialEq)]
pub enum Way {
    /// On a command's standard input.
    Command(TicketCommand),
}

impl Way {
    /// A command whose exit codes mean what sysexits.h says, run where we are.
    pub fn command(command: Vec<String>) -> Self {
        Self::Command(TicketCommand {
            command,
            preset: Preset::Command,
            directory: None,
        })
    }
}

/// A ticket command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TicketCommand {
    /// Program and arguments; never a shell line.
    pub command: Vec<String>,
    /// How its end is read.
    pub preset: Preset,
    /// Where it runs; ours, if none is named.
    pub directory: Option<PathBuf>,
}

/// Which ticket system a command belongs to: what its exit codes and its output mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Preset {
    /// Any; exit codes mean what sysexits.h says.
    #[default]
    Command,
    /// Znuny, and other descendants of OTRS.
    Znuny,
    /// Request Tracker.
    Rt,
    /// Zammad.
    Zammad,
    /// osTicket.
    Osticket,
    /// Redmine.
    Redmine,
}

impl Preset {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Command,
        Self::Znuny,
        Self::Rt,
        Self::Zammad,
        Self::Osticket,
        Self::Redmine,
    ];

    /// The word in the configuration file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Command => "command",
            Self::Znuny => "znuny",
            Self::Rt => "rt",
            Self::Zammad => "zammad",
            Self::Osticket => "osticket",
            Self::Redmine => "redmine",
        }
    }

    /// Whether two of its commands must never run side by side.
    pub fn one_at_a_time(self) -> bool {
        // Two runs of Zammad's side by side have made two tickets of one thread.
        self == Self::Zammad
    }
}

/// `Deliver` as it is serialised: the keys of the configuration file. A row with a command alone is what the first release wrote.
#[derive(Serialize, Deserialize)]
struct DeliverRow {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    command: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    preset: Option<Preset>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    directory: Option<PathBuf>,
    timeout: Duration,
    concurrency: usize,
}

impl From<DeliverRow> for Deliver {
    fn from(row: DeliverRow) -> Self {
        Self {
            way: Way::Command(TicketCommand {
                command: row.command,
                preset: row.preset.unwrap_or_default(),
                directory: row.directory,
            }),
            timeout: row.timeout,
            concurrency: row.concurrency,
        }
    }
}

impl From<Deliver> for DeliverRow {
    fn from(deliver: Deliver) -> Self {
        let mut row = Self {
            command: Vec::new(),
            preset: None,
            directory: None,
            timeout: deliver.timeout,
            concurrency: deliver.concurrency,
        };
        match deliver.way {
            Way::Command(run) => {
                row.preset = (run.preset != Preset::Command).then_some(run.preset);
                row.command = run.command;
                row.directory = run.directory;
            }
        }
        row
    }
}

impl Deliver {
    /// Where messages go, for people: the program alone, since arguments may hold keys.
    pub fn in_words(&self) -> String {
        match &self.way {
            Way::Command(run) => run.command.first().cloned().unwrap_or_default(),
        }
    }
}

#[cfg(test)]
#[path = "deliver/tests.rs"]
mod tests;
