//! The demo's ticket command: files the message on standard input, and answers it if it is a question.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::SystemTime;

use lettre::Message;
use mail_parser::MessageParser;

use super::letters::{DATABASE_AWAY, URGENT, eight_bit};
use super::{HELPDESK, ON_CALL, smtp};

/// EX_TEMPFAIL of sysexits: try again.
const TRY_AGAIN: u8 = 75;
/// How often the ticket system's database is away for the subject that asks for it.
const AWAY: u32 = 2;

/// What a filed message's name ends with.
pub(super) const MESSAGE: &str = "eml";
/// A reply that was accepted: its recipients on the first line, below it the message.
pub(super) const REPLY: &str = "reply";

/// The hidden command `demo-ticket DIR REPLY_PORT`. Blocking on purpose: call it without an async runtime.
pub(crate) fn ticket(dir: &Path, reply_port: u16) -> ExitCode {
    match receive(dir, reply_port) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("ticket system: {why}");
            ExitCode::from(TRY_AGAIN)
        }
    }
}

fn receive(dir: &Path, reply_port: u16) -> Result<(), String> {
    let mut message = Vec::new();
    std::io::stdin()
        .read_to_end(&mut message)
        .map_err(|error| format!("standard input: {error}"))?;
    let variable = |name: &str| std::env::var(name).map_err(|_| format!("{name} is not set"));
    let delivery = variable("POSTERN_DELIVERY_ID")?;
    if !delivery
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || c == '-')
    {
        return Err(format!(
            "POSTERN_DELIVERY_ID cannot be a file's name: {delivery}"
        ));
    }
    let attempt = variable("POSTERN_ATTEMPT")?;
    let attempt: u32 = attempt
        .parse()
        .map_err(|_| format!("POSTERN_ATTEMPT is not a number: {attempt}"))?;
    let parsed = MessageParser::default()
        .parse_headers(&message)
        .ok_or("this is not a message")?;
    let subject = parsed.subject().unwrap_or_default();
    if subject.contains(DATABASE_AWAY) && attempt <= AWAY {
        return Err(format!("the database is restarting (attempt {attempt})"));
    }
    // A second delivery of the same message gets a name of its own, so that it cannot hide.
    let name = format!("{delivery}.{attempt}.{}", std::process::id());
    if subject.contains('?') {
        let customer = parsed
            .from()
            .and_then(|from| from.first())
            .and_then(|from| from.address())
            .ok_or("no sender to answer")?;
        let (reply, recipients) = answer(subject, customer, parsed.message_id(), &delivery)
            .map_err(|error| error.to_string())?;
        smtp::submit(reply_port, HELPDESK, &recipients, &reply)?;
        let mut record = recipients.join(" ").into_bytes();
        record.push(b'\n');
        record.extend_from_slice(&reply);
        file(dir, &format!("{name}.{REPLY}"), &record)?;
    }
    file(dir, &format!("{name}.{MESSAGE}"), &message)
}

/// Writes an answer; gives it with its recipients.
fn answer(
    subject: &str,
    customer: &str,
    message_id: Option<&str>,
    delivery: &str,
) -> anyhow::Result<(Vec<u8>, Vec<String>)> {
    let mut recipients = vec![customer.to_owned()];
    let mut builder = Message::builder()
        .from(HELPDESK.parse()?)
        .to(customer.parse()?)
        .date(SystemTime::now())
        .message_id(Some(format!(
            "<answer-{delivery}-{}@sandbox.test>",
            std::process::id()
        )))
        .subject(format!("Re: {subject}"));
    if subject.starts_with(URGENT) {
        builder = builder.cc(ON_CALL.parse()?);
        recipients.push(ON_CALL.to_owned());
    }
    if let Some(id) = message_id {
        builder = builder.in_reply_to(format!("<{id}>"));
    }
    let text = format!(
        "Grüß Gott,\n\nyour question became ticket {delivery}.\n.\n..and this line begins with dots, on purpose – as does the one above.\n\nYour helpdesk\n"
    );
    Ok((
        builder.singlepart(eight_bit(&text))?.formatted(),
        recipients,
    ))
}

/// On disk, whole, under its name, or not at all.
fn file(dir: &Path, name: &str, bytes: &[u8]) -> Result<(), String> {
    let write = || -> std::io::Result<()> {
        let draft = dir.join(format!("{name}.draft"));
        let mut file = File::create_new(&draft)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&draft, dir.join(name))?;
        File::open(dir)?.sync_all()
    };
    write().map_err(|error| format!("{} cannot be written: {error}", dir.join(name).display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_urgent_answer_goes_to_the_colleague_on_call_as_well() {
        let (reply, recipients) =
            answer("Urgent: why?", "anna@customers.test", Some("1@x"), "7").unwrap();
        assert_eq!(recipients, ["anna@customers.test", ON_CALL]);
        let text = String::from_utf8(reply).unwrap();
        assert!(text.contains("In-Reply-To: <1@x>\r\n"), "{text}");
        assert!(text.contains("\r\n.\r\n..and"), "{text}");
        let (_, recipients) = answer("Why?", "anna@customers.test", None, "7").unwrap();
        assert_eq!(recipients, ["anna@customers.test"]);
    }
}
