//! A YAML document as a tree that knows where each of its nodes stands, and lenient readings of its scalars.

use std::fmt;
use std::path::PathBuf;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use serde_saphyr::{DuplicateKeyPolicy, NonFiniteFloatPolicy, Spanned};

use super::Problem;
use crate::entry::Words;

/// How much aliases may repeat in all. An export of 1,000 entries has about 60,000 nodes, and exports write no aliases.
const REPLAY_CAP: usize = 50_000;

/// A node and its place.
pub(super) type Node = Spanned<Kind>;

/// What a node is.
#[derive(Debug)]
pub(super) enum Kind {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

/// Parses a document; the parser's limits bound depth, size and aliases.
pub(super) fn parse(text: &str) -> Result<Node, Problem> {
    let options = serde_saphyr::options! {
        // Snippets show neighbouring lines, and one of them may be a secret.
        with_snippet: false,
        duplicate_keys: DuplicateKeyPolicy::Error,
        // Text that only older readers take for something else stays text, and is quoted when it is written.
        strict_booleans: true,
        leading_zero_numbers_as_strings: true,
        underscored_numbers_as_strings: true,
        non_finite_float_policy: NonFiniteFloatPolicy::AsString,
        // A secret that begins with ! would be taken for a tag, and be gone.
        reject_unsupported_tags: true,
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: REPLAY_CAP },
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|e| Problem::of_yaml(&e))
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(KindVisitor)
    }
}

struct KindVisitor;

