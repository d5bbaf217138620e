//! Pieces of a file as a message for people quotes them; pure.

use super::yaml::{Node, Value};

/// Longest piece of a found value that a message quotes.
const QUOTED: usize = 60;

/// `a`, `a or b`, `a, b or c`.
pub(super) fn either(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [some @ .., last] => format!("{} or {last}", some.join(", ")),
    }
}

/// What stands there, for a message. Never called for a secret.
pub(super) fn found(node: &Node) -> String {
    match &node.value {
        _ if node.is_null() => "nothing".to_owned(),
        Value::Scalar { text, .. } if text.is_empty() => "an empty text".to_owned(),
        Value::Scalar { text, .. } => format!("\"{}\"", quotable(text)),
        Value::List(items) if items.is_empty() => "an empty list".to_owned(),
        Value::List(_) => "a list".to_owned(),
        Value::Map(_) => "a mapping".to_owned(),
    }
}

/// A piece of the file that is fit for one line of a terminal.
pub(super) fn quotable(text: &str) -> String {
    let mut quoted: String = text
        .chars()
        .take(QUOTED)
        .flat_map(char::escape_debug)
        .collect();
    quoted = quoted.replace("\\'", "'");
    if text.chars().count() > QUOTED {
        quoted.push_str("...");
    }
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_or_strange_text_does_not_reach_a_terminal_as_it_is() {
        assert_eq!(quotable("a\u{1b}[2Jb"), "a\\u{1b}[2Jb");
        assert_eq!(quotable(&"x".repeat(100)).len(), QUOTED + 3);
    }

    #[test]
    fn a_choice_of_words_reads_as_a_sentence() {
        assert_eq!(either(&["a"]), "a");
        assert_eq!(either(&["a", "b"]), "a or b");
        assert_eq!(either(&["a", "b", "c"]), "a, b or c");
    }
}
