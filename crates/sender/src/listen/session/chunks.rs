//! BDAT (RFC 3030): a message in chunks, each exactly as long as its command says, whether or not it is wanted.
//!
//! A chunk that was not taken spoils its transaction: the ones behind it may be on their way already, and without it they are
//! no message. They hear the same reply until LAST or RSET.
use super::{Envelope, NO_RECIPIENTS, Session};
use crate::listen::command::Chunk;
use crate::listen::intake::{Broken, Intake, receive_chunk};
use std::ops::ControlFlow;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout_at};
use wire::lines::LineError;

/// How far a message in chunks has come.
pub(super) enum Chunks {
    /// So far it is well.
    Taken(Box<Part>),
    /// It will not be taken, with this reply.
    Spoilt(String),
}

/// A message of which some has come.
pub(super) struct Part {
    intake: Intake,
    /// The transaction's.
    id: String,
    /// By then all of it must have come.
    ends: Instant,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// Reads one chunk and answers. Break: the session is over.
    pub(super) async fn bdat(&mut self, chunk: Chunk) -> Result<ControlFlow<()>, LineError> {
        // A client may wait for the replies before a chunk that has not come yet.
        if chunk.octets > self.lines.buffered().len() as u64 {
            self.flush().await?;
        }
        self.lines.set_timeout(self.shared.limits.data_timeout);
        let Some(mut envelope) = self.envelope.take() else {
            let skipped = receive_chunk(&mut self.lines, chunk.octets, None).await;
            if let Err(broken) = skipped {
                return self.broken_off(broken);
            }
            self.fault("503 5.5.1 MAIL comes before BDAT");
            return Ok(ControlFlow::Continue(()));
        };
        let (mut chunks, is_first) = match envelope.chunks.take() {
            Some(chunks) => (chunks, false),
            None => (self.first(&envelope, chunk).await, true),
        };
        let read = match &mut chunks {
            Chunks::Spoilt(_) => receive_chunk(&mut self.lines, chunk.octets, None).await,
            // A chunk that is here already would pass any timeout.
            Chunks::Taken(part) if Instant::now() >= part.ends => Err(Broken::Endless),
            Chunks::Taken(part) => {
                let intake = Some(&mut part.intake);
                let read = receive_chunk(&mut self.lines, chunk.octets, intake);
                let read = timeout_at(part.ends, read).await;
                read.unwrap_or(Err(Broken::Endless))
            }
        };
        if let Err(broken) = read {
            return self.broken_off(broken);
        }
        match chunks {
            Chunks::Taken(part) if chunk.last => {
                let received = part.intake.finish().await;
                self.received(envelope, received, &part.id).await;
            }
            Chunks::Taken(part) => self.chunk_taken(envelope, part, chunk),
            Chunks::Spoilt(reply) => {
                // One mistake, however many chunks were on their way.
                self.faults += u32::from(is_first);
                self.reply(&reply);
                envelope.chunks = Some(Chunks::Spoilt(reply));
                self.envelope = Some(envelope).filter(|_| !chunk.last);
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Whether some of a message has come, and nothing is wrong with it.
    pub(super) fn is_amid_chunks(&self) -> bool {
        let chunks = self.envelope.as_ref().and_then(|e| e.chunks.as_ref());
        matches!(chunks, Some(Chunks::Taken(_)))
    }

    async fn first(&mut self, envelope: &Envelope, chunk: Chunk) -> Chunks {
        if envelope.recipients.is_empty() {
            return Chunks::Spoilt(NO_RECIPIENTS.to_owned());
        }
        let limit = self.shared.rules.max_size;
        let size = envelope.mail.size.max(chunk.octets).min(limit);
        if let Some(reply) = self.low_disk(size) {
            return Chunks::Spoilt(reply.to_owned());
        }
        let (intake, id) = self.intake(&envelope.mail).await;
        Chunks::Taken(Box::new(Part {
            intake,
            id,
            ends: Instant::now() + self.shared.limits.message_timeout,
        }))
    }

    fn chunk_taken(&mut self, mut envelope: Envelope, part: Box<Part>, chunk: Chunk) {
        let refused = part.intake.refusal().map(|why| self.refuse(why, &envelope));
        envelope.chunks = Some(match refused {
            None => {
                self.reply(&format!("250 2.0.0 Ok: {} octets", chunk.octets));
                Chunks::Taken(part)
            }
            Some(reply) => {
                self.fault(&reply);
                Chunks::Spoilt(reply)
            }
        });
        self.envelope = Some(envelope);
    }
}
