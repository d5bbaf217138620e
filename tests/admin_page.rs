//! The admin page of the real binary, as a browser walks it: sign in, add a token config, get its token from the provider, refresh it.

use crate::harness::postern::{Daemon, Setup};
use crate::harness::rig::Rig;
use crate::harness::{eventually, free_port};
use crate::real_imap::filing_command;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

pub(crate) const PASSWORD: &str = "correct horse battery staple";
const USER: &str = "desk@sandbox.test";
/// Long enough for a busy machine. A mailbox that waits for consent would look again by itself only after minutes.
const SOON: Duration = Duration::from_secs(20);

#[test]
fn a_token_comes_from_the_provider_through_the_page_and_its_mailbox_fetches_at_once() {
    let rig = Rig::new(Duration::from_secs(600));
    rig.provider
        .put_mail(USER, b"Subject: one\r\n\r\n".to_vec());
    let (_daemon, setup, mut browser) = signed_in(&rig);

    // Declared in the file, and its mailbox waits for consent.
    let tokens = browser.get("/tokens");
    tokens.shows("no token was requested yet");
    let csrf = tokens.hidden("csrf");
    let desk = [("csrf", csrf.as_str()), ("name", "desk")];
    let way_out = browser.post("/tokens/request", &desk).way_out();
    let back = browser.follow(way_out);
    back.shows("The new token of desk is here.");
    eventually("the mailbox fetched once its token was there", SOON, || {
        rig.provider.folder(USER, "INBOX").is_empty()
    });

    // Added on the page; nobody is known to sign in, so the provider asks whom.
    let added = add(&rig, &mut browser, &csrf);
    added.shows("The token config second was added.");
    let chosen = [("csrf", csrf.as_str()), ("name", "second")];
    let way_out = browser.post("/tokens/request", &chosen).way_out();
    let asked = browser.follow(way_out.clone());
    asked.shows("Allow access to your mail?");
    let allowed = format!("{way_out}&login_hint={}", encode(USER));
    let back = browser.follow(allowed);
    back.shows("The new token of second is here.");
    let first = setup.ok(&["token", "access", "second"], "");

    let before = rig.provider.counts().refreshes;
    let forged = [("csrf", "another session's"), ("name", "second")];
    let forged = browser.post("/tokens/refresh", &forged);
    assert_eq!(forged.status, 403, "{}", forged.body);
    assert_eq!(rig.provider.counts().refreshes, before);
    let refreshed = browser.post("/tokens/refresh", &chosen);
    refreshed.shows("The token of second was refreshed.");
    assert_eq!(rig.provider.counts().refreshes, before + 1);
    let second = setup.ok(&["token", "access", "second"], "");
    assert_ne!(first, second);

    for path in ["/", "/mailboxes", "/relays", "/tokens/add?template=generic"] {
        assert_eq!(browser.get(path).status, 200, "{path}");
    }
    let (_, client_secret) = rig.provider.client();
    let log = std::fs::read_to_string(rig.path().join("postern.log")).unwrap();
    for secret in [PASSWORD, &client_secret, first.trim(), second.trim()] {
        assert!(!browser.ours.contains(secret), "{secret} is on a page");
        assert!(!log.contains(secret), "{secret} is in the log");
    }
    let left = browser.post("/sign-out", &[("csrf", &csrf)]);
    left.shows("You are signed out.");
    browser.get("/tokens").shows("<h1>Sign in</h1>");
}

/// The daemon with its page at `localhost`, which is another site than the provider at 127.0.0.1, and an administrator who signed in.
fn signed_in(rig: &Rig) -> (Daemon, Setup, Browser) {
    let port = free_port();
    let (script, filed) = filing_command(rig.path());
    let mut setup = Setup::new(rig, "");
    setup.web = format!("{{listen: '127.0.0.1:{port}', public_url: 'http://localhost:{port}'}}");
    setup.write(&format!(
        "token_configs:\n{}mailboxes:\n  - name: desk\n    host: 127.0.0.1\n    port: {}\n    tls: none\n    user: {USER}\n    \
         auth: {{token: desk}}\n    deliver: {{command: ['{}', '{}']}}\n    after: delete\n",
        rig.token_config_yaml("desk"),
        rig.provider.imap().port(),
        script.display(),
        filed.display()
    ));
    setup.ok(&["admin", "password"], PASSWORD);
    let daemon = setup.start();
    let browser = Browser::sign_in(port);
    (daemon, setup, browser)
}

/// Fills the form of the generic template; the page that follows.
fn add(rig: &Rig, browser: &mut Browser, csrf: &str) -> Page {
    let (id, secret) = rig.provider.client();
    let fields = [
        ("csrf", csrf),
        ("template", "generic"),
        ("name", "second"),
        ("client_id", &id),
        ("client_secret", &secret),
        ("scope", "mail offline_access"),
        ("endpoints.discovery", &rig.provider.url()),
        ("validity", "valid"),
    ];
    browser.post("/tokens/add", &fields)
}

/// Keeps cookies by host and follows redirects, as a browser does.
pub(crate) struct Browser {
    page: String,
    cookies: BTreeMap<(String, String), String>,
    /// Names of cookies that another site's links don't bring along.
    strict: BTreeSet<String>,
    /// Everything that the admin page has answered.
    pub(crate) ours: String,
}

