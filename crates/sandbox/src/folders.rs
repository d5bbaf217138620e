//! The mailboxes: folders of messages with their UIDs and flags.
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::SystemTime;

/// The folder every user has.
pub(crate) const INBOX: &str = "INBOX";

/// A message in a folder; its bytes are never changed and never copied.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) uid: u32,
    pub(crate) flags: BTreeSet<String>,
    pub(crate) arrived: SystemTime,
    pub(crate) bytes: Arc<Vec<u8>>,
}

/// A folder, oldest message first.
#[derive(Debug)]
pub(crate) struct Folder {
    pub(crate) uidvalidity: u32,
    pub(crate) uidnext: u32,
    /// Grows when a message comes or goes, so that a session knows cheaply that nothing happened.
    pub(crate) revision: u64,
    messages: Vec<Message>,
}

impl Folder {
    fn new(uidvalidity: u32) -> Self {
        Self {
            uidvalidity,
            uidnext: 1,
            revision: 0,
            messages: Vec::new(),
        }
    }

    pub(crate) fn messages(&self) -> &[Message] {
        &self.messages
    }

    pub(crate) fn get_mut(&mut self, uid: u32) -> Option<&mut Message> {
        let at = self.messages.binary_search_by_key(&uid, |m| m.uid).ok()?;
        self.messages.get_mut(at)
    }

    pub(crate) fn get(&self, uid: u32) -> Option<&Message> {
        let at = self.messages.binary_search_by_key(&uid, |m| m.uid).ok()?;
        self.messages.get(at)
    }

    /// Adds a message and gives its new UID.
    pub(crate) fn add(
        &mut self,
        bytes: Arc<Vec<u8>>,
        flags: BTreeSet<String>,
        arrived: SystemTime,
    ) -> u32 {
        let uid = self.uidnext;
        self.uidnext += 1;
        self.revision += 1;
        self.messages.push(Message {
            uid,
            flags,
            arrived,
            bytes,
        });
        uid
    }

    /// Removes the messages for which `gone` says so, and gives them back.
    pub(crate) fn remove(&mut self, mut gone: impl FnMut(&Message) -> bool) -> Vec<Message> {
        let removed: Vec<_> = self.messages.extract_if(.., |m| gone(m)).collect();
        if !removed.is_empty() {
            self.revision += 1;
        }
        removed
    }

    /// A new UIDVALIDITY with new UIDs, as after a restored backup.
    pub(crate) fn renumber(&mut self, uidvalidity: u32) {
        self.uidvalidity = uidvalidity;
        self.revision += 1;
        for (uid, message) in (1..).zip(&mut self.messages) {
            message.uid = uid;
        }
        self.uidnext = self.messages.len() as u32 + 1;
    }
}

/// One user's folders.
#[derive(Debug)]
pub(crate) struct Mailbox {
    folders: BTreeMap<String, Folder>,
    next_uidvalidity: u32,
}

impl Mailbox {
    fn new() -> Self {
        let mut new = Self {
            folders: BTreeMap::new(),
            next_uidvalidity: 1_000,
        };
        new.create(INBOX);
        new
    }

    /// Whether there was none of that name yet.
    pub(crate) fn create(&mut self, name: &str) -> bool {
        if self.folders.contains_key(&canonical(name)) {
            return false;
        }
        let folder = Folder::new(self.next_uidvalidity);
        self.next_uidvalidity += 1;
        self.folders.insert(canonical(name), folder);
        true
    }

    pub(crate) fn folder(&self, name: &str) -> Option<&Folder> {
        self.folders.get(&canonical(name))
    }

    pub(crate) fn folder_mut(&mut self, name: &str) -> Option<&mut Folder> {
        self.folders.get_mut(&canonical(name))
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.folders.keys().map(String::as_str)
    }
}

/// Every user's mailbox; a user exists from the first time somebody asks.
#[derive(Debug, Default)]
pub(crate) struct Mailboxes(BTreeMap<String, Mailbox>);

impl Mailboxes {
    pub(crate) fn of(&mut self, user: &str) -> &mut Mailbox {
        self.0.entry(user.to_owned()).or_insert_with(Mailbox::new)
    }

    pub(crate) fn users(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

/// INBOX in any case is the one INBOX (RFC 3501 section 5.1).
fn canonical(name: &str) -> String {
    if name.eq_ignore_ascii_case(INBOX) {
        INBOX.to_owned()
    } else {
        name.to_owned()
    }
}
