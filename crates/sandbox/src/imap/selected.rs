//! A selected folder as one session sees it: sequence numbers, and the commands on its messages.
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::SystemTime;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::command::{By, Criterion, How, Item, Section};
use super::set::Set;
use crate::folders::{Folder, Mailbox, Message};

const SEEN: &str = "\\Seen";
const DELETED: &str = "\\Deleted";

/// The session's view: which UID has which sequence number, until the session is told otherwise.
#[derive(Debug)]
pub(super) struct Selected {
    pub(super) folder: String,
    pub(super) read_only: bool,
    uids: Vec<u32>,
    revision: u64,
}

/// A message as it was when FETCH asked; its bytes are shared, not copied.
pub(super) struct Fetched {
    sequence: u32,
    message: Message,
    /// \Seen was set just now, so the client is told.
    newly_seen: bool,
}

impl Selected {
    /// Selects, and writes what RFC 3501 section 6.3.1 requires.
    pub(super) fn open(name: &str, read_only: bool, folder: &Folder, out: &mut Vec<u8>) -> Self {
        let uids: Vec<u32> = folder.messages().iter().map(|m| m.uid).collect();
        let flags = r"\Answered \Flagged \Deleted \Seen \Draft";
        let permanent = if read_only { "" } else { flags };
        let text = format!(
            "* FLAGS ({flags})\r\n\
             * OK [PERMANENTFLAGS ({permanent})] kept\r\n\
             * {} EXISTS\r\n\
             * 0 RECENT\r\n\
             * OK [UIDVALIDITY {}] valid\r\n\
             * OK [UIDNEXT {}] next\r\n",
            uids.len(),
            folder.uidvalidity,
            folder.uidnext
        );
        out.extend_from_slice(text.as_bytes());
        Self {
            folder: name.to_owned(),
            read_only,
            uids,
            revision: folder.revision,
        }
    }

    /// Tells what came and, where the protocol allows it, what went.
    pub(super) fn sync(&mut self, folder: &Folder, expunges: bool, out: &mut Vec<u8>) {
        if self.revision == folder.revision {
            return;
        }
        if expunges {
            self.revision = folder.revision;
            for at in (0..self.uids.len()).rev() {
                if folder.get(self.uids[at]).is_none() {
                    self.uids.remove(at);
                    out.extend_from_slice(format!("* {} EXPUNGE\r\n", at + 1).as_bytes());
                }
            }
        }
        let last = self.uids.last().copied().unwrap_or(0);
        let before = self.uids.len();
        let new = folder.messages().iter().map(|m| m.uid);
        self.uids.extend(new.filter(|uid| *uid > last));
        if self.uids.len() > before {
            out.extend_from_slice(format!("* {} EXISTS\r\n", self.uids.len()).as_bytes());
        }
    }

    /// Sequence number and UID of what a set names.
    fn pick(&self, by: By, set: &Set) -> Vec<(u32, u32)> {
        let last = match by {
            By::Uid => self.uids.last().copied().unwrap_or(0),
            By::Sequence => self.uids.len() as u32,
        };
        let numbered = (1..).zip(self.uids.iter().copied());
        numbered
            .filter(|(sequence, uid)| match by {
                By::Uid => set.contains(*uid, last),
                By::Sequence => set.contains(*sequence, last),
            })
            .collect()
    }

    /// Takes what FETCH asks for; a body that is not only peeked at becomes \Seen.
    pub(super) fn fetch(
        &self,
        by: By,
        set: &Set,
        items: &[Item],
        folder: &mut Folder,
    ) -> Vec<Fetched> {
        let reads = |item: &Item| matches!(item, Item::Body { peek: false, .. });
        let marks = !self.read_only && items.iter().any(reads);
        let mut fetched = Vec::new();
        for (sequence, uid) in self.pick(by, set) {
            let Some(message) = folder.get_mut(uid) else {
                continue;
            };
            let newly_seen = marks && message.flags.insert(SEEN.to_owned());
            fetched.push(Fetched {
                sequence,
                message: message.clone(),
                newly_seen,
            });
        }
        fetched
    }

    pub(super) fn store(
        &self,
        picked: (By, &Set),
        how: How,
        flags: &[String],
        folder: &mut Folder,
    ) -> Vec<Fetched> {
        let mut stored = Vec::new();
        for (sequence, uid) in self.pick(picked.0, picked.1) {
            let Some(message) = folder.get_mut(uid) else {
                continue;
            };
            match how {
                How::Add => message.flags.extend(flags.iter().cloned()),
                How::Remove => message.flags.retain(|flag| !flags.contains(flag)),
                How::Replace => message.flags = flags.iter().cloned().collect(),
            }
            stored.push(Fetched {
                sequence,
                message: message.clone(),
                newly_seen: false,
            });
        }
        stored
    }

