//! The form of a mailbox or relay: its fields are keys of the configuration file, and what is typed becomes an order; pure.

mod fields;

use provider_template::{Mistake, Secret};
use token_store::accounts::{Given, Kind, Order};

use crate::pages::form::Line;
use crate::session::Fields;
pub(crate) use fields::Offers;

/// How a field looks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Look {
    /// One line of text.
    Line,
    /// The same as dots, never written back.
    Secret,
    /// A list, an item on each line.
    Lines,
    /// One of several.
    Choice(Vec<Pick>),
    /// Yes or no.
    Tick,
}

/// What can be chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pick {
    pub(crate) value: String,
    pub(crate) label: String,
    /// What the script shows in the server's fields while this is chosen: `imap.example.com 993 implicit`, by protocol.
    pub(crate) servers: Vec<(&'static str, String)>,
}

/// A field; its name is a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Input {
    pub(crate) name: &'static str,
    pub(crate) label: &'static str,
    pub(crate) hint: String,
    pub(crate) value: String,
    pub(crate) mistake: Option<String>,
    pub(crate) required: bool,
    pub(crate) look: Look,
}

impl Input {
    /// The ids that describe it.
    pub(crate) fn described_by(&self) -> String {
        let hint = (!self.hint.is_empty()).then(|| format!("{}-hint", self.name));
        let mistake = self.mistake.as_ref();
        let mistake = mistake.map(|_| format!("{}-mistake", self.name));
        let ids: Vec<String> = hint.into_iter().chain(mistake).collect();
        ids.join(" ")
    }

    /// Lines of a text area, with room for one more.
    pub(crate) fn rows(&self) -> usize {
        self.value.lines().count().clamp(2, 12) + 1
    }

    fn of(&mut self, order: &Order) {
        match order.get(self.name) {
            Some(Given::Text(text)) => self.value.clone_from(text),
            Some(Given::List(items)) => self.value = items.join("\n"),
            Some(Given::Secret(_)) | None => {}
        }
    }

    fn typed(&mut self, fields: &Fields) {
        self.value = match self.look {
            Look::Secret => String::new(),
            Look::Lines => fields.raw(self.name).replace("\r\n", "\n"),
            Look::Tick => fields.ticked(self.name).to_string(),
            Look::Line | Look::Choice(_) => fields.text(self.name).to_owned(),
        };
    }

    /// Gives the order what was typed; an empty text only where it says which branch was chosen.
    fn put(&self, order: &mut Order, fields: &Fields, says_branch: bool) {
        match self.look {
            Look::Secret => {
                let secret = Secret::new(fields.text(self.name));
                order.set(self.name, Given::Secret(secret));
            }
            Look::Lines => {
                let items = self.value.lines().map(str::trim);
                let items: Vec<String> = items.filter(|i| !i.is_empty()).map(Into::into).collect();
                if !items.is_empty() {
                    order.set(self.name, Given::List(items));
                }
            }
            Look::Tick if self.value != "true" => {}
            _ if self.value.is_empty() && !says_branch => {}
            _ => order.set_text(self.name, self.value.as_str()),
        }
    }
}

/// A choice, and fields that only mean something with one of its values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Either {
    pub(crate) name: &'static str,
    pub(crate) label: &'static str,
    pub(crate) chosen: String,
    pub(crate) mistake: Option<String>,
    pub(crate) branches: Vec<Branch>,
}

/// One of the values, and its fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Branch {
    pub(crate) value: &'static str,
    pub(crate) label: &'static str,
    pub(crate) inputs: Vec<Input>,
}

impl Either {
    fn of(&mut self, order: &Order) {
        let inputs = self.branches.iter_mut().flat_map(|b| &mut b.inputs);
        inputs.for_each(|input| input.of(order));
        let text = order.text(self.name);
        let means = |branch: &&Branch| {
            branch.value == text
                || branch
                    .inputs
                    .first()
                    .is_some_and(|input| order.get(input.name).is_some())
        };
        if let Some(branch) = self.branches.iter().find(means) {
            self.chosen = branch.value.to_owned();
        }
    }

    fn typed(&mut self, fields: &Fields) {
        fields.text(self.name).clone_into(&mut self.chosen);
        let inputs = self.branches.iter_mut().flat_map(|b| &mut b.inputs);
        inputs.for_each(|input| input.typed(fields));
    }

    fn put(&self, order: &mut Order, fields: &Fields) {
        let Some(branch) = self.branches.iter().find(|b| b.value == self.chosen) else {
            return;
        };
        if branch.inputs.is_empty() && !branch.value.is_empty() {
            order.set_text(self.name, branch.value);
        }
        for (index, input) in branch.inputs.iter().enumerate() {
            input.put(order, fields, index == 0);
        }
    }
}

