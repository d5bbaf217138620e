//! A small typed reader over the located tree: each call reads one key and notes a mistake instead of stopping.
//!
//! A key is known because somebody asked for it; what nobody asked for is unknown when the section is
//! [finished](Section::finish). So the list of known keys cannot differ from what is read.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::time::Duration;

use token_store::accounts::{show_duration, show_size};

use super::mistake::{Mistake, Place};
use super::nearest::nearest;
use super::quote::{either, found, quotable};
use super::units;
use super::yaml::{Key, Node, Value};

/// YAML 1.1's key that copies another mapping's keys; no part of YAML 1.2.
const MERGE: &str = "<<";

/// Collects mistakes and known keys while a file is read.
#[derive(Default)]
pub(super) struct Reader {
    mistakes: RefCell<Vec<Mistake>>,
    known: RefCell<BTreeSet<String>>,
    literal_secrets: Cell<bool>,
}

impl Reader {
    pub(super) fn mistake(&self, at: Place, key: &str, why: impl Into<String>) {
        self.mistakes.borrow_mut().push(Mistake::new(at, key, why));
    }

    /// The file as the outermost section.
    pub(super) fn root<'a>(&'a self, node: &'a Node) -> Section<'a> {
        let entries = match &node.value {
            Value::Map(entries) => entries.as_slice(),
            _ if node.is_null() => &[],
            _ => {
                self.mistake(
                    node.at,
                    "",
                    format!(
                        "found {}; expected keys such as `state_dir: /var/lib/postern`",
                        found(node)
                    ),
                );
                &[]
            }
        };
        Section {
            reader: self,
            path: String::new(),
            at: node.at,
            entries,
            asked: RefCell::default(),
        }
    }

    /// A mapping that is read by itself: its keys have no path before them.
    pub(super) fn alone<'a>(&'a self, node: &'a Node) -> Field<'a> {
        Field {
            reader: self,
            path: String::new(),
            node,
        }
    }

    /// All mistakes, and all keys that were asked for, list positions written `[]`.
    pub(super) fn into_findings(self) -> (Vec<Mistake>, BTreeSet<String>) {
        (self.mistakes.into_inner(), self.known.into_inner())
    }
}

/// A mapping that is being read.
pub(super) struct Section<'a> {
    reader: &'a Reader,
    path: String,
    at: Place,
    entries: &'a [(Key, Node)],
    asked: RefCell<Vec<&'static str>>,
}

impl<'a> Section<'a> {
    pub(super) fn at(&self) -> Place {
        self.at
    }

    /// The value of a key; None when it is absent or null.
    pub(super) fn get(&self, key: &'static str) -> Option<Field<'a>> {
        let mut asked = self.asked.borrow_mut();
        if !asked.contains(&key) {
            asked.push(key);
        }
        drop(asked);
        let path = self.join(key);
        self.reader
            .known
            .borrow_mut()
            .insert(without_positions(&path));
        let (_, node) = self
            .entries
            .iter()
            .find(|(k, node)| k.text == key && !node.is_null())?;
        Some(Field {
            reader: self.reader,
            path,
            node,
        })
    }

    /// As [`Section::get`], and a mistake when it is absent.
    pub(super) fn require(&self, key: &'static str, expected: &str) -> Option<Field<'a>> {
        let field = self.get(key);
        // A merge key is a mistake of its own; what it would have brought is not missed as well.
        let merged = self.entries.iter().any(|(key, _)| key.text == MERGE);
        if field.is_none() && !merged {
            self.reader.mistake(
                self.at,
                &self.join(key),
                format!("is missing; expected {expected}"),
            );
        }
        field
    }

    /// Every key that nobody asked for is a mistake, with the nearest known one.
    pub(super) fn finish(self) {
        let asked = self.asked.borrow();
        for (key, _) in self.entries {
            if asked.contains(&key.text.as_str()) {
                continue;
            }
            let path = self.join(&quotable(&key.text));
            let why = if key.text == MERGE {
                "merge keys are not supported; write the keys out, or use an alias for a whole value".to_owned()
            } else if let Some(near) = nearest(&key.text, &asked) {
                format!("unknown key; did you mean `{near}`?")
            } else {
                format!("unknown key; known here: {}", asked.join(", "))
            };
            self.reader.mistake(key.at, &path, why);
        }
    }

    /// For a section whose every key is a name of its own, such as template variables.
    pub(super) fn all(&self) -> impl Iterator<Item = (&'a Key, Field<'a>)> + '_ {
        self.entries.iter().map(|(key, node)| {
            (
                key,
                Field {
                    reader: self.reader,
                    path: self.join(&quotable(&key.text)),
                    node,
                },
            )
        })
    }

    /// Whether a secret stood in the file itself, as far as it was read.
    pub(super) fn holds_secrets(&self) -> bool {
        self.reader.literal_secrets.get()
    }

    /// For mistakes that are found after the section was finished: its key path, and where to put them.
    pub(super) fn naming(&self) -> (String, &'a Reader) {
        (self.path.clone(), self.reader)
    }

    fn join(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }
}

/// One value that is being read. Each reading method notes a mistake and gives None when the value doesn't fit.
#[derive(Clone)]
pub(super) struct Field<'a> {
    reader: &'a Reader,
    path: String,
    node: &'a Node,
}

impl<'a> Field<'a> {
    pub(super) fn at(&self) -> Place {
        self.node.at
    }

    /// A mistake of this value, in words of its own.
    pub(super) fn mistake(&self, why: impl Into<String>) {
        self.reader.mistake(self.node.at, &self.path, why);
    }

