//! What people do to a token beside consenting: seed it, change its config, take it back.

use super::pace::SECOND;
use super::{Refresh, State, Token};
use crate::{Failure, Secret};

impl Token {
    /// A refresh token obtained elsewhere replaces the present one, which the caller keeps aside.
    pub(crate) fn seeded(&mut self, secret: Secret, now: i64) -> Option<Secret> {
        self.version += 1;
        self.generation += 1;
        self.access = None;
        self.identity = None;
        self.granted_scope = None;
        self.refusals = 0;
        self.settle_well();
        self.refresh
            .replace(Refresh {
                secret,
                obtained_at: now,
                expires_at: None,
            })
            .map(|old| old.secret)
    }

    /// The config now names another client or endpoint: this grant is not for it. What is returned is kept aside.
    pub(crate) fn client_changed(
        &mut self,
        needs_person: bool,
        restored: Option<Refresh>,
    ) -> Option<Secret> {
        self.version += 1;
        self.generation += 1;
        self.access = None;
        self.identity = None;
        self.granted_scope = None;
        self.refusals = 0;
        self.settle_well();
        let old = std::mem::replace(&mut self.refresh, restored);
        if needs_person && self.refresh.is_none() {
            self.state = State::NeedsConsent;
        }
        old.map(|r| r.secret)
    }

    /// The config changed, but not whose grant it is: whatever was wrong may be mended, so try again.
    /// A token of the old scope is still presented, but replaced soon. Where a person has consented to the former scope and all was
    /// well, refreshes go on asking for that, until the person consents again.
    pub(crate) fn mended(&mut self, needs_person: bool, scopes: (&str, &str), now: i64) {
        self.version += 1;
        let (before, after) = scopes;
        let worked = self.state == State::Ready && self.access.is_some();
        let consented = needs_person && self.refresh.is_some() && worked;
        let granted = self
            .granted_scope
            .take()
            .unwrap_or_else(|| before.to_owned());
        self.granted_scope = Some(granted).filter(|granted| consented && granted != after);
        if let Some(access) = &mut self.access {
            access.refresh_at = access.refresh_at.min(now);
        }
        self.attempts = 0;
        self.refusals = 0;
        self.retry_at = None;
        if self.state == State::Broken {
            let able = !needs_person || self.refresh.is_some() || self.access.is_some();
            self.state = if able {
                State::Ready
            } else {
                State::NeedsConsent
            };
        }
    }

    /// A person took the grant back at the provider, or forgets it here: the one deliberate end of a refresh token.
    pub(crate) fn revoked(&mut self, now: i64) {
        self.version += 1;
        self.generation += 1;
        self.access = None;
        self.refresh = None;
        self.identity = None;
        self.granted_scope = None;
        self.refusals = 0;
        self.settle_well();
        self.state = State::NeedsConsent;
        self.failure = Some(Failure {
            at: now / SECOND,
            words: "the grant was taken back".into(),
            advice: "request a new token when it is wanted again".into(),
        });
    }
}
