//! What follows an outcome: (policy, history, outcome, random) -> Next; pure.

use std::time::Duration;

use crate::outcome::Outcome;

/// A peer may ask for a pause, but not for one that hides the message for longer than a day.
const LONGEST_ASKED: Duration = Duration::from_secs(24 * 3600);

/// A message that its account could not carry for so long is held: by then somebody has to decide.
const LONGEST_BLOCKED: Duration = Duration::from_secs(30 * 24 * 3600);

/// Retries are spread by so much either way, so that what failed together doesn't return together.
const SPREAD: f64 = 0.2;

/// Times of a direction's retries.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// Before the first retry; each further one waits twice as long.
    pub first: Duration,
    /// Longest pause.
    pub longest: Duration,
    /// Held when older (blocked time not counted).
    pub keep_trying: Duration,
    /// Held after so many attempts, if set.
    pub attempts: Option<u32>,
    /// Attempts that a Refused gets before it is held: 1 for relays, 3 for ticket commands.
    pub refusals: u32,
    /// Pause before the one second try of a message in doubt.
    pub doubt_pause: Duration,
}

/// What follows.
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    /// The delivery is done.
    Done,
    /// It is due again.
    Again {
        /// After this pause.
        after: Duration,
    },
    /// Blocked: due again, but neither attempts nor age grow.
    Wait {
        /// After this pause.
        after: Duration,
    },
    /// A person decides.
    Hold {
        /// What happened, for that person.
        why: String,
    },
}

/// What the schedule needs to know of a delivery at the moment it is settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct History {
    /// Attempts, the settled one included.
    pub attempts: u32,
    /// Refusals before this outcome.
    pub refusals: u32,
    /// Doubts before this outcome.
    pub doubts: u32,
    /// Since it was taken, or since a person had it retried.
    pub age: Duration,
    /// So much of that age it could not be tried, because its account was blocked.
    pub blocked_for: Duration,
}

/// What follows `outcome`. `random` in 0..1 spreads the retries.
pub fn next(policy: &Policy, history: History, outcome: &Outcome, random: f64) -> Next {
    match outcome {
        Outcome::Delivered { .. } => Next::Done,
        Outcome::Retry { why, after } => again(policy, history, why, *after, random),
        Outcome::Refused { why } => {
            let refusals = history.refusals.saturating_add(1);
            if refusals < policy.refusals {
                return again(policy, history, why, None, random);
            }
            Next::Hold {
                why: match refusals {
                    1 => format!("refused: {why}"),
                    n => format!("refused {n} times, at last: {why}"),
                },
            }
        }
        Outcome::InDoubt { .. } if history.doubts == 0 => Next::Again {
            after: policy.doubt_pause,
        },
        Outcome::InDoubt { why } => Next::Hold {
            why: format!(
                "in doubt twice, it may have arrived; look before you retry it. The last time: {why}"
            ),
        },
        Outcome::Blocked { why, after } => wait(policy, history, why, *after, random),
    }
}

/// The next try, or the end of trying.
fn again(
    policy: &Policy,
    history: History,
    why: &str,
    asked: Option<Duration>,
    random: f64,
) -> Next {
    let trying = history.age.saturating_sub(history.blocked_for);
    if policy.attempts.is_some_and(|most| history.attempts >= most) {
        return Next::Hold {
            why: format!(
                "gave up after {} attempts, at last: {why}",
                history.attempts
            ),
        };
    }
    let Some(left) = policy
        .keep_trying
        .checked_sub(trying)
        .filter(|left| !left.is_zero())
    else {
        return Next::Hold {
            why: format!(
                "gave up after {} ({} attempts), at last: {why}",
                in_words(trying),
                history.attempts
            ),
        };
    };
    let doublings = history.attempts.saturating_sub(1).min(30);
    let pause = policy
        .first
        .saturating_mul(1 << doublings)
        .min(policy.longest);
    let after = match asked {
        Some(asked) => spread(pause, random).max(asked.min(LONGEST_ASKED)),
        None => spread(pause, random),
    };
    // The last try comes when the time is up, not long after it.
    Next::Again {
        after: after.min(left.max(policy.first)),
    }
}

/// The next look at a blocked account: soon at first, then ever more rarely. The pause grows with
/// the time blocked, since no attempts are counted.
fn wait(
    policy: &Policy,
    history: History,
    why: &str,
    asked: Option<Duration>,
    random: f64,
) -> Next {
    if history.blocked_for >= LONGEST_BLOCKED {
        return Next::Hold {
            why: format!(
                "its account could not work for {}: {why}",
                in_words(history.blocked_for)
            ),
        };
    }
    let pause = (history.blocked_for / 2)
        .max(policy.first)
        .min(policy.longest);
    Next::Wait {
        after: match asked {
            Some(asked) => asked.min(LONGEST_ASKED),
            None => spread(pause, random),
        },
    }
}

fn spread(pause: Duration, random: f64) -> Duration {
    pause.mul_f64(1.0 - SPREAD + 2.0 * SPREAD * random.clamp(0.0, 1.0))
}

/// A span of time in its largest fitting unit.
fn in_words(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
#[path = "tests/schedule.rs"]
mod tests;
