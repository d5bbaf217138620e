//! What follows a session: at once, after a pause, or when a person has done something; pure but for the counters.

use std::time::Duration;

use spool::{Pause, PauseKind};

use crate::backoff::Backoff;
use crate::error::FetchError;

/// Pauses after trouble with the connection.
const TROUBLE: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(300));
/// Pauses after the server refused to let us in: a refused password is tried rarely, or the account gets locked.
const REFUSED: Backoff = Backoff::new(Duration::from_secs(300), Duration::from_secs(3600));
/// Pauses when a server asks for patience without naming a time.
const PATIENCE: Backoff = Backoff::new(Duration::from_secs(15), Duration::from_secs(900));
/// Pauses when a quota is used up: Gmail's last for hours.
const QUOTA: Backoff = Backoff::new(Duration::from_secs(900), Duration::from_secs(4 * 3600));
/// A session that lived so long was not throttled: patience starts anew.
const UNTROUBLED: Duration = Duration::from_secs(600);
/// What waits for a person is looked at again after this, or at once when poked.
const BLOCKED: Duration = Duration::from_secs(60);
/// One backoff per kind of trouble; they start anew once a session has worked, patience and quota only after one that lasted.
pub(super) struct Pauses {
    trouble: Backoff,
    refused: Backoff,
    patience: Backoff,
    quota: Backoff,
    /// A fresh token was asked for because of the last refusal, or expiry.
    fresh: bool,
}

impl Default for Pauses {
    fn default() -> Self {
        Self {
            trouble: TROUBLE,
            refused: REFUSED,
            patience: PATIENCE,
            quota: QUOTA,
            fresh: false,
        }
    }
}

/// What follows a session.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    Over,
    AtOnce,
    /// Shown as failed.
    Wait {
        why: String,
        pause: Duration,
    },
    /// Shown as failed; the server wants to be left alone, and a restart does not end that.
    Throttled(Pause),
    /// Shown as waiting for a person.
    Blocked {
        why: String,
        pause: Duration,
    },
    /// Nothing is wrong: until the next poll.
    Rest(Duration),
}

impl Pauses {
    /// After a session that got as far as waiting for mail, and lived so long.
    pub(super) fn worked(&mut self, lived: Duration) {
        let before = std::mem::take(self);
        if lived < UNTROUBLED {
            self.patience = before.patience;
            self.quota = before.quota;
        }
    }

