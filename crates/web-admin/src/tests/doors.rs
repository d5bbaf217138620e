//! Who gets in, and what is on every answer.

use super::*;
use crate::error::PageError;
use crate::routes::{self, Access};
use crate::visitor::Peer;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use axum::routing::get;
use tokio_util::task::TaskTracker;

const ON_EVERY_ANSWER: [(&str, &str); 5] = [
    (
        "content-security-policy",
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data:; form-action 'self'; \
         frame-ancestors 'none'; base-uri 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
];

fn safe(answer: &Answer, what: &str) {
    for (name, value) in ON_EVERY_ANSWER {
        assert_eq!(answer.header(name), value, "{name} of {what}");
    }
    assert!(
        ["same-origin", "no-referrer"].contains(&answer.header("referrer-policy")),
        "{what}"
    );
    assert_ne!(answer.header("cache-control"), "", "{what}");
}

#[tokio::test]
async fn every_route_but_the_public_ones_needs_a_session_whatever_the_method() {
    let world = World::new().await;
    for route in routes::list() {
        for (method, prefix) in [
            ("GET", ""),
            ("POST", ""),
            ("HEAD", "/postern"),
            ("PUT", "/postern"),
        ] {
            let path = format!("{prefix}{}", route.path);
            let what = format!("{method} {path}");
            let answer = world.browser().send(method, &path, "a=b").await;
            safe(&answer, &what);
            answer.hides("csrf");
            match (route.access, answer.status) {
                (Access::Everybody, _) | (_, 401 | 405) => {}
                (_, 303) => {
                    assert!(
                        answer.header("location").starts_with("/postern/sign-in"),
                        "{what}"
                    );
                }
                (_, status) => panic!("{what}: {status}"),
            }
        }
    }
}

#[tokio::test]
async fn nothing_is_changed_without_the_sessions_own_csrf_token() {
    let world = World::new().await;
    let mut browser = world.signed_in().await;
    let others = world.signed_in().await.csrf().await;
    for route in routes::list()
        .iter()
        .filter(|route| route.access == Access::Administrator)
    {
        for fields in [
            &[][..],
            &[("csrf", "")],
            &[("csrf", "guess")],
            &[("csrf", &others)],
        ] {
            let answer = browser.post(route.path, fields).await;
            // That one takes another kind of form, for which the tests of transfers ask the same.
            let unread = route.path == "/tokens/import" && answer.status == 400;
            assert!(
                matches!(answer.status, 403 | 405) || unread,
                "{} {fields:?}",
                route.path
            );
        }
    }
    let csrf = browser.csrf().await;
    for (name, value) in [
        ("Origin", "https://evil.example"),
        ("Origin", "null"),
        ("Sec-Fetch-Site", "cross-site"),
    ] {
        let mut forged = browser.clone();
        forged.headers.push((name, value.to_owned()));
        let answer = forged.post("/sign-out", &[("csrf", &csrf)]).await;
        assert_eq!(answer.status, 403, "{name}: {value}");
    }
    let mut honest = browser.clone();
    honest
        .headers
        .push(("Origin", format!("http://{}", world.address)));
    assert_eq!(
        honest.post("/sign-out", &[("csrf", &csrf)]).await.status,
        303
    );
    assert_eq!(
        browser.get("/tokens").await.status,
        303,
        "the session has ended"
    );
}

#[tokio::test]
async fn sign_in_needs_the_forms_own_token_and_says_nothing_of_what_was_wrong() {
    let world = World::new().await;
    let mut browser = world.browser();
    let page = browser.get("/postern/sign-in?next=/tokens").await;
    let token = page.field("sign_in_token");
    let mut stranger = world.browser();
    let mut refusals = Vec::new();
    for (name, password) in [("root", "Tr0ub4dor"), ("nobody", PASSWORD)] {
        let fields = [
            ("sign_in_token", token.as_str()),
            ("name", name),
            ("password", password),
        ];
        assert_eq!(
            stranger.post("/sign-in", &fields).await.status,
            403,
            "no cookie"
        );
        let answer = browser.post("/sign-in", &fields).await;
        assert_eq!(answer.status, 401);
        answer.hides(password);
        refusals.push(answer.body.replace(name, ""));
    }
    assert_eq!(refusals[0], refusals[1]);
    let fields = [
        ("sign_in_token", token.as_str()),
        ("name", "root"),
        ("password", PASSWORD),
        ("next", "/tokens"),
    ];
    let answer = browser.post("/sign-in", &fields).await;
    assert_eq!(answer.header("location"), "/postern/tokens");
    let cookies: Vec<_> = answer.all("set-cookie").collect();
    assert!(cookies[0].starts_with("postern="), "{cookies:?}");
    assert!(
        cookies[0].ends_with("; Path=/; HttpOnly; SameSite=Strict"),
        "{cookies:?}"
    );
    assert_eq!(
        browser.get("/sign-in").await.status,
        303,
        "who is in, goes on"
    );
    assert_eq!(browser.get("/tokens").await.status, 200);
}

#[tokio::test]
async fn a_planted_session_cookie_is_not_taken_over_by_sign_in() {
    let world = World::new().await;
    let mut browser = world.browser();
    browser
        .cookies
        .insert("postern".to_owned(), "planted".to_owned());
    let token = browser.get("/sign-in").await.field("sign_in_token");
    let fields = [
        ("sign_in_token", token.as_str()),
        ("name", "root"),
        ("password", PASSWORD),
    ];
    browser.post("/sign-in", &fields).await;
    assert_ne!(browser.cookies["postern"], "planted");
}

#[tokio::test]
async fn without_an_administrator_the_page_says_which_command_makes_one() {
    let world = World::without_administrator().await;
    let page = world.browser().get("/sign-in").await;
    page.shows("postern admin link");
    page.hides("type=\"password\"");
}

#[tokio::test]
async fn too_many_failures_are_slowed_down_in_words() {
    let world = World::new().await;
    let mut browser = world.browser();
    let token = browser.get("/sign-in").await.field("sign_in_token");
    let fields = [
        ("sign_in_token", token.as_str()),
        ("name", "root"),
        ("password", "guess"),
    ];
    let mut answer = browser.post("/sign-in", &fields).await;
    for _ in 0..10 {
        if answer.status == 429 {
            break;
        }
        answer = browser.post("/sign-in", &fields).await;
    }
    assert_eq!(answer.status, 429);
    answer.shows("Too many sign-ins failed");
}

#[tokio::test]
async fn strangers_host_names_are_refused_but_for_the_health_check() {
    let world = World::new().await;
    let mut browser = world.signed_in().await;
    browser.headers.push(("Host", "rebound.example".to_owned()));
    for path in ["/", "/postern/tokens", "/sign-in", "/style.css"] {
        let answer = browser.get(path).await;
        assert_eq!(answer.status, 421, "{path}");
        safe(&answer, path);
    }
    let answer = browser.get("/healthz").await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "ok\n"));
    browser.headers.clear();
    let answer = browser.get("http://rebound.example/tokens").await;
    assert_eq!(answer.status, 421, "named in the request line");
}

