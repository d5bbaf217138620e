//! The key file's formats and permissions, and what a sealed value refuses.

use super::*;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

fn place(row: &str) -> Place<'_> {
    Place {
        table: "token",
        row,
        column: "refresh_token",
    }
}

fn write(folder: &Path, name: &str, bytes: &[u8], mode: u32) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, bytes).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    path
}

#[test]
fn a_sealed_text_opens_only_in_its_own_row_and_with_its_own_key() {
    let key = Key::from_bytes([1; 32]);
    let sealed = key.seal(&place("a"), &Secret::new("hush")).unwrap();
    assert_eq!(key.open(&place("a"), &sealed).unwrap().expose(), "hush");
    assert!(matches!(
        key.open(&place("b"), &sealed),
        Err(SealError::Damaged)
    ));
    let elsewhere = Place {
        column: "access_token",
        ..place("a")
    };
    assert!(matches!(
        key.open(&elsewhere, &sealed),
        Err(SealError::Damaged)
    ));
    assert!(matches!(
        Key::from_bytes([2; 32]).open(&place("a"), &sealed),
        Err(SealError::OtherKey)
    ));
}

#[test]
fn every_altered_byte_and_every_cut_is_noticed() {
    let key = Key::from_bytes([1; 32]);
    let sealed = key.seal(&place("a"), &Secret::new("hush")).unwrap();
    for at in 0..sealed.len() {
        let mut bent = sealed.clone();
        bent[at] ^= 1;
        assert!(key.open(&place("a"), &bent).is_err(), "byte {at}");
        assert!(key.open(&place("a"), &sealed[..at]).is_err(), "cut at {at}");
    }
}

#[test]
fn the_same_text_never_looks_the_same_twice() {
    let key = Key::from_bytes([1; 32]);
    let seal = || key.seal(&place("a"), &Secret::new("hush")).unwrap();
    assert_ne!(seal(), seal());
}

#[test]
fn a_key_is_read_as_base64_hex_or_raw() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = [0xAB_u8; 32];
    let expected = Key::from_bytes(bytes).id;
    let forms: [Vec<u8>; 5] = [
        bytes.to_vec(),
        "ab".repeat(32).into_bytes(),
        format!("{}\n", "AB".repeat(32)).into_bytes(),
        format!(
            "{}\n",
            base64::engine::general_purpose::STANDARD.encode(bytes)
        )
        .into_bytes(),
        URL_SAFE_NO_PAD.encode(bytes).into_bytes(),
    ];
    for (i, form) in forms.iter().enumerate() {
        let path = write(folder.path(), &format!("key{i}"), form, 0o600);
        assert_eq!(Key::read(&path).unwrap().id, expected, "form {i}");
    }
}

#[test]
fn what_is_not_a_key_is_refused_without_quoting_it() {
    let folder = tempfile::tempdir().unwrap();
    for (i, bad) in [
        &b""[..],
        b"short",
        &[b'a'; 63],
        &[0xFF; 33],
        &[b'x'; 64],
        &[b'A'; 9000],
    ]
    .iter()
    .enumerate()
    {
        let path = write(folder.path(), &format!("bad{i}"), bad, 0o600);
        let error = Key::read(&path).unwrap_err();
        assert!(
            matches!(error, KeyError::Malformed { .. }),
            "bad {i}: {error}"
        );
    }
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for mode in [0o640, 0o604, 0o620] {
        let path = write(folder.path(), "key", &[7; 32], mode);
        let error = Key::read(&path).unwrap_err();
        assert!(error.to_string().contains("chmod 600"), "{error}");
    }
}

#[test]
fn a_key_is_made_once_privately_and_never_beside_an_existing_database() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("postern.key");
    assert!(matches!(
        Key::read_or_make(&path, false),
        Err(KeyError::Missing { .. })
    ));
    assert!(!path.exists());
    let made = Key::read_or_make(&path, true).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    assert_eq!(Key::read_or_make(&path, true).unwrap().id, made.id);
    assert_eq!(Key::read_or_make(&path, false).unwrap().id, made.id);
    assert_eq!(
        std::fs::read_dir(folder.path()).unwrap().count(),
        1,
        "no draft is left"
    );
    assert_eq!(format!("{made:?}"), "***");
}
