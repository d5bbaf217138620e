//! The guard against literal bytes of lying servers, whole and split at every position.

use tokio::io::AsyncReadExt as _;

use super::scan::LINE_CAP;
use super::*;
use crate::fuzz::Packets;

/// Feeds bytes split at `at`, and gives what the parser would see, or the trap.
fn split(bytes: &[u8], at: usize, cap: u64) -> Result<(Vec<u8>, u64), Trap> {
    let mut scan = Scan::new();
    scan.literal_cap = cap;
    let mut seen = bytes.to_vec();
    let (a, b) = seen.split_at_mut(at);
    scan.feed(a)?;
    scan.feed(b)?;
    Ok((seen, scan.responses))
}

#[track_caller]
fn passes(bytes: &[u8], expected: &[u8], responses: u64) {
    for at in 0..=bytes.len() {
        let (seen, n) = split(bytes, at, 1000).unwrap_or_else(|t| panic!("{t} at {at}"));
        assert_eq!(
            (String::from_utf8_lossy(&seen).into_owned(), n),
            (String::from_utf8_lossy(expected).into_owned(), responses)
        );
        let mut rest = seen.as_slice();
        while !rest.is_empty() {
            rest = imap_proto::Response::parse(rest)
                .expect("the parser takes what the guard passed")
                .0;
        }
    }
}

#[track_caller]
fn stops(bytes: &[u8], trap: &Trap) {
    for at in 0..=bytes.len() {
        assert_eq!(
            split(bytes, at, 1000).as_ref().err(),
            Some(trap),
            "split at {at}"
        );
    }
}

#[test]
fn honest_responses_pass_unchanged() {
    let honest: &[u8] = b"* OK [CAPABILITY IMAP4rev1 IDLE] ready (yes) {5}\r\n* LIST (\\HasNoChildren) \"/\" \"a (b) \\\"c\"\r\n\
        * 3 EXISTS\r\n* FLAGS (\\Seen \\Deleted)\r\n* 1 FETCH (UID 7 FLAGS (\\Seen $x[y]) RFC822.SIZE 12 )\r\n\
        * 2 fetch (UID 8 BODY[] {9}\r\n((((\"{9}\r BODY[HEADER]<0> NIL)\r\n* 3 FETCH (BODY[]<4096> \"a \\\" (\" UID 9)\r\n\
        + go on\r\nA1 OK [READ-WRITE] done {9}\r\n";
    passes(honest, honest, 9);
}

#[test]
fn an_unknown_item_with_a_plain_value_passes() {
    let bytes: &[u8] =
        b"* 1 FETCH (UID 1 FLAGS (\\Seen) X-UNKNOWN 5 SAVEDATE NIL MODSEQ (12))\r\nA1 OK\r\n";
    passes(bytes, bytes, 2);
}

#[test]
fn a_date_of_nil_is_mended_before_it_panics_the_parser() {
    passes(
        b"* 1 FETCH (UID 1 INTERNALDATE NIL)\r\nA1 OK\r\n",
        b"* 1 FETCH (UID 1 INTERNALDATE XIL)\r\nA1 OK\r\n",
        2,
    );
}

#[test]
fn a_foreign_letter_right_after_a_response_code_is_mended() {
    passes("* OK [ALERT]é\r\n".as_bytes(), b"* OK [ALERT]?\xa9\r\n", 1);
    passes(b"A1 NO [ALERT]\xff\xff\r\n", b"A1 NO [ALERT]?\xff\r\n", 1);
}

#[test]
fn deep_nesting_is_stopped_at_its_second_parenthesis() {
    let mut bytes = b"* 1 FETCH (UID 1 BODYSTRUCTURE ".to_vec();
    bytes.extend(std::iter::repeat_n(b'(', 1500));
    stops(&bytes, &Trap::Nesting);
}

