//! What a server said it can do (RFC 2449), read leniently.

use std::time::Duration;

/// A server's CAPA answer; empty for a server that doesn't know the command.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Capabilities {
    /// Whether CAPA was answered.
    pub(super) told: bool,
    /// One line each, in upper case.
    lines: Vec<String>,
}

/// Lines that are kept; no server has a quarter of that.
const LINES: usize = 100;
/// Longer than a day is a mistake of the server's.
const LOGIN_DELAY: u64 = 86_400;

impl Capabilities {
    /// One line of the answer.
    pub(super) fn add(&mut self, line: &[u8]) {
        let line = String::from_utf8_lossy(line);
        if self.lines.len() < LINES && !line.trim().is_empty() {
            self.lines.push(line.trim().to_ascii_uppercase());
        }
    }

    /// The arguments of a capability; None if it is not offered.
    fn arguments(&self, name: &str) -> Option<impl Iterator<Item = &str>> {
        self.lines.iter().find_map(|line| {
            let mut words = line.split_ascii_whitespace();
            (words.next() == Some(name)).then_some(words)
        })
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.arguments(name).is_some()
    }

    /// SASL mechanisms offered (RFC 5034).
    pub(super) fn mechanisms(&self) -> impl Iterator<Item = &str> {
        self.arguments("SASL").into_iter().flatten()
    }

    /// The least time between two sign-ins (RFC 2449 section 6.5).
    pub(crate) fn login_delay(&self) -> Option<Duration> {
        let seconds: u64 = self.arguments("LOGIN-DELAY")?.next()?.parse().ok()?;
        Some(Duration::from_secs(seconds.min(LOGIN_DELAY)))
    }

    /// Whether the server may delete by itself what was retrieved (EXPIRE, RFC 2449 section 6.7); NEVER is a promise not to.
    pub(super) fn expires(&self) -> bool {
        self.arguments("EXPIRE")
            .is_some_and(|mut days| days.next() != Some("NEVER"))
    }

    /// All of them, for people: a server may put anything among them.
    pub(crate) fn words(&self) -> String {
        match self.told {
            true => wire::printable(self.lines.join(", ").as_bytes()),
            false => "no list of its capabilities".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(lines: &[&str]) -> Capabilities {
        let mut capabilities = Capabilities {
            told: true,
            ..Capabilities::default()
        };
        lines
            .iter()
            .for_each(|line| capabilities.add(line.as_bytes()));
        capabilities
    }

    #[test]
    fn arguments_case_and_unknown_lines_do_no_harm() {
        let told = told(&[
            "sasl  PLAIN xoauth2 ",
            "",
            "X-GOOGLE-RICO",
            "EXPIRE 0",
            "LOGIN-DELAY 300 USER",
            "IMPLEMENTATION a b c",
            "pipelining",
        ]);
        assert_eq!(told.mechanisms().collect::<Vec<_>>(), ["PLAIN", "XOAUTH2"]);
        assert_eq!(told.login_delay(), Some(Duration::from_secs(300)));
        assert!(
            told.has("PIPELINING") && told.has("EXPIRE") && !told.has("TOP") && !told.has("SAS")
        );
    }

    #[test]
    fn only_a_server_that_says_so_deletes_by_itself() {
        for (line, expires) in [
            ("EXPIRE 0", true),
            ("expire 60 USER", true),
            ("EXPIRE", true),
            ("EXPIRE NEVER", false),
            ("EXPIRED 1", false),
        ] {
            assert_eq!(told(&[line]).expires(), expires, "{line}");
        }
        assert!(!told(&[]).expires());
    }

    #[test]
    fn what_is_shown_of_them_is_short_and_steers_no_terminal() {
        let words = told(&["IDLE", "\x1b[2J", &"X".repeat(5000)]).words();
        assert!(words.starts_with("IDLE, \\u{1b}[2J, X"), "{words}");
        assert!(words.len() < 1100, "{}", words.len());
    }

    #[test]
    fn a_login_delay_that_makes_no_sense_is_none_or_a_day() {
        assert_eq!(told(&["LOGIN-DELAY"]).login_delay(), None);
        assert_eq!(told(&["LOGIN-DELAY soon"]).login_delay(), None);
        assert_eq!(
            told(&["LOGIN-DELAY 99999999999"]).login_delay(),
            Some(Duration::from_secs(86_400))
        );
        assert_eq!(told(&[]).mechanisms().count(), 0);
    }
}
