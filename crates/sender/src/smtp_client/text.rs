//! The text after the envelope: stuffed behind DATA, or in chunks by BDAT; nothing is in doubt before its last part leaves.
use super::send::{Answer, is_unknown_command};
use super::{Client, ClientError, Stage, lost};
use spool::Pieces;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout_at};
use wire::smtp::Stuffer;

/// Text is written when so much of it is ready; a chunk of BDAT is this large.
const WRITE: usize = 64 * 1024;
/// Chunks sent before the first of their replies is read: a megabyte on its way.
const WINDOW: usize = 16;
/// How long a server that closed in the middle of the text is listened to for its reason.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Of the first line, what a first chunk may have. Without a line end it is no command, whoever reads it.
const PROBE: usize = 16;

/// A message on its way from the spool, in its wire form.
pub(super) struct Outbound {
    text: Pieces,
    size: u64,
    read: u64,
    stuffer: Option<Stuffer>,
    /// Read, and not written yet.
    out: Vec<u8>,
    chunks: bool,
}

impl Outbound {
    /// For DATA.
    pub(super) fn behind_data(size: u64, text: Pieces) -> Self {
        Self {
            text,
            size,
            read: 0,
            stuffer: Some(Stuffer::new()),
            out: Vec::new(),
            chunks: false,
        }
    }

    /// For BDAT, with the beginning of its first line; for DATA, and with nothing, if that line is empty.
    pub(super) async fn in_chunks(size: u64, text: Pieces) -> Result<(Self, Vec<u8>), Answer> {
        let mut this = Self::behind_data(size, text);
        let piece = this.text.next().await.map_err(unreadable)?;
        let beginning = &piece[..piece.len().min(PROBE)];
        let line = memchr::memchr2(b'\r', b'\n', beginning).unwrap_or(beginning.len());
        let mut stuffer = Stuffer::new();
        if line > 0 {
            this.chunks = true;
            stuffer = Stuffer::without_dots();
        }
        stuffer.stuff(piece, &mut this.out);
        this.read = piece.len() as u64;
        this.stuffer = Some(stuffer);
        let probe = this.out.drain(..line).collect();
        Ok((this, probe))
    }

    pub(super) fn chunks(&self) -> bool {
        self.chunks
    }

    /// Reads one piece more; false when that was all, and it was all there.
    async fn more(&mut self) -> Result<bool, Answer> {
        let piece = self.text.next().await.map_err(unreadable)?;
        let Some(stuffer) = &mut self.stuffer else {
            return Ok(false);
        };
        if !piece.is_empty() {
            self.read += piece.len() as u64;
            stuffer.stuff(piece, &mut self.out);
            return Ok(true);
        }
        if self.read != self.size {
            return Err(Answer::Lost(format!(
                "the stored message has {} bytes instead of {}",
                self.read, self.size
            )));
        }
        if let Some(stuffer) = self.stuffer.take() {
            stuffer.finish(&mut self.out);
        }
        Ok(false)
    }