#[test]
fn nesting_cannot_hide_where_guard_and_parser_might_disagree() {
    for hidden in [
        &b"* 1 FETCH (X ({5}\r\n"[..],
        b"* 1 FETCH (X a{5}\r\n",
        b"* 1 FETCH (X {5}\r\n",
        b"* 1 FETCH (BODYSTRUCTURE {5}\r\n",
        b"* 1 FETCH (INTERNALDATE {5}\r\n",
        b"* LIST () \"/\" a{40}\r\n",
        b"* SEARCH {40}\r\n",
    ] {
        stops(hidden, &Trap::StrayLiteral);
    }
    for malformed in [
        &b"* 1 FETCH (X \"\\a BODYSTRUCTURE ((\"\r\n"[..],
        b"* 1 FETCH (X \"a\r\n",
        b"* 1 FETCH (FLAGS (a\r\n",
        b"* 1 FETCH (UID 1\r\n",
        b"* 1 FETCH (UID 1) BODYSTRUCTURE (\r\n",
        b"* METADATA \"\" (/shared/\xff \"\xff\")\r\n",
        b"* 1 FETCH (BODY[] {}\r\n",
        b"* 1 FETCH (BODY[] {5}\n",
        b"* LIST () \"/\" \"a\r\n* 1 FETCH (BODYSTRUCTURE ((\"\r\n",
        b"* LIST () \"/\" a\n",
        b"* LIST () \"/\" {}\r\n",
    ] {
        stops(malformed, &Trap::Malformed);
    }
}

#[test]
fn a_literal_larger_than_asked_for_is_stopped_when_it_is_announced() {
    for announced in [500_000_000_u64, 4_000_000_000, 5_000_000_000, u64::MAX] {
        let bytes = format!("* 1 FETCH (UID 1 BODY[] {{{announced}}}\r\nabc");
        stops(
            bytes.as_bytes(),
            &Trap::Literal {
                announced,
                cap: 1000,
            },
        );
    }
    stops(
        b"* 1 FETCH (BODY[] {99999999999999999999999}",
        &Trap::Literal {
            announced: u64::MAX,
            cap: 1000,
        },
    );
}

#[test]
fn an_endless_line_is_stopped_at_the_cap() {
    let mut scan = Scan::new();
    let mut line = b"* SEARCH".to_vec();
    for n in 1_000_000..1_600_000 {
        line.extend_from_slice(format!(" {n}").as_bytes());
    }
    let stopped = line.chunks_mut(4096).map(|c| c.len()).sum::<usize>();
    assert!(stopped > 4_000_000);
    assert_eq!(
        line.chunks_mut(4096).try_for_each(|c| scan.feed(c)),
        Err(Trap::LongLine)
    );
    assert!(scan.line <= LINE_CAP + 1, "nothing past the cap is kept");
}

#[test]
fn the_name_of_a_folder_may_come_as_a_short_literal_in_a_list_and_a_status() {
    let honest: &[u8] = b"* LIST (\\Trash) \"/\" {10}\r\na \"b\"\r\n(((\r\n* STATUS {3}\r\n\"\\{ (UIDNEXT 5 UIDVALIDITY 7)\r\n\
        * LIST () NIL \"\\\"{5}\"\r\n* STATUS \"x\" (UIDNEXT 5) \r\nA1 OK\r\n";
    passes(honest, honest, 5);
    let trap = Trap::Literal {
        announced: 1025,
        cap: 1024,
    };
    stops(b"* LIST () \"/\" {1025}\r\n", &trap);
}

#[test]
fn a_list_of_capabilities_without_imap4rev1_and_an_id_become_the_text_of_an_ok() {
    passes(
        b"* CAPABILITY IMAP4rev2 IDLE\r\n* ID (\"name\" \"x{5}\" \"v\" NIL)\r\n* id NIL\r\nA1 OK\r\n",
        b"* OK ABILITY IMAP4rev2 IDLE\r\n* OK (\"name\" \"x{5}\" \"v\" NIL)\r\n* OK NIL\r\nA1 OK\r\n",
        4,
    );
}

