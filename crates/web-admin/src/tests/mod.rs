//! The whole page in process: a real store and spool, the pretend provider, a browser of thirty lines.

mod consent;
mod doors;
mod edit;
mod html;
mod notices;
mod pages;
mod proxies;
mod safety;
mod settings;
mod start;
mod transfer;
mod weight;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use provider_template::{Library, Tls};
use sandbox::{Knobs, Provider};
use spool::Spool;
use tempfile::TempDir;
use token_store::accounts::{
    After, Auth, Board, Care, Change, Declared, Deliver, Kind, Mailbox, Protocol, Relay, Sasl,
    StartFrom, Watch, Way,
};
use token_store::seal::Key;
use token_store::{Secret, Store, Tokens, TokensOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{ChangeError, Configuration, Gateway, Listener, Parts, Proxies, serve};

const PASSWORD: &str = "correct horse battery staple";

/// Remembers which token configs the page said had changed.
#[derive(Default)]
struct Daemon(Mutex<Vec<String>>, Mutex<Vec<(Kind, Change)>>);

impl Gateway for Daemon {
    fn change_account(
        &self,
        kind: Kind,
        change: Change,
    ) -> crate::Promise<'_, Result<(), ChangeError>> {
        Box::pin(async move {
            self.1.lock().unwrap().push((kind, change));
            Ok(())
        })
    }

    fn test_account(
        &self,
        _kind: Kind,
        _name: &str,
        _to: Option<String>,
        tell: crate::Tell,
    ) -> crate::Promise<'static, ()> {
        Box::pin(async move {
            tell(crate::Step {
                what: "the name".to_owned(),
                found: Err("<b>nobody</b> knows it".to_owned()),
            });
        })
    }

    fn look_again(&self, _kind: Kind, _name: &str) {}

    fn fetch_now(&self, _mailbox: &str) -> bool {
        false
    }

    fn tokens_changed(&self, config: &str) {
        self.0.lock().unwrap().push(config.to_owned());
    }

    fn configuration(&self) -> Option<Configuration> {
        Some(Configuration {
            path: "/etc/postern/postern.yaml".to_owned(),
            text: "web: <b>\n".to_owned(),
        })
    }
}

/// A gateway's databases, the page over them, and a provider.
struct World {
    parts: Parts,
    daemon: Arc<Daemon>,
    provider: Provider,
    address: SocketAddr,
    shutdown: CancellationToken,
    server: JoinSet<std::io::Result<()>>,
    _folder: TempDir,
}

impl World {
    /// Everything empty but for one administrator, `root`.
    async fn new() -> Self {
        let world = Self::without_administrator().await;
        let password = Secret::new(PASSWORD);
        world
            .store()
            .set_admin_password("root", password)
            .await
            .unwrap();
        world
    }

    async fn without_administrator() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("accounts.db"), Key::from_bytes([7; 32]));
        let tokens = Tokens::new(store.unwrap(), TokensOptions::default()).unwrap();
        let spool = Spool::open(folder.path()).unwrap();
        let shutdown = CancellationToken::new();
        let provider = Provider::start(Knobs::default(), shutdown.clone())
            .await
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let daemon = Arc::new(Daemon::default());
        let parts = Parts {
            tokens,
            spool,
            board: Board::default(),
            library: Arc::new(Library::load(None)),
            public_url: format!("http://{address}/postern"),
            redirect_path: "/oauth2/callback".to_owned(),
            proxies: Proxies::default(),
            gateway: daemon.clone(),
        };
        let mut server = JoinSet::new();
        server.spawn(serve(
            Listener::Tcp(listener),
            parts.clone(),
            shutdown.clone(),
        ));
        Self {
            parts,
            daemon,
            provider,
            address,
            shutdown,
            server,
            _folder: folder,
        }
    }

    /// Serves the same databases at another port, with something changed.
    async fn serve_again(&mut self, change: impl FnOnce(&mut Parts)) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        self.address = listener.local_addr().unwrap();
        self.parts.public_url = format!("http://{}/postern", self.address);
        change(&mut self.parts);
        let (parts, shutdown) = (self.parts.clone(), self.shutdown.clone());
        self.server
            .spawn(serve(Listener::Tcp(listener), parts, shutdown));
    }

    fn store(&self) -> &Store {
        self.parts.tokens.store()
    }

    fn browser(&self) -> Browser {
        Browser {
            address: self.address,
            cookies: BTreeMap::new(),
            headers: Vec::new(),
        }
    }

    /// A browser in which `root` is signed in.
    async fn signed_in(&self) -> Browser {
        let mut browser = self.browser();
        let page = browser.get("/sign-in").await;
        let token = page.field("sign_in_token");
        let fields = [
            ("sign_in_token", token.as_str()),
            ("name", "root"),
            ("password", PASSWORD),
        ];
        let answer = browser.post("/sign-in", &fields).await;
        assert_eq!(
            (answer.status, answer.header("location")),
            (303, "/postern/"),
            "{}",
            answer.body
        );
        browser
    }

    /// Adds a token config of the pretend provider through the form.
    async fn add_config(&self, browser: &mut Browser, name: &str) -> Answer {
        let page = browser.get("/tokens/add?template=generic").await;
        let (client_id, client_secret) = self.provider.client();
        let fields = [
            ("csrf", page.field("csrf")),
            ("template", "generic".to_owned()),
            ("name", name.to_owned()),
            ("client_id", client_id),
            ("client_secret", client_secret),
            ("scope", "mail offline_access".to_owned()),
            ("endpoints.discovery", self.provider.url()),
            ("notify_expired_refresh_token", "1".to_owned()),
        ];
        let fields: Vec<_> = fields.iter().map(|(k, v)| (*k, v.as_str())).collect();
        browser.post("/tokens/add", &fields).await
    }
}

