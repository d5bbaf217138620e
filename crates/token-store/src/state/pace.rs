//! How often: spans, pauses and their reasons. Pure; luck is a number from 0 to 1.

use std::time::Duration;

/// Some endpoints refuse a token ten minutes before its end; a quarter of an hour leaves room for a failed try.
pub(crate) const LEAD: i64 = 900 * SECOND;
/// Never handed out with less left than this: a sign-in takes a few seconds.
pub(crate) const MARGIN: i64 = 30 * SECOND;
/// An answer without `expires_in`: providers that leave it out give an hour; refresh before that.
pub(crate) const UNKNOWN_LIFE_REFRESH: i64 = 45 * MINUTE;
/// Another host's clock, and ours before it was set by a little: dates up to this far in the future are believed.
pub(crate) const SLACK: i64 = MINUTE;
/// No pause is longer: one that seems to be was written before the clock was set back.
pub(crate) const LONGEST_PAUSE: i64 = HEAL_CAP / 4 * 5 + SLACK;
/// A refresh token is said to end soon in the last fifth of its life, and not more than two weeks before.
pub(crate) const SOON_CAP: i64 = 14 * 24 * HOUR;
/// A token refused younger than this was refused for another reason than age.
pub(crate) const YOUNG: i64 = MINUTE;
/// First pause after a failure that may pass by itself, doubled up to the cap.
pub(crate) const RETRY_FIRST: i64 = SECOND;
pub(crate) const RETRY_CAP: i64 = 10 * MINUTE;
/// A server's Retry-After beyond this is a mistake of the server.
pub(crate) const RETRY_AFTER_CAP: i64 = 6 * HOUR;
/// First pause when fresh tokens keep being refused by the mail server, doubled up to the cap.
pub(crate) const REFUSED_FIRST: i64 = 30 * SECOND;
pub(crate) const REFUSED_CAP: i64 = 30 * MINUTE;
/// A dead grant or a broken configuration is asked again this rarely, in case the provider healed it.
pub(crate) const HEAL_FIRST: i64 = HOUR;
pub(crate) const HEAL_CAP: i64 = 24 * HOUR;

pub(crate) const SECOND: i64 = 1000;
pub(crate) const MINUTE: i64 = 60 * SECOND;
pub(crate) const HOUR: i64 = 60 * MINUTE;

/// [`lead`] before the end, up to a quarter of that earlier so that many tokens made together don't come due together.
/// At most 5/8 of the life before the end, so never more often than a quarter of it.
pub(crate) fn refresh_at(now: i64, expires_at: Option<i64>, luck: f64) -> i64 {
    let Some(end) = expires_at else {
        return now.saturating_add(UNKNOWN_LIFE_REFRESH - scaled(UNKNOWN_LIFE_REFRESH / 10, luck));
    };
    let lead = lead(life(now, end));
    end - lead - scaled(lead / 4, luck)
}

/// How long before the end of a life what lives is replaced: `min(max(900 s, 10 % of life), life / 2)`.
pub(crate) fn lead(life: i64) -> i64 {
    LEAD.max(life / 10).min(life / 2)
}

pub(crate) fn life(from: i64, to: i64) -> i64 {
    to.saturating_sub(from).max(0)
}

/// `first` doubled `times`, capped, then spread by a quarter either way.
pub(crate) fn doubled(first: i64, times: u32, cap: i64, luck: f64) -> i64 {
    let base = first.saturating_mul(1_i64 << times.min(20)).min(cap);
    base - base / 4 + scaled(base / 2, luck)
}

/// A share of a span; spans here are days at most, far within what a float holds exactly.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)]
pub(crate) fn scaled(span: i64, luck: f64) -> i64 {
    (span as f64 * luck.clamp(0.0, 1.0)) as i64
}

pub(crate) fn millis(d: Duration) -> i64 {
    i64::try_from(d.as_millis()).unwrap_or(i64::MAX)
}
