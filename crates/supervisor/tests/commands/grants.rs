//! Each grant by the real binary, alone and beside the daemon.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdout};
use std::time::{Duration, Instant};

use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use sandbox::{Knobs, Provider};

use crate::place::{Place, SOON, USER, location};

const OTHER: &str = "other@sandbox.test";
const ROBOT: &str = "postern@project.iam.sandbox.test";

/// A token config of the generic template with everything discovered, and these keys besides.
fn config(provider: &Provider, name: &str, keys: &str) -> String {
    let (id, secret) = provider.client();
    let secret = if keys.contains("client_key") || keys.contains("service_account:") {
        String::new()
    } else {
        format!("    client_secret: {secret}\n")
    };
    let (url, keys) = (provider.url(), keys.replace("; ", "\n    "));
    format!(
        "  - name: {name}\n    template: generic\n    client_id: {id}\n{secret}    scope: mail offline_access\n    \
         endpoints: {{discovery: '{url}'}}\n    {keys}\n"
    )
}

fn hurried() -> Knobs {
    Knobs {
        device_interval: Duration::from_millis(50),
        ..Knobs::default()
    }
}

/// A command that runs, the first line it printed, and the rest to come.
struct Running {
    child: Child,
    first: String,
    rest: BufReader<ChildStdout>,
}

impl Running {
    fn start(place: &Place, arguments: &[&str]) -> Self {
        let mut child = place.command(arguments).spawn().unwrap();
        let mut rest = BufReader::new(child.stdout.take().unwrap());
        let mut first = String::new();
        rest.read_line(&mut first).unwrap();
        Self {
            child,
            first: first.trim().to_owned(),
            rest,
        }
    }

    /// How it ended, and what it printed after the first line.
    fn ends(mut self, code: i32) -> (String, String) {
        let (mut said, mut warned) = (String::new(), String::new());
        self.rest.read_to_string(&mut said).unwrap();
        let mut stderr = self.child.stderr.take().unwrap();
        stderr.read_to_string(&mut warned).unwrap();
        let status = self.child.wait().unwrap();
        assert_eq!(status.code(), Some(code), "{said}{warned}");
        (said, warned)
    }

    fn types(&mut self, line: &str) {
        let stdin = self.child.stdin.as_mut().unwrap();
        writeln!(stdin, "{line}").unwrap();
    }
}

fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < SOON, "never happened: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_code_is_entered_on_another_device_without_a_daemon() {
    let place = Place::with(hurried(), |p, _| config(p, "d", "flow: device_code"));
    let running = Running::start(&place, &["token", "request", "d"]);
    let (url, code) = running.first.split_once("  ").unwrap();
    assert_eq!(url, format!("{}/device", place.provider.url()));
    eventually("it asks", || place.provider.counts().device_questions > 1);
    assert!(place.provider.answer_device(code, Some(USER)));
    let (said, warned) = running.ends(0);
    assert_eq!(said, format!("d has its token; signed in as {USER}\n"));
    assert!(!warned.contains('\u{1b}'), "no picture but on a terminal");
    let token = place.ok(&["token", "access", "d"], "");
    assert_eq!(place.provider.user_of(token.trim()).as_deref(), Some(USER));
    assert!(
        place
            .ok(&["token", "show", "d"], "")
            .contains("signed in as:")
    );
}

#[test]
fn the_daemon_follows_a_device_and_obeys_slow_down() {
    let place = Place::with(hurried(), |p, _| config(p, "d", "flow: device_code"));
    let _daemon = place.daemon();
    place.provider.slow_down(1);
    let begun = Instant::now();
    let running = Running::start(&place, &["token", "request", "d"]);
    let code = running.first.rsplit(' ').next().unwrap();
    eventually("it asks", || place.provider.counts().device_questions > 0);
    assert!(place.provider.answer_device(code, Some(USER)));
    running.ends(0);
    assert!(
        begun.elapsed() > Duration::from_secs(5),
        "five seconds more"
    );
    let counts = place.provider.counts();
    assert_eq!(
        (counts.device_questions, counts.device_questions_too_early),
        (2, 0)
    );
}

