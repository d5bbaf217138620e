//! Failed sign-ins from one address: one try at a time, each slower than the one before.
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

/// Wrong passwords that cost nothing but the hash: a person's typing errors, a helpdesk's workers after a change.
const FREE_FAILURES: u32 = 3;
/// The pause after the next one; it doubles with each more.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause, well below the minutes for which clients wait for a reply.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// After so much time without one, failures are forgotten.
const FORGOTTEN: Duration = Duration::from_secs(900);

/// Whoever tries passwords from one address.
pub(super) struct Guesser {
    turn: Semaphore,
    failures: Mutex<Failures>,
}

#[derive(Default, Clone, Copy)]
struct Failures {
    count: u32,
    last: Option<Instant>,
}

impl Default for Guesser {
    fn default() -> Self {
        Self {
            turn: Semaphore::new(1),
            failures: Mutex::default(),
        }
    }
}

impl Guesser {
    /// Tries at the same time come one after the other. None: never, the semaphore stays open.
    pub(super) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        self.turn.acquire().await.ok()
    }

    /// How long the next try has to wait.
    pub(super) fn pause(&self, now: Instant) -> Duration {
        pause(*self.lock(), now)
    }

    /// How a try ended.
    pub(super) fn note(&self, was_right: bool, now: Instant) {
        let mut failures = self.lock();
        let count = match was_right || is_old(*failures, now) {
            true => 0,
            false => failures.count,
        };
        *failures = Failures {
            count: count.saturating_add(u32::from(!was_right)),
            last: Some(now),
        };
    }

    fn lock(&self) -> MutexGuard<'_, Failures> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_old(failures: Failures, now: Instant) -> bool {
    failures
        .last
        .is_none_or(|last| now.duration_since(last) >= FORGOTTEN)
}

fn pause(failures: Failures, now: Instant) -> Duration {
    match failures.count.checked_sub(FREE_FAILURES) {
        Some(over) if !is_old(failures, now) => FIRST_PAUSE
            .saturating_mul(1 << over.min(16))
            .min(LONGEST_PAUSE),
        _ => Duration::ZERO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_cap_and_end_with_the_right_password_or_with_time() {
        let (guesser, now) = (Guesser::default(), Instant::now());
        let mut pauses = Vec::new();
        for _ in 0..10 {
            pauses.push(guesser.pause(now).as_secs());
            guesser.note(false, now);
        }
        assert_eq!(pauses, [0, 0, 0, 1, 2, 4, 8, 16, 30, 30]);
        assert_eq!(guesser.pause(now + FORGOTTEN), Duration::ZERO);
        guesser.note(false, now + FORGOTTEN);
        assert_eq!(
            guesser.pause(now + FORGOTTEN),
            Duration::ZERO,
            "counted anew"
        );
        (0..5).for_each(|_| guesser.note(false, now));
        guesser.note(true, now);
        assert_eq!(guesser.pause(now), Duration::ZERO);
    }
}
