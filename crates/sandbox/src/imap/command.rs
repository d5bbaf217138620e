//! IMAP commands, from the bytes of one command with its literals inside.
use jiff::civil::Date;

use super::cursor::Cursor;
use super::set::Set;

/// A command with its tag.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Tagged {
    pub(super) tag: String,
    /// In capitals, with `UID` where it has one.
    pub(super) name: String,
    /// None: the arguments make no sense, or the command is unknown.
    pub(super) command: Option<Command>,
}

/// What is asked.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Command {
    Capability,
    Noop,
    Logout,
    Login {
        user: String,
        password: String,
    },
    Authenticate {
        mechanism: String,
        initial: Option<String>,
    },
    List {
        pattern: String,
    },
    Create {
        folder: String,
    },
    Select {
        folder: String,
        read_only: bool,
    },
    Status {
        folder: String,
        items: Vec<String>,
    },
    Close {
        expunge: bool,
    },
    Fetch {
        by: By,
        set: Set,
        items: Vec<Item>,
    },
    Store {
        by: By,
        set: Set,
        how: How,
        silent: bool,
        flags: Vec<String>,
    },
    Copy {
        by: By,
        set: Set,
        folder: String,
    },
    Move {
        by: By,
        set: Set,
        folder: String,
    },
    Expunge {
        uids: Option<Set>,
    },
    Search {
        by: By,
        criteria: Vec<Criterion>,
    },
    Idle,
}

/// What the numbers of a set, or of a search result, are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    Uid,
    Sequence,
}

/// How STORE changes flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    Add,
    Remove,
    Replace,
}

/// One thing to FETCH.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Item {
    Uid,
    Flags,
    Size,
    InternalDate,
    Body {
        section: Section,
        peek: bool,
        /// First byte and how many.
        part: Option<(usize, usize)>,
    },
}

/// Which part of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Section {
    All,
    Header,
    Text,
}

impl Section {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::All => "",
            Self::Header => "HEADER",
            Self::Text => "TEXT",
        }
    }
}

/// One condition of a SEARCH; all must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Criterion {
    All,
    Since(Date),
    Before(Date),
    Flag { flag: &'static str, set: bool },
    Uid(Set),
    Sequence(Set),
}

/// Reads a command: its line without the last CRLF, literals as they came. None when there is not even a tag.
pub(super) fn parse(bytes: &[u8]) -> Option<Tagged> {
    let mut cursor = Cursor(bytes);
    let tag = cursor.word()?;
    let mut name = cursor.next_word()?.to_ascii_uppercase();
    if name == "UID" {
        name = format!("UID {}", cursor.next_word()?.to_ascii_uppercase());
    }
    let command = arguments(&name, &mut cursor).filter(|_| cursor.0.is_empty());
    Some(Tagged { tag, name, command })
}

fn arguments(name: &str, cursor: &mut Cursor<'_>) -> Option<Command> {
    let (name, by) = match name.strip_prefix("UID ") {
        Some(name @ ("FETCH" | "STORE" | "COPY" | "MOVE" | "EXPUNGE" | "SEARCH")) => {
            (name, By::Uid)
        }
        Some(_) => return None,
        None => (name, By::Sequence),
    };
    Some(match name {
        "CAPABILITY" => Command::Capability,
        "NOOP" | "CHECK" => Command::Noop,
        "LOGOUT" => Command::Logout,
        "IDLE" => Command::Idle,
        "CLOSE" => Command::Close { expunge: true },
        "UNSELECT" => Command::Close { expunge: false },
        "LOGIN" => Command::Login {
            user: cursor.next_string()?,
            password: cursor.next_string()?,
        },
        "AUTHENTICATE" => Command::Authenticate {
            mechanism: cursor.next_word()?.to_ascii_uppercase(),
            initial: cursor.next_word(),
        },
        "LIST" => {
            let reference = cursor.next_string()?;
            let pattern = reference + &cursor.next_string()?;
            Command::List { pattern }
        }
        "CREATE" => Command::Create {
            folder: cursor.next_string()?,
        },
        "SELECT" | "EXAMINE" => Command::Select {
            folder: cursor.next_string()?,
            read_only: name == "EXAMINE",
        },
        "STATUS" => Command::Status {
            folder: cursor.next_string()?,
            items: capitals(cursor.next_list()?),
        },
        "FETCH" => Command::Fetch {
            by,
            set: cursor.next_set()?,
            items: fetch_items(cursor)?,
        },
        "STORE" => store(by, cursor)?,
        "COPY" | "MOVE" => {
            let set = cursor.next_set()?;
            let folder = cursor.next_string()?;
            if name == "COPY" {
                Command::Copy { by, set, folder }
            } else {
                Command::Move { by, set, folder }
            }
        }
        "EXPUNGE" => Command::Expunge {
            uids: match by {
                By::Uid => Some(cursor.next_set()?),
                By::Sequence => None,
            },
        },
        "SEARCH" => Command::Search {
            by,
            criteria: criteria(cursor)?,
        },
        _ => return None,
    })
}

