//! MAIL, RCPT and what opens the text (DATA, or the first BDAT), in batches where PIPELINING is offered.
//!
//! BDAT carries its bytes behind it unasked. A server that does not know the command would read them as commands of a
//! session that is signed in, so each connection begins with a chunk of a few bytes without a line end, which can be no
//! command, and only a server that took it is given more. (An empty chunk would ask the same; Postfix refuses those.)
use super::send::{Answer, Envelope, To};
use super::text::Outbound;
use super::{Client, Stage, lost};
use spool::Pieces;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use wire::smtp::Reply;

/// Commands sent at once before their replies are read: neither side's buffers can fill up with so few
/// (RFC 2920 section 3.1 leaves that care to the client).
const BATCH: usize = 50;
/// A message up to this size may go in one breath with its envelope; a larger one waits until somebody wants it.
const WHOLE: u64 = 64 * 1024;
/// And only where the server was heard so short a time ago: on a connection that died in silence meanwhile every message
/// would be in doubt.
const WARM: Duration = Duration::from_secs(1);

/// What follows the recipients.
pub(super) enum Opening {
    Data,
    /// The beginning of its first line, as a chunk; the rest follows when it was taken.
    Probe(Vec<u8>),
    /// All of the message, as its only chunk.
    Whole(Vec<u8>),
}

impl Opening {
    /// What goes with it.
    fn text(&self) -> &[u8] {
        match self {
            Self::Data => &[],
            Self::Probe(text) | Self::Whole(text) => text,
        }
    }
}

/// The commands of an envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Command {
    Mail,
    Rcpt(usize),
    Data,
    Probe,
    Whole,
}

impl Command {
    fn stage(self) -> Stage {
        match self {
            Self::Mail => Stage::Mail,
            Self::Rcpt(_) => Stage::Rcpt,
            Self::Data => Stage::Data,
            Self::Probe => Stage::Chunk,
            Self::Whole => Stage::End,
        }
    }

    fn opens(self) -> bool {
        !matches!(self, Self::Mail | Self::Rcpt(_))
    }
}

/// The replies to an envelope so far.
pub(super) struct Replies {
    /// What is known of each recipient: a refusal, or None while it may still be sent.
    settled: Vec<Option<Answer>>,
    /// Recipients whose RCPT was accepted.
    pub(super) accepted: usize,
    /// MAIL, DATA or the first BDAT was refused, for all.
    pub(super) stopped: bool,
    /// The server waits for the text.
    pub(super) go_ahead: bool,
    /// The first chunk was refused for good.
    pub(super) probe_refused: Option<Reply>,
    /// The last chunk is on its way.
    pub(super) whole_sent: bool,
    /// The answer to the last chunk.
    pub(super) end: Option<Reply>,
    /// Any reply but 421 was read.
    pub(super) touched: bool,
}

impl Replies {
    /// With what is settled before anything is sent.
    pub(super) fn new(settled: Vec<Option<Answer>>) -> Self {
        Self {
            settled,
            accepted: 0,
            stopped: false,
            go_ahead: false,
            probe_refused: None,
            whole_sent: false,
            end: None,
            touched: false,
        }
    }

    /// Gives all that are still open the same answer.
    fn settle_rest(&mut self, answer: &Answer) {
        for open in self.settled.iter_mut().filter(|settled| settled.is_none()) {
            *open = Some(answer.clone());
        }
    }

    /// Notes one reply. Err: it makes no sense here, so nothing after it can be trusted; or the server is closing.
    fn note(&mut self, command: Command, reply: Reply) -> Result<(), Answer> {
        let stage = command.stage();
        if reply.code == 421 {
            return Err(Answer::Reply(stage, reply));
        }
        self.touched = true;
        match (command, reply.class()) {
            (Command::Mail, 2) => {}
            (Command::Rcpt(_), 2) => self.accepted += 1,
            (Command::Data, 3) if reply.code == 354 => self.go_ahead = true,
            (Command::Probe, 2) => self.go_ahead = self.accepted > 0 && !self.stopped,
            (Command::Whole, 2 | 4 | 5) => self.end = Some(reply),
            (Command::Rcpt(at), 4 | 5) => {
                // After a refused MAIL these are only its echo.
                self.settled[at].get_or_insert(Answer::Reply(stage, reply));
            }
            (Command::Probe, 5) => {
                // The others are tried again by DATA.
                self.stopped = true;
                self.probe_refused = Some(reply);
            }
            (Command::Mail | Command::Data | Command::Probe, 4 | 5) => {
                self.stopped = true;
                self.settle_rest(&Answer::Reply(stage, reply));
            }
            _ => {
                return Err(Answer::Lost(format!(
                    "the server answered {stage} with {reply}, which makes no sense there"
                )));
            }
        }
        Ok(())
    }

    /// Which reply belongs to which recipient is no longer known.
    fn forget(&mut self) {
        self.settled.fill(None);
    }

