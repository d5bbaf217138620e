//! Answers that come in two packets, from a server that then has nothing more to say.

use tokio::io::{AsyncWriteExt as _, duplex};

use super::*;
use crate::imap::capabilities::Capabilities;

#[tokio::test(start_paused = true)]
async fn a_line_is_read_wherever_a_packet_ends_in_it() {
    for greeting in [
        "* OK [CAPABILITY IMAP4rev1 ID] x\r\n",
        "* OK [CAPABILITY IMAP4rev1 AUTH=X] x\r\n",
        "* OK [ALERT] x\r\n",
        "* OK x\r\n",
    ] {
        for at in 1..greeting.len() {
            let (mut server, client) = duplex(1024);
            let mut connection = Connection::new(client, SOON);
            let (first, second) = greeting.as_bytes().split_at(at);
            let say = async {
                server.write_all(first).await.unwrap();
                // The clock stands still until the client has read that, and waits for more.
                tokio::time::sleep(SOON / 2).await;
                server.write_all(second).await.unwrap();
            };
            let (heard, ()) = tokio::join!(connection.greeting(Capabilities::from_response), say);
            assert!(heard.is_ok(), "{greeting:?} cut at {at}: {heard:?}");
        }
    }
}
