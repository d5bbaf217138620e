//! The text of one message on its way from DATA into the spool: counted, judged, written chunk by chunk.
use super::header::{HeaderFilter, Missing};
use super::trace::header_section;
use super::unstuff::Unstuffer;
use memchr::memchr;
use spool::{Body, BodyWriter, SpoolError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout_at};
use wire::lines::{LineError, Lines};

/// How much of the beginning is kept to read the header fields for lists and to look for UTF-8 in the header section.
const HEAD: usize = 64 * 1024;

/// How long the rest of a refused message is read before the connection is closed instead: long enough for a
/// well-meant oversize message to reach its end and hear why, short enough for anything else.
const PATIENCE_WITH_REFUSED: Duration = Duration::from_secs(300);

/// Why a message was not taken although its end was reached.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// More than the listener's limit.
    TooLarge,
    /// A CR without LF, or an LF without CR.
    BareLineEnd,
    /// A NUL byte.
    Nul,
    /// The spool could not write it.
    Spool(SpoolError),
}

/// A whole message, finished on disk and not yet in the spool.
pub(crate) struct Taken {
    pub(crate) body: Body,
    /// The beginning of the message, for header fields.
    pub(crate) head: Vec<u8>,
    pub(crate) eight_bit: bool,
    /// Non-ASCII bytes in the header section, or a header section longer than what was kept.
    pub(crate) eight_bit_header: bool,
    /// Bytes as the client sent them, without what was put before.
    pub(crate) size: u64,
    /// The idempotency key that the client gave.
    pub(crate) key: Option<Vec<u8>>,
}

/// Why there was no end.
#[derive(Debug)]
pub(crate) enum Broken {
    /// Lost or silent before the final dot.
    Line(LineError),
    /// A refused message went on and on.
    Endless,
}

/// Reads to the final dot, whatever the message is like, so that the session stays in step.
pub(crate) async fn receive<S: AsyncRead + AsyncWrite + Unpin>(
    lines: &mut Lines<S>,
    mut intake: Intake,
) -> Result<Result<Taken, Refusal>, Broken> {
    let mut unstuffer = Unstuffer::new();
    let mut give_up: Option<Instant> = None;
    loop {
        let chunk = match give_up {
            None => lines.chunk().await,
            Some(deadline) => timeout_at(deadline, lines.chunk())
                .await
                .map_err(|_| Broken::Endless)?,
        };
        let chunk = chunk.map_err(Broken::Line)?;
        if chunk.is_empty() {
            return Err(Broken::Line(LineError::Closed));
        }
        let part = unstuffer.next(chunk);
        intake.write(&chunk[part.text]).await;
        lines.consume(part.used);
        if unstuffer.bare_line_end() {
            intake.refuse(Refusal::BareLineEnd);
        }
        if part.end {
            return Ok(intake.finish().await);
        }
        if intake.body.is_err() {
            let deadline = *give_up.get_or_insert_with(|| Instant::now() + PATIENCE_WITH_REFUSED);
            if Instant::now() >= deadline {
                return Err(Broken::Endless);
            }
        }
    }
}

/// Collects the text. The first fault decides; after it nothing more is written, and what was is dropped.
pub(crate) struct Intake {
    body: Result<BodyWriter, Refusal>,
    filter: HeaderFilter,
    head: Vec<u8>,
    eight_bit: bool,
    size: u64,
    max_size: u64,
}

impl Intake {
    /// Into a fresh body that begins with `before`; `missing` is added to a header section that lacks it.
    pub(crate) async fn begin(
        mut writer: BodyWriter,
        before: &str,
        missing: Missing,
        max_size: u64,
    ) -> Self {
        let written = writer.write(before.as_bytes()).await;
        let body = written.map(|()| writer).map_err(Refusal::Spool);
        Self {
            body,
            filter: HeaderFilter::new(missing),
            head: Vec::new(),
            eight_bit: false,
            size: 0,
            max_size,
        }
    }

    fn refuse(&mut self, refusal: Refusal) {
        if self.body.is_ok() {
            self.body = Err(refusal);
        }
    }

    async fn write(&mut self, text: &[u8]) {
        self.size += text.len() as u64;
        if self.size > self.max_size {
            self.refuse(Refusal::TooLarge);
        }
        if memchr(0, text).is_some() {
            self.refuse(Refusal::Nul);
        }
        if self.body.is_err() {
            return;
        }
        self.eight_bit |= !text.is_ascii();
        let mut header = Vec::new();
        let used = self.filter.next(text, &mut header);
        self.store(&header).await;
        self.store(&text[used..]).await;
    }

    async fn store(&mut self, text: &[u8]) {
        let Ok(writer) = &mut self.body else {
            return;
        };
        let room = HEAD - self.head.len();
        self.head.extend_from_slice(&text[..text.len().min(room)]);
        if let Err(error) = writer.write(text).await {
            self.refuse(Refusal::Spool(error));
        }
    }

    async fn finish(mut self) -> Result<Taken, Refusal> {
        let mut header = Vec::new();
        self.filter.finish(&mut header);
        self.store(&header).await;
        let body = self.body?.finish(true).await.map_err(Refusal::Spool)?;
        let header = header_section(&self.head);
        let cut_short = header.len() == HEAD;
        let eight_bit_header = cut_short || !header.is_ascii();
        Ok(Taken {
            body,
            eight_bit: self.eight_bit,
            eight_bit_header,
            size: self.size,
            key: self.filter.key().map(<[u8]>::to_vec),
            head: self.head,
        })
    }
}