    pub(super) fn into_answers(mut self, rest: &Answer) -> Vec<Answer> {
        self.settle_rest(rest);
        self.settled.into_iter().flatten().collect()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    /// How this message begins, and what follows. Err: its text cannot be had.
    pub(super) async fn opening(
        &self,
        size: u64,
        text: Pieces,
    ) -> Result<(Opening, Outbound), Answer> {
        if !(self.offered.chunking && self.offered.pipelining) {
            return Ok((Opening::Data, Outbound::behind_data(size, text)));
        }
        let (mut text, mut beginning) = Outbound::in_chunks(size, text).await?;
        if !text.chunks() {
            return Ok((Opening::Data, text));
        }
        let warm = self.bdat_known && self.heard.elapsed() < WARM;
        if !warm || size > WHOLE || !self.lines.buffered().is_empty() {
            return Ok((Opening::Probe(beginning), text));
        }
        beginning.append(&mut text.rest().await?);
        Ok((Opening::Whole(beginning), text))
    }

    /// MAIL, RCPT and the opening, in batches where PIPELINING is offered, else one by one. Err: the answer for all that
    /// have none.
    pub(super) async fn envelope(
        &mut self,
        envelope: Envelope<'_>,
        opening: &Opening,
        replies: &mut Replies,
    ) -> Result<(), Answer> {
        if !self.in_step() {
            return Err(out_of_step());
        }
        if self.open_transaction {
            let reset = self.command(Stage::Reset, "RSET").await;
            reset.map_err(|error| Answer::Lost(error.to_string()))?;
            self.open_transaction = false;
        }
        let commands = commands(replies, opening);
        let size = if self.offered.pipelining { BATCH } else { 1 };
        for batch in commands.chunks(size) {
            let nobody = batch[0].opens() && replies.accepted == 0;
            if replies.stopped || nobody {
                break;
            }
            self.batch(batch, envelope, opening, replies).await?;
            if !self.in_step() {
                replies.forget();
                return Err(out_of_step());
            }
        }
        Ok(())
    }

    /// Some commands in one write, and their replies.
    async fn batch(
        &mut self,
        batch: &[Command],
        envelope: Envelope<'_>,
        opening: &Opening,
        replies: &mut Replies,
    ) -> Result<(), Answer> {
        let mut bytes = Vec::new();
        for command in batch {
            bytes.extend_from_slice(self.line(*command, envelope, opening).as_bytes());
        }
        if batch.last().is_some_and(|command| command.opens()) {
            bytes.extend_from_slice(opening.text());
            replies.whole_sent = matches!(opening, Opening::Whole(_));
        }
        self.lines.set_timeout(self.patience.block);
        let sent = self.lines.send(&bytes).await;
        // A server may refuse and close while we still write: its replies count all the same.
        let broken = sent
            .err()
            .map(|error| Answer::Lost(lost(batch[0].stage(), &error).to_string()));
        for command in batch {
            let limit = match command {
                Command::Whole => self.patience.last,
                _ => self.patience.command,
            };
            match self.reply_within(command.stage(), limit).await {
                Ok(reply) => {
                    let chunk = matches!(command, Command::Probe | Command::Whole);
                    self.bdat_known |= chunk && reply.is_positive();
                    replies.note(*command, reply)?;
                }
                Err(error) => return Err(broken.unwrap_or(Answer::Lost(error.to_string()))),
            }
        }
        Ok(())
    }

    fn line(&self, command: Command, envelope: Envelope<'_>, opening: &Opening) -> String {
        match command {
            Command::Data => "DATA\r\n".to_owned(),
            Command::Probe => format!("BDAT {}\r\n", opening.text().len()),
            Command::Whole => format!("BDAT {} LAST\r\n", opening.text().len()),
            Command::Rcpt(at) => self.rcpt(envelope.recipients[at], envelope.smtputf8),
            Command::Mail => self.mail(envelope),
        }
    }

    fn mail(&self, envelope: Envelope<'_>) -> String {
        let mut line = format!("MAIL FROM:<{}>", envelope.sender);
        if self.offered.size.is_some() {
            line.push_str(&format!(" SIZE={}", envelope.size));
        }
        if envelope.eight_bit {
            line.push_str(" BODY=8BITMIME");
        }
        if envelope.smtputf8 && self.offered.smtputf8 {
            line.push_str(" SMTPUTF8");
        }
        if self.offered.dsn {
            if let Some(ret) = envelope.ret {
                line.push_str(&format!(" RET={}", ret.as_str()));
            }
            if let Some(envid) = envelope.envid.filter(|envid| is_value(envid)) {
                line.push_str(&format!(" ENVID={envid}"));
            }
        }
        line + "\r\n"
    }

    fn rcpt(&self, to: To<'_>, smtputf8: bool) -> String {
        let mut line = format!("RCPT TO:<{}>", to.address);
        if self.offered.dsn {
            if let Some(notify) = to.notify {
                line.push_str(&format!(" NOTIFY={notify}"));
            }
            // An address beyond ASCII stands there as it is only under SMTPUTF8 (RFC 6533 section 3).
            let unicode = smtputf8 && self.offered.smtputf8;
            let fits = |orcpt: &&str| match orcpt.is_ascii() {
                true => is_value(orcpt),
                false => unicode && !orcpt.contains(|c: char| c.is_control() || c == ' '),
            };
            if let Some(orcpt) = to.orcpt.filter(fits) {
                line.push_str(&format!(" ORCPT={orcpt}"));
            }
        }
        line + "\r\n"
    }
}

fn commands(replies: &Replies, opening: &Opening) -> Vec<Command> {
    let open = replies.settled.iter().enumerate();
    let recipients = open.filter(|(_, settled)| settled.is_none());
    let last = match opening {
        Opening::Data => Command::Data,
        Opening::Probe(_) => Command::Probe,
        Opening::Whole(_) => Command::Whole,
    };
    std::iter::once(Command::Mail)
        .chain(recipients.map(|(at, _)| Command::Rcpt(at)))
        .chain([last])
        .collect()
}

/// `esmtp-value` of RFC 5321 section 4.1.2. The listener took nothing else; what is something else would be a command of its own.
fn is_value(text: &str) -> bool {
    let fits = |b: u8| matches!(b, b'!'..=b'~') && b != b'=';
    !text.is_empty() && text.bytes().all(fits)
}

fn out_of_step() -> Answer {
    Answer::Lost("the server sent a reply that was not asked for".to_owned())
}
