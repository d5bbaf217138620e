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

    /// All of them, sorted, for people.
    pub(crate) fn words(&self) -> String {
        let mut words: Vec<&str> = self.0.iter().map(String::as_str).collect();
        words.sort_unstable();
        words.join(" ")
    }

    /// From an untagged CAPABILITY, or the response code of a greeting or a tagged OK.
    pub(super) fn from_response(response: &Response<'_>) -> Option<Self> {
        let list = match response {
            Response::Capabilities(list) => list,
            Response::Data { outcome, .. } | Response::Done { outcome, .. } => {
                match &outcome.code {
                    Some(ResponseCode::Capabilities(list)) => list,
                    _ => return None,
                }
            }
            _ => return None,
        };
        let word = |c: &Capability<'_>| match c {
            Capability::Imap4rev1 => "IMAP4REV1".to_owned(),
            Capability::Auth(name) => format!("AUTH={}", name.to_ascii_uppercase()),
            Capability::Atom(name) => name.to_ascii_uppercase(),
        };
        Some(Self(list.iter().map(word).collect()))
    }
}

#[cfg(test)]
impl<'a> FromIterator<&'a str> for Capabilities {
    fn from_iter<I: IntoIterator<Item = &'a str>>(words: I) -> Self {
        Self(words.into_iter().map(str::to_owned).collect())
    }
}
