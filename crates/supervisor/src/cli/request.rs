//! `postern token request`: sign in at the provider in a browser; the redirect comes back to a loopback port, or to the admin page.

use std::path::Path;
use std::time::Duration;

use clap::{Args, ValueEnum};
use token_store::{CallbackAnswer, SignIn};
use tokio::time::{Instant, timeout_at};

use super::exit::{Code, Failure};
use super::loopback::{Callback, Loopback};
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
    /// Print the link to the admin page instead, where the redirect comes back to its public address.
    #[arg(long, conflicts_with_all = ["port", "host"])]
    public: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Host {
    #[value(name = "127.0.0.1")]
    Address,
    #[value(name = "localhost")]
    Name,
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

/// Begins a consent, waits for the redirect, and keeps what the provider grants.
pub(crate) async fn request(file: &Path, order: Request) -> Result<(), Failure> {
    let name = order.name.as_str();
    let office = Office::open(file).await?;
    let tokens = office.tokens()?;
    if !token::named(tokens.store(), name)?
        .entry
        .config
        .flow
        .needs_person()
    {
        let words =
            format!("{name} needs nobody's consent; `postern token refresh {name}` tries it");
        return Err(Failure::new(Code::Data, words));
    }
    if order.public {
        return point_to_page(&office, name);
    }
    let loopback = Loopback::bind(order.port).await?;
    let host = match order.host {
        Host::Address => "127.0.0.1",
        Host::Name => "localhost",
    };
    let path = office
        .config
        .web
        .as_ref()
        .map_or(CALLBACK_PATH, |web| web.redirect_path.as_str())
        .to_owned();
    let redirect_uri = format!("http://{host}:{}{path}", loopback.port());
    let session = session()?;
    let sign_in = order.sign_in();
    let url = tokens.begin(name, &redirect_uri, &session, sign_in).await?;
    // While a person signs in, the daemon may start, and other commands may work.
    drop((tokens, office));

    table::line(&url)?;
    eprintln!(
        "\nOpen this address in a browser on this machine and sign in as the mailbox's user."
    );
    eprintln!(
        "The provider sends you back to {redirect_uri}; waiting for that, 10 minutes at most."
    );
    let end = Instant::now() + CONSENT_LIFE;
    loop {
        let callback = timeout_at(end, loopback.next(&path)).await;
        let Ok(callback) = callback else {
            return Err(Failure::new(
                Code::Temporary,
                "nobody came back within 10 minutes; the token is as it was",
            ));
        };
        match complete(file, &session, &callback).await {
            Ok(config) => {
                callback
                    .reply(true, "The token is stored. You can close this window.")
                    .await;
                return table::line(&format!("{config} has its token"));
            }
            Err(Completed::NotOurs(words)) => {
                eprintln!("postern: a redirect that is not ours was refused: {words}");
                callback.reply(false, &words).await;
            }
            Err(Completed::Failed(words, failure)) => {
                callback.reply(false, &words).await;
                return Err(failure);
            }
        }
    }
}

/// How a redirect ended that didn't bring a token.
enum Completed {
    /// Another `state`: a stray or forged request; the real one may still come.
    NotOurs(String),
    Failed(String, Failure),
}

async fn complete(file: &Path, session: &str, callback: &Callback) -> Result<String, Completed> {
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
    } = callback.answer.clone();
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
            Ok(config) => Ok(config.as_str().unwrap_or_default().to_owned()),
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
    match tokens.complete(session, callback.answer.clone()).await {
        Ok(consented) => Ok(consented.config),
        Err(error @ token_store::ConsentError::Stale) => Err(Completed::NotOurs(error.to_string())),
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
