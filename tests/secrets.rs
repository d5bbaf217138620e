//! The secrets that nobody gets to see: planted, used, and looked for in everything the daemon wrote.

use crate::admin_page::{Browser, PASSWORD};
use crate::harness::postern::Setup;
use crate::harness::rig::Rig;
use crate::harness::{eventually, free_port};
use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use rustix::process::Signal;
use sandbox::{Fault, Service};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::thread::JoinHandle;
use std::time::Duration;

const USER: &str = "desk@sandbox.test";
/// What the provider is said to have answered to a consent.
const CODE: &str = "planted-authorisation-code";

/// Every file under a folder, whole.
fn everything(folder: &Path, into: &mut Vec<u8>) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            everything(&path, into);
        } else if let Ok(bytes) = std::fs::read(&path) {
            into.extend(bytes);
        }
    }
}

/// What `ps` shows of the daemon and its children: arguments and environment.
fn process_list(pid: u32, into: &mut Vec<u8>) {
    for process in std::fs::read_dir("/proc").unwrap().flatten() {
        let status = std::fs::read_to_string(process.path().join("stat")).unwrap_or_default();
        let parent = status
            .rsplit(") ")
            .next()
            .and_then(|rest| rest.split(' ').nth(1)?.parse().ok());
        let own = process.file_name().to_string_lossy().parse() == Ok(pid);
        if own || parent == Some(pid) {
            for file in ["cmdline", "environ"] {
                into.extend(std::fs::read(process.path().join(file)).unwrap_or_default());
            }
        }
    }
}

/// What was planted: by name, so that the one that is found is not printed once more.
#[derive(Default)]
struct Planted {
    /// Belong nowhere.
    secrets: BTreeMap<String, String>,
    /// Belong on the page or in the output that hands them to the person, and nowhere else.
    handed: BTreeMap<String, String>,
}

impl Planted {
    fn put(&mut self, name: &str, secret: impl Into<String>) {
        self.secrets.insert(name.to_owned(), secret.into());
    }

    /// An RSA key, line by line: however it were broken, escaped or cut, a line of it would be there.
    fn key(&mut self, pem: &str) {
        let lines = pem.lines().filter(|line| line.len() == 64);
        for (n, line) in lines.enumerate() {
            self.put(&format!("line {n} of the private key"), line);
        }
    }
}

#[track_caller]
fn absent(secrets: &BTreeMap<String, String>, said: &[u8], place: &str) {
    for (name, secret) in secrets {
        let found = said
            .windows(secret.len())
            .position(|w| w == secret.as_bytes());
        let before =
            found.map(|at| String::from_utf8_lossy(&said[at.saturating_sub(200)..at]).into_owned());
        assert_eq!(before, None, "the {name} is in {place}, after this");
    }
}

/// A token endpoint that refuses one exchange and repeats what it was sent, as some do: its port, and the form it got.
fn echoing() -> (u16, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let form = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = String::new();
        while !request.contains("code_verifier=") || !request.contains("redirect_uri=") {
            let mut chunk = [0; 4096];
            let read = stream.read(&mut chunk).unwrap();
            assert_ne!(read, 0, "the request ends early: {request}");
            request.push_str(&String::from_utf8_lossy(&chunk[..read]));
        }
        let (_, form) = request.split_once("\r\n\r\n").unwrap();
        let body =
            format!("{{\"error\":\"invalid_grant\",\"error_description\":\"you sent {form}\"}}");
        let head = "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json";
        let length = body.len();
        let answer =
            format!("{head}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
        stream.write_all(answer.as_bytes()).unwrap();
        form.to_owned()
    });
    (port, form)
}

/// A field of a form or of an address, as it stands there.
fn field(text: &str, name: &str) -> String {
    let (_, rest) = text.split_once(&format!("{name}=")).unwrap();
    rest.split(['&', '"', ' ', '\n']).next().unwrap().to_owned()
}

