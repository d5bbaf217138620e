//! Keeps the board true: what the session does, and what troubles deliveries, in one sentence.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use token_store::accounts::{Board, Condition, Kind};

/// A mailbox's place on the board; Clone shares.
#[derive(Clone)]
pub(crate) struct Show {
    board: Board,
    name: String,
    told: Arc<Mutex<Told>>,
}

#[derive(Default)]
struct Told {
    /// What the session does; None while there is none.
    session: Option<String>,
    /// Why acknowledging fails.
    trouble: Option<String>,
    /// What is wrong with single folders.
    folders: Option<String>,
    /// What the server wants an administrator to read.
    alert: Option<String>,
    /// Why deliveries pause.
    delivery: Option<String>,
    shown: Option<Condition>,
}

impl Show {
    pub(crate) fn new(board: Board, name: &str) -> Self {
        Self {
            board,
            name: name.to_owned(),
            told: Arc::default(),
        }
    }

    /// What the signed-in session does.
    pub(crate) fn session(&self, doing: String) {
        self.tell(|told| told.session = Some(doing));
    }

    /// Why delivered mail can't be acknowledged, or that it can again.
    pub(crate) fn trouble(&self, why: Option<String>) {
        self.tell(|told| told.trouble = why);
    }

    /// Which folders can't be fetched and why, or that all can.
    pub(crate) fn folders(&self, why: Option<String>) {
        self.tell(|told| told.folders = why);
    }

    /// An alert of the server's; it is shown as long as the session lasts.
    pub(crate) fn alert(&self, words: String) {
        self.tell(|told| told.alert = Some(format!("the server says: {words}")));
    }

    /// Why deliveries pause, or that they go on.
    pub(crate) fn delivery(&self, why: Option<String>) {
        self.tell(|told| told.delivery = why);
    }

    /// A condition without a session.
    pub(crate) fn condition(&self, condition: Condition) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        (told.session, told.folders, told.alert) = (None, None, None);
        self.put(&mut told, condition);
    }

    /// Failed; tried again by itself after a pause.
    pub(crate) fn waiting(&self, why: String, pause: Duration) {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let until = i64::try_from((now + pause).as_secs()).unwrap_or(i64::MAX);
        self.condition(Condition::Waiting { why, until });
    }

    fn tell(&self, change: impl FnOnce(&mut Told)) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut told);
        let Some(session) = &told.session else { return };
        let parts = [
            Some(session),
            told.folders.as_ref(),
            told.trouble.as_ref(),
            told.delivery.as_ref(),
            told.alert.as_ref(),
        ];
        let doing = parts
            .into_iter()
            .flatten()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join("; ");
        self.put(&mut told, Condition::Working { doing });
    }

    fn put(&self, told: &mut Told, condition: Condition) {
        if told.shown.as_ref() != Some(&condition) {
            self.board.set(Kind::Mailbox, &self.name, condition.clone());
            told.shown = Some(condition);
        }
    }
}
