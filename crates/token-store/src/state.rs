//! NeedsConsent | Ready | Broken: what a token is, and how each event changes it. Pure: time and luck are arguments.
//!
//! Two counters guard against late answers. `version` rises with every write. `generation` rises whenever the
//! refresh token is replaced: an answer to a request that presented generation *g* may only touch a row that still
//! holds *g*. So a late failure never spoils a newer consent, and a late rotated refresh token lands in the row
//! exactly when the row still holds the token it replaces.

mod life;
pub(crate) mod pace;
mod people;

pub(crate) use life::RefreshLife;

use crate::exchange::{Grant, Trouble, Verdict};
use crate::{Failure, Secret};
use pace::{
    HEAL_CAP, HEAL_FIRST, HOUR, REFUSED_CAP, REFUSED_FIRST, RETRY_AFTER_CAP, RETRY_CAP,
    RETRY_FIRST, SECOND, SLACK, YOUNG, doubled, life, millis, refresh_at,
};

/// The state of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub enum State {
    /// A person must sign in at the provider.
    NeedsConsent,
    /// It refreshes itself.
    Ready,
    /// The configuration must be mended; then it goes on by itself.
    Broken,
}

/// A token as its row holds it. Times are milliseconds since 1970.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Token {
    pub(crate) version: i64,
    pub(crate) generation: i64,
    pub(crate) state: State,
    pub(crate) access: Option<Access>,
    pub(crate) refresh: Option<Refresh>,
    pub(crate) failure: Option<Failure>,
    /// No request before this.
    pub(crate) retry_at: Option<i64>,
    /// Failures in a row.
    pub(crate) attempts: u32,
    /// Young tokens in a row that a mail server refused.
    pub(crate) refusals: u32,
    pub(crate) refreshes: u64,
    /// Who signed in, as far as the provider told.
    pub(crate) identity: Option<String>,
    /// What the refresh token was granted for, where the config asks for another scope by now: a refresh may not ask for more
    /// than the person has consented to (RFC 6749 section 6).
    pub(crate) granted_scope: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Access {
    pub(crate) secret: Secret,
    /// The version of the write that stored it; what `rejected` is compared with.
    pub(crate) version: i64,
    pub(crate) obtained_at: i64,
    pub(crate) expires_at: Option<i64>,
    /// When to refresh ahead, jitter included.
    pub(crate) refresh_at: i64,
    pub(crate) rejected: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Refresh {
    pub(crate) secret: Secret,
    /// When its life began: kept through rotations that don't move its end.
    pub(crate) obtained_at: i64,
    pub(crate) expires_at: Option<i64>,
}

/// What a request saw when it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) generation: i64,
    pub(crate) access: Option<i64>,
}

/// What happened to an answer.
#[derive(Debug, PartialEq)]
pub(crate) enum Landed {
    /// The row changed.
    Applied,
    /// The row is newer; nothing of it changed.
    Late {
        /// A refresh token the row has no place for; the caller keeps it aside.
        spare: Option<Secret>,
    },
}

impl Token {
    /// The token of a config that was just made.
    pub(crate) fn new(needs_person: bool) -> Self {
        Self {
            version: 1,
            generation: 0,
            state: if needs_person {
                State::NeedsConsent
            } else {
                State::Ready
            },
            access: None,
            refresh: None,
            failure: None,
            retry_at: None,
            attempts: 0,
            refusals: 0,
            refreshes: 0,
            identity: None,
            granted_scope: None,
        }
    }

    pub(crate) fn seen(&self) -> Seen {
        Seen {
            generation: self.generation,
            access: self.access.as_ref().map(|a| a.version),
        }
    }

    /// A refresh (or client-credentials request) was granted.
    pub(crate) fn refreshed(&mut self, seen: Seen, grant: &Grant, now: i64, luck: f64) -> Landed {
        if self.generation != seen.generation {
            return Landed::Late {
                spare: grant.refresh.clone(),
            };
        }
        self.version += 1;
        // A consent that brought no refresh token leaves the generation alone, but its access token is the newer one.
        if self.seen().access == seen.access {
            if self.access.as_ref().is_none_or(|a| !a.rejected) {
                self.refusals = 0;
            }
            self.set_access(grant, now, luck);
            self.settle_well();
        }
        self.set_refresh(grant, now);
        self.set_identity(grant);
        self.refreshes += 1;
        Landed::Applied
    }

    /// A person consented. A grant without a refresh token keeps the old one, and says so.
    pub(crate) fn consented(&mut self, grant: &Grant, now: i64, luck: f64) {
        self.version += 1;
        self.refusals = 0;
        self.set_access(grant, now, luck);
        self.settle_well();
        if grant.refresh.is_some() {
            self.granted_scope = None;
        }
        self.set_refresh(grant, now);
        self.identity = None;
        self.granted_scope = None;
        self.set_identity(grant);
        if grant.refresh.is_none() {
            let kept = self.refresh.is_some();
            self.failure = Some(Failure {
                at: now / SECOND,
                words: if kept {
                    "the provider gave no refresh token with this consent; the earlier one was kept".into()
                } else {
                    "the provider gave no refresh token, so mail stops when this access token ends".into()
                },
                advice: "let the authorisation request ask for one (scope offline_access at Microsoft and OpenID \
                         Connect providers; access_type=offline and prompt=consent at Google), then request a new token"
                    .into(),
            });
        }
    }

