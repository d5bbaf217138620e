//! Messages in pieces, and the question whether a message really ends where its bytes ended.

use spool::{BodyWriter, Headline, Marks};

use super::came::Came;
use super::{Intake, PIECE};
use crate::error::FetchError;
use crate::headline::headline;
use crate::imap::listing::Listed;

/// A message of which a part is written.
pub(super) struct Partial {
    pub(super) listed: Listed,
    pub(super) body: BodyWriter,
    pub(super) headline: Headline,
    /// X-GM-MSGID.
    pub(super) provider_id: Option<u64>,
    pub(super) marks: Marks,
}

impl Partial {
    /// Whether less has come than the server announced.
    pub(super) fn short(&self) -> bool {
        self.body.len() < u64::from(self.listed.size.unwrap_or(0))
    }

    fn len32(&self) -> u32 {
        u32::try_from(self.body.len()).unwrap_or(u32::MAX)
    }
}

impl Intake<'_> {
    /// A large message, streamed piece by piece until a piece is short and nothing of the announced size is missing.
    pub(super) async fn pieces(&mut self, listed: Listed) -> Result<(), FetchError> {
        let uid = listed.uid;
        let mut partial = Partial {
            body: self.spool.body(),
            headline: Headline::default(),
            provider_id: None,
            marks: Marks::default(),
            listed,
        };
        loop {
            let offset = partial.len32();
            let got = match self.piece(uid, offset).await {
                Ok(got) => got,
                Err(e) => {
                    let refusal = e.refused()?;
                    self.put_off(uid, &refusal.to_string());
                    return Ok(());
                }
            };
            let Some(Came {
                bytes: got,
                provider_id,
                ..
            }) = got
            else {
                if offset == 0 {
                    self.folder.vanished(uid);
                    return Ok(());
                }
                if partial.short() {
                    return self.unanswered(partial).await;
                }
                return self.ended(partial).await;
            };
            if offset == 0 {
                partial.headline = headline(&got);
                partial.provider_id = provider_id;
                partial.marks = self.marks(&got);
            }
            partial.body.write(&got).await?;
            if partial.body.len() > self.mailbox.max_size {
                return self.hold(uid, partial.body.len(), partial.headline).await;
            }
            // A short piece is the end once all that was announced has come; else the server is asked once more.
            let full = got.len() == PIECE as usize;
            if got.is_empty() || !(full || partial.short()) {
                return self.ended(partial).await;
            }
        }
    }

    /// The server says that a message ends here.
    async fn ended(&mut self, partial: Partial) -> Result<(), FetchError> {
        let uid = partial.listed.uid;
        if partial.body.is_empty() {
            self.came_short(uid, "its body is empty");
            return Ok(());
        }
        // RFC822.SIZE is an estimate on some servers, but not by half: the payload is not there yet (Exchange lists a UID before).
        let announced = u64::from(partial.listed.size.unwrap_or(0));
        if partial.body.len() * 2 < announced && !self.folder.insisted(uid) {
            self.came_short(uid, "less than half of its announced size came");
            return Ok(());
        }
        self.take(partial).await
    }

    /// The server answered nothing when asked for the rest: the message has most likely vanished.
    async fn unanswered(&mut self, partial: Partial) -> Result<(), FetchError> {
        let uid = partial.listed.uid;
        if self.folder.insisted(uid) {
            return self.ended(partial).await;
        }
        self.came_short(uid, "the server stopped answering for it");
        Ok(())
    }

    /// Asks of each message that came shorter than announced whether it ends there.
    pub(super) async fn resolve_doubts(&mut self) -> Result<(), FetchError> {
        for partial in std::mem::take(&mut self.doubtful) {
            let uid = partial.listed.uid;
            let offset = partial.len32();
            let tail = match self.piece(uid, offset).await {
                Ok(tail) => tail.map(|came| came.bytes.len()),
                Err(e) => {
                    let refusal = e.refused()?;
                    self.put_off(uid, &refusal.to_string());
                    continue;
                }
            };
            match tail {
                Some(0) => self.ended(partial).await?,
                Some(_) => self.came_short(uid, "it grew while it was fetched"),
                None => self.unanswered(partial).await?,
            }
        }
        Ok(())
    }

    /// Fetches one piece; None if the server sent none.
    async fn piece(&mut self, uid: u32, offset: u32) -> Result<Option<Came>, FetchError> {
        self.connection
            .expect_literals_up_to(Some(u64::from(PIECE)));
        let items = self.items();
        let line = format!("UID FETCH {uid} ({items} BODY.PEEK[]<{offset}.{PIECE}>)");
        let sent = self.ask(&[uid], &line).await?;
        let mut piece = None;
        while let Some(body) = self.next_body(&sent, None).await? {
            if let Some(body) = body.filter(|b| b.uid == uid) {
                body.must_start_at(offset)?;
                piece = Some(body);
            }
        }
        Ok(piece)
    }
}
