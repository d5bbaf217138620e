//! What is wrong with tokens at this moment, read from their rows in portions so that nobody who needs a token waits for it.

use crate::state::{State, Token};
use crate::store::Rows;
use crate::{Failure, Store, StoreError, TokenConfig, TokenId, configs};
use provider_template::{Entry, Notifications};

/// Tokens read at a time: a few milliseconds if none of them is well, in which nobody else reads.
const PORTION: u32 = 50;
/// An access token that ended a moment ago is about to be replaced; only after this does it count as expired. Milliseconds.
const GRACE: i64 = 60 * 1000;

/// A token that is not well, and what is worst about it.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenTrouble {
    /// Which token.
    pub id: TokenId,
    /// What is worst.
    pub kind: TroubleKind,
    /// The provider's own words of the last failure, and what to do.
    pub failure: Option<Failure>,
    /// When the access token ended, in seconds since 1970; `None` while it lives.
    pub expired_at: Option<i64>,
    /// Host and path of the token endpoint.
    pub endpoint: String,
    /// Requests that failed in a row.
    pub attempts: u32,
    /// What the token config wants to be told of.
    pub notifications: Notifications,
    /// `mailbox support`, `relay support`.
    pub used_by: Vec<String>,
}

/// What is wrong with a token, the gravest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TroubleKind {
    /// The provider refuses the configuration.
    Broken,
    /// A person must sign in.
    NeedsConsent,
    /// It could refresh itself, but has ended all the same: no request succeeds.
    Stuck,
    /// The refresh token has ended, in seconds since 1970; the access token may still live.
    RefreshExpired(i64),
    /// The refresh token is in its last days, in seconds since 1970.
    RefreshEnding(i64),
}

impl Store {
    /// The tokens of valid configs that are not well, by name and user. `now` in milliseconds since 1970.
    ///
    /// # Errors
    /// When the database can't be read.
    pub fn token_troubles(&self, now: i64) -> Result<Vec<TokenTrouble>, StoreError> {
        let mut troubles = Vec::new();
        let mut after = TokenId::of("");
        loop {
            let portion = self.read(|rows| portion(rows, &after, now))?;
            troubles.extend(portion.troubles);
            match portion.last {
                Some(last) => after = last,
                None => return Ok(troubles),
            }
        }
    }
}

impl Store {
    /// Whether a token of this config is not well. `now` in milliseconds since 1970.
    ///
    /// # Errors
    /// When the database can't be read.
    pub fn is_token_troubled(&self, config: &str, now: i64) -> Result<bool, StoreError> {
        self.read(|rows| {
            let Some(known) = rows.token_config(config)? else {
                return Ok(false);
            };
            let tokens = rows.tokens_without_secrets(config)?;
            let unwell = |(_, token): &(TokenId, Token)| worst(token, &known.entry, now).is_some();
            Ok(known.entry.valid && tokens.iter().any(unwell))
        })
    }
}

struct Portion {
    troubles: Vec<TokenTrouble>,
    /// Where the next one begins; `None` at the end.
    last: Option<TokenId>,
}

fn portion(rows: &Rows<'_>, after: &TokenId, now: i64) -> Result<Portion, StoreError> {
    let suspects = rows.suspects(after, now, PORTION)?;
    let last = suspects.last().map(|(id, _)| id.clone());
    let full = suspects.len() >= PORTION as usize;
    let mut known: Option<TokenConfig> = None;
    let mut troubles = Vec::new();
    for (id, token) in suspects {
        // Those of one config stand together.
        let config = match known.take().filter(|known| known.entry.name == id.config) {
            Some(config) => config,
            None => rows.known_config(&id.config)?,
        };
        troubles.extend(trouble(rows, &config, id, token, now)?);
        known = Some(config);
    }
    Ok(Portion {
        troubles,
        last: last.filter(|_| full),
    })
}

fn trouble(
    rows: &Rows<'_>,
    config: &TokenConfig,
    id: TokenId,
    token: Token,
    now: i64,
) -> Result<Option<TokenTrouble>, StoreError> {
    let notifications = config.entry.config.notifications;
    let Some(kind) = worst(&token, &config.entry, now) else {
        return Ok(None);
    };
    let used_by = rows.users_of_token(&id)?;
    // A config that was only just made, and that nothing waits for.
    if kind == TroubleKind::NeedsConsent && token.failure.is_none() && used_by.is_empty() {
        return Ok(None);
    }
    Ok(Some(TokenTrouble {
        id,
        kind,
        expired_at: expired_at(&token, now),
        attempts: token.attempts,
        failure: token.failure,
        endpoint: configs::endpoint(&config.entry),
        notifications,
        used_by,
    }))
}

/// What is worst about a token.
fn worst(token: &Token, entry: &Entry, now: i64) -> Option<TroubleKind> {
    let ended = expired_at(token, now).is_some();
    // Not yet asked for: the first use brings it.
    let unborn = token.access.is_none() && token.failure.is_none();
    let lacking = token.access.is_none() && token.failure.is_some();
    match token.state {
        State::Broken => return Some(TroubleKind::Broken),
        State::NeedsConsent => return Some(TroubleKind::NeedsConsent),
        State::Ready if (ended || lacking) && !unborn => return Some(TroubleKind::Stuck),
        State::Ready => {}
    }
    if !entry.config.flow.has_refresh_token() {
        return None;
    }
    refresh_trouble(token, entry, now)
}