/// A field, or a choice with fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Block {
    One(Input),
    Either(Either),
}

/// Fields that belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) title: &'static str,
    pub(crate) blocks: Vec<Block>,
    /// Shown folded, unless something in it is wrong.
    pub(crate) folded: bool,
}

/// The whole form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Form {
    pub(crate) groups: Vec<Group>,
}

impl Form {
    /// The form of a new account; what is offered to choose from are names that exist.
    pub(crate) fn new(kind: Kind, offers: &Offers) -> Self {
        Self {
            groups: fields::groups(kind, offers),
        }
    }

    /// The form of a present account, filled but for secrets.
    pub(crate) fn of(kind: Kind, offers: &Offers, order: &Order) -> Self {
        let mut form = Self::new(kind, offers);
        form.without_name();
        for block in form.blocks_mut() {
            match block {
                Block::One(input) => input.of(order),
                Block::Either(either) => either.of(order),
            }
        }
        for input in form.inputs_mut() {
            if input.look == Look::Secret && order.get(input.name).is_some() {
                input.hint = format!("Left empty, the present one is kept. {}", input.hint);
                input.required = false;
            }
        }
        form
    }

    /// Takes over what was typed, but for secrets.
    pub(crate) fn typed(&mut self, fields: &Fields) {
        for block in self.blocks_mut() {
            match block {
                Block::One(input) => input.typed(fields),
                Block::Either(either) => either.typed(fields),
            }
        }
    }

    /// What was typed as an order: over `present`, whose keys the form doesn't know stay.
    pub(crate) fn order(&mut self, fields: &Fields, mut present: Order) -> Order {
        let names: Vec<&str> = self.inputs_mut().map(|input| input.name).collect();
        names.iter().for_each(|name| present.remove(name));
        for block in self.blocks_mut() {
            match block {
                Block::One(input) => input.put(&mut present, fields, false),
                Block::Either(either) => {
                    present.remove(either.name);
                    either.put(&mut present, fields);
                }
            }
        }
        present
    }

    /// Puts each mistake at its field; the lines of the summary.
    pub(crate) fn mark(&mut self, mistakes: Vec<Mistake>) -> Vec<Line> {
        let lines = mistakes.into_iter().map(|Mistake { field: key, why }| {
            // A key without a field of its own is shown at the nearest one that contains it.
            let mut at = key.as_str();
            loop {
                if let Some((id, label)) = self.place(at, &why) {
                    let words = format!("{label}: {why}");
                    return Line { field: id, words };
                }
                let Some((section, _)) = at.rsplit_once('.') else {
                    break;
                };
                at = section;
            }
            let field = String::new();
            let words = format!("{key}: {why}");
            Line { field, words }
        });
        lines.collect()
    }

    /// Notes a mistake at the field of this name: its id and label.
    fn place(&mut self, name: &str, why: &str) -> Option<(String, &'static str)> {
        for group in &mut self.groups {
            let found = place_in(&mut group.blocks, name, why);
            if found.is_some() {
                group.folded = false;
                return found;
            }
        }
        None
    }

    /// A name is never changed: messages in flight know their account by it.
    fn without_name(&mut self) {
        for group in &mut self.groups {
            let named = |block: &Block| matches!(block, Block::One(input) if input.name == "name");
            group.blocks.retain(|block| !named(block));
        }
    }

    fn blocks_mut(&mut self) -> impl Iterator<Item = &mut Block> {
        self.groups.iter_mut().flat_map(|group| &mut group.blocks)
    }

    fn inputs_mut(&mut self) -> impl Iterator<Item = &mut Input> {
        self.blocks_mut().flat_map(|block| match block {
            Block::One(input) => vec![input],
            Block::Either(either) => {
                let branches = either.branches.iter_mut();
                branches.flat_map(|branch| &mut branch.inputs).collect()
            }
        })
    }
}

fn place_in(blocks: &mut [Block], name: &str, why: &str) -> Option<(String, &'static str)> {
    for block in blocks {
        let either = match block {
            Block::One(input) if input.name == name => {
                input.mistake.get_or_insert_with(|| why.to_owned());
                return Some((input.name.to_owned(), input.label));
            }
            Block::One(_) => continue,
            Block::Either(either) => either,
        };
        let inputs = either.branches.iter_mut().flat_map(|b| &mut b.inputs);
        if let Some(input) = inputs.into_iter().find(|input| input.name == name) {
            input.mistake.get_or_insert_with(|| why.to_owned());
            return Some((input.name.to_owned(), input.label));
        }
        if either.name == name {
            either.mistake.get_or_insert_with(|| why.to_owned());
            return Some((either.name.to_owned(), either.label));
        }
    }
    None
}

#[cfg(test)]
mod tests;
