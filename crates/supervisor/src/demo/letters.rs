//! What customers write: several senders, questions and reports, 8-bit text, leading dots, attachments.

use std::time::SystemTime;

use anyhow::Context;
use lettre::Message;
use lettre::message::header::{ContentTransferEncoding, ContentType};
use lettre::message::{Attachment, Body, Mailbox, MultiPart, SinglePart};

use super::HELPDESK;

/// A subject that the ticket command refuses twice before it files it, as a ticket system does whose database is restarted.
pub(super) const DATABASE_AWAY: &str = "arrives while the database restarts";
/// A subject whose answer goes to the colleague on call as well.
pub(super) const URGENT: &str = "Urgent:";

const CUSTOMERS: [(&str, &str); 6] = [
    ("Anna Weiß", "anna@customers.test"),
    ("Boris Novák", "boris@customers.test"),
    ("Chiara D'Angelo", "chiara@customers.test"),
    ("Dai Kobayashi", "dai@customers.test"),
    ("Émile Lefèvre", "emile@customers.test"),
    ("Fatima Haddad", "fatima@customers.test"),
];

const SUBJECTS: [&str; 12] = [
    "Where is my parcel?",
    "Thank you, it works again",
    "How do I change my address?",
    "Can you send the invoice once more?",
    "The printer on floor 3 is on fire",
    "Ein Umlaut: häßlich größer – geht das?",
    "Screenshot of the error",
    "Could somebody call me back?",
    "Order confirmation 20461",
    "Is the shop closed on Monday?",
    "Log file as you asked",
    "Which cable fits?",
];

/// Attachments that do not fit beside their message in the database, so that they travel as files (320 to 480 KiB before
/// base64, which adds a third).
const ATTACHMENT: std::ops::Range<usize> = 320 * 1024..480 * 1024;

/// A letter ready for the mailbox.
#[derive(Debug, Clone)]
pub(super) struct Letter {
    pub(super) from: String,
    pub(super) subject: String,
    pub(super) bytes: Vec<u8>,
}

/// Writes letters, each one different.
pub(super) struct Writer {
    written: usize,
    dice: fastrand::Rng,
}

impl Writer {
    /// The same seed writes the same letters but for their dates.
    pub(super) fn new(seed: u64) -> Self {
        Self {
            written: 0,
            dice: fastrand::Rng::with_seed(seed),
        }
    }

    /// The next letter of the ordinary round.
    pub(super) fn next(&mut self) -> anyhow::Result<Letter> {
        let subject = SUBJECTS[self.written % SUBJECTS.len()];
        self.about(subject)
    }

    /// A letter with a subject of its own.
    pub(super) fn about(&mut self, subject: &str) -> anyhow::Result<Letter> {
        let (name, address) = CUSTOMERS[self.written % CUSTOMERS.len()];
        self.written += 1;
        let number = self.written;
        let subject = format!("{subject} (#{number})");
        let customer = Mailbox::new(
            Some(name.to_owned()),
            address.parse().context("a customer's address")?,
        );
        let builder = Message::builder()
            .from(customer)
            .to(HELPDESK.parse().context("the helpdesk's address")?)
            .date(SystemTime::now())
            .message_id(Some(format!(
                "<{number}.{:016x}@customers.test>",
                self.dice.u64(..)
            )))
            .subject(subject.clone());
        let text = self.text(name, number);
        let message = match number % 5 {
            // Every fifth carries an attachment, alternately of random and of repetitive bytes.
            0 => {
                let attachment = Attachment::new(format!("log-{number}.bin"));
                let kind =
                    ContentType::parse("application/octet-stream").context("a content type")?;
                let body = MultiPart::mixed()
                    .singlepart(SinglePart::plain(text))
                    .singlepart(attachment.body(self.noise(), kind));
                builder.multipart(body)?
            }
            // Quoted-printable, as most programs write it.
            1 | 2 => builder.singlepart(SinglePart::plain(text))?,
            // 8-bit as it is.
            _ => builder.singlepart(eight_bit(&text))?,
        };
        Ok(Letter {
            from: name.to_owned(),
            subject,
            bytes: message.formatted(),
        })
    }

    fn text(&mut self, name: &str, number: usize) -> String {
        let mut text = format!("Guten Tag – hello,\n\nthis is letter {number}.\n");
        if number.is_multiple_of(3) {
            text.push_str(
                ".\n..\n.profile is the file I mean; “dots” at the start of a line must survive\n",
            );
        }
        for _ in 0..self.dice.usize(1..40) {
            text.push_str("The quick brown fox, naïve as ever, jumps over the lazy dog.\n");
        }
        text.push_str(&format!("\nRegards\n{name}\n"));
        text
    }

    fn noise(&mut self) -> Vec<u8> {
        let mut bytes = vec![0; self.dice.usize(ATTACHMENT)];
        self.dice.fill(&mut bytes);
        bytes
    }
}

/// A text part with its 8-bit characters as they are. The texts here have short lines and no control characters, which is all that
/// 8bit asks of them; the builder by itself would rather encode them.
pub(super) fn eight_bit(text: &str) -> SinglePart {
    let text = text.replace('\n', "\r\n").into_bytes();
    let body = Body::dangerous_pre_encoded(text, ContentTransferEncoding::EightBit);
    SinglePart::builder()
        .header(ContentType::TEXT_PLAIN)
        .body(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_differ_and_hold_what_makes_mail_hard() {
        let mut writer = Writer::new(1);
        let letters: Vec<Letter> = (0..15).map(|_| writer.next().unwrap()).collect();
        let distinct: std::collections::BTreeSet<&[u8]> = letters
            .iter()
            .map(|letter| letter.bytes.as_slice())
            .collect();
        assert_eq!(distinct.len(), letters.len());
        let some =
            |holds: &dyn Fn(&[u8]) -> bool| letters.iter().any(|letter| holds(&letter.bytes));
        assert!(some(&|bytes| bytes.len() > 300_000));
        assert!(some(&|bytes| !bytes.is_ascii()));
        assert!(some(&|bytes| bytes
            .windows(5)
            .any(|five| five == b"\r\n.\r\n")));
        let bare = |bytes: &[u8]| {
            bytes
                .windows(2)
                .any(|two| two[1] == b'\n' && two[0] != b'\r')
        };
        assert!(!some(&bare), "line ends are CRLF");
    }
}
