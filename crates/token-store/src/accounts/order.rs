//! What a person gives to make or change an account: keys of the configuration file with their values.
//!
//! The page and the command line fill it, the reader of the configuration file reads it; so an account is judged by the same
//! rules and in the same words, whichever door it comes through.

use crate::Secret;

/// One value.
#[derive(Debug, Clone, PartialEq)]
pub enum Given {
    /// A text, number, duration, size, or `true` and `false`.
    Text(String),
    /// A list of texts.
    List(Vec<String>),
    /// A secret; `Debug` prints `***`.
    Secret(Secret),
}

/// Values by key, in order; a key within a section is written with dots: `deliver.command`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Order(Vec<(String, Given)>);

/// Keys of which one at most is given: a new one takes the place of the others and of what belongs to them.
const EITHER_OR: [&[&str]; 3] = [
    &["auth.token", "auth.password"],
    &[
        "deliver.command",
        "deliver.lmtp",
        "deliver.http",
        "deliver.maildir",
    ],
    &["bounces_to.mailbox", "bounces_to.address"],
];
/// What only means something beside another key.
const BELONGS: [(&str, &[&str]); 2] = [
    ("deliver.command", &["deliver.preset", "deliver.directory"]),
    ("deliver.lmtp", &["deliver.to"]),
];

impl Order {
    /// Gives a key its value, instead of whatever contradicts it: its former value, the section it was, the scalar that its section was,
    /// and the other keys of a choice.
    pub fn set(&mut self, key: &str, value: Given) {
        for choice in EITHER_OR {
            if choice.iter().any(|one| is_within(key, one)) {
                choice
                    .iter()
                    .filter(|other| !is_within(key, other))
                    .for_each(|other| self.remove(other));
            }
        }
        self.0
            .retain(|(other, _)| !is_within(other, key) && !key.starts_with(&format!("{other}.")));
        self.0.push((key.to_owned(), value));
    }

    /// As [`Order::set`] with a text.
    pub fn set_text(&mut self, key: &str, text: impl Into<String>) {
        self.set(key, Given::Text(text.into()));
    }

    /// Takes a key back, with everything below it and all that belongs to it.
    pub fn remove(&mut self, key: &str) {
        let more = BELONGS.iter().find(|(owner, _)| *owner == key);
        let more = more.map_or(&[][..], |(_, keys)| keys);
        self.0
            .retain(|(other, _)| !is_within(other, key) && !more.contains(&other.as_str()));
    }

    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Given> {
        self.0
            .iter()
            .find(|(k, _)| k == key)
            .map(|(_, value)| value)
    }

    /// The text of a key; empty when it has none.
    #[must_use]
    pub fn text(&self, key: &str) -> &str {
        match self.get(key) {
            Some(Given::Text(text)) => text,
            _ => "",
        }
    }

    /// Keys and values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Given)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// Whether another order says the same, in whatever order.
    #[must_use]
    pub fn says_the_same(&self, other: &Self) -> bool {
        self.0.len() == other.0.len() && self.0.iter().all(|pair| other.0.contains(pair))
    }

    /// What another order gives takes the place of what this one says.
    pub fn overlay(&mut self, other: Self) {
        for (key, value) in other.0 {
            self.set(&key, value);
        }
    }
}

/// Whether a key is another one, or stands in its section.
fn is_within(key: &str, section: &str) -> bool {
    key.strip_prefix(section)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(pairs: &[(&str, &str)]) -> Order {
        let mut order = Order::default();
        pairs.iter().for_each(|(k, v)| order.set_text(k, *v));
        order
    }

    #[test]
    fn a_new_value_takes_the_place_of_what_contradicts_it() {
        for (before, (key, value), after) in [
            (
                &[("after", "keep")][..],
                ("after.move", "Done"),
                &[("after.move", "Done")][..],
            ),
            (
                &[("after.move", "Done"), ("after.create", "true")],
                ("after", "keep"),
                &[("after", "keep")],
            ),
            (
                &[("auth.password", "p"), ("user", "u")],
                ("auth.token", "t"),
                &[("user", "u"), ("auth.token", "t")],
            ),
            (
                &[
                    ("deliver.command", "c"),
                    ("deliver.preset", "rt"),
                    ("deliver.timeout", "1m"),
                ],
                ("deliver.http.url", "https://x"),
                &[("deliver.timeout", "1m"), ("deliver.http.url", "https://x")],
            ),
            (
                &[
                    ("deliver.http.url", "https://x"),
                    ("deliver.http.ca_file", "/f"),
                ],
                ("deliver.http.url", "https://y"),
                &[
                    ("deliver.http.ca_file", "/f"),
                    ("deliver.http.url", "https://y"),
                ],
            ),
            (
                &[("folders", "a"), ("folder", "b")],
                ("folder", "c"),
                &[("folders", "a"), ("folder", "c")],
            ),
        ] {
            let mut changed = order(before);
            changed.set_text(key, value);
            assert_eq!(changed, order(after), "{key} over {before:?}");
        }
    }
}
