//! A ticket system's mailer: a small blocking SMTP client that knows exactly which messages got their 250.

use std::io::{BufRead, BufReader, Error, ErrorKind, Result, Write};
use std::net::TcpStream;
use std::time::Duration;

/// One submission session.
pub(crate) struct Submitter {
    reader: BufReader<TcpStream>,
}

/// How far a submission got.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// `250` after the final dot.
    Accepted,
    /// Any other answer, with its words.
    Refused(String),
    /// The connection broke before the message was complete.
    Lost,
    /// The message was complete, and the answer never came.
    InDoubt,
}

impl Submitter {
    /// Connects and says EHLO.
    pub(crate) fn connect(port: u16) -> Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        let mut session = Self {
            reader: BufReader::new(stream),
        };
        session.reply()?;
        session.command("EHLO ticket.example")?;
        Ok(session)
    }

    /// Writes bytes as they are.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.reader.get_mut().write_all(bytes)
    }

    /// One whole reply, its lines joined by LF.
    pub(crate) fn reply(&mut self) -> Result<String> {
        let mut all = String::new();
        loop {
            let mut line = String::new();
            if self.reader.read_line(&mut line)? == 0 {
                return Err(Error::new(ErrorKind::UnexpectedEof, "closed"));
            }
            all.push_str(&line);
            if line.as_bytes().get(3) != Some(&b'-') {
                return Ok(all.replace("\r\n", "\n").trim_end().to_owned());
            }
        }
    }

    /// Sends a command and reads its reply.
    pub(crate) fn command(&mut self, line: &str) -> Result<String> {
        self.write(format!("{line}\r\n").as_bytes())?;
        self.reply()
    }

    /// Sends one message (CRLF line ends, not yet dot-stuffed).
    pub(crate) fn send(&mut self, from: &str, to: &[&str], message: &[u8]) -> Sent {
        match self.envelope(from, to) {
            Ok(None) => {}
            Ok(Some(refusal)) => return Sent::Refused(refusal),
            Err(_) => return Sent::Lost,
        }
        if self.write(&stuffed(message)).is_err() {
            return Sent::Lost;
        }
        match self.reply() {
            Ok(reply) if reply.starts_with("250") => Sent::Accepted,
            Ok(reply) => Sent::Refused(reply),
            Err(_) => Sent::InDoubt,
        }
    }

    fn envelope(&mut self, from: &str, to: &[&str]) -> Result<Option<String>> {
        let mut batch = format!("MAIL FROM:<{from}> BODY=8BITMIME\r\n");
        to.iter()
            .for_each(|to| batch.push_str(&format!("RCPT TO:<{to}>\r\n")));
        batch.push_str("DATA\r\n");
        self.write(batch.as_bytes())?;
        let mut refusal = None;
        for expected in std::iter::once("250")
            .chain(to.iter().map(|_| "250"))
            .chain(["354"])
        {
            let reply = self.reply()?;
            if !reply.starts_with(expected) {
                refusal.get_or_insert(reply);
            }
        }
        Ok(refusal)
    }
}

/// Dot-stuffing and the final dot (RFC 5321 section 4.5.2).
pub(crate) fn stuffed(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + 64);
    for line in message.split_inclusive(|&b| b == b'\n') {
        if line.first() == Some(&b'.') {
            out.push(b'.');
        }
        out.extend_from_slice(line);
    }
    if !message.ends_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b".\r\n");
    out
}