    /// A request ended without a grant. The refresh token stays in every case, but for one that the answer itself replaces.
    pub(crate) fn failed(&mut self, seen: Seen, verdict: &Verdict, now: i64, luck: f64) -> Landed {
        if self.seen() != seen {
            return self.failed_late(seen, verdict, now);
        }
        let (state, trouble) = match verdict {
            Verdict::Granted(_) => return Landed::Late { spare: None },
            Verdict::Retry { trouble, .. } => (self.state, trouble),
            Verdict::AskPerson(trouble) => (State::NeedsConsent, trouble),
            Verdict::FixConfiguration(trouble) => (State::Broken, trouble),
        };
        // A new kind of trouble starts at its own first pause.
        let before = if state == self.state {
            self.attempts
        } else {
            0
        };
        let pause = match verdict {
            Verdict::Retry { after, .. } => {
                let asked = after.map_or(0, |d| millis(d).min(RETRY_AFTER_CAP));
                doubled(RETRY_FIRST, before, RETRY_CAP, luck).max(asked)
            }
            _ => doubled(HEAL_FIRST, before, HEAL_CAP, luck),
        };
        self.version += 1;
        self.attempts = before.saturating_add(1);
        self.state = state;
        self.retry_at = Some(now.saturating_add(pause));
        self.failure = Some(failure(trouble, now));
        if let Some(secret) = verdict.refresh_token() {
            self.replace_refresh(secret, now, None);
        }
        Landed::Applied
    }

    /// Somebody was quicker: the failure says nothing any more, but a refresh token in it still replaces the one it was made from.
    fn failed_late(&mut self, seen: Seen, verdict: &Verdict, now: i64) -> Landed {
        match verdict.refresh_token() {
            Some(secret) if self.generation == seen.generation => {
                self.version += 1;
                self.replace_refresh(secret, now, None);
                Landed::Applied
            }
            spare => Landed::Late {
                spare: spare.cloned(),
            },
        }
    }

    /// A mail server refused the access token stored by `version`. True when this changed something.
    ///
    /// The first refusal allows one refresh at once. When the fresh token is refused too, age is not the reason,
    /// and further refreshes come at growing pauses.
    pub(crate) fn rejected(&mut self, version: i64, now: i64, luck: f64) -> bool {
        let Some(access) = self
            .access
            .as_mut()
            .filter(|a| a.version == version && !a.rejected)
        else {
            return false;
        };
        access.rejected = true;
        let life = access
            .expires_at
            .map_or(HOUR, |end| life(access.obtained_at, end));
        // A token from the future was obtained before the clock was set back: its age is unknown.
        let age = now.saturating_sub(access.obtained_at);
        let young = (-SLACK..YOUNG.min(life / 4)).contains(&age);
        self.version += 1;
        self.refusals = if young {
            self.refusals.saturating_add(1)
        } else {
            1
        };
        if self.refusals > 1 {
            let pause = doubled(REFUSED_FIRST, self.refusals - 2, REFUSED_CAP, luck);
            self.retry_at = Some(now.saturating_add(pause));
            self.failure = Some(Failure {
                at: now / SECOND,
                words: format!(
                    "the mail server refused {} fresh access tokens in a row",
                    self.refusals
                ),
                advice: "check that the token is for this very mailbox, that its scope covers the protocol, and that \
                         the protocol is switched on for the mailbox"
                    .into(),
            });
        }
        true
    }

    /// There is nothing to refresh with.
    pub(crate) fn ran_dry(&mut self, now: i64) {
        self.version += 1;
        self.state = State::NeedsConsent;
        self.retry_at = None;
        self.failure.get_or_insert_with(|| Failure {
            at: now / SECOND,
            words: "the access token ended, and there is no refresh token".into(),
            advice: "request a new token".into(),
        });
    }

    fn settle_well(&mut self) {
        self.state = State::Ready;
        self.failure = None;
        self.retry_at = None;
        self.attempts = 0;
    }

    fn set_access(&mut self, grant: &Grant, now: i64, luck: f64) {
        let expires_at = grant.expires_in.map(|d| now.saturating_add(millis(d)));
        self.access = Some(Access {
            secret: grant.access.clone(),
            version: self.version,
            obtained_at: now,
            expires_at,
            refresh_at: refresh_at(now, expires_at, luck),
            rejected: false,
        });
    }

    fn set_refresh(&mut self, grant: &Grant, now: i64) {
        let expires_at = grant
            .refresh_expires_in
            .map(|d| now.saturating_add(millis(d)));
        if let Some(secret) = &grant.refresh {
            self.replace_refresh(secret, now, expires_at);
        } else if let (Some(kept), Some(end)) = (&mut self.refresh, expires_at) {
            kept.expires_at = Some(end);
        }
    }

    fn set_identity(&mut self, grant: &Grant) {
        if let Some(name) = grant.owner.names().first() {
            self.identity = Some(name.clone());
        }
    }

    fn replace_refresh(&mut self, secret: &Secret, now: i64, expires_at: Option<i64>) {
        let before = self.refresh.take();
        if before.as_ref().is_none_or(|old| old.secret != *secret) {
            self.generation += 1;
        }
        // A rotation that leaves the end where it was is the same grant growing old.
        let since = before
            .filter(|old| old.expires_at.zip(expires_at).is_some_and(same_end))
            .map_or(now, |old| old.obtained_at.min(now));
        self.refresh = Some(Refresh {
            secret: secret.clone(),
            obtained_at: since,
            expires_at,
        });
    }
}

/// Ends are told in whole seconds from an answer that took its time.
fn same_end((before, after): (i64, i64)) -> bool {
    before.abs_diff(after) < SLACK.unsigned_abs()
}

fn failure(trouble: &Trouble, now: i64) -> Failure {
    Failure {
        at: now / SECOND,
        words: trouble.words.clone(),
        advice: trouble.advice.clone(),
    }
}

#[cfg(test)]
mod tests;
