//! A mistake in a configuration file: where, at which key, what was found and what is expected.

use std::fmt;
use std::path::PathBuf;

/// Line and column, both from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

impl Place {
    pub(super) fn new(line: usize, column: usize) -> Self {
        Self { line, column }
    }
}

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mistake {
    pub(crate) at: Place,
    /// `mailboxes[1].deliver.timeout`; empty for the file as a whole.
    pub(crate) key: String,
    pub(crate) why: String,
}

impl Mistake {
    pub(super) fn new(at: Place, key: impl Into<String>, why: impl Into<String>) -> Self {
        Self {
            at,
            key: key.into(),
            why: why.into(),
        }
    }
}

/// Every mistake of a file, in the order of its lines; `Display` prints a line for each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mistakes {
    pub(crate) file: PathBuf,
    pub(crate) mistakes: Vec<Mistake>,
}

impl Mistakes {
    /// Sorts by line; of two at one place the first found comes first.
    pub(super) fn new(file: PathBuf, mut mistakes: Vec<Mistake>) -> Self {
        mistakes.sort_by_key(|mistake| mistake.at);
        Self { file, mistakes }
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mistake) in self.mistakes.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            let Place { line, column } = mistake.at;
            write!(f, "{}:{line}:{column}: ", self.file.display())?;
            if !mistake.key.is_empty() {
                write!(f, "{}: ", mistake.key)?;
            }
            f.write_str(&mistake.why)?;
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}
