//! Token configs made from a template, and changed.

use std::path::{Path, PathBuf};

use clap::Args;
use provider_template::{Algorithm, Assertion, Edit, Endpoints, Entry, Flow, Notifications, Order};
use token_store::{Edited, Secret};

use super::named;
use crate::cli::exit::{Code, Failure};
use crate::cli::office::Office;
use crate::cli::{prompt, table};

#[derive(Debug, Args)]
pub(crate) struct Add {
    /// The new token config's name.
    name: String,
    /// The provider template; `postern token templates` lists them.
    #[arg(long, short)]
    template: String,
    /// The client ID that the provider gave this registration; a service account needs none.
    #[arg(long, required_unless_present = "service_account")]
    client_id: Option<String>,
    /// The registration has no client secret (a public client); don't ask for one.
    #[arg(long, conflicts_with = "client_certificate")]
    public_client: bool,
    /// A variable of the template; may be repeated.
    #[arg(long = "variable", value_name = "NAME=VALUE", value_parser = variable)]
    variables: Vec<(String, String)>,
    /// How the first token is had, instead of the template's way.
    #[arg(long, value_parser = flow, value_name = "FLOW")]
    flow: Option<Flow>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
pub(crate) struct EditArgs {
    /// The token config's name.
    name: String,
    /// Another client ID. The refresh token of the former client is kept aside.
    #[arg(long)]
    client_id: Option<String>,
    /// Another client secret; it is asked for, or read from standard input. It takes the place of a certificate.
    #[arg(long, conflicts_with_all = ["client_certificate", "public_client"])]
    client_secret: bool,
    /// The registration has no client secret any more (a public client).
    #[arg(long, conflicts_with = "client_certificate")]
    public_client: bool,
    /// Another password of the user who signs in; it is asked for, or read from standard input.
    #[arg(long)]
    password: bool,
    /// Use it (true), or don't (false).
    #[arg(long, value_name = "true|false")]
    valid: Option<bool>,
    #[command(flatten)]
    common: Common,
}

/// What is given when a token config is made, and when it is changed.
#[derive(Debug, Args)]
struct Common {
    /// Scopes, separated by spaces.
    #[arg(long)]
    scope: Option<String>,
    /// Instead of a client secret: the registered certificate, a PEM file.
    #[arg(long, value_name = "FILE", requires = "client_key")]
    client_certificate: Option<PathBuf>,
    /// The certificate's private key, a PEM file.
    #[arg(long, value_name = "FILE", requires = "client_certificate")]
    client_key: Option<PathBuf>,
    /// How the certificate's key signs: PS256 or RS256.
    #[arg(long, value_parser = algorithm, value_name = "ALGORITHM", requires = "client_certificate")]
    client_algorithm: Option<Algorithm>,
    /// A service account's key file, JSON.
    #[arg(long, value_name = "FILE")]
    service_account: Option<PathBuf>,
    /// Who signs in, with the flow password; the password is asked for.
    #[arg(long)]
    user: Option<String>,
    /// The authorisation endpoint.
    #[arg(long, value_name = "URL")]
    authorize: Option<String>,
    /// The token endpoint.
    #[arg(long, value_name = "URL")]
    token: Option<String>,
    /// The device authorisation endpoint.
    #[arg(long, value_name = "URL")]
    device: Option<String>,
    /// The revocation endpoint.
    #[arg(long, value_name = "URL")]
    revoke: Option<String>,
    /// The introspection endpoint.
    #[arg(long, value_name = "URL")]
    introspect: Option<String>,
    /// The endpoint that says whose token it is.
    #[arg(long, value_name = "URL")]
    userinfo: Option<String>,
    /// The OpenID Connect issuer to discover endpoints from.
    #[arg(long, value_name = "URL")]
    discovery: Option<String>,
    /// Be told when the access token has expired.
    #[arg(long, value_name = "true|false")]
    notify_expired_token: Option<bool>,
    /// Be told when the refresh token has expired, or soon will.
    #[arg(long, value_name = "true|false")]
    notify_expired_refresh_token: Option<bool>,
}

impl Common {
    fn endpoints(&self) -> Endpoints {
        Endpoints {
            authorize: self.authorize.clone(),
            token: self.token.clone(),
            device: self.device.clone(),
            revoke: self.revoke.clone(),
            introspect: self.introspect.clone(),
            userinfo: self.userinfo.clone(),
            discovery: self.discovery.clone(),
        }
    }

    /// The certificate and its key.
    fn certificate(&self) -> Result<Option<(Assertion, Secret)>, Failure> {
        let (Some(certificate), Some(key)) = (&self.client_certificate, &self.client_key) else {
            return Ok(None);
        };
        let assertion = Assertion {
            algorithm: self.client_algorithm.unwrap_or_default(),
            certificate: read_file(certificate)?.expose().to_owned(),
            audience: None,
        };
        Ok(Some((assertion, read_file(key)?)))
    }

    fn key_file(&self) -> Result<Option<Secret>, Failure> {
        self.service_account.as_deref().map(read_file).transpose()
    }

    /// What was asked for, over what is.
    fn notifications(&self, present: Notifications) -> Option<Notifications> {
        let asked = self
            .notify_expired_token
            .or(self.notify_expired_refresh_token);
        asked.map(|_| Notifications {
            expired_token: self.notify_expired_token.unwrap_or(present.expired_token),
            expired_refresh_token: self
                .notify_expired_refresh_token
                .unwrap_or(present.expired_refresh_token),
        })
    }
}

/// A file of a few kilobytes; more is another one.
const LONGEST_FILE: u64 = 64 * 1024;

pub(super) fn read_file(path: &Path) -> Result<Secret, Failure> {
    use std::io::Read;
    let unreadable = |error: std::io::Error| {
        Failure::new(
            Code::Data,
            format!("{} cannot be read: {error}", path.display()),
        )
    };
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let mut text = String::new();
    file.take(LONGEST_FILE)
        .read_to_string(&mut text)
        .map_err(unreadable)?;
    Ok(Secret::new(text))
}

pub(super) fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() && !value.is_empty() => {
            Ok((name.to_owned(), value.to_owned()))
        }
        _ => Err("expected NAME=VALUE".to_owned()),
    }
}

