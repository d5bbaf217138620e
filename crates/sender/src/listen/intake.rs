//! The text of one message on its way from DATA or BDAT into the spool: counted, judged, written chunk by chunk.
use super::header::{HeaderFilter, Missing};
use super::line_ends::{BareNewlines, LineEnds};
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
    /// Bytes of the client's text, without what was added; repaired line ends count as they are now.
    pub(crate) size: u64,
    /// The idempotency key that the client gave.
    pub(crate) key: Option<Vec<u8>>,
}

/// Why there was no end.
#[derive(Debug)]
pub(crate) enum Broken {
    /// Lost or silent before its end.
    Line(LineError),
    /// A refused message went on and on.
    Endless,
}

/// What a listener takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    /// The largest message in bytes.
    pub(crate) max_size: u64,
    /// What becomes of bare CR and LF.
    pub(crate) bare_newlines: BareNewlines,
}

/// DATA: reads to the final dot, whatever the message is like, so that the session stays in step.
pub(crate) async fn receive<S: AsyncRead + AsyncWrite + Unpin>(
    lines: &mut Lines<S>,
    mut intake: Intake,
) -> Result<Result<Taken, Refusal>, Broken> {
    let mut unstuffer = Unstuffer::new();
    let mut patience = Patience::default();
    loop {
        let chunk = patience.chunk(lines).await?;
        let part = unstuffer.next(chunk);
        if part.cr {
            intake.write(b"\r").await;
        }
        intake.write(&chunk[part.text]).await;
        lines.consume(part.used);
        if part.end {
            return Ok(intake.finish().await);
        }
        if intake.refusal().is_some() {
            patience.end_some_time();
        }
    }
}

/// BDAT: reads exactly so many octets, whatever they are and whether or not they are wanted (RFC 3030 section 2).
pub(crate) async fn receive_chunk<S: AsyncRead + AsyncWrite + Unpin>(
    lines: &mut Lines<S>,
    octets: u64,
    mut intake: Option<&mut Intake>,
) -> Result<(), Broken> {
    let mut patience = Patience::default();
    let mut left = octets;
    if let Some(intake) = &mut intake {
        intake.announce(octets);
    }
    while left > 0 {
        let chunk = patience.chunk(lines).await?;
        let count = chunk.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        if let Some(intake) = &mut intake {
            intake.write(&chunk[..count]).await;
        }
        lines.consume(count);
        left -= count as u64;
        if intake.as_ref().is_none_or(|i| i.refusal().is_some()) {
            patience.end_some_time();
        }
    }
    Ok(())
}

/// How long a client may go on with what is not wanted.
#[derive(Default)]
struct Patience {
    ends: Option<Instant>,
}

impl Patience {
    /// From now on it ends.
    fn end_some_time(&mut self) {
        self.ends
            .get_or_insert_with(|| Instant::now() + PATIENCE_WITH_REFUSED);
    }

    /// What the client sends next; never empty.
    async fn chunk<'a, S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        lines: &'a mut Lines<S>,
    ) -> Result<&'a [u8], Broken> {
        let chunk = match self.ends {
            None => lines.chunk().await,
            // One that always sends something would be read for ever by the deadline of each read alone.
            Some(ends) if Instant::now() >= ends => return Err(Broken::Endless),
            Some(ends) => timeout_at(ends, lines.chunk())
                .await
                .map_err(|_| Broken::Endless)?,
        };
        match chunk.map_err(Broken::Line)? {
            [] => Err(Broken::Line(LineError::Closed)),
            chunk => Ok(chunk),
        }
    }
}

/// Collects the text. The first fault decides; after it nothing more is written, and what was is dropped. In memory: the head, and one
/// chunk of the body writer.
pub(crate) struct Intake {
    body: Result<BodyWriter, Refusal>,
    filter: HeaderFilter,
    line_ends: LineEnds,
    head: Vec<u8>,
    eight_bit: bool,
    size: u64,
    rules: Rules,
}

impl Intake {
    /// Into a fresh body that begins with `before`; `missing` is added to a header section that lacks it.
    pub(crate) async fn begin(
        mut writer: BodyWriter,
        before: &str,
        missing: Missing,
        rules: Rules,
    ) -> Self {
        let written = writer.write(before.as_bytes()).await;
        let body = written.map(|()| writer).map_err(Refusal::Spool);
        Self {
            body,
            filter: HeaderFilter::new(missing),
            line_ends: LineEnds::default(),
            head: Vec::new(),
            eight_bit: false,
            size: 0,
            rules,
        }
    }

    /// Why the message will not be taken, if that is known already.
    pub(crate) fn refusal(&self) -> Option<&Refusal> {
        self.body.as_ref().err()
    }

    /// So many bytes come; what will be too large is not written first. What repair makes of them is not known yet.
    fn announce(&mut self, octets: u64) {
        let is_size = self.rules.bare_newlines == BareNewlines::Refuse;
        if is_size && self.size.saturating_add(octets) > self.rules.max_size {
            self.refuse(Refusal::TooLarge);
        }
    }

    fn refuse(&mut self, refusal: Refusal) {
        if self.body.is_ok() {
            self.body = Err(refusal);
        }
    }

    async fn write(&mut self, text: &[u8]) {
        if self.body.is_err() {
            return;
        }
        match self.rules.bare_newlines {
            BareNewlines::Repair => {
                let mut repaired = Vec::with_capacity(text.len() + 2);
                self.line_ends.repair(text, &mut repaired);
                self.write_whole(&repaired).await;
            }
            BareNewlines::Refuse if self.line_ends.are_whole(text) => self.write_whole(text).await,
            BareNewlines::Refuse => self.refuse(Refusal::BareLineEnd),
        }
    }

    /// Text without bare line ends.
    async fn write_whole(&mut self, text: &[u8]) {
        self.size += text.len() as u64;
        if self.size > self.rules.max_size {
            return self.refuse(Refusal::TooLarge);
        }
        if memchr(0, text).is_some() {
            return self.refuse(Refusal::Nul);
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

    /// The end of the text.
    pub(crate) async fn finish(mut self) -> Result<Taken, Refusal> {
        if self.rules.bare_newlines == BareNewlines::Refuse && self.line_ends.is_left_open() {
            self.refuse(Refusal::BareLineEnd);
        }
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
