//! The reader against whole files: the documented one, the smallest one, and a folder of broken ones.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use provider_template::Tls;
use sender::Listen;
use token_store::accounts::{After, Auth, Protocol, Sasl, StartFrom, Watch, Way};

use super::yaml::{Node, Value};
use super::{Config, Secrets, Surroundings, examine, yaml};

fn top(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(path)
}

/// Reads a text with credentials from an empty folder.
fn read(text: &str) -> Result<Config, String> {
    let credentials = tempfile::tempdir().unwrap();
    read_with(text, credentials.path())
}

fn read_with(text: &str, credentials: &Path) -> Result<Config, String> {
    let surroundings = Surroundings::for_tests(credentials.to_owned());
    Config::parse(Path::new("postern.yaml"), text, &surroundings)
        .map_err(|mistakes| mistakes.to_string())
}

/// A mailbox of its own, with further keys.
fn mailbox(more: &str) -> String {
    let base = "mailboxes:\n  - name: a\n    host: localhost\n    user: u\n    auth: {password: p}\n    deliver: {command: [/bin/true]}\n";
    format!("{base}    {more}\n")
}

#[test]
fn every_broken_configuration_gets_exactly_the_message_beside_it() {
    let folder = top("tests/broken-config");
    let mut names: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    names.retain(|path| {
        path.extension()
            .is_some_and(|extension| extension == "yaml")
    });
    names.sort();
    assert!(names.len() >= 25, "{}", names.len());
    let credentials = tempfile::tempdir().unwrap();
    let mut wrong = Vec::new();
    for path in names {
        let text = std::fs::read_to_string(&path).unwrap();
        let name = path.file_name().unwrap();
        let surroundings = Surroundings::for_tests(credentials.path().to_owned());
        let found = match Config::parse(Path::new(name), &text, &surroundings) {
            Ok(_) => "no mistake".to_owned(),
            Err(mistakes) => mistakes.to_string(),
        };
        let expected = std::fs::read_to_string(path.with_extension("expected")).unwrap_or_default();
        if found != expected.trim_end() {
            wrong.push(format!(
                "--- {}\nfound:\n{found}\nexpected:\n{expected}",
                name.display()
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_documented_configuration_is_right_and_names_every_key_there_is() {
    let text = std::fs::read_to_string(top("config/postern.yaml")).unwrap();
    let surroundings = Surroundings::of_this_process(Secrets::LeftOut);
    let (_, mistakes, known) = examine(Path::new("postern.yaml"), &text, &surroundings);
    assert_eq!(mistakes, []);
    let (root, _) = yaml::parse(&text).unwrap();
    let mut present = BTreeSet::new();
    keys(&root, "", &mut present);
    // A variable's name is the template's, and of the two ways to name a key only one can stand in the file.
    present.retain(|key| !key.starts_with("token_configs[].variables."));
    let missing: Vec<&String> = known.difference(&present).collect();
    assert!(missing.is_empty(), "not documented: {missing:?}");
}

fn keys(node: &Node, path: &str, into: &mut BTreeSet<String>) {
    match &node.value {
        Value::Scalar { .. } => {}
        Value::List(items) => items
            .iter()
            .for_each(|item| keys(item, &format!("{path}[]"), into)),
        Value::Map(entries) => {
            for (key, value) in entries {
                let path = if path.is_empty() {
                    key.text.clone()
                } else {
                    format!("{path}.{}", key.text)
                };
                keys(value, &path, into);
                into.insert(path);
            }
        }
    }
}

#[test]
fn what_a_file_leaves_out_has_its_default() {
    for text in ["mailboxes: []\n", "---\nrelays:\n", "state_dir:\nweb: ~\n"] {
        let config = read(text).unwrap();
        assert_eq!(config.state_dir, Path::new("/var/lib/postern"));
        assert_eq!(
            config.control_socket,
            Path::new("/run/postern/control.sock")
        );
        assert_eq!(
            config.key,
            super::KeySource::Made("/var/lib/postern/postern.key".into())
        );
        assert_eq!(
            config.web.as_ref().unwrap().listen,
            Listen::Tcp("127.0.0.1:8025".parse().unwrap())
        );
        assert_eq!(config.submission.len(), 1);
        assert_eq!(
            config.submission[0].listen,
            Listen::Tcp("127.0.0.1:2525".parse().unwrap())
        );
        assert_eq!(config.submission[0].max_size, 157_286_400);
        assert!(config.declared.mailboxes.is_empty() && !config.literal_secrets);
    }
}

#[test]
fn page_and_submission_can_be_switched_off() {
    let config = read("web: off\nsubmission: []\n").unwrap();
    assert_eq!((config.web, config.submission), (None, vec![]));
}

#[test]
fn a_mailbox_takes_host_port_and_tls_from_its_token_configs_template() {
    let text = "token_configs:\n  - name: m\n    template: microsoft-tenant\n    client_id: c\n    client_secret: s\n    variables: {TenantID: contoso.com}\n\
                mailboxes:\n  - name: a\n    user: u@contoso.com\n    auth: {token: m}\n    deliver: {command: [/bin/true]}\n\
                relays:\n  - name: a\n    user: u@contoso.com\n    auth: {token: m}\n    senders: [u@contoso.com]\n";
    let config = read(text).unwrap();
    let mailbox = &config.declared.mailboxes[0];
    assert_eq!(
        (mailbox.host.as_str(), mailbox.port, mailbox.tls),
        ("outlook.office365.com", 993, Tls::Implicit)
    );
    assert_eq!(mailbox.auth, Auth::Token("m".into()));
    assert_eq!(mailbox.declared_in.as_deref(), Some("postern.yaml"));
    let relay = &config.declared.relays[0];
    assert_eq!(
        (relay.host.as_str(), relay.port, relay.tls),
        ("smtp.office365.com", 587, Tls::Starttls)
    );
    assert_eq!((relay.connections, relay.rate), (3, Some(30)));
    let (template, entry) = &config.declared.token_configs[0];
    assert_eq!(
        (template.as_str(), entry.name.as_str()),
        ("microsoft-tenant", "m")
    );
    assert!(config.literal_secrets);
}

#[test]
fn a_mailbox_of_its_own_has_the_protocols_defaults() {
    let config = read(&mailbox("")).unwrap();
    let mailbox = &config.declared.mailboxes[0];
    assert_eq!(
        (mailbox.port, mailbox.tls, mailbox.sasl),
        (993, Tls::Implicit, Sasl::Auto)
    );
    assert_eq!(mailbox.folders, ["INBOX"]);
    assert_eq!(
        (
            mailbox.max_undelivered,
            mailbox.max_size,
            mailbox.idle_minutes
        ),
        (500, 157_286_400, 25)
    );
    assert_eq!(
        (mailbox.watch, mailbox.poll),
        (Watch::Idle, Duration::from_secs(300))
    );
    assert_eq!(
        (mailbox.start_from, mailbox.after.clone(), mailbox.paused),
        (StartFrom::All, After::Delete, false)
    );
    assert_eq!(
        (mailbox.deliver.timeout, mailbox.deliver.concurrency),
        (Duration::from_secs(600), 1)
    );
}

#[test]
fn a_port_alone_says_how_it_is_protected_and_the_protection_alone_says_the_port() {
    for (more, port, tls) in [
        ("port: 143", 143, Tls::Starttls),
        ("port: 993", 993, Tls::Implicit),
        ("port: 1143", 1143, Tls::Implicit),
        ("tls: starttls", 143, Tls::Starttls),
        ("tls: none", 143, Tls::None),
        ("{tls: none, port: 1143}", 1143, Tls::None),
    ] {
        let more = more.trim_matches(['{', '}']).replace(", ", "\n    ");
        let config = read(&mailbox(&more)).unwrap();
        let mailbox = &config.declared.mailboxes[0];
        assert_eq!((mailbox.port, mailbox.tls), (port, tls), "{more}");
    }
}

#[test]
fn a_pop3_mailbox_has_its_own_ports_and_the_templates_pop3_host() {
    for (more, port, tls) in [
        ("", 995, Tls::Implicit),
        ("\n    port: 110", 110, Tls::Starttls),
        ("\n    tls: starttls", 110, Tls::Starttls),
        ("\n    tls: none", 110, Tls::None),
    ] {
        let config = read(&mailbox(&format!("protocol: pop3{more}"))).unwrap();
        let mailbox = &config.declared.mailboxes[0];
        assert_eq!(
            (mailbox.protocol, mailbox.port, mailbox.tls),
            (Protocol::Pop3, port, tls)
        );
        assert!(!mailbox.pop3_two_line_auth);
    }
    let text = "token_configs:\n  - name: t\n    template: microsoft-tenant\n    variables: {TenantID: example.com}\n    \
        client_id: i\n    client_secret: s\n    scope: https://outlook.office.com/POP.AccessAsUser.All offline_access\n\
        mailboxes:\n  - name: a\n    protocol: pop3\n    user: u\n    auth: {token: t}\n    deliver: {command: [/bin/true]}\n";
    let config = read(text).unwrap();
    let mailbox = &config.declared.mailboxes[0];
    assert_eq!(
        (
            mailbox.host.as_str(),
            mailbox.port,
            mailbox.pop3_two_line_auth
        ),
        ("outlook.office365.com", 995, true)
    );
}

#[test]
fn words_dates_and_durations_of_a_mailbox_are_read() {
    let read = |more: &str| read(&mailbox(more)).unwrap().declared.mailboxes.remove(0);
    assert_eq!(
        read("start_from: 2026-01-31").start_from,
        StartFrom::Date(1_769_817_600)
    );
    assert_eq!(read("start_from: now").start_from, StartFrom::Now);
    assert_eq!(
        read("watch: 1m").watch,
        Watch::Every(Duration::from_secs(60))
    );
    assert_eq!(read("after: seen").after, After::Seen);
    assert_eq!(
        read("after: {move: Done, create: true}").after,
        After::Move {
            folder: "Done".into(),
            create: true
        }
    );
    assert_eq!(read("max_size: 10MB").max_size, 10_000_000);
    assert!(read("paused: true").paused);
}

#[test]
fn a_secret_comes_from_a_file_the_environment_or_a_credential_without_its_line_end() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("pass"), "from a credential\n").unwrap();
    std::fs::write(folder.path().join("file"), "from a file\r\n").unwrap();
    let file = format!("{{file: {}}}", folder.path().join("file").display());
    for (secret, expected) in [
        ("0123", "0123"),
        ("{env: POSTERN_TEST_SECRET}", "from the environment"),
        ("{credential: pass}", "from a credential"),
        (file.as_str(), "from a file"),
    ] {
        let text = mailbox("").replace("password: p", &format!("password: {secret}"));
        let config = read_with(&text, folder.path()).unwrap();
        let Auth::Password(password) = &config.declared.mailboxes[0].auth else {
            panic!("{secret}")
        };
        assert_eq!(password.expose(), expected);
        assert_eq!(config.literal_secrets, secret == "0123");
    }
}

#[test]
fn certificates_and_service_accounts_come_from_their_files_or_are_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let pem = |label: &str| format!("-----BEGIN {label}-----\nAAAA\n-----END {label}-----\n");
    let put = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    put("app.crt", &pem("CERTIFICATE"));
    put("app.key", &pem("PRIVATE KEY"));
    let key = pem("PRIVATE KEY").replace('\n', "\\n");
    put(
        "robot.json",
        &format!(
            "{{\"client_email\": \"robot@example.com\", \"private_key\": \"{key}\", \"private_key_id\": \"7\"}}"
        ),
    );
    let text = "token_configs:\n  - name: app\n    template: microsoft-app\n    variables: {TenantID: contoso.com}\n    client_id: c\n    \
                client_certificate: {credential: app.crt}\n    client_key: {credential: app.key}\n    client_algorithm: RS256\n    \
                notify: {expired_refresh_token: true}\n  \
                - name: domain\n    template: google-service-account\n    service_account: {credential: robot.json}\n";
    let config = read_with(text, folder.path()).unwrap();
    let [app, domain] = [0, 1].map(|index| &config.declared.token_configs[index].1.config);
    let assertion = app.postern.assertion.as_ref().unwrap();
    assert_eq!(assertion.algorithm.name(), "RS256");
    assert_eq!(assertion.certificate, pem("CERTIFICATE").trim_end());
    assert_eq!(app.private_key.expose(), pem("PRIVATE KEY").trim_end());
    assert!(app.notifications.expired_token, "the template's");
    assert!(app.notifications.expired_refresh_token, "the file's");
    let account = domain.postern.service_account.as_ref().unwrap();
    assert_eq!(domain.client_id, "robot@example.com");
    assert_eq!(account.key_id.as_deref(), Some("7"));
    assert!(domain.flow.per_subject());

    let wrong = read_with(&text.replace("RS256", "ES256"), folder.path()).unwrap_err();
    assert!(wrong.contains("expected PS256 or RS256"), "{wrong}");

    // A command that only looks needs none of the files.
    let surroundings = Surroundings::of_this_process(super::Secrets::LeftOut);
    Config::parse(Path::new("postern.yaml"), text, &surroundings).unwrap();
}

#[test]
fn whatever_is_wrong_around_a_secret_no_message_shows_it() {
    let shapes = [
        "token_configs:\n  - {name: a, template: google, client_id: c, client_secret: [hunter2]}\n",
        "token_configs:\n  - {name: a, template: google, client_id: c, client_secret: {hunter2: hunter2}}\n",
        "token_configs:\n  - {name: a, template: google, client_id: c, client_secret: {fil: hunter2}}\n",
        "token_configs:\n  - {name: a, template: gogle, client_id: c, client_secret: hunter2, clientsecret: hunter2}\n",
        "token_configs:\n  - {name: a, template: google, client_id: c, client_secret: \"hunter2\\n\"}\n",
        "token_configs: {name: a, client_secret: hunter2\n",
        "mailboxes:\n  - {name: a, auth: hunter2}\n",
        "mailboxes:\n  - {name: a, auth: {password: {a: hunter2, b: hunter2}}}\n",
        "mailboxes:\n  - {name: a, auth: {password: hunter2, token: b}}\n",
        "mailboxes:\n  - {name: a, auth: {pasword: hunter2}}\n",
        "key: hunter2\n",
        "key: {value: hunter2}\n",
        "web: {public_url: \"https://admin:hunter2@example.com\"}\n",
        "token_configs:\n  - {name: a, template: generic, client_id: c, scope: s, endpoints: {token: \"https://a:hunter2@b/\"}}\n",
        "a: hunter2\n b: hunter2\n",
        "a: *hunter2\n",
        "a: \"hunter2\n",
    ];
    for text in shapes {
        let words = read(text).unwrap_err();
        assert!(!words.contains("hunter2"), "{text}\n{words}");
    }
}

#[test]
fn an_alias_repeats_a_value_and_cannot_be_blown_up() {
    let text = "mailboxes:\n  - &first\n    name: a\n    host: localhost\n    user: u\n    auth: &auth {password: p}\n    deliver: &deliver {command: [/bin/true]}\n  \
                - name: b\n    host: localhost\n    user: v\n    auth: *auth\n    deliver: *deliver\n";
    assert_eq!(
        read(text).unwrap().declared.mailboxes[1].deliver.way,
        Way::command(vec!["/bin/true".into()])
    );
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..9 {
        let before = vec![format!("*a{}", level - 1); 10].join(", ");
        bomb.push_str(&format!("a{level}: &a{level} [{before}]\n"));
    }
    assert!(read(&bomb).unwrap_err().contains("more than 100000 values"));
}