#[test]
fn a_device_that_is_refused_ends_the_command_with_the_providers_words() {
    let place = Place::with(hurried(), |p, _| config(p, "d", "flow: device_code"));
    let running = Running::start(&place, &["token", "request", "d"]);
    let code = running.first.rsplit(' ').next().unwrap();
    place.provider.answer_device(code, None);
    let (_, warned) = running.ends(77);
    assert!(warned.contains("access_denied"), "{warned}");
}

#[test]
fn an_address_pasted_from_any_browser_brings_the_token() {
    for beside in [false, true] {
        let place = Place::new();
        let _daemon = beside.then(|| place.daemon());
        let paste = ["token", "request", "t", "--paste", "--user", USER];
        let mut running = Running::start(&place, &paste);
        assert!(
            running
                .first
                .contains("redirect_uri=http%3A%2F%2F127.0.0.1%2Foauth2%2Fcallback"),
            "{}",
            running.first
        );
        let address = location(&running.first);
        running.types("what shall I paste?");
        running.types("http://127.0.0.1/oauth2/callback?code=stolen&state=guessed");
        running.types(&address);
        let (said, warned) = running.ends(0);
        assert_eq!(said, "t has its token\n");
        assert!(warned.contains("belongs to another sign-in"), "{warned}");
        place.ok(&["token", "access", "t"], "");
    }
    let place = Place::new();
    place.ends(&["token", "request", "t", "--paste"], "", 65);
    let own = [
        "token",
        "request",
        "t",
        "--paste",
        "--redirect-uri",
        "https://help.example/cb",
    ];
    let url = place.ends(&own, "", 65);
    assert!(
        url.contains("redirect_uri=https%3A%2F%2Fhelp.example%2Fcb"),
        "{url}"
    );
}

#[test]
fn the_wrong_person_is_refused_and_let_in_by_request() {
    let place = Place::with(Knobs::default(), |p, _| config(p, "p", "valid: true"));
    let sign_in = |arguments: &[&str]| {
        let mut running = Running::start(&place, arguments);
        let url = match running.first.split_once("&login_hint=") {
            Some((url, _)) => url.to_owned(),
            None => running.first.clone(),
        };
        running.types(&location(&format!("{url}&login_hint={OTHER}")));
        running
    };
    let (_, warned) = sign_in(&["token", "request", "p", "--paste", "--user", USER]).ends(77);
    assert!(warned.contains(OTHER) && warned.contains(USER), "{warned}");
    assert!(warned.contains("--any-user"), "{warned}");
    place.ends(&["token", "access", "p"], "", 77);
    let (said, _) = sign_in(&["token", "request", "p", "--paste", "--any-user"]).ends(0);
    assert_eq!(said, format!("p has its token; signed in as {OTHER}\n"));
    assert!(place.ok(&["token", "show", "p"], "").contains(OTHER));
}

/// Writes a key pair's files: `NAME.key`, `NAME.pem`; the public key.
fn keys(folder: &Path, name: &str) -> (String, String, String) {
    let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    let parameters = CertificateParams::new(vec!["postern.example".into()]).unwrap();
    let certificate = parameters.self_signed(&key).unwrap().pem();
    std::fs::write(folder.join(format!("{name}.key")), key.serialize_pem()).unwrap();
    std::fs::write(folder.join(format!("{name}.pem")), &certificate).unwrap();
    (key.serialize_pem(), key.public_key_pem(), certificate)
}

