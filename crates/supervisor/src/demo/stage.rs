//! The stage: a temporary folder, the pretend provider, and the gateway of `postern run` on a real `postern.yaml`.

use std::fs::{DirBuilder, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use sandbox::{Knobs, Provider};
use sender::Listen;
use spool::Spool;
use token_store::{CallbackAnswer, Secret, SignIn};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::screen::Screen;
use super::{ACCOUNT, HELPDESK};
use crate::config::{Config, Secrets};
use crate::run::{Gateway, StartError};

/// Short, so that a play of some seconds sees several refreshes.
const TOKEN_LIFE_ONCE: Duration = Duration::from_secs(2);
/// A little longer, so that refreshes don't crowd the screen.
const TOKEN_LIFE_LIVE: Duration = Duration::from_secs(4);
/// The pretend person presses Allow at once; the exchange is local.
const CONSENT: Duration = Duration::from_secs(10);
/// A free port may be taken by somebody else before the gateway binds it.
const PORT_TRIES: usize = 5;
/// `sun_path` ends at 108 bytes; the socket's name needs some of them.
const LONGEST_FOLDER: usize = 80;
/// Lines of the log that a failure shows.
const LOG_LINES: usize = 40;

/// Everything that plays.
pub(super) struct Stage {
    pub(super) provider: Provider,
    pub(super) token_life: Duration,
    /// Where the ticket command files.
    pub(super) tickets: PathBuf,
    /// Of the admin page; None when there is no page.
    pub(super) password: Option<String>,
    gateway: Option<Gateway>,
    spool: Spool,
    submission: SocketAddr,
    page: Option<String>,
    gateway_ends: CancellationToken,
    provider_ends: CancellationToken,
    // Last: it is removed when nothing runs any more.
    folder: Folder,
}

impl Stage {
    /// Starts everything, and lets the pretend person consent.
    pub(super) async fn set(once: bool) -> anyhow::Result<Self> {
        let folder = Folder::make().context("a temporary folder for the demo")?;
        let tickets = folder.0.join("tickets");
        std::fs::create_dir(&tickets)?;
        log_to(&folder.log())?;
        let token_life = if once {
            TOKEN_LIFE_ONCE
        } else {
            TOKEN_LIFE_LIVE
        };
        let (gateway_ends, provider_ends) = (CancellationToken::new(), CancellationToken::new());
        let knobs = Knobs {
            token_life,
            ..Knobs::default()
        };
        let provider = Provider::start(knobs, provider_ends.clone())
            .await
            .context("the pretend provider")?;
        provider.set_features(|features| features.end_expired_sessions = true);
        let gateway = start_gateway(&folder.0, &tickets, &provider, &gateway_ends).await?;
        let Some(Listen::Tcp(submission)) = gateway.submission().first().cloned() else {
            bail!("the gateway has no submission listener");
        };
        let page = gateway.page().map(str::to_owned);
        let password = set_password(&gateway).await?;
        consent(&gateway, page.as_deref().unwrap_or("http://127.0.0.1")).await?;
        let spool = gateway.handle().spool().clone();
        let gateway = Some(gateway);
        Ok(Self {
            provider,
            token_life,
            tickets,
            password,
            gateway,
            spool,
            submission,
            page,
            gateway_ends,
            provider_ends,
            folder,
        })
    }

    /// Messages in flight.
    pub(super) fn spool(&self) -> &Spool {
        &self.spool
    }

    /// Where replies come in.
    pub(super) fn submission(&self) -> SocketAddr {
        self.submission
    }

    /// The admin page.
    pub(super) fn page(&self) -> Option<&str> {
        self.page.as_deref()
    }

    /// Ends everything in order: the gateway drains, then the provider.
    pub(super) async fn strike(&mut self, screen: &Screen) {
        self.gateway_ends.cancel();
        if let Some(gateway) = self.gateway.take() {
            gateway.drain(|names| screen.draining(names)).await;
        }
        self.provider_ends.cancel();
        self.provider.ended().await;
    }

    /// The end of the gateway's log.
    pub(super) fn last_log_lines(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.folder.log()).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let first = lines.len().saturating_sub(LOG_LINES);
        lines[first..]
            .iter()
            .map(|line| (*line).to_owned())
            .collect()
    }
}

/// A folder of its own for one play, removed with everything in it when dropped.
struct Folder(PathBuf);

impl Folder {
    fn make() -> std::io::Result<Self> {
        let mut parent = std::env::temp_dir();
        if !parent.is_absolute() || parent.as_os_str().len() > LONGEST_FOLDER {
            parent = PathBuf::from("/tmp");
        }
        let path = parent.join(format!("postern-demo-{:08x}", fastrand::u32(..)));
        // Fails if the name is taken, so nobody can have prepared it; and nobody else can look in.
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }

    fn log(&self) -> PathBuf {
        self.0.join("postern.log")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("{} could not be removed: {error}", self.0.display());
        }
    }
}

/// The gateway's log goes to a file, so that the screen stays readable. In a process that logs already, nothing changes.
fn log_to(path: &Path) -> anyhow::Result<()> {
    let file = Arc::new(File::create(path).context("the demo's log")?);
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(file)
        .with_ansi(false);
    let info = tracing_subscriber::filter::LevelFilter::INFO;
    tracing_subscriber::registry()
        .with(info)
        .with(layer)
        .try_init()
        .ok();
    Ok(())
}

