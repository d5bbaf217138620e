//! `postern queue`: messages in flight, and what a person may do with them.

mod act;
mod choose;
mod list;
mod show;

use std::path::{Path, PathBuf};

use clap::Subcommand;

use super::exit::Failure;
use super::office::Office;
use act::Action;
use choose::{Chosen, Filter};

#[derive(Debug, Subcommand)]
pub(crate) enum QueueCommand {
    /// List messages in flight.
    #[command(
        after_help = "Examples:\n  postern queue list --held\n  postern queue list --relay support --domain example.org"
    )]
    List {
        #[command(flatten)]
        filter: Filter,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show one message: its headers, its deliveries and their last words, and what the command wrote.
    #[command(
        after_help = "Examples:\n  postern queue show 12\n  postern queue show 12 --output message.eml\n  postern queue show 12 --raw | formail -x Subject"
    )]
    Show {
        /// The message's number, as `postern queue list` shows it.
        id: i64,
        /// Print JSON.
        #[arg(long, conflicts_with_all = ["raw", "output"])]
        json: bool,
        /// Write the message itself, byte for byte, to standard output.
        #[arg(long, conflicts_with = "output")]
        raw: bool,
        /// Write the message itself, byte for byte, to a new file.
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Try messages again now; held ones start anew, with all their attempts.
    #[command(
        after_help = "Examples:\n  postern queue retry 12 13\n  postern queue retry --all --held\n  postern queue retry --relay support --domain example.org"
    )]
    Retry(Chosen),
    /// Hold messages until they are released, retried or deleted. One that is being delivered right now is held if that attempt fails.
    Hold {
        #[command(flatten)]
        chosen: Chosen,
        /// Why, for those who find it held.
        #[arg(long, value_name = "TEXT", default_value = "")]
        reason: String,
    },
    /// Give held messages back to the schedule as they were, due now. One that was given up gets one more attempt; `retry` starts it anew.
    Release(Chosen),
    /// Delete messages for good: by number, or all held ones with `--all --held`. Of an inbound message the mailbox keeps its own
    /// copy, which is not fetched again.
    #[command(
        after_help = "Examples:\n  postern queue delete 12\n  postern queue delete --all --held --mailbox support --yes"
    )]
    Delete {
        #[command(flatten)]
        chosen: Chosen,
        /// Don't ask. Needed where there is no terminal to ask on.
        #[arg(long)]
        yes: bool,
    },
}

/// Does what was asked for.
pub(crate) async fn carry_out(file: &Path, command: QueueCommand) -> Result<(), Failure> {
    let office = Office::open(file).await?;
    let spool = office.spool()?;
    let (chosen, action) = match command {
        QueueCommand::List { filter, json } => {
            return list::list(&filter.select(&spool)?, json);
        }
        QueueCommand::Show {
            id,
            json,
            raw,
            output,
        } => {
            let entry = choose::entry(&spool, id)?;
            return match output {
                Some(file) => show::save(&spool, &entry, &file).await,
                None if raw => show::raw(&spool, &entry).await,
                None => show::show(&spool, &entry, json).await,
            };
        }
        QueueCommand::Retry(chosen) => (chosen, Action::Retry),
        QueueCommand::Hold { chosen, reason } => (chosen, Action::Hold { reason }),
        QueueCommand::Release(chosen) => (chosen, Action::Release),
        QueueCommand::Delete { chosen, yes } => {
            chosen.may_be_deleted()?;
            (chosen, Action::Delete { yes })
        }
    };
    let rows = chosen.select(&spool)?;
    act::act(&office, &spool, &rows, &action).await
}
