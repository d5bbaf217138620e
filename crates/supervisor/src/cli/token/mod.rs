//! `postern token`: token configs, their tokens, and the exchange with other programs' documents.

mod exchange;
mod grants;
mod show;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use provider_template::{Endpoints, Order};
use token_store::{Store, TokenConfig, TokenId};

use super::exit::{Code, Failure};
use super::office::Office;
use super::{prompt, request, table};
use exchange::{export, import};
use grants::{access, refresh, seed};
use show::{list, show, templates};

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
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Make a token config from a provider template; the client secret is asked for, or read from standard input.
    #[command(
        after_help = "Example:\n  postern token add support --template microsoft-tenant --variable TenantID=contoso.onmicrosoft.com --client-id 00000000-0000-0000-0000-000000000000"
    )]
    Add(Add),
    /// Sign in at the provider in a browser, and keep the tokens it grants.
    #[command(
        after_help = "The provider must know the redirect URI: http://127.0.0.1/oauth2/callback (most ignore the port on this machine; give --port \
                      where yours doesn't), or with --host localhost as Microsoft wants it. From another machine: ssh -L PORT:127.0.0.1:PORT this-host"
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
    /// Print a fresh access token, for scripts.
    Access {
        /// The token config's name.
        name: String,
        /// The mailbox user, where the token config gives a token to each.
        #[arg(long, value_name = "ADDRESS", default_value = "")]
        user: String,
    },
    /// Write token configs in the exchange format, client secrets included; all of them when none is named.
    Export {
        /// Token configs' names.
        names: Vec<String>,
        /// Leave client secrets empty.
        #[arg(long)]
        without_secrets: bool,
        /// Write to this file, readable for you alone, instead of standard output.
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Read token configs in the exchange format from a file, or from standard input with `-`.
    Import {
        /// The document; `-` is standard input.
        file: PathBuf,
        /// Change entries of the same name too; otherwise they are left alone.
        #[arg(long)]
        overwrite: bool,
    },
    /// List the provider templates.
    Templates {
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

#[derive(Debug, Args)]
pub(crate) struct Add {
    /// The new token config's name.
    name: String,
    /// The provider template; `postern token templates` lists them.
    #[arg(long, short)]
    template: String,
    /// The client ID that the provider gave this registration.
    #[arg(long)]
    client_id: String,
    /// The registration has no client secret (a public client); don't ask for one.
    #[arg(long)]
    public_client: bool,
    /// A variable of the template; may be repeated.
    #[arg(long = "variable", value_name = "NAME=VALUE", value_parser = variable)]
    variables: Vec<(String, String)>,
    /// Scopes instead of the template's, separated by spaces.
    #[arg(long)]
    scope: Option<String>,
    /// The authorisation endpoint instead of the template's.
    #[arg(long, value_name = "URL")]
    authorize: Option<String>,
    /// The token endpoint instead of the template's.
    #[arg(long, value_name = "URL")]
    token: Option<String>,
    /// The OpenID Connect issuer to discover endpoints from.
    #[arg(long, value_name = "URL")]
    discovery: Option<String>,
}

fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() && !value.is_empty() => {
            Ok((name.to_owned(), value.to_owned()))
        }
        _ => Err("expected NAME=VALUE".to_owned()),
    }
}

/// Does what was asked for.
pub(crate) async fn carry_out(file: &Path, command: TokenCommand) -> Result<(), Failure> {
    match command {
        TokenCommand::List { json } => list(&Office::open(file).await?, json),
        TokenCommand::Show { name, json } => show(&Office::open(file).await?, &name, json),
        TokenCommand::Add(order) => add(file, order).await,
        TokenCommand::Request(order) => request::request(file, order).await,
        TokenCommand::Seed { name } => seed(file, &name).await,
        TokenCommand::Refresh { name, user } => {
            refresh(
                &Office::open(file).await?,
                TokenId::for_subject(&name, &user),
            )
            .await
        }
        TokenCommand::Access { name, user } => {
            access(file, TokenId::for_subject(&name, &user)).await
        }
        TokenCommand::Export {
            names,
            without_secrets,
            output,
        } => export(
            &Office::open(file).await?,
            &names,
            !without_secrets,
            output.as_deref(),
        ),
        TokenCommand::Import {
            file: document,
            overwrite,
        } => import(file, &document, overwrite).await,
        TokenCommand::Templates { json } => templates(file, json),
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

async fn add(file: &Path, order: Add) -> Result<(), Failure> {
    let client_secret = if order.public_client {
        token_store::Secret::default()
    } else {
        prompt::secret("client secret")?
    };
    let office = Office::open(file).await?;
    let store = office.store()?;
    let new = Order {
        name: order.name.clone(),
        client_id: order.client_id,
        client_secret,
        scope: order.scope,
        variables: order.variables,
        endpoints: Endpoints {
            authorize: order.authorize,
            token: order.token,
            discovery: order.discovery,
            ..Endpoints::default()
        },
        valid: true,
        ..Order::default()
    };
    store
        .add_token_config(&office.config.library, &order.template, new)
        .await?;
    office.tell_changed(&order.name).await?;
    let next = if named(&store, &order.name)?.entry.config.flow.needs_person() {
        format!(
            "`postern token request {}` signs in at the provider",
            order.name
        )
    } else {
        format!(
            "it needs no consent; `postern token refresh {}` tries it",
            order.name
        )
    };
    table::line(&format!("added {}; {next}", order.name))
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