impl<'de> Visitor<'de> for KindVisitor {
    type Value = Kind;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML node")
    }

    fn visit_unit<E>(self) -> Result<Kind, E> {
        Ok(Kind::Null)
    }

    fn visit_none<E>(self) -> Result<Kind, E> {
        Ok(Kind::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Kind, E> {
        Ok(Kind::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Kind, E> {
        Ok(Kind::Number(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Kind, E> {
        Ok(Kind::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Kind, E> {
        Ok(Number::from_f64(value).map_or(Kind::Null, Kind::Number))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Kind, E> {
        Ok(Kind::Text(value.to_string()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Kind, E> {
        Ok(Kind::Text(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Kind, E> {
        Ok(Kind::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Kind, E> {
        Ok(Kind::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Kind, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Kind::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Kind, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Kind::Map(entries))
    }
}

/// A node together with the path of keys that led to it, for error messages.
#[derive(Clone)]
pub(super) struct Place<'a> {
    source: &'a str,
    node: &'a Node,
    path: String,
}

impl<'a> Place<'a> {
    pub(super) fn root(source: &'a str, node: &'a Node) -> Self {
        Self {
            source,
            node,
            path: String::new(),
        }
    }

    fn inner(&self, node: &'a Node, path: String) -> Self {
        Self {
            source: self.source,
            node,
            path,
        }
    }

    /// A problem at this place.
    pub(super) fn problem(&self, why: impl fmt::Display) -> Problem {
        let why = if self.path.is_empty() {
            why.to_string()
        } else {
            format!("{}: {why}", self.path)
        };
        Problem {
            file: PathBuf::new(),
            line: self.node.referenced.line().max(1),
            column: self.node.referenced.column().max(1),
            why,
        }
    }

    /// A problem that says what is expected and what kind of thing was found instead.
    pub(super) fn unexpected(&self, expected: impl fmt::Display) -> Problem {
        let found = match &self.node.value {
            Kind::Null => "nothing",
            Kind::Bool(_) => "true or false",
            Kind::Number(_) => "another number",
            Kind::Text(text) if text.is_empty() => "empty text",
            Kind::Text(_) => "other text",
            Kind::List(_) => "a list",
            Kind::Map(_) => "a map",
        };
        self.problem(format_args!("expected {expected}, found {found}"))
    }

    pub(super) fn is_null(&self) -> bool {
        matches!(self.node.value, Kind::Null)
    }

    /// The items of a list, with their paths, or None for anything else.
    pub(super) fn items(&self) -> Option<Vec<Place<'a>>> {
        let Kind::List(items) = &self.node.value else {
            return None;
        };
        let place = |(index, node)| self.inner(node, format!("{}[{}]", self.path, index + 1));
        Some(items.iter().enumerate().map(place).collect())
    }

    /// The fields of a map; nothing at all counts as an empty one.
    pub(super) fn fields(&self, expected: &str) -> Result<Fields<'a>, Problem> {
        let entries = match &self.node.value {
            Kind::Map(entries) => entries.as_slice(),
            Kind::Null => &[],
            _ => return Err(self.unexpected(expected)),
        };
        Ok(Fields {
            place: self.clone(),
            left: entries
                .iter()
                .map(|(key, node)| (key.as_str(), node))
                .collect(),
        })
    }

    /// A scalar as text, spelt as it stands in the document; nothing is empty text.
    pub(super) fn text(&self) -> Result<String, Problem> {
        match &self.node.value {
            Kind::Null => Ok(String::new()),
            Kind::Text(text) => Ok(text.clone()),
            Kind::Bool(value) => Ok(self.spelling().map_or(value.to_string(), str::to_owned)),
            Kind::Number(value) => Ok(self.spelling().map_or(value.to_string(), str::to_owned)),
            Kind::List(_) | Kind::Map(_) => Err(self.unexpected("text")),
        }
    }

    /// A yes or no: 0 or 1, true or false, also as text.
    pub(super) fn flag(&self) -> Result<bool, Problem> {
        let word = match &self.node.value {
            Kind::Null => return Ok(false),
            Kind::List(_) | Kind::Map(_) => return Err(self.unexpected("0 or 1")),
            _ => self.text()?.to_ascii_lowercase(),
        };
        match word.as_str() {
            "0" | "false" | "no" | "off" | "" => Ok(false),
            "1" | "true" | "yes" | "on" => Ok(true),
            _ => Err(self.unexpected("0 or 1")),
        }
    }

    /// A whole number within bounds, also as text.
    pub(super) fn number<T: TryFrom<u64>>(&self, expected: &str) -> Result<T, Problem> {
        let number = match &self.node.value {
            Kind::Number(number) => number.as_u64(),
            Kind::Text(text) => text.trim().parse().ok(),
            _ => None,
        };
        number
            .and_then(|number| T::try_from(number).ok())
            .ok_or_else(|| self.unexpected(expected))
    }

    /// A word of a closed vocabulary.
    pub(super) fn word<T: Words>(&self) -> Result<T, Problem> {
        self.word_among(|_| true)
    }

    /// A word of a part of a closed vocabulary.
    pub(super) fn word_among<T: Words>(&self, counts: impl Fn(T) -> bool) -> Result<T, Problem> {
        let text = match &self.node.value {
            Kind::Text(text) => text.as_str(),
            _ => "",
        };
        let words = || T::WORDS.iter().filter(|(variant, _)| counts(*variant));
        let known = words().find(|(_, word)| *word == text);
        known.map(|(variant, _)| *variant).ok_or_else(|| {
            let words: Vec<&str> = words().map(|(_, word)| *word).collect();
            self.unexpected(format_args!("one of {}", words.join(", ")))
        })
    }

    /// The node as plain data, to be written back one day.
    pub(super) fn json(&self) -> Value {
        match &self.node.value {
            Kind::Null => Value::Null,
            Kind::Bool(value) => Value::Bool(*value),
            Kind::Number(number) => self.exact(number),
            Kind::Text(text) => Value::String(text.clone()),
            Kind::List(items) => {
                let items = items
                    .iter()
                    .map(|node| self.inner(node, String::new()).json());
                Value::Array(items.collect())
            }
            Kind::Map(entries) => {
                let entries = entries
                    .iter()
                    .map(|(key, node)| (key.clone(), self.inner(node, String::new()).json()));
                Value::Object(entries.collect())
            }
        }
    }

    /// A number, or its spelling as text where a float would round a long row of digits.
    fn exact(&self, number: &Number) -> Value {
        let digits = self.spelling().filter(|text| {
            text.trim_start_matches(['-', '+'])
                .bytes()
                .all(|b| b.is_ascii_digit())
        });
        match digits {
            Some(digits) if number.is_f64() => Value::String(digits.to_owned()),
            _ => Value::Number(number.clone()),
        }
    }

    /// How a scalar is spelt in the document.
    fn spelling(&self) -> Option<&'a str> {
        let span = self.node.defined.span();
        let start = usize::try_from(span.byte_offset()?).ok()?;
        let length = usize::try_from(span.byte_len()?).ok()?;
        let spelling = self.source.get(start..start.checked_add(length)?)?.trim();
        (!spelling.is_empty()).then_some(spelling)
    }
}

/// The fields of a map that have not been read yet.
pub(super) struct Fields<'a> {
    place: Place<'a>,
    left: Vec<(&'a str, &'a Node)>,
}

impl<'a> Fields<'a> {
    fn place_of(&self, key: &str, node: &'a Node) -> Place<'a> {
        let path = match self.place.path.as_str() {
            "" => key.to_owned(),
            path => format!("{path}.{key}"),
        };
        self.place.inner(node, path)
    }

    /// Reads a field.
    pub(super) fn take(&mut self, key: &str) -> Option<Place<'a>> {
        let index = self.left.iter().position(|(name, _)| *name == key)?;
        let (_, node) = self.left.remove(index);
        Some(self.place_of(key, node))
    }

    /// Reads a field that must be there.
    pub(super) fn need(&mut self, key: &str) -> Result<Place<'a>, Problem> {
        self.take(key)
            .ok_or_else(|| self.place.problem(format_args!("the key {key} is missing")))
    }

    /// Reads a text that may be missing.
    pub(super) fn text(&mut self, key: &str) -> Result<String, Problem> {
        self.take(key)
            .map_or(Ok(String::new()), |place| place.text())
    }

    /// Reads a text that is None when it is missing or empty.
    pub(super) fn some_text(&mut self, key: &str) -> Result<Option<String>, Problem> {
        Ok(Some(self.text(key)?).filter(|text| !text.is_empty()))
    }

    /// Reads a word of a closed vocabulary that may be missing.
    pub(super) fn some_word<T: Words>(&mut self, key: &str) -> Result<Option<T>, Problem> {
        self.take(key)
            .filter(|place| !place.is_null())
            .map(|place| place.word())
            .transpose()
    }

    /// Reads a yes or no that is no when it is missing.
    pub(super) fn flag(&mut self, key: &str) -> Result<bool, Problem> {
        self.take(key).map_or(Ok(false), |place| place.flag())
    }

    /// Reads a number that may be missing.
    pub(super) fn number<T: TryFrom<u64>>(
        &mut self,
        key: &str,
        expected: &str,
    ) -> Result<Option<T>, Problem> {
        match self.take(key) {
            Some(place) if !place.is_null() => place.number(expected).map(Some),
            _ => Ok(None),
        }
    }

    /// Every field, in the document's order.
    pub(super) fn all(self) -> impl Iterator<Item = (String, Place<'a>)> {
        let left = self.left.clone();
        left.into_iter()
            .map(move |(key, node)| (key.to_owned(), self.place_of(key, node)))
    }

    /// What nobody read, as plain data.
    pub(super) fn rest(self) -> Map<String, Value> {
        self.all().map(|(key, place)| (key, place.json())).collect()
    }
}
