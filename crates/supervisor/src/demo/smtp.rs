//! The ticket command's way to answer: a small blocking SMTP client, as helpdesks have one.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// The listener is on this machine and answers after one commit; longer means that it is away.
const PATIENCE: Duration = Duration::from_secs(10);
/// A reply has few lines; more is not SMTP.
const REPLY_LINES: usize = 100;

/// Submits one message; returns when the listener has taken responsibility for it.
pub(super) fn submit(
    port: u16,
    sender: &str,
    recipients: &[String],
    message: &[u8],
) -> Result<(), String> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let stream = TcpStream::connect_timeout(&address, PATIENCE)
        .map_err(|error| format!("no connection to {address}: {error}"))?;
    let set_up = |stream: &TcpStream| {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)
    };
    set_up(&stream).map_err(|error| error.to_string())?;
    let mut talk = Talk(BufReader::new(stream));
    talk.expect("", "220")?;
    talk.expect("EHLO ticket-system\r\n", "250")?;
    talk.expect(&format!("MAIL FROM:<{sender}> BODY=8BITMIME\r\n"), "250")?;
    for recipient in recipients {
        talk.expect(&format!("RCPT TO:<{recipient}>\r\n"), "250")?;
    }
    talk.expect("DATA\r\n", "354")?;
    talk.say(&stuffed(message))?;
    talk.expect("", "250")?;
    // The message is theirs; a lost goodbye changes nothing.
    talk.expect("QUIT\r\n", "221").ok();
    Ok(())
}

/// The message with its dots doubled and its end marked (RFC 5321, 4.5.2). It ends with CRLF already, as what this demo writes does.
fn stuffed(message: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(message.len() + message.len() / 64);
    for line in message.split_inclusive(|byte| *byte == b'\n') {
        if line.starts_with(b".") {
            bytes.push(b'.');
        }
        bytes.extend_from_slice(line);
    }
    bytes.extend_from_slice(b".\r\n");
    bytes
}

struct Talk(BufReader<TcpStream>);

impl Talk {
    fn say(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.0
            .get_mut()
            .write_all(bytes)
            .map_err(|error| format!("the connection broke: {error}"))
    }

    /// Says a command and wants a reply with this code.
    fn expect(&mut self, command: &str, code: &str) -> Result<(), String> {
        self.say(command.as_bytes())?;
        for _ in 0..REPLY_LINES {
            let mut line = String::new();
            self.0
                .read_line(&mut line)
                .map_err(|error| format!("no reply to {}: {error}", command.trim_end()))?;
            let (found, rest) = (
                line.get(..3).unwrap_or_default(),
                line.get(3..4).unwrap_or_default(),
            );
            if found != code {
                return Err(format!(
                    "{} was answered {:?}",
                    command.trim_end(),
                    line.trim_end()
                ));
            }
            if rest != "-" {
                return Ok(());
            }
        }
        Err(format!("{} was answered without end", command.trim_end()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_at_the_start_of_a_line_are_doubled() {
        assert_eq!(stuffed(b".\r\na.\r\n..b\r\n"), b"..\r\na.\r\n...b\r\n.\r\n");
    }
}
