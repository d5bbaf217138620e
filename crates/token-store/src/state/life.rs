//! How long a token lives by the clock: whether it may be presented, when it is due, when its refresh token ends.
//!
//! Dates in a row were written by the clock of that moment. One that lies in the future was written before the clock was
//! set back, and says nothing: such a token is refreshed, and such a pause is over.

use super::pace::{HOUR, LONGEST_PAUSE, MARGIN, SECOND, SLACK, SOON_CAP, lead, life};
use super::{Access, State, Token};
use std::time::Duration;

/// How long the provider keeps a refresh token, as far as its template knows. Milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct RefreshLife {
    /// Without use.
    pub(crate) idle: Option<i64>,
    /// Used or not.
    pub(crate) whole: Option<i64>,
}

impl RefreshLife {
    /// From days, as templates and columns hold them.
    pub(crate) fn of_days(idle: Option<u32>, whole: Option<u32>) -> Self {
        let millis = |days: u32| i64::from(days) * 24 * HOUR;
        Self {
            idle: idle.map(millis),
            whole: whole.map(millis),
        }
    }
}

/// When a refresh token ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RefreshEnd {
    pub(crate) at: i64,
    /// In its last days, and no refresh has moved its end.
    pub(crate) soon: bool,
}

impl Token {
    /// The access token, if it may be presented now.
    pub(crate) fn usable(&self, now: i64) -> Option<&Access> {
        self.access.as_ref().filter(|a| {
            let left =
                |end: i64| end.saturating_sub(now) > MARGIN.min(life(a.obtained_at, end) / 4);
            !a.rejected && a.expires_at.is_none_or(left)
        })
    }

    /// Whether an asker should wait for a refresh first: rejected, expired, soon to be, or of an unknown age.
    pub(crate) fn wants_refresh(&self, now: i64) -> bool {
        self.access
            .as_ref()
            .is_none_or(|a| a.rejected || now >= a.refresh_at || is_ahead(a.obtained_at, now))
    }

    /// When the next request is due by itself; `None` when only a person can help.
    pub(crate) fn due_at(&self, can_refresh: bool, lives: RefreshLife, now: i64) -> Option<i64> {
        if !can_refresh {
            return None;
        }
        let pause = self.pause_end(now).unwrap_or(i64::MIN);
        let wanted = match (self.state, &self.access) {
            // Asked again only at the slow pace that the failure set.
            (State::NeedsConsent | State::Broken, _) => return self.retry_at.map(|_| pause),
            (State::Ready, Some(a)) if !a.rejected && !is_ahead(a.obtained_at, now) => {
                let disuse = self.refresh_due(lives).unwrap_or(i64::MAX);
                a.refresh_at.min(disuse)
            }
            (State::Ready, _) => i64::MIN,
        };
        Some(wanted.max(pause))
    }

    /// When the access token ends, for whose turn it is; `i64::MIN` without a living one.
    pub(crate) fn access_end(&self) -> i64 {
        self.access.as_ref().map_or(i64::MIN, |a| {
            a.expires_at
                .unwrap_or_else(|| a.obtained_at.saturating_add(HOUR))
        })
    }

    /// The pause still to keep, if any.
    pub(crate) fn pause(&self, now: i64) -> Option<Duration> {
        let left = self.pause_end(now)?.saturating_sub(now);
        u64::try_from(left)
            .ok()
            .filter(|ms| *ms > 0)
            .map(Duration::from_millis)
    }

    fn pause_end(&self, now: i64) -> Option<i64> {
        let written_ahead = self
            .failure
            .as_ref()
            .is_some_and(|f| is_ahead(f.at.saturating_mul(SECOND), now));
        self.retry_at
            .filter(|end| !written_ahead && end.saturating_sub(now) <= LONGEST_PAUSE)
    }

    /// The last time the refresh token was used, as far as the row tells.
    fn refresh_used_at(&self) -> Option<i64> {
        let obtained = self.refresh.as_ref()?.obtained_at;
        Some(
            self.access
                .as_ref()
                .map_or(obtained, |a| a.obtained_at.max(obtained)),
        )
    }

    /// From when to when the refresh token lives, whether it is used or not.
    fn refresh_span(&self, lives: RefreshLife) -> Option<(i64, i64)> {
        let refresh = self.refresh.as_ref()?;
        let from = refresh.obtained_at;
        let by_template = || Some(from.saturating_add(lives.whole?));
        let end = refresh.expires_at.or_else(by_template)?;
        Some((from, end))
    }

    /// When the refresh token itself is due, ahead of its own end: once, since a refresh may leave that end where it is.
    fn refresh_due(&self, lives: RefreshLife) -> Option<i64> {
        let used = self.refresh_used_at()?;
        let disuse = lives.idle.map(|idle| used.saturating_add(idle / 10 * 8));
        let ahead = self
            .refresh_span(lives)
            .map(|(from, end)| end.saturating_sub(lead(life(from, end))))
            .filter(|ahead| used.saturating_add(SLACK) < *ahead);
        disuse.into_iter().chain(ahead).min()
    }

    /// When the refresh token ends: on its day, or for want of use.
    pub(crate) fn refresh_end(&self, lives: RefreshLife, now: i64) -> Option<RefreshEnd> {
        let used = self.refresh_used_at()?;
        let disuse = lives.idle.map(|idle| (used, used.saturating_add(idle)));
        let spans = self.refresh_span(lives).into_iter().chain(disuse);
        let (from, at) = spans.min_by_key(|(_, end)| *end)?;
        let soon = at.saturating_sub(now) < (life(from, at) / 5).min(SOON_CAP);
        Some(RefreshEnd { at, soon })
    }
}

/// Written by a clock that was set back since.
fn is_ahead(at: i64, now: i64) -> bool {
    at.saturating_sub(now) > SLACK
}

#[cfg(test)]
mod tests;
