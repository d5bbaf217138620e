//! What the writer's jobs see: the tables inside a transaction, and what must wait for its commit.

use std::cell::RefCell;
use std::path::Path;

use rusqlite::Connection;

use crate::body::Body;
use crate::error::Result;
use crate::{Direction, housekeeper};

/// What a job sees: the database inside the group's transaction, the time, and a place for what
/// must happen only after the commit.
pub(crate) struct Tables<'c> {
    pub(crate) conn: &'c Connection,
    /// Seconds since 1970.
    pub(crate) now: i64,
    effects: RefCell<Effects>,
}

/// What happens after the commit, and not at all without it.
#[derive(Default)]
pub(crate) struct Effects {
    /// Their files stay. Without a commit they are dropped, and their files go.
    pub(crate) taken: Vec<Body>,
    /// Files that no row names any more.
    pub(crate) dropped: Vec<String>,
    /// Accounts whose loops should look.
    pub(crate) touched: Vec<(Direction, String)>,
}

impl<'c> Tables<'c> {
    pub(crate) fn new(conn: &'c Connection, now: i64) -> Self {
        Self {
            conn,
            now,
            effects: RefCell::default(),
        }
    }

    /// Runs one statement with its text cached; returns the rows it changed.
    pub(crate) fn execute(&self, sql: &str, params: impl rusqlite::Params) -> Result<usize> {
        Ok(self.conn.prepare_cached(sql)?.execute(params)?)
    }

    /// After the commit a row names this body's file.
    pub(crate) fn keep(&self, body: Body) {
        self.effects.borrow_mut().taken.push(body);
    }

    /// After the commit no row names this file.
    pub(crate) fn remove_file(&self, name: String) {
        self.effects.borrow_mut().dropped.push(name);
    }

    /// After the commit the account's loops are given a hint.
    pub(crate) fn touch(&self, direction: Direction, account: &str) {
        let touched = &mut self.effects.borrow_mut().touched;
        let known = touched
            .iter()
            .any(|(d, name)| *d == direction && name == account);
        if !known {
            touched.push((direction, account.to_owned()));
        }
    }

    /// What to do, now that the transaction is over.
    pub(crate) fn into_effects(self) -> Effects {
        self.effects.into_inner()
    }

    /// Removes the files that no row names any more, where no housekeeper runs yet.
    pub(crate) fn remove_dropped(self, folder: &Path) {
        for file in self.effects.into_inner().dropped {
            housekeeper::remove(folder, &file);
        }
    }

    /// A point to come back to.
    pub(crate) fn mark(&self) -> (usize, usize) {
        let effects = self.effects.borrow();
        (effects.taken.len(), effects.dropped.len())
    }

    /// Forgets the effects of a job that was rolled back. A needless hint does no harm.
    pub(crate) fn forget_since(&self, (taken, dropped): (usize, usize)) {
        let mut effects = self.effects.borrow_mut();
        effects.taken.truncate(taken);
        effects.dropped.truncate(dropped);
    }
}
