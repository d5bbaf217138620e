//! The tables, as numbered migrations. Append only: a migration that was released is never edited.

use rusqlite_migration::{M, Migrations};

/// `PstA` in ASCII, in the file's header: which program's database this is.
pub(super) const APPLICATION_ID: i32 = 0x5073_7441;

const MIGRATIONS: &[M<'_>] = &[
    M::up(include_str!("migrations/0001-accounts.sql")),
    M::up(include_str!("migrations/0002-grants.sql")).foreign_key_check(),
    M::up(include_str!("migrations/0003-submitters.sql")),
];

/// To be run with foreign keys off: see the second one.
pub(super) fn migrations() -> Migrations<'static> {
    Migrations::from_slice(MIGRATIONS)
}

/// The version this program writes.
pub(super) fn latest() -> i64 {
    i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
