//! `postern demo`: the whole gateway against the built-in pretend provider, told live on the screen.
//!
//! The stage is a temporary folder, a pretend provider with short-lived tokens, and the very gateway that `postern run`
//! starts, from a real `postern.yaml`. Customers' letters are put into the helpdesk's mailbox; the ticket command, which is this
//! same binary, files each and answers the questions among them; the answers leave through the provider. A watcher
//! compares what went in with what came out, both ways, by SHA-256.
//!
//! `postern demo` plays until Ctrl-C. `postern demo --once` plays one fixed story, checks itself, and its exit code says
//! whether anything was lost, doubled or changed.

mod ledger;
mod letters;
mod screen;
mod smtp;
mod stage;
mod story;
mod ticket;
mod watch;

use std::process::ExitCode;

use screen::Screen;
use stage::Stage;
use story::Stop;
use watch::Watch;

pub(crate) use ticket::ticket;

/// The one mailbox of the demo, and who answers from it.
const HELPDESK: &str = "helpdesk@sandbox.test";
/// Who gets a copy of urgent answers.
const ON_CALL: &str = "oncall@sandbox.test";
/// The name of token config, mailbox and relay alike.
const ACCOUNT: &str = "helpdesk";

/// Runs the demo: a fixed story that checks itself (`once`), or until Ctrl-C. It starts a log of its own, in its
/// temporary folder, so that the screen stays readable.
pub(crate) async fn run(once: bool) -> anyhow::Result<ExitCode> {
    // Before anything exists that would have to be removed.
    let mut stop = Stop::new()?;
    let mut screen = Screen::new();
    let mut stage = Stage::set(once).await?;
    screen.opening(&stage, once);
    let mut watch = Watch::new(&stage);
    let played = if once {
        story::once(&stage, &mut watch, &screen, &mut stop).await
    } else {
        story::live(&stage, &mut watch, &screen, &mut stop).await
    };
    let judged = played.and_then(|end| watch.problems(once, end));
    stage.strike(&screen).await;
    let mut problems = judged?;
    // What a room still did while it drained counts as well.
    watch.look()?;
    problems.extend(watch.mismatches());
    if !problems.is_empty() && !watch.was_cut_short() {
        screen.log(&stage.last_log_lines());
    }
    screen.ending(&watch.totals()?, &problems);
    Ok(if problems.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
