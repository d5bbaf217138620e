//! `postern mailbox`: the accounts that are fetched.

use std::path::Path;

use clap::{Args, Subcommand};
use token_store::accounts::{Kind, Order};

use super::account::{self, Delivery, Keys, Renewed, put, put_list};
use super::exit::Failure;
use super::office::Office;
use super::{check, status, table};
use crate::control::Question;

#[derive(Debug, Subcommand)]
pub(crate) enum MailboxCommand {
    /// List mailboxes and how they fare.
    List {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show one mailbox by the keys of the configuration file, and how it fares.
    Show {
        /// The mailbox's name.
        name: String,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Add a mailbox.
    #[command(after_help = "Examples:\n  \
            postern mailbox add support --user support@example.com --token support -- /opt/znuny/bin/znuny.Console.pl Maint::PostMaster::Read --untrusted\n  \
            postern mailbox add desk --template google --user desk@example.com --maildir /var/mail/desk    asks for the password\n  \
            postern mailbox add old --protocol pop3 --host pop.example.net --user old --after keep --set poll=10m --maildir /var/mail/old")]
    Add {
        /// The new mailbox's name.
        name: String,
        #[command(flatten)]
        given: Box<GivenMailbox>,
        /// Add it paused.
        #[arg(long)]
        paused: bool,
    },
    /// Change a mailbox that no file declares; what is not named stays as it is.
    #[command(
        after_help = "Examples:\n  postern mailbox edit support --folder INBOX --folder Sales\n  postern mailbox edit support --password\n  \
            postern mailbox edit support --unset rate --set max_size=50MiB"
    )]
    Edit {
        /// The mailbox's name.
        name: String,
        #[command(flatten)]
        given: Box<GivenMailbox>,
        #[command(flatten)]
        renewed: Renewed,
    },
    /// Delete a mailbox that no file declares; refused while messages of it are not delivered. The mailbox itself is not touched.
    Delete {
        /// The mailbox's name.
        name: String,
    },
    /// Stop fetching, also over restarts, until `resume`; what is being delivered ends first. Also for a mailbox that a file declares.
    Pause {
        /// The mailbox's name.
        name: String,
    },
    /// Fetch a paused mailbox again.
    Resume {
        /// The mailbox's name.
        name: String,
    },
    /// Connect, sign in, look for the folders and at where messages go, step by step; nothing is fetched or delivered.
    Test {
        /// The mailbox's name.
        name: String,
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

/// The keys of a mailbox.
#[derive(Debug, Default, Args)]
pub(crate) struct GivenMailbox {
    #[command(flatten)]
    keys: Keys,
    /// imap or pop3.
    #[arg(long, value_name = "PROTOCOL")]
    protocol: Option<String>,
    /// A folder to fetch; may be repeated. Default: INBOX.
    #[arg(long = "folder", value_name = "FOLDER")]
    folders: Vec<String>,
    /// idle, or a duration between polls such as 1m.
    #[arg(long, value_name = "HOW")]
    watch: Option<String>,
    /// What the first fetch takes: all, now, or a date.
    #[arg(long, value_name = "WHAT")]
    start_from: Option<String>,
    /// What becomes of a delivered message in the mailbox: delete, seen or keep.
    #[arg(long, value_name = "WHAT", conflicts_with = "move_to")]
    after: Option<String>,
    /// Move delivered messages to this folder, which is made if it is missing.
    #[arg(long, value_name = "FOLDER")]
    move_to: Option<String>,
    #[command(flatten)]
    delivery: Delivery,
}

impl GivenMailbox {
    fn order(&self) -> Result<Order, Failure> {
        let mut order = Order::default();
        put(&mut order, "protocol", self.protocol.as_ref());
        put_list(&mut order, "folders", &self.folders);
        put(&mut order, "watch", self.watch.as_ref());
        put(&mut order, "start_from", self.start_from.as_ref());
        put(&mut order, "after", self.after.as_ref());
        if let Some(folder) = &self.move_to {
            order.set_text("after.move", folder);
            order.set_text("after.create", "true");
        }
        self.delivery.put(&mut order);
        self.keys.put(&mut order)?;
        Ok(order)
    }
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
        MailboxCommand::Show { name, json } => {
            account::show(&office, Kind::Mailbox, &name, json).await
        }
        MailboxCommand::Add {
            name,
            given,
            paused,
        } => {
            let mut order = given.order()?;
            order.set_text("name", name);
            account::add(&office, Kind::Mailbox, order, paused).await
        }
        MailboxCommand::Edit {
            name,
            given,
            renewed,
        } => account::edit(&office, Kind::Mailbox, &name, given.order()?, &renewed).await,
        MailboxCommand::Delete { name } => account::delete(&office, Kind::Mailbox, &name).await,
        MailboxCommand::Pause { name } => account::pause(&office, Kind::Mailbox, &name, true).await,
        MailboxCommand::Resume { name } => {
            account::pause(&office, Kind::Mailbox, &name, false).await
        }
        MailboxCommand::Test { name } => check::account(&office, Kind::Mailbox, &name, None).await,
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
