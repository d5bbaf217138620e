//! Tells the mailbox what was delivered: deleted, moved, marked seen, or kept. Each failure repeats only this.

use std::collections::{BTreeSet, HashSet};

use imap_proto::{MailboxDatum, NameAttribute, Response};
use spool::MessageId;
use token_store::accounts::{After, Failed, Mailbox};

use super::capabilities::Capabilities;
use super::connection::{Connection, Socket};
use super::listing::{Opening, Selected, list_set, select};
use super::names::{same_folder, told, uid_set};
use crate::error::{FetchError, Refusal};

/// Messages acknowledged by one command: keeps the line under the 8,192 bytes of RFC 7162 section 4.
pub(crate) const BATCH: usize = 500;

/// How delivered messages are acknowledged on a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Deed {
    Keep,
    Seen,
    /// Flagged `\\Deleted` and expunged.
    Delete,
    /// Moved to a folder, whose name is as it is sent.
    Move(String),
}

/// Finds out how: where the provider's template says so, a deleted message goes to the folder for trash, because deleting it from a
/// folder would only take a label off it (Gmail).
pub(crate) async fn deed(
    connection: &mut Connection,
    capabilities: &Capabilities,
    mailbox: &Mailbox,
) -> Result<Deed, FetchError> {
    match &mailbox.after {
        After::Keep => Ok(Deed::Keep),
        After::Seen => Ok(Deed::Seen),
        After::Move { folder, .. } => Ok(Deed::Move(connection.folder(folder))),
        After::Delete if !mailbox.trash_on_delete => Ok(Deed::Delete),
        After::Delete => {
            let Some(trash) = find_trash(connection, capabilities).await? else {
                tracing::warn!(
                    mailbox = mailbox.name,
                    "the server shows no folder for trash (special use \\Trash): delivered mail is deleted from its folder, and the \
                     provider may keep it elsewhere. Let the account show its trash by IMAP"
                );
                return Ok(Deed::Delete);
            };
            // What is fetched from the trash itself is deleted for good.
            let is_source = |name: &String| connection.folder(name) == trash;
            Ok(if mailbox.folders.iter().any(is_source) {
                Deed::Delete
            } else {
                Deed::Move(trash)
            })
        }
    }
}

/// The name, as it is sent, of the folder whose special use is trash.
pub(crate) async fn find_trash(
    connection: &mut Connection<impl Socket>,
    capabilities: &Capabilities,
) -> Result<Option<String>, FetchError> {
    find_special(connection, capabilities, &NameAttribute::Trash).await
}

/// The name, as it is sent, of the folder that has this special use (RFC 6154).
pub(crate) async fn find_special(
    connection: &mut Connection<impl Socket>,
    capabilities: &Capabilities,
    special: &NameAttribute<'_>,
) -> Result<Option<String>, FetchError> {
    let only_special = capabilities.has("SPECIAL-USE") && capabilities.has("LIST-EXTENDED");
    let line = if only_special {
        r#"LIST (SPECIAL-USE) "" "*""#
    } else {
        r#"LIST "" "*""#
    };
    let mut found = None;
    let each = |response: &Response<'_>| {
        if let Response::MailboxData(MailboxDatum::List(list)) = response
            && list.name_attributes.iter().any(|name| name == special)
            && selectable(list)
        {
            found = found.take().or_else(|| told(&list.name));
        }
    };
    connection.run("LIST", line, each).await?;
    Ok(found)
}

/// Acknowledges one folder's delivered messages on the server; gives those that are done and may be forgotten.
///
/// `delivered` holds at most [`BATCH`] messages. A UID that vanished counts as done. `flagged` are UIDs that an earlier call could
/// only flag; what this one can only flag joins them.
pub(crate) async fn acknowledge(
    connection: &mut Connection,
    capabilities: &Capabilities,
    deed: &Deed,
    mut delivered: Vec<(MessageId, u32)>,
    flagged: &mut BTreeSet<u32>,
) -> Result<Vec<MessageId>, FetchError> {
    delivered.sort_unstable_by_key(|&(_, uid)| uid);
    let mut uids: Vec<u32> = delivered.iter().map(|&(_, uid)| uid).collect();
    let done = delivered.iter().map(|&(message, _)| message).collect();
    if *deed == Deed::Keep {
        return Ok(done);
    }
    let first = apply(connection, capabilities, deed, &uids, flagged).await;
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
        apply(connection, capabilities, deed, &uids, flagged).await?;
    }
    Ok(done)
}

