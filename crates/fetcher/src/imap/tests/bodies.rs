//! Bodies that come wrongly are never taken in.

use super::*;
use crate::imap::bodies::{Intake, Source};
use crate::imap::folder::Folder;
use crate::imap::listing::Selected;
use crate::imap::session::Memory;

fn source(memory: &Memory) -> Source<'_> {
    Source {
        whole: true,
        gmail: false,
        memory,
    }
}

#[tokio::test]
async fn pieces_that_begin_elsewhere_are_never_glued_together() {
    let folder = tempfile::tempdir().unwrap();
    let spool = spool::Spool::open(folder.path()).unwrap();
    let (port, _) = serve(|peer| {
        peer.say(CAPS);
        for _ in 0..2 {
            // A server that ignores the offset sends the beginning twice.
            let tag = peer.tag();
            let piece = vec![b'x'; 256 * 1024];
            peer.say(format!("* 1 FETCH (UID 1 BODY[]<0> {{{}}}\r\n", piece.len()).as_bytes());
            peer.say(&piece);
            peer.say(format!(")\r\n{tag} OK\r\n").as_bytes());
        }
    });
    let mailbox = mailbox(port);
    let (mut connection, _) = connect(&mailbox, SOON).await.unwrap();
    let mut inbox = Folder::new("INBOX");
    inbox.select(Selected {
        uidvalidity: 1,
        uidnext: None,
        read_only: false,
        modseq: None,
    });
    inbox.pending.push_back(Listed {
        uid: 1,
        size: Some(600_000),
        deleted: false,
        arrived: None,
    });
    let taken = tokio::sync::Notify::new();
    let memory = Memory::default();
    let said = Intake::new(
        &mut connection,
        &spool,
        &mailbox,
        &mut inbox,
        &taken,
        source(&memory),
    )
    .run(|_| false)
    .await
    .unwrap_err()
    .to_string();
    assert!(said.contains("answered with another part"), "{said}");
    assert_eq!(spool.undelivered("support").unwrap(), 0);
}

#[tokio::test]
async fn a_connection_lost_within_a_body_leaves_nothing_in_the_spool() {
    let folder = tempfile::tempdir().unwrap();
    let spool = spool::Spool::open(folder.path()).unwrap();
    let (port, _) = serve(|peer| {
        peer.say(CAPS);
        peer.tag();
        peer.say(b"* 1 FETCH (UID 1 BODY[] {500}\r\nFrom: a@example.com\r\n\r\nhalf");
    });
    let mailbox = mailbox(port);
    let (mut connection, _) = connect(&mailbox, SOON).await.unwrap();
    let mut inbox = Folder::new("INBOX");
    inbox.select(Selected {
        uidvalidity: 1,
        uidnext: None,
        read_only: false,
        modseq: None,
    });
    inbox.pending.push_back(Listed {
        uid: 1,
        size: Some(500),
        deleted: false,
        arrived: None,
    });
    let taken = tokio::sync::Notify::new();
    let memory = Memory::default();
    let said = Intake::new(
        &mut connection,
        &spool,
        &mailbox,
        &mut inbox,
        &taken,
        source(&memory),
    )
    .run(|_| false)
    .await
    .unwrap_err()
    .to_string();
    assert!(said.contains("in the middle"), "{said}");
    assert_eq!(spool.undelivered("support").unwrap(), 0);
    assert_eq!(
        spool.unknown("support", "INBOX", 1, &[1]).unwrap(),
        [1],
        "it is fetched again"
    );
}
