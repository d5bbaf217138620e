//! `postern notices`: what needs an administrator, where it was told, and a test of the channels.

use std::path::Path;

use clap::{Args, Subcommand};

use super::exit::{Code, Failure};
use super::office::{Office, answered};
use super::table;
use crate::control::Question;
use crate::run::notices::Tried;
use crate::run::status::{NoticeLine, clock};

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct NoticesCommand {
    /// Those that were cleared in the last week as well.
    #[arg(long)]
    all: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(subcommand)]
    command: Option<Which>,
}

#[derive(Debug, Subcommand)]
enum Which {
    /// Tell a test by every channel that is switched on; says how each fared.
    Test,
}

/// Lists, or tests.
pub(crate) async fn carry_out(file: &Path, command: NoticesCommand) -> Result<(), Failure> {
    let office = Office::open(file).await?;
    match command.command {
        Some(Which::Test) => test(&office).await,
        None => list(&office, &command),
    }
}

fn list(office: &Office, command: &NoticesCommand) -> Result<(), Failure> {
    let notices = office.store()?.notices()?.into_iter();
    let lines = notices.filter(|notice| command.all || notice.is_open());
    let lines: Vec<NoticeLine> = lines.map(NoticeLine::from).collect();
    if command.json {
        return table::json(&lines);
    }
    if lines.is_empty() {
        return table::line("nothing needs you");
    }
    for line in &lines {
        print(line)?;
    }
    Ok(())
}

/// One notice, a line for what is wrong and one for what to do; the same in `postern status`.
pub(super) fn print(notice: &NoticeLine) -> Result<(), Failure> {
    let state = match notice.cleared_at {
        Some(at) => format!("since {}, mended {}", clock(notice.since), clock(at)),
        None => format!("since {}", clock(notice.since)),
    };
    let words = table::one_line(&notice.words);
    table::line(&format!(
        "{} ({state}): {words}",
        table::one_line(&notice.about)
    ))?;
    if notice.cleared_at.is_none() {
        let advice = table::one_line(&notice.advice);
        table::line(&format!("    what to do: {advice}"))?;
    }
    for told in &notice.told {
        let at = match (told.raised_at, told.mended_at) {
            (Some(raised), Some(mended)) if mended >= raised => {
                format!("told as mended {}", clock(mended))
            }
            (Some(raised), _) => format!("told {}", clock(raised)),
            (None, _) => "not told yet".to_owned(),
        };
        let trouble = told.error.as_deref().map(table::one_line);
        let trouble = trouble.map_or_else(String::new, |error| {
            format!("; the last try failed: {error}")
        });
        table::line(&format!("    {}: {at}{trouble}", told.channel))?;
    }
    Ok(())
}

async fn test(office: &Office) -> Result<(), Failure> {
    let daemon = office.need_daemon()?;
    let tried = daemon.ask(&Question::TestNotices).await?;
    let tried: Vec<Tried> = answered(tried)?;
    if tried.is_empty() {
        return table::line(
            "no channel is switched on: `notices` in postern.yaml has command, webhook and mail_to",
        );
    }
    for one in &tried {
        let how = match &one.error {
            None => "told".to_owned(),
            Some(error) => format!("failed: {}", table::one_line(error)),
        };
        table::line(&format!("{}: {how}", one.channel))?;
    }
    if tried.iter().any(|one| one.error.is_some()) {
        return Err(Failure::silent(Code::Failed));
    }
    Ok(())
}
