//! Which mailbox shows a relay what it has sent: the sender knows no IMAP, and the fetcher no relays.

use std::sync::Arc;

use sender::{SentFolder, Wanted};
use token_store::Tokens;
use token_store::accounts::{Mailbox, Protocol, Relay};

/// Looks into the Sent folder of the relay's account. The mailboxes are asked for when it comes to that: they may have changed.
pub(super) fn folder_of(relay: &Relay, tokens: &Tokens) -> SentFolder {
    let (relay, tokens) = (relay.clone(), tokens.clone());
    Arc::new(move |wanted| {
        let (relay, tokens) = (relay.clone(), tokens.clone());
        Box::pin(async move { look(&relay, &tokens, &wanted).await })
    })
}

async fn look(relay: &Relay, tokens: &Tokens, wanted: &Wanted) -> Result<bool, String> {
    let mailboxes = tokens.store().mailboxes().map_err(|e| e.to_string())?;
    let Some(mailbox) = same_account(relay, &mailboxes) else {
        // Nothing to be said about: most relays have no mailbox.
        return Ok(false);
    };
    fetcher::is_sent(mailbox, tokens, &wanted.message_id, &wanted.received).await
}

/// The mailbox that signs in as the relay does, with the same credential.
fn same_account<'a>(relay: &Relay, mailboxes: &'a [Mailbox]) -> Option<&'a Mailbox> {
    mailboxes.iter().find(|mailbox| {
        mailbox.protocol == Protocol::Imap
            && mailbox.user.eq_ignore_ascii_case(&relay.user)
            && mailbox.auth == relay.auth
    })
}