#[tokio::test]
async fn links_carry_the_prefix_whether_the_proxy_strips_it_or_not() {
    let world = World::new().await;
    let mut browser = world.signed_in().await;
    for path in ["/tokens", "/postern/tokens"] {
        let page = browser.get(path).await;
        assert_eq!(page.status, 200, "{path}");
        for link in [
            "href=\"/postern/mailboxes\"",
            "action=\"/postern/sign-out\"",
            "href=\"/postern/style.css",
        ] {
            page.shows(link);
        }
        for (start, _) in page
            .body
            .match_indices("href=\"/")
            .chain(page.body.match_indices("action=\"/"))
        {
            let rest = &page.body[start..];
            let target = rest.split('"').nth(1).unwrap();
            assert!(target.starts_with("/postern/"), "{target}");
        }
    }
    assert_eq!(browser.get("/postern").await.status, 200);
}

#[tokio::test]
async fn oversized_and_unreadable_requests_are_refused() {
    let world = World::new().await;
    let mut browser = world.signed_in().await;
    let answer = browser
        .send("POST", "/tokens/add", &"a".repeat(routes::BODY_LIMIT + 1))
        .await;
    assert_eq!(answer.status, 413);
    safe(&answer, "413");
    let many = "X: y\r\n".repeat(100);
    let request = format!("GET / HTTP/1.1\r\nHost: localhost\r\n{many}\r\n");
    assert_eq!(
        exchange(world.address, request.as_bytes()).await.status,
        431
    );
    let endless = format!(
        "GET / HTTP/1.1\r\nHost: localhost\r\nX: {}",
        "y".repeat(33_000)
    );
    let answer = exchange(world.address, endless.as_bytes()).await;
    assert_eq!(answer.status, 431, "a header without an end");
    let mut other = browser.clone();
    other
        .headers
        .push(("Content-Type", "text/plain".to_owned()));
    assert_eq!(other.post("/tokens/add", &[]).await.status, 400);
    let answer = browser.get("/nowhere").await;
    assert_eq!(answer.status, 404);
    answer.shows("There is no page at this address.");
}

