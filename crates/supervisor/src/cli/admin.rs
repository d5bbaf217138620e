//! `postern admin`: who may sign in to the admin page.

use std::path::Path;

use clap::Subcommand;

use super::exit::{Code, Failure};
use super::office::Office;
use super::{prompt, table};

/// Shorter ones are guessed, whatever the hash.
const SHORTEST_PASSWORD: usize = 8;

#[derive(Debug, Subcommand)]
pub(crate) enum AdminCommand {
    /// Set an administrator's password; it is asked for, or read from standard input. Their sessions end.
    Password {
        /// Who.
        #[arg(default_value = "admin")]
        name: String,
    },
}

/// Does what was asked for.
pub(crate) async fn carry_out(file: &Path, command: AdminCommand) -> Result<(), Failure> {
    let AdminCommand::Password { name } = command;
    let password = prompt::new_password(&format!("new password for {name}"))?;
    if password.expose().chars().count() < SHORTEST_PASSWORD {
        return Err(Failure::new(
            Code::Data,
            format!("a password has at least {SHORTEST_PASSWORD} characters; nothing was changed"),
        ));
    }
    let office = Office::open(file).await?;
    let store = office.store()?;
    store.set_admin_password(&name, password).await?;
    store
        .audit("command line", &format!("set the password of {name}"))
        .await?;
    table::line(&format!("{name} can sign in with the new password"))
}