/// Token configs with a client secret, with a certificate's key, and of an endpoint that repeats what it is sent; a page.
fn setup(rig: &Rig, planted: &mut Planted, echo: u16, web: u16) -> Setup {
    let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    let parameters = CertificateParams::new(vec!["postern.example".into()]).unwrap();
    let certificate = parameters.self_signed(&key).unwrap().pem();
    rig.provider
        .register_certificate(&certificate, &key.public_key_pem());
    let at = rig.path().display();
    std::fs::write(rig.path().join("app.pem"), &certificate).unwrap();
    std::fs::write(rig.path().join("app.key"), key.serialize_pem()).unwrap();
    planted.key(&key.serialize_pem());
    planted.put("client secret", rig.provider.client().1);
    planted.put("relay's password", "planted-relay-password");
    planted.put("administrator's password", PASSWORD);
    planted.put("authorisation code", CODE);

    let (imap, smtp) = (rig.provider.imap().port(), rig.provider.smtp().port());
    let (oauth, issuer) = (rig.provider.oauth(), rig.provider.url());
    let (client, _) = rig.provider.client();
    let echoed = rig.token_config_yaml("echoed").replace(
        &format!("'http://{oauth}/token'"),
        &format!("'http://127.0.0.1:{echo}/token'"),
    );
    let app = format!(
        "  - {{name: app, template: generic, client_id: {client}, scope: mail, flow: client_credentials,\n\
         \x20    client_certificate: {{file: {at}/app.pem}}, client_key: {{file: {at}/app.key}},\n\
         \x20    endpoints: {{discovery: '{issuer}'}}}}\n"
    );
    let accounts = format!(
        "token_configs:\n{}{echoed}{app}mailboxes:\n  - {{name: desk, host: 127.0.0.1, port: {imap}, tls: none, user: {USER}, auth: {{token: t}}, deliver: {{command: [/bin/false]}}}}\n\
         relays:\n  - {{name: desk, host: 127.0.0.1, port: {smtp}, tls: none, user: {USER}, auth: {{token: t}}, senders: ['*']}}\n\
         \x20 - {{name: other, host: 127.0.0.1, port: {smtp}, tls: none, user: other, auth: {{password: planted-relay-password}}, senders: ['@x.test']}}\n",
        rig.token_config_yaml("t")
    );
    let mut setup = Setup::new(rig, "");
    setup.web = format!("{{listen: '127.0.0.1:{web}', public_url: 'http://localhost:{web}'}}");
    setup.write(&accounts);
    let yaml = std::fs::read_to_string(&setup.config).unwrap();
    std::fs::write(&setup.config, yaml.replace("level: info", "level: trace")).unwrap();
    setup.ok(&["admin", "password"], PASSWORD);
    setup
}

/// The commands that look at everything, and a failure that echoes what was sent, as some servers' do.
fn look_around(rig: &Rig, setup: &Setup, planted: &mut Planted, said: &mut Vec<u8>) {
    for round in 0..3 {
        for name in ["t", "app"] {
            let token = setup.run(&["token", "access", name], "");
            if token.status.success() {
                let token = String::from_utf8(token.stdout).unwrap().trim().to_owned();
                planted.put(&format!("access token {round} of {name}"), token);
            }
        }
        let echo = rig.provider.client().1;
        let body =
            format!("{{\"error\":\"invalid_client\",\"error_description\":\"you sent {echo}\"}}");
        if round == 1 {
            let fault = Fault::http(401, "application/json", &[], &body);
            rig.provider.fault(Service::Oauth, "/token", 1, fault);
        }
        for args in [
            &["token", "refresh", "t"][..],
            &["token", "refresh", "app"],
            &["status", "--json"],
            &["token", "show", "t"],
            &["token", "show", "app"],
            &["token", "list", "--json"],
            &["token", "export", "--without-secrets"],
            &["mailbox", "list", "--json"],
            &["queue", "list"],
            &["key", "rotate"],
        ] {
            let output = setup.run(args, "");
            said.extend(output.stdout);
            said.extend(output.stderr);
        }
    }
}

