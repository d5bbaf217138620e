//! Whether a page is well-formed HTML: what is opened is closed in order, and nothing stands where it may not.

/// Elements without an end.
const VOID: [&str; 6] = ["br", "hr", "img", "input", "link", "meta"];
/// Elements that a paragraph can't hold (HTML standard, 13.1.2.4: their start would end it).
const BLOCKS: [&str; 21] = [
    "aside", "details", "div", "dl", "fieldset", "footer", "form", "h1", "h2", "h3", "header",
    "main", "nav", "ol", "p", "pre", "section", "table", "ul", "li", "dd",
];

/// Which parents an element needs; others stand anywhere.
fn parents(name: &str) -> &'static [&'static str] {
    match name {
        "li" => &["ul", "ol"],
        "dt" | "dd" => &["dl", "div"],
        "tr" => &["tbody", "thead"],
        "td" | "th" => &["tr"],
        "option" => &["select"],
        "legend" => &["fieldset"],
        "summary" => &["details"],
        "rect" | "path" => &["svg"],
        _ => &[],
    }
}

/// What is wrong with a page; empty: nothing.
pub(super) fn faults(page: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let mut open: Vec<&str> = Vec::new();
    let mut rest = page.strip_prefix("<!doctype html>").unwrap_or(page);
    while let Some(at) = rest.find('<') {
        if rest[..at].contains('>') {
            faults.push(format!("a stray > before {:.60}", &rest[at..]));
        }
        let Some(end) = end_of_tag(&rest[at..]) else {
            faults.push(format!("a tag without an end: {:.60}", &rest[at..]));
            break;
        };
        tag(&rest[at + 1..at + end], &mut open, &mut faults);
        rest = &rest[at + end + 1..];
    }
    if !open.is_empty() {
        faults.push(format!("never closed: {open:?}"));
    }
    faults
}

/// The closing bracket, quotes passed over.
fn end_of_tag(text: &str) -> Option<usize> {
    let mut quoted = false;
    text.bytes().position(|byte| {
        quoted ^= byte == b'"';
        byte == b'>' && !quoted
    })
}

fn tag<'a>(text: &'a str, open: &mut Vec<&'a str>, faults: &mut Vec<String>) {
    if let Some(name) = text.strip_prefix('/') {
        if open.pop() != Some(name) {
            faults.push(format!("</{name}> closes nothing; open are {open:?}"));
        }
        return;
    }
    let closed = text.ends_with('/');
    let name = text.split([' ', '/']).next().unwrap_or_default();
    let parent = open.last().copied().unwrap_or_default();
    let wanted = parents(name);
    if !wanted.is_empty() && !wanted.contains(&parent) {
        faults.push(format!("<{name}> in <{parent}>"));
    }
    if BLOCKS.contains(&name) && open.contains(&"p") {
        faults.push(format!("<{name}> in <p>"));
    }
    for alone in ["a", "button", "form"] {
        let within =
            open.contains(&alone) && (name == alone || (alone != "form" && name == "input"));
        if within {
            faults.push(format!("<{name}> in <{alone}>"));
        }
    }
    let mut names: Vec<&str> = attributes(text);
    names.sort_unstable();
    if names.windows(2).any(|pair| pair[0] == pair[1]) {
        faults.push(format!("an attribute twice: <{text}>"));
    }
    if !closed && !VOID.contains(&name) {
        open.push(name);
    }
}

/// The names of a tag's attributes.
fn attributes(text: &str) -> Vec<&str> {
    // Even pieces stand outside of quotes.
    let outside = text.split('"').step_by(2);
    outside
        .flat_map(|piece| piece.split_whitespace())
        .filter(|word| word.ends_with('='))
        .collect()
}

#[test]
fn what_is_wrong_is_found_and_what_is_right_is_not() {
    for good in [
        "<!doctype html><html lang=\"en\"><body><p>a <b>b</b><br></p><ul><li>x</li></ul></body></html>",
        "<svg viewBox=\"0 0 1 1\"><path d=\"M0 0\"/></svg><input value=\"a > b\">",
    ] {
        assert_eq!(faults(good), Vec::<String>::new(), "{good}");
    }
    for bad in [
        "<p><ul></ul></p>",
        "<div><p></div></p>",
        "<div>",
        "</div>",
        "<li>x</li>",
        "<a href=\"x\"><a href=\"y\"></a></a>",
        "<form><form></form></form>",
        "<button><input></button>",
        "<div id=\"a\" class=\"b\" id=\"c\"></div>",
        "a > b <b>c</b>",
        "<div",
    ] {
        assert!(!faults(bad).is_empty(), "{bad}");
    }
}
