//! `postern admin`: who may sign in to the admin page.

use std::path::Path;

use clap::Subcommand;
use sender::Listen;
use token_store::admins::SHORTEST_PASSWORD;

use super::exit::{Code, Failure};
use super::office::Office;
use super::{prompt, table};
use crate::config::Config;

#[derive(Debug, Subcommand)]
pub(crate) enum AdminCommand {
    /// Set an administrator's password; it is asked for, or read from standard input. Their sessions end.
    Password {
        /// Who.
        #[arg(default_value = "admin")]
        name: String,
    },
    /// Make a link to the admin page, good once and for 15 minutes: it leads through a password and the first steps.
    Link {
        /// For whom; the administrator need not exist yet.
        #[arg(default_value = "admin")]
        name: String,
    },
}

/// Does what was asked for.
pub(crate) async fn carry_out(file: &Path, command: AdminCommand) -> Result<(), Failure> {
    match command {
        AdminCommand::Password { name } => password(file, &name).await,
        AdminCommand::Link { name } => link(file, &name).await,
    }
}

async fn password(file: &Path, name: &str) -> Result<(), Failure> {
    let password = prompt::new_password(&format!("new password for {name}"))?;
    if password.expose().chars().count() < SHORTEST_PASSWORD {
        return Err(Failure::new(
            Code::Data,
            format!("a password has at least {SHORTEST_PASSWORD} characters; nothing was changed"),
        ));
    }
    let office = Office::open(file).await?;
    let store = office.store()?;
    store.set_admin_password(name, password).await?;
    store
        .audit("command line", &format!("set the password of {name}"))
        .await?;
    table::line(&format!("{name} can sign in with the new password"))
}

async fn link(file: &Path, name: &str) -> Result<(), Failure> {
    let office = Office::open(file).await?;
    let page = page_url(&office.config)?;
    let store = office.store()?;
    let key = store.make_admin_link(name).await?;
    store
        .audit("command line", &format!("made a one-time link for {name}"))
        .await?;
    table::line(&format!("{page}/welcome/{}", key.expose()))?;
    eprintln!(
        "postern: open it in a browser within 15 minutes; it counts once, and sets a new password for {name}"
    );
    if office.daemon().is_none() {
        eprintln!("postern: the daemon does not run; start it first");
    }
    Ok(())
}

/// The admin page's address for browsers.
fn page_url(config: &Config) -> Result<String, Failure> {
    let Some(web) = &config.web else {
        let why = "the admin page is switched off (web: off); nothing was changed";
        return Err(Failure::new(Code::Configuration, why));
    };
    match (&web.public_url, &web.listen) {
        (Some(url), _) => Ok(url.clone()),
        (None, Listen::Tcp(address)) if address.port() != 0 => Ok(format!("http://{address}")),
        (None, _) => {
            let why = "the admin page's address is not known here; set web.public_url";
            Err(Failure::new(Code::Configuration, why))
        }
    }
}
