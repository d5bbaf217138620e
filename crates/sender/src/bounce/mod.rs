//! Reports to senders: a reply that could not be delivered, is late, or left for a server that reports nothing (RFC 3464).
//!
//! The spool says what is owed; a report is composed and handed in with what it is about, in one transaction. It goes into a mailbox's
//! ticket command, or by the same relay to an address, from the null sender, so that nothing is ever reported about a report.
mod compose;
mod status;

use crate::host_name;
use crate::relay::Account;
use compose::{Letter, compose};
use spool::report::{Owed, Report, Reporting};
use spool::{Direction, Headline, Local, MessageId, Outgoing, Own, OwnKind, Spool, SpoolError};
use std::pin::pin;
use std::time::Duration;
use token_store::accounts::{BouncesTo, Relay};
use tokio::time::sleep;
use tracing::{info, warn};

/// A hint may be lost, and what is late becomes so by itself.
const LOOK: Duration = Duration::from_secs(60);
/// Recipients of one message fail one after the other; so long is waited for the others, so that one report names all.
const GATHER: Duration = Duration::from_secs(2);

/// Reports for one relay until shutdown; without `bounces_to` nothing is reported, and what failed stays held.
pub(crate) async fn report(account: &Account) {
    let Some(to) = &account.relay.bounces_to else {
        return;
    };
    let hint = account.parts.spool.hint(Direction::Out, account.name());
    loop {
        let mut hinted = pin!(hint.notified());
        hinted.as_mut().enable();
        let look = match pass(account, to).await {
            true => LOOK,
            false => account.timing.poll,
        };
        tokio::select! {
            () = account.shutdown.cancelled() => return,
            () = hinted => {}
            () = sleep(look) => continue,
        }
        tokio::select! {
            () = account.shutdown.cancelled() => return,
            () = sleep(GATHER.min(account.timing.poll)) => {}
        }
    }
}

/// One look: everything that is owed now. False: something could not be written, and is tried again soon.
async fn pass(account: &Account, to: &BouncesTo) -> bool {
    let spool = &account.parts.spool;
    let owed = match spool.owed_reports(account.name(), account.timing.late) {
        Ok(owed) => owed,
        Err(error) => {
            warn!(relay = account.name(), %error, "which reports are owed could not be read");
            return false;
        }
    };
    for owed in owed {
        let (report, message, recipients) = (owed.report, owed.message.0, owed.recipients.len());
        match send(spool, &account.relay, to, owed).await {
            Ok(Some(id)) => info!(
                relay = account.name(),
                queue_id = message,
                report_id = id.0,
                recipients,
                ?report,
                "reported to the sender"
            ),
            Ok(None) => {}
            Err(error) => {
                warn!(relay = account.name(), queue_id = message, %error, "a report could not be written; it stays owed");
                return false;
            }
        }
    }
    true
}

async fn send(
    spool: &Spool,
    relay: &Relay,
    to: &BouncesTo,
    owed: Owed,
) -> Result<Option<MessageId>, SpoolError> {
    let own = Own::new(OwnKind::Bounce);
    let host = host_name();
    let postmaster = format!("MAILER-DAEMON@{host}");
    // A provider takes only From addresses of the account; a ticket system knows a bounce by its usual name.
    let (author, reader) = match to {
        BouncesTo::Mailbox(_) => (postmaster, owed.sender.clone()),
        BouncesTo::Address(address) => (own_address(relay).to_owned(), address.clone()),
    };
    let letter = Letter {
        owed: &owed,
        relay,
        host: &host,
        author: &author,
        reader: &reader,
        origin: spool.origin(&own),
        id: &own.id,
        now: jiff::Timestamp::now(),
    };
    let headline = Headline {
        from: author.clone(),
        subject: letter.subject(),
        message_id: letter.message_id(),
    };
    let mut writer = spool.body();
    let original = spool.open_body(owed.message).await;
    compose(&letter, original, &mut writer).await?;
    let body = writer.finish(true).await?;
    let reporting = match to {
        BouncesTo::Mailbox(mailbox) => Reporting::Mailbox(Local {
            mailbox: mailbox.clone(),
            own,
            headline,
            body,
        }),
        BouncesTo::Address(address) => {
            let outgoing = Outgoing {
                sender: String::new(),
                relay: relay.name.clone(),
                recipients: vec![address.as_str().into()],
                smtputf8: false,
                eight_bit: true,
                ret: None,
                envid: None,
                automatic: true,
                conversation: None,
                headline,
                body,
            };
            Reporting::Relay(outgoing, own)
        }
    };
    spool.report(owed, reporting).await
}

/// The first full address that the relay serves, else the name it signs in with.
fn own_address(relay: &Relay) -> &str {
    let full = |sender: &&String| !sender.starts_with('@') && sender.contains('@');
    relay.senders.iter().find(full).unwrap_or(&relay.user)
}

/// The word of RFC 3464 section 2.3.3.
fn action(report: Report) -> &'static str {
    match report {
        Report::Failed => "failed",
        Report::Delayed => "delayed",
        Report::Relayed => "relayed",
    }
}
