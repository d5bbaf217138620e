//! What attackers try: slow and split requests, odd paths, headers in names, script in every field.

use super::*;
use crate::door::Door;
use crate::routes;
use crate::visitor::Peer;
use std::time::Duration;
use token_store::accounts::{Condition, Kind};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

/// A page on an in-memory connection whose clock stands still until everybody waits.
fn connection(folder: &TempDir) -> (tokio::io::DuplexStream, JoinSet<()>) {
    let store = Store::open(&folder.path().join("accounts.db"), Key::from_bytes([7; 32])).unwrap();
    let parts = Parts {
        tokens: Tokens::new(store, TokensOptions::default()).unwrap(),
        spool: Spool::open(folder.path()).unwrap(),
        board: Board::default(),
        library: Arc::new(Library::load(None)),
        public_url: "https://helpdesk.example.com".to_owned(),
        redirect_path: "/oauth2/callback".to_owned(),
        proxies: Proxies::default(),
        gateway: Arc::new(Daemon::default()),
    };
    let app = crate::app(parts, CancellationToken::new()).unwrap();
    let router = routes::router(&app);
    let stop = CancellationToken::new();
    let door = Arc::new(Door::new(app, router, TaskTracker::new(), stop.clone()));
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let mut tasks = JoinSet::new();
    tasks.spawn(crate::server::connection(theirs, Peer::Socket, door, stop));
    (ours, tasks)
}

#[tokio::test(start_paused = true)]
async fn a_request_that_comes_a_byte_at_a_time_is_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let head = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Slow: yes\r\n\r\n";
    let body = "POST /sign-in HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n\
                Content-Length: 1000\r\n\r\nname=";
    for (sent, limit) in [(&head[..30], 30), (body, 60)] {
        let (mut stream, _tasks) = connection(&folder);
        let begun = Instant::now();
        stream.write_all(sent.as_bytes()).await.unwrap();
        let mut answer = String::new();
        // Drips on, so that no idle time ends it.
        loop {
            let mut bytes = [0; 4096];
            let read = tokio::time::timeout(Duration::from_secs(1), stream.read(&mut bytes)).await;
            match read {
                Ok(Ok(0) | Err(_)) => break,
                Ok(Ok(n)) => answer.push_str(&String::from_utf8_lossy(&bytes[..n])),
                Err(_) => drop(stream.write_all(b"x").await),
            }
            assert!(begun.elapsed() < Duration::from_secs(200), "{answer}");
        }
        assert!(begun.elapsed() >= Duration::from_secs(limit - 1), "{limit}");
        assert!(!answer.contains("200 OK"), "{answer}");
    }
}

#[tokio::test]
async fn odd_paths_lead_to_no_file_and_to_no_page() {
    let world = World::new().await;
    let mut browser = world.signed_in().await;
    for path in [
        "/../../etc/passwd",
        "/style.css/../../etc/passwd",
        "/..%2f..%2fetc%2fpasswd",
        "/%2e%2e/accounts.db",
        "/postern/../accounts.db",
        "//evil.example/tokens",
        "/tokens/",
        "/welcome/../tokens/x",
        "/static/postern.js",
    ] {
        let answer = browser.get(path).await;
        assert_eq!(answer.status, 404, "{path}");
        answer.hides("root:");
        answer.hides("SQLite format");
    }
    for request in [
        "GET /tokens HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n",
        "GET /tokens\r\n\r\n",
        "GET /tok\0ens HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET /tokens HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ] {
        let request = request.replacen("\r\n", "\r\nConnection: close\r\n", 1);
        let answer = exchange(world.address, request.as_bytes()).await;
        assert!(answer.status >= 300, "{request:?}: {}", answer.status);
    }
}

