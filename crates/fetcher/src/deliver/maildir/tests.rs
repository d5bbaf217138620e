//! Real maildirs: what is filed, found again, and left behind.

use std::os::unix::fs::PermissionsExt as _;

use super::*;

const HASH: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn job(number: i64, bytes: &[u8], repeated: bool) -> Job {
    Job {
        number,
        id: format!("{number}-0123456789abcdef"),
        attempt: 1 + u32::from(repeated),
        sha256: HASH.into(),
        size: bytes.len() as u64,
        repeated,
        done_for: Vec::new(),
        message: Stored::Inline(bytes.to_vec()),
    }
}

fn maildir(folder: &Path) -> Maildir {
    Maildir::new(folder, "abc", Duration::from_secs(20))
}

fn names(folder: &Path, part: &str) -> Vec<String> {
    let entries = std::fs::read_dir(folder.join(part)).unwrap();
    let names = entries.map(|e| e.unwrap().file_name().to_string_lossy().into_owned());
    names.collect()
}

fn why(finished: Finished) -> String {
    let Outcome::Delivered { why } = finished.outcome else {
        panic!("{finished:?}")
    };
    why
}

const NAME: &str = "0000000007.Pabc-0123456789abcdef,S=6";

#[tokio::test]
async fn a_message_is_filed_for_its_owner_alone_in_a_maildir_that_is_made_for_it() {
    let top = tempfile::tempdir().unwrap();
    let folder = top.path().join("support");
    let done = maildir(&folder)
        .deliver(job(7, b"\x00hi\r\n\xff", false))
        .await;
    assert_eq!(why(done), format!("filed as new/{NAME}"));
    let file = folder.join("new").join(NAME);
    assert_eq!(std::fs::read(&file).unwrap(), b"\x00hi\r\n\xff");
    for (path, mode) in [
        (folder.as_path(), 0o700),
        (&folder.join("tmp"), 0o700),
        (&file, 0o600),
    ] {
        let found = std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(found, mode, "{}", path.display());
    }
    assert_eq!(names(&folder, "tmp"), [""; 0]);
    assert!(!folder.join("maildirfolder").exists());
}

#[tokio::test]
async fn a_folder_within_a_maildir_is_marked_as_one() {
    let top = tempfile::tempdir().unwrap();
    let folder = top.path().join(".Tickets");
    why(maildir(&folder).deliver(job(7, b"hello\n", false)).await);
    assert!(folder.join("maildirfolder").exists());
}

#[tokio::test]
async fn a_large_message_is_copied_from_its_file() {
    let top = tempfile::tempdir().unwrap();
    let body = top.path().join("body");
    let bytes: Vec<u8> = (0..=255).cycle().take(3_000_000).collect();
    std::fs::write(&body, &bytes).unwrap();
    let mut large = job(7, &bytes, false);
    large.message = Stored::File(File::open(&body).unwrap());
    why(maildir(top.path()).deliver(large).await);
    let name = &names(top.path(), "new")[0];
    assert_eq!(
        std::fs::read(top.path().join("new").join(name)).unwrap(),
        bytes
    );
}

#[tokio::test]
async fn a_repeat_finds_the_message_wherever_a_reader_has_moved_it() {
    let top = tempfile::tempdir().unwrap();
    let maildir = maildir(top.path());
    why(maildir.deliver(job(7, b"hello\n", false)).await);
    let repeat = || maildir.deliver(job(7, b"hello\n", true));
    assert_eq!(
        why(repeat().await),
        format!("it was there already, as new/{NAME}")
    );
    for seen in [
        format!("{NAME}:2,S"),
        format!("{NAME},W=7:2,"),
        format!("{NAME}:2,ST"),
    ] {
        let now = std::fs::read_dir(top.path().join("new")).unwrap();
        let before = now.chain(std::fs::read_dir(top.path().join("cur")).unwrap());
        let before = before.map(|e| e.unwrap().path()).next().unwrap();
        std::fs::rename(before, top.path().join("cur").join(&seen)).unwrap();
        assert_eq!(
            why(repeat().await),
            format!("it was there already, as cur/{seen}")
        );
    }
    assert_eq!(names(top.path(), "new"), [""; 0]);
    why(maildir.deliver(job(70, b"hello\n", true)).await);
    assert_eq!(
        names(top.path(), "new").len(),
        1,
        "another number is another message"
    );
}

#[tokio::test]
async fn a_repeat_removes_what_a_killed_attempt_left_aside() {
    let top = tempfile::tempdir().unwrap();
    let maildir = maildir(top.path());
    why(maildir.deliver(job(1, b"first\n", false)).await);
    let left = top
        .path()
        .join("tmp/0000000007.Pabc-0123456789abcdef.00ff00ff");
    let others = top
        .path()
        .join("tmp/0000000008.Pabc-0123456789abcdef.00ff00ff");
    std::fs::write(&left, b"hel").unwrap();
    std::fs::write(&others, b"").unwrap();
    assert_eq!(
        why(maildir.deliver(job(7, b"hello\n", true)).await),
        format!("filed as new/{NAME}")
    );
    assert!(!left.exists() && others.exists());
}

#[tokio::test]
async fn what_cannot_be_written_is_tried_again_and_leaves_nothing() {
    let top = tempfile::tempdir().unwrap();
    let nowhere = top.path().join("not/mounted");
    let finished = maildir(&nowhere).deliver(job(7, b"hello\n", false)).await;
    assert!(
        matches!(&finished.outcome, Outcome::Retry { why, .. } if why.contains("not/mounted: it can't be made")),
        "{finished:?}"
    );
    let mut short = job(7, b"hello\n", false);
    short.size = 7;
    let finished = maildir(top.path()).deliver(short).await;
    assert!(
        matches!(finished.outcome, Outcome::Retry { .. }),
        "{finished:?}"
    );
    assert_eq!(
        (names(top.path(), "tmp"), names(top.path(), "new")),
        (vec![], vec![])
    );
}

#[test]
fn a_look_leaves_nothing_behind() {
    let top = tempfile::tempdir().unwrap();
    let folder = top.path().join("m");
    assert!(
        look(&folder)
            .unwrap()
            .contains("made with the first message")
    );
    assert!(!folder.exists());
    make(&folder).unwrap();
    assert_eq!(look(&folder).unwrap(), "is there and can be written");
    assert_eq!(names(&folder, "tmp"), [""; 0]);
    assert!(look(&top.path().join("not/mounted")).is_err());
}

#[tokio::test]
async fn a_maildir_that_was_made_by_half_is_completed() {
    for left in [&["tmp"][..], &["tmp", "cur"], &["new"]] {
        let top = tempfile::tempdir().unwrap();
        let folder = top.path().join("support");
        for part in left {
            std::fs::create_dir_all(folder.join(part)).unwrap();
        }
        let done = maildir(&folder).deliver(job(7, b"bytes\n", false)).await;
        assert_eq!(why(done), format!("filed as new/{NAME}"));
        assert_eq!(names(&folder, "cur"), [""; 0]);
        assert_eq!(names(&folder, "tmp"), [""; 0]);
    }
}