#[test]
fn a_service_account_gives_each_mailbox_user_a_token() {
    let place = Place::with(Knobs::default(), |provider, folder| {
        let (private, public, _) = keys(folder, "robot");
        provider.register_service_account(ROBOT, &public, &[USER, OTHER]);
        let file = serde_json::json!({"type": "service_account", "client_email": ROBOT, "private_key": private,
            "private_key_id": "k1", "token_uri": format!("{}/token", provider.url())});
        std::fs::write(folder.join("robot.json"), file.to_string()).unwrap();
        let keys = format!(
            "flow: service_account; service_account: {{file: {}}}",
            folder.join("robot.json").display()
        );
        config(provider, "robot", &keys)
    });
    let access = |user: &str| {
        let token = place.ok(&["token", "access", "robot", "--user", user], "");
        place.provider.user_of(token.trim())
    };
    assert_eq!(access(USER).as_deref(), Some(USER));
    assert_eq!(access(OTHER).as_deref(), Some(OTHER));
    place.ends(&["token", "access", "robot"], "", 78);
    place.ends(&["token", "access", "robot", "--user", "nobody@x"], "", 78);
    let list = place.ok(&["token", "list"], "");
    assert!(list.contains(&format!("robot for {USER}")), "{list}");
    place.ends(&["token", "request", "robot"], "", 65);
}

#[test]
fn a_certificate_and_a_password_get_tokens_and_are_never_printed() {
    let place = Place::with(Knobs::default(), |provider, folder| {
        let (_, public, certificate) = keys(folder, "app");
        provider.register_certificate(&certificate, &public);
        provider.set_password(USER, "right");
        let at = folder.display();
        let by_certificate = format!(
            "flow: client_credentials; client_certificate: {{file: {at}/app.pem}}; client_key: {{file: {at}/app.key}}"
        );
        [
            config(provider, "app", &by_certificate),
            config(
                provider,
                "old",
                &format!("flow: password; user: {USER}; password: right"),
            ),
            config(
                provider,
                "wrong",
                &format!("flow: password; user: {USER}; password: planted"),
            ),
        ]
        .concat()
    });
    place.ok(&["token", "access", "app"], "");
    assert_eq!(place.provider.counts().assertions, 1);
    let token = place.ok(&["token", "access", "old"], "");
    assert_eq!(place.provider.user_of(token.trim()).as_deref(), Some(USER));
    let refused = place.run(&["token", "access", "wrong"], "");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("the password *** of"), "{said}");
    let shown = place.ok(&["token", "show", "wrong", "--json"], "")
        + &place.ok(&["token", "show", "app"], "")
        + &said;
    assert!(
        !shown.contains("planted") && !shown.contains("PRIVATE"),
        "{shown}"
    );
}

#[test]
fn a_grant_is_looked_at_and_taken_back_alone_and_beside_the_daemon() {
    for beside in [false, true] {
        let place = Place::with(Knobs::default(), |p, _| config(p, "r", "valid: true"));
        let _daemon = beside.then(|| place.daemon());
        let seed = |name: &str| {
            let planted = place.provider.consent(USER);
            place.ok(&["token", "seed", name], &planted);
        };
        seed("r");
        let shown = place.ok(&["token", "show", "r", "--introspect"], "");
        assert!(
            shown.contains("active:        yes") && shown.contains(USER),
            "{shown}"
        );
        let json = place.ok(&["token", "show", "r", "--introspect", "--json"], "");
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["introspection"]["scope"], "mail offline_access");
        place.ends(&["token", "show", "t", "--introspect"], "", 77);

        let said = place.ok(&["token", "revoke", "r"], "");
        assert!(said.contains("taken back at the provider"), "{said}");
        assert_eq!(place.provider.counts().revocations, 1);
        place.ends(&["token", "access", "r"], "", 77);

        // This one names no endpoint for it.
        seed("t");
        let refused = place.run(&["token", "revoke", "t"], "");
        assert_eq!(refused.status.code(), Some(78));
        let words = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(words.contains("--forget"), "{words}");
        place.ok(&["token", "access", "t"], "");
        place.ok(&["token", "revoke", "t", "--forget"], "");
        place.ends(&["token", "access", "t"], "", 77);
    }
}
