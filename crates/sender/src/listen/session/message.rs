//! The message part of a session: the text into a body, the body into the spool, and only then 250.
use super::{Client, Envelope, Hello, LOW_DISK, Session};
use crate::listen::command::Mail;
use crate::listen::conversation::conversation;
use crate::listen::intake::{self, Broken, Intake, Refusal, Taken};
use crate::listen::trace::{self, Trace, header_section, headline};
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use spool::{Outgoing, Recipient, SpoolError, TakenOut};
use std::ops::ControlFlow;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tracing::{info, warn};
use wire::lines::LineError;
use wire::printable;

/// A message that has passed more servers goes round in a loop (RFC 5321 section 6.3: at least 100).
const MOST_HOPS: usize = 100;

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// Takes the text in, and answers when it is on disk. Break: the session is over.
    pub(super) async fn data(&mut self) -> Result<ControlFlow<()>, LineError> {
        let Some(envelope) = self.envelope.take() else {
            return Ok(ControlFlow::Continue(()));
        };
        let (intake, id) = self.intake(&envelope.mail).await;
        self.reply("354 End with a line that holds only a dot");
        self.flush().await?;
        let limits = self.shared.limits;
        self.lines.set_timeout(limits.data_timeout);
        let received = intake::receive(&mut self.lines, intake);
        let received = timeout(limits.message_timeout, received).await;
        match received.unwrap_or(Err(Broken::Endless)) {
            Ok(received) => self.received(envelope, received, &id).await,
            Err(broken) => return self.broken_off(broken),
        }
        Ok(ControlFlow::Continue(()))
    }

    /// A place for a message's text, and the transaction's id.
    pub(super) async fn intake(&mut self, mail: &Mail) -> (Intake, String) {
        let (id, now) = (trace::transaction_id(), Timestamp::now());
        let hello = self.hello.as_ref();
        let before = trace::received(
            Trace {
                host: &self.shared.host,
                hello: hello.map_or("", |hello| &hello.name),
                peer: &self.client.peer,
                protocol: &protocol(hello, mail, &self.client),
                id: &id,
            },
            now,
        );
        let missing = trace::missing(&self.shared.host, &id, now);
        let body = self.shared.spool.body();
        let intake = Intake::begin(body, &before, missing, self.shared.rules).await;
        (intake, id)
    }

    /// The end of a message: into the spool with it, or why not.
    pub(super) async fn received(
        &mut self,
        envelope: Envelope,
        received: Result<Taken, Refusal>,
        id: &str,
    ) {
        match received {
            Ok(taken) => self.take_out(envelope, taken, id).await,
            Err(refusal) => {
                let reply = self.refuse(&refusal, &envelope);
                self.fault(&reply);
            }
        }
    }

    async fn take_out(&mut self, envelope: Envelope, taken: Taken, id: &str) {
        let header = header_section(&taken.head);
        let hops = trace::hops(header);
        if hops > MOST_HOPS {
            warn!(peer = %self.client.peer, hops, "a message goes round in a loop and was refused");
            return self.fault(&format!(
                "554 5.4.6 The message has {hops} Received fields: it goes round in a loop"
            ));
        }
        let (headline, from) = (headline(header), trace::author(header));
        let automatic = trace::is_automatic(header);
        // Where the envelope names no relay, the header's From chooses one, and so must be theirs as well.
        if envelope.relay.is_none()
            && let Some(reply) = self.is_not_theirs(&from)
        {
            return self.fault(&reply);
        }
        let Some(relay) = self.relay_for(&envelope, &from) else {
            let sender = &envelope.mail.sender;
            warn!(peer = %self.client.peer, sender, from, "no relay serves this sender; the message was refused");
            return self.fault(&no_relay(sender, &from));
        };
        let Envelope {
            mail, recipients, ..
        } = envelope;
        let beyond_ascii =
            !mail.sender.is_ascii() || recipients.iter().any(|r| !r.address.is_ascii());
        let sha256 = hex(&taken.body.sha256);
        let message_id = headline.message_id.clone();
        let (sender, count, size) = (mail.sender.clone(), recipients.len(), taken.size);
        let key = taken
            .key
            .map(|key| submission_key(&sender, &recipients, &key));
        let outgoing = Outgoing {
            sender: mail.sender,
            relay: relay.clone(),
            recipients,
            // Clients ask for SMTPUTF8 out of habit; the relay must offer it only where something needs it.
            smtputf8: mail.smtputf8 && (beyond_ascii || taken.eight_bit_header),
            eight_bit: taken.eight_bit,
            ret: mail.ret,
            envid: mail.envid,
            automatic,
            conversation: conversation(header),
            headline,
            body: taken.body,
        };
        let spool = &self.shared.spool;
        let done = match key {
            None => spool.take_out(outgoing).await.map(TakenOut::New),
            Some(key) => spool.take_out_once(outgoing, key).await,
        };
        match done {
            Ok(TakenOut::New(message)) => {
                info!(
                    relay,
                    queue_id = message.0,
                    id,
                    sender,
                    recipients = count,
                    size,
                    sha256,
                    message_id,
                    "accepted a message"
                );
                self.was_useful();
                self.reply(&format!("250 2.0.0 Ok: accepted as {} ({id})", message.0));
            }
            Ok(TakenOut::Repeated(message)) => {
                info!(queue_id = message.0, id, sender, "a repeated submission");
                self.was_useful();
                let reply = format!("250 2.0.0 Ok: accepted before as {}", message.0);
                self.reply(&reply);
            }
            Err(error) => {
                let reply = self.spool_failed(&error);
                self.reply(reply);
            }
        }
    }

    /// By the envelope at MAIL, else by the header's From.
    fn relay_for(&self, envelope: &Envelope, from: &str) -> Option<String> {
        let routes = self.shared.routes.borrow();
        let decided = || routes.by_from(from);
        let relay = envelope.relay.as_deref().or_else(decided);
        relay.map(str::to_owned)
    }

    /// The reply to a message that is not taken.
    pub(super) fn refuse(&self, refusal: &Refusal, envelope: &Envelope) -> String {
        info!(peer = %self.client.peer, sender = %envelope.mail.sender, ?refusal, "refused a message");
        match refusal {
            Refusal::TooLarge => self.too_large(),
            Refusal::BareLineEnd => {
                "554 5.6.0 The message has a bare CR or LF; every line ends with CRLF".to_owned()
            }
            Refusal::Nul => "554 5.6.0 The message has a NUL byte".to_owned(),
            Refusal::Spool(error) => self.spool_failed(error).to_owned(),
        }
    }

    /// Nothing was spooled. Whoever is still there is told so.
    pub(super) fn broken_off(&mut self, broken: Broken) -> Result<ControlFlow<()>, LineError> {
        warn!(peer = %self.client.peer, ?broken, "a message broke off before its end; nothing was taken");
        match broken {
            Broken::Line(LineError::Timeout { .. }) => {
                self.reply("421 4.4.2 The message stopped before its end")
            }
            Broken::Endless => self.reply("421 4.4.2 The message did not end in time"),
            Broken::Line(error) => return Err(error),
        }
        Ok(ControlFlow::Break(()))
    }

    fn spool_failed(&self, error: &SpoolError) -> &'static str {
        warn!(peer = %self.client.peer, %error, "a message could not be spooled");
        match error {
            SpoolError::Full { .. } => LOW_DISK,
            _ => "451 4.3.0 The message could not be stored, try again later",
        }
    }
}

