//! Time, paused: how long each phase of a session may take, and what is said when it has.
use super::scripted::shared;
use super::*;
use tokio::time::{Instant, sleep};

const GREET: &str = "EHLO x\r\n";
const ENVELOPE: &str = "EHLO x\r\nMAIL FROM:<a@helpdesk.example>\r\nRCPT TO:<b@example.org>\r\n";

/// A client that says this, piece by piece with pauses between, and then nothing: the last words it hears, and after how many seconds.
async fn last_words(pieces: &[&str], pause: Duration) -> (String, u64) {
    let folder = tempfile::tempdir().expect("a folder");
    let spool = Spool::open(folder.path()).expect("a spool");
    let rules = Rules {
        max_size: MAX_SIZE,
        bare_newlines: BareNewlines::Refuse,
    };
    let (mut near, far) = tokio::io::duplex(64 * 1024);
    let session = Session::new(
        far,
        Client::new("local".into(), None),
        shared(&spool, rules),
    )
    .run();
    let begun = Instant::now();
    let client = async {
        for piece in pieces {
            // The session may have ended before all was said.
            if near.write_all(piece.as_bytes()).await.is_err() {
                break;
            }
            sleep(pause).await;
        }
        let mut heard = String::new();
        near.read_to_string(&mut heard).await.expect("a stream");
        heard
    };
    let (heard, ended) = tokio::join!(client, async {
        session.await;
        begun.elapsed().as_secs()
    });
    assert_eq!(
        spool
            .counts(Direction::Out, "support")
            .expect("counts")
            .waiting,
        0
    );
    let last = heard.lines().last().unwrap_or_default().to_owned();
    (last, ended)
}

#[tokio::test(start_paused = true)]
async fn silence_ends_each_phase_in_its_time_and_with_its_words() {
    let data = format!("{ENVELOPE}DATA\r\nSubject: x\r\n");
    let chunk = format!("{ENVELOPE}BDAT 10\r\nSubject");
    let between = format!("{ENVELOPE}BDAT 4\r\nText");
    for (said, words, seconds) in [
        ("", "421 4.4.2 No command", 300),
        ("NOOP", "421 4.4.2 No command", 300),
        (GREET, "421 4.4.2 No command", 300),
        (ENVELOPE, "421 4.4.2 No command", 300),
        (&data, "421 4.4.2 The message stopped", 180),
        (&chunk, "421 4.4.2 The message stopped", 180),
        (&between, "421 4.4.2 No command", 300),
        // What is not wanted is waited for no longer than the rest.
        ("BDAT 10\r\n", "421 4.4.2 The message stopped", 180),
    ] {
        let (last, ended) = last_words(&[said], Duration::ZERO).await;
        assert!(last.starts_with(words), "{said:?}: {last}");
        // The farewell lingers for a moment.
        assert!(
            (seconds..seconds + 3).contains(&ended),
            "{said:?}: {ended} s"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_drips_is_let_go_too() {
    let minute = Duration::from_secs(60);
    // Into a message, a chunk, many chunks, and a chunk that is refused.
    let endless = "BDAT 100000\r\n";
    for (begin, piece, words, minutes) in [
        ("DATA\r\n", "x", "421 4.4.2 The message did not end", 60),
        (endless, "x", "421 4.4.2 The message did not end", 60),
        ("", "BDAT 1\r\nx", "421 4.4.2 The message did not end", 60),
        (
            "BDAT 1\r\n\nBDAT 100000\r\n",
            "x",
            "421 4.4.2 The message did not end",
            5,
        ),
    ] {
        let begin = format!("{ENVELOPE}{begin}");
        let mut pieces = vec![begin.as_str()];
        pieces.extend([piece; 90]);
        let (last, ended) = last_words(&pieces, minute).await;
        assert!(last.starts_with(words), "{begin:?}: {last}");
        let expected = minutes * 60..(minutes + 1) * 60 + 3;
        assert!(expected.contains(&ended), "{begin:?}: {ended} s");
    }
}

/// A command has five minutes from its first byte to its last, however it comes.
#[tokio::test(start_paused = true)]
async fn a_dripped_command_is_no_longer_waited_for_than_none() {
    let pieces = ["N"; 20];
    let (last, ended) = last_words(&pieces, Duration::from_secs(60)).await;
    assert!(last.starts_with("421 4.4.2 No command"), "{last}");
    assert!((300..303).contains(&ended), "{ended} s");
}
