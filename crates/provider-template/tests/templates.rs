//! The built-in templates, and the folder beside them.

mod support;

use std::fs;
use std::path::Path;

use provider_template::{Autofill, Bearer, Flow, Library, Tls, read, write};

use support::order;

const NAMES: [&str; 18] = [
    "google",
    "google-service-account",
    "microsoft-common",
    "microsoft-organizations",
    "microsoft-consumers",
    "microsoft-tenant",
    "microsoft-app",
    "microsoft-gcc-high",
    "microsoft-dod",
    "microsoft-china",
    "yahoo",
    "aol",
    "fastmail",
    "yandex",
    "mailru",
    "comcast",
    "seznam",
    "generic",
];

/// A word in braces, as opposed to an empty map.
fn has_placeholder(text: &str) -> bool {
    text.split('{')
        .skip(1)
        .any(|after| after.starts_with(|c: char| c.is_ascii_alphabetic()))
}

#[test]
fn every_built_in_template_makes_a_token_config_without_a_mistake_or_a_remark() {
    let library = Library::load(None);
    let names: Vec<&str> = library.templates.iter().map(|t| t.name.as_str()).collect();
    assert_eq!(names, NAMES);
    assert_eq!(library.problems, []);
    for template in &library.templates {
        let made = template.order(order(template)).unwrap();
        assert_eq!(made.mistakes(), [], "{}", template.name);
        assert_eq!(made.remarks(), Vec::<String>::new(), "{}", template.name);
        assert_eq!(made.config.template_name.as_ref(), Some(&template.name));
        let text = write(std::slice::from_ref(&made), true);
        assert!(!has_placeholder(&text), "no placeholder is left: {text}");
        assert_eq!(read(&text).unwrap(), [made]);
    }
}

#[test]
fn every_built_in_template_has_https_endpoints_hosts_a_scope_and_the_variables_that_it_uses() {
    for template in Library::load(None).templates {
        let name = &template.name;
        let generic = name == "generic";
        let config = &template.config;
        let postern = &config.postern;
        let urls: Vec<&str> = config
            .requests
            .iter()
            .map(|(_, request)| request.url.as_str())
            .chain(postern.endpoints.iter().map(|(_, url)| url))
            .collect();
        for url in &urls {
            assert!(url.starts_with("https://") != generic, "{name}: {url}");
        }
        let hosts = [&postern.imap, &postern.pop3, &postern.smtp];
        for host in hosts.into_iter().flatten() {
            assert!(host.host.contains('.') && host.tls != Tls::None, "{name}");
        }
        assert_eq!(postern.imap.is_none(), generic, "{name}");
        assert_eq!(postern.smtp.is_none(), generic, "{name}");
        assert_eq!(config.scope.is_empty(), generic, "{name}");
        for variable in &postern.variables {
            let braces = format!("{{{}}}", variable.name);
            assert!(urls.iter().any(|url| url.contains(&braces)), "{name}");
            assert!(!variable.asks.is_empty(), "{name}");
        }
        // What the URLs mention without a declaration would be added by the library's question.
        assert_eq!(template.variables(), postern.variables, "{name}");
    }
}

#[test]
fn every_built_in_template_tells_the_administrator_what_to_do() {
    for template in Library::load(None).templates {
        let postern = &template.config.postern;
        assert!(postern.title.is_some(), "{}", template.name);
        let notes = postern.notes.as_deref().unwrap();
        assert!(notes.starts_with("1. "), "{}", template.name);
        let redirect = notes.contains("redirect_path");
        assert_eq!(
            redirect,
            template.config.flow == Flow::AuthorizationCode,
            "{}",
            template.name
        );
        assert!(template.config.client_id.is_empty() && template.config.client_secret.is_empty());
        assert_eq!(
            read(&write(std::slice::from_ref(&template), true)).unwrap(),
            [template]
        );
    }
}

#[test]
fn the_files_of_the_built_in_templates_are_named_as_they_are() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/templates");
    let mut files: Vec<String> = fs::read_dir(&folder)
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    let mut expected: Vec<String> = NAMES.iter().map(|name| format!("{name}.yaml")).collect();
    expected.sort();
    assert_eq!(files, expected);
    for name in NAMES {
        let text = fs::read_to_string(folder.join(format!("{name}.yaml"))).unwrap();
        assert_eq!(read(&text).unwrap()[0].name, name);
    }
}

