//! What a server said it can do.

use std::collections::HashSet;

use imap_proto::{Capability, Response, ResponseCode};

/// What a server said it can do, in upper case.
#[derive(Debug, Clone, Default)]
pub(crate) struct Capabilities(HashSet<String>);

impl Capabilities {
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.contains(name)
    }

    /// SASL mechanisms offered.
    pub(super) fn mechanisms(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|c| c.strip_prefix("AUTH="))
    }

    /// Whether it speaks only IMAP4rev2 (RFC 9051), where folder names are UTF-8 (section 5.1).
    pub(super) fn rev2_only(&self) -> bool {
        self.has("IMAP4REV2") && !self.has("IMAP4REV1")
    }

    /// Whether UTF-8 can be agreed on (RFC 9755): without it a server may show a message with UTF-8 headers in another form than it has.
    pub(super) fn offers_utf8(&self) -> bool {
        self.has("ENABLE") && (self.has("UTF8=ACCEPT") || self.has("UTF8=ONLY"))
    }

    /// All of them, sorted, for people: a server may put anything among them.
    pub(crate) fn words(&self) -> String {
        let mut words: Vec<&str> = self.0.iter().map(String::as_str).collect();
        words.sort_unstable();
        wire::printable(words.join(" ").as_bytes())
    }

    /// From an untagged CAPABILITY, or the response code of a greeting or a tagged OK.
    pub(super) fn from_response(response: &Response<'_>) -> Option<Self> {
        let (Response::Data { outcome, .. } | Response::Done { outcome, .. }) = response else {
            return None;
        };
        if let Some(ResponseCode::Capabilities(list)) = &outcome.code {
            let word = |c: &Capability<'_>| match c {
                Capability::Imap4rev1 => "IMAP4REV1".to_owned(),
                Capability::Auth(name) => format!("AUTH={}", name.to_ascii_uppercase()),
                Capability::Atom(name) => name.to_ascii_uppercase(),
            };
            return Some(Self(list.iter().map(word).collect()));
        }
        // The parser knows no code without IMAP4rev1 in it and hands it on as text; the untagged line is as the guard mended it.
        let text = outcome.information.as_deref()?;
        let words = match text.strip_prefix("[CAPABILITY ") {
            Some(code) => code.split_once(']')?.0,
            None => text.strip_prefix(super::guard::MENDED_CAPABILITY)?,
        };
        Some(
            words
                .split_ascii_whitespace()
                .map(str::to_ascii_uppercase)
                .collect(),
        )
    }
}

impl FromIterator<String> for Capabilities {
    fn from_iter<I: IntoIterator<Item = String>>(words: I) -> Self {
        Self(words.into_iter().collect())
    }
}

#[cfg(test)]
impl<'a> FromIterator<&'a str> for Capabilities {
    fn from_iter<I: IntoIterator<Item = &'a str>>(words: I) -> Self {
        words.into_iter().map(str::to_owned).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_of_them_is_short_and_steers_no_terminal() {
        let told: Capabilities = ["IDLE", "\x1b[2J", &"X".repeat(5000)].into_iter().collect();
        assert!(told.has("IDLE"));
        let words = told.words();
        assert!(words.starts_with("\\u{1b}[2J IDLE"), "{words}");
        assert!(words.len() < 1100, "{}", words.len());
    }
}
