//! Bodies of held messages that are over their time: left to the maildrop, where it has the messages and keeps them.

use spool::MessageId;

use super::session::Session;
use crate::error::FetchError;
use crate::session::{Context, keeping};

impl Session {
    /// Gives up the bodies of held messages that are over their time, if this session has them listed: nobody else can delete them
    /// while it lasts. The others are kept, however old, and so are all of a server that may delete what was retrieved by itself.
    pub(super) async fn leave_bodies(&self) -> Result<(), FetchError> {
        if self.capabilities.expires() {
            return Ok(());
        }
        let Context { mailbox, parts, .. } = &self.context;
        let over = parts
            .spool
            .over_time(&mailbox.name, "INBOX", 0, &keeping(mailbox))?;
        let listed =
            |(message, uid): (MessageId, u32)| self.numbers.contains_key(&uid).then_some(message);
        let left: Vec<MessageId> = over.into_iter().filter_map(listed).collect();
        if left.is_empty() {
            return Ok(());
        }
        tracing::info!(
            mailbox = mailbox.name,
            count = left.len(),
            "held for so long, or so much, that the mailbox alone keeps the bodies now"
        );
        parts.spool.give_up(left).await?;
        Ok(())
    }
}
