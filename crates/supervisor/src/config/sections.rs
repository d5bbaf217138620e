//! The file as a whole: places, log, admin page, submission; and the accounts in the order in which they refer to each other.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use provider_template::Library;
use sender::Listen;
use token_store::accounts::Declared;

use super::accounts::Known;
use super::reader::{Field, Section};
use super::surroundings::{Secrets, Surroundings};
use super::{
    Config, KeySource, Log, LogFormat, Web, mailboxes, notices, origin, proxies, relays,
    submission, token_configs,
};

/// Where the package keeps things when the file says nothing.
const STATE_DIR: &str = "/var/lib/postern";
pub(crate) const CONTROL_SOCKET: &str = "/run/postern/control.sock";
pub(crate) const DROP_DIR: &str = "/var/spool/postern";
const TEMPLATES_DIR: &str = "/etc/postern/templates";
/// The credential, and the file in the state directory, that hold the sealing key.
const KEY_NAME: &str = "postern.key";
const WEB_PORT: u16 = 8025;
const REDIRECT_PATH: &str = "/oauth2/callback";
/// Microsoft's SIZE, 157286400: what fits through there fits through here.
pub(super) const MAX_SIZE: u64 = 150 << 20;
/// Below this no real message passes; above it the sizes of SQLite rows and of SMTP's SIZE leave their tested range.
pub(super) const SIZES: std::ops::RangeInclusive<u64> = 1 << 10..=2 << 30;
/// `sun_path` holds 108 bytes, the closing NUL among them.
const LONGEST_SOCKET_PATH: usize = 107;

/// Reads the whole file; mistakes are in the reader.
pub(super) fn config(file: &Path, root: Section<'_>, surroundings: &Surroundings) -> Config {
    let state_dir = path_or(&root, "state_dir", STATE_DIR);
    let key = key(&root, &state_dir, surroundings);
    let control_socket = root
        .get("control_socket")
        .and_then(|field| socket_path(&field));
    let drop_dir = path_or(&root, "drop_dir", DROP_DIR);
    let templates_dir = path_or(&root, "templates_dir", TEMPLATES_DIR);
    let library = Library::load(Some(&templates_dir));
    let log = log(&root);
    let web = web(&root);
    let submission = submission::read(&root, surroundings);
    let token_ca_file = root.get("token_ca_file").and_then(|field| absolute(&field));
    let notices = notices::read(&root, surroundings);
    let mut known = Known {
        library: &library,
        configs: BTreeMap::new(),
        surroundings,
        within: " in this file",
    };
    let origin = origin(file);
    let token_configs = token_configs::read(&root, &mut known);
    let mailboxes = mailboxes::read(&root, &known, &origin);
    let relays = relays::read(&root, &known, &mailboxes, &origin);
    let literal_secrets = root.holds_secrets();
    root.finish();
    Config {
        file: file.to_owned(),
        state_dir,
        key,
        control_socket: control_socket.unwrap_or_else(|| CONTROL_SOCKET.into()),
        drop_dir,
        log,
        web,
        submission,
        notices,
        token_ca_file,
        declared: Declared {
            token_configs,
            mailboxes,
            relays,
        },
        library: Arc::new(library),
        literal_secrets,
    }
}

/// An absolute path.
pub(super) fn absolute(field: &Field<'_>) -> Option<PathBuf> {
    let expected = "an absolute path";
    let path = PathBuf::from(field.text(expected)?);
    if !path.is_absolute() {
        field.expected(expected);
        return None;
    }
    Some(path)
}

fn path_or(root: &Section<'_>, key: &'static str, default: &str) -> PathBuf {
    root.get(key)
        .and_then(|field| absolute(&field))
        .unwrap_or_else(|| default.into())
}

pub(super) fn socket_path(field: &Field<'_>) -> Option<PathBuf> {
    let path = absolute(field)?;
    if path.as_os_str().len() > LONGEST_SOCKET_PATH {
        field.mistake(format!(
            "a Unix socket's path may have {LONGEST_SOCKET_PATH} bytes, this one has {}",
            path.as_os_str().len()
        ));
        return None;
    }
    Some(path)
}

fn key(root: &Section<'_>, state_dir: &Path, surroundings: &Surroundings) -> KeySource {
    let made = KeySource::Made(state_dir.join(KEY_NAME));
    let Some(field) = root.get("key") else {
        return surroundings
            .credential(KEY_NAME)
            .map_or(made, KeySource::Existing);
    };
    let expected = "{credential: NAME} or {file: PATH}";
    // The key itself must never stand in this file, so a text that stands here is not quoted either.
    let Some(section) = field.section_unquoted(expected) else {
        return made;
    };
    let credential = section.get("credential");
    let file = section.get("file");
    section.finish();
    match (credential, file) {
        (Some(credential), None) => credential
            .text("a credential's name")
            .and_then(|name| {
                surroundings
                    .credential(name)
                    .map_err(|why| {
                        if surroundings.secrets == Secrets::Needed {
                            credential.mistake(why)
                        }
                    })
                    .ok()
            })
            .map_or(made, KeySource::Existing),
        (None, Some(file)) => absolute(&file).map_or(made, KeySource::Made),
        (credential, _) => {
            field.mistake(format!(
                "found {}; expected {expected}",
                if credential.is_some() {
                    "both"
                } else {
                    "neither"
                }
            ));
            made
        }
    }
}