    /// A mistake in the standard form: what was found, what is expected.
    pub(super) fn expected(&self, expected: &str) {
        self.mistake(format!("found {}; expected {expected}", found(self.node)));
    }

    /// A text that isn't empty and holds no control character.
    pub(super) fn text(&self, expected: &str) -> Option<&'a str> {
        match &self.node.value {
            Value::Scalar { text, .. }
                if !text.is_empty() && !text.chars().any(char::is_control) =>
            {
                Some(text)
            }
            _ => {
                self.expected(expected);
                None
            }
        }
    }

    /// A text, not judged: None for lists and mappings, without a mistake.
    pub(super) fn scalar(&self) -> Option<&'a str> {
        match &self.node.value {
            Value::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    /// Notes that this value is a secret that stands in the file itself.
    pub(super) fn is_literal_secret(&self) {
        self.reader.literal_secrets.set(true);
    }

    /// `true` or `false`.
    pub(super) fn switch(&self) -> Option<bool> {
        match &self.node.value {
            Value::Scalar { text, plain: true } if text == "true" => Some(true),
            Value::Scalar { text, plain: true } if text == "false" => Some(false),
            _ => {
                self.expected("true or false");
                None
            }
        }
    }

    /// One of some words.
    pub(super) fn one_of<T: Copy>(&self, words: &[(&str, T)]) -> Option<T> {
        let hit = self
            .scalar()
            .and_then(|text| words.iter().find(|(word, _)| *word == text));
        if hit.is_none() {
            let list: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            self.expected(&either(&list));
        }
        hit.map(|(_, value)| *value)
    }

    /// A whole number within a range.
    pub(super) fn number(&self, range: RangeInclusive<u64>) -> Option<u64> {
        let number = self
            .scalar()
            .and_then(|text| text.parse().ok())
            .filter(|n| range.contains(n));
        if number.is_none() {
            self.expected(&format!(
                "a number from {} to {}",
                range.start(),
                range.end()
            ));
        }
        number
    }

    /// A duration within a range.
    pub(super) fn duration(&self, range: RangeInclusive<Duration>) -> Option<Duration> {
        let Some(duration) = self.scalar().and_then(units::duration) else {
            self.expected("a duration such as 500ms, 30s, 10m, 2h or 5d");
            return None;
        };
        if !range.contains(&duration) {
            let (least, most) = (show_duration(*range.start()), show_duration(*range.end()));
            self.expected(&format!("a duration from {least} to {most}"));
            return None;
        }
        Some(duration)
    }

    /// A size in bytes within a range.
    pub(super) fn size(&self, range: RangeInclusive<u64>) -> Option<u64> {
        let Some(size) = self.scalar().and_then(units::size) else {
            self.expected("a size such as 4096, 10MB or 150MiB");
            return None;
        };
        if !range.contains(&size) {
            let (least, most) = (show_size(*range.start()), show_size(*range.end()));
            self.expected(&format!("a size from {least} to {most}"));
            return None;
        }
        Some(size)
    }

    /// Messages a minute.
    pub(super) fn rate(&self) -> Option<u32> {
        let rate = self.scalar().and_then(units::rate).filter(|rate| *rate > 0);
        if rate.is_none() {
            self.expected("messages a minute, such as 30/min");
        }
        rate
    }

    /// The items of a list.
    pub(super) fn list(&self, expected: &str) -> Option<Vec<Field<'a>>> {
        let Value::List(items) = &self.node.value else {
            self.expected(expected);
            return None;
        };
        let item = |(index, node)| Field {
            reader: self.reader,
            path: format!("{}[{index}]", self.path),
            node,
        };
        Some(items.iter().enumerate().map(item).collect())
    }

    /// The keys of a mapping and where they stand; none when it isn't one.
    pub(super) fn entries(&self) -> Vec<(String, Place)> {
        match &self.node.value {
            Value::Map(entries) => entries
                .iter()
                .map(|(key, _)| (key.text.clone(), key.at))
                .collect(),
            _ => Vec::new(),
        }
    }

    /// The one entry of a mapping that has no other: for values that point to a secret.
    pub(super) fn single_entry(&self) -> Option<(&'a str, Field<'a>)> {
        let Value::Map(entries) = &self.node.value else {
            return None;
        };
        let [(key, node)] = entries.as_slice() else {
            return None;
        };
        let path = format!("{}.{}", self.path, key.text);
        Some((
            &key.text,
            Field {
                reader: self.reader,
                path,
                node,
            },
        ))
    }

    /// A mapping; anything else may be a secret that stands at the wrong place, and is not quoted.
    pub(super) fn section_unquoted(&self, expected: &str) -> Option<Section<'a>> {
        if matches!(self.node.value, Value::Scalar { .. }) {
            self.mistake(format!("found a text; expected {expected}"));
            return None;
        }
        self.section(expected)
    }

    /// A mapping.
    pub(super) fn section(&self, expected: &str) -> Option<Section<'a>> {
        let Value::Map(entries) = &self.node.value else {
            self.expected(expected);
            return None;
        };
        Some(Section {
            reader: self.reader,
            path: self.path.clone(),
            at: self.node.at,
            entries,
            asked: RefCell::default(),
        })
    }
}

/// `mailboxes[1].deliver` -> `mailboxes[].deliver`.
fn without_positions(path: &str) -> String {
    path.chars().filter(|c| !c.is_ascii_digit()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_in_lists_are_left_out_of_known_keys() {
        assert_eq!(
            without_positions("mailboxes[12].deliver.timeout"),
            "mailboxes[].deliver.timeout"
        );
    }
}
