//! Where a mailbox's messages go: a ticket command, an LMTP server, an HTTP endpoint or a maildir; one flat row for all.

use crate::Secret;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// Where a mailbox's messages go. Serialised with the keys of the configuration file, and without the secret.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "DeliverRow", into = "DeliverRow")]
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
    /// By LMTP (RFC 2033).
    Lmtp(Lmtp),
    /// By HTTP POST.
    Http(Http),
    /// As a file in this maildir.
    Maildir(PathBuf),
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

/// An LMTP server, and for whom it gets the mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lmtp {
    /// Where it listens.
    pub server: LmtpServer,
    /// The envelope recipients, at least one.
    pub to: Vec<String>,
}

/// Where an LMTP server listens; only ever on this machine, since LMTP has neither sign-in nor TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LmtpServer {
    /// A Unix socket.
    Unix(PathBuf),
    /// A host name or address of this machine, and a port.
    Tcp(String, u16),
}

impl LmtpServer {
    /// A path, or `HOST:PORT`; None if it is neither.
    pub fn parse(text: &str) -> Option<Self> {
        if text.starts_with('/') {
            return Some(Self::Unix(text.into()));
        }
        let (host, port) = text.rsplit_once(':')?;
        let port = port.parse().ok().filter(|port| *port != 0)?;
        (!host.is_empty()).then(|| Self::Tcp(host.to_owned(), port))
    }
}

impl fmt::Display for LmtpServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => path.display().fmt(f),
            Self::Tcp(host, port) => write!(f, "{host}:{port}"),
        }
    }
}

/// An HTTP endpoint.
#[derive(Debug, Clone, PartialEq)]
pub struct Http {
    /// Where messages are posted: https, or http on this machine.
    pub url: String,
    /// What each request is signed with. Kept sealed beside the definition, never in it.
    pub secret: Secret,
    /// Trusted besides the system's roots.
    pub ca_file: Option<PathBuf>,
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lmtp: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    to: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    http: Option<HttpRow>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    maildir: Option<PathBuf>,
    timeout: Duration,
    concurrency: usize,
}

/// `Http` without its secret.
#[derive(Serialize, Deserialize)]
struct HttpRow {
    url: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ca_file: Option<PathBuf>,
}

impl TryFrom<DeliverRow> for Deliver {
    type Error = String;

    fn try_from(row: DeliverRow) -> Result<Self, String> {
        let way = match (row.lmtp, row.http, row.maildir) {
            (None, None, None) => Way::Command(TicketCommand {
                command: row.command,
                preset: row.preset.unwrap_or_default(),
                directory: row.directory,
            }),
            (Some(server), None, None) => Way::Lmtp(Lmtp {
                server: LmtpServer::parse(&server)
                    .ok_or_else(|| format!("{server} is no LMTP server"))?,
                to: row.to,
            }),
            (None, Some(http), None) => Way::Http(Http {
                url: http.url,
                secret: Secret::default(),
                ca_file: http.ca_file,
            }),
            (None, None, Some(folder)) => Way::Maildir(folder),
            _ => return Err("more than one way to deliver".into()),
        };
        Ok(Self {
            way,
            timeout: row.timeout,
            concurrency: row.concurrency,
        })
    }
}

impl From<Deliver> for DeliverRow {
    fn from(deliver: Deliver) -> Self {
        let mut row = Self {
            command: Vec::new(),
            preset: None,
            directory: None,
            lmtp: None,
            to: Vec::new(),
            http: None,
            maildir: None,
            timeout: deliver.timeout,
            concurrency: deliver.concurrency,
        };
        match deliver.way {
            Way::Command(run) => {
                row.preset = (run.preset != Preset::Command).then_some(run.preset);
                row.command = run.command;
                row.directory = run.directory;
            }
            Way::Lmtp(lmtp) => {
                row.lmtp = Some(lmtp.server.to_string());
                row.to = lmtp.to;
            }
            Way::Http(http) => {
                row.http = Some(HttpRow {
                    url: http.url,
                    ca_file: http.ca_file,
                });
            }
            Way::Maildir(folder) => row.maildir = Some(folder),
        }
        row
    }
}

impl Deliver {
    /// The secret that is kept sealed beside the definition.
    pub(crate) fn secret(&self) -> Option<&Secret> {
        match &self.way {
            Way::Http(http) => Some(&http.secret),
            Way::Command(_) | Way::Lmtp(_) | Way::Maildir(_) => None,
        }
    }

    /// The place for it, when the definition is read.
    pub(crate) fn secret_mut(&mut self) -> Option<&mut Secret> {
        match &mut self.way {
            Way::Http(http) => Some(&mut http.secret),
            Way::Command(_) | Way::Lmtp(_) | Way::Maildir(_) => None,
        }
    }

    /// Where messages go, for people: the program alone, since arguments may hold keys; never a secret.
    pub fn in_words(&self) -> String {
        match &self.way {
            Way::Command(run) => run.command.first().cloned().unwrap_or_default(),
            Way::Lmtp(lmtp) => format!("LMTP {} for {}", lmtp.server, lmtp.to.join(", ")),
            // A query may hold a key.
            Way::Http(http) => http.url.split('?').next().unwrap_or_default().to_owned(),
            Way::Maildir(folder) => format!("maildir {}", folder.display()),
        }
    }
}

#[cfg(test)]
#[path = "deliver/tests.rs"]
mod tests;
