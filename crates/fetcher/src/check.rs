//! `postern check` of one mailbox: connect, sign in, look for folders and at the deliveries; nothing is changed.

use token_store::Tokens;
use token_store::accounts::{After, Mailbox, Protocol, StartFrom};
use wire::dial::is_loopback;

use crate::credential::no_token;
use crate::deliver;
use crate::error::FetchError;
use crate::imap::{
    Connection, Listed, Opening, PATIENCE, Window, check_target, connect, delivered_to, find_trash,
    held_to, introduce, list, select, sign_in,
};

/// One step of `postern check`: what was looked at, and what was found, or what is wrong and what to do.
#[derive(Debug, Clone)]
pub struct Step {
    /// What was looked at.
    pub what: String,
    /// What was found, or what is wrong and what to do.
    pub found: Result<String, String>,
}

/// Where each step is told as it ends.
pub(crate) type Tell<'a> = &'a mut (dyn FnMut(Step) + Send);

/// Connects, signs in, looks for folders, and where messages are delivered to; changes nothing. Steps until the first that fails;
/// the deliveries are always looked at, because they need nothing of the mailbox's server.
pub async fn check(mailbox: &Mailbox, tokens: &Tokens) -> Vec<Step> {
    let mut steps = Vec::new();
    check_deliveries(mailbox, &mut |step| steps.push(step)).await;
    check_server(mailbox, tokens, &mut |step| steps.push(step)).await;
    steps
}

/// Looks at where messages are delivered to, and tells each step as it ends; nothing is delivered.
pub async fn check_deliveries(mailbox: &Mailbox, tell: &mut (dyn FnMut(Step) + Send)) {
    deliver::check(mailbox).await.into_iter().for_each(tell);
}

/// Connects, signs in and looks for folders, and tells each step as it ends, until the first that fails; changes nothing.
pub async fn check_server(mailbox: &Mailbox, tokens: &Tokens, tell: &mut (dyn FnMut(Step) + Send)) {
    if let Err((what, e)) = server(mailbox, tokens, tell).await {
        tell(Step {
            what,
            found: Err(e.to_string()),
        });
    }
}

pub(crate) type Failed = (String, FetchError);

async fn server(mailbox: &Mailbox, tokens: &Tokens, tell: Tell<'_>) -> Result<(), Failed> {
    if mailbox.protocol == Protocol::Pop3 {
        return crate::pop3::check(mailbox, tokens, tell).await;
    }
    let mut step = |what: String, found: String| {
        tell(Step {
            what,
            found: Ok(found),
        })
    };
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
    let lacks: Vec<&str> = ["UIDPLUS", "MOVE", "IDLE"]
        .into_iter()
        .filter(|c| !capabilities.has(c))
        .collect();
    let lacks = if lacks.is_empty() {
        String::new()
    } else {
        format!("; the server lacks {}", lacks.join(", "))
    };
    introduce(&mut connection, &capabilities)
        .await
        .map_err(|e| (what.clone(), e))?;
    step(what, format!("is accepted{lacks}"));

    for name in &mailbox.folders {
        let what = format!("the folder {name}");
        let found = count(&mut connection, mailbox, name)
            .await
            .map_err(|e| (what.clone(), e))?;
        step(what, found);
    }
    for (mail, target) in [
        ("delivered mail", delivered_to(&mailbox.after)),
        ("held mail", held_to(&mailbox.care.failed)),
    ] {
        let what = format!("the folder for {mail}");
        if let Some(found) = check_target(&mut connection, &mailbox.folders, target, false)
            .await
            .map_err(|e| (what.clone(), e))?
        {
            step(what, found);
        }
    }
    if mailbox.trash_on_delete && mailbox.after == After::Delete {
        let what = "the folder for trash".to_owned();
        let trash = find_trash(&mut connection, &capabilities)
            .await
            .map_err(|e| (what.clone(), e))?;
        step(what, trash_words(trash));
    }
    connection.leave().await;
    Ok(())
}

fn trash_words(trash: Option<String>) -> String {
    match trash {
        Some(name) => format!("is {name}; delivered mail goes there"),
        None => "is not shown by the server, so that delivered mail is deleted from its folder and may be kept elsewhere: let the account \
                 show its trash by IMAP"
            .to_owned(),
    }
}

/// How many messages are in a folder, and how many of them a first start would fetch.
async fn count(
    connection: &mut Connection,
    mailbox: &Mailbox,
    name: &str,
) -> Result<String, FetchError> {
    let selected = select(connection, name, Opening::Examine).await?;
    let dates = matches!(mailbox.start_from, StartFrom::Date(_));
    let (mut window, mut more) = (Window::new(), true);
    let (mut all, mut wanted, mut too_big) = (0_u64, 0_u64, 0_u64);
    while more {
        let (listed, further) = list(connection, &mut window, selected, dates).await?;
        for message in listed.iter().filter(|l| !l.deleted) {
            all += 1;
            if wants(mailbox.start_from, message) {
                wanted += 1;
                too_big += u64::from(
                    message
                        .size
                        .is_some_and(|s| u64::from(s) > mailbox.max_size),
                );
            }
        }
        more = further;
    }
    let big = if too_big == 0 {
        String::new()
    } else {
        format!(", {too_big} of them over max_size and only held")
    };
    Ok(format!(
        "has {all} messages; a first start fetches {wanted}{big}"
    ))
}

fn wants(from: StartFrom, message: &Listed) -> bool {
    match from {
        StartFrom::All => true,
        StartFrom::Now => false,
        StartFrom::Date(from) => message.arrived.is_none_or(|t| t >= from),
    }
}
