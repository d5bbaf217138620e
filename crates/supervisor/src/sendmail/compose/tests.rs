//! Messages as programs write them, and what becomes of them.

use std::io::BufReader;

use super::*;

const MANNER: Manner<'_> = Manner {
    ignore_dots: true,
    from: "root <root@host>",
    key: "k",
};

/// The message and what was found in it, read in pieces of `size` bytes.
fn made(text: &str, manner: Manner<'_>, size: usize) -> (String, Composed) {
    let mut out = Vec::new();
    let input = BufReader::with_capacity(size, text.as_bytes());
    let composed = compose(input, &mut out, manner).unwrap();
    (String::from_utf8(out).unwrap(), composed)
}

#[test]
fn line_ends_are_made_crlf_and_what_is_missing_is_added_however_the_input_is_cut() {
    let added = "From: root <root@host>\r\nX-Postern-Idempotency-Key: k\r\n";
    for (text, expected) in [
        (
            "Subject: a\n\nb\n",
            format!("Subject: a\r\n{added}\r\nb\r\n"),
        ),
        (
            "Subject: a\r\n\r\nb\r\nc\r\n",
            format!("Subject: a\r\n{added}\r\nb\r\nc\r\n"),
        ),
        (
            "Subject: a\n b\n\n\n\nb",
            format!("Subject: a\r\n b\r\n{added}\r\n\r\n\r\nb\r\n"),
        ),
        (
            "no header\nmore\n",
            format!("{added}\r\nno header\r\nmore\r\n"),
        ),
        (
            "From root Thu Jan 1\nSubject: a\n\n.\n..b\n",
            format!("Subject: a\r\n{added}\r\n.\r\n..b\r\n"),
        ),
        ("Subject: only\n", format!("Subject: only\r\n{added}\r\n")),
        (
            "Subject: x\n\nends with cr\r",
            format!("Subject: x\r\n{added}\r\nends with cr\r\n"),
        ),
        ("", format!("{added}\r\n")),
        (
            "\nbody: not a field\n",
            format!("{added}\r\nbody: not a field\r\n"),
        ),
        (
            "From: a@x\nX-Postern-Idempotency-Key: own\n\nb\n",
            "From: a@x\r\nX-Postern-Idempotency-Key: own\r\n\r\nb\r\n".to_owned(),
        ),
    ] {
        for size in 1..12 {
            assert_eq!(
                made(text, MANNER, size).0,
                expected,
                "{text:?} in pieces of {size}"
            );
        }
    }
}

#[test]
fn a_lone_dot_ends_the_message_unless_dots_are_ignored() {
    let dots = Manner {
        ignore_dots: false,
        ..MANNER
    };
    for (text, body) in [
        ("A: b\n\nx\n.\nafter\n", "x\r\n"),
        ("A: b\n\nx\r\n.\r\nafter\r\n", "x\r\n"),
        ("A: b\n\n.\n", ""),
        ("A: b\n\n..\n.x\n.\ny", "..\r\n.x\r\n"),
        ("A: b\n\nx\n.", "x\r\n.\r\n"),
        ("A: b\n.\nC: d\n", ""),
    ] {
        for size in 1..8 {
            let (message, _) = made(text, dots, size);
            let (_, found) = message.split_once("\r\n\r\n").unwrap();
            assert_eq!(found, body, "{text:?} in pieces of {size}");
        }
    }
}

#[test]
fn recipients_come_from_to_cc_and_bcc_groups_and_folded_lines_too_and_bcc_is_taken_out() {
    let text = "To: A <a@x.test>, friends: b@x.test,\n  \"C, D\" <c@x.test>;\nCC: a@x.test\nbcc: secret@x.test,\n\tother@x.test\nFrom: Me <me@x.test>\nSubject: s\n\nBcc: in the body\n";
    let (message, composed) = made(text, MANNER, 16);
    assert_eq!(
        composed.recipients,
        [
            "a@x.test",
            "b@x.test",
            "c@x.test",
            "secret@x.test",
            "other@x.test"
        ]
    );
    assert_eq!(composed.author.as_deref(), Some("me@x.test"));
    let (header, body) = message.split_once("\r\n\r\n").unwrap();
    assert!(
        !header.to_ascii_lowercase().contains("bcc")
            && !header.contains("secret")
            && !header.contains("other@"),
        "{header}"
    );
    assert_eq!(body, "Bcc: in the body\r\n");
}

#[test]
fn a_resent_message_goes_to_whom_it_is_resent() {
    let text = "To: old@x.test\nResent-To: new@x.test\nResent-Bcc: hidden@x.test\n\n";
    let (message, composed) = made(text, MANNER, 16);
    assert_eq!(composed.recipients, ["new@x.test", "hidden@x.test"]);
    assert!(!message.contains("hidden"), "{message}");
}

#[test]
fn a_header_section_without_end_is_refused() {
    let text = "X: y\n".repeat(300_000);
    let refused = compose(text.as_bytes(), Vec::new(), MANNER);
    assert!(matches!(refused, Err(ComposeError::Header)));
}