fn flow(text: &str) -> Result<Flow, String> {
    Flow::from_key(text).ok_or_else(|| {
        let keys = Flow::ALL.map(Flow::key);
        format!("expected one of {}", keys.join(", "))
    })
}

fn algorithm(text: &str) -> Result<Algorithm, String> {
    let known = [Algorithm::Ps256, Algorithm::Rs256];
    let found = known.into_iter().find(|known| known.name() == text);
    found.ok_or_else(|| "expected PS256 or RS256".to_owned())
}

pub(super) async fn add(file: &Path, order: Add) -> Result<(), Failure> {
    // Everything that can be wrong without a secret is said before one is asked for.
    let common = &order.common;
    let certificate = common.certificate()?;
    let service_account = common.key_file()?.unwrap_or_default();
    let office = Office::open(file).await?;
    let library = office.config.library.clone();
    let template = library.get(&order.template);
    let (client_secret, password) = secrets(&order, template)?;
    let store = office.store()?;
    let (assertion, private_key) = certificate.unzip();
    let new = Order {
        name: order.name.clone(),
        client_id: order.client_id.unwrap_or_default(),
        client_secret,
        private_key: private_key.unwrap_or_default(),
        assertion,
        service_account,
        user: common.user.clone().unwrap_or_default(),
        password,
        flow: order.flow,
        scope: common.scope.clone(),
        variables: order.variables,
        endpoints: common.endpoints(),
        valid: true,
        notifications: template
            .and_then(|template| common.notifications(template.config.notifications)),
    };
    store
        .add_token_config(&library, &order.template, new)
        .await?;
    office.tell_changed(&order.name).await?;
    let config = named(&store, &order.name)?;
    let next = next(&config.entry);
    table::line(&format!("added {}; {next}", order.name))
}

/// What a new token config wants next.
pub(super) fn next(entry: &Entry) -> String {
    let name = &entry.name;
    let flow = entry.config.flow;
    if flow.needs_person() {
        format!("`postern token request {name}` signs in at the provider")
    } else if flow.per_subject() {
        format!(
            "it needs no consent; `postern token refresh {name} --user ADDRESS` tries it for a mailbox"
        )
    } else {
        format!("it needs no consent; `postern token refresh {name}` tries it")
    }
}

/// Client secret and password, as far as there are any.
fn secrets(order: &Add, template: Option<&Entry>) -> Result<(Secret, Secret), Failure> {
    let flow = order
        .flow
        .or_else(|| template.map(|template| template.config.flow));
    let by_key = order.common.client_certificate.is_some()
        || order.common.service_account.is_some()
        || flow == Some(Flow::ServiceAccount);
    let wants_secret = !order.public_client && !by_key;
    let wants_password = flow == Some(Flow::Password);
    let questions: Vec<&str> = [
        wants_secret.then_some("client secret"),
        wants_password.then_some("password"),
    ]
    .into_iter()
    .flatten()
    .collect();
    let mut given = prompt::secrets(&questions)?.into_iter();
    let client_secret = if wants_secret {
        given.next().unwrap_or_default()
    } else {
        Secret::default()
    };
    if wants_secret && client_secret.is_empty() {
        return Err(Failure::new(
            Code::Data,
            "no client secret was given; a registration without one is added with --public-client",
        ));
    }
    Ok((client_secret, given.next().unwrap_or_default()))
}

pub(super) async fn edit(file: &Path, order: EditArgs) -> Result<(), Failure> {
    let common = &order.common;
    let certificate = common.certificate()?;
    let service_account = common.key_file()?;
    let office = Office::open(file).await?;
    let store = office.store()?;
    let present = named(&store, &order.name)?;
    if let Some(file) = &present.declared_in {
        return Err(Failure::new(
            Code::Data,
            format!(
                "{} is declared in {file} and can only be changed there",
                order.name
            ),
        ));
    }
    let mut questions = Vec::new();
    questions.extend(order.client_secret.then_some("new client secret"));
    questions.extend(order.password.then_some("new password"));
    let mut given = prompt::secrets(&questions)?.into_iter();
    let client_secret = if order.client_secret {
        given.next().filter(|secret| !secret.is_empty()).map_or_else(
            || {
                Err(Failure::new(
                    Code::Data,
                    "no client secret was given; nothing was changed (--public-client is for a registration without one)",
                ))
            },
            |secret| Ok(Some(secret)),
        )?
    } else {
        order.public_client.then(Secret::default)
    };
    let changes = Edit {
        client_id: order.client_id.clone(),
        client_secret,
        certificate,
        service_account,
        user: common.user.clone(),
        password: given.next(),
        scope: common.scope.clone(),
        endpoints: common.endpoints(),
        valid: order.valid,
        notifications: common.notifications(present.entry.config.notifications),
    };
    let name = &order.name;
    let words = match store.edit_token_config(name, changes).await? {
        Edited::Unchanged => format!("{name} is the same already"),
        Edited::Changed => format!("{name} is changed; its token goes on"),
        Edited::TokenAside => format!(
            "{name} is changed; its refresh token belonged to the former client or endpoint and is kept aside: {}",
            next(&present.entry)
        ),
    };
    office.tell_changed(name).await?;
    table::line(&words)
}