/// The words of RFC 3848 and RFC 6531, by which a reader of the header sees how a message was handed over.
fn protocol(hello: Option<&Hello>, mail: &Mail, client: &Client) -> String {
    let base = match (hello.is_some_and(|hello| hello.extended), mail.smtputf8) {
        (true, true) => "UTF8SMTP",
        (true, false) => "ESMTP",
        (false, _) => return "SMTP".to_owned(),
    };
    let tls = if client.is_under_tls { "S" } else { "" };
    let user = if client.user.is_some() { "A" } else { "" };
    format!("{base}{tls}{user}")
}

/// One submitter's keys are not another's, and the rest of a message's recipients is not a repetition of the first.
fn submission_key(sender: &str, recipients: &[Recipient], key: &[u8]) -> [u8; 32] {
    let mut addresses: Vec<&str> = recipients.iter().map(|r| r.address.as_str()).collect();
    addresses.sort_unstable();
    let mut hash = Sha256::new();
    for part in [sender].iter().chain(&addresses) {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    hash.update(key);
    hash.finalize().into()
}

fn no_relay(sender: &str, from: &str) -> String {
    let from = match from {
        "" => "no From".to_owned(),
        from => format!("From <{}>", printable(from.as_bytes())),
    };
    format!(
        "550 5.7.1 No relay serves the sender <{sender}> ({from}); add one of them to the senders of a relay in postern.yaml"
    )
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
