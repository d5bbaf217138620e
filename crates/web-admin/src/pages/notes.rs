//! A template's notes, from plain text with steps and points to blocks that a page can set; pure.

use askama::Template;
use askama::filters::HtmlSafe;

/// A piece of the notes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Block {
    /// Numbered steps.
    Steps(Vec<Item>),
    /// Points in no order.
    Points(Vec<Item>),
    /// Plain text.
    Paragraph(String),
}

/// A step or a point: text, and lines to be typed somewhere, in their order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Item {
    pub(crate) pieces: Vec<Piece>,
}

/// A part of an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    Text(String),
    Code(String),
}

/// A text in which addresses are links.
#[derive(Debug, Clone, PartialEq, Eq, Template)]
#[template(
    source = r#"{% for (link, text) in parts %}{% if *link %}<a href="{{ text }}" target="_blank" rel="noreferrer noopener">{{ text }}</a>{% else %}{{ text }}{% endif %}{% endfor %}"#,
    ext = "html"
)]
pub(crate) struct Linked<'a> {
    /// Whether it is an address, and the text.
    parts: Vec<(bool, &'a str)>,
}
/// Escapes what it holds itself.
impl HtmlSafe for Linked<'_> {}

/// Finds the addresses in a text; one with a placeholder in it, or an example, leads nowhere and stays text.
pub(crate) fn linked(text: &str) -> Linked<'_> {
    let mut parts = Vec::new();
    let mut rest = text;
    let mut plain = 0;
    while let Some(found) = rest[plain..].find("https://") {
        let start = plain + found;
        let len = rest[start..].find(|c: char| c.is_whitespace() || "<>()\"'`,;".contains(c));
        let address = &rest[start..len.map_or(rest.len(), |len| start + len)];
        let address = address.trim_end_matches(['.', ':', '!', '?']);
        let end = start + address.len();
        if address.contains(['{', '}', '*'])
            || address.contains("example.com")
            || address.len() <= "https://".len()
        {
            plain = end;
            continue;
        }
        parts.push((false, &rest[..start]));
        parts.push((true, address));
        rest = &rest[end..];
        plain = 0;
    }
    parts.push((false, rest));
    parts.retain(|(_, text)| !text.is_empty());
    Linked { parts }
}

/// Lines of an item that are indented this much stand for themselves: commands.
const CODE_INDENT: usize = 5;

/// Takes the notes apart: `1. ` opens a step, `- ` a point, an indented line goes on with it, a line indented by five
/// or more is a command.
pub(crate) fn blocks(notes: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut fresh = true;
    for line in notes.lines() {
        let text = line.trim();
        if text.is_empty() {
            fresh = true;
            continue;
        }
        let indent = line.len() - line.trim_start().len();
        let last = blocks.last_mut().filter(|_| !fresh);
        match (
            step(text).filter(|_| indent == 0),
            text.strip_prefix("- "),
            last,
        ) {
            (Some(text), _, Some(Block::Steps(items))) => items.push(Item::new(text)),
            (Some(text), _, _) => blocks.push(Block::Steps(vec![Item::new(text)])),
            (None, Some(text), Some(Block::Points(items))) => items.push(Item::new(text)),
            (None, Some(text), _) => blocks.push(Block::Points(vec![Item::new(text)])),
            (None, None, Some(Block::Steps(items) | Block::Points(items))) if indent > 0 => {
                if let Some(item) = items.last_mut() {
                    item.go_on(text, indent >= CODE_INDENT);
                }
            }
            (None, None, Some(Block::Paragraph(paragraph))) => {
                paragraph.push(' ');
                paragraph.push_str(text);
            }
            (None, None, _) => blocks.push(Block::Paragraph(text.to_owned())),
        }
        fresh = false;
    }
    blocks
}

/// The text behind `12. `.
fn step(text: &str) -> Option<&str> {
    let (number, rest) = text.split_once(". ")?;
    let numeric = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    numeric.then_some(rest)
}

impl Item {
    fn new(text: &str) -> Self {
        Self {
            pieces: vec![Piece::Text(text.to_owned())],
        }
    }

    fn go_on(&mut self, text: &str, code: bool) {
        match self.pieces.last_mut() {
            Some(Piece::Text(before)) if !code => {
                before.push(' ');
                before.push_str(text);
            }
            Some(Piece::Code(before)) if code => {
                before.push('\n');
                before.push_str(text);
            }
            _ if code => self.pieces.push(Piece::Code(text.to_owned())),
            _ => self.pieces.push(Piece::Text(text.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_points_commands_and_paragraphs_are_told_apart() {
        let notes = "1. Open the portal,\n   then the page.\n2. Run:\n     New-Thing -A b\n     Add-Thing\n   It takes a while.\n\n\
                     Good to know:\n- One\n  and a half.\n- Two";
        let text = |t: &str| Piece::Text(t.to_owned());
        let item = |pieces: &[Piece]| Item {
            pieces: pieces.to_vec(),
        };
        assert_eq!(
            blocks(notes),
            [
                Block::Steps(vec![
                    item(&[text("Open the portal, then the page.")]),
                    item(&[
                        text("Run:"),
                        Piece::Code("New-Thing -A b\nAdd-Thing".to_owned()),
                        text("It takes a while."),
                    ]),
                ]),
                Block::Paragraph("Good to know:".to_owned()),
                Block::Points(vec![item(&[text("One and a half.")]), item(&[text("Two")])]),
            ]
        );
        assert_eq!(blocks(""), []);
    }

    #[test]
    fn addresses_are_links_and_what_is_around_them_stays() {
        let html = |text: &str| linked(text).render().unwrap();
        let link = |url: &str| {
            format!("<a href=\"{url}\" target=\"_blank\" rel=\"noreferrer noopener\">{url}</a>")
        };
        for (text, shown) in [
            (
                "See https://a.example/b.",
                format!("See {}.", link("https://a.example/b")),
            ),
            (
                "(https://a.example) or https://b.example, both",
                format!(
                    "({}) or {}, both",
                    link("https://a.example"),
                    link("https://b.example")
                ),
            ),
            (
                "https://login.example/{TenantID}/x stays",
                "https://login.example/{TenantID}/x stays".to_owned(),
            ),
            ("https:// is demanded", "https:// is demanded".to_owned()),
            ("<b>", "&#60;b&#62;".to_owned()),
            ("", String::new()),
        ] {
            assert_eq!(html(text), shown, "{text}");
        }
    }

    #[test]
    fn no_word_of_the_built_in_notes_is_lost() {
        for template in provider_template::Library::load(None).templates {
            let notes = template.config.postern.notes.unwrap_or_default();
            let mut shown = String::new();
            for block in blocks(&notes) {
                match block {
                    Block::Paragraph(text) => shown.push_str(&text),
                    Block::Steps(items) | Block::Points(items) => {
                        for piece in items.into_iter().flat_map(|item| item.pieces) {
                            let (Piece::Text(text) | Piece::Code(text)) = piece;
                            shown.push_str(&text);
                        }
                    }
                }
            }
            let plain = |text: &str| {
                text.chars()
                    .filter(|c| c.is_alphabetic())
                    .collect::<String>()
            };
            assert_eq!(plain(&shown), plain(&notes), "{}", template.name);
        }
    }
}
