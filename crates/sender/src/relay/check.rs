//! `postern check` and `postern relay test`: connects and signs in, step by step, and sends a message only where one is asked for.
use super::connect::{identity, target};
use super::judge::{Verdict, judge, judge_connection, judge_token};
use crate::address::is_mailbox;
use crate::host_name;
use crate::smtp_client::{Client, ClientError, Envelope, Patience, To};
use jiff::{Timestamp, tz::TimeZone};
use spool::{Outcome, Stored};
use std::time::Duration;
use token_store::accounts::{Auth, Relay};
use token_store::{Credential, Tokens};
use wire::dial::{Stream, Trust};

/// Each step's limit: somebody waits at a terminal.
const STEP: Duration = Duration::from_secs(20);
/// For the answer to a test message, which nothing depends on.
const LAST: Duration = Duration::from_secs(60);

/// One step: what was looked at, and what was found, or what is wrong and what to do.
#[derive(Debug, Clone)]
pub struct Step {
    /// What was looked at.
    pub what: String,
    /// What was found, or what is wrong.
    pub found: Result<String, String>,
}

/// Where each step is told as it ends.
type Tell<'a> = &'a mut (dyn FnMut(Step) + Send);

/// Connects and signs in; sends nothing. Steps until the first that fails.
pub async fn check(relay: &Relay, tokens: &Tokens) -> Vec<Step> {
    let mut steps = Vec::new();
    test(relay, tokens, None, &mut |step| steps.push(step)).await;
    steps
}

/// The same, each step told as it ends; and with an address a test message goes there, past the queue.
pub async fn test(
    relay: &Relay,
    tokens: &Tokens,
    to: Option<&str>,
    tell: &mut (dyn FnMut(Step) + Send),
) {
    let Some(client) = signed_in(relay, tokens, tell).await else {
        return;
    };
    match to {
        None => client.quit().await,
        Some(to) => {
            let what = format!("a test message to {to}");
            let found = send(client, relay, to).await;
            tell(Step { what, found });
        }
    }
}

/// Connects and signs in, as far as it goes.
async fn signed_in(relay: &Relay, tokens: &Tokens, tell: Tell<'_>) -> Option<Client<Stream>> {
    let connected = connect(relay).await;
    let where_to = format!("connection to {}:{}", relay.host, relay.port);
    let mut client = note(tell, &where_to, connected, |client| {
        format!("offers {}", client.offered.in_words())
    })?;
    let what = match &relay.auth {
        Auth::Token(config) => format!("token {config}"),
        Auth::Password(_) => "password".to_owned(),
    };
    let credential = tokens
        .credential(&relay.auth, &relay.user)
        .await
        .map_err(|error| judge_token(&error).why().to_owned());
    let Some(credential) = note(tell, &what, credential, |_| "at hand".to_owned()) else {
        client.quit().await;
        return None;
    };
    let signed_in = sign_in(&mut client, relay, &credential).await;
    let what = format!("sign-in as {}", relay.user);
    note(tell, &what, signed_in, |()| "accepted".to_owned())?;
    let limit = match client.offered.limit() {
        Some(limit) => format!("{} MiB ({limit} bytes)", limit >> 20),
        None => "none announced".to_owned(),
    };
    tell(Step {
        what: "largest message".to_owned(),
        found: Ok(limit),
    });
    Some(client)
}

/// Tells a step; its value where it went well.
fn note<T>(
    tell: Tell<'_>,
    what: &str,
    result: Result<T, String>,
    found: impl Fn(&T) -> String,
) -> Option<T> {
    let step = result.as_ref().map(&found).map_err(Clone::clone);
    tell(Step {
        what: what.to_owned(),
        found: step,
    });
    result.ok()
}

/// Sends the test message; the server's words.
async fn send(client: Client<Stream>, relay: &Relay, to: &str) -> Result<String, String> {
    if !is_mailbox(to) {
        return Err(format!("{to} is no address"));
    }
    let is_one = |sender: &&String| is_mailbox(sender);
    let known = relay.senders.iter().find(is_one).or(Some(&relay.user));
    let from = known.filter(is_one).ok_or(
        "the relay serves no single address, and its user is none: there is nobody to send as",
    )?;
    let text = letter(from, to, &relay.name);
    let recipient = To {
        address: to,
        notify: None,
        orcpt: None,
    };
    let envelope = Envelope {
        sender: from,
        recipients: &[recipient],
        size: text.len() as u64,
        smtputf8: false,
        utf8_header: false,
        eight_bit: false,
        ret: None,
        envid: None,
    };
    let text = spool::Pieces::of(Stored::Inline(text.into_bytes()));
    let sent = client.send(envelope, text).await;
    let answer = sent.answers.first().map(judge);
    if let Some(client) = sent.connection {
        client.quit().await;
    }
    match answer {
        Some(Verdict::Settle(Outcome::Delivered { why }, _)) => {
            Ok(format!("sent as {from}, and taken: {why}"))
        }
        Some(Verdict::Settle(
            Outcome::Refused { why }
            | Outcome::Retry { why, .. }
            | Outcome::InDoubt { why }
            | Outcome::Blocked { why, .. },
            _,
        )) => Err(why),
        Some(Verdict::Release(trouble)) => Err(trouble.why().to_owned()),
        None => Err("the server was not asked".to_owned()),
    }
}

/// A message that says what it is. Names and addresses are ASCII without line ends, or they are left out.
fn letter(from: &str, to: &str, relay: &str) -> String {
    let now = Timestamp::now();
    let date = jiff::fmt::rfc2822::to_string(&now.to_zoned(TimeZone::UTC)).unwrap_or_default();
    let host = host_name();
    let relay = match relay.chars().all(|c| c == ' ' || c.is_ascii_graphic()) {
        true => relay,
        false => "of this installation",
    };
    format!(
        "From: <{from}>\r\nTo: <{to}>\r\nSubject: Test message from Postern\r\nDate: {date}\r\n\
         Message-ID: <test-{:016x}@{host}>\r\nAuto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n\
         Content-Type: text/plain; charset=us-ascii\r\n\r\n\
         An administrator of {host} has sent this message to see whether the relay\r\n{relay}\r\nworks. It does.\r\n",
        fastrand::u64(..)
    )
}

async fn connect(relay: &Relay) -> Result<Client<Stream>, String> {
    let trust = Trust::new(relay.tls_ca_file.as_deref()).map_err(|error| error.to_string())?;
    let patience = Patience {
        connect: STEP,
        command: STEP,
        last: LAST,
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
