//! Rows to values and back; every secret is sealed and unsealed here and nowhere else.

mod accounts;
mod configs;
mod consents;
mod devices;
mod notices;
mod tokens;

pub(crate) use accounts::Account;
pub(crate) use configs::unknown;
pub(crate) use consents::UnderWay;
pub(crate) use devices::{Device, DeviceEnd};
pub(crate) use tokens::Due;

use super::StoreError;
use crate::Secret;
use crate::seal::{Key, Place};
use rusqlite::Connection;

/// A transaction (or savepoint) and the key to its secrets.
pub(crate) struct Rows<'a> {
    pub(crate) connection: &'a Connection,
    key: &'a Key,
}

impl<'a> Rows<'a> {
    pub(super) fn new(connection: &'a Connection, key: &'a Key) -> Self {
        Self { connection, key }
    }

    pub(crate) fn seal(&self, place: &Place<'_>, secret: &Secret) -> Result<Vec<u8>, StoreError> {
        self.key
            .seal(place, secret)
            .map_err(|e| StoreError::sealed(describe(place), &e))
    }

    pub(crate) fn unseal(&self, place: &Place<'_>, sealed: &[u8]) -> Result<Secret, StoreError> {
        self.key
            .open(place, sealed)
            .map_err(|e| StoreError::sealed(describe(place), &e))
    }
}

fn describe(place: &Place<'_>) -> String {
    format!("{} of {} {}", place.column, place.table, place.row)
}
