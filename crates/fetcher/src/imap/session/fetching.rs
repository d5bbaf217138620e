//! Everything new in one folder: listed, fetched, and acknowledged in between.

use std::sync::atomic::Ordering;

use super::{BREATH, Context, REPEAT, Session, WORTH};
use crate::error::FetchError;
use crate::imap::acknowledge::BATCH;
use crate::imap::bodies::{Intake, Source, Stop};
use crate::imap::listing::status;

impl Session {
    /// Lists and fetches everything new in one folder, acknowledging in between.
    pub(super) async fn fetch_new(&mut self, at: usize) -> Result<(), FetchError> {
        if self.is_unchanged(at).await? || !self.open(at).await? {
            return Ok(());
        }
        self.look_again(at).await?;
        self.start_from(at).await?;
        self.folders[at].more = true;
        let mut fetched = 0;
        while !self.stopping() {
            if self.folders[at].pending.is_empty() {
                if !self.folders[at].more {
                    break;
                }
                self.list_window(at).await?;
                continue;
            }
            let pending = self.folders[at].pending.len();
            self.context.show.session(format!(
                "fetching {} of {} from {}",
                fetched,
                fetched + pending,
                self.folders[at].name
            ));
            let (stop, taken) = self.fetch_some(at).await?;
            fetched += taken;
            self.acknowledge(at, WORTH).await?;
            if stop == Stop::Full {
                self.wait_for_room(at).await?;
            }
        }
        self.forget_stale(at).await?;
        self.remember_look(at);
        self.acknowledge(at, 1).await
    }

    /// Whether a folder that is not selected got nothing new since the last look; where there are several, this saves a SELECT and
    /// a listing of each.
    async fn is_unchanged(&mut self, at: usize) -> Result<bool, FetchError> {
        if self.folders.len() == 1 || self.current == Some(at) {
            return Ok(false);
        }
        let now = status(&mut self.connection, &self.folders[at].name).await?;
        Ok(self.folders[at].is_unchanged(now))
    }

    async fn fetch_some(&mut self, at: usize) -> Result<(Stop, usize), FetchError> {
        let Context {
            mailbox,
            parts,
            signals,
            memory,
            stops,
            ..
        } = &self.context;
        let whole = !memory.imap.in_pieces.load(Ordering::Relaxed);
        let source = Source {
            whole,
            gmail: self.capabilities.has("X-GM-EXT-1"),
            memory: &memory.imap,
        };
        let mut intake = Intake::new(
            &mut self.connection,
            &parts.spool,
            mailbox,
            &mut self.folders[at],
            &signals.taken,
            source,
        );
        // A pause now and then lets acknowledgements go between two fetches.
        intake
            .run(|taken| stops.shutdown.is_cancelled() || taken >= BATCH)
            .await
    }

    /// The mailbox is the queue: nothing is fetched until deliveries have made room.
    async fn wait_for_room(&mut self, at: usize) -> Result<(), FetchError> {
        let cap = self.context.mailbox.max_undelivered.max(1);
        let enough = cap - (cap / 4).max(1);
        loop {
            let undelivered = self
                .context
                .parts
                .spool
                .undelivered(&self.context.mailbox.name)?;
            if undelivered <= enough || self.stopping() {
                return Ok(());
            }
            self.context.show.session(format!("{undelivered} messages wait to be delivered; the others stay in the mailbox until then"));
            let Context { signals, stops, .. } = &self.context;
            tokio::select! {
                () = signals.delivered.notified() => {
                    // Deliveries come in runs: the spool is asked now and then, not after each.
                    tokio::time::sleep(BREATH).await;
                    self.acknowledge(at, WORTH).await?;
                }
                () = stops.shutdown.cancelled() => {}
                // Also keeps the connection from being closed as idle.
                () = tokio::time::sleep(REPEAT) => self.connection.run("NOOP", "NOOP", |_| {}).await?,
            }
        }
    }
}
