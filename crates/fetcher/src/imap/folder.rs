//! What a session remembers of one folder: how far it is listed, what waits to be fetched, what is put off.

use std::collections::{BTreeMap, VecDeque};

use super::listing::{Listed, Selected, Window};

/// So often must a server insist that a message ends far below its announced size before it is believed.
const INSISTS: u8 = 3;

/// One folder of a mailbox within a session.
#[derive(Debug)]
pub(crate) struct Folder {
    pub(crate) name: String,
    pub(crate) selected: Option<Selected>,
    pub(crate) window: Window,
    /// Whether windows are left to list.
    pub(crate) more: bool,
    /// Listed, new, not yet fetched; oldest first.
    pub(crate) pending: VecDeque<Listed>,
    /// Whether messages of an older UIDVALIDITY were looked for in the spool.
    pub(crate) checked_stale: bool,
    /// UIDs whose body was empty or cut short, and how often.
    put_off: BTreeMap<u32, u8>,
}

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            selected: None,
            window: Window::new(),
            more: true,
            pending: VecDeque::new(),
            checked_stale: false,
            put_off: BTreeMap::new(),
        }
    }

    /// After a SELECT. Another UIDVALIDITY means other UIDs: everything is listed anew.
    pub(crate) fn select(&mut self, selected: Selected) {
        if self
            .selected
            .is_some_and(|s| s.uidvalidity != selected.uidvalidity)
        {
            *self = Self::new(&self.name);
        }
        self.selected = Some(selected);
    }

    /// Listing begins with the first UID again; what is known is passed over by its key.
    pub(crate) fn list_anew(&mut self) {
        if self.pending.is_empty() {
            self.window = Window::new();
        }
    }

    /// Whether a SELECT told of messages that came after the last listing.
    pub(crate) fn has_unlisted(&self, exists: u32) -> bool {
        exists > 0
            && self
                .selected
                .is_some_and(|s| self.window.ends_before(s.uidnext))
    }

    /// Puts a message off until the next look; true the first time.
    pub(crate) fn put_off(&mut self, uid: u32) -> bool {
        let times = self.put_off.entry(uid).or_default();
        *times = times.saturating_add(1);
        *times == 1
    }

    /// Whether a message waits for the next look.
    pub(crate) fn is_put_off(&self, uid: u32) -> bool {
        self.put_off.contains_key(&uid)
    }

    /// Whether a message was put off so often that the server is believed.
    pub(crate) fn insisted(&self, uid: u32) -> bool {
        self.put_off
            .get(&uid)
            .is_some_and(|&times| times >= INSISTS)
    }

    /// A message that was taken in, or is gone.
    pub(crate) fn done(&mut self, uid: u32) {
        self.put_off.remove(&uid);
    }

    /// UIDs to look at again, ascending.
    pub(crate) fn again(&self) -> Vec<u32> {
        self.put_off.keys().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_select_tells_of_mail_that_came_after_the_listing() {
        let mut folder = Folder::new("INBOX");
        assert!(!folder.has_unlisted(1), "nothing is known before a SELECT");
        let selected = |uidnext| Selected {
            uidvalidity: 7,
            uidnext,
            read_only: false,
        };
        folder.select(selected(Some(1)));
        assert!(!folder.has_unlisted(1));
        folder.select(selected(Some(2)));
        assert!(folder.has_unlisted(1));
        assert!(!folder.has_unlisted(0), "it has gone again");
        folder.select(selected(None));
        assert!(
            !folder.has_unlisted(1),
            "a server without UIDNEXT tells nothing"
        );
    }
}