async fn apply(
    connection: &mut Connection,
    capabilities: &Capabilities,
    deed: &Deed,
    uids: &[u32],
    flagged: &mut BTreeSet<u32>,
) -> Result<(), FetchError> {
    let set = uid_set(uids);
    match deed {
        Deed::Keep => Ok(()),
        Deed::Seen => store(connection, &set, "\\Seen").await,
        Deed::Delete => delete(connection, capabilities, uids, flagged).await,
        Deed::Move(target) => {
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
        .run("UID STORE", &flagging(set, flag), |_| {})
        .await
}

fn flagging(set: &str, flag: &str) -> String {
    format!("UID STORE {set} +FLAGS.SILENT ({flag})")
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
        // Should the flag be refused, nothing goes but what is delivered and flagged already.
        let flag = flagging(&set, "\\Deleted");
        let expunge = format!("UID EXPUNGE {set}");
        let both = [
            ("UID STORE", flag.as_str()),
            ("UID EXPUNGE", expunge.as_str()),
        ];
        let [flagged, expunged] = connection.run_both(both, |_| {}).await?;
        return flagged.and(expunged).map_err(FetchError::Refused);
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

/// A folder that mail is moved to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target<'a> {
    folder: &'a str,
    create: bool,
    /// Which mail, in words.
    mail: &'static str,
}

/// Where delivered mail goes, if it goes to a folder that is named.
pub(crate) fn delivered_to(after: &After) -> Option<Target<'_>> {
    let After::Move { folder, create } = after else {
        return None;
    };
    Some(Target {
        folder,
        create: *create,
        mail: "delivered mail",
    })
}

/// Where held mail goes, if it does not stay.
pub(crate) fn held_to(failed: &Failed) -> Option<Target<'_>> {
    let Failed::Move { folder, create } = failed else {
        return None;
    };
    Some(Target {
        folder,
        create: *create,
        mail: "held mail",
    })
}

/// Makes sure that mail can be moved where it shall go. `change` false only looks.
pub(crate) async fn check_target(
    connection: &mut Connection,
    folders: &[String],
    target: Option<Target<'_>>,
    change: bool,
) -> Result<Option<String>, FetchError> {
    let Some(Target {
        folder,
        create,
        mail,
    }) = target
    else {
        return Ok(None);
    };
    if folders.iter().any(|source| same_folder(source, folder)) {
        return Err(FetchError::Blocked(format!(
            "mail can't be moved to {folder}: that is a folder it is fetched from"
        )));
    }
    let mut found = false;
    let target = connection.folder(folder);
    // A name with wildcards matches others too.
    let wild = folder.contains(['*', '%']);
    let each = |r: &Response<'_>| {
        if let Response::MailboxData(MailboxDatum::List(l)) = r {
            found |= selectable(l) && (!wild || told(&l.name).as_deref() == Some(&*target));
        }
    };
    connection
        .run("LIST", &format!("LIST \"\" {target}"), each)
        .await?;
    match (found, create) {
        (true, _) => Ok(Some(format!("the folder {folder} exists"))),
        (false, true) if !change => Ok(Some(format!(
            "the folder {folder} does not exist; it is created when it is needed"
        ))),
        (false, true) => match connection
            .run("CREATE", &format!("CREATE {target}"), |_| {})
            .await
        {
            Ok(()) => Ok(Some(format!("the folder {folder} was created"))),
            Err(e) => Err(FetchError::Blocked(missing(
                folder,
                mail,
                Some(&e.refused()?),
            ))),
        },
        (false, false) => Err(FetchError::Blocked(missing(folder, mail, None))),
    }
}

fn selectable(list: &imap_proto::MailboxListData<'_>) -> bool {
    !list.name_attributes.iter().any(|a| {
        matches!(a, NameAttribute::NoSelect)
            || matches!(a, NameAttribute::Extension(x) if x.eq_ignore_ascii_case("\\NonExistent"))
    })
}

fn missing(folder: &str, mail: &str, refusal: Option<&Refusal>) -> String {
    match refusal {
        Some(refusal) => {
            format!("the folder {folder}, where {mail} shall go, can't be created: {refusal}")
        }
        None => format!(
            "the folder {folder}, where {mail} shall go, does not exist: create it, or allow it with `create: true`"
        ),
    }
}

/// Selects a folder for fetching. In words why it can't be used: it is not there, or its mail could not be acknowledged, which is
/// found out before anything is delivered from it.
pub(crate) async fn select_for(
    connection: &mut Connection,
    name: &str,
    after: &After,
    capabilities: &Capabilities,
) -> Result<Result<Selected, String>, FetchError> {
    // What is taken out of its folder leaves little there to list.
    let grows = matches!(after, After::Keep | After::Seen);
    let opening = if grows && capabilities.has("CONDSTORE") {
        Opening::SelectWithModseq
    } else {
        Opening::Select
    };
    let selected = match select(connection, name, opening).await {
        Ok(selected) => selected,
        Err(e) => {
            let refusal = e.refused()?;
            return Ok(Err(format!(
                "the folder {name} can't be opened: {refusal}. If it was renamed or deleted, change `folders`"
            )));
        }
    };
    if selected.read_only && *after != After::Keep {
        return Ok(Err(format!(
            "the folder {name} is read-only for this user, so delivered mail can't be acknowledged; use `after: keep`, or ask for the right"
        )));
    }
    Ok(Ok(selected))
}
