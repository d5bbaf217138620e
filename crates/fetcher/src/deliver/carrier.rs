//! The way that a mailbox's messages go, built once for the mailbox.

use spool::Stored;
use token_store::accounts::{Mailbox, Way};

use super::command::{self, Runner};
use super::job::{Finished, Job, Ready};

/// Delivers messages the way that their mailbox says.
pub(crate) enum Carrier {
    Command(Runner),
}

impl Carrier {
    pub(crate) fn new(mailbox: &Mailbox) -> Self {
        let deliver = &mailbox.deliver;
        match &deliver.way {
            Way::Command(run) => {
                if let Some(Err(why)) = run.directory.as_deref().map(command::is_directory) {
                    tracing::error!(mailbox = mailbox.name, "deliveries will fail: {why}");
                }
                Self::Command(Runner::new(
                    run,
                    &mailbox.name,
                    &mailbox.user,
                    deliver.timeout,
                ))
            }
        }
    }

    /// A message in the form that its delivery needs, so that this is done before its turn comes.
    pub(crate) fn ready(&self, stored: Stored) -> std::io::Result<Ready> {
        match self {
            Self::Command(_) => command::stdin(stored),
        }
    }

    /// Delivers one message, within the mailbox's time for it. Dropping the future ends what was begun.
    pub(crate) async fn deliver(&self, job: Job) -> Finished {
        match self {
            Self::Command(runner) => runner.deliver(job).await,
        }
    }
}