#[test]
fn the_providers_peculiarities_are_in_their_templates() {
    let library = Library::load(None);
    let google = &library.get("google").unwrap().config;
    let ask = google.requests.authorization_code.as_ref().unwrap();
    for pair in [("access_type", "offline"), ("prompt", "consent")] {
        assert!(
            ask.parameters
                .iter()
                .any(|(f, v)| (f.as_str(), v.as_str()) == pair)
        );
    }
    let smtp = google.postern.smtp.as_ref().unwrap();
    assert_eq!(
        (smtp.host.as_str(), smtp.port, smtp.tls),
        ("smtp.gmail.com", 465, Tls::Implicit)
    );
    assert_eq!(google.postern.refresh_idle_life, Some(180));
    assert!(google.postern.quirks.trash_on_delete);
    let quirks = |name: &str| &library.get(name).unwrap().config.postern.quirks;
    assert_eq!(quirks("yahoo").sasl_preferred, Some(Bearer::Oauthbearer));
    assert_eq!(quirks("yandex").sasl_refused, Some(Bearer::Oauthbearer));

    for name in NAMES.iter().filter(|name| name.starts_with("microsoft-")) {
        let config = &library.get(name).unwrap().config;
        let quirks = &config.postern.quirks;
        assert!(
            quirks.smtp_no_initial_response && quirks.pop3_two_line_auth,
            "{name}"
        );
        let smtp = config.postern.smtp.as_ref().unwrap();
        assert_eq!((smtp.port, smtp.tls), (587, Tls::Starttls), "{name}");
        if let Some(refresh) = &config.requests.token_by_refresh_token {
            assert_eq!(refresh.field(Autofill::Scope), Some("scope"), "{name}");
            assert_eq!(config.postern.refresh_idle_life, Some(90), "{name}");
            assert!(config.scope.contains("POP.AccessAsUser.All"), "{name}");
            let device = config.postern.endpoints.device.as_deref().unwrap();
            assert!(device.ends_with("/oauth2/v2.0/devicecode"), "{name}");
        }
    }
    let app = &library.get("microsoft-app").unwrap().config;
    assert_eq!(app.flow, Flow::ClientCredentials);
    assert_eq!(app.scope, "https://outlook.office365.com/.default");
    assert_eq!(app.postern.limits.smtp_size, Some(157_286_400));
    assert_eq!(app.postern.limits.smtp_connections, Some(3));
    assert_eq!(app.postern.limits.smtp_rate, Some(30));
    let personal = &library.get("microsoft-consumers").unwrap().config.postern;
    assert_eq!(
        personal.smtp.as_ref().unwrap().host,
        "smtp-mail.outlook.com"
    );
}

fn minimal(name: &str) -> String {
    let mut entry = Library::load(None).templates.swap_remove(0);
    entry.name = name.to_owned();
    entry.config.postern = Default::default();
    write(&[entry], false)
}

#[test]
fn a_folder_adds_replaces_and_never_stops_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, content: &[u8]| fs::write(folder.path().join(name), content).unwrap();
    put(
        "a-broken.yaml",
        b"- Name: x\n  Config:\n    ClientSecret: *planted\n",
    );
    put(
        "b-missing.yml",
        b"# a comment\n- Name: y\n  Config:\n    Scope: s\n",
    );
    put("c-mine.yaml", minimal("mine").as_bytes());
    put("d-again.yaml", minimal("mine").as_bytes());
    put("e-google.yaml", minimal("google").as_bytes());
    put("f-binary.yaml", b"Name: x\nN\xff");
    put(
        "g-two.yaml",
        format!("{}{}", minimal("first"), minimal("second")).as_bytes(),
    );
    put(".hidden.yaml", b"{");
    put("notes.txt", b"{");
    let library = Library::load(Some(folder.path()));
    let names: Vec<&str> = library.templates.iter().map(|t| t.name.as_str()).collect();
    assert_eq!(names, [&NAMES[..], &["mine", "first"]].concat());
    assert!(
        library
            .get("google")
            .unwrap()
            .config
            .postern
            .title
            .is_none(),
        "the folder's one"
    );
    assert_eq!(library.overrides.len(), 1);
    assert_eq!(library.overrides[0].name, "google");
    let shown: Vec<String> = library
        .problems
        .iter()
        .map(|p| {
            p.to_string()
                .replace(folder.path().to_str().unwrap(), "DIR")
        })
        .collect();
    assert_eq!(
        shown,
        [
            "DIR/a-broken.yaml:3:19: this is not valid YAML: an alias without its anchor; text that begins with * must be quoted",
            "DIR/b-missing.yml:2:3: [1]: Config.Requests.AuthorizationCode: this request is missing, and the flow needs it",
            "DIR/d-again.yaml: its Name is taken already by DIR/c-mine.yaml",
            "DIR/f-binary.yaml:2:2: this is not UTF-8",
        ]
    );
}

#[test]
fn a_missing_folder_is_an_empty_one() {
    let library = Library::load(Some(Path::new("/nonexistent/templates")));
    assert_eq!(library.problems, []);
    assert_eq!(library.templates.len(), NAMES.len());
}

#[test]
fn a_token_endpoint_finds_its_template_and_the_values_of_its_variables() {
    let library = Library::load(None);
    let found = |url: &str, flow| {
        library.by_token_url(url, flow).map(|(template, values)| {
            let values: Vec<&str> = values.iter().map(|(_, value)| value.as_str()).collect();
            format!("{} {}", template.name, values.join(" "))
        })
    };
    let microsoft =
        |tenant: &str| format!("https://login.microsoftonline.com/{tenant}/oauth2/v2.0/token");
    let code = Flow::AuthorizationCode;
    for (url, flow, name) in [
        (microsoft("common"), code, "microsoft-common "),
        (
            microsoft("consumers"),
            Flow::DeviceCode,
            "microsoft-consumers ",
        ),
        (
            microsoft("contoso.com"),
            code,
            "microsoft-tenant contoso.com",
        ),
        (
            microsoft("contoso.com"),
            Flow::ClientCredentials,
            "microsoft-app contoso.com",
        ),
        (
            microsoft("contoso.com"),
            Flow::Password,
            "microsoft-tenant contoso.com",
        ),
        (
            "https://oauth2.googleapis.com/token".to_owned(),
            code,
            "google ",
        ),
        (
            "https://oauth2.googleapis.com/token".to_owned(),
            Flow::ServiceAccount,
            "google-service-account ",
        ),
        (
            "https://api.login.yahoo.com/oauth2/get_token".to_owned(),
            code,
            "yahoo ",
        ),
    ] {
        assert_eq!(found(&url, flow).as_deref(), Some(name), "{url}");
    }
    assert_eq!(found("https://id.example.com/token", code), None);
    assert_eq!(
        found("", code).as_deref(),
        Some("generic "),
        "discovered, or still to be given"
    );
}
