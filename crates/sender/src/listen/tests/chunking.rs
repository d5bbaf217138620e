//! BDAT: every octet counted, whatever it is, and a message only if all of its chunks were taken.
use super::*;

const ENVELOPE: &str = "MAIL FROM:<a@helpdesk.example>\r\nRCPT TO:<b@example.org>\r\n";

impl Talk {
    /// Says all of it at once, and hears these codes.
    async fn hears(&mut self, said: impl AsRef<[u8]>, codes: &[&str]) {
        let shown = said.as_ref().escape_ascii().to_string();
        self.say(said).await;
        for code in codes {
            let reply = self.reply().await;
            assert!(reply.starts_with(code), "{code} after {shown}: {reply}");
        }
    }
}

#[tokio::test]
async fn a_message_in_chunks_is_stored_byte_for_byte_dots_and_ends_and_all() {
    let server = Server::start().await;
    let mut talk = server.talk().await;
    let text = "Subject: x\r\n\r\n..\r\n.\r\nQUIT\r\n.\r\nno end";
    for size in 1..=text.len() {
        let mut said = ENVELOPE.to_owned();
        let mut codes = vec!["250", "250"];
        for piece in text.as_bytes().chunks(size) {
            said.push_str(&format!("BDAT {}\r\n", piece.len()));
            said.push_str(std::str::from_utf8(piece).expect("text"));
            codes.push("250 2.0.0 Ok: ");
        }
        said.push_str("BDAT 0 LAST\r\n");
        codes.push("250 2.0.0 Ok: accepted");
        talk.hears(said, &codes).await;
    }
    let claims = server.stored().await;
    assert_eq!(claims.len(), text.len());
    for claim in &claims {
        assert_eq!(server.text(claim).await.1, text.as_bytes());
    }
    talk.is_in_step().await;
}

#[tokio::test]
async fn one_chunk_is_a_message_and_data_may_follow_in_the_next() {
    let server = Server::start().await;
    let mut talk = server.talk().await;
    let size = MESSAGE.len();
    talk.hears(
        format!("{ENVELOPE}BDAT {size} LAST\r\n{MESSAGE}"),
        &["250", "250", "250 2.0.0 Ok: accepted"],
    )
    .await;
    talk.until_data().await;
    talk.hears(format!("{MESSAGE}.\r\n"), &["250"]).await;
    let empty = format!("{ENVELOPE}BDAT 0 LAST\r\n");
    talk.hears(empty, &["250", "250", "250"]).await;
    let claims = server.stored().await;
    assert_eq!(server.text(&claims[0]).await.1, MESSAGE.as_bytes());
    assert_eq!(server.text(&claims[1]).await.1, MESSAGE.as_bytes());
    assert_eq!(server.text(&claims[2]).await.1, b"");
}

/// Octets of a chunk that was not taken are never commands, and what comes after them is no message without them.
#[tokio::test]
async fn a_chunk_that_is_not_taken_is_read_to_its_last_octet_and_spoils_the_message() {
    let server = Server::start().await;
    let mut talk = server.talk().await;
    let evil = "RSET\r\nQUIT\r\n";
    let chunk = format!("BDAT {}\r\n{evil}", evil.len());
    let last = format!("BDAT {} LAST\r\n{evil}", evil.len());
    for (said, codes) in [
        // No transaction.
        (format!("{chunk}{last}NOOP\r\n"), &["503", "503", "250"][..]),
        // No recipient.
        (
            format!(
                "MAIL FROM:<a@helpdesk.example>\r\nRCPT TO:<no>\r\n{chunk}RCPT TO:<b@example.org>\r\n{last}RCPT TO:<b@example.org>\r\n"
            ),
            &["250", "501", "554 5.5.1", "503", "554 5.5.1", "503"],
        ),
        // After RSET there is nothing left of it.
        (
            format!("{ENVELOPE}{chunk}RSET\r\n{last}"),
            &["250", "250", "250", "250", "503"],
        ),
        // BDAT and DATA, recipients and senders do not mix.
        (
            format!("{ENVELOPE}{chunk}DATA\r\n{ENVELOPE}RSET\r\n"),
            &["250", "250", "250", "503 5.5.1", "503", "503", "250"],
        ),
        // A bare line end, in the middle and at the very end.
        (
            format!("{ENVELOPE}BDAT 3\r\na\nb{chunk}{last}NOOP\r\n"),
            &["250", "250", "554 5.6.0", "554 5.6.0", "554 5.6.0", "250"],
        ),
        (
            format!("{ENVELOPE}BDAT 2\r\na\rBDAT 2\r\na\n{last}"),
            &["250", "250", "250", "554 5.6.0", "554 5.6.0"],
        ),
        (
            format!("{ENVELOPE}BDAT 2 LAST\r\na\r"),
            &["250", "250", "554 5.6.0"],
        ),
        (
            format!("{ENVELOPE}BDAT 1 LAST\r\n\0"),
            &["250", "250", "554 5.6.0"],
        ),
        // A client that forgets RSET after a refused LAST begins anew.
        (
            format!("{ENVELOPE}BDAT 1 LAST\r\n\n{ENVELOPE}RSET\r\n"),
            &["250", "250", "554", "250", "250", "250"],
        ),
    ] {
        talk.hears(said, codes).await;
        talk.is_in_step().await;
        let mut fresh = server.talk().await;
        std::mem::swap(&mut talk, &mut fresh);
    }
    assert_eq!(server.waiting(), 0);
}

