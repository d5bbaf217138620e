//! Rows to values and back; every secret is sealed and unsealed here and nowhere else.

mod accounts;
mod configs;
mod consents;
mod devices;
mod notices;
mod plans;
mod tokens;

pub(crate) use accounts::{Account, Beside};
pub(crate) use configs::unknown;
pub(crate) use consents::UnderWay;
pub(crate) use devices::{Device, DeviceEnd};
pub(crate) use plans::Plan;
pub(super) use plans::fill_endpoints;

use super::StoreError;
use super::changes::Change;
use crate::Secret;
use crate::seal::{Place, Ring};
use rusqlite::Connection;
use std::cell::RefCell;

/// A transaction (or savepoint) and the key to its secrets.
pub(crate) struct Rows<'a> {
    pub(crate) connection: &'a Connection,
    ring: &'a Ring,
    changes: RefCell<Vec<Change>>,
}

impl<'a> Rows<'a> {
    pub(super) fn new(connection: &'a Connection, ring: &'a Ring) -> Self {
        Self {
            connection,
            ring,
            changes: RefCell::default(),
        }
    }

    /// What was written, for those who plan by it.
    pub(super) fn into_changes(self) -> Vec<Change> {
        self.changes.into_inner()
    }

    fn note(&self, change: Change) {
        self.changes.borrow_mut().push(change);
    }

    pub(crate) fn seal(&self, place: &Place<'_>, secret: &Secret) -> Result<Vec<u8>, StoreError> {
        self.ring
            .seal(place, secret)
            .map_err(|e| StoreError::sealed(describe(place), &e))
    }

    pub(crate) fn unseal(&self, place: &Place<'_>, sealed: &[u8]) -> Result<Secret, StoreError> {
        self.ring
            .open(place, sealed)
            .map_err(|e| StoreError::sealed(describe(place), &e))
    }
}

fn describe(place: &Place<'_>) -> String {
    format!("{} of {} {}", place.column, place.table, place.row)
}