fn log(root: &Section<'_>) -> Log {
    let mut log = Log {
        format: LogFormat::Text,
        level: tracing::Level::INFO,
    };
    let Some(section) = root
        .get("log")
        .and_then(|field| field.section("keys such as `level: info`"))
    else {
        return log;
    };
    let formats = [
        ("text", LogFormat::Text),
        ("json", LogFormat::Json),
        ("journald", LogFormat::Journald),
    ];
    if let Some(format) = section
        .get("format")
        .and_then(|field| field.one_of(&formats))
    {
        log.format = format;
    }
    let levels = [
        ("error", tracing::Level::ERROR),
        ("warn", tracing::Level::WARN),
        ("info", tracing::Level::INFO),
        ("debug", tracing::Level::DEBUG),
        ("trace", tracing::Level::TRACE),
    ];
    if let Some(level) = section.get("level").and_then(|field| field.one_of(&levels)) {
        log.level = level;
    }
    section.finish();
    log
}

fn web(root: &Section<'_>) -> Option<Web> {
    let default = Listen::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, WEB_PORT)));
    let mut web = Web {
        listen: default,
        public_url: None,
        redirect_path: REDIRECT_PATH.to_owned(),
        proxies: web_admin::Proxies::default(),
    };
    let Some(field) = root.get("web") else {
        return Some(web);
    };
    if field.scalar() == Some("off") {
        return None;
    }
    let section = field.section("keys such as `listen: 127.0.0.1:8025`, or off")?;
    web.public_url = section
        .get("public_url")
        .and_then(|field| public_url(&field));
    if let Some(path) = section
        .get("redirect_path")
        .and_then(|field| redirect_path(&field))
    {
        web.redirect_path = path;
    }
    web.proxies = proxies::read(&section);
    if let Some(field) = section.get("listen")
        && let Some(listen) = listen(&field)
    {
        let https = web
            .public_url
            .as_ref()
            .is_some_and(|url| url.starts_with("https://"));
        match &listen {
            Listen::Tcp(address) if !address.ip().is_loopback() && !https => field.expected(
                "a loopback address; the page speaks plain HTTP, so beyond this machine it needs a proxy with TLS in front, and that proxy's https:// address as web.public_url",
            ),
            Listen::Unix(_) if section.get("public_url").is_none() => {
                field.mistake("a page on a Unix socket needs web.public_url, or nobody knows its address");
            }
            _ => {}
        }
        web.listen = listen;
    }
    section.finish();
    Some(web)
}

pub(super) fn listen(field: &Field<'_>) -> Option<Listen> {
    let expected = "HOST:PORT with an IP address or localhost, or a Unix socket's path";
    let text = field.text(expected)?;
    if text.starts_with('/') {
        return socket_path(field).map(Listen::Unix);
    }
    let numeric = text
        .strip_prefix("localhost:")
        .map(|port| format!("127.0.0.1:{port}"));
    match numeric.as_deref().unwrap_or(text).parse() {
        Ok(address) => Some(Listen::Tcp(address)),
        Err(_) => {
            field.expected(expected);
            None
        }
    }
}

/// A URL that browsers see: https, or http on this machine; no query, no fragment, no user.
fn public_url(field: &Field<'_>) -> Option<String> {
    let expected = "a URL such as https://helpdesk.example.com/postern";
    let text = field.text(expected)?;
    let Some((scheme, rest)) = text.split_once("://") else {
        field.expected(expected);
        return None;
    };
    let (authority, path) = rest
        .split_once('/')
        .map_or((rest, ""), |(authority, path)| (authority, path));
    if authority.contains('@') {
        field.mistake(
            "a user or password does not belong into the public URL; expected https://HOST/PATH",
        );
        return None;
    }
    let host = host_of(authority);
    let Some(host) = host.filter(|_| !path.contains(['?', '#', ' ', '\\'])) else {
        field.expected(expected);
        return None;
    };
    match scheme {
        "https" => {}
        "http" if wire::dial::is_loopback(host) => {}
        "http" => {
            field.expected("an https:// URL; providers redirect to http:// on localhost only");
            return None;
        }
        _ => {
            field.expected(expected);
            return None;
        }
    }
    Some(text.trim_end_matches('/').to_owned())
}

/// The host of `host`, `host:port`, `[v6]` or `[v6]:port`; None when it isn't one of these.
fn host_of(authority: &str) -> Option<&str> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(v6) => {
            let (host, rest) = v6.split_once(']')?;
            (
                host,
                rest.strip_prefix(':').or(rest.is_empty().then_some("0")),
            )
        }
        None => authority
            .split_once(':')
            .map_or((authority, Some("0")), |(host, port)| (host, Some(port))),
    };
    port?.parse::<u16>().ok()?;
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':');
    (!host.is_empty() && host.chars().all(fits)).then_some(host)
}

fn redirect_path(field: &Field<'_>) -> Option<String> {
    let expected = "a path such as /oauth2/callback";
    let text = field.text(expected)?;
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '_' | '.' | '~');
    if !text.starts_with('/')
        || text.len() < 2
        || text.ends_with('/')
        || text.contains("//")
        || !text.chars().all(fits)
    {
        field.expected(expected);
        return None;
    }
    Some(text.to_owned())
}
