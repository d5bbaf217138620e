//! Dialogues with the real listener over a real spool: good ones, bad ones, and those that end in the middle.
use super::*;
use provider_template::Tls;
use spool::{Direction, OutClaim, Stored};
use std::io::{self, Read};
use std::net::SocketAddr;
use token_store::Secret;
use token_store::accounts::{Auth, Relay, Sasl};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

mod chunking;
mod commands;
mod connections;
mod dialogues;
mod limits;
mod messages;
mod model;
mod scripted;
mod sign_in;
mod smuggling;
mod times;
mod tls;
mod wishes;

const MAX_SIZE: u64 = 100_000;
const MESSAGE: &str = "Subject: hello\r\n\r\nworld\r\n";

/// A listener with its spool; dropped, all of it ends.
struct Server {
    address: SocketAddr,
    spool: Spool,
    users: Store,
    shutdown: CancellationToken,
    tasks: JoinSet<()>,
    folder: tempfile::TempDir,
}

fn relays() -> Vec<Relay> {
    vec![Relay {
        name: "support".to_owned(),
        template: None,
        host: "smtp.example".to_owned(),
        port: 587,
        tls: Tls::Starttls,
        tls_ca_file: None,
        user: "user".to_owned(),
        auth: Auth::Password(Secret::new("x")),
        sasl: Sasl::Auto,
        senders: vec![
            "@helpdesk.example".to_owned(),
            "jörg@münchen.example".to_owned(),
        ],
        connections: 1,
        rate: None,
        keep_trying: Duration::from_secs(60),
        bounces_to: None,
        fallback: None,
        send_as: None,
        recipients: None,
        messages_per_connection: None,
        no_initial_response: false,
        paused: false,
        declared_in: None,
    }]
}

/// The usual rules for an address.
fn rules(listen: &str) -> Submission {
    Submission {
        listen: Listen::Tcp(listen.parse().expect("an address")),
        socket: SocketFile::default(),
        tls: Protection::None,
        sign_in: false,
        max_size: MAX_SIZE,
        bare_newlines: BareNewlines::Refuse,
        limits: Limits::default(),
    }
}

/// Into a spool, by the one relay; nobody may sign in yet.
fn post(folder: &tempfile::TempDir, spool: Spool) -> Post {
    let routes = Arc::new(Routes::new(&relays()).expect("a table"));
    let (_, routes) = watch::channel(routes);
    let key = token_store::seal::Key::from_bytes([7; 32]);
    let users = Store::open(&folder.path().join("accounts.db"), key).expect("a database");
    Post {
        routes,
        spool,
        users,
    }
}

impl Server {
    async fn start() -> Self {
        Self::with_limit(MAX_SIZE).await
    }

    async fn with_limit(max_size: u64) -> Self {
        Self::with(|rules| rules.max_size = max_size).await
    }

    /// On any port of this machine, with rules that the test has changed.
    async fn with(change: impl FnOnce(&mut Submission)) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let spool = Spool::open(folder.path()).expect("a spool");
        let mut rules = rules("127.0.0.1:0");
        change(&mut rules);
        let listener = Listener::bind(&rules.listen, rules.socket)
            .await
            .expect("a port");
        let Listener::Tcp(tcp) = &listener else {
            panic!("TCP was asked for")
        };
        let address = tcp.local_addr().expect("an address");
        let post = post(&folder, spool.clone());
        let users = post.users.clone();
        let shutdown = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let entrance = Entrance::new(listener, rules).expect("a certificate");
        tasks.spawn(listen(entrance, post, shutdown.clone()));
        Self {
            address: SocketAddr::from(([127, 0, 0, 1], address.port())),
            spool,
            users,
            shutdown,
            tasks,
            folder,
        }
    }

    async fn talk(&self) -> Talk {
        let mut talk = Talk::over(
            TcpStream::connect(self.address)
                .await
                .expect("a connection"),
        );
        assert_eq!(talk.code().await, "220");
        talk.say("EHLO client.example\r\n").await;
        assert_eq!(talk.code().await, "250");
        talk
    }

    async fn stored(&self) -> Vec<OutClaim> {
        self.spool
            .claim_out("support", 10_000, Duration::from_secs(60))
            .await
            .expect("claims")
    }

    fn waiting(&self) -> u64 {
        self.spool
            .counts(Direction::Out, "support")
            .expect("counts")
            .waiting
    }

    /// The Received field, and the text as the client sent it.
    async fn text(&self, claim: &OutClaim) -> (String, Vec<u8>) {
        text_of(&self.spool, claim).await
    }

    /// The text of a message, split after the Received field.
    async fn whole(&self, claim: &OutClaim) -> (String, Vec<u8>) {
        whole_of(&self.spool, claim).await
    }
}

