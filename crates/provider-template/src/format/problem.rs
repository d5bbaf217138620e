//! What is wrong with a document, and where; never with a value of it, since any value may be a secret.

use std::fmt;
use std::path::PathBuf;

use serde_saphyr::Error;

/// What is wrong with a document, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file; empty when the text came from elsewhere.
    pub file: PathBuf,
    /// Counted from 1; 0 when the problem is the file itself.
    pub line: u64,
    /// Counted from 1.
    pub column: u64,
    /// What was found, what is expected, and at which key.
    pub why: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            line,
            column,
            why,
        } = self;
        let file = file.display();
        match (self.file.as_os_str().is_empty(), *line) {
            (true, 0) => f.write_str(why),
            (true, _) => write!(f, "line {line}, column {column}: {why}"),
            (false, 0) => write!(f, "{file}: {why}"),
            (false, _) => write!(f, "{file}:{line}:{column}: {why}"),
        }
    }
}

impl std::error::Error for Problem {}

impl Problem {
    pub(crate) fn of_file(file: PathBuf, why: String) -> Self {
        Self {
            file,
            line: 0,
            column: 0,
            why,
        }
    }

    pub(crate) fn in_file(mut self, file: PathBuf) -> Self {
        self.file = file;
        self
    }

    /// A parser's error in words of our own: its own ones may quote the document.
    pub(super) fn of_yaml(error: &Error) -> Self {
        let error = error.without_snippet();
        let place = error.location();
        Self {
            file: PathBuf::new(),
            line: place.map_or(1, |place| place.line().max(1)),
            column: place.map_or(1, |place| place.column().max(1)),
            why: in_words(error),
        }
    }
}

fn in_words(error: &Error) -> String {
    match error {
        // The scanner's sentences are fixed; at most they name one bracket or indicator.
        Error::ExternalMessage { msg, .. } => {
            format!("this is not valid YAML: {msg}; text with special characters must be quoted")
        }
        Error::UnknownAnchor { .. } => {
            "this is not valid YAML: an alias without its anchor; text that begins with * must be quoted"
                .to_owned()
        }
        Error::UnsupportedTag { .. } => {
            "a tag that means nothing here; text that begins with ! must be quoted".to_owned()
        }
        Error::DuplicateMappingKey { .. } => "this key appears twice in its map".to_owned(),
        Error::MultipleDocuments { .. } => {
            "a second document begins here; expected one list of entries, or one entry".to_owned()
        }
        Error::NullIntoString { .. } | Error::Unexpected { .. } => {
            "expected a key that is text".to_owned()
        }
        Error::InvalidScalar { .. }
        | Error::InvalidBinaryBase64 { .. }
        | Error::BinaryNotUtf8 { .. }
        | Error::TaggedScalarCannotDeserializeIntoString { .. } => {
            "this value is not what its tag says".to_owned()
        }
        Error::Budget { .. }
        | Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. } => {
            "the document is too large or too deeply nested".to_owned()
        }
        Error::Eof { .. } => "the document ends too early".to_owned(),
        _ => "this is not valid YAML".to_owned(),
    }
}
