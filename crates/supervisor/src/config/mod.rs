//! `postern.yaml`, read: what the administrator wants, or every mistake in it with file, line and key.
//!
//! A text becomes a tree with places (`yaml`), a typed reader (`reader`) walks it section by section and notes
//! mistakes instead of stopping, and only a file without any becomes a [`Config`].

mod accounts;
pub(crate) mod by_hand;
mod deliver;
mod mailboxes;
mod mistake;
mod nearest;
mod notices;
pub(crate) mod peek;
mod pop3;
mod proxies;
mod quote;
mod reader;
mod relays;
mod sections;
mod shown;
mod submission;
mod surroundings;
mod token_configs;
mod units;
mod yaml;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use provider_template::Library;
use token_store::accounts::Declared;

pub(crate) use mistake::Mistakes;
use mistake::{Mistake, Place};
pub(crate) use notices::{Notices, Webhook};
use reader::Reader;
pub(crate) use relays::is_sender;
pub(crate) use sections::{CONTROL_SOCKET, DROP_DIR};
pub(crate) use shown::shown;
pub(crate) use surroundings::{Secrets, Surroundings};

/// A configuration without a mistake.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    /// The file it came from; its name marks what it declares.
    pub(crate) file: PathBuf,
    /// Where both databases, the spool and the lock live.
    pub(crate) state_dir: PathBuf,
    /// Where the sealing key comes from.
    pub(crate) key: KeySource,
    /// The Unix socket on which commands reach the daemon.
    pub(crate) control_socket: PathBuf,
    /// Where `postern sendmail` leaves messages while the daemon is down.
    pub(crate) drop_dir: PathBuf,
    /// How the log looks.
    pub(crate) log: Log,
    /// The admin page; None: switched off.
    pub(crate) web: Option<Web>,
    /// Where replies come in; empty: switched off.
    pub(crate) submission: Vec<sender::Submission>,
    /// How an administrator is told of what is wrong.
    pub(crate) notices: Notices,
    /// Trusted for token endpoints besides the system's roots.
    pub(crate) token_ca_file: Option<PathBuf>,
    /// Token configs, mailboxes and relays of this file.
    pub(crate) declared: Declared,
    /// The provider templates at hand.
    pub(crate) library: Arc<Library>,
    /// A secret stands in the file itself, which should then be readable for the daemon's user alone.
    pub(crate) literal_secrets: bool,
}

/// Where the sealing key comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum KeySource {
    /// A file that must exist: a systemd credential.
    Existing(PathBuf),
    /// A file that is made, 0600, at the first start.
    Made(PathBuf),
}

/// How the log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Log {
    pub(crate) format: LogFormat,
    pub(crate) level: tracing::Level,
}

/// Where log lines go, and in which form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// Lines for people, on standard error.
    Text,
    /// One JSON object a line, on standard error.
    Json,
    /// The journal, fields kept.
    Journald,
}

/// The admin page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Web {
    pub(crate) listen: sender::Listen,
    /// What browsers see, without a trailing slash; None: `http://` and the bound address.
    pub(crate) public_url: Option<String>,
    /// Appended to the public URL for the OAuth redirect.
    pub(crate) redirect_path: String,
    /// The reverse proxies in front, and what they are believed.
    pub(crate) proxies: web_admin::Proxies,
}

/// A longer file is not a configuration.
const LONGEST_FILE: u64 = 4 << 20;

impl Config {
    /// Reads a file.
    pub(crate) fn read(file: &Path, secrets: Secrets) -> Result<Self, Mistakes> {
        let whole = |why: String| {
            let mistake = Mistake::new(Place::new(1, 1), "", why);
            Mistakes::new(file.to_owned(), vec![mistake])
        };
        let found = std::fs::metadata(file).map_err(|error| {
            whole(format!(
                "cannot be read: {error}; --config names another file"
            ))
        })?;
        if !found.is_file() {
            return Err(whole("is no regular file".to_owned()));
        }
        let length = found.len();
        if length > LONGEST_FILE {
            return Err(whole(format!(
                "holds {length} bytes, and a configuration no more than {LONGEST_FILE}"
            )));
        }
        let bytes =
            std::fs::read(file).map_err(|error| whole(format!("cannot be read: {error}")))?;
        let text = String::from_utf8(bytes).map_err(|error| {
            let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let line = 1 + valid.iter().filter(|byte| **byte == b'\n').count();
            let why = "this line is not UTF-8 text";
            Mistakes::new(
                file.to_owned(),
                vec![Mistake::new(Place::new(line, 1), "", why)],
            )
        })?;
        let file = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
        Self::parse(&file, &text, &Surroundings::of_this_process(secrets))
    }

    /// Reads a text as if it were the file of this name.
    #[cfg(test)]
    pub(crate) fn from_text(file: &Path, text: &str) -> Result<Self, Mistakes> {
        Self::parse(file, text, &Surroundings::of_this_process(Secrets::Needed))
    }

    /// The largest message that any submission listener takes; with none of them, what one would by default.
    pub(crate) fn largest_message(&self) -> u64 {
        let largest = self.submission.iter().map(|rules| rules.max_size).max();
        largest.unwrap_or(sections::MAX_SIZE)
    }

    /// The name under which this file's accounts stand in the database: without its folder, so that a configuration can move.
    pub(crate) fn origin(&self) -> String {
        origin(&self.file)
    }

    fn parse(file: &Path, text: &str, surroundings: &Surroundings) -> Result<Self, Mistakes> {
        // A file that an editor or a full disk has emptied must not end every account at the next reload.
        let says_nothing =
            |line: &str| line.trim().is_empty() || line.trim_start().starts_with('#');
        if text.lines().all(says_nothing) {
            let why = "holds no setting; expected at least mailboxes, relays or token_configs";
            let mistake = Mistake::new(Place::new(1, 1), "", why);
            return Err(Mistakes::new(file.to_owned(), vec![mistake]));
        }
        let (config, mistakes, _) = examine(file, text, surroundings);
        match config {
            Some(config) if mistakes.is_empty() => Ok(config),
            _ => Err(Mistakes::new(file.to_owned(), mistakes)),
        }
    }
}

fn origin(file: &Path) -> String {
    file.file_name()
        .unwrap_or(file.as_os_str())
        .to_string_lossy()
        .into_owned()
}

/// Reads a text: what came of it, every mistake, and every key that was asked for.
fn examine(
    file: &Path,
    text: &str,
    surroundings: &Surroundings,
) -> (
    Option<Config>,
    Vec<Mistake>,
    std::collections::BTreeSet<String>,
) {
    let (root, doubled) = match yaml::parse(text) {
        Ok(parsed) => parsed,
        Err(mistake) => return (None, vec![mistake], std::collections::BTreeSet::new()),
    };
    let reader = Reader::default();
    let config = sections::config(file, reader.root(&root), surroundings);
    let (mut mistakes, known) = reader.into_findings();
    mistakes.extend(doubled);
    (Some(config), mistakes, known)
}
