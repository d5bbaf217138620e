//! AUTH (RFC 4954), as far as the dialogues go: one user, by PLAIN and by LOGIN.
use super::Model;

/// NUL znuny NUL secret-word
pub(in super::super) const PLAIN: &str = "AHpudW55AHNlY3JldC13b3Jk";
/// znuny
pub(in super::super) const USER: &str = "em51bnk=";
/// secret-word
pub(in super::super) const PASSWORD: &str = "c2VjcmV0LXdvcmQ=";
/// What anything else deserves that stands in the place of an answer: no base64, no text, not who may sign in.
const WRONG: [&str; 3] = ["501", "500", "535"];

impl Model<'_> {
    /// None: the session is over.
    pub(super) fn sign_in(&mut self, text: &str, argument: &str) -> Option<()> {
        let words: Vec<&str> = argument
            .split(' ')
            .filter(|word| !word.is_empty())
            .collect();
        let mut codes = Vec::new();
        let mechanism = words.first().map(|word| word.to_ascii_uppercase());
        match mechanism.as_deref() {
            Some("PLAIN" | "LOGIN") if words.len() <= 2 => {}
            Some(_) => codes.extend(["504", "501"]),
            None => codes.push("501"),
        }
        if self.house.public {
            codes.extend(["538", "530"]);
        }
        if !self.extended || self.signed_in || self.open.is_some() {
            codes.push("503");
        }
        if !codes.is_empty() {
            self.expect(text, &codes);
            return Some(());
        }
        let expected = match mechanism.as_deref() {
            Some("PLAIN") => &[PLAIN][..],
            _ => &[USER, PASSWORD],
        };
        let mut initial = words.get(1).map(ToString::to_string);
        for right in expected {
            let answer = match initial.take() {
                Some(answer) => answer,
                None => self.answer(text)?,
            };
            if answer != *right {
                self.expect(&answer, &WRONG);
                return Some(());
            }
        }
        self.expect(text, &["235"]);
        self.signed_in = true;
        Some(())
    }

    /// What the client says to a question; None: nothing.
    fn answer(&mut self, text: &str) -> Option<String> {
        self.expect(text, &["334"]);
        let end = self.rest.iter().position(|b| *b == b'\n')?;
        let line = &self.rest[..end];
        self.rest = &self.rest[end + 1..];
        // A bare line end makes any answer a wrong one.
        let line = line.strip_suffix(b"\r").unwrap_or(b"bare");
        Some(String::from_utf8_lossy(line).into_owned())
    }
}
