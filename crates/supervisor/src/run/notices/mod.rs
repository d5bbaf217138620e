//! Notices: a look at how everything stands every few seconds, and what follows from it told by the channels that are switched on.
//!
//! `world` gathers, `causes` decides what is wrong (pure), the store keeps one notice for each cause, and `tell` carries what a channel
//! still owes to `command`, `webhook` and `mail`. Each channel goes at its own pace and has its own record of what it has told, so one
//! that fails is tried again without the others. A kill between telling and recording tells that one notice a second time; a mail not
//! even then, for the spool knows it by its key.

mod causes;
mod command;
mod mail;
mod tell;
mod tidings;
mod webhook;
mod world;

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::Handle;
pub(crate) use mail::serves;
use tell::Tellers;
pub(crate) use tell::{Tried, test};

/// Between two looks: an administrator need not know sooner.
const LOOK: Duration = Duration::from_secs(5);
/// A look that takes long (very many tokens that are not well) is followed by a pause so many times as long.
const PAUSE_FOR_WORK: u32 = 20;
/// At a start the accounts appear one by one; before this, one that is not there yet is not gone.
const SETTLED: Duration = Duration::from_secs(60);

/// Looks and tells until shutdown.
pub(super) async fn run(handle: Handle, shutdown: CancellationToken) {
    let begun = Instant::now();
    let mut tellers = Tellers::default();
    loop {
        let look = Instant::now();
        let settled = begun.elapsed() >= SETTLED;
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = look_and_tell(&handle, settled, &mut tellers) => {}
        }
        let pause = LOOK.max(look.elapsed() * PAUSE_FOR_WORK);
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = sleep(pause) => {}
        }
    }
}

async fn look_and_tell(handle: &Handle, settled: bool, tellers: &mut Tellers) {
    if let Err(error) = look(handle, settled).await {
        tracing::error!(%error, "how things stand could not be looked at; no notice is raised or cleared meanwhile");
        return;
    }
    if let Err(error) = tellers.tell(handle).await {
        tracing::error!(%error, "notices could not be read; none is told meanwhile");
    }
}

/// Brings the notices up to date.
async fn look(handle: &Handle, settled: bool) -> anyhow::Result<()> {
    let eyes = handle.clone();
    let causes = tokio::task::spawn_blocking(move || {
        let world = world::look(&eyes, settled)?;
        anyhow::Ok(causes::causes(&world))
    });
    let causes = causes.await??;
    let now = jiff::Timestamp::now().as_second();
    let done = handle.tokens().store().reconcile(causes, now).await?;
    for cause in done.raised {
        tracing::warn!(kind = cause.kind.key(), about = %cause.about, advice = cause.advice, "notice: {}", cause.words);
    }
    for cause in done.cleared {
        tracing::info!(kind = cause.kind.key(), about = %cause.about, "notice cleared: {}", cause.words);
    }
    Ok(())
}
