//! What the person in front of the demo sees: one calm line per event.

use std::io::{IsTerminal, Write};
use std::time::Instant;

use super::stage::Stage;
use super::watch::{Event, Totals};

/// Subjects are cut here, so that a line fits an ordinary window.
const SUBJECT: usize = 44;

/// The terminal, or whatever standard output is.
pub(super) struct Screen {
    colour: bool,
    began: Instant,
}

/// The colours of SGR (ECMA-48).
#[derive(Clone, Copy)]
enum Colour {
    Bold = 1,
    Dim = 2,
    Red = 31,
    Green = 32,
    Yellow = 33,
    Cyan = 36,
}

impl Screen {
    /// In colour on a terminal, unless `NO_COLOR` asks for none.
    pub(super) fn new() -> Self {
        let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self {
            colour,
            began: Instant::now(),
        }
    }

    /// Who plays, and where.
    pub(super) fn opening(&mut self, stage: &Stage, once: bool) {
        let provider = &stage.provider;
        self.line(&self.paint(Colour::Bold, "Postern demo: customers, a pretend mail provider, the gateway, a ticket system. All on this machine."));
        self.line(&format!(
            "  provider    {}  IMAP {}  SMTP {}",
            provider.url(),
            provider.imap(),
            provider.smtp()
        ));
        let life = stage.token_life.as_secs();
        self.line(&format!("  tokens      live {life} s and rotate; a refresh token used twice would revoke the account"));
        self.line(&format!("  replies     come in at {}", stage.submission()));
        if let (Some(page), Some(password)) = (stage.page(), &stage.password) {
            self.line(&format!(
                "  admin page  {page}  user admin, password {password} (for this run only)"
            ));
        }
        let end = if once {
            "A fixed story, which checks itself."
        } else {
            "Ctrl-C ends it."
        };
        self.line(&self.paint(Colour::Dim, &format!("  {end}")));
        self.line("");
        self.began = Instant::now();
    }

    /// Something happened.
    pub(super) fn tell(&self, event: &Event) {
        let (colour, label, subject, note) = match event {
            Event::Arrived {
                from,
                subject,
                size,
            } => (
                Colour::Dim,
                "    mailbox",
                subject.as_str(),
                format!("from {from}, {}", kib(*size)),
            ),
            Event::Filed {
                subject,
                ticket,
                attempt,
            } => {
                let again = if *attempt > 1 {
                    format!(", at attempt {attempt}")
                } else {
                    String::new()
                };
                (
                    Colour::Cyan,
                    "--> ticket",
                    subject.as_str(),
                    format!("filed as {ticket}{again}"),
                )
            }
            Event::Accepted { subject, to } => (
                Colour::Dim,
                "    reply",
                subject.as_str(),
                format!("taken for {to}"),
            ),
            Event::Relayed { subject, to } => (
                Colour::Green,
                "<-- sent",
                subject.as_str(),
                format!("to {to}"),
            ),
            Event::Refreshed { times } => (
                Colour::Yellow,
                "    token",
                "refreshed",
                format!("{times} so far"),
            ),
            Event::Waits { subject, why } => {
                (Colour::Yellow, " .. waits", subject.as_str(), why.clone())
            }
            Event::Held { subject, why } => {
                (Colour::Red, " !! held", subject.as_str(), why.clone())
            }
            Event::Note(words) => (Colour::Yellow, "    note", words.as_str(), String::new()),
        };
        let time = self.began.elapsed().as_secs_f64();
        let subject = if note.is_empty() {
            subject.to_owned()
        } else {
            format!("{:SUBJECT$}", cut(subject, SUBJECT))
        };
        let label = self.paint(colour, &format!("{label:11}"));
        let note = self.paint(Colour::Dim, note.trim_end());
        self.line(format!("{time:7.1} s  {label} {subject}  {note}").trim_end());
    }

    /// Who is still waited for at the end.
    pub(super) fn draining(&self, names: &[String]) {
        self.tell(&Event::Note(format!(
            "still waiting for {}",
            names.join(", ")
        )));
    }

    /// The last lines of the log, after a failure.
    pub(super) fn log(&self, lines: &[String]) {
        self.line("");
        self.line("The end of the log:");
        for line in lines {
            self.line(&self.paint(Colour::Dim, line));
        }
    }

    /// The sum, or what is wrong.
    pub(super) fn ending(&self, totals: &Totals, problems: &[String]) {
        self.line("");
        for problem in problems {
            self.line(&self.paint(Colour::Red, &format!("demo failed: {problem}")));
        }
        let colour = if problems.is_empty() {
            Colour::Green
        } else {
            Colour::Red
        };
        self.line(&self.paint(colour, &totals.to_string()));
    }

    fn paint(&self, colour: Colour, text: &str) -> String {
        if !self.colour || text.is_empty() {
            return text.to_owned();
        }
        format!("\x1b[{}m{text}\x1b[0m", colour as u8)
    }

    fn line(&self, text: &str) {
        // A reader that went away, as with `| head`, does not concern the play.
        writeln!(std::io::stdout(), "{text}").ok();
    }
}

/// At most so many characters.
fn cut(text: &str, longest: usize) -> String {
    if text.chars().count() <= longest {
        return text.to_owned();
    }
    text.chars().take(longest - 1).chain(['…']).collect()
}

fn kib(bytes: usize) -> String {
    format!("{} KiB", bytes.div_ceil(1024))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_subject_is_cut_by_characters() {
        assert_eq!(cut("größer", 6), "größer");
        assert_eq!(cut("größere", 6), "größe…");
    }
}
