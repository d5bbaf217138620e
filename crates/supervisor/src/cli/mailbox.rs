//! `postern mailbox`: the accounts that are fetched.

use std::path::Path;

use clap::Subcommand;

use super::exit::Failure;
use super::office::Office;
use super::{status, table};
use crate::control::Question;

#[derive(Debug, Subcommand)]
pub(crate) enum MailboxCommand {
    /// List mailboxes and how they fare.
    List {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Fetch a mailbox now, without waiting for its next turn.
    Fetch {
        /// The mailbox's name.
        name: String,
        /// Ask the server even before the time until which it wants to be left alone.
        #[arg(long)]
        now: bool,
    },
}

/// Does what was asked for.
pub(crate) async fn carry_out(file: &Path, command: MailboxCommand) -> Result<(), Failure> {
    let office = Office::open(file).await?;
    match command {
        MailboxCommand::List { json } => {
            let report = status::report(&office).await?;
            if json {
                table::json(&report.mailboxes)
            } else {
                status::print_accounts(&report.mailboxes)
            }
        }
        MailboxCommand::Fetch { name, now } => {
            office
                .need_daemon()?
                .ask(&Question::Fetch {
                    mailbox: name.clone(),
                    now,
                })
                .await?;
            table::line(&format!("{name} is being fetched"))
        }
    }
}