fn store(by: By, cursor: &mut Cursor<'_>) -> Option<Command> {
    let set = cursor.next_set()?;
    let what = cursor.next_word()?.to_ascii_uppercase();
    let (what, silent) = match what.strip_suffix(".SILENT") {
        Some(what) => (what, true),
        None => (what.as_str(), false),
    };
    let how = match what {
        "+FLAGS" => How::Add,
        "-FLAGS" => How::Remove,
        "FLAGS" => How::Replace,
        _ => return None,
    };
    let flags = cursor.next_list()?;
    Some(Command::Store {
        by,
        set,
        how,
        silent,
        flags,
    })
}

fn fetch_items(cursor: &mut Cursor<'_>) -> Option<Vec<Item>> {
    cursor
        .next_list()?
        .iter()
        .map(|text| fetch_item(text))
        .collect()
}

fn fetch_item(text: &str) -> Option<Item> {
    let text = text.to_ascii_uppercase();
    match text.as_str() {
        "UID" => return Some(Item::Uid),
        "FLAGS" => return Some(Item::Flags),
        "RFC822.SIZE" => return Some(Item::Size),
        "INTERNALDATE" => return Some(Item::InternalDate),
        _ => {}
    }
    let (name, rest) = text.split_once('[')?;
    let peek = match name {
        "BODY" => false,
        "BODY.PEEK" => true,
        _ => return None,
    };
    let (section, rest) = rest.split_once(']')?;
    let section = match section {
        "" => Section::All,
        "HEADER" => Section::Header,
        "TEXT" => Section::Text,
        _ => return None,
    };
    let part = if rest.is_empty() {
        None
    } else {
        let (from, length) = rest.strip_prefix('<')?.strip_suffix('>')?.split_once('.')?;
        let length = length.parse().ok().filter(|length| *length > 0)?;
        Some((from.parse().ok()?, length))
    };
    Some(Item::Body {
        section,
        peek,
        part,
    })
}

fn criteria(cursor: &mut Cursor<'_>) -> Option<Vec<Criterion>> {
    let mut criteria = Vec::new();
    while !cursor.0.is_empty() {
        let word = cursor.next_word()?.to_ascii_uppercase();
        criteria.push(match word.as_str() {
            "ALL" => Criterion::All,
            "SINCE" => Criterion::Since(cursor.next_date()?),
            "BEFORE" => Criterion::Before(cursor.next_date()?),
            "UID" => Criterion::Uid(cursor.next_set()?),
            "SEEN" => flag("\\Seen", true),
            "UNSEEN" => flag("\\Seen", false),
            "DELETED" => flag("\\Deleted", true),
            "UNDELETED" => flag("\\Deleted", false),
            set => Criterion::Sequence(Set::parse(set)?),
        });
    }
    (!criteria.is_empty()).then_some(criteria)
}

fn flag(flag: &'static str, set: bool) -> Criterion {
    Criterion::Flag { flag, set }
}

fn capitals(words: Vec<String>) -> Vec<String> {
    words.iter().map(|word| word.to_ascii_uppercase()).collect()
}

#[cfg(test)]
mod tests;
