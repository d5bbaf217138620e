//! What `postern status` shows: every account and token with its condition in words. The field names are stable.

use serde::{Deserialize, Serialize};
use spool::{Direction, Spool};
use token_store::accounts::{Board, Condition, Kind};
use token_store::notices::Notice;
use token_store::{Store, TokenStatus};

/// The whole report.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) version: String,
    /// Whether a daemon runs; without one the conditions are unknown and the counts are those of the database.
    pub(crate) running: bool,
    pub(crate) process: Option<u32>,
    /// Seconds since 1970.
    pub(crate) since: Option<i64>,
    pub(crate) mailboxes: Vec<AccountLine>,
    pub(crate) relays: Vec<AccountLine>,
    /// [`TokenStatus`], as JSON: this side of the socket only prints it.
    pub(crate) tokens: Vec<serde_json::Value>,
    /// What an administrator must see at this moment.
    #[serde(default)]
    pub(crate) notices: Vec<NoticeLine>,
}

/// One notice.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct NoticeLine {
    /// One word: `consent_needed`, `held_mail`, ...
    pub(crate) kind: String,
    /// `mailbox support`, `token support`, `disk`, ...
    pub(crate) about: String,
    pub(crate) words: String,
    pub(crate) advice: String,
    /// Seconds since 1970.
    pub(crate) since: i64,
    /// Seconds since 1970; None while it lasts.
    pub(crate) cleared_at: Option<i64>,
    /// Where it was told, and where that fails.
    pub(crate) told: Vec<ToldLine>,
}

/// What one channel has told of a notice. Seconds since 1970.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ToldLine {
    pub(crate) channel: String,
    pub(crate) raised_at: Option<i64>,
    pub(crate) mended_at: Option<i64>,
    /// Why the last try failed; None: it did not.
    pub(crate) error: Option<String>,
}

impl From<Notice> for NoticeLine {
    fn from(notice: Notice) -> Self {
        let told = notice.told.into_iter().map(|(channel, told)| ToldLine {
            channel: channel.key().to_owned(),
            raised_at: told.raised_at,
            mended_at: told.mended_at,
            error: told.error,
        });
        Self {
            kind: notice.cause.kind.key().to_owned(),
            about: notice.cause.about.to_string(),
            words: notice.cause.words,
            advice: notice.cause.advice,
            since: notice.since,
            cleared_at: notice.cleared_at,
            told: told.collect(),
        }
    }
}

/// One mailbox or relay.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct AccountLine {
    pub(crate) name: String,
    pub(crate) user: String,
    pub(crate) host: String,
    /// `starting`, `working`, `waiting`, `blocked`, `paused`, `stopped` or `unknown`.
    pub(crate) state: String,
    /// The condition in words.
    pub(crate) words: String,
    pub(crate) since: Option<i64>,
    pub(crate) last_success: Option<i64>,
    pub(crate) waiting: u64,
    pub(crate) held: u64,
    pub(crate) unacknowledged: u64,
    pub(crate) done: u64,
}

/// The accounts and tokens of the databases, with the conditions of the board where a daemon runs.
pub(crate) fn report(
    store: &Store,
    spool: Option<&Spool>,
    board: Option<&Board>,
) -> anyhow::Result<Report> {
    let mut mailboxes = Vec::new();
    for mailbox in store.mailboxes()? {
        mailboxes.push(line(
            Kind::Mailbox,
            mailbox.name,
            mailbox.user,
            mailbox.host,
            spool,
            board,
        )?);
    }
    let mut relays = Vec::new();
    for relay in store.relays()? {
        relays.push(line(
            Kind::Relay,
            relay.name,
            relay.user,
            relay.host,
            spool,
            board,
        )?);
    }
    let tokens: Vec<TokenStatus> = store.token_statuses()?;
    let tokens = tokens
        .iter()
        .map(serde_json::to_value)
        .collect::<Result<_, _>>()?;
    let notices = store.notices()?.into_iter().filter(Notice::is_open);
    let version = env!("CARGO_PKG_VERSION").to_owned();
    Ok(Report {
        version,
        running: board.is_some(),
        process: None,
        since: None,
        mailboxes,
        relays,
        tokens,
        notices: notices.map(NoticeLine::from).collect(),
    })
}

fn line(
    kind: Kind,
    name: String,
    user: String,
    host: String,
    spool: Option<&Spool>,
    board: Option<&Board>,
) -> anyhow::Result<AccountLine> {
    let direction = match kind {
        Kind::Mailbox => Direction::In,
        Kind::Relay => Direction::Out,
    };
    let counts = spool
        .map(|spool| spool.counts(direction, &name))
        .transpose()?
        .unwrap_or_default();
    let light = board.and_then(|board| board.get(kind, &name));
    let (state, words) = light.as_ref().map_or_else(
        || ("unknown", "the daemon does not run".to_owned()),
        |light| in_words(&light.condition),
    );
    Ok(AccountLine {
        name,
        user,
        host,
        state: state.to_owned(),
        words,
        since: light.as_ref().map(|light| light.since),
        last_success: light.and_then(|light| light.last_success),
        waiting: counts.waiting,
        held: counts.held,
        unacknowledged: counts.unacknowledged,
        done: counts.done,
    })
}

/// A condition's state, and its words.
pub(crate) fn in_words(condition: &Condition) -> (&'static str, String) {
    match condition {
        Condition::Starting => ("starting", "starting".to_owned()),
        Condition::Working { doing } => ("working", doing.clone()),
        Condition::Waiting { why, until } => {
            ("waiting", format!("{why}; next try {}", clock(*until)))
        }
        Condition::Blocked { why } => ("blocked", format!("waits for you: {why}")),
        Condition::Paused => ("paused", "paused".to_owned()),
        Condition::Stopped => ("stopped", "stopped".to_owned()),
    }
}

/// Seconds since 1970 as a UTC date.
pub(crate) fn day(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map_or_else(
        |_| "an unknown day".to_owned(),
        |at| at.strftime("%Y-%m-%d").to_string(),
    )
}

/// Seconds since 1970 as UTC date and time.
pub(crate) fn clock(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map_or_else(
        |_| "never".to_owned(),
        |at| at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_condition_has_its_word_and_a_blocked_account_says_who_must_act() {
        let (state, words) = in_words(&Condition::Blocked {
            why: "consent is missing".into(),
        });
        assert_eq!(
            (state, words.as_str()),
            ("blocked", "waits for you: consent is missing")
        );
        let (state, words) = in_words(&Condition::Waiting {
            why: "no route".into(),
            until: 0,
        });
        assert_eq!(
            (state, words.as_str()),
            ("waiting", "no route; next try 1970-01-01 00:00:00 UTC")
        );
        assert_eq!(in_words(&Condition::Paused).0, "paused");
    }
}