    /// What follows an error; pure but for the counters.
    pub(super) fn after(&mut self, error: &FetchError, random: f64) -> Next {
        let why = error.to_string();
        match error {
            FetchError::Blocked(_) => Next::Blocked {
                why,
                pause: BLOCKED,
            },
            FetchError::Denied(_) => Next::Blocked {
                why,
                pause: self.refused.pause(random),
            },
            // A fresh token, once, without a pause; if that is refused too, a person should look.
            FetchError::TokenRefused { .. } | FetchError::TokenExpired { .. }
                if !std::mem::replace(&mut self.fresh, true) =>
            {
                Next::AtOnce
            }
            FetchError::TokenRefused { why, .. } => {
                let why = format!(
                    "the server refused a fresh access token too: {why}. Check the mailbox user, its permissions and the token's scope"
                );
                Next::Wait {
                    why,
                    pause: self.refused.pause(random),
                }
            }
            FetchError::PasswordRefused(_) => Next::Wait {
                why,
                pause: self.refused.pause(random),
            },
            FetchError::Patience {
                after: Some(after), ..
            } => Next::Throttled(Pause {
                kind: PauseKind::Told,
                why: format!(
                    "the server asks for a pause of {} s: {why}",
                    after.as_secs_f64().ceil()
                ),
                left: *after,
            }),
            FetchError::Patience { after: None, .. } => Next::Throttled(Pause {
                kind: PauseKind::Guessed,
                why: format!("the server asks for patience: {why}"),
                left: self.patience.pause(random),
            }),
            FetchError::Quota(_) => Next::Throttled(Pause {
                kind: PauseKind::Guessed,
                why: format!("a quota of this account is used up: {why}"),
                left: self.quota.pause(random),
            }),
            FetchError::NoToken {
                after: Some(after), ..
            } => Next::Wait { why, pause: *after },
            FetchError::TooLong(_) if self.trouble.is_fresh() => {
                self.trouble.pause(random);
                Next::AtOnce
            }
            FetchError::Again(_)
            | FetchError::Refused(_)
            | FetchError::TooLong(_)
            | FetchError::TokenExpired { .. }
            | FetchError::NoToken { after: None, .. }
            | FetchError::Spool(_) => Next::Wait {
                why,
                pause: self.trouble.pause(random),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use token_store::{AccessToken, Secret};

    use super::*;

    fn refused() -> FetchError {
        let token = AccessToken {
            secret: Secret::new("t"),
            id: "c".into(),
            version: 1,
            expires_at: None,
        };
        FetchError::TokenRefused {
            why: "NO".into(),
            token: Box::new(token),
        }
    }

    fn expired() -> FetchError {
        FetchError::TokenExpired {
            why: "BYE".into(),
            token: None,
        }
    }

    fn pause(next: Next) -> u64 {
        match next {
            Next::Wait { pause, .. } | Next::Blocked { pause, .. } => pause.as_secs(),
            Next::Throttled(pause) => pause.left.as_secs(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_refused_token_gets_one_fresh_one_and_then_a_long_pause() {
        let mut pauses = Pauses::default();
        assert_eq!(pauses.after(&refused(), 0.5), Next::AtOnce);
        let Next::Wait { why, pause } = pauses.after(&refused(), 0.5) else {
            panic!()
        };
        assert_eq!(pause, Duration::from_secs(300));
        assert!(why.contains("fresh access token too"), "{why}");
    }

    #[test]
    fn an_expired_token_opens_a_new_session_at_once() {
        assert_eq!(Pauses::default().after(&expired(), 0.5), Next::AtOnce);
    }

    #[test]
    fn a_time_named_by_the_server_is_kept_to_the_millisecond() {
        let error = FetchError::Patience {
            why: "throttled".into(),
            after: Some(Duration::from_millis(92_415)),
        };
        assert_eq!(
            Pauses::default().after(&error, 0.0),
            Next::Throttled(Pause {
                kind: PauseKind::Told,
                why: "the server asks for a pause of 93 s: throttled".into(),
                left: Duration::from_millis(92_415)
            })
        );
    }

    #[test]
    fn a_throttled_account_waits_longer_each_time_also_when_sessions_begin_well_in_between() {
        let throttled = || FetchError::Patience {
            why: "NO [LIMIT]".into(),
            after: None,
        };
        let mut pauses = Pauses::default();
        for expected in [15, 30, 60] {
            assert_eq!(pause(pauses.after(&throttled(), 0.5)), expected);
            pauses.worked(Duration::from_secs(2));
        }
        pauses.worked(UNTROUBLED);
        assert_eq!(pause(pauses.after(&throttled(), 0.5)), 15);
    }

    #[test]
    fn a_used_up_quota_waits_for_hours_and_says_what_it_waits_for() {
        let mut pauses = Pauses::default();
        let next = pauses.after(&FetchError::Quota("NO [OVERQUOTA]".into()), 0.5);
        assert!(
            matches!(&next, Next::Throttled(pause) if pause.why.contains("quota of this account is used up")),
            "{next:?}"
        );
        assert_eq!(pause(next), 900);
        let waits: Vec<u64> = (0..6)
            .map(|_| pause(pauses.after(&FetchError::Quota(String::new()), 0.5)))
            .collect();
        assert_eq!(waits, [1800, 3600, 7200, 14_400, 14_400, 14_400]);
    }

    #[test]
    fn an_account_that_is_denied_waits_for_a_person_and_knocks_rarely() {
        let mut pauses = Pauses::default();
        let next = pauses.after(&FetchError::Denied("NO [AUTHORIZATIONFAILED]".into()), 0.5);
        assert!(matches!(next, Next::Blocked { .. }), "{next:?}");
        assert_eq!(pause(next), 300);
    }

    #[test]
    fn a_server_that_calls_every_token_expired_is_not_hammered() {
        let mut pauses = Pauses::default();
        assert_eq!(pauses.after(&expired(), 0.5), Next::AtOnce);
        assert_eq!(pause(pauses.after(&expired(), 0.5)), 1);
        assert_eq!(pause(pauses.after(&expired(), 0.5)), 2);
    }

    #[test]
    fn a_refused_password_waits_long_and_says_so() {
        let Next::Wait { why, pause } = Pauses::default().after(
            &FetchError::PasswordRefused("the server said NO".into()),
            0.5,
        ) else {
            panic!()
        };
        assert_eq!(pause, Duration::from_secs(300));
        assert!(why.contains("password"), "{why}");
    }
}
