//! Accounts made by hand, read by the readers of the configuration file: the same rules, and the same words at the same keys.

use provider_template::{Library, Mistake};
use token_store::accounts::{Definition, Given, Kind, Order};
use token_store::{Store, StoreError};

use super::accounts::{Known, Names};
use super::mistake::Place;
use super::reader::{Field, Reader};
use super::relays::Claims;
use super::surroundings::{Secrets, Surroundings};
use super::yaml::{Key, Node, Value};
use super::{mailboxes, relays};

/// Nothing was typed at a place in a file.
const NOWHERE: Place = Place { line: 1, column: 1 };

/// Why an order makes no account.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unfit {
    /// What is wrong, by key.
    #[error("{}", in_lines(.0))]
    Mistakes(Vec<Mistake>),
    /// The store failed, or refused.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn in_lines(mistakes: &[Mistake]) -> String {
    let line = |mistake: &Mistake| match mistake.field.as_str() {
        "" => mistake.why.clone(),
        field => format!("{field}: {}", mistake.why),
    };
    mistakes.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Makes an account of an order, with the token configs and the other accounts that there are.
pub(crate) fn read(
    kind: Kind,
    order: &Order,
    library: &Library,
    store: &Store,
) -> Result<Definition, Unfit> {
    let configs = store.token_configs()?.into_iter();
    let surroundings = Surroundings::of_this_process(Secrets::Needed);
    let known = Known {
        library,
        configs: configs
            .map(|config| (config.entry.name.clone(), Some(config.entry)))
            .collect(),
        surroundings: &surroundings,
        within: "",
    };
    let root = tree(order);
    let reader = Reader::default();
    let item = reader.alone(&root);
    let definition = match kind {
        Kind::Mailbox => mailbox(&item, &known),
        Kind::Relay => relay(&item, &known, order.text("name"), store)?,
    };
    let (mistakes, _) = reader.into_findings();
    match definition {
        Some(definition) if mistakes.is_empty() => Ok(definition),
        _ => {
            let mistakes = mistakes.into_iter();
            Err(Unfit::Mistakes(
                mistakes
                    .map(|mistake| Mistake {
                        field: without_position(&mistake.key),
                        why: mistake.why,
                    })
                    .collect(),
            ))
        }
    }
}

fn mailbox(item: &Field<'_>, known: &Known<'_>) -> Option<Definition> {
    let mut mailbox = mailboxes::mailbox(item, known, &mut Names::default(), "")?;
    mailbox.declared_in = None;
    Some(Definition::Mailbox(Box::new(mailbox)))
}

fn relay(
    item: &Field<'_>,
    known: &Known<'_>,
    name: &str,
    store: &Store,
) -> Result<Option<Definition>, StoreError> {
    let mailboxes = store.mailboxes()?;
    let mut others = store.relays()?;
    others.retain(|relay| relay.name != name);
    let (mut names, mut claims) = (Names::default(), Claims::of(&others));
    let read = relays::relay(item, known, &mailboxes, &mut names, &mut claims, "");
    Ok(read.map(|mut relay| {
        relay.declared_in = None;
        Definition::Relay(Box::new(relay))
    }))
}

/// The order as the file would have it.
fn tree(order: &Order) -> Node {
    let mut entries = Vec::new();
    for (key, given) in order.iter() {
        put(&mut entries, key, value(given));
    }
    node(Value::Map(entries))
}

fn put(entries: &mut Vec<(Key, Node)>, key: &str, given: Node) {
    let (section, rest) = match key.split_once('.') {
        Some((section, rest)) => (section, Some(rest)),
        None => (key, None),
    };
    let at = entries.iter().position(|(known, _)| known.text == section);
    let at = at.unwrap_or_else(|| {
        let key = Key {
            text: section.to_owned(),
            at: NOWHERE,
        };
        entries.push((key, node(Value::Map(Vec::new()))));
        entries.len() - 1
    });
    let Some((_, present)) = entries.get_mut(at) else {
        return;
    };
    match (rest, &mut present.value) {
        (Some(rest), Value::Map(inner)) => put(inner, rest, given),
        _ => *present = given,
    }
}

fn value(given: &Given) -> Node {
    match given {
        Given::Text(text) => scalar(text),
        Given::Secret(secret) => scalar(secret.expose()),
        Given::List(items) => node(Value::List(items.iter().map(|item| scalar(item)).collect())),
    }
}

/// A text is what it says, also `null` and `~`; only a switch has to be plain.
fn scalar(text: &str) -> Node {
    node(Value::Scalar {
        text: text.to_owned(),
        plain: matches!(text, "true" | "false"),
    })
}

fn node(value: Value) -> Node {
    Node { at: NOWHERE, value }
}

/// `folders[1]` -> `folders`: a form has one field for all of them.
fn without_position(key: &str) -> String {
    let mut field = String::with_capacity(key.len());
    let mut inside = false;
    for c in key.chars() {
        match c {
            '[' => inside = true,
            ']' => inside = false,
            _ if inside => {}
            c => field.push(c),
        }
    }
    field
}

#[cfg(test)]
#[path = "by_hand/tests.rs"]
mod tests;
