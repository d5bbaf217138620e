//! A small token endpoint: one process-wide truth about which refresh tokens live, and switches for its manners.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use sha2::{Digest, Sha256};
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// A connection, in clear or not.
trait Stream: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Stream for T {}

/// The fields of a posted form.
pub(crate) type Form = HashMap<String, String>;

/// How the endpoint behaves; tests change it while it runs.
#[derive(Default)]
pub(crate) struct World {
    /// Seconds an access token lives; `None` leaves `expires_in` out.
    pub(crate) life: Option<u64>,
    /// A refresh answers with a new refresh token and spends the old one.
    pub(crate) rotate: bool,
    /// A spent refresh token kills every living one, as some providers do.
    pub(crate) punish_reuse: bool,
    /// A consent brings no refresh token.
    pub(crate) withhold_refresh: bool,
    /// This many requests take effect, and then the connection closes without an answer.
    pub(crate) lose: usize,
    /// Answers to give instead of the truth: status, further header lines, body.
    pub(crate) canned: VecDeque<(u16, String, String)>,
    /// Before an answer is sent.
    pub(crate) delay: Duration,
    /// Token requests under way, and the most there ever were.
    at_once: usize,
    pub(crate) most_at_once: usize,
    /// Refresh tokens that work.
    pub(crate) living: HashSet<String>,
    spent: HashSet<String>,
    /// Which consent a refresh token descends from: a spent one kills its family, not others'.
    family: HashMap<String, u64>,
    /// By client: the refresh token that its last whole answer brought.
    pub(crate) delivered: HashMap<String, String>,
    /// Refresh tokens whose successor was delivered, and those of them that were presented all the same.
    superseded: HashSet<String>,
    pub(crate) presented_again: Vec<String>,
    codes: HashMap<String, String>,
    counter: u64,
    /// Every form that was posted.
    pub(crate) requests: Vec<Form>,
    /// Every path that was fetched.
    pub(crate) fetched: Vec<String>,
    /// What `/.well-known/openid-configuration` says.
    pub(crate) discovery: String,
}

impl World {
    /// Makes a refresh token that works.
    pub(crate) fn plant(&mut self) -> String {
        let token = self.next("refresh");
        self.living.insert(token.clone());
        self.family.insert(token.clone(), self.counter);
        token
    }

    /// The client died before it could keep what it was told, or nobody knows: what was delivered to it proves nothing.
    pub(crate) fn forget_deliveries(&mut self, client: &str) {
        self.delivered.remove(client);
        self.superseded.clear();
    }

    /// An answer went out whole.
    fn note_delivered(&mut self, form: &Form, answer: &str) {
        let answer: serde_json::Value = serde_json::from_str(answer).unwrap_or_default();
        let client = form.get("client_id").cloned().unwrap_or_default();
        if let Some(refresh) = answer["refresh_token"].as_str() {
            self.delivered.insert(client, refresh.to_owned());
            self.superseded.extend(form.get("refresh_token").cloned());
        }
    }

    /// Makes an authorisation code for a PKCE challenge.
    pub(crate) fn code_for(&mut self, challenge: &str) -> String {
        let code = self.next("code");
        self.codes.insert(code.clone(), challenge.to_owned());
        code
    }

    fn next(&mut self, kind: &str) -> String {
        self.counter += 1;
        format!("planted-{kind}-{}", self.counter)
    }

