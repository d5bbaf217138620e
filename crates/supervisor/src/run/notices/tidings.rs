//! What is told of a notice, the same by every channel.

use serde::Serialize;
use token_store::notices::{Notice, Telling};

/// One notice, told once. As JSON it is what a webhook gets; the field names are stable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Tidings {
    /// The notice's number; 0 for a test.
    pub(super) id: i64,
    /// What kind of thing is wrong, as one word.
    pub(super) kind: &'static str,
    /// `mailbox support`, `token support`, `disk`, ...
    pub(super) about: String,
    /// What is wrong.
    pub(super) words: String,
    /// What to do.
    pub(super) advice: String,
    /// New, lasting or over.
    pub(super) state: Telling,
    /// RFC 3339.
    pub(super) since: String,
    /// Of this program.
    pub(super) version: &'static str,
}

impl Tidings {
    pub(super) fn of(notice: &Notice, state: Telling) -> Self {
        let cause = &notice.cause;
        Self {
            id: notice.id,
            kind: cause.kind.key(),
            about: cause.about.to_string(),
            words: cause.words.clone(),
            advice: cause.advice.clone(),
            state,
            since: rfc3339(notice.since),
            version: env!("CARGO_PKG_VERSION"),
        }
    }

    /// A test of a channel.
    pub(super) fn test(now: i64) -> Self {
        Self {
            id: 0,
            kind: "test",
            about: "postern".to_owned(),
            words: "this is a test: notices arrive this way".to_owned(),
            advice: "nothing to do".to_owned(),
            state: Telling::Raised,
            since: rfc3339(now),
            version: env!("CARGO_PKG_VERSION"),
        }
    }
}

fn rfc3339(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map_or_else(|_| String::new(), |at| at.to_string())
}
