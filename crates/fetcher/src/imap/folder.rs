//! What a session remembers of one folder: how far it is listed, what waits to be fetched, what is put off.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use super::listing::{Listed, Selected, Status, Window};
use super::session::Look;

/// So often must a server insist that a message ends far below its announced size before it is believed.
const INSISTS: u8 = 3;
/// A message that was put off so often is worth showing.
const SHOWN: u8 = 3;
/// So long is a STATUS without news believed; then the folder is listed all the same.
const TRUST: Duration = Duration::from_secs(3600);

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
    /// Whether mail that the first start left out is to be known again: UIDVALIDITY has changed since.
    pub(crate) recognise: bool,
    /// Why it can't be used now.
    pub(crate) shut: Option<String>,
    /// As it was before this session listed it from its first UID, until that is through.
    pub(crate) look: Option<Look>,
    /// To be asked for alone, because a command for several was refused.
    pub(crate) alone: BTreeSet<u32>,
    put_off: BTreeMap<u32, PutOff>,
    /// What STATUS said before the last listing, and when that was.
    status: Option<(Status, Instant)>,
}

/// A message that could not be taken in.
#[derive(Debug, Default)]
struct PutOff {
    times: u8,
    /// How often its body was empty or cut short.
    short: u8,
    why: String,
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
            recognise: false,
            shut: None,
            look: None,
            alone: BTreeSet::new(),
            put_off: BTreeMap::new(),
            status: None,
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
        self.shut = None;
    }

    /// Its UIDs mean other messages than before, under the same UIDVALIDITY.
    pub(crate) fn went_back(&mut self) {
        *self = Self {
            selected: self.selected,
            ..Self::new(&self.name)
        };
    }

    pub(crate) fn uidvalidity(&self) -> u32 {
        self.selected.map_or(0, |s| s.uidvalidity)
    }

    /// Listing begins with the first UID again; what is known is passed over by its key.
    pub(crate) fn list_anew(&mut self) {
        if self.pending.is_empty() {
            self.window = Window::new();
            self.status = None;
            self.look = None;
        }
    }

    /// Whether a SELECT told of messages that came after the last listing.
    pub(crate) fn has_unlisted(&self, exists: u32) -> bool {
        exists > 0
            && self
                .selected
                .is_some_and(|s| self.window.ends_before(s.uidnext))
    }

    /// Whether it was listed to its end, and nothing of it is owed.
    pub(crate) fn is_settled(&self) -> bool {
        !self.more
            && self.checked_stale
            && self.pending.is_empty()
            && self.put_off.is_empty()
            && self.shut.is_none()
    }

    /// Whether this STATUS says that nothing came since everything was fetched. It is remembered for the next time.
    pub(crate) fn is_unchanged(&mut self, now: Option<Status>) -> bool {
        if self.is_settled()
            && let (Some((before, at)), Some(now)) = (self.status, now)
            && before == now
            && at.elapsed() < TRUST
        {
            return true;
        }
        self.status = now.map(|status| (status, Instant::now()));
        false
    }

    /// Puts a message off until the next look; true the first time.
    pub(crate) fn put_off(&mut self, uid: u32, why: &str) -> bool {
        let put_off = self.put_off.entry(uid).or_default();
        put_off.times = put_off.times.saturating_add(1);
        why.clone_into(&mut put_off.why);
        put_off.times == 1
    }

    /// The same for a body that was empty or cut short; true the first time.
    pub(crate) fn came_short(&mut self, uid: u32, why: &str) -> bool {
        let first = self.put_off(uid, why);
        if let Some(put_off) = self.put_off.get_mut(&uid) {
            put_off.short = put_off.short.saturating_add(1);
        }
        first
    }

    /// Whether a message waits for the next look.
    pub(crate) fn is_put_off(&self, uid: u32) -> bool {
        self.put_off.contains_key(&uid)
    }

    /// Whether a message came short so often that the server is believed.
    pub(crate) fn insisted(&self, uid: u32) -> bool {
        self.put_off
            .get(&uid)
            .is_some_and(|put_off| put_off.short >= INSISTS)
    }

    /// A message that was taken in, or is gone.
    pub(crate) fn done(&mut self, uid: u32) {
        self.put_off.remove(&uid);
        self.alone.remove(&uid);
    }

    /// A message that was listed and then not given: most likely it is gone, and if not, the next session lists it again.
    pub(crate) fn vanished(&mut self, uid: u32) {
        self.done(uid);
        self.look = None;
    }

    /// UIDs to look at again, ascending.
    pub(crate) fn again(&self) -> Vec<u32> {
        self.put_off.keys().copied().collect()
    }

    /// What an administrator should know about this folder.
    pub(crate) fn trouble(&self) -> Option<String> {
        if let Some(why) = &self.shut {
            return Some(why.clone());
        }
        let stuck: Vec<&PutOff> = self
            .put_off
            .values()
            .filter(|put_off| put_off.times >= SHOWN)
            .collect();
        let why = &stuck.first()?.why;
        Some(match stuck.len() {
            1 => format!("a message in {} can't be fetched: {why}", self.name),
            n => format!(
                "{n} messages in {} can't be fetched, the first of them because {why}",
                self.name
            ),
        })
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
            modseq: None,
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

    #[tokio::test(start_paused = true)]
    async fn a_status_without_news_is_believed_for_an_hour_and_only_once_all_is_fetched() {
        let status = |uidnext| {
            Some(Status {
                uidvalidity: 1,
                uidnext,
            })
        };
        let mut folder = Folder::new("INBOX");
        assert!(!folder.is_unchanged(status(5)), "never listed");
        assert!(!folder.is_unchanged(status(5)), "not listed to its end");
        (folder.more, folder.checked_stale) = (false, true);
        assert!(folder.is_unchanged(status(5)));
        assert!(!folder.is_unchanged(status(6)), "something came");
        assert!(folder.is_unchanged(status(6)));
        assert!(!folder.is_unchanged(None), "no STATUS, no saving");
        assert!(!folder.is_unchanged(status(6)));
        tokio::time::advance(TRUST).await;
        assert!(!folder.is_unchanged(status(6)));
        folder.put_off(3, "its body is empty");
        assert!(
            !folder.is_unchanged(status(6)),
            "a message is to be looked at again"
        );
    }

    #[test]
    fn a_message_that_stays_stuck_is_shown_and_a_refusal_is_no_insisting_on_a_short_body() {
        let mut folder = Folder::new("INBOX");
        for _ in 0..SHOWN {
            assert_eq!(folder.trouble(), None);
            folder.put_off(3, "the server answered UID FETCH with NO [SERVERBUG]");
        }
        let words = folder.trouble().unwrap();
        assert!(
            words.contains("a message in INBOX can't be fetched: the server"),
            "{words}"
        );
        assert!(!folder.insisted(3));
        for _ in 0..INSISTS {
            folder.came_short(3, "less than half of its announced size came");
        }
        assert!(folder.insisted(3));
        folder.done(3);
        assert_eq!(folder.trouble(), None);
    }
}