async fn start_gateway(
    folder: &Path,
    tickets: &Path,
    provider: &Provider,
    ends: &CancellationToken,
) -> anyhow::Result<Gateway> {
    let file = folder.join("postern.yaml");
    for _ in 0..PORT_TRIES {
        // The ticket command must be told the port before the gateway has it.
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
            .local_addr()?
            .port();
        std::fs::write(&file, configuration(folder, tickets, provider, port)?)?;
        let config = Config::read(&file, Secrets::Needed)?;
        match Gateway::start(config, ends.clone()).await {
            Err(StartError::Bind { source, .. })
                if source.kind() == std::io::ErrorKind::AddrInUse => {}
            started => return Ok(started?),
        }
    }
    bail!("no free port was left for the submission listener, {PORT_TRIES} times");
}

/// What an administrator would write.
fn configuration(
    folder: &Path,
    tickets: &Path,
    provider: &Provider,
    port: u16,
) -> anyhow::Result<String> {
    let program = std::env::current_exe().context("where this program is")?;
    let (client_id, client_secret) = provider.client();
    let path = |path: &Path| quoted(&path.to_string_lossy());
    Ok(format!(
        "state_dir: {state}
key: {{file: {key}}}
control_socket: {socket}
drop_dir: {dropped}
templates_dir: {templates}
web: {{listen: '127.0.0.1:0'}}
submission:
  - listen: '127.0.0.1:{port}'
token_configs:
  - name: {ACCOUNT}
    template: generic
    client_id: {client_id}
    client_secret: {client_secret}
    scope: mail offline_access
    endpoints: {{authorize: '{url}/authorize', token: '{url}/token'}}
mailboxes:
  - name: {ACCOUNT}
    host: 127.0.0.1
    port: {imap}
    tls: none
    user: {HELPDESK}
    auth: {{token: {ACCOUNT}}}
    deliver: {{command: [{program}, demo-ticket, {tickets}, '{port}'], concurrency: 2}}
    after: delete
relays:
  - name: {ACCOUNT}
    host: 127.0.0.1
    port: {smtp}
    tls: none
    user: {HELPDESK}
    auth: {{token: {ACCOUNT}}}
    senders: [{HELPDESK}]
",
        state = path(&folder.join("state")),
        key = path(&folder.join("state/postern.key")),
        dropped = path(&folder.join("drop")),
        socket = path(&folder.join("control.sock")),
        templates = path(&folder.join("templates")),
        url = provider.url(),
        imap = provider.imap().port(),
        smtp = provider.smtp().port(),
        program = path(&program),
        tickets = path(tickets),
    ))
}

/// A single-quoted YAML text.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A password for this run's admin page.
async fn set_password(gateway: &Gateway) -> anyhow::Result<Option<String>> {
    if gateway.page().is_none() {
        return Ok(None);
    }
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|error| anyhow::anyhow!("no random bytes: {error}"))?;
    let hex: Vec<String> = bytes
        .chunks(2)
        .map(|two| format!("{:02x}{:02x}", two[0], two[1]))
        .collect();
    let password = hex.join("-");
    let store = gateway.handle().tokens().store();
    store
        .set_admin_password("admin", Secret::new(password.clone()))
        .await?;
    Ok(Some(password))
}

/// The whole authorisation: the provider's page, where the person is known and agrees, the redirect, and the code exchanged.
async fn consent(gateway: &Gateway, page: &str) -> anyhow::Result<()> {
    let session = "demo";
    let tokens = gateway.handle().tokens();
    let redirect_uri = format!("{page}/oauth2/callback");
    let url = tokens
        .begin(ACCOUNT, &redirect_uri, session, SignIn::As(HELPDESK))
        .await?;
    let answer = timeout(CONSENT, person(&url))
        .await
        .context("the pretend provider's consent page did not answer")??;
    tokens.complete(session, answer).await?;
    gateway.handle().tokens_changed(ACCOUNT);
    Ok(())
}

/// What a browser does: opens the page, and is sent back with an answer.
async fn person(url: &str) -> anyhow::Result<CallbackAnswer> {
    let rest = url
        .strip_prefix("http://")
        .context("the consent page is not http")?;
    let (host, target) = rest
        .split_once('/')
        .context("the consent page has no path")?;
    let mut stream = TcpStream::connect(host).await?;
    let request = format!("GET /{target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut response = String::new();
    stream.read_to_string(&mut response).await?;
    let location = response
        .lines()
        .find_map(|line| line.strip_prefix("Location: "));
    let Some((_, query)) = location.and_then(|location| location.split_once('?')) else {
        bail!(
            "the consent page did not redirect: {}",
            response.lines().next().unwrap_or_default()
        );
    };
    // Code and state are unreserved characters, at this provider and at the gateway; nothing is encoded.
    let value = |name: &str| {
        query
            .split('&')
            .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
            .map(str::to_owned)
    };
    Ok(CallbackAnswer {
        state: value("state"),
        code: value("code"),
        error: value("error"),
        error_description: value("error_description"),
        iss: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_is_private_and_goes_with_the_demo() {
        use std::os::unix::fs::PermissionsExt;
        let folder = Folder::make().unwrap();
        let path = folder.0.clone();
        std::fs::write(folder.log(), "x").unwrap();
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o700
        );
        drop(folder);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn the_configuration_has_no_mistake() {
        let ends = CancellationToken::new();
        let provider = Provider::start(Knobs::default(), ends.clone())
            .await
            .unwrap();
        let folder = Path::new("/tmp/it's here");
        let text = configuration(folder, &folder.join("tickets"), &provider, 2525).unwrap();
        let config = Config::from_text(&folder.join("postern.yaml"), &text).unwrap();
        assert_eq!(config.state_dir, folder.join("state"));
        let deliver = serde_json::to_value(&config.declared.mailboxes[0].deliver).unwrap();
        assert_eq!(
            deliver["command"].as_array().unwrap()[1..],
            ["demo-ticket", "/tmp/it's here/tickets", "2525"]
        );
        ends.cancel();
        provider.ended().await;
    }
}
