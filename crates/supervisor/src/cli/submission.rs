//! `postern submission user`: who may sign in to a submission listener.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::Subcommand;
use token_store::admins::SHORTEST_PASSWORD;
use token_store::{Secret, Store};

use super::exit::{Code, Failure};
use super::office::Office;
use super::{prompt, table};
use crate::config::is_sender;
use crate::run::status::clock;

/// 144 bits; 24 characters that need no quoting anywhere.
const GENERATED_BYTES: usize = 18;

#[derive(Debug, Subcommand)]
pub(crate) enum SubmissionCommand {
    /// Who may sign in to the listeners that ask for it (`auth: required`).
    #[command(subcommand)]
    User(UserCommand),
}

#[derive(Debug, Subcommand)]
pub(crate) enum UserCommand {
    /// Add a user, or give one a new password; it is asked for, or read from standard input.
    Add {
        /// The name to sign in with.
        name: String,
        /// An address or @DOMAIN that the user may send as, once for each; without it, every sender that a relay serves.
        #[arg(long = "from", value_name = "SENDER")]
        senders: Vec<String>,
        /// Make a password and print it; it is shown only now.
        #[arg(long)]
        generate: bool,
    },
    /// List the users.
    List {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Remove a user: from the next sign-in on.
    Delete {
        /// The user's name.
        name: String,
    },
}

/// Does what was asked for.
pub(crate) async fn carry_out(file: &Path, command: SubmissionCommand) -> Result<(), Failure> {
    let SubmissionCommand::User(command) = command;
    match command {
        UserCommand::Add {
            name,
            senders,
            generate,
        } => add(file, &name, senders, generate).await,
        UserCommand::List { json } => list(&Office::open(file).await?.store()?, json),
        UserCommand::Delete { name } => {
            let store = Office::open(file).await?.store()?;
            store.delete_submitter(&name).await?;
            let done = format!("removed the submission user {name}");
            store.audit("command line", &done).await?;
            table::line(&format!("{name} can sign in no more"))
        }
    }
}

async fn add(file: &Path, name: &str, senders: Vec<String>, generate: bool) -> Result<(), Failure> {
    let wrong = senders.iter().find(|s| !s.contains('@') || !is_sender(s));
    if let Some(wrong) = wrong {
        let words = format!("\"{wrong}\" is neither an address nor @DOMAIN; nothing was changed");
        return Err(Failure::new(Code::Data, words));
    }
    let password = match generate {
        true => generated()?,
        false => prompt::new_password(&format!("new password for {name}"))?,
    };
    if password.expose().chars().count() < SHORTEST_PASSWORD {
        let words =
            format!("a password has at least {SHORTEST_PASSWORD} characters; nothing was changed");
        return Err(Failure::new(Code::Data, words));
    }
    let store = Office::open(file).await?.store()?;
    let shown = generate.then(|| password.clone());
    let senders = Some(senders).filter(|senders| !senders.is_empty());
    let is_new = store.set_submitter(name, password, senders).await?;
    let done = match is_new {
        true => format!("added the submission user {name}"),
        false => format!("set the password of the submission user {name}"),
    };
    store.audit("command line", &done).await?;
    table::line(&format!("{name} can sign in with the new password"))?;
    match shown {
        Some(password) => table::line(&format!("password: {}", password.expose())),
        None => Ok(()),
    }
}

fn generated() -> Result<Secret, Failure> {
    let mut bytes = [0; GENERATED_BYTES];
    getrandom::fill(&mut bytes).map_err(|error| {
        let words = format!("the system gave no random bytes: {error}");
        Failure::new(Code::Software, words)
    })?;
    Ok(Secret::new(URL_SAFE_NO_PAD.encode(bytes)))
}

fn list(store: &Store, json: bool) -> Result<(), Failure> {
    let users = store.list_submitters()?;
    if json {
        return table::json(&users);
    }
    if users.is_empty() {
        return table::line(
            "there is no submission user; `postern submission user add NAME` makes one",
        );
    }
    let rows: Vec<[String; 3]> = users
        .iter()
        .map(|user| {
            let senders = match user.senders.as_slice() {
                [] => "every sender".to_owned(),
                senders => senders.join(", "),
            };
            [user.name.clone(), senders, clock(user.changed_at)]
        })
        .collect();
    table::print(["NAME", "MAY SEND AS", "PASSWORD SINCE"], &rows)
}
