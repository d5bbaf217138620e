//! YAML text to a tree in which every key and value knows its line and column.

use std::borrow::Cow;
use std::collections::HashMap;

use granit_parser::{Event, Parser, ScalarStyle, Span};

use super::mistake::{Mistake, Place};

/// Nodes a file may hold, aliases counted where they are used: far above any real configuration, far below what a
/// few nested aliases can be blown up to.
const MOST_NODES: usize = 100_000;

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    pub(super) at: Place,
    pub(super) value: Value,
}

/// What a value is. Scalars stay text: what they mean is the reader's question, so that `007` is not a number by accident.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    /// `plain` is false for quoted and block text, which is never null, a number or a switch.
    Scalar { text: String, plain: bool },
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in order.
    Map(Vec<(Key, Node)>),
}

/// A key of a mapping and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Key {
    pub(super) text: String,
    pub(super) at: Place,
}

impl Node {
    /// Whether this stands for "not set": `~`, `null`, or nothing at all.
    pub(super) fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar { text, plain: true } if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }

    fn size(&self) -> usize {
        1 + match &self.value {
            Value::Scalar { .. } => 0,
            Value::List(items) => items.iter().map(Node::size).sum(),
            Value::Map(entries) => entries.iter().map(|(_, node)| 1 + node.size()).sum(),
        }
    }
}

/// Reads the one document of a text. Keys that stand twice in a mapping are in `doubled`, the first one counts.
/// An error is a mistake of YAML itself; it never quotes the text.
pub(super) fn parse(text: &str) -> Result<(Node, Vec<Mistake>), Mistake> {
    let mut builder = Builder::default();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| {
            let at = Place::new(error.marker().line(), error.marker().col() + 1);
            Mistake::new(at, "", format!("this is not YAML: {}", error.kind()))
        })?;
        builder.take(event, place(&span))?;
    }
    let root = builder.root.unwrap_or(Node {
        at: Place::new(1, 1),
        value: Value::Map(Vec::new()),
    });
    Ok((root, builder.doubled))
}

fn place(span: &Span) -> Place {
    // The parser counts columns from 0, people and editors from 1.
    Place::new(span.start.line(), span.start.col() + 1)
}

/// A collection that is still open.
enum Open {
    List {
        at: Place,
        anchor: usize,
        items: Vec<Node>,
    },
    Map {
        at: Place,
        anchor: usize,
        entries: Vec<(Key, Node)>,
        key: Option<Key>,
    },
}

/// Builds the tree from the parser's events, without recursion.
#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    root: Option<Node>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
    doubled: Vec<Mistake>,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, at: Place) -> Result<(), Mistake> {
        match event {
            Event::DocumentStart(..) if self.root.is_some() => Err(Mistake::new(
                at,
                "",
                "a second YAML document begins here; the file must hold one",
            )),
            Event::Scalar(text, style, anchor, _) => self.node(scalar(text, style, at), anchor),
            Event::SequenceStart(_, anchor, _) => {
                self.open.push(Open::List {
                    at,
                    anchor,
                    items: Vec::new(),
                });
                Ok(())
            }
            Event::MappingStart(_, anchor, _) => {
                self.open.push(Open::Map {
                    at,
                    anchor,
                    entries: Vec::new(),
                    key: None,
                });
                Ok(())
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::Alias(id) => self.alias(id, at),
            _ => Ok(()),
        }
    }

    fn close(&mut self) -> Result<(), Mistake> {
        match self.open.pop() {
            Some(Open::List { at, anchor, items }) => {
                let value = Value::List(items);
                self.node(Node { at, value }, anchor)
            }
            Some(Open::Map {
                at,
                anchor,
                entries,
                ..
            }) => {
                let value = Value::Map(entries);
                self.node(Node { at, value }, anchor)
            }
            None => Ok(()),
        }
    }

    fn alias(&mut self, id: usize, at: Place) -> Result<(), Mistake> {
        let Some(node) = self.anchors.get(&id).cloned() else {
            return Err(Mistake::new(
                at,
                "",
                "this alias stands inside the value that it names",
            ));
        };
        self.nodes += node.size();
        self.node(node, 0)
    }

    fn node(&mut self, node: Node, anchor: usize) -> Result<(), Mistake> {
        self.nodes += 1;
        if self.nodes > MOST_NODES {
            return Err(Mistake::new(
                node.at,
                "",
                format!("more than {MOST_NODES} values, aliases counted where they are used"),
            ));
        }
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(Open::List { items, .. }) => items.push(node),
            Some(Open::Map { entries, key, .. }) => match key.take() {
                None => *key = Some(as_key(node)?),
                Some(key) => match entries.iter().find(|(k, _)| k.text == key.text) {
                    Some((first, _)) => {
                        let why = format!("this key stands here already on line {}", first.at.line);
                        self.doubled.push(Mistake::new(key.at, key.text, why));
                    }
                    None => entries.push((key, node)),
                },
            },
        }
        Ok(())
    }
}

fn as_key(node: Node) -> Result<Key, Mistake> {
    match node.value {
        Value::Scalar { text, .. } => Ok(Key { text, at: node.at }),
        _ => Err(Mistake::new(
            node.at,
            "",
            "a key must be a text, not a list or a mapping",
        )),
    }
}

fn scalar(text: Cow<'_, str>, style: ScalarStyle, at: Place) -> Node {
    let plain = style == ScalarStyle::Plain;
    let text = text.into_owned();
    Node {
        at,
        value: Value::Scalar { text, plain },
    }
}
