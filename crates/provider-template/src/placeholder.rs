//! Placeholders such as `{TenantID}` in the texts of a template.

/// How documents in the field misspell `TenantID`.
const MISSPELT: &str = "TenentID";
/// What they mean.
const TENANT_ID: &str = "TenantID";

/// A variable's name as Postern spells it.
pub(crate) fn canonical(name: &str) -> &str {
    if name == MISSPELT { TENANT_ID } else { name }
}

/// The names in braces, in their order, spelt as they stand there.
pub(crate) fn names(text: &str) -> impl Iterator<Item = &str> {
    pieces(text).filter_map(|piece| match piece {
        Piece::Name(name) => Some(name),
        Piece::Text(_) => None,
    })
}

/// The text with each placeholder replaced for which `value` (asked by the canonical name) has one; the others stay.
pub(crate) fn substitute<'v>(text: &str, value: impl Fn(&str) -> Option<&'v str>) -> String {
    let mut out = String::with_capacity(text.len());
    for piece in pieces(text) {
        match piece {
            Piece::Text(text) => out.push_str(text),
            Piece::Name(name) => match value(canonical(name)) {
                Some(value) => out.push_str(value),
                None => {
                    out.push('{');
                    out.push_str(name);
                    out.push('}');
                }
            },
        }
    }
    out
}

/// The values that make `text` of a pattern, by canonical name: each a word of a URL, the same wherever its name stands.
pub(crate) fn capture(pattern: &str, text: &str) -> Option<Vec<(String, String)>> {
    let mut values: Vec<(String, String)> = Vec::new();
    let mut left = text;
    for piece in pieces(pattern) {
        match piece {
            Piece::Text(fixed) => left = left.strip_prefix(fixed)?,
            Piece::Name(name) => {
                let end = left.find(|c: char| !is_url_word(c)).unwrap_or(left.len());
                let (value, after) = left.split_at(end);
                left = after;
                let name = canonical(name);
                match values.iter().find(|(known, _)| known == name) {
                    Some((_, known)) if known != value => return None,
                    Some(_) => {}
                    None if value.is_empty() => return None,
                    None => values.push((name.to_owned(), value.to_owned())),
                }
            }
        }
    }
    left.is_empty().then_some(values)
}

/// Whether a value with this stays inside its part of a URL (RFC 3986 section 2.3, unreserved characters).
pub(crate) fn is_url_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '~')
}

enum Piece<'a> {
    Text(&'a str),
    Name(&'a str),
}

/// Cuts a text at its placeholders. A brace that begins no name (JSON, say) is text.
fn pieces(text: &str) -> impl Iterator<Item = Piece<'_>> {
    let mut left = text;
    std::iter::from_fn(move || {
        if left.is_empty() {
            return None;
        }
        if let Some((name, after)) = leading_name(left) {
            left = after;
            return Some(Piece::Name(name));
        }
        let first = left.chars().next().map_or(0, char::len_utf8);
        let end = left[first..]
            .find('{')
            .map_or(left.len(), |found| first + found);
        let (piece, after) = left.split_at(end);
        left = after;
        Some(Piece::Text(piece))
    })
}

fn leading_name(text: &str) -> Option<(&str, &str)> {
    let (name, after) = text.strip_prefix('{')?.split_once('}')?;
    let word = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    word.then_some((name, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_words_in_braces_are_placeholders() {
        let found: Vec<&str> = names("{A}/{ b}{TenentID}{\"json\":1}{}{1}{c_2}{open").collect();
        assert_eq!(found, ["A", "TenentID", "c_2"]);
    }

    #[test]
    fn the_values_in_a_text_are_found_by_its_pattern() {
        let found = |pattern, text| {
            capture(pattern, text).map(|values| {
                let shown = values.iter().map(|(name, value)| format!("{name}={value}"));
                shown.collect::<Vec<_>>().join(" ")
            })
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(found("a/b", "a/b"), some(""));
        assert_eq!(
            found("a/{TenentID}/b", "a/contoso.com/b"),
            some("TenantID=contoso.com")
        );
        assert_eq!(found("{A}/{A}/{B}", "x/x/y"), some("A=x B=y"));
        assert_eq!(found("{A}/{A}", "x/y"), None);
        assert_eq!(found("a/{A}/b", "a//b"), None);
        assert_eq!(found("a/{A}", "a/x/y"), None);
        assert_eq!(found("a/{A}", "b/x"), None);
    }

    #[test]
    fn both_spellings_of_the_tenant_are_replaced_and_unknown_names_stay() {
        let tenant = |name: &str| (name == "TenantID").then_some("contoso");
        assert_eq!(
            substitute("é{TenantID}/{TenentID}/{Other}{", tenant),
            "écontoso/contoso/{Other}{"
        );
    }
}
