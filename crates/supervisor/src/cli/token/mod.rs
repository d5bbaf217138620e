//! `postern token`: token configs, their tokens, and the exchange with other programs' documents.

mod access;
mod define;
mod exchange;
mod foreign;
mod grants;
mod import;
mod revoke;
mod show;
mod templates;

use std::path::Path;

use clap::Subcommand;
use token_store::{Store, TokenConfig, TokenId};

use super::exit::{Code, Failure};
use super::office::Office;
use super::{request, table};
pub(super) use access::quickly;
use access::{Access, access};
use grants::{refresh, seed};
use revoke::revoke;
use show::{list, show};
use templates::templates;

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// List token configs and the state of their tokens.
    List {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show one token config, without its secrets.
    Show {
        /// The token config's name.
        name: String,
        /// Ask the provider too what the access token is good for.
        #[arg(long)]
        introspect: bool,
        /// With --introspect: the mailbox user, where the token config gives a token to each.
        #[arg(
            long,
            value_name = "ADDRESS",
            default_value = "",
            requires = "introspect"
        )]
        user: String,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Make a token config from a provider template; the client secret is asked for, or read from standard input.
    #[command(
        after_help = "Example:\n  postern token add support --template microsoft-tenant --variable TenantID=contoso.onmicrosoft.com --client-id 00000000-0000-0000-0000-000000000000"
    )]
    Add(Box<define::Add>),
    /// Sign in at the provider, in a browser or on another device, and keep the tokens it grants.
    #[command(
        after_help = "The provider must know the redirect URI: http://127.0.0.1/oauth2/callback (most ignore the port on this machine; give --port \
                      where yours doesn't), or with --host localhost as Microsoft wants it.\nWhere no browser reaches this machine: --paste, or --device, \
                      or ssh -L PORT:127.0.0.1:PORT this-host\nWho signs in must be the user of the mailboxes that use the token, where the provider \
                      tells; for a shared mailbox name the person with --user, or let anybody in with --any-user."
    )]
    Request(request::Request),
    /// Store a refresh token obtained elsewhere; it is asked for, or read from standard input.
    Seed {
        /// The token config's name.
        name: String,
    },
    /// Refresh a token now.
    Refresh {
        /// The token config's name.
        name: String,
        /// The mailbox user, where the token config gives a token to each.
        #[arg(long, value_name = "ADDRESS", default_value = "")]
        user: String,
    },
    /// Print a fresh access token, for other mail programs and scripts.
    #[command(
        after_help = "Examples:\n  postern token access support\n  postern token access support --format xoauth2 --user support@example.com"
    )]
    Access(Access),
    /// Change a token config that no file declares. Its name and its template stay.
    Edit(Box<define::EditArgs>),
    /// Take a grant back at the provider, and remove its token here once the provider has said yes.
    Revoke {
        /// The token config's name.
        name: String,
        /// Remove the token here only, where the provider has no address for it or is gone.
        #[arg(long)]
        forget: bool,
    },
    /// Write token configs in the exchange format, client secrets included; all of them when none is named.
    #[command(
        after_help = "Examples:\n  postern token export --output /root/\n  postern token export support --without-secrets\n  \
                      postern token export --passphrase --with-tokens --output move.yml    for another installation of Postern"
    )]
    Export(exchange::Export),
    /// Read token configs in the exchange format, or another program's tokens, from a file or from standard input with `-`.
    #[command(
        after_help = "Examples:\n  postern token import PosternTokenConfigs_20261124_100000.yml\n  \
                      postern token import move.yml                                        asks for its passphrase\n  \
                      postern token import --from email-oauth2-proxy emailproxy.config --dry-run\n  \
                      postern token import --from mutt-oauth2 TOKENFILE --as support --client-id ID    asks gpg to decrypt it\n  \
                      postern token import --from sasl-xoauth2 /etc/tokens/support@example.com --as support\n  \
                      postern token import --from getmail support.json --as support"
    )]
    Import(Box<import::Import>),
    /// List the provider templates, or show one with what there is to do at the provider.
    Templates {
        /// A template's name.
        name: Option<String>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Delete a token config and its token; refused while a mailbox or relay uses it.
    Delete {
        /// The token config's name.
        name: String,
    },
}

/// Does what was asked for.
pub(crate) async fn carry_out(file: &Path, command: TokenCommand) -> Result<(), Failure> {
    match command {
        TokenCommand::List { json } => list(&Office::open(file).await?, json),
        TokenCommand::Show {
            name,
            introspect,
            user,
            json,
        } => {
            let office = Office::open(file).await?;
            let id = TokenId::for_subject(&name, &user);
            let known = match introspect {
                true => Some(revoke::introspect(&office, &id).await?),
                false => None,
            };
            show(&office, &name, known.as_ref(), json)
        }
        TokenCommand::Revoke { name, forget } => {
            revoke(&Office::open(file).await?, &name, forget).await
        }
        TokenCommand::Add(order) => define::add(file, *order).await,
        TokenCommand::Request(order) => request::request(file, order).await,
        TokenCommand::Seed { name } => seed(file, &name).await,
        TokenCommand::Refresh { name, user } => {
            refresh(
                &Office::open(file).await?,
                TokenId::for_subject(&name, &user),
            )
            .await
        }
        TokenCommand::Access(order) => access(file, &order).await,
        TokenCommand::Edit(order) => define::edit(file, *order).await,
        TokenCommand::Export(order) => exchange::export(&Office::open(file).await?, &order),
        TokenCommand::Import(order) => import::import(file, *order).await,
        TokenCommand::Templates { name, json } => templates(file, name.as_deref(), json),
        TokenCommand::Delete { name } => delete(&Office::open(file).await?, &name).await,
    }
}

/// A token config by name, or 65 and which names there are.
pub(super) fn named(store: &Store, name: &str) -> Result<TokenConfig, Failure> {
    if let Some(config) = store.token_config(name)? {
        return Ok(config);
    }
    let names: Vec<String> = store
        .token_configs()?
        .into_iter()
        .map(|config| config.entry.name)
        .collect();
    let hint = if names.is_empty() {
        "there are none yet".to_owned()
    } else {
        format!("there are {}", names.join(", "))
    };
    Err(Failure::new(
        Code::Data,
        format!("there is no token config named {name}; {hint}"),
    ))
}

async fn delete(office: &Office, name: &str) -> Result<(), Failure> {
    let store = office.store()?;
    named(&store, name)?;
    store.delete_token_config(name).await?;
    office.tell_changed(name).await?;
    table::line(&format!(
        "{name} and its token are deleted; the provider may still list the grant, where it can be withdrawn"
    ))
}