/// The Received field, and the text as the client sent it: without the Date and Message-ID that were added.
async fn text_of(spool: &Spool, claim: &OutClaim) -> (String, Vec<u8>) {
    let (received, mut text) = whole_of(spool, claim).await;
    let host = format!("@{}>\r\n", host_name());
    let header = trace::header_section(&text);
    let added = memchr::memmem::rfind(header, b"Message-ID: <");
    if let Some(at) = added.filter(|_| header.ends_with(host.as_bytes())) {
        let end = header.len();
        text.drain(at..end);
        let header = &text[..at];
        let date = memchr::memmem::rfind(header, b"Date: ").expect("both are added");
        text.drain(date..at);
    }
    (received, text)
}

/// The text of a message, split after the Received field.
async fn whole_of(spool: &Spool, claim: &OutClaim) -> (String, Vec<u8>) {
    let mut bytes = match spool.open_body(claim.message).await.expect("a body") {
        Stored::Inline(bytes) => bytes,
        Stored::File(mut file) => {
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).expect("a file");
            bytes
        }
    };
    assert_eq!(bytes.len() as u64, claim.size);
    let end = memchr::memmem::find_iter(&bytes, b"\r\n")
        .map(|at| at + 2)
        .nth(2)
        .expect("three lines");
    let text = bytes.split_off(end);
    (String::from_utf8(bytes).expect("text"), text)
}

/// A client's end of a session.
struct Talk<S = TcpStream> {
    stream: S,
    heard: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Talk<S> {
    fn over(stream: S) -> Self {
        Self {
            stream,
            heard: Vec::new(),
        }
    }

    async fn say(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream
            .write_all(bytes.as_ref())
            .await
            .expect("the server listens");
    }

    /// The next reply, all its lines.
    async fn reply(&mut self) -> String {
        let mut reply = String::new();
        loop {
            while let Some(end) = memchr::memchr(b'\n', &self.heard) {
                let line: Vec<u8> = self.heard.drain(..=end).collect();
                let line = String::from_utf8(line).expect("a reply is text");
                assert!(line.ends_with("\r\n"), "{line:?}");
                let last = line.as_bytes().get(3) == Some(&b' ');
                reply.push_str(&line);
                if last {
                    return reply;
                }
            }
            let read = tokio::time::timeout(
                Duration::from_secs(20),
                self.stream.read_buf(&mut self.heard),
            );
            if read.await.expect("a reply in time").expect("a connection") == 0 {
                return "closed".to_owned();
            }
        }
    }

    async fn code(&mut self) -> String {
        let reply = self.reply().await;
        reply
            .chars()
            .take_while(char::is_ascii_alphanumeric)
            .collect()
    }

    async fn ask(&mut self, line: &str) -> String {
        self.say(format!("{line}\r\n")).await;
        self.reply().await
    }

    /// MAIL, one RCPT and DATA, up to the go-ahead.
    async fn until_data(&mut self) {
        self.say("MAIL FROM:<a@helpdesk.example>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n")
            .await;
        assert_eq!(
            [self.code().await, self.code().await, self.code().await],
            ["250", "250", "354"]
        );
    }

    /// Nothing was left behind: the next command is answered as it should be.
    async fn is_in_step(&mut self) {
        assert!(self.ask("HELP").await.starts_with("214"));
    }
}
