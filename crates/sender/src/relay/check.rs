//! `postern check` for a relay: connects and signs in, step by step; sends nothing.
use super::connect::{identity, target};
use super::judge::{judge_connection, judge_token};
use crate::host_name;
use crate::smtp_client::{Client, ClientError, Patience};
use std::time::Duration;
use token_store::accounts::{Auth, Relay};
use token_store::{Credential, Tokens};
use wire::dial::{Stream, Trust};

/// Each step's limit: somebody waits at a terminal.
const STEP: Duration = Duration::from_secs(20);

/// One step: what was looked at, and what was found, or what is wrong and what to do.
#[derive(Debug, Clone)]
pub struct Step {
    /// What was looked at.
    pub what: String,
    /// What was found, or what is wrong.
    pub found: Result<String, String>,
}

/// Connects and signs in; sends nothing. Steps until the first that fails.
pub async fn check(relay: &Relay, tokens: &Tokens) -> Vec<Step> {
    let mut steps = Vec::new();
    let connected = connect(relay).await;
    let where_to = format!("connection to {}:{}", relay.host, relay.port);
    let Some(mut client) = push(&mut steps, &where_to, connected, |client| {
        format!("offers {}", client.offered.in_words())
    }) else {
        return steps;
    };
    let what = match &relay.auth {
        Auth::Token(config) => format!("token {config}"),
        Auth::Password(_) => "password".to_owned(),
    };
    let credential = tokens
        .credential(&relay.auth, &relay.user)
        .await
        .map_err(|error| judge_token(&error).why().to_owned());
    let Some(credential) = push(&mut steps, &what, credential, |_| "at hand".to_owned()) else {
        client.quit().await;
        return steps;
    };
    let signed_in = sign_in(&mut client, relay, &credential).await;
    let what = format!("sign-in as {}", relay.user);
    if push(&mut steps, &what, signed_in, |()| "accepted".to_owned()).is_some() {
        let limit = match client.offered.limit() {
            Some(limit) => format!("{} MiB ({limit} bytes)", limit >> 20),
            None => "none announced".to_owned(),
        };
        steps.push(Step {
            what: "largest message".to_owned(),
            found: Ok(limit),
        });
        client.quit().await;
    }
    steps
}

/// Notes a step; its value where it went well.
fn push<T>(
    steps: &mut Vec<Step>,
    what: &str,
    result: Result<T, String>,
    found: impl Fn(&T) -> String,
) -> Option<T> {
    let step = result.as_ref().map(&found).map_err(Clone::clone);
    steps.push(Step {
        what: what.to_owned(),
        found: step,
    });
    result.ok()
}

async fn connect(relay: &Relay) -> Result<Client<Stream>, String> {
    let trust = Trust::new(relay.tls_ca_file.as_deref()).map_err(|error| error.to_string())?;
    let patience = Patience {
        connect: STEP,
        command: STEP,
        ..Patience::default()
    };
    let client = Client::connect(&target(relay), &trust, &host_name(), patience).await;
    client.map_err(|error| in_words(&error))
}

async fn sign_in(
    client: &mut Client<Stream>,
    relay: &Relay,
    credential: &Credential,
) -> Result<(), String> {
    client
        .sign_in(identity(relay, credential))
        .await
        .map_err(|error| in_words(&error))
}

fn in_words(error: &ClientError) -> String {
    judge_connection(error).why().to_owned()
}