/// One consent that is begun on the page and refused at the exchange, and two that stay begun: on the page and by the command.
fn consent(setup: &Setup, browser: &mut Browser, form: JoinHandle<String>, planted: &mut Planted) {
    let csrf = browser.get("/tokens").hidden("csrf");
    let ask = |name| [("csrf", csrf.as_str()), ("name", name), ("way", "paste")];
    let page = browser.post("/tokens/request", &ask("echoed"));
    let state = field(&page.body.replace("&#38;", "&"), "state");
    let address = format!("http://127.0.0.1/callback?code={CODE}&state={state}");
    let pasted = [("csrf", csrf.as_str()), ("address", address.as_str())];
    browser
        .post("/tokens/paste", &pasted)
        .shows("invalid_grant");
    let form = form.join().unwrap();
    assert_eq!(field(&form, "code"), CODE);
    planted.put("code verifier", field(&form, "code_verifier"));
    planted
        .handed
        .insert("state of the page's consent".into(), state);

    let page = browser.post("/tokens/request", &ask("t"));
    let state = field(&page.body.replace("&#38;", "&"), "state");
    planted
        .handed
        .insert("state that stays on the page".into(), state);
    let begun = setup.run(&["token", "request", "t", "--paste"], "");
    let state = field(&String::from_utf8(begun.stdout).unwrap(), "state");
    planted
        .handed
        .insert("state of the command's consent".into(), state);
    let heads = browser.ours.split("set-cookie: ").skip(1);
    for (n, cookie) in heads.enumerate() {
        let value = cookie.split([';', '=']).nth(1).unwrap();
        let cookie = (!value.is_empty()).then(|| value.to_owned());
        planted
            .handed
            .extend(cookie.map(|value| (format!("cookie {n}"), value)));
    }
}

#[test]
fn no_secret_is_in_a_log_at_the_finest_level_a_file_an_output_a_page_or_the_process_list() {
    let rig = Rig::new(Duration::from_secs(2));
    let mut planted = Planted::default();
    let ((echo, form), web) = (echoing(), free_port());
    let setup = setup(&rig, &mut planted, echo, web);
    let refresh_token = rig.provider.consent(USER);
    setup.ok(&["token", "seed", "t"], &refresh_token);
    planted.put("refresh token", refresh_token);
    let daemon = setup.start();
    let mut browser = Browser::sign_in(web);
    let mut said = Vec::new();
    look_around(&rig, &setup, &mut planted, &mut said);
    consent(&setup, &mut browser, form, &mut planted);
    for path in [
        "/",
        "/tokens",
        "/tokens/add?template=generic",
        "/tokens/add?template=microsoft-app",
        "/tokens/device?name=t",
        "/mailboxes",
        "/relays",
    ] {
        browser.get(path).shows("/sign-out");
    }
    process_list(daemon.pid(), &mut said);
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", daemon.pid())).unwrap();
    let core = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"))
        .unwrap();
    assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
    let pid = daemon.pid();
    daemon.signal(Signal::ABORT);
    eventually("the daemon is gone", Duration::from_secs(20), || {
        std::fs::read_to_string(format!("/proc/{pid}/stat"))
            .map_or(true, |stat| stat.contains(") Z"))
    });
    for name in ["core".to_owned(), format!("core.{pid}")] {
        assert!(!Path::new(&name).exists(), "{name}");
    }
    drop(daemon);
    // These hold what the administrator put there.
    for own in ["postern.yaml", "app.key"] {
        std::fs::remove_file(rig.path().join(own)).unwrap();
    }
    everything(rig.path(), &mut said);
    assert!(
        said.windows(5).any(|w| w == b"TRACE"),
        "the log was at its finest level"
    );
    let names: BTreeSet<&str> = planted.secrets.keys().map(String::as_str).collect();
    assert!(names.len() >= 30, "planted: {names:?}");
    for name in [
        "code verifier",
        "access token 0 of app",
        "access token 0 of t",
    ] {
        assert!(names.contains(name), "planted: {names:?}");
    }
    assert!(
        planted.handed.len() >= 4,
        "the states and a session's cookie"
    );
    absent(&planted.secrets, &said, "a log, a file or an output");
    absent(&planted.handed, &said, "a log, a file or an output");
    absent(&planted.secrets, browser.ours.as_bytes(), "a page");
}