#[tokio::test]
async fn a_cr_and_its_lf_may_be_in_two_chunks() {
    let server = Server::start().await;
    let mut talk = server.talk().await;
    talk.hears(
        format!("{ENVELOPE}BDAT 2\r\na\rBDAT 0\r\nBDAT 2 LAST\r\n\nb"),
        &["250", "250", "250", "250", "250 2.0.0 Ok: accepted"],
    )
    .await;
    let [claim] = server.stored().await.try_into().expect("one message");
    assert_eq!(server.text(&claim).await.1, b"a\r\nb");
}

#[tokio::test]
async fn what_is_too_large_is_refused_and_read_all_the_same() {
    let server = Server::start().await;
    let mut talk = server.talk().await;
    let most = "x".repeat(usize::try_from(MAX_SIZE).expect("a size"));
    let too_large = format!("BDAT {} LAST\r\n{most}y", most.len() + 1);
    talk.hears(
        format!("{ENVELOPE}{too_large}"),
        &["250", "250", "552 5.3.4"],
    )
    .await;
    let one_more = format!("BDAT {}\r\n{most}BDAT 1\r\nyBDAT 1 LAST\r\nz", most.len());
    talk.hears(
        format!("{ENVELOPE}{one_more}"),
        &["250", "250", "250", "552 5.3.4", "552 5.3.4"],
    )
    .await;
    talk.is_in_step().await;
    let exact = format!("BDAT {} LAST\r\n{most}", most.len());
    talk.hears(format!("{ENVELOPE}{exact}"), &["250", "250", "250"])
        .await;
    let [claim] = server.stored().await.try_into().expect("one message");
    assert_eq!(server.text(&claim).await.1, most.as_bytes());
}

/// What follows can't be told from commands, so the session ends before any of it is read as one.
#[tokio::test]
async fn a_size_that_can_not_be_counted_ends_the_session() {
    let server = Server::start().await;
    let smuggled = format!("{ENVELOPE}DATA\r\n{MESSAGE}.\r\n");
    let long = format!("BDAT {} LAST\r\n", "0".repeat(5000));
    for line in [
        "BDAT\r\n",
        "BDAT 99999999999999999999999 LAST\r\n",
        "BDAT 10 LAST\n",
        "BDAT 10\0LAST\r\n",
        "bdat ten\r\n",
        &long,
    ] {
        let mut talk = server.talk().await;
        talk.hears(
            format!("{ENVELOPE}{line}{smuggled}"),
            &["250", "250", "501 5.5.4", "421 4.5.0", "closed"],
        )
        .await;
    }
    assert_eq!(server.waiting(), 0);
}

#[tokio::test]
async fn a_connection_lost_inside_a_chunk_or_between_two_leaves_nothing() {
    let server = Server::start().await;
    for said in [
        "BDAT 5\r\nhello",
        "BDAT 5 LAST\r\nhell",
        "BDAT 5 LAST\r\n",
        "BDAT 5\r\nhelloQUIT\r\n",
    ] {
        let mut talk = server.talk().await;
        talk.say(format!("{ENVELOPE}{said}")).await;
        talk.stream.shutdown().await.expect("a socket");
        while talk.code().await != "closed" {}
    }
    assert_eq!(server.waiting(), 0);
}

/// Replies are not kept back while the server waits for a chunk that is still to come.
#[tokio::test]
async fn the_replies_before_a_chunk_come_before_the_chunk() {
    let server = Server::start().await;
    let mut talk = server.talk().await;
    talk.hears(format!("{ENVELOPE}BDAT 5 LAST\r\nhe"), &["250", "250"])
        .await;
    talk.hears("llo", &["250"]).await;
    assert_eq!(server.waiting(), 1);
}

#[tokio::test]
async fn on_shutdown_a_message_of_which_some_has_come_is_taken() {
    let server = Server::start().await;
    let (mut busy, mut spoilt) = (server.talk().await, server.talk().await);
    busy.hears(format!("{ENVELOPE}BDAT 5\r\nhello"), &["250", "250", "250"])
        .await;
    spoilt
        .hears(format!("{ENVELOPE}BDAT 1\r\n\n"), &["250", "250", "554"])
        .await;
    server.shutdown.cancel();
    spoilt.hears("", &["421 4.3.2", "closed"]).await;
    busy.hears(
        "BDAT 5 LAST\r\nworld",
        &["250 2.0.0 Ok: accepted", "421 4.3.2"],
    )
    .await;
    assert_eq!(server.waiting(), 1);
}

/// A message that the disk does not take is refused for now, whichever command brings it; the session stays in step, and the next one is
/// taken once the disk is well.
#[tokio::test]
async fn a_message_that_can_not_be_written_hears_451_until_its_end() {
    let server = Server::with_limit(8 << 20).await;
    let (mut chunks, mut data) = (server.talk().await, server.talk().await);
    chunks
        .hears(format!("{ENVELOPE}BDAT 1\r\nx"), &["250", "250", "250"])
        .await;
    data.until_data().await;
    // Large messages are files in this folder.
    let folder = server.folder.path().join("spool");
    std::fs::remove_dir_all(&folder).expect("a folder");
    let large = "y".repeat(1 << 20);
    chunks.say(format!("BDAT {}\r\n{large}", large.len())).await;
    chunks
        .hears(
            "BDAT 4\r\nRSETBDAT 4 LAST\r\nQUIT",
            &["451 4.3.0", "451 4.3.0", "451 4.3.0"],
        )
        .await;
    data.say(format!("{large}\r\n.\r\n")).await;
    data.hears(ENVELOPE, &["451 4.3.0", "451 4.3.0", "503"])
        .await;
    std::fs::create_dir(&folder).expect("a folder");
    for mut talk in [chunks, data] {
        talk.is_in_step().await;
        talk.hears(
            format!("{ENVELOPE}BDAT 4 LAST\r\nText"),
            &["250", "250", "250"],
        )
        .await;
    }
    assert_eq!(server.waiting(), 2);
}