#[tokio::test]
async fn a_panic_is_a_page_and_a_late_answer_too() {
    let world = World::new().await;
    let app = crate::app(world.parts.clone(), CancellationToken::new()).unwrap();
    let boom = || async {
        if std::hint::black_box(true) {
            panic!("a handler fails");
        }
        PageError::NotFound
    };
    let router = Router::new().route("/boom", get(boom));
    let tasks = TaskTracker::new();
    let door = crate::door::Door::new(app, router, tasks.clone(), CancellationToken::new());
    let request = Request::get("/boom")
        .header("host", "localhost")
        .body(Body::empty())
        .unwrap();
    let answer = door.answer(request, Peer::Socket).await;
    assert_eq!(answer.status(), 500);
    assert_eq!(answer.headers()["x-content-type-options"], "nosniff");
    tasks.close();
    tasks.wait().await;
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_hangs_is_answered_for_within_the_limit() {
    let folder = tempfile::tempdir().unwrap();
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
    let router = Router::new().route("/hang", get(std::future::pending::<&'static str>));
    let door = crate::door::Door::new(app, router, TaskTracker::new(), CancellationToken::new());
    let request = Request::get("/hang")
        .header("host", "localhost")
        .body(Body::empty())
        .unwrap();
    assert_eq!(door.answer(request, Peer::Socket).await.status(), 503);
}

#[tokio::test]
async fn shutdown_closes_idle_connections_and_ends() {
    let mut world = World::new().await;
    let mut idle = TcpStream::connect(world.address).await.unwrap();
    idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    let mut start = [0; 15];
    idle.read_exact(&mut start).await.unwrap();
    assert_eq!(&start, b"HTTP/1.1 200 OK");
    world.shutdown.cancel();
    let ended = tokio::time::timeout(Duration::from_secs(10), world.server.join_next()).await;
    assert!(ended.unwrap().unwrap().unwrap().is_ok());
}

#[tokio::test]
async fn a_unix_socket_serves_the_same_pages() {
    let world = World::new().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("web.sock");
    let listener = Listener::Unix(tokio::net::UnixListener::bind(&path).unwrap());
    let mut server = JoinSet::new();
    server.spawn(serve(listener, world.parts.clone(), world.shutdown.clone()));
    let mut stream = tokio::net::UnixStream::connect(&path).await.unwrap();
    let request = b"GET /sign-in HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.contains("<h1>Sign in</h1>"), "{answer}");
}

#[tokio::test]
async fn an_unsafe_public_url_stops_the_start() {
    let world = World::new().await;
    let parts = Parts {
        public_url: "http://helpdesk.example.com".to_owned(),
        ..world.parts.clone()
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let error = serve(Listener::Tcp(listener), parts, world.shutdown.clone())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    assert!(error.to_string().contains("use https"), "{error}");
}
