//! Whether a message is in an account's Sent folder: asked before a reply in doubt is sent a second time.

use imap_proto::{MailboxDatum, NameAttribute, Response};
use token_store::Tokens;
use token_store::accounts::{Mailbox, Protocol};

use crate::credential::no_token;
use crate::error::FetchError;
use crate::imap::{Connection, PATIENCE, connect, find_special, introduce, quoted, sign_in};

/// Looks for a message with this Message-ID (without brackets), a `Received` field of which contains `received`, in the folder for
/// sent mail of a mailbox. Changes nothing there.
///
/// # Errors
/// Why it can't be said: in words, for people.
pub async fn is_sent(
    mailbox: &Mailbox,
    tokens: &Tokens,
    message_id: &str,
    received: &str,
) -> Result<bool, String> {
    if mailbox.protocol != Protocol::Imap {
        return Err(format!(
            "the mailbox {} is fetched by POP3, which has no Sent folder",
            mailbox.name
        ));
    }
    let (Some(id), Some(received)) = (quoted(&format!("<{message_id}>")), quoted(received)) else {
        return Err("its Message-ID cannot be searched for".to_owned());
    };
    let search = format!("UID SEARCH HEADER Message-ID {id} HEADER Received {received}");
    look(mailbox, tokens, &search)
        .await
        .map_err(|error| match error {
            Missed::Folder => format!(
                "the mailbox {} shows no folder for sent mail (special use \\Sent)",
                mailbox.name
            ),
            Missed::Failed(error) => format!("the mailbox {}: {error}", mailbox.name),
        })
}

enum Missed {
    Folder,
    Failed(FetchError),
}

impl From<FetchError> for Missed {
    fn from(error: FetchError) -> Self {
        Self::Failed(error)
    }
}

async fn look(mailbox: &Mailbox, tokens: &Tokens, search: &str) -> Result<bool, Missed> {
    let credential = tokens.credential(&mailbox.auth, &mailbox.user).await;
    let credential = credential.map_err(no_token)?;
    let (mut connection, offered) = connect(mailbox, PATIENCE).await?;
    let capabilities = sign_in(&mut connection, &offered, mailbox, &credential).await?;
    introduce(&mut connection, &capabilities).await?;
    let sent = find_special(&mut connection, &capabilities, &NameAttribute::Sent).await?;
    let Some(folder) = sent else {
        connection.leave().await;
        return Err(Missed::Folder);
    };
    let found = search_in(&mut connection, &folder, search).await?;
    connection.leave().await;
    Ok(found)
}

/// `folder` is a name as a LIST told it, ready to be sent.
async fn search_in(
    connection: &mut Connection,
    folder: &str,
    search: &str,
) -> Result<bool, FetchError> {
    connection
        .run("EXAMINE", &format!("EXAMINE {folder}"), |_| {})
        .await?;
    let mut found = false;
    let each = |response: &Response<'_>| {
        if let Response::MailboxData(MailboxDatum::Search(uids)) = response {
            found |= !uids.is_empty();
        }
    };
    connection.run("UID SEARCH", search, each).await?;
    Ok(found)
}
