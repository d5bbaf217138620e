//! `postern relay`: the services that replies leave through.

use std::path::Path;

use clap::Subcommand;

use super::exit::Failure;
use super::office::Office;
use super::{status, table};

#[derive(Debug, Subcommand)]
pub(crate) enum RelayCommand {
    /// List relays and how they fare.
    List {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Does what was asked for.
pub(crate) async fn carry_out(file: &Path, command: RelayCommand) -> Result<(), Failure> {
    let RelayCommand::List { json } = command;
    let report = status::report(&Office::open(file).await?).await?;
    if json {
        table::json(&report.relays)
    } else {
        status::print_accounts(&report.relays)
    }
}
