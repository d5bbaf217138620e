//! `postern relay`: the services that replies leave through.

use std::path::Path;

use clap::{Args, Subcommand};
use token_store::accounts::{Kind, Order};

use super::account::{self, Keys, Renewed, put, put_list};
use super::exit::Failure;
use super::office::Office;
use super::{check, status, table};

#[derive(Debug, Subcommand)]
pub(crate) enum RelayCommand {
    /// List relays and how they fare.
    List {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show one relay by the keys of the configuration file, and how it fares.
    Show {
        /// The relay's name.
        name: String,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Add a relay.
    #[command(after_help = "Examples:\n  \
            postern relay add support --user support@example.com --token support --sender support@example.com --sender @example.org\n  \
            postern relay add others --host smtp.example.net --user helpdesk@example.net --sender '*'    asks for the password")]
    Add {
        /// The new relay's name.
        name: String,
        #[command(flatten)]
        given: Box<GivenRelay>,
        /// Add it paused.
        #[arg(long)]
        paused: bool,
    },
    /// Change a relay that no file declares; what is not named stays as it is.
    Edit {
        /// The relay's name.
        name: String,
        #[command(flatten)]
        given: Box<GivenRelay>,
        #[command(flatten)]
        renewed: Renewed,
    },
    /// Delete a relay that no file declares; refused while replies wait for it or are held.
    Delete {
        /// The relay's name.
        name: String,
    },
    /// Stop sending, also over restarts, until `resume`; replies are taken and wait. Also for a relay that a file declares.
    Pause {
        /// The relay's name.
        name: String,
    },
    /// Send through a paused relay again.
    Resume {
        /// The relay's name.
        name: String,
    },
    /// Connect and sign in, step by step; with an address a test message is sent there, past the queue.
    Test {
        /// The relay's name.
        name: String,
        /// Where the test message goes.
        #[arg(long, value_name = "ADDRESS")]
        to: Option<String>,
    },
}

/// The keys of a relay.
#[derive(Debug, Default, Args)]
pub(crate) struct GivenRelay {
    #[command(flatten)]
    keys: Keys,
    /// An envelope sender it serves: an address, @DOMAIN, or `*` for all others; may be repeated.
    #[arg(long = "sender", value_name = "SENDER")]
    senders: Vec<String>,
    /// Connections at the same time. Default: the template's limit.
    #[arg(long, value_name = "NUMBER")]
    connections: Option<String>,
    /// Messages a minute, such as 30/min. Default: the template's limit.
    #[arg(long, value_name = "RATE")]
    rate: Option<String>,
    /// Where reports of undeliverable replies go: into this mailbox's ticket command.
    #[arg(long, value_name = "MAILBOX")]
    bounces_to_mailbox: Option<String>,
    /// Or by this relay to an address.
    #[arg(long, value_name = "ADDRESS", conflicts_with = "bounces_to_mailbox")]
    bounces_to_address: Option<String>,
}

impl GivenRelay {
    fn order(&self) -> Result<Order, Failure> {
        let mut order = Order::default();
        put_list(&mut order, "senders", &self.senders);
        put(&mut order, "connections", self.connections.as_ref());
        put(&mut order, "rate", self.rate.as_ref());
        put(
            &mut order,
            "bounces_to.mailbox",
            self.bounces_to_mailbox.as_ref(),
        );
        put(
            &mut order,
            "bounces_to.address",
            self.bounces_to_address.as_ref(),
        );
        self.keys.put(&mut order)?;
        Ok(order)
    }
}

/// Does what was asked for.
pub(crate) async fn carry_out(file: &Path, command: RelayCommand) -> Result<(), Failure> {
    let office = Office::open(file).await?;
    match command {
        RelayCommand::List { json } => {
            let report = status::report(&office).await?;
            if json {
                table::json(&report.relays)
            } else {
                status::print_accounts(&report.relays)
            }
        }
        RelayCommand::Show { name, json } => account::show(&office, Kind::Relay, &name, json).await,
        RelayCommand::Add {
            name,
            given,
            paused,
        } => {
            let mut order = given.order()?;
            order.set_text("name", name);
            account::add(&office, Kind::Relay, order, paused).await
        }
        RelayCommand::Edit {
            name,
            given,
            renewed,
        } => account::edit(&office, Kind::Relay, &name, given.order()?, &renewed).await,
        RelayCommand::Delete { name } => account::delete(&office, Kind::Relay, &name).await,
        RelayCommand::Pause { name } => account::pause(&office, Kind::Relay, &name, true).await,
        RelayCommand::Test { name, to } => {
            check::account(&office, Kind::Relay, &name, to.as_deref()).await
        }
        RelayCommand::Resume { name } => account::pause(&office, Kind::Relay, &name, false).await,
    }
}
