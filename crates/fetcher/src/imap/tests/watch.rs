//! IDLE and servers that don't keep to it.

use super::*;
use crate::error::FetchError;
use crate::imap::watch::{Woken, idle};

/// IDLE against a script that has just read the IDLE command and is given its tag.
async fn idling(
    script: impl FnOnce(&mut Peer, &str) + Send + 'static,
) -> (Result<Woken, FetchError>, Vec<String>) {
    let (port, server) = serve(move |peer| {
        peer.say(CAPS);
        let tag = peer.tag();
        script(peer, &tag);
    });
    let (mut connection, _) = connect(&mailbox(port), SOON).await.unwrap();
    let until = tokio::time::Instant::now() + Duration::from_millis(300);
    let woken = idle(&mut connection, until, std::future::pending()).await;
    drop(connection);
    (woken, server.join().unwrap())
}

#[tokio::test]
async fn idle_that_is_refused_or_lost_is_an_error() {
    for (answer, says) in [
        ("TAG NO not now\r\n", "answered IDLE with NO not now"),
        ("TAG BAD what\r\n", "BAD what"),
        ("TAG OK done\r\n", "ended IDLE before it began"),
        ("+ idling\r\n", "closed the connection"),
        ("+ idling\r\n* BYE timeout\r\n", "BYE timeout"),
        ("+ idling\r\nTAG NO enough\r\n", "NO enough"),
        ("", "closed the connection"),
    ] {
        let (woken, _) =
            idling(move |peer, tag| peer.say(answer.replace("TAG", tag).as_bytes())).await;
        let said = woken.unwrap_err().to_string();
        assert!(said.contains(says), "{answer:?}: {said}");
    }
}

#[tokio::test]
async fn idle_ends_with_done_and_its_tagged_ok() {
    let (woken, got) = idling(|peer, tag| {
        peer.say(b"+ idling\r\n* 4 EXISTS\r\n");
        peer.hear();
        peer.say(format!("{tag} OK idle\r\n").as_bytes());
    })
    .await;
    assert_eq!(woken.unwrap(), Woken::News);
    assert_eq!(got[1], "DONE");
    // Time is up, but DONE is never answered: an error, not an endless wait.
    let (woken, _) = idling(|peer, _| {
        peer.say(b"+ idling\r\n");
        peer.hear();
        std::thread::sleep(Duration::from_secs(2));
    })
    .await;
    assert!(woken.unwrap_err().to_string().contains("no answer to IDLE"));
}
