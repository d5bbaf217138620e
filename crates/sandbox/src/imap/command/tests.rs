//! Commands as clients spell them, and those that make no sense.
use super::*;

fn command(text: &str) -> Option<Command> {
    parse(text.as_bytes()).and_then(|tagged| tagged.command)
}

#[test]
fn strings_come_as_atoms_quoted_or_literals() {
    let login = Some(Command::Login {
        user: "u".to_owned(),
        password: "a \"b".to_owned(),
    });
    assert_eq!(command(r#"a LOGIN u "a \"b""#), login);
    assert_eq!(command("a login {1}\r\nu {4+}\r\na \"b"), login);
    assert_eq!(command("a LOGIN u"), None);
    assert_eq!(command("a LOGIN u \"open"), None);
    assert_eq!(command("a LOGIN u {9}\r\nshort"), None);
}

#[test]
fn fetch_items_keep_their_sections_and_parts() {
    let body = |section, part| Item::Body {
        section,
        peek: true,
        part,
    };
    let fetch =
        command("a UID FETCH 1:* (UID FLAGS RFC822.SIZE BODY.PEEK[]<0.99> body.peek[header])");
    assert_eq!(
        fetch,
        Some(Command::Fetch {
            by: By::Uid,
            set: Set::parse("1:*").unwrap(),
            items: vec![
                Item::Uid,
                Item::Flags,
                Item::Size,
                body(Section::All, Some((0, 99))),
                body(Section::Header, None),
            ],
        })
    );
    for wrong in [
        "BODY[]<0>",
        "BODY[]<0.0>",
        "BODY[1.MIME]",
        "BODY",
        "(UID",
        "()x",
    ] {
        assert_eq!(command(&format!("a FETCH 1 {wrong}")), None, "{wrong}");
    }
}

#[test]
fn a_command_that_makes_no_sense_still_has_its_tag() {
    let tagged = parse(b"a7 UID FETCH nonsense").unwrap();
    assert_eq!(
        (tagged.tag.as_str(), tagged.name.as_str()),
        ("a7", "UID FETCH")
    );
    assert_eq!(tagged.command, None);
    assert_eq!(parse(b""), None);
    assert_eq!(parse(b"a7"), None);
}

#[test]
fn store_and_search_are_read() {
    assert_eq!(
        command(r"a UID STORE 7 +FLAGS.SILENT (\Deleted)"),
        Some(Command::Store {
            by: By::Uid,
            set: Set::parse("7").unwrap(),
            how: How::Add,
            silent: true,
            flags: vec!["\\Deleted".to_owned()],
        })
    );
    let date = jiff::civil::date(2026, 2, 1);
    assert_eq!(
        command("a UID SEARCH UID 1:5 SINCE 1-Feb-2026"),
        Some(Command::Search {
            by: By::Uid,
            criteria: vec![
                Criterion::Uid(Set::parse("1:5").unwrap()),
                Criterion::Since(date)
            ],
        })
    );
}
