//! The notices below the top bar of every page: what needs an administrator, with a link to where it can be mended.

use token_store::notices::{About, Notice};
use token_store::{Store, StoreError};

use super::device::encoded;
use crate::words::{Moment, Prose, now};

/// More than these would push the page away; the rest is counted.
const SHOWN: usize = 10;

/// The open notices, the oldest first.
#[derive(Default)]
pub(super) struct Notices {
    pub(super) shown: Vec<Shown>,
    /// How many there are beside them.
    pub(super) more: usize,
}

/// One of them.
pub(super) struct Shown {
    /// `Mailbox support`.
    pub(super) about: String,
    /// Below the page's base; None: no page shows it.
    pub(super) link: Option<String>,
    pub(super) words: Prose,
    pub(super) advice: Prose,
    pub(super) since: Moment,
}

/// Reads them. A notice about a token that is well by now is left out at once: whoever has just mended it need not see it again
/// until the next look clears it.
pub(super) fn open(store: &Store) -> Result<Notices, StoreError> {
    let mut notices = Notices::default();
    for notice in store.notices()?.into_iter().filter(Notice::is_open) {
        if notices.shown.len() == SHOWN {
            notices.more += 1;
        } else if lasts(store, &notice.cause.about)? {
            notices.shown.push(shown(&notice));
        }
    }
    Ok(notices)
}

fn lasts(store: &Store, about: &About) -> Result<bool, StoreError> {
    match about {
        About::Token(config) => store.is_token_troubled(config, now().saturating_mul(1000)),
        _ => Ok(true),
    }
}

fn shown(notice: &Notice) -> Shown {
    let about = notice.cause.about.to_string();
    let mut letters = about.chars();
    let first = letters.next().map(|c| c.to_ascii_uppercase());
    Shown {
        about: first.into_iter().chain(letters).collect(),
        link: link(&notice.cause.about),
        words: Prose::new(&notice.cause.words),
        advice: Prose::new(&notice.cause.advice),
        since: Moment::since(notice.since, now()),
    }
}

fn link(about: &About) -> Option<String> {
    Some(match about {
        About::Token(name) => format!("/tokens?about={}#{}", encoded(name), anchor("token", name)),
        About::Mailbox(name) => format!("/mailboxes#{}", anchor("mailbox", name)),
        About::Relay(name) => format!("/relays#{}", anchor("relay", name)),
        About::Endpoint(_) => "/tokens".to_owned(),
        About::Channel(_) | About::DropDirectory | About::Disk => return None,
    })
}

/// The place of a row on its page: a name made of what a fragment may hold, different for different names.
pub(super) fn anchor(kind: &str, name: &str) -> String {
    let mut anchor = format!("{kind}-");
    for c in name.chars() {
        if c.is_ascii_alphanumeric() || c == '-' || c == '_' {
            anchor.push(c);
        } else {
            anchor.push_str(&format!(".{:x}.", u32::from(c)));
        }
    }
    anchor
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_found_by_any_name() {
        assert_eq!(anchor("token", "support-1_b"), "token-support-1_b");
        assert_eq!(anchor("token", "a b\"<"), "token-a.20.b.22..3c.");
        assert_ne!(anchor("token", "a b"), anchor("token", "a.20.b"));
    }
}