impl Browser {
    /// Signs in to the page that listens on this port, with [`PASSWORD`].
    pub(crate) fn sign_in(port: u16) -> Self {
        let mut browser = Self {
            page: format!("http://localhost:{port}"),
            cookies: BTreeMap::new(),
            strict: BTreeSet::new(),
            ours: String::new(),
        };
        let form = browser.get("/");
        form.shows("<h1>Sign in</h1>");
        let token = form.hidden("sign_in_token");
        let fields = [
            ("sign_in_token", token.as_str()),
            ("name", "admin"),
            ("password", PASSWORD),
        ];
        browser.post("/sign-in", &fields).shows("<h1>Overview</h1>");
        browser
    }

    pub(crate) fn get(&mut self, path: &str) -> Page {
        self.follow(format!("{}{path}", self.page))
    }

    pub(crate) fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Page {
        let pair = |(name, value): &(&str, &str)| format!("{name}={}", encode(value));
        let pairs: Vec<String> = fields.iter().map(pair).collect();
        let url = format!("{}{path}", self.page);
        let answer = self.exchange("POST", &url, &pairs.join("&"), false);
        self.onward(&url, answer, false)
    }

    fn follow(&mut self, url: String) -> Page {
        self.go(url, false)
    }

    /// `led`: another site has a part in it.
    fn go(&mut self, url: String, led: bool) -> Page {
        let answer = self.exchange("GET", &url, "", led);
        self.onward(&url, answer, led)
    }

    fn onward(&mut self, url: &str, answer: Page, led: bool) -> Page {
        let led = led || !url.starts_with(&self.page);
        let host = format!("http://{}", apart(url).0);
        if let Some(path) = answer.refreshes() {
            // The page's own doing, whoever led to it.
            return self.go(format!("{host}{path}"), false);
        }
        match answer.location() {
            Some(path) if path.starts_with('/') => self.go(format!("{host}{path}"), led),
            Some(url) => self.go(url.to_owned(), led),
            None => answer,
        }
    }

    fn exchange(&mut self, method: &str, url: &str, body: &str, led: bool) -> Page {
        let (authority, path) = apart(url);
        let (host, port) = authority.split_once(':').unwrap();
        let comes_along =
            |(at, name): &(String, String)| at == host && !(led && self.strict.contains(name));
        let cookies = self.cookies.iter().filter(|(key, _)| comes_along(key));
        let cookies: Vec<String> = cookies
            .map(|((_, name), value)| format!("{name}={value}"))
            .collect();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {authority}\r\nOrigin: {}\r\nCookie: {}\r\nConnection: close\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
            self.page,
            cookies.join("; "),
            body.len()
        );
        let mut stream = TcpStream::connect(("127.0.0.1", port.parse().unwrap())).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let page = Page {
            status: head.split(' ').nth(1).unwrap().parse().unwrap(),
            head: head.to_owned(),
            body: body.to_owned(),
        };
        if url.starts_with(&self.page) {
            self.ours.push_str(&text);
        }
        let lines = page.head.lines();
        for cookie in lines.filter_map(|line| line.strip_prefix("set-cookie: ")) {
            let (name, value) = cookie.split(';').next().unwrap().split_once('=').unwrap();
            if name == "postern" {
                assert!(cookie.contains("HttpOnly; SameSite=Strict"), "{cookie}");
                self.strict.insert(name.to_owned());
            }
            assert!(cookie.contains("HttpOnly; SameSite="), "{cookie}");
            let key = (host.to_owned(), name.to_owned());
            self.cookies.insert(key, value.to_owned());
        }
        page
    }
}

/// What came at the end of the redirects.
pub(crate) struct Page {
    status: u16,
    head: String,
    pub(crate) body: String,
}

impl Page {
    fn location(&self) -> Option<&str> {
        let mut fields = self.head.lines().filter_map(|line| line.split_once(": "));
        let found = fields.find(|(name, _)| name.eq_ignore_ascii_case("location"));
        found.map(|(_, value)| value)
    }

    /// Where it leads at once, below our own address.
    fn refreshes(&self) -> Option<&str> {
        let (_, rest) = self.body.split_once("content=\"0;url=/")?;
        let path = rest.split('"').next()?;
        let start = self.body.len() - rest.len() - 1;
        self.body.get(start..start + 1 + path.len())
    }

    #[track_caller]
    pub(crate) fn shows(&self, words: &str) {
        let Self { status, body, .. } = self;
        assert!(body.contains(words), "{words:?} is not in {status} {body}");
    }

    pub(crate) fn hidden(&self, name: &str) -> String {
        self.after(&format!("name=\"{name}\" value=\""))
    }

    /// Where the page leads at once: to the provider.
    fn way_out(&self) -> String {
        self.after("content=\"0;url=").replace("&#38;", "&")
    }

    fn after(&self, start: &str) -> String {
        self.shows(start);
        let (_, rest) = self.body.split_once(start).unwrap();
        rest.split('"').next().unwrap().to_owned()
    }
}

/// Host with port, and path.
fn apart(url: &str) -> (&str, &str) {
    let rest = url.strip_prefix("http://").unwrap();
    rest.split_at(rest.find('/').unwrap())
}

fn encode(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}
