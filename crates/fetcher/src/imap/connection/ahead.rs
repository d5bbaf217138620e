//! Commands that are sent before earlier ones are answered: fewer round trips, and each answer still belongs to its command by its tag.
//!
//! Only what no order of execution could spoil is sent so (RFC 9051 section 5.5): commands that name messages by UID alone, and of which
//! the second does no harm should the first be refused.

use imap_proto::Response;

use super::{Connection, Sent, Socket};
use crate::error::{FetchError, Refusal};

/// What is under way beside the command that is waited for.
#[derive(Debug, Default)]
pub(crate) struct Ahead {
    /// Whether this server is sent anything ahead.
    pub(crate) allowed: bool,
    /// Something that was sent ahead was answered: the server can do it.
    pub(crate) works: bool,
    open: Vec<Open>,
}

#[derive(Debug)]
struct Open {
    tag: String,
    command: &'static str,
    /// Somebody will ask for the answer; else it is expected to be OK.
    awaited: bool,
    /// It came while another one was waited for.
    answer: Option<Result<(), FetchError>>,
}

impl Ahead {
    /// Whether answers are outstanding beside the one that is waited for.
    pub(crate) fn is_under_way(&self) -> bool {
        self.open.iter().any(|open| open.answer.is_none())
    }

    fn add(&mut self, sent: &Sent, awaited: bool) {
        self.open.push(Open {
            tag: sent.tag.clone(),
            command: sent.command,
            awaited,
            answer: None,
        });
    }

    /// The command that is under way with this tag.
    pub(super) fn command(&self, tag: &str) -> Option<&'static str> {
        let unanswered = |open: &&Open| open.tag == tag && open.answer.is_none();
        Some(self.open.iter().find(unanswered)?.command)
    }

    /// Keeps an answer for whoever asks for it; a refusal that nobody would ask for is an error at once.
    pub(super) fn answered(
        &mut self,
        tag: &str,
        answer: Result<(), FetchError>,
    ) -> Result<(), FetchError> {
        self.works = true;
        match self.open.iter().position(|open| open.tag == tag) {
            Some(at) if self.open[at].awaited => {
                self.open[at].answer = Some(answer);
                Ok(())
            }
            Some(at) => {
                self.open.remove(at);
                answer
            }
            None => answer,
        }
    }

    /// The answer that came before it was asked for.
    pub(super) fn answer(&mut self, tag: &str) -> Option<Result<(), FetchError>> {
        let came = |open: &Open| open.tag == tag && open.answer.is_some();
        let at = self.open.iter().position(came)?;
        self.open.remove(at).answer
    }

    /// It was answered while it was waited for.
    pub(super) fn is_over(&mut self, tag: &str) {
        self.open.retain(|open| open.tag != tag);
    }
}

impl<S: Socket> Connection<S> {
    /// The answer to this command may come while the next ones are under way; nobody waits for it, and anything but OK is an error.
    pub(crate) fn leave_open(&mut self, sent: &Sent) {
        self.ahead.add(sent, false);
    }

    /// A command whose refusal ends nothing: Ok with the refusal, if there was one.
    pub(crate) async fn try_run(
        &mut self,
        (command, line): (&'static str, &str),
        each: impl FnMut(&Response<'_>),
    ) -> Result<Result<(), Refusal>, FetchError> {
        refusal(self.run(command, line, each).await)
    }

    /// Sends two commands, in one write where that is allowed, and reads to the answers of both: Ok with the refusal of each, if there was
    /// one. `each` sees every response.
    pub(crate) async fn run_both(
        &mut self,
        [first, second]: [(&'static str, &str); 2],
        mut each: impl FnMut(&Response<'_>),
    ) -> Result<[Result<(), Refusal>; 2], FetchError> {
        if !self.ahead.allowed {
            let one = self.try_run(first, &mut each).await?;
            let other = self.try_run(second, &mut each).await?;
            return Ok([one, other]);
        }
        let [one, other] = [self.tagged(first.0), self.tagged(second.0)];
        let lines = format!("{} {}\r\n{} {}\r\n", one.tag, first.1, other.tag, second.1);
        self.write(&lines, first.0).await?;
        self.ahead.add(&other, true);
        let one = refusal(self.finish(one, &mut each).await)?;
        let other = refusal(self.finish(other, &mut each).await)?;
        self.ahead.works = true;
        Ok([one, other])
    }
}

/// A refusal after which the connection is good, apart from what ends it.
fn refusal(answer: Result<(), FetchError>) -> Result<Result<(), Refusal>, FetchError> {
    match answer {
        Ok(()) => Ok(Ok(())),
        Err(e) => e.refused().map(Err),
    }
}
