//! What each IMAP command does; gives the words that follow its tag.
use wire::lines::LineError;

use super::command::{By, Command, How, Item};
use super::selected::{Fetched, Selected};
use super::set::Set;
use super::{OUT_CHUNK, Session};
use crate::folders::{Folder, Mailbox};
use crate::sign_in::Presented;
use crate::state::State;

const NOT_SIGNED_IN: &str = "NO sign in first";
const NOT_SELECTED: &str = "BAD select a folder first";
const NO_SUCH_FOLDER: &str = "NO [NONEXISTENT] there is no such folder";
const READ_ONLY: &str = "NO [READ-ONLY] the folder was opened with EXAMINE";
const NOT_OFFERED: &str = "BAD not offered here";

impl Session {
    pub(super) async fn run(&mut self, command: Command) -> Result<String, LineError> {
        match command {
            Command::Capability => {
                let line = format!("* CAPABILITY {}", self.capabilities());
                self.say(&line);
            }
            Command::Noop => {}
            Command::Logout => self.say("* BYE see you"),
            command if self.user.is_none() => return self.run_signed_out(command).await,
            Command::Login { .. } | Command::Authenticate { .. } => {
                return Ok("BAD already signed in".to_owned());
            }
            command => return self.run_signed_in(command).await,
        }
        self.sync(true);
        Ok("OK done".to_owned())
    }

    async fn run_signed_out(&mut self, command: Command) -> Result<String, LineError> {
        match command {
            Command::Login { user, password } => Ok(
                if self.sign_in(Some(Presented::password(&user, &password))) {
                    self.welcome()
                } else {
                    "NO [AUTHENTICATIONFAILED] the password was refused".to_owned()
                },
            ),
            Command::Authenticate { mechanism, initial } => {
                self.authenticate(&mechanism, initial).await
            }
            _ => Ok(NOT_SIGNED_IN.to_owned()),
        }
    }

    async fn run_signed_in(&mut self, command: Command) -> Result<String, LineError> {
        let features = self.shared.with(|state| state.features.clone());
        let moves = matches!(
            command,
            Command::Move { .. } | Command::Expunge { uids: Some(_) }
        );
        if (moves && !features.uidplus_and_move) || (command == Command::Idle && !features.idle) {
            return Ok(NOT_OFFERED.to_owned());
        }
        // No EXPUNGE may come while a client counts by sequence number (RFC 3501 section 7.4.1).
        let mut expunges = true;
        let answer = match command {
            Command::Idle => return self.idle().await,
            Command::Fetch { by, set, items } => {
                expunges = by == By::Uid;
                self.fetch(by, &set, &items).await?
            }
            Command::Store {
                by,
                set,
                how,
                silent,
                flags,
            } => {
                expunges = by == By::Uid;
                self.store(by, &set, how, silent, &flags)
            }
            Command::Search { by, criteria } => {
                expunges = by == By::Uid;
                self.search(by, &criteria)
            }
            Command::List { pattern } => self.list(&pattern),
            Command::Create { folder } => self.create(&folder),
            Command::Select { folder, read_only } => self.select(&folder, read_only),
            Command::Status { folder, items } => self.status(&folder, &items),
            Command::Close { expunge } => self.close(expunge),
            Command::Copy { by, set, folder } => self.copy(by, &set, &folder, false),
            Command::Move { by, set, folder } => self.copy(by, &set, &folder, true),
            Command::Expunge { uids } => self.expunge(uids.as_ref()),
            _ => NOT_OFFERED.to_owned(),
        };
        self.sync(expunges);
        Ok(answer)
    }

    /// Runs `f` on the user's mailbox.
    fn in_mailbox<T>(&self, f: impl FnOnce(&mut Mailbox) -> T) -> Option<T> {
        let user = self.user.as_ref()?;
        let run = |state: &mut State| f(state.mailboxes.of(&user.user));
        Some(self.shared.with(run))
    }

    /// Runs `f` on the selected folder.
    fn in_folder<T>(&self, f: impl FnOnce(&Selected, &mut Folder) -> T) -> Option<T> {
        let selected = self.selected.as_ref()?;
        self.in_mailbox(|mailbox| {
            mailbox
                .folder_mut(&selected.folder)
                .map(|folder| f(selected, folder))
        })?
    }

    fn list(&mut self, pattern: &str) -> String {
        let names: Vec<String> = self
            .in_mailbox(|mailbox| mailbox.names().map(str::to_owned).collect())
            .unwrap_or_default();
        if pattern.is_empty() {
            self.say("* LIST (\\Noselect) \"/\" \"\"");
        }
        for name in names {
            if matches(pattern, &name) {
                self.say(&format!("* LIST (\\HasNoChildren) \"/\" {}", quote(&name)));
            }
        }
        "OK listed".to_owned()
    }

    fn create(&mut self, folder: &str) -> String {
        match self.in_mailbox(|mailbox| mailbox.create(folder)) {
            Some(true) => "OK created".to_owned(),
            _ => "NO [ALREADYEXISTS] there is one of that name".to_owned(),
        }
    }

    fn select(&mut self, name: &str, read_only: bool) -> String {
        let mut text = Vec::new();
        self.selected = self
            .in_mailbox(|mailbox| {
                let folder = mailbox.folder(name)?;
                Some(Selected::open(name, read_only, folder, &mut text))
            })
            .flatten();
        self.out.append(&mut text);
        match (&self.selected, read_only) {
            (None, _) => NO_SUCH_FOLDER,
            (_, true) => "OK [READ-ONLY] opened",
            (_, false) => "OK [READ-WRITE] opened",
        }
        .to_owned()
    }

