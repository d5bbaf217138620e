//! The bytes of a token endpoint's answer as fields, whatever they came in: JSON of any Unicode form, a form, or only its beginning.

use oauth2::url::form_urlencoded;
use serde::Deserializer as _;
use serde::de::{MapAccess, Visitor};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::fmt;

use super::answer::one_line;

/// Where a page's title is looked for; styles and scripts of block pages come before it.
const HEAD: usize = 8 * 1024;

/// What a body holds.
#[derive(Debug)]
pub(super) enum Body {
    /// An object's members.
    Fields(Map<String, Value>),
    /// The members before the place where the object breaks off or stops being JSON.
    Beginning(Map<String, Value>),
    /// Neither; in words.
    Other(String),
}

/// Reads a body. The content type is not asked: real endpoints send JSON as `text/plain` or `text/html`, and forms as JSON.
pub(super) fn read(bytes: &[u8]) -> Body {
    let text = utf8(bytes);
    let text = text.trim_ascii();
    match text.first() {
        Some(b'{') => object(text),
        Some(b'<') => Body::Other(page(text)),
        None => Body::Other("an empty body".into()),
        // The mark of gzip (RFC 1952): we ask for no compression, so somebody between added it.
        Some(0x1f) if text.starts_with(&[0x1f, 0x8b]) => {
            Body::Other("a compressed body, which was not asked for".into())
        }
        Some(_) if serde_json::from_slice::<Value>(text).is_ok() => {
            Body::Other("JSON that is not an object".into())
        }
        Some(_) => form(text).map_or_else(
            || Body::Other("something that is not JSON".into()),
            Body::Fields,
        ),
    }
}

/// The body as UTF-8 without a byte order mark. UTF-16 is told by its mark, or by the NUL beside the first brace.
fn utf8(bytes: &[u8]) -> Cow<'_, [u8]> {
    let (rest, little_end_first) = match bytes {
        [0xEF, 0xBB, 0xBF, rest @ ..] => return Cow::Borrowed(rest),
        [0xFF, 0xFE, rest @ ..] => (rest, true),
        [0xFE, 0xFF, rest @ ..] => (rest, false),
        [b'{', 0, ..] => (bytes, true),
        [0, b'{', ..] => (bytes, false),
        _ => return Cow::Borrowed(bytes),
    };
    let unit = if little_end_first {
        u16::from_le_bytes
    } else {
        u16::from_be_bytes
    };
    let units = rest.as_chunks().0.iter().map(|pair| unit(*pair));
    let text: String = char::decode_utf16(units)
        .map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect();
    Cow::Owned(text.into_bytes())
}

/// An object's members one by one, so that those before a broken place are not lost with the rest: a refresh token
/// among them may be the only living one. What follows the object is nobody's business.
fn object(text: &[u8]) -> Body {
    let mut members = Map::new();
    let mut json = serde_json::Deserializer::from_slice(text);
    match json.deserialize_map(Members(&mut members)) {
        Ok(()) => Body::Fields(members),
        Err(_) => Body::Beginning(members),
    }
}

struct Members<'a>(&'a mut Map<String, Value>);

impl<'de> Visitor<'de> for Members<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<(), A::Error> {
        while let Some((name, value)) = object.next_entry()? {
            self.0.insert(name, value);
        }
        Ok(())
    }
}

/// `access_token=...&expires_in=...`, as endpoints older than RFC 6749 answer. Prose with an `=` in it is none.
fn form(text: &[u8]) -> Option<Map<String, Value>> {
    let names = ["access_token", "refresh_token", "error"];
    let pairs = form_urlencoded::parse(text);
    let fields: Map<String, Value> = pairs
        .map(|(name, value)| (name.into_owned(), Value::String(value.into_owned())))
        .collect();
    names
        .iter()
        .any(|name| fields.contains_key(*name))
        .then_some(fields)
}

fn page(text: &[u8]) -> String {
    let head = String::from_utf8_lossy(&text[..text.len().min(HEAD)]);
    // Lower-casing ASCII moves no byte, so places found in one are places in the other.
    let lower = head.to_ascii_lowercase();
    let title = lower.find("<title").and_then(|at| {
        let start = at + lower.get(at..)?.find('>')? + 1;
        let rest = head.get(start..)?;
        rest.get(..rest.find('<')?).map(one_line)
    });
    match title.filter(|title| !title.is_empty()) {
        Some(title) => format!("a web page titled \"{title}\""),
        None => "a web page".into(),
    }
}
