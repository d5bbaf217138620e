//! Lying servers on loopback: every trap ends as a clean error of this connection, soon, and in little memory.

mod bodies;
mod packets;
mod sign_in;
mod traps;
mod watch;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread::JoinHandle;
use std::time::Duration;

use provider_template::Tls;
use token_store::accounts::Mailbox;
use token_store::{Credential, Secret};

use super::fuzz::bearer;
use super::*;

/// The server's end of one connection.
struct Peer {
    reader: BufReader<TcpStream>,
    out: TcpStream,
    /// What the client sent.
    got: Vec<String>,
}

impl Peer {
    /// Fails quietly: the client may be gone, which is what most tests are about.
    fn say(&mut self, bytes: &[u8]) {
        let _ = self.out.write_all(bytes);
    }

    /// The next line, without its end; empty at the end of the connection.
    fn hear(&mut self) -> String {
        let mut line = String::new();
        let _ = self.reader.read_line(&mut line);
        let line = line.trim_end_matches("\r\n").to_owned();
        self.got.push(line.clone());
        line
    }

    /// The tag of the next line.
    fn tag(&mut self) -> String {
        self.hear().split(' ').next().unwrap_or_default().to_owned()
    }
}

/// Serves one connection by a script; the thread gives what the client sent.
fn serve(script: impl FnOnce(&mut Peer) + Send + 'static) -> (u16, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let thread = std::thread::spawn(move || {
        let (out, _) = listener.accept().unwrap();
        out.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut peer = Peer {
            reader: BufReader::new(out.try_clone().unwrap()),
            out,
            got: Vec::new(),
        };
        script(&mut peer);
        peer.got
    });
    (port, thread)
}

pub(crate) fn mailbox(port: u16) -> Mailbox {
    Mailbox {
        port,
        ..super::fuzz::mailbox()
    }
}

/// Bounds a wait in tests: long enough for a busy machine, short enough to fail.
const SOON: Duration = Duration::from_millis(600);
const CAPS: &[u8] =
    b"* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=XOAUTH2 AUTH=OAUTHBEARER IDLE] ready\r\n";

/// Connects to a server that answers the first command with these bytes (`TAG` stands for its tag), then closes or stays silent.
async fn answered(answer: Vec<u8>, close: bool) -> Connection {
    let (port, _) = serve(move |peer| {
        peer.say(CAPS);
        let tag = peer.tag();
        for part in answer.split_inclusive(|&b| b == b'\n') {
            let text = String::from_utf8_lossy(part);
            // Only lines with the tag are rewritten: the others may be no text.
            if text.starts_with("TAG") {
                peer.say(text.replacen("TAG", &tag, 1).as_bytes())
            } else {
                peer.say(part)
            }
        }
        if !close {
            std::thread::sleep(Duration::from_secs(3));
        }
    });
    connect(&mailbox(port), SOON).await.unwrap().0
}