/// When the refresh token ends, as told or as known of the provider.
fn refresh_trouble(token: &Token, entry: &Entry, now: i64) -> Option<TroubleKind> {
    let end = token.refresh_end(configs::refresh_life(entry), now)?;
    let seconds = end.at.div_euclid(1000);
    if end.at <= now {
        Some(TroubleKind::RefreshExpired(seconds))
    } else if end.soon {
        Some(TroubleKind::RefreshEnding(seconds))
    } else {
        None
    }
}

/// When the access token ended, in seconds since 1970.
fn expired_at(token: &Token, now: i64) -> Option<i64> {
    let end = token.access.as_ref()?.expires_at?;
    (end.saturating_add(GRACE) <= now).then(|| end.div_euclid(1000))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Secret;
    use crate::exchange::{Grant, Trouble, Verdict};
    use crate::seal::Key;
    use std::time::Duration;

    const NOW: i64 = 1_795_514_400_000;
    const HOUR: u64 = 3600;
    const DAY: u64 = 24 * HOUR;

    fn named(number: u32) -> Entry {
        Entry {
            name: format!("t{number:04}"),
            valid: number != 7,
            config: provider_template::Config::default(),
            rest: serde_json::Map::default(),
        }
    }

    fn granted(life: u64, refresh_life: Option<u64>) -> Token {
        let mut token = Token::new(true);
        let grant = Grant {
            access: Secret::new("a"),
            expires_in: Some(Duration::from_secs(life)),
            refresh: Some(Secret::new("r")),
            refresh_expires_in: refresh_life.map(Duration::from_secs),
            ..Grant::default()
        };
        token.consented(&grant, NOW, 0.5);
        token
    }

    fn failed(mut token: Token, verdict: impl FnOnce(Trouble) -> Verdict) -> Token {
        let trouble = Trouble {
            words: "invalid_grant: gone".into(),
            advice: "request a new token".into(),
        };
        token.failed(token.seen(), &verdict(trouble), NOW, 0.5);
        token
    }

    fn later(trouble: Trouble) -> Verdict {
        Verdict::Retry {
            trouble,
            after: None,
            refresh: None,
            blame: crate::exchange::Blame::Token,
        }
    }

    #[test]
    fn what_is_worst_comes_first_and_a_failure_that_harms_nobody_yet_is_no_trouble() {
        let after = |seconds: u64| NOW + i64::try_from(seconds).unwrap() * 1000;
        let entry = named(0);
        let well = granted(HOUR, None);
        let table = [
            ("well", well.clone(), NOW, None),
            ("fails, lives", failed(well.clone(), later), NOW, None),
            ("ended a moment ago", well.clone(), after(HOUR + 59), None),
            (
                "ended",
                well.clone(),
                after(HOUR + 60),
                Some(TroubleKind::Stuck),
            ),
            (
                "refused",
                failed(well.clone(), Verdict::AskPerson),
                after(HOUR * 9),
                Some(TroubleKind::NeedsConsent),
            ),
            (
                "broken",
                failed(well, Verdict::FixConfiguration),
                after(HOUR * 9),
                Some(TroubleKind::Broken),
            ),
            ("never used", Token::new(false), NOW, None),
            (
                "never granted",
                failed(Token::new(false), later),
                NOW,
                Some(TroubleKind::Stuck),
            ),
            (
                "the refresh token's fifth day of seven",
                granted(90 * DAY, Some(7 * DAY)),
                after(5 * DAY),
                None,
            ),
            (
                "its sixth",
                granted(90 * DAY, Some(7 * DAY)),
                after(6 * DAY),
                Some(TroubleKind::RefreshEnding(after(7 * DAY) / 1000)),
            ),
            (
                "its end",
                granted(90 * DAY, Some(7 * DAY)),
                after(7 * DAY),
                Some(TroubleKind::RefreshExpired(after(7 * DAY) / 1000)),
            ),
        ];
        for (name, token, now, expected) in table {
            assert_eq!(worst(&token, &entry, now), expected, "{name}");
        }
    }

    #[tokio::test]
    async fn all_troubles_are_found_beyond_one_portion_and_what_nobody_waits_for_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("accounts.db");
        let store = Store::open(&path, Key::from_bytes([7; 32])).unwrap();
        let entries = (0..2 * PORTION + 1).map(named).collect();
        store.import(entries, false).await.unwrap();
        assert_eq!(
            store.token_troubles(NOW).unwrap(),
            [],
            "never asked for, and unused"
        );
        let spoil = |rows: &Rows<'_>| {
            for config in rows.token_configs()? {
                let id = TokenId::of(&config.entry.name);
                let token = failed(rows.token(&id)?, Verdict::AskPerson);
                rows.put_token(&id, token.version - 1, &token)?;
            }
            Ok(())
        };
        store.write(spoil).await.unwrap();
        let troubles = store.token_troubles(NOW).unwrap();
        // One config is switched off.
        assert_eq!(troubles.len(), 2 * PORTION as usize);
        assert!(troubles.iter().all(|t| t.kind == TroubleKind::NeedsConsent));
        assert!(troubles.is_sorted_by_key(|t| t.id.config.clone()));
    }
}
