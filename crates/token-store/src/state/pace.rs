//! How often: spans, pauses and their reasons. Pure; luck is a number from 0 to 1.

use std::time::Duration;

/// Some endpoints refuse a token ten minutes before its end; a quarter of an hour leaves room for a failed try.
pub(super) const LEAD: i64 = 900 * SECOND;
/// Never handed out with less left than this: a sign-in takes a few seconds.
pub(super) const MARGIN: i64 = 30 * SECOND;
/// An answer without `expires_in`: providers that leave it out give an hour; refresh before that.
pub(super) const UNKNOWN_LIFE_REFRESH: i64 = 45 * MINUTE;
/// A token refused younger than this was refused for another reason than age.
pub(super) const YOUNG: i64 = MINUTE;
/// First pause after a failure that may pass by itself, doubled up to the cap.
pub(super) const RETRY_FIRST: i64 = SECOND;
pub(super) const RETRY_CAP: i64 = 10 * MINUTE;
/// A server's Retry-After beyond this is a mistake of the server.
pub(super) const RETRY_AFTER_CAP: i64 = 6 * HOUR;
/// First pause when fresh tokens keep being refused by the mail server, doubled up to the cap.
pub(super) const REFUSED_FIRST: i64 = 30 * SECOND;
pub(super) const REFUSED_CAP: i64 = 30 * MINUTE;
/// A dead grant or a broken configuration is asked again this rarely, in case the provider healed it.
pub(super) const HEAL_FIRST: i64 = HOUR;
pub(super) const HEAL_CAP: i64 = 24 * HOUR;

pub(super) const SECOND: i64 = 1000;
pub(super) const MINUTE: i64 = 60 * SECOND;
pub(super) const HOUR: i64 = 60 * MINUTE;

/// `min(max(900 s, 10 % of life), life / 2)` before the end, up to a tenth of that earlier so that many tokens
/// made together don't come due together. At most 0.55 of the life, so never more often than a quarter of it.
pub(super) fn refresh_at(now: i64, expires_at: Option<i64>, luck: f64) -> i64 {
    let Some(end) = expires_at else {
        return now.saturating_add(UNKNOWN_LIFE_REFRESH);
    };
    let life = life(now, end);
    let lead = LEAD.max(life / 10).min(life / 2);
    end - lead - scaled(lead / 10, luck)
}

pub(super) fn life(from: i64, to: i64) -> i64 {
    to.saturating_sub(from).max(0)
}

/// `first` doubled `times`, capped, then spread by a quarter either way.
pub(crate) fn doubled(first: i64, times: u32, cap: i64, luck: f64) -> i64 {
    let base = first.saturating_mul(1_i64 << times.min(20)).min(cap);
    base - base / 4 + scaled(base / 2, luck)
}

/// A share of a span; spans here are days at most, far within what a float holds exactly.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)]
pub(super) fn scaled(span: i64, luck: f64) -> i64 {
    (span as f64 * luck.clamp(0.0, 1.0)) as i64
}

pub(super) fn millis(d: Duration) -> i64 {
    i64::try_from(d.as_millis()).unwrap_or(i64::MAX)
}