    /// All that is left of it.
    pub(super) async fn rest(&mut self) -> Result<Vec<u8>, Answer> {
        while self.more().await? {}
        Ok(std::mem::take(&mut self.out))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    /// Once the server waits for it: the text and its answer, and whether the connection is still in step. None: nobody is
    /// left to take it; the server gets an empty message, as RFC 2920 section 3.1 asks, and its answer means nothing.
    pub(super) async fn text(
        &mut self,
        text: Option<Outbound>,
        deadline: Instant,
    ) -> (Answer, bool) {
        self.lines.set_timeout(self.patience.block);
        let wanted = text.is_some();
        let chunks = text.as_ref().is_some_and(Outbound::chunks);
        let mut last = Vec::new();
        if let Some(text) = text {
            match timeout_at(deadline, self.all_but_the_end(text)).await {
                Ok(Ok(rest)) => last = rest,
                Ok(Err(answer)) => return (answer, false),
                Err(_) => return (self.too_slow(), false),
            }
        } else {
            last.extend_from_slice(b".\r\n");
        }
        // From here on all of it may have arrived.
        let sent = self.lines.send(&last).await;
        match self.reply_within(Stage::End, self.patience.last).await {
            Ok(reply) if chunks && is_unknown_command(&reply) => {
                self.chunking_refused = true;
                (refused_chunks(&reply), false)
            }
            Ok(reply) if reply.class() != 3 => {
                let in_step = sent.is_ok() && reply.code != 421 && self.in_step();
                // A server that refused in the middle of the text may refuse its end as well; RSET finds out.
                self.open_transaction = wanted && !reply.is_positive();
                (Answer::Reply(Stage::End, reply), in_step)
            }
            Ok(reply) => (
                Answer::InDoubt(format!(
                    "the server answered the end of the message with {reply}"
                )),
                false,
            ),
            Err(error) => (Answer::InDoubt(error.to_string()), false),
        }
    }

    /// Streams the text; what is left to write is its last part, with the final dot or as the last chunk.
    async fn all_but_the_end(&mut self, mut text: Outbound) -> Result<Vec<u8>, Answer> {
        let mut unanswered = 0;
        // Without its end it was never sent; an error drops the connection.
        while text.more().await? {
            if text.out.len() < WRITE {
                continue;
            }
            if text.chunks {
                if unanswered == WINDOW {
                    self.chunk_taken().await?;
                    unanswered -= 1;
                }
                frame(&mut text.out, "");
                unanswered += 1;
            }
            if let Err(error) = self.lines.put(&text.out).await {
                return Err(self.last_words(&lost(Stage::Data, &error)).await);
            }
            text.out.clear();
        }
        if text.chunks {
            // What was refused already is not in doubt.
            for _ in 0..unanswered {
                self.chunk_taken().await?;
            }
            self.lines.set_timeout(self.patience.block);
            frame(&mut text.out, " LAST");
        }
        Ok(text.out)
    }

    /// The reply to a chunk that is not the last.
    async fn chunk_taken(&mut self) -> Result<(), Answer> {
        if let Err(error) = self.lines.flush().await {
            return Err(self.last_words(&lost(Stage::Chunk, &error)).await);
        }
        match self.reply(Stage::Chunk).await {
            Ok(reply) if reply.is_positive() => Ok(()),
            Ok(reply) if is_unknown_command(&reply) => {
                self.chunking_refused = true;
                Err(refused_chunks(&reply))
            }
            Ok(reply) if reply.class() != 3 => Err(Answer::Reply(Stage::End, reply)),
            Ok(reply) => Err(Answer::Lost(format!(
                "the server answered a chunk with {reply}, which makes no sense there"
            ))),
            Err(error) => Err(Answer::Lost(error.to_string())),
        }
    }

    /// Why the server closed in the middle of the text, if it said so.
    async fn last_words(&mut self, broken: &ClientError) -> Answer {
        loop {
            match self.reply_within(Stage::End, LAST_WORDS).await {
                Ok(reply) if matches!(reply.class(), 4 | 5) => {
                    return Answer::Reply(Stage::End, reply);
                }
                // Of chunks before.
                Ok(reply) if reply.is_positive() => {}
                _ => return Answer::Lost(broken.to_string()),
            }
        }
    }
}

/// Puts BDAT before a chunk.
fn frame(chunk: &mut Vec<u8>, last: &str) {
    let command = format!("BDAT {}{last}\r\n", chunk.len());
    chunk.splice(0..0, command.into_bytes());
}

fn unreadable(error: std::io::Error) -> Answer {
    Answer::Lost(format!("the stored message could not be read: {error}"))
}

fn refused_chunks(reply: &wire::smtp::Reply) -> Answer {
    Answer::Lost(format!("the server refused a chunk: {reply}"))
}
