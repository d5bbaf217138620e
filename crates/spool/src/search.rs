//! The queue a page at a time, newest first: what a person looks for, without reading all of it.

use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use crate::error::Result;
use crate::queue::{QueueRow, rows_of};
use crate::{Direction, MessageId, Spool};

/// What messages have in common; everything that is given must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Search {
    /// Only that way.
    pub direction: Option<Direction>,
    /// Only of this mailbox or relay.
    pub account: Option<String>,
    /// Only with a delivery in this state, in the words of [`QueueRow`].
    pub state: Option<String>,
    /// Part of the subject, of a sender or recipient, of the Message-ID; or the message's number. Empty: any.
    pub text: String,
}

/// Which part of what was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The newest.
    Newest,
    /// The newest of those that are older than this one.
    Before(MessageId),
    /// The oldest of those that are newer than this one; newest first like the others.
    After(MessageId),
}

impl Spool {
    /// At most `most` messages of a part, newest first.
    ///
    /// # Errors
    /// When the database can't be read.
    pub fn search(&self, search: &Search, part: Part, most: usize) -> Result<Vec<QueueRow>> {
        let now = self.inner.clock.seconds();
        self.inner.reads.with(|conn| {
            let ids = ids(conn, search, part, most)?;
            rows_of(conn, &ids, now)
        })
    }

    /// The messages that are meant, oldest first: for something to be done with all of them.
    ///
    /// # Errors
    /// When the database can't be read.
    pub fn found(&self, search: &Search) -> Result<Vec<MessageId>> {
        self.inner.reads.with(|conn| {
            let mut ids = ids(conn, search, Part::Newest, usize::MAX)?;
            ids.reverse();
            Ok(ids)
        })
    }
}

fn ids(conn: &Connection, search: &Search, part: Part, most: usize) -> Result<Vec<MessageId>> {
    let mut query = Query::default();
    query.account(search);
    if let Some(state) = &search.state {
        query.state(state);
    }
    query.text(search.text.trim());
    let order = match part {
        Part::Newest => "DESC",
        Part::Before(id) => {
            query.also("m.id < ?", [id.0.into()]);
            "DESC"
        }
        Part::After(id) => {
            query.also("m.id > ?", [id.0.into()]);
            "ASC"
        }
    };
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let sql = format!(
        "SELECT m.id FROM message m WHERE 1{} ORDER BY m.id {order} LIMIT {most}",
        query.conditions
    );
    let mut statement = conn.prepare(&sql)?;
    let found = statement.query_map(params_from_iter(query.values), |row| {
        row.get(0).map(MessageId)
    })?;
    let mut ids: Vec<MessageId> = found.collect::<rusqlite::Result<_>>()?;
    if order == "ASC" {
        ids.reverse();
    }
    Ok(ids)
}

/// Conditions and their values.
#[derive(Default)]
struct Query {
    conditions: String,
    values: Vec<Value>,
}

impl Query {
    fn also(&mut self, condition: &str, values: impl IntoIterator<Item = Value>) {
        self.conditions.push_str(" AND ");
        self.conditions.push_str(condition);
        self.values.extend(values);
    }

    fn account(&mut self, search: &Search) {
        let direction = search.direction.map(Direction::as_str);
        let Some(account) = &search.account else {
            if let Some(direction) = direction {
                self.also("m.direction = ?", [direction.to_owned().into()]);
            }
            return;
        };
        // Each half by an index of its own; without a direction both ways are looked at.
        let half = "SELECT message FROM delivery WHERE direction = ? AND account = ? AND due_at IS";
        for direction in [Direction::In, Direction::Out].map(Direction::as_str) {
            let meant = search.direction.is_none_or(|d| d.as_str() == direction);
            let open = if self.values.is_empty() {
                " AND ("
            } else {
                " OR "
            };
            if meant {
                let condition = format!("{open}m.id IN ({half} NULL UNION ALL {half} NOT NULL)");
                self.conditions.push_str(&condition);
                let of = [direction, account.as_str(), direction, account.as_str()];
                self.values
                    .extend(of.map(|value| Value::from(value.to_owned())));
            }
        }
        self.conditions.push(')');
    }

    fn state(&mut self, state: &str) {
        let of =
            |condition: &str| format!("m.id IN (SELECT message FROM delivery WHERE {condition})");
        match state {
            "in doubt" => self.also(&of("due_at IS NOT NULL AND state = 'due' AND doubts > 0"), []),
            // Most of what is in flight: a page is full long before the end.
            "due" => self.also(
                "EXISTS (SELECT 1 FROM delivery d WHERE d.message = m.id AND d.state = 'due' AND d.doubts = 0)",
                [],
            ),
            // Few of many, by the index of what nothing is planned for.
            "held" | "delivered" => {
                self.also(&of("due_at IS NULL AND state = ?"), [state.to_owned().into()]);
            }
            other => self.also(&of("due_at IS NOT NULL AND state = ?"), [other.to_owned().into()]),
        }
    }

    fn text(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        let like = format!("%{}%", escape(text));
        let fields = [
            "header_subject",
            "header_from",
            "sender",
            "header_message_id",
        ];
        let fields = fields.map(|field| format!("m.{field} LIKE ? ESCAPE '\\'"));
        let number = text.trim_start_matches('#').parse::<i64>().unwrap_or(-1);
        let condition = format!(
            "({} OR m.id = ? OR m.id IN (SELECT message FROM delivery WHERE recipient LIKE ? ESCAPE '\\'))",
            fields.join(" OR ")
        );
        let mut values: Vec<Value> = vec![like.clone().into(); 4];
        values.push(number.into());
        values.push(like.into());
        self.also(&condition, values);
    }
}

/// A text in which nothing stands for anything else.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '%' | '_' | '\\') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}
