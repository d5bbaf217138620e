//! What a sealed parcel shows, and to whom it opens.

use super::*;
use provider_template::{Config, Entry};

const PASSPHRASE: &str = "correct horse battery";

fn parcel() -> Parcel {
    let entry = Entry {
        name: "planted-name".to_owned(),
        valid: true,
        config: Config {
            client_secret: Secret::new("planted-secret"),
            private_key: Secret::new("planted-key"),
            ..Config::default()
        },
        rest: Default::default(),
    };
    let token = |subject: &str| Carried {
        id: TokenId::for_subject("planted-name", subject),
        refresh_token: Secret::new("planted-token"),
        obtained_at: Some(1),
        expires_at: None,
        identity: Some("planted@example.com".to_owned()),
    };
    Parcel {
        entries: vec![entry],
        tokens: vec![token(""), token("anna")],
    }
}

fn sealed() -> String {
    seal(&parcel(), &Secret::new(PASSPHRASE)).unwrap()
}

#[test]
fn what_was_sealed_opens_with_its_passphrase_and_with_no_other() {
    let text = sealed();
    assert!(is_sealed(&text) && !text.contains("planted"));
    assert!(text.lines().all(|line| line.len() <= 80), "{text}");
    assert_eq!(open(&text, &Secret::new(PASSPHRASE)).unwrap(), parcel());
    let wrong = Secret::new("correct horse batterx");
    assert_eq!(open(&text, &wrong).unwrap_err(), SealedError::Wrong);
    assert_eq!(
        open(&text, &Secret::default()).unwrap_err(),
        SealedError::Wrong
    );
}

#[test]
fn two_seals_of_one_parcel_have_nothing_in_common() {
    let data = |text: &str| text.split_once("Salt").unwrap().1.to_owned();
    assert_ne!(data(&sealed()), data(&sealed()));
}

#[test]
fn other_line_ends_and_indentation_do_no_harm() {
    let text = sealed();
    let mailed = format!("\u{feff}---\r\n{}", text.replace('\n', "\r\n"));
    assert!(is_sealed(&mailed));
    let mailed = mailed.trim_start_matches('\u{feff}');
    assert_eq!(open(mailed, &Secret::new(PASSPHRASE)).unwrap(), parcel());
}

#[test]
fn a_weak_passphrase_is_refused_before_anything_is_sealed() {
    for weak in ["", "short", "aaaaaaaaaaaaaaaa", "abcdabcdabcd"] {
        let refused = seal(&parcel(), &Secret::new(weak)).unwrap_err();
        assert_eq!(refused, SealedError::Weak, "{weak}");
    }
}

#[test]
fn nothing_of_the_envelope_can_be_changed() {
    let text = sealed();
    for (from, to) in [
        ("Passes: 3", "Passes: 2"),
        ("Memory: 65536", "Memory: 32768"),
        ("Lanes: 4", "Lanes: 2"),
    ] {
        let changed = text.replace(from, to);
        assert_ne!(changed, text);
        let refused = open(&changed, &Secret::new(PASSPHRASE)).unwrap_err();
        assert_eq!(refused, SealedError::Wrong, "{to}");
    }
    let at = text.find("Data: |\n    ").unwrap() + 12;
    let other = if &text[at..=at] == "A" { "B" } else { "A" };
    let mut changed = text.clone();
    changed.replace_range(at..=at, other);
    let refused = open(&changed, &Secret::new(PASSPHRASE)).unwrap_err();
    assert_eq!(refused, SealedError::Wrong);
}

#[test]
fn a_forged_envelope_cannot_ask_for_all_memory_and_a_later_one_says_so() {
    let text = sealed();
    for (from, to, word) in [
        ("Memory: 65536", "Memory: 4000000000", "more memory"),
        ("Passes: 3", "Passes: 1000", "more memory"),
        ("Version: 1", "Version: 2", "later version"),
        ("argon2id", "argon3", "later version"),
        ("  Lanes: 4\n", "", "Lanes"),
        ("Data: |", "Other: |", "Data"),
    ] {
        let refused = open(&text.replace(from, to), &Secret::new(PASSPHRASE)).unwrap_err();
        assert!(refused.to_string().contains(word), "{to}: {refused}");
    }
}

#[test]
fn a_plain_document_is_not_taken_for_a_sealed_one() {
    for text in [
        "",
        "- Name: PosternSealed\n",
        "PosternSealedX: 1\n",
        "# PosternSealed:\nName: x\n",
    ] {
        assert!(!is_sealed(text), "{text}");
    }
}
