//! One POP3 connection: commands out, status lines, lists and bodies in, each wait with an end.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;
use wire::dial::Stream;
use wire::lines::{LineError, Lines};

use super::reply::{self, Reply};
use super::unstuff::Unstuffer;
use crate::error::FetchError;
use crate::refusal::{meaning, printable};

/// Longest status line or line of a list. RFC 2449 section 4 allows 512; SASL challenges are longer.
const LINE: usize = 8 * 1024;
/// A longer line of a list is read past, up to this.
const LONG_LINE: usize = 1024 * 1024;
/// Lines of a list; a server that sends more has lost its way.
const ROWS: usize = 2_000_000;
/// Bytes a second below which a body counts as stuck.
const SLOWEST: u64 = 1024;

/// A connection to one server.
pub(crate) struct Connection<S = Stream> {
    lines: Lines<S>,
    patience: Duration,
}

/// A body that is being received.
pub(super) struct Incoming {
    unstuffer: Unstuffer,
    began: Instant,
    /// Bytes received, dots included.
    received: u64,
}

impl Incoming {
    pub(super) fn new() -> Self {
        Self {
            unstuffer: Unstuffer::new(),
            began: Instant::now(),
            received: 0,
        }
    }
}

impl<S> Connection<S> {
    /// `patience` bounds each wait.
    pub(super) fn new(stream: S, patience: Duration) -> Self {
        Self {
            lines: Lines::new(stream, patience),
            patience,
        }
    }

    /// Another bound from now on.
    pub(super) fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
        self.lines.set_timeout(patience);
    }

    /// The stream for STLS. Bytes that came before TLS began are an injection attempt (RFC 2595 section 4).
    pub(super) fn into_stream(self) -> Result<S, FetchError> {
        self.lines.into_stream().map_err(|_| {
            FetchError::Again(
                "the server, or somebody in between, sent bytes before TLS began; the connection was closed".into(),
            )
        })
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Sends bytes that end with CRLF: one command, or several of them ahead.
    pub(super) async fn send(
        &mut self,
        command: &'static str,
        bytes: &str,
    ) -> Result<(), FetchError> {
        let sent = self.lines.send(bytes.as_bytes()).await;
        sent.map_err(|e| broken(command, &e))
    }

    /// The next status line, whatever it says.
    pub(super) async fn reply(&mut self, command: &'static str) -> Result<Reply, FetchError> {
        let line = self
            .lines
            .line(LINE)
            .await
            .map_err(|e| broken(command, &e))?;
        reply::read(command, &line.bytes).ok_or_else(|| {
            let said = printable(&String::from_utf8_lossy(&line.bytes));
            FetchError::Again(format!(
                "the server answered {command} with nonsense: {said}"
            ))
        })
    }

    /// The next status line, which must be `+OK`; gives its text.
    pub(super) async fn ok(&mut self, command: &'static str) -> Result<String, FetchError> {
        match self.reply(command).await? {
            Reply::Ok(text) => Ok(text),
            Reply::Err(refusal) => Err(meaning(refusal)),
            Reply::Go(_) => Err(FetchError::Again(format!(
                "the server asked for more after {command}"
            ))),
        }
    }

    /// One command and its `+OK`.
    pub(super) async fn ask(
        &mut self,
        command: &'static str,
        line: &str,
    ) -> Result<String, FetchError> {
        self.send(command, &format!("{line}\r\n")).await?;
        self.ok(command).await
    }

    /// The lines of a list after its `+OK`, up to the dot. A line that is far too long is left out.
    pub(super) async fn rows(
        &mut self,
        command: &'static str,
        mut each: impl FnMut(&[u8]),
    ) -> Result<(), FetchError> {
        for _ in 0..ROWS {
            match self.lines.line(LINE).await {
                Ok(line) if line.bytes == b"." => return Ok(()),
                Ok(line) => each(line.bytes.strip_prefix(b".").unwrap_or(&line.bytes)),
                Err(LineError::TooLong { .. }) => self
                    .lines
                    .skip_line(LONG_LINE)
                    .await
                    .map_err(|e| broken(command, &e))?,
                Err(e) => return Err(broken(command, &e)),
            }
        }
        Err(FetchError::Again(format!(
            "the server's answer to {command} has no end"
        )))
    }

    /// The next piece of a body after its `+OK`, appended to `text`; true: it was the last one. The end of the connection is never the
    /// end of a body.
    pub(super) async fn piece(
        &mut self,
        command: &'static str,
        incoming: &mut Incoming,
        text: &mut Vec<u8>,
    ) -> Result<bool, FetchError> {
        let chunk = self.lines.chunk().await.map_err(|e| broken(command, &e))?;
        if chunk.is_empty() {
            return Err(broken(command, &LineError::Closed));
        }
        let length = chunk.len();
        let end = incoming.unstuffer.feed(chunk, text);
        self.lines.consume(end.unwrap_or(length));
        incoming.received += length as u64;
        let allowed = self.patience + Duration::from_secs(incoming.received / SLOWEST);
        if end.is_none() && incoming.began.elapsed() > allowed {
            return Err(FetchError::Again(format!(
                "the answer to {command} comes too slowly: {} bytes in {} s",
                incoming.received,
                incoming.began.elapsed().as_secs()
            )));
        }
        Ok(end.is_some())
    }
}

/// What happened to the connection while a command was under way.
fn broken(command: &'static str, e: &LineError) -> FetchError {
    FetchError::Again(match e {
        LineError::Closed => format!("the server closed the connection during {command}"),
        LineError::Timeout { after } => {
            format!("no answer to {command} within {} s", after.as_secs())
        }
        LineError::TooLong { cap } => {
            format!("the server answered {command} with a line longer than {cap} bytes")
        }
        other => format!("the connection broke during {command}: {other}"),
    })
}