    /// Copies into another folder; gives the COPYUID code of RFC 4315, or None when there is no such folder.
    pub(super) fn copy(
        &self,
        by: By,
        set: &Set,
        to: &str,
        mailbox: &mut Mailbox,
    ) -> Option<String> {
        let picked = self.pick(by, set);
        let source = mailbox.folder(&self.folder)?;
        let messages: Vec<Message> = picked
            .iter()
            .filter_map(|(_, uid)| source.get(*uid).cloned())
            .collect();
        let target = mailbox.folder_mut(to)?;
        let (mut from, mut into) = (Vec::new(), Vec::new());
        for message in messages {
            from.push(message.uid.to_string());
            let uid = target.add(message.bytes, message.flags, message.arrived);
            into.push(uid.to_string());
        }
        if from.is_empty() {
            return Some(String::new());
        }
        let uidvalidity = target.uidvalidity;
        let (from, into) = (from.join(","), into.join(","));
        Some(format!("[COPYUID {uidvalidity} {from} {into}] "))
    }

    /// Removes what a set names: the second half of MOVE.
    pub(super) fn remove(&self, by: By, set: &Set, folder: &mut Folder) {
        let gone: BTreeSet<u32> = self.pick(by, set).iter().map(|(_, uid)| *uid).collect();
        folder.remove(|message| gone.contains(&message.uid));
    }

    /// Removes what is marked \Deleted, within the UIDs if there are any.
    pub(super) fn expunge(&self, uids: Option<&Set>, folder: &mut Folder) {
        let last = self.uids.last().copied().unwrap_or(0);
        folder.remove(|message| {
            let named = uids.is_none_or(|set| set.contains(message.uid, last));
            named && message.flags.contains(DELETED)
        });
    }

    pub(super) fn search(&self, by: By, criteria: &[Criterion], folder: &Folder) -> Vec<u32> {
        let everything = (1..).zip(self.uids.iter().copied());
        let found = everything.filter(|(sequence, uid)| {
            folder.get(*uid).is_some_and(|message| {
                let holds = |criterion| self.holds(criterion, *sequence, message);
                criteria.iter().all(holds)
            })
        });
        let number = |(sequence, uid)| match by {
            By::Uid => uid,
            By::Sequence => sequence,
        };
        found.map(number).collect()
    }

    fn holds(&self, criterion: &Criterion, sequence: u32, message: &Message) -> bool {
        match criterion {
            Criterion::All => true,
            Criterion::Since(day) => date(message.arrived) >= *day,
            Criterion::Before(day) => date(message.arrived) < *day,
            Criterion::Flag { flag, set } => message.flags.contains(*flag) == *set,
            Criterion::Uid(set) => {
                let last = self.uids.last().copied().unwrap_or(0);
                set.contains(message.uid, last)
            }
            Criterion::Sequence(set) => set.contains(sequence, self.uids.len() as u32),
        }
    }
}

impl Fetched {
    /// Writes one FETCH response.
    pub(super) fn write(&self, by: By, items: &[Item], out: &mut Vec<u8>) {
        out.extend_from_slice(format!("* {} FETCH (", self.sequence).as_bytes());
        let mut items: Vec<Item> = items.to_vec();
        if by == By::Uid && !items.contains(&Item::Uid) {
            items.insert(0, Item::Uid);
        }
        if self.newly_seen && !items.contains(&Item::Flags) {
            items.push(Item::Flags);
        }
        for (at, item) in items.iter().enumerate() {
            if at > 0 {
                out.push(b' ');
            }
            self.write_item(item, out);
        }
        out.extend_from_slice(b")\r\n");
    }

    fn write_item(&self, item: &Item, out: &mut Vec<u8>) {
        let message = &self.message;
        let text = match item {
            Item::Uid => format!("UID {}", message.uid),
            Item::Flags => {
                let flags: Vec<&str> = message.flags.iter().map(String::as_str).collect();
                format!("FLAGS ({})", flags.join(" "))
            }
            Item::Size => format!("RFC822.SIZE {}", message.bytes.len()),
            Item::InternalDate => format!("INTERNALDATE \"{}\"", internal_date(message.arrived)),
            Item::Body { section, part, .. } => {
                let bytes = section_of(&message.bytes, *section);
                let (bytes, origin) = match part {
                    Some((from, length)) => {
                        let from = (*from).min(bytes.len());
                        let end = from.saturating_add(*length).min(bytes.len());
                        (&bytes[from..end], format!("<{from}>"))
                    }
                    None => (bytes, String::new()),
                };
                let name = section.name();
                let intro = format!("BODY[{name}]{origin} {{{}}}\r\n", bytes.len());
                out.extend_from_slice(intro.as_bytes());
                out.extend_from_slice(bytes);
                return;
            }
        };
        out.extend_from_slice(text.as_bytes());
    }
}

/// The header goes up to and with the empty line; a message without one is all header.
fn section_of(message: &Arc<Vec<u8>>, section: Section) -> &[u8] {
    let header_end = if message.starts_with(b"\r\n") {
        2
    } else {
        memchr::memmem::find(message, b"\r\n\r\n").map_or(message.len(), |at| at + 4)
    };
    match section {
        Section::All => message,
        Section::Header => &message[..header_end],
        Section::Text => &message[header_end..],
    }
}

fn internal_date(time: SystemTime) -> String {
    let time = Timestamp::try_from(time).unwrap_or(Timestamp::UNIX_EPOCH);
    time.strftime("%d-%b-%Y %H:%M:%S +0000").to_string()
}

fn date(time: SystemTime) -> Date {
    let time = Timestamp::try_from(time).unwrap_or(Timestamp::UNIX_EPOCH);
    time.to_zoned(TimeZone::UTC).date()
}