/// Cookies, and HTTP over a fresh connection per request.
#[derive(Clone)]
struct Browser {
    address: SocketAddr,
    cookies: BTreeMap<String, String>,
    /// Sent with every request; a `Host` here stands in for the address.
    headers: Vec<(&'static str, String)>,
}

impl Browser {
    async fn get(&mut self, path: &str) -> Answer {
        self.send("GET", path, "").await
    }

    async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let pairs: Vec<_> = fields
            .iter()
            .map(|(name, value)| format!("{}={}", encode(name), encode(value)))
            .collect();
        self.send("POST", path, &pairs.join("&")).await
    }

    async fn send(&mut self, method: &str, path: &str, body: &str) -> Answer {
        let mut head = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
        if !self.headers.iter().any(|(name, _)| *name == "Host") {
            head.push_str(&format!("Host: {}\r\n", self.address));
        }
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if !self.cookies.is_empty() {
            let cookies: Vec<_> = self
                .cookies
                .iter()
                .map(|(k, v)| format!("{k}={v}"))
                .collect();
            head.push_str(&format!("Cookie: {}\r\n", cookies.join("; ")));
        }
        if method == "POST" {
            let kind = "application/x-www-form-urlencoded";
            head.push_str(&format!(
                "Content-Type: {kind}\r\nContent-Length: {}\r\n",
                body.len()
            ));
        }
        let answer = exchange(self.address, format!("{head}\r\n{body}").as_bytes()).await;
        if answer.header("content-type").starts_with("text/html") && method != "HEAD" {
            let faults = html::faults(&answer.body);
            assert!(faults.is_empty(), "{path}: {faults:#?} in {}", answer.body);
        }
        for cookie in answer.all("set-cookie") {
            let (name, value) = cookie.split(';').next().unwrap().split_once('=').unwrap();
            if value.is_empty() {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        answer
    }

    /// The CSRF token of this browser's session.
    async fn csrf(&mut self) -> String {
        self.get("/mailboxes").await.field("csrf")
    }
}

/// Sends bytes, reads to the end, takes the answer apart.
async fn exchange(address: SocketAddr, request: &[u8]) -> Answer {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request).await.unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.unwrap();
        String::from_utf8(bytes).unwrap()
    };
    let text = tokio::time::timeout(Duration::from_secs(20), exchange)
        .await
        .unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let mut lines = head.lines();
    let status = lines
        .next()
        .unwrap_or_default()
        .split(' ')
        .nth(1)
        .unwrap_or("0");
    let headers = lines.filter_map(|line| line.split_once(": "));
    Answer {
        status: status.parse().unwrap(),
        headers: headers
            .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
            .collect(),
        body: body.to_owned(),
    }
}

#[derive(Debug)]
struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

impl Answer {
    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers
            .iter()
            .filter(move |(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    fn header(&self, name: &str) -> &str {
        self.headers
            .iter()
            .find(|(key, _)| key == name)
            .map_or("", |(_, value)| value)
    }

    /// The value of a hidden field.
    fn field(&self, name: &str) -> String {
        let start = format!("name=\"{name}\" value=\"");
        let rest = self
            .body
            .split_once(&start)
            .unwrap_or_else(|| panic!("no {name} in {self:?}"))
            .1;
        rest.split('"').next().unwrap().to_owned()
    }

    #[track_caller]
    fn shows(&self, words: &str) {
        assert!(
            self.body.contains(words),
            "{words:?} is not in {} {}",
            self.status,
            self.body
        );
    }

    #[track_caller]
    fn hides(&self, words: &str) {
        assert!(!self.body.contains(words), "{words:?} is in {}", self.body);
    }
}

fn encode(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

fn mailbox(name: &str, user: &str, auth: Auth) -> Mailbox {
    Mailbox {
        name: name.to_owned(),
        template: None,
        protocol: Protocol::Imap,
        host: "imap.example.com".to_owned(),
        port: 993,
        tls: Tls::Implicit,
        tls_ca_file: None,
        user: user.to_owned(),
        auth,
        sasl: Sasl::Auto,
        folders: vec!["INBOX".to_owned()],
        max_undelivered: 500,
        watch: Watch::Idle,
        poll: Duration::from_secs(300),
        start_from: StartFrom::All,
        max_size: 1 << 20,
        deliver: Deliver {
            way: Way::command(vec![
                "/opt/rt/mailgate".to_owned(),
                "--key=arg-secret".to_owned(),
            ]),
            timeout: Duration::from_secs(600),
            concurrency: 1,
        },
        after: After::Delete,
        care: Care::default(),
        paused: false,
        idle_minutes: 25,
        trash_on_delete: false,
        pop3_two_line_auth: false,
        declared_in: None,
    }
}

fn relay(name: &str, user: &str, auth: Auth) -> Relay {
    Relay {
        name: name.to_owned(),
        template: None,
        host: "smtp.example.com".to_owned(),
        port: 587,
        tls: Tls::Starttls,
        tls_ca_file: None,
        user: user.to_owned(),
        auth,
        sasl: Sasl::Auto,
        senders: vec![user.to_owned()],
        connections: 3,
        rate: Some(30),
        keep_trying: Duration::from_secs(432_000),
        bounces_to: None,
        fallback: None,
        send_as: None,
        recipients: None,
        messages_per_connection: None,
        no_initial_response: false,
        paused: false,
        declared_in: None,
    }
}

/// What a file declares: a mailbox and a relay.
fn declared(mailbox: Mailbox, relay: Relay) -> Declared {
    Declared {
        token_configs: Vec::new(),
        mailboxes: vec![mailbox],
        relays: vec![relay],
    }
}
