//! Waiting for new mail: IDLE with its own strict handling, or a pause between polls.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::connection::{Connection, Said, Socket};
use crate::error::FetchError;

/// What ended a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Woken {
    /// The server announced mail.
    News,
    /// One of the other reasons to look: the caller's own waker.
    Called,
    /// The time is up.
    Time,
}

/// IDLE (RFC 2177) until the server announces something, `called` resolves, or the time is up. The command is always brought to
/// its tagged OK, which may come while the next commands are under way; NO, BYE and the end of the connection are errors.
pub(crate) async fn idle(
    connection: &mut Connection<impl Socket>,
    until: Instant,
    called: impl Future<Output = ()>,
) -> Result<Woken, FetchError> {
    let sent = connection.send("IDLE", "IDLE").await?;
    loop {
        match connection.next(&sent, |_| ()).await? {
            Said::Go(_) => break,
            Said::Untagged(_) => {}
            Said::Done(_) => {
                return Err(FetchError::Again(
                    "the server ended IDLE before it began".into(),
                ));
            }
        }
    }
    tokio::pin!(called);
    let woken = loop {
        // What was announced since the last listing counts too.
        if connection.heard() {
            break Woken::News;
        }
        tokio::select! {
            said = connection.overhear(&sent, |_| ()) => match said? {
                Said::Done(_) => return Ok(Woken::Time),
                Said::Untagged(_) | Said::Go(_) => {}
            },
            () = &mut called => break Woken::Called,
            () = sleep_until(until) => break Woken::Time,
        }
    };
    connection.send_bare(&sent, "DONE").await?;
    if connection.ahead.allowed {
        connection.leave_open(&sent);
        return Ok(woken);
    }
    loop {
        match connection.next(&sent, |_| ()).await? {
            Said::Done(_) => return Ok(woken),
            Said::Untagged(_) | Said::Go(_) => {}
        }
    }
}

/// A pause between polls, without a command under way.
pub(crate) async fn pause(until: Instant, called: impl Future<Output = ()>) -> Woken {
    tokio::select! {
        () = called => Woken::Called,
        () = sleep_until(until) => Woken::Time,
    }
}

/// The longest IDLE: servers may end it after 30 minutes (RFC 2177), some NATs much sooner.
pub(crate) fn longest_idle(minutes: u32) -> Duration {
    Duration::from_secs(u64::from(minutes.clamp(1, 29)) * 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_is_issued_again_when_the_template_says_so_and_always_before_29_minutes() {
        let minutes = |minutes| longest_idle(minutes).as_secs() / 60;
        assert_eq!(
            [25, 9, 29, 30, 1_000, 0].map(minutes),
            [25, 9, 29, 29, 29, 1]
        );
    }
}