#[test]
fn the_parser_waits_for_the_rest_of_whatever_comes_in_two_packets() {
    for line in [
        "* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\n",
        "* OK [CAPABILITY IMAP4rev2 IDLE] hello\r\n",
        "* ID (\"name\" \"Dovecot\")\r\n",
        "* ENABLED UTF8=ACCEPT\r\n",
        "* LIST (\\HasNoChildren \\Trash) \"/\" \"[Gmail]/Trash\"\r\n",
        "* LIST () \"/\" {5}\r\nabcde\r\n",
        "* STATUS \"a b\" (UIDNEXT 5 UIDVALIDITY 7)\r\n",
        "* 3 EXISTS\r\n",
        "* 1 FETCH (UID 7 X-GM-MSGID 1278455344230334865 MODSEQ (5) FLAGS (\\Seen) RFC822.SIZE 12 INTERNALDATE \"17-Jul-1996 02:44:25 -0700\")\r\n",
        "* 1 FETCH (UID 7 BODY[]<0> {3}\r\nabc)\r\n",
        "* BYE Session invalidated - AccessTokenExpired\r\n",
        "A1 NO [UNAVAILABLE] later\r\n",
        "+ eyJzdGF0dXMiOiI0MDAifQ==\r\n",
    ] {
        for at in 1..line.len() {
            let (seen, _) = split(line.as_bytes(), at, 1000).unwrap();
            let parsed = imap_proto::Response::parse(&seen[..at]);
            assert!(
                parsed.as_ref().is_err_and(|e| e.is_incomplete()),
                "{line:?} at {at}: {parsed:?}"
            );
        }
    }
}

/// What comes out of the guard for bytes that come so many at a time, and the trap at its end.
async fn through(bytes: &[u8], size: usize) -> (Vec<u8>, Option<String>) {
    let mut guard = Guard::new(Packets { bytes, size });
    let (mut seen, mut buf) = (Vec::new(), [0; 50]);
    loop {
        match guard.read(&mut buf).await {
            Ok(0) => return (seen, None),
            Ok(count) => seen.extend_from_slice(&buf[..count]),
            Err(e) => return (seen, Some(e.to_string())),
        }
    }
}

#[tokio::test]
async fn complete_lines_and_literals_are_handed_on_and_a_trap_takes_nothing_with_it_but_its_own_line()
 {
    let body = "(".repeat(9_000);
    let honest = format!("* 1 FETCH (UID 7 BODY[] {{9000}}\r\n{body})\r\nA1 OK\r\n* 2 EXI");
    let trapped = format!("* 3 EXISTS\r\n* OK {body}\r\n* SEARCH {{4}}\r\nA1 OK\r\n");
    let shown = trapped.split_inclusive('\n').take(2).collect::<String>();
    for size in [1, 2, 3, 100, 5_000, usize::MAX] {
        let (seen, trap) = through(honest.as_bytes(), size).await;
        assert_eq!((seen.as_slice(), trap), (honest.as_bytes(), None), "{size}");
        let (seen, trap) = through(trapped.as_bytes(), size).await;
        assert_eq!(seen, shown.as_bytes(), "{size}");
        assert_eq!(trap, Some(Trap::StrayLiteral.to_string()), "{size}");
    }
}

proptest::proptest! {
    #[test]
    fn whatever_the_guard_passes_never_panics_the_parser_and_they_agree_where_responses_end(bytes in r#"(\* [0-9]? ?FETCH \(|[A-Z\[\]<0> ]{0,6}|\{[0-9]{1,2}\}|\(|\)|"|\\|\r\n|BODY\[\] |INTERNALDATE |NIL|é|\* OK \[ALERT\]|\* LIST \(\) "/" |\* STATUS |\* ID |\* CAPABILITY ){0,24}"#) {
        let mut seen = bytes.into_bytes();
        let mut scan = Scan::new();
        if scan.feed(&mut seen).is_ok() {
            let (mut rest, mut parsed) = (seen.as_slice(), 0);
            while let Ok((left, _)) = imap_proto::Response::parse(rest) {
                rest = left;
                parsed += 1;
            }
            if rest.is_empty() {
                proptest::prop_assert_eq!(scan.responses, parsed);
            }
        }
    }
}
