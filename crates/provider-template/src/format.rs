//! The exchange format: YAML in, YAML out.

mod problem;
mod read;
#[cfg(test)]
mod tests;
mod tree;
mod write;

pub use problem::Problem;
pub use read::read;
pub(crate) use read::read_first;
pub use write::write;

/// What `ValidID` says of an entry that is in use, and of one that isn't.
const VALID: u64 = 1;
const INVALID: u64 = 2;

/// Columns of the exporting system's database; accepted, and not ours to keep.
const COLUMNS: [&str; 5] = ["ID", "CreateTime", "CreateBy", "ChangeTime", "ChangeBy"];
