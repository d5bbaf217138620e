//! Messages for the next page of a session, kept here and not in a cookie or an address.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::words::Prose;

/// Sessions whose message waits at the same time; beyond that the waiting ones are dropped. Far above the number
/// of administrators, and low enough to be nothing in memory.
const WAITING: usize = 256;

/// How something went, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Flash {
    /// False: it failed; shown and announced as such.
    pub(crate) good: bool,
    pub(crate) words: Prose,
    /// What to do now; may be empty.
    pub(crate) advice: Prose,
}

impl Flash {
    /// It went well.
    pub(crate) fn good(words: &str) -> Self {
        Self {
            good: true,
            words: Prose::new(words),
            advice: Prose::new(""),
        }
    }

    /// It failed.
    pub(crate) fn bad(words: &str) -> Self {
        Self {
            good: false,
            words: Prose::new(words),
            advice: Prose::new(""),
        }
    }

    /// What to do now.
    pub(crate) fn advise(mut self, advice: &str) -> Self {
        self.advice = Prose::new(advice);
        self
    }
}

/// The waiting messages by session id; one each, the newest wins.
#[derive(Default)]
pub(crate) struct Flashes(Mutex<HashMap<String, Flash>>);

impl Flashes {
    /// Leaves a message for the session's next page.
    pub(crate) fn leave(&self, session: &str, flash: Flash) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() >= WAITING {
            waiting.clear();
        }
        waiting.insert(session.to_owned(), flash);
    }

    /// Takes the message that waits, if any.
    pub(crate) fn take(&self, session: &str) -> Option<Flash> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.remove(session)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_shown_once_and_only_to_its_session() {
        let flashes = Flashes::default();
        flashes.leave("a", Flash::good("done"));
        assert_eq!(flashes.take("b"), None);
        assert_eq!(flashes.take("a"), Some(Flash::good("done")));
        assert_eq!(flashes.take("a"), None);
    }
}
