//! One IMAP connection: the strict loop in which only a tagged OK is success.
//!
//! async-imap frames and parses; commands are written here, in one write each, and never through its typed calls, because those
//! drop the tagged status: a refused command must never look like an empty mailbox. After any error but a tagged NO the connection
//! is to be thrown away.

mod ahead;

use std::fmt;
use std::io;
use std::time::Duration;

use imap_proto::{MailboxDatum, Outcome, Response, ResponseCode};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;
use wire::dial::Stream;

pub(crate) use self::ahead::Ahead;
use super::guard::{Guard, SMALL_LITERAL, Trap};
use super::names::folder;
use super::reading::refusal;
use crate::error::{FetchError, Refusal, Status};
use crate::refusal::{meaning, printable};

/// A command that was sent and not yet answered.
#[derive(Debug)]
pub(crate) struct Sent {
    tag: String,
    command: &'static str,
}

/// What a server said next, and what the caller read out of it.
#[derive(Debug)]
pub(crate) enum Said<T> {
    /// A continuation request, with its text.
    Go(String),
    /// An untagged response.
    Untagged(T),
    /// The tagged OK of the command that was waited for.
    Done(T),
}

/// What a connection runs over: a [`Stream`], or bytes in memory.
pub(crate) trait Socket: AsyncRead + AsyncWrite + Unpin + Send + fmt::Debug {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send + fmt::Debug> Socket for S {}

/// A connection to one server.
#[derive(Debug)]
pub(crate) struct Connection<S: Socket = Stream> {
    client: async_imap::Client<Guard<S>>,
    patience: Duration,
    tags: u32,
    /// Responses the parser gave out; compared with what the guard saw to find injected bytes.
    parsed: u64,
    /// Messages in the selected folder.
    pub(crate) exists: u32,
    /// Whether more messages were announced since [`Connection::heard`] was called.
    news: bool,
    /// What a BYE belongs to: it is the expected answer to LOGOUT.
    leaving: bool,
    /// Whether folder names are UTF-8 here.
    pub(crate) utf8: bool,
    /// Commands that are under way beside the one that is waited for.
    pub(crate) ahead: Ahead,
    /// The last alert, until somebody shows it (RFC 9051 section 7.1: it must be).
    pub(crate) alert: Option<String>,
}

impl<S: Socket> Connection<S> {
    /// `patience` bounds the wait for each response, and each write.
    pub(crate) fn new(stream: S, patience: Duration) -> Self {
        let client = async_imap::Client::new(Guard::new(stream));
        Self {
            client,
            patience,
            tags: 0,
            parsed: 0,
            exists: 0,
            news: false,
            leaving: false,
            utf8: false,
            ahead: Ahead::default(),
            alert: None,
        }
    }

    /// A folder's name as this server takes it.
    pub(crate) fn folder(&self, name: &str) -> String {
        folder(name, self.utf8)
    }

    /// The stream for STARTTLS. Bytes that came before TLS began are an injection attempt (RFC 9051 section 6.2.1).
    pub(crate) fn into_stream(self) -> Result<S, FetchError> {
        let (seen, more) = self.client.get_ref().responses();
        if seen != self.parsed || more {
            return Err(FetchError::Again(
                "the server, or somebody in between, sent bytes before TLS began; the connection was closed".into(),
            ));
        }
        Ok(self.client.into_inner().into_inner())
    }

    /// Whether messages were announced since the last call.
    pub(crate) fn heard(&mut self) -> bool {
        std::mem::take(&mut self.news)
    }

    /// The longest literal that the commands in flight may bring; back to the small default with None.
    pub(crate) fn expect_literals_up_to(&mut self, cap: Option<u64>) {
        self.client
            .get_mut()
            .expect_literals_up_to(cap.unwrap_or(SMALL_LITERAL));
    }

    /// Sends a command; `line` is the whole command, `command` its name for messages.
    pub(crate) async fn send(
        &mut self,
        command: &'static str,
        line: &str,
    ) -> Result<Sent, FetchError> {
        let sent = self.tagged(command);
        let line = format!("{} {line}\r\n", sent.tag);
        self.write(&line, command).await?;
        Ok(sent)
    }

    fn tagged(&mut self, command: &'static str) -> Sent {
        self.tags += 1;
        let tag = format!("A{}", self.tags);
        Sent { tag, command }
    }