#[tokio::test]
async fn a_name_with_line_ends_adds_no_header() {
    let world = World::new().await;
    let mut browser = world.signed_in().await;
    let csrf = browser.csrf().await;
    let name = "a\r\nSet-Cookie: planted=1\r\n\r\n<html>";
    for path in [
        "/tokens/request",
        "/tokens/refresh",
        "/tokens/edit",
        "/tokens/delete",
        "/tokens/add",
        "/settings/admins/add",
        "/settings/admins/delete",
    ] {
        let fields = [
            ("csrf", csrf.as_str()),
            ("name", name),
            ("way", "device"),
            ("template", "google"),
            ("password", PASSWORD),
            ("repeated", PASSWORD),
            ("current", PASSWORD),
        ];
        let answer = browser.post(path, &fields).await;
        assert_ne!(answer.status, 200, "{path}");
        assert!(
            answer
                .all("set-cookie")
                .all(|cookie| !cookie.contains("planted")),
            "{path}"
        );
    }
    assert!(!browser.cookies.contains_key("planted"));
    for path in [
        "/tokens/device?name=a%0d%0aSet-Cookie:%20planted=1",
        "/sign-in?next=/%0d%0aSet-Cookie:%20planted=1",
        "/tokens?about=a%0d%0aSet-Cookie:%20planted=1",
    ] {
        let answer = browser.get(path).await;
        assert_eq!(answer.all("set-cookie").count(), 0, "{path}");
    }
}

/// Breaks out of text, attributes, comments and JSON, where they are not escaped.
const SCRIPT: &str = "\"'><script>alert(1)</script><!--";

#[tokio::test]
async fn script_in_every_text_is_text_on_every_page() {
    let world = World::new().await;
    let mut browser = world.signed_in().await;
    world.add_config(&mut browser, SCRIPT).await;
    world.add_config(&mut browser, "plain").await;
    let entry = world.store().token_config("plain").unwrap().unwrap().entry;
    let mut odd = entry.clone();
    odd.config.scope = SCRIPT.to_owned();
    odd.config.client_id = SCRIPT.to_owned();
    world.store().import(vec![odd], true).await.unwrap();
    let mut strange = mailbox(SCRIPT, SCRIPT, Auth::Token(SCRIPT.to_owned()));
    strange.host = SCRIPT.to_owned();
    strange.folders = vec![SCRIPT.to_owned()];
    let accounts = declared(
        strange,
        relay(SCRIPT, SCRIPT, Auth::Token(SCRIPT.to_owned())),
    );
    world.store().declare(SCRIPT, accounts).await.unwrap();
    let board = &world.parts.board;
    for kind in [Kind::Mailbox, Kind::Relay] {
        let why = SCRIPT.to_owned();
        board.set(kind, SCRIPT, Condition::Blocked { why });
    }
    let visitor = token_store::admins::Visitor {
        address: SCRIPT.to_owned(),
        agent: SCRIPT.to_owned(),
    };
    world
        .store()
        .add_admin(SCRIPT, Secret::new(PASSWORD))
        .await
        .unwrap();
    world.store().open_session(SCRIPT, &visitor).await.unwrap();
    world
        .store()
        .audit_from(SCRIPT, SCRIPT, SCRIPT)
        .await
        .unwrap();
    let name = encode(SCRIPT);
    let mut seen = 0;
    for path in [
        "/".to_owned(),
        "/start".to_owned(),
        "/tokens".to_owned(),
        format!("/tokens/edit?name={name}"),
        "/tokens/edit?name=plain".to_owned(),
        format!("/tokens/delete?name={name}"),
        format!("/tokens/device?name={name}"),
        format!("/tokens?about={name}&page={name}"),
        "/tokens/transfer".to_owned(),
        "/mailboxes".to_owned(),
        "/relays".to_owned(),
        format!("/templates?name={name}"),
        "/log".to_owned(),
        "/settings".to_owned(),
        format!("/settings/admins/delete?name={name}"),
        format!("/sign-in?next={name}"),
        format!("/welcome/{name}"),
        format!("/oauth2/callback?error={name}&error_description={name}"),
    ] {
        let page = browser.get(&path).await;
        page.hides("<script>");
        page.hides("<!--");
        seen += page.body.matches("&#60;script&#62;").count();
    }
    assert!(seen > 20, "{seen}");
}

#[tokio::test]
async fn script_that_is_typed_comes_back_as_text() {
    let world = World::new().await;
    let mut browser = world.signed_in().await;
    let csrf = browser.csrf().await;
    let fields: Vec<(&str, &str)> = [
        "name",
        "client_id",
        "client_secret",
        "scope",
        "validity",
        "endpoints.token",
        "endpoints.discovery",
    ]
    .map(|field| (field, SCRIPT))
    .into_iter()
    .chain([("csrf", csrf.as_str()), ("template", "generic")])
    .collect();
    let page = browser.post("/tokens/add", &fields).await;
    assert_eq!(page.status, 422);
    page.hides("<script>");
    page.shows("&#60;script&#62;");
}