    fn answer(&mut self, form: &Form) -> (u16, String) {
        let field = |name: &str| form.get(name).map_or("", String::as_str);
        match field("grant_type") {
            "client_credentials" => (200, self.grant(None)),
            "refresh_token" => {
                let presented = field("refresh_token").to_owned();
                if self.superseded.contains(&presented) {
                    self.presented_again.push(presented.clone());
                }
                if !self.living.contains(&presented) {
                    if self.punish_reuse && self.spent.contains(&presented) {
                        let family = self.family[&presented];
                        self.living.retain(|token| self.family[token] != family);
                    }
                    return (
                        400,
                        r#"{"error":"invalid_grant","error_description":"unknown or spent"}"#
                            .into(),
                    );
                }
                if !self.rotate {
                    return (200, self.grant(None));
                }
                self.living.remove(&presented);
                self.spent.insert(presented.clone());
                let family = self.family[&presented];
                let rotated = self.plant();
                self.family.insert(rotated.clone(), family);
                (200, self.grant(Some(&rotated)))
            }
            "authorization_code" => {
                let challenge = self.codes.remove(field("code"));
                let proof = URL_SAFE_NO_PAD.encode(Sha256::digest(field("code_verifier")));
                if challenge != Some(proof) {
                    return (
                        400,
                        r#"{"error":"invalid_grant","error_description":"bad code or verifier"}"#
                            .into(),
                    );
                }
                let refresh = (!self.withhold_refresh).then(|| self.plant());
                (200, self.grant(refresh.as_deref()))
            }
            _ => (400, r#"{"error":"unsupported_grant_type"}"#.into()),
        }
    }

    fn grant(&mut self, refresh: Option<&str>) -> String {
        let access = self.next("access");
        let life = self
            .life
            .map_or(String::new(), |s| format!(r#","expires_in":{s}"#));
        let refresh = refresh.map_or(String::new(), |r| format!(r#","refresh_token":"{r}""#));
        format!(r#"{{"access_token":"{access}","token_type":"Bearer"{life}{refresh}}}"#)
    }
}

/// The running endpoint; it ends when dropped.
pub(crate) struct Endpoint {
    world: Arc<Mutex<World>>,
    base: String,
    _tasks: JoinSet<()>,
}

impl Endpoint {
    pub(crate) async fn start() -> Self {
        Self::listen(None).await
    }

    /// The same over TLS, and the certificate to trust, as PEM.
    pub(crate) async fn start_tls() -> (Self, String) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let endpoint = Self::listen(Some(TlsAcceptor::from(Arc::new(config)))).await;
        (endpoint, made.cert.pem())
    }

    async fn listen(tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let base = match &tls {
            Some(_) => format!("https://localhost:{port}"),
            None => format!("http://127.0.0.1:{port}"),
        };
        let world = Arc::new(Mutex::new(World {
            life: Some(3600),
            ..World::default()
        }));
        let mut tasks = JoinSet::new();
        let truth = world.clone();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (truth, tls) = (truth.clone(), tls.clone());
                connections.spawn(async move {
                    // A client that does not trust us hangs up: its own test looks at what it says.
                    let _ = match tls {
                        None => serve(stream, truth).await,
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => serve(stream, truth).await,
                            Err(error) => Err(error),
                        },
                    };
                });
            }
        });
        Self {
            world,
            base,
            _tasks: tasks,
        }
    }

    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// How many token requests arrived.
    pub(crate) fn count(&self) -> usize {
        self.world().requests.len()
    }
}

async fn serve(mut stream: impl Stream, world: Arc<Mutex<World>>) -> std::io::Result<()> {
    let (head, body) = read_request(&mut stream).await?;
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    let (answer, delay, lost, form) = {
        let mut world = world.lock().unwrap();
        if head.starts_with("GET") {
            world.fetched.push(path);
            (
                (200, String::new(), world.discovery.clone()),
                Duration::ZERO,
                false,
                Form::new(),
            )
        } else {
            let form: Form = oauth2::url::form_urlencoded::parse(&body)
                .into_owned()
                .collect();
            world.requests.push(form.clone());
            world.at_once += 1;
            world.most_at_once = world.most_at_once.max(world.at_once);
            let answer = match world.canned.pop_front() {
                Some(canned) => canned,
                None => {
                    let (status, body) = world.answer(&form);
                    (status, String::new(), body)
                }
            };
            let lost = world.lose > 0;
            world.lose = world.lose.saturating_sub(1);
            (answer, world.delay, lost, form)
        }
    };
    tokio::time::sleep(delay).await;
    if !form.is_empty() {
        world.lock().unwrap().at_once -= 1;
    }
    if lost {
        return Ok(());
    }
    let (status, headers, body) = answer;
    let head = format!(
        "HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n{headers}\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    // Before the end of the stream, which is what the client waits for.
    world.lock().unwrap().note_delivered(&form, &body);
    stream.shutdown().await
}

async fn read_request(stream: &mut impl Stream) -> std::io::Result<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
            let length = head
                .lines()
                .filter_map(|l| l.split_once(':'))
                .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
                .map_or(0, |(_, value)| value.trim().parse::<usize>().unwrap());
            if bytes.len() >= end + 4 + length {
                return Ok((head, bytes[end + 4..end + 4 + length].to_vec()));
            }
        }
        let mut chunk = [0; 4096];
        let read = stream.read(&mut chunk).await?;
        if read == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        bytes.extend_from_slice(&chunk[..read]);
    }
}