    /// Sends a line without a tag: a SASL answer, or DONE.
    pub(crate) async fn send_bare(&mut self, sent: &Sent, line: &str) -> Result<(), FetchError> {
        self.write(&format!("{line}\r\n"), sent.command).await
    }

    /// One write a command: a command in two packets costs a delayed ACK.
    async fn write(&mut self, bytes: &str, command: &'static str) -> Result<(), FetchError> {
        let patience = self.patience;
        let stream = self.client.get_mut();
        let written = timeout(patience, async {
            stream.write_all(bytes.as_bytes()).await?;
            stream.flush().await
        });
        match written.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(e)) => Err(FetchError::Again(format!(
                "the connection broke while {command} was sent: {e}"
            ))),
            Err(_) => Err(FetchError::Again(format!(
                "the server took nothing for {} s ({command})",
                patience.as_secs()
            ))),
        }
    }

    /// The next response while `sent` is under way, read by `read`. NO, BAD, BYE, silence, the end, and what can't be parsed are
    /// errors.
    pub(crate) async fn next<T>(
        &mut self,
        sent: &Sent,
        read: impl FnOnce(&Response<'_>) -> T,
    ) -> Result<Said<T>, FetchError> {
        let patience = self.patience;
        timeout(patience, self.overhear(sent, read))
            .await
            .unwrap_or_else(|_| {
                Err(FetchError::Again(format!(
                    "no answer to {} within {} s",
                    sent.command,
                    patience.as_secs()
                )))
            })
    }

    /// As [`Connection::next`] but without a deadline of its own, for IDLE; may be dropped without losing anything.
    pub(crate) async fn overhear<T>(
        &mut self,
        sent: &Sent,
        read: impl FnOnce(&Response<'_>) -> T,
    ) -> Result<Said<T>, FetchError> {
        let came = self.client.read_response().await;
        let data = self.came(came, sent.command)?;
        let response = data.parsed();
        self.sort(sent, response).map(|said| match said {
            Said::Go(text) => Said::Go(text),
            Said::Untagged(()) => Said::Untagged(read(response)),
            Said::Done(()) => Said::Done(read(response)),
        })
    }

    /// Counts a response, or says why there is none. (The type of a response has no public name.)
    fn came<D>(
        &mut self,
        came: io::Result<Option<D>>,
        command: &'static str,
    ) -> Result<D, FetchError> {
        match came {
            Ok(Some(data)) => {
                self.parsed += 1;
                Ok(data)
            }
            Ok(None) => Err(FetchError::Again(format!(
                "the server closed the connection before it answered {command}"
            ))),
            Err(e) => {
                let why = self.broken(&e, command);
                Err(if matches!(trapped(&e), Some(Trap::Literal { .. })) {
                    FetchError::TooLong(why)
                } else {
                    FetchError::Again(why)
                })
            }
        }
    }

    /// Parse errors quote the whole buffer, mail included: their text is never shown.
    fn broken(&self, e: &io::Error, command: &'static str) -> String {
        let head = self.client.get_ref().head();
        if let Some(trap) = trapped(e) {
            return format!("the server's answer to {command} was stopped: {trap} (in `{head}`)");
        }
        match e.kind() {
            io::ErrorKind::Other => {
                format!("the server's answer to {command} is no IMAP (in `{head}`)")
            }
            io::ErrorKind::UnexpectedEof => {
                format!("the server closed the connection in the middle of its answer to {command}")
            }
            _ => format!("the connection broke while waiting for the answer to {command}: {e}"),
        }
    }

    fn sort(&mut self, sent: &Sent, response: &Response<'_>) -> Result<Said<()>, FetchError> {
        match response {
            Response::Continue(outcome) => {
                return Ok(Said::Go(
                    outcome
                        .information
                        .as_deref()
                        .unwrap_or_default()
                        .to_owned(),
                ));
            }
            Response::Done {
                tag,
                status,
                outcome,
            } => {
                if tag.0 == sent.tag {
                    self.judge(sent.command, status, outcome)?;
                    return Ok(Said::Done(()));
                }
                let Some(command) = self.ahead.command(&tag.0) else {
                    return Err(FetchError::Again(format!(
                        "the server answered {} with another command's tag",
                        sent.command
                    )));
                };
                let answer = self.judge(command, status, outcome);
                self.ahead.answered(&tag.0, answer)?;
            }
            Response::Data {
                status: imap_proto::Status::Bye,
                outcome,
            } if !self.leaving => {
                return Err(meaning(refusal(sent.command, Status::Bye, outcome)));
            }
            Response::Data { outcome, .. } => self.heed(outcome),
            Response::MailboxData(MailboxDatum::Exists(n)) => {
                self.news |= *n > self.exists;
                self.exists = *n;
            }
            Response::Expunge(_) => self.exists = self.exists.saturating_sub(1),
            _ => {}
        }
        Ok(Said::Untagged(()))
    }

    /// What a tagged answer means.
    fn judge(
        &mut self,
        command: &'static str,
        status: &imap_proto::Status,
        outcome: &Outcome<'_>,
    ) -> Result<(), FetchError> {
        let status = match status {
            imap_proto::Status::Ok => {
                self.heed(outcome);
                return Ok(());
            }
            imap_proto::Status::No => Status::No,
            _ => Status::Bad,
        };
        Err(meaning(refusal(command, status, outcome)))
    }

    /// Keeps an alert for whoever shows it.
    fn heed(&mut self, outcome: &Outcome<'_>) {
        if outcome.code == Some(ResponseCode::Alert) {
            let text = printable(outcome.information.as_deref().unwrap_or_default());
            tracing::warn!(alert = text, "the server says");
            self.alert = Some(text);
        }
    }

    /// Reads to the tagged OK; `each` sees every untagged response, and the tagged one last.
    pub(crate) async fn finish(
        &mut self,
        sent: Sent,
        mut each: impl FnMut(&Response<'_>),
    ) -> Result<(), FetchError> {
        loop {
            if let Some(answer) = self.ahead.answer(&sent.tag) {
                return answer;
            }
            let said = self.next(&sent, &mut each).await;
            if !matches!(said, Ok(Said::Untagged(()))) {
                self.ahead.is_over(&sent.tag);
            }
            match said? {
                Said::Untagged(()) => {}
                Said::Done(()) => return Ok(()),
                Said::Go(_) => {
                    return Err(FetchError::Again(format!(
                        "the server asked for more after {}",
                        sent.command
                    )));
                }
            }
        }
    }

    /// Sends a command and reads to its tagged OK.
    pub(crate) async fn run(
        &mut self,
        command: &'static str,
        line: &str,
        each: impl FnMut(&Response<'_>),
    ) -> Result<(), FetchError> {
        let sent = self.send(command, line).await?;
        self.finish(sent, each).await
    }

    /// Reads the greeting, which must come before anything is sent; only OK is a welcome.
    pub(crate) async fn greeting<T>(
        &mut self,
        read: impl FnOnce(&Response<'_>) -> T,
    ) -> Result<T, FetchError> {
        const COMMAND: &str = "the connection";
        let came = timeout(self.patience, self.client.read_response())
            .await
            .map_err(|_| {
                FetchError::Again(format!("no greeting within {} s", self.patience.as_secs()))
            })?;
        let data = self.came(came, COMMAND)?;
        match data.parsed() {
            response @ Response::Data { status: imap_proto::Status::Ok, outcome } => {
                self.heed(outcome);
                Ok(read(response))
            }
            Response::Data { status: imap_proto::Status::Bye, outcome } => Err(meaning(refusal(COMMAND, Status::Bye, outcome))),
            // Signed in as whom? And STARTTLS is no longer possible then (RFC 9051 section 7.1.4).
            Response::Data { status: imap_proto::Status::PreAuth, .. } => Err(FetchError::Blocked(
                "the server greets with PREAUTH: it takes the connection for signed in, as nobody knows whom".into(),
            )),
            _ => Err(FetchError::Again(format!("the server's greeting is none (`{}`)", self.client.get_ref().head()))),
        }
    }

    /// LOGOUT; whatever the server makes of it, the connection is at its end.
    pub(crate) async fn leave(mut self) {
        self.leaving = true;
        if let Ok(sent) = self.send("LOGOUT", "LOGOUT").await {
            let _ = self.finish(sent, |_| {}).await;
        }
        let _ = timeout(Duration::from_secs(1), self.client.get_mut().shutdown()).await;
    }
}

/// What the guard stopped, if it was the guard.
fn trapped(e: &io::Error) -> Option<&Trap> {
    e.get_ref()?.downcast_ref()
}

impl FetchError {
    /// The refusal, if this is one whose connection is still good.
    pub(crate) fn refused(self) -> Result<Refusal, Self> {
        match self {
            Self::Refused(r) if r.status != Status::Bye => Ok(r),
            other => Err(other),
        }
    }
}