    fn status(&mut self, name: &str, items: &[String]) -> String {
        let values = |folder: &Folder| {
            let unseen = |m: &&crate::folders::Message| !m.flags.contains("\\Seen");
            let value = |item: &String| match item.as_str() {
                "MESSAGES" => Some(folder.messages().len() as u64),
                "RECENT" => Some(0),
                "UIDNEXT" => Some(folder.uidnext.into()),
                "UIDVALIDITY" => Some(folder.uidvalidity.into()),
                "UNSEEN" => Some(folder.messages().iter().filter(unseen).count() as u64),
                _ => None,
            };
            let pair = |item: &String| value(item).map(|value| format!("{item} {value}"));
            items.iter().map(pair).collect::<Option<Vec<_>>>()
        };
        let found = self.in_mailbox(|mailbox| mailbox.folder(name).map(values));
        match found.flatten() {
            None => NO_SUCH_FOLDER.to_owned(),
            Some(None) => "BAD an unknown STATUS item".to_owned(),
            Some(Some(values)) => {
                let line = format!("* STATUS {} ({})", quote(name), values.join(" "));
                self.say(&line);
                "OK counted".to_owned()
            }
        }
    }

    fn close(&mut self, expunge: bool) -> String {
        let closed = self.in_folder(|selected, folder| {
            if expunge && !selected.read_only {
                selected.expunge(None, folder);
            }
        });
        self.selected = None;
        self.shared.changed();
        closed.map_or(NOT_SELECTED, |()| "OK closed").to_owned()
    }

    async fn fetch(&mut self, by: By, set: &Set, items: &[Item]) -> Result<String, LineError> {
        let fetched = self.in_folder(|selected, folder| selected.fetch(by, set, items, folder));
        let Some(fetched) = fetched else {
            return Ok(NOT_SELECTED.to_owned());
        };
        for message in fetched {
            message.write(by, items, &mut self.out);
            if self.out.len() >= OUT_CHUNK {
                self.flush().await?;
            }
        }
        Ok("OK fetched".to_owned())
    }

    fn store(&mut self, by: By, set: &Set, how: How, silent: bool, flags: &[String]) -> String {
        let stored = self.in_folder(|selected, folder| {
            (!selected.read_only).then(|| selected.store((by, set), how, flags, folder))
        });
        let stored: Vec<Fetched> = match stored {
            None => return NOT_SELECTED.to_owned(),
            Some(None) => return READ_ONLY.to_owned(),
            Some(Some(stored)) => stored,
        };
        if !silent {
            for message in stored {
                message.write(by, &[Item::Flags], &mut self.out);
            }
        }
        "OK stored".to_owned()
    }

    fn search(&mut self, by: By, criteria: &[super::command::Criterion]) -> String {
        let found = self.in_folder(|selected, folder| selected.search(by, criteria, folder));
        let Some(found) = found else {
            return NOT_SELECTED.to_owned();
        };
        let mut line = "* SEARCH".to_owned();
        for number in found {
            line.push_str(&format!(" {number}"));
        }
        self.say(&line);
        "OK searched".to_owned()
    }

    fn copy(&mut self, by: By, set: &Set, to: &str, and_remove: bool) -> String {
        let Some(selected) = &self.selected else {
            return NOT_SELECTED.to_owned();
        };
        if and_remove && selected.read_only {
            return READ_ONLY.to_owned();
        }
        let copied = self.in_mailbox(|mailbox| {
            let code = selected.copy(by, set, to, mailbox)?;
            if and_remove && let Some(folder) = mailbox.folder_mut(&selected.folder) {
                selected.remove(by, set, folder);
            }
            Some(code)
        });
        let Some(code) = copied.flatten() else {
            return "NO [TRYCREATE] there is no such folder".to_owned();
        };
        self.shared.changed();
        if and_remove {
            // RFC 6851 section 4.3: the code comes before the EXPUNGE responses.
            self.say(&format!("* OK {code}moved"));
            return "OK moved".to_owned();
        }
        format!("OK {code}copied")
    }

    fn expunge(&mut self, uids: Option<&Set>) -> String {
        let expunged = self.in_folder(|selected, folder| {
            if !selected.read_only {
                selected.expunge(uids, folder);
            }
            !selected.read_only
        });
        self.shared.changed();
        match expunged {
            None => NOT_SELECTED,
            Some(false) => READ_ONLY,
            Some(true) => "OK expunged",
        }
        .to_owned()
    }
}

/// Whether a name matches a LIST pattern; `*` and `%` stand for anything here, for there is no hierarchy.
fn matches(pattern: &str, name: &str) -> bool {
    let Some(at) = pattern.find(['*', '%']) else {
        return pattern.eq_ignore_ascii_case(name);
    };
    let (start, rest) = (&pattern[..at], &pattern[at + 1..]);
    let Some(left) = name.strip_prefix(start) else {
        return false;
    };
    let mut ends = left.char_indices().map(|(at, _)| at).chain([left.len()]);
    ends.any(|at| matches(rest, &left[at..]))
}

/// A quoted string.
fn quote(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_patterns_match_as_wildcards() {
        for (pattern, name, yes) in [
            ("*", "Failed", true),
            ("%", "Failed", true),
            ("Fail*", "Failed", true),
            ("F*d", "Failed", true),
            ("F*x", "Failed", false),
            ("inbox", "INBOX", true),
            ("", "INBOX", false),
        ] {
            assert_eq!(matches(pattern, name), yes, "{pattern} {name}");
        }
    }
}
