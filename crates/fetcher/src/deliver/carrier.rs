//! The way that a mailbox's messages go, built once for the mailbox.

use spool::Stored;
use token_store::accounts::{Mailbox, Way};

use super::command::{self, Runner};
use super::http::Poster;
use super::job::{Finished, Job};
use super::lmtp::Mailer;
use super::maildir::Maildir;

/// Delivers messages the way that their mailbox says.
pub(crate) enum Carrier {
    Command(Runner),
    Lmtp(Mailer),
    Http(Box<Poster>),
    Maildir(Maildir),
}

impl Carrier {
    /// `instance` names the spool that the messages come from.
    pub(crate) fn new(mailbox: &Mailbox, instance: &str) -> Self {
        let longest = mailbox.deliver.timeout;
        let (name, user) = (&mailbox.name, &mailbox.user);
        match &mailbox.deliver.way {
            Way::Command(run) => {
                if let Some(Err(why)) = run.directory.as_deref().map(command::is_directory) {
                    tracing::error!(mailbox = name, "deliveries will fail: {why}");
                }
                Self::Command(Runner::new(run, name, user, longest))
            }
            Way::Lmtp(lmtp) => Self::Lmtp(Mailer::new(lmtp, longest)),
            Way::Http(http) => Self::Http(Box::new(Poster::new(http, name, user, longest))),
            Way::Maildir(folder) => Self::Maildir(Maildir::new(folder, instance, longest)),
        }
    }

    /// A message in the form that its delivery needs, so that this is done before its turn comes.
    pub(crate) fn ready(&self, stored: Stored) -> std::io::Result<Stored> {
        match self {
            Self::Command(_) => command::stdin(stored).map(Stored::File),
            Self::Lmtp(_) | Self::Http(_) | Self::Maildir(_) => Ok(stored),
        }
    }

    /// Delivers one message, within the mailbox's time for it. Dropping the future ends what was begun.
    pub(crate) async fn deliver(&self, job: Job) -> Finished {
        match self {
            Self::Command(runner) => runner.deliver(job).await,
            Self::Lmtp(mailer) => mailer.deliver(job).await,
            Self::Http(poster) => poster.deliver(job).await,
            Self::Maildir(maildir) => maildir.deliver(job).await,
        }
    }

    /// Nothing is being delivered: ends connections that were kept for the next message.
    pub(crate) async fn rest(&self) {
        match self {
            Self::Lmtp(mailer) => mailer.rest().await,
            Self::Http(poster) => poster.rest(),
            Self::Command(_) | Self::Maildir(_) => {}
        }
    }
}
