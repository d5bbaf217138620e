//! `postern token request`: a person signs in at the provider, by the way that fits where this machine stands.

mod browser;
mod device;
mod loopback;
mod paste;

use std::path::Path;
use std::time::Duration;

use clap::{Args, ValueEnum};
use provider_template::Flow;
use token_store::{CallbackAnswer, ConsentError, Consented, SignIn};

use super::exit::{Code, Failure};
use super::office::Office;
use super::{table, token};
use crate::control::{ClientError, FailureKind, Question};

/// A consent that was begun is good for this long; waiting longer is of no use.
const CONSENT_LIFE: Duration = Duration::from_secs(600);
/// The path that the admin page listens on too, so that one registration serves both.
const CALLBACK_PATH: &str = "/oauth2/callback";

#[derive(Debug, Args)]
pub(crate) struct Request {
    /// The token config's name.
    name: String,
    /// Listen on this port for the redirect; any free one otherwise.
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    port: u16,
    /// How the redirect URI calls this machine.
    #[arg(long, value_enum, default_value = "127.0.0.1")]
    host: Host,
    /// Who has to sign in, instead of the user of the mailboxes and relays that use the token.
    #[arg(long, value_name = "ADDRESS")]
    user: Option<String>,
    /// Anybody may sign in: a person who may open a shared mailbox.
    #[arg(long, conflicts_with = "user")]
    any_user: bool,
    /// No browser reaches this machine: sign in anywhere, and paste the address where the browser ends.
    #[arg(long)]
    paste: bool,
    /// With --paste: the redirect URI that the provider knows, instead of one on this machine.
    #[arg(long, value_name = "URL", requires = "paste", conflicts_with_all = ["port", "host"])]
    redirect_uri: Option<String>,
    /// Sign in on any device with a code that is shown here, where the provider offers that.
    #[arg(long, conflicts_with_all = ["paste", "port", "host"])]
    device: bool,
    /// Print the link to the admin page instead, where the redirect comes back to its public address.
    #[arg(long, conflicts_with_all = ["paste", "device", "port", "host", "user", "any_user"])]
    public: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Host {
    #[value(name = "127.0.0.1")]
    Address,
    #[value(name = "localhost")]
    Name,
}

impl Host {
    fn name(self) -> &'static str {
        match self {
            Self::Address => "127.0.0.1",
            Self::Name => "localhost",
        }
    }
}

impl Request {
    fn sign_in(&self) -> SignIn<'_> {
        match &self.user {
            _ if self.any_user => SignIn::Anybody,
            Some(user) => SignIn::As(user),
            None => SignIn::ForAccounts,
        }
    }
}

/// Begins a consent, waits for the person, and keeps what the provider grants.
pub(crate) async fn request(file: &Path, order: Request) -> Result<(), Failure> {
    let name = order.name.as_str();
    let office = Office::open(file).await?;
    let tokens = office.tokens()?;
    let flow = token::named(tokens.store(), name)?.entry.config.flow;
    if !flow.needs_person() {
        let words =
            format!("{name} needs nobody's consent; `postern token refresh {name}` tries it");
        return Err(Failure::new(Code::Data, words));
    }
    if order.public {
        return point_to_page(&office, name);
    }
    if order.device || (flow == Flow::DeviceCode && !order.paste) {
        let begun = tokens.begin_device(name, order.sign_in()).await?;
        drop((tokens, office));
        return device::follow(file, begun).await;
    }
    if order.paste {
        return paste::request(file, office, &order).await;
    }
    browser::request(file, office, &order).await
}

/// The path of a redirect URI on this machine.
fn callback_path(office: &Office) -> String {
    let web = office.config.web.as_ref();
    web.map_or(CALLBACK_PATH, |web| web.redirect_path.as_str())
        .to_owned()
}

/// Says that it went well, and who signed in.
fn done(consented: &Consented) -> Result<(), Failure> {
    let who = match &consented.signed_in_as {
        Some(who) => format!("; signed in as {who}"),
        None => String::new(),
    };
    table::line(&format!("{} has its token{who}", consented.config))
}

/// How an answer ended that didn't bring a token.
enum Completed {
    /// Another `state`: a stray or forged request, or an address pasted from elsewhere; the real one may still come.
    NotOurs(String),
    Failed(String, Failure),
}

/// Hands an answer in, to the daemon where one runs.
async fn complete(
    file: &Path,
    session: &str,
    answer: &CallbackAnswer,
) -> Result<Consented, Completed> {
    let failed = |failure: Failure| {
        Completed::Failed(
            "The token could not be stored; the terminal says why.".to_owned(),
            failure,
        )
    };
    let office = Office::open(file).await.map_err(failed)?;
    let CallbackAnswer {
        state,
        code,
        error,
        error_description,
        iss,
    } = answer.clone();
    if let Some(client) = office.daemon() {
        let question = Question::Complete {
            session: session.to_owned(),
            state,
            code,
            error,
            error_description,
            iss,
        };
        return match client.ask(&question).await {
            Ok(consented) => {
                serde_json::from_value(consented).map_err(|error| failed(error.into()))
            }
            Err(ClientError::Failed(failure)) if failure.kind == FailureKind::Unknown => {
                Err(Completed::NotOurs(failure.words))
            }
            Err(ClientError::Failed(failure)) => {
                Err(Completed::Failed(failure.words.clone(), failure.into()))
            }
            Err(error) => Err(failed(error.into())),
        };
    }
    let tokens = office.tokens().map_err(failed)?;
    match tokens.complete(session, answer.clone()).await {
        Ok(consented) => Ok(consented),
        Err(error @ ConsentError::Stale) => Err(Completed::NotOurs(error.to_string())),
        Err(error) => Err(Completed::Failed(error.to_string(), error.into())),
    }
}

fn point_to_page(office: &Office, name: &str) -> Result<(), Failure> {
    office.need_daemon()?;
    let public_url = office
        .config
        .web
        .as_ref()
        .and_then(|web| web.public_url.as_deref());
    let Some(public_url) = public_url else {
        return Err(Failure::new(
            Code::Configuration,
            "web.public_url is not set, so nobody knows the admin page's address; set it, or leave --public out",
        ));
    };
    table::line(&format!("{public_url}/tokens"))?;
    eprintln!("\nOpen this address, sign in, and request the token of {name} there.");
    Ok(())
}

/// Binds the consent to this very command.
fn session() -> Result<String, Failure> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)
        .map_err(|error| Failure::new(Code::Software, format!("no random bytes: {error}")))?;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("command:{hex}"))
}
