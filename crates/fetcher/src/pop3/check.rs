//! `postern check` of a POP3 mailbox: connect, sign in, look at the maildrop; nothing is fetched and nothing deleted.

use token_store::Tokens;
use token_store::accounts::{Mailbox, StartFrom};
use wire::dial::is_loopback;

use super::capabilities::Capabilities;
use super::connection::Connection;
use super::listing::{list, older};
use super::session::{PATIENCE, no_way_without_names, supported};
use super::sign_in::{connect, sign_in};
use crate::check::{Failed, Step, Tell};
use crate::credential::no_token;
use crate::error::FetchError;

/// Adds a step for each thing that was looked at, until the first that fails.
pub(crate) async fn check(
    mailbox: &Mailbox,
    tokens: &Tokens,
    tell: Tell<'_>,
) -> Result<(), Failed> {
    let mut step = |what: String, found: String| {
        tell(Step {
            what,
            found: Ok(found),
        });
    };
    let what = "what happens after delivery".to_owned();
    supported(mailbox).map_err(|e| (what, e))?;

    let what = format!("the credential of {}", mailbox.user);
    let credential = tokens
        .credential(&mailbox.auth, &mailbox.user)
        .await
        .map_err(|e| (what.clone(), no_token(e)))?;
    step(what, "is at hand".into());

    let what = format!("the server {}:{}", mailbox.host, mailbox.port);
    let (mut connection, offered) = connect(mailbox, PATIENCE)
        .await
        .map_err(|e| (what.clone(), e))?;
    let how = if is_loopback(&mailbox.host) {
        "answers"
    } else {
        "answers under TLS"
    };
    step(what, format!("{how}; it offers {}", offered.words()));

    let what = format!("the sign-in of {}", mailbox.user);
    let capabilities = sign_in(&mut connection, &offered, mailbox, &credential)
        .await
        .map_err(|e| (what.clone(), e))?;
    step(what, format!("is accepted{}", remarks(&capabilities)));

    let what = "the maildrop".to_owned();
    let found = look(&mut connection, &capabilities, mailbox)
        .await
        .map_err(|e| (what.clone(), e))?;
    step(what, found);
    // Without a DELE, QUIT changes nothing; how it is answered does not matter.
    let _ = connection.ask("QUIT", "QUIT").await;
    Ok(())
}

fn remarks(capabilities: &Capabilities) -> String {
    match capabilities.login_delay() {
        Some(delay) => format!(
            "; the server allows one sign-in every {} s",
            delay.as_secs()
        ),
        None => String::new(),
    }
}

async fn look(
    connection: &mut Connection,
    capabilities: &Capabilities,
    mailbox: &Mailbox,
) -> Result<String, FetchError> {
    let listing = list(connection, capabilities.has("PIPELINING")).await?;
    if !listing.named && !listing.messages.is_empty() {
        no_way_without_names(capabilities, mailbox)?;
    }
    let all = listing.messages.len();
    let left_out = match mailbox.start_from {
        StartFrom::All => 0,
        StartFrom::Now => all,
        StartFrom::Date(from) => {
            let numbers: Vec<u32> = listing.messages.iter().map(|l| l.number).collect();
            let ahead = capabilities.has("PIPELINING");
            older(connection, &numbers, from, ahead).await?.len()
        }
    };
    let big = |size: u64| size > mailbox.max_size;
    let big = listing.messages.iter().filter(|l| l.size.is_some_and(big));
    let big = match big.count() {
        0 => String::new(),
        count => format!("; {count} are over max_size and only held"),
    };
    let names = match listing.named || all == 0 {
        true => "",
        false => "; the server has no UIDL, so messages are known by their content",
    };
    let wanted = all - left_out;
    Ok(format!(
        "has {all} messages; a first start fetches {wanted}{big}{names}"
    ))
}
