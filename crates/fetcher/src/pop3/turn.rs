//! The time that a server wants between two sign-ins (LOGIN-DELAY, RFC 2449 section 6.5). It is kept in the spool: a restart is no
//! reason to come early.

use std::time::Duration;

use spool::{Direction, Pause, PauseKind};
use tokio::time::sleep;

use crate::error::FetchError;
use crate::session::{Context, peer};

/// After a sign-in.
pub(super) async fn keep(context: &Context, delay: Option<Duration>) -> Result<(), FetchError> {
    let Some(left) = delay else { return Ok(()) };
    let Context { mailbox, parts, .. } = context;
    let pause = Pause {
        kind: PauseKind::Turn,
        why: "the server allows no earlier sign-in (LOGIN-DELAY)".to_owned(),
        left,
    };
    parts
        .spool
        .keep_pause(Direction::In, &mailbox.name, &peer(mailbox), &pause)
        .await?;
    Ok(())
}

/// Waits until the server takes a sign-in again; false at shutdown. Whoever wants a fetch before waits too, but a person who lifts the
/// pause.
pub(super) async fn wait(context: &Context) -> Result<bool, FetchError> {
    let Context { mailbox, parts, .. } = context;
    loop {
        let pauses = parts
            .spool
            .pauses(Direction::In, &mailbox.name, &peer(mailbox))?;
        let turn = |pause: &Pause| pause.kind == PauseKind::Turn;
        let Some(Pause { why, left, .. }) = pauses.into_iter().find(turn) else {
            return Ok(true);
        };
        let seconds = left.as_secs();
        context
            .show
            .session(format!("waiting for {seconds} s: {why}"));
        tokio::select! {
            () = sleep(left) => {}
            () = parts.poke.notified() => {}
            () = context.stops.shutdown.cancelled() => return Ok(false),
        }
    }
}
