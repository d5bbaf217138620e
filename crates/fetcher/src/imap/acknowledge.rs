//! Tells the mailbox what was delivered: deleted, moved, marked seen, or kept. Each failure repeats only this.

use std::collections::{BTreeSet, HashSet};

use imap_proto::Response;
use spool::MessageId;
use token_store::accounts::After;

use super::capabilities::Capabilities;
use super::connection::Connection;
use super::listing::{list_set, select};
use super::names::{folder as folder_name, same_folder, uid_set};
use crate::error::{FetchError, Refusal};

/// Messages acknowledged by one command: keeps the line under the 8,192 bytes of RFC 7162 section 4.
pub(crate) const BATCH: usize = 500;

/// Acknowledges one folder's delivered messages on the server; gives those that are done and may be forgotten.
///
/// `delivered` holds at most [`BATCH`] messages. A UID that vanished counts as done. `flagged` are UIDs that an earlier call could
/// only flag; what this one can only flag joins them.
pub(crate) async fn acknowledge(
    connection: &mut Connection,
    capabilities: &Capabilities,
    after: &After,
    mut delivered: Vec<(MessageId, u32)>,
    flagged: &mut BTreeSet<u32>,
) -> Result<Vec<MessageId>, FetchError> {
    delivered.sort_unstable_by_key(|&(_, uid)| uid);
    let mut uids: Vec<u32> = delivered.iter().map(|&(_, uid)| uid).collect();
    let done = delivered.iter().map(|&(message, _)| message).collect();
    if *after == After::Keep {
        return Ok(done);
    }
    let first = apply(connection, capabilities, after, &uids, flagged).await;
    let refusal = match first {
        Ok(()) => return Ok(done),
        Err(e) => e.refused()?,
    };
    // Servers differ in what they answer for UIDs that are gone: the ones that are left are tried once more.
    let left: HashSet<u32> = list_set(connection, &uid_set(&uids), false)
        .await?
        .into_iter()
        .map(|l| l.uid)
        .collect();
    if left.len() == uids.len() {
        return Err(FetchError::Refused(refusal));
    }
    uids.retain(|uid| left.contains(uid));
    if !uids.is_empty() {
        apply(connection, capabilities, after, &uids, flagged).await?;
    }
    Ok(done)
}

async fn apply(
    connection: &mut Connection,
    capabilities: &Capabilities,
    after: &After,
    uids: &[u32],
    flagged: &mut BTreeSet<u32>,
) -> Result<(), FetchError> {
    let set = uid_set(uids);
    match after {
        After::Keep => Ok(()),
        After::Seen => store(connection, &set, "\\Seen").await,
        After::Delete => delete(connection, capabilities, uids, flagged).await,
        After::Move { folder, .. } => {
            let target = folder_name(folder);
            if capabilities.has("MOVE") {
                return connection
                    .run("UID MOVE", &format!("UID MOVE {set} {target}"), |_| {})
                    .await;
            }
            connection
                .run("UID COPY", &format!("UID COPY {set} {target}"), |_| {})
                .await?;
            delete(connection, capabilities, uids, flagged).await
        }
    }
}

async fn store(connection: &mut Connection, set: &str, flag: &str) -> Result<(), FetchError> {
    connection
        .run(
            "UID STORE",
            &format!("UID STORE {set} +FLAGS.SILENT ({flag})"),
            |_| {},
        )
        .await
}

/// Deletes our own messages and nobody else's.
async fn delete(
    connection: &mut Connection,
    capabilities: &Capabilities,
    uids: &[u32],
    flagged: &mut BTreeSet<u32>,
) -> Result<(), FetchError> {
    let set = uid_set(uids);
    if capabilities.has("UIDPLUS") {
        store(connection, &set, "\\Deleted").await?;
        return connection
            .run("UID EXPUNGE", &format!("UID EXPUNGE {set}"), |_| {})
            .await;
    }
    // A plain EXPUNGE takes everything flagged \Deleted, also what a person only flagged.
    let foreign = list_set(connection, "1:*", false)
        .await?
        .iter()
        .any(|l| l.deleted && uids.binary_search(&l.uid).is_err() && !flagged.contains(&l.uid));
    store(connection, &set, "\\Deleted").await?;
    if foreign {
        tracing::info!(
            "delivered messages are flagged \\Deleted and not expunged: the folder holds messages that somebody else flagged, \
             and the server has no UIDPLUS to tell them apart"
        );
        flagged.extend(uids);
        return Ok(());
    }
    connection.run("EXPUNGE", "EXPUNGE", |_| {}).await?;
    flagged.clear();
    Ok(())
}

/// Makes sure that delivered mail can be moved where it shall go. `change` false only looks.
pub(crate) async fn check_target(
    connection: &mut Connection,
    folders: &[String],
    after: &After,
    change: bool,
) -> Result<Option<String>, FetchError> {
    let After::Move { folder, create } = after else {
        return Ok(None);
    };
    if folders.iter().any(|source| same_folder(source, folder)) {
        return Err(FetchError::Blocked(format!(
            "mail can't be moved to {folder}: that is a folder it is fetched from"
        )));
    }
    let mut found = false;
    let list = format!("LIST \"\" {}", folder_name(folder));
    connection.run("LIST", &list, |r| found |= matches!(r, Response::MailboxData(imap_proto::MailboxDatum::List(l)) if selectable(l))).await?;
    match (found, create) {
        (true, _) => Ok(Some(format!("the folder {folder} exists"))),
        (false, true) if !change => Ok(Some(format!(
            "the folder {folder} does not exist; it is created when it is needed"
        ))),
        (false, true) => match connection
            .run("CREATE", &format!("CREATE {}", folder_name(folder)), |_| {})
            .await
        {
            Ok(()) => Ok(Some(format!("the folder {folder} was created"))),
            Err(e) => Err(FetchError::Blocked(missing(folder, Some(&e.refused()?)))),
        },
        (false, false) => Err(FetchError::Blocked(missing(folder, None))),
    }
}

fn selectable(list: &imap_proto::MailboxListData<'_>) -> bool {
    !list.name_attributes.iter().any(|a| {
        matches!(a, imap_proto::NameAttribute::NoSelect)
            || matches!(a, imap_proto::NameAttribute::Extension(x) if x.eq_ignore_ascii_case("\\NonExistent"))
    })
}

fn missing(folder: &str, refusal: Option<&Refusal>) -> String {
    match refusal {
        Some(refusal) => format!(
            "the folder {folder}, where delivered mail shall go, can't be created: {refusal}"
        ),
        None => format!(
            "the folder {folder}, where delivered mail shall go, does not exist: create it, or allow it with `create: true`"
        ),
    }
}

/// Selects a folder for fetching; a folder whose mail can't be acknowledged is refused before anything is delivered from it.
pub(crate) async fn select_for(
    connection: &mut Connection,
    name: &str,
    after: &After,
) -> Result<super::listing::Selected, FetchError> {
    let selected = match select(connection, name, false).await {
        Ok(selected) => selected,
        Err(e) => {
            let refusal = e.refused()?;
            return Err(FetchError::Blocked(format!(
                "the folder {name} can't be opened: {refusal}"
            )));
        }
    };
    if selected.read_only && *after != After::Keep {
        return Err(FetchError::Blocked(format!(
            "the folder {name} is read-only for this user, so delivered mail can't be acknowledged; use `after: keep`, or ask for the right"
        )));
    }
    Ok(selected)
}
