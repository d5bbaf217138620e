//! Messages over the mailbox's limit: only their headers are fetched, and they are held.

use imap_proto::MessageSection;
use spool::{Headline, Unfetchable};

use super::Intake;
use crate::error::FetchError;
use crate::headline::headline;
use crate::imap::listing::Listed;

/// Headers kept of a message too large to fetch.
const HEADER: u32 = 64 * 1024;

impl Intake<'_> {
    /// Fetches only the headers of a message over the limit, and holds it.
    pub(super) async fn too_big(&mut self, listed: Listed) -> Result<(), FetchError> {
        let uid = listed.uid;
        self.connection
            .expect_literals_up_to(Some(u64::from(HEADER)));
        let line = format!("UID FETCH {uid} (UID BODY.PEEK[HEADER]<0.{HEADER}>)");
        let sent = self.ask(&[uid], &line).await?;
        let mut found = None;
        loop {
            let body = match self.next_body(&sent, Some(&MessageSection::Header)).await {
                Ok(Some(body)) => body,
                Ok(None) => break,
                Err(e) => {
                    let refusal = e.refused()?;
                    self.put_off(uid, &refusal.to_string());
                    return Ok(());
                }
            };
            if let Some(body) = body.filter(|b| b.uid == uid) {
                found = Some(headline(&body.bytes));
            }
        }
        match found {
            Some(headline) => {
                self.hold(uid, listed.size.map_or(0, u64::from), headline)
                    .await
            }
            None => {
                self.folder.vanished(uid);
                Ok(())
            }
        }
    }

    pub(super) async fn hold(
        &mut self,
        uid: u32,
        size: u64,
        headline: Headline,
    ) -> Result<(), FetchError> {
        let why = format!(
            "larger than this mailbox's max_size of {} bytes; it stays in the mailbox",
            self.mailbox.max_size
        );
        tracing::warn!(
            mailbox = self.mailbox.name,
            folder = self.folder.name,
            uid,
            size,
            "held: {why}"
        );
        self.spool
            .hold_unfetched(Unfetchable {
                key: self.key(uid),
                headline,
                size,
                why,
            })
            .await?;
        self.folder.done(uid);
        Ok(())
    }
}
