//! Files as the other programs write them, and what becomes of each.

use super::*;

const PROXY: &str = include_str!("fixtures/emailproxy.config");
const MUTT: &str = include_str!("fixtures/mutt.json");
const SASL: &str = include_str!("fixtures/sasl.json");
const SASL_GOOGLE: &str = include_str!("fixtures/sasl-google.json");
const GETMAIL: &str = include_str!("fixtures/getmail.json");
const GETMAIL_OTHER: &str = include_str!("fixtures/getmail-other.json");

fn options(from: Format) -> Options {
    Options {
        from: Some(from),
        name: None,
        account: None,
        template: None,
        variables: Vec::new(),
        client_id: None,
        public_client: false,
        scope: None,
        authorize: None,
    }
}

fn library() -> Arc<Library> {
    Arc::new(Library::load(None))
}

fn moved(text: &str, options: &Options) -> Result<Moved, String> {
    let document = Path::new("/tokens/support");
    read(document, text.as_bytes().to_vec(), options, &library())
        .map_err(|failure| failure.words().to_owned())
}

/// The accounts of the proxy's file, opened with one password.
fn proxy(wanted: Option<&str>, password: &str) -> Result<Vec<Foreign>, String> {
    let mut ask = |_: &str| Ok(Secret::new(password));
    email_oauth2_proxy::read(PROXY, wanted, &mut ask).map_err(|failure| failure.words().to_owned())
}

fn refresh_token(account: &Foreign) -> &str {
    account.refresh_token.as_ref().map_or("", Secret::expose)
}

#[test]
fn the_proxys_accounts_are_opened_with_the_password_of_the_mail_program() {
    let accounts = proxy(None, "proxy password").unwrap();
    let users: Vec<&str> = accounts.iter().filter_map(|a| a.user.as_deref()).collect();
    assert_eq!(
        users,
        [
            "support@example.com",
            "old@gmail.com",
            "robot@example.org",
            "new@yahoo.com"
        ]
    );
    let [support, old, robot, new] = accounts.as_slice() else {
        panic!("four accounts")
    };
    assert_eq!(refresh_token(support), "planted-refresh-1");
    let secret = support.client_secret.as_ref().unwrap();
    assert_eq!(secret.expose(), "planted-secret");
    assert_eq!(
        refresh_token(old),
        "planted-refresh-2",
        "without token_iterations"
    );
    assert_eq!(
        robot.flow,
        Flow::ClientCredentials,
        "its domain's section says so"
    );
    assert_eq!(robot.client_id.as_deref(), Some("app-client"));
    assert_eq!((refresh_token(robot), refresh_token(new)), ("", ""));
}

#[test]
fn a_wrong_password_is_said_and_an_empty_one_leaves_the_account_out() {
    let refused = proxy(Some("old@gmail.com"), "another").unwrap_err();
    assert!(
        refused.starts_with("old@gmail.com: the password doesn't open"),
        "{refused}"
    );
    let left = proxy(None, "").unwrap();
    let users: Vec<&str> = left.iter().filter_map(|a| a.user.as_deref()).collect();
    assert_eq!(
        users,
        ["robot@example.org", "new@yahoo.com"],
        "those need no password"
    );
    let unknown = proxy(Some("nobody@example.com"), "x").unwrap_err();
    assert!(unknown.contains("support@example.com"), "{unknown}");
}

#[test]
fn each_account_of_the_proxy_becomes_a_token_config_of_the_right_template() {
    let accounts = proxy(None, "proxy password").unwrap();
    let made: Vec<String> = accounts
        .into_iter()
        .map(|account| {
            let name = account.user.clone().unwrap();
            let options = options(Format::EmailOauth2Proxy);
            let entry = place::entry(&name, account, &options, &library()).unwrap();
            assert_eq!(entry.mistakes(), [], "{name}");
            described(&entry, Format::EmailOauth2Proxy, true)
        })
        .collect();
    let expected = [
        "template microsoft-tenant, flow authorization_code, client ID 00000000-0000-0000-0000-000000000001, scope \
         https://outlook.office365.com/IMAP.AccessAsUser.All https://outlook.office365.com/SMTP.Send offline_access",
        "template google, flow authorization_code, client ID google-client, scope https://mail.google.com/",
        "template microsoft-app, flow client_credentials, client ID app-client, scope https://outlook.office365.com/.default",
        "template yahoo, flow authorization_code, client ID yahoo-client, scope mail-w",
    ];
    for (made, expected) in made.iter().zip(expected) {
        let all = format!(
            "from email-oauth2-proxy: {expected}; with a client secret, and a refresh token"
        );
        assert_eq!(*made, all);
    }
}

#[test]
fn several_accounts_cannot_have_one_name() {
    let options = Options {
        name: Some("support".to_owned()),
        ..options(Format::EmailOauth2Proxy)
    };
    let two = "[a@example.com]\npermission_url=https://accounts.google.com/o/oauth2/auth\ntoken_url=https://oauth2.googleapis.com/token\n\
               client_id=c\nclient_secret=s\n";
    let two = format!("{two}{}", two.replace("a@", "b@"));
    let refused = moved(&two, &options).err().unwrap();
    assert!(
        refused.contains("2 accounts (a@example.com, b@example.com)"),
        "{refused}"
    );
}

#[test]
fn a_token_file_of_mutt_needs_the_client_of_its_script() {
    let refused = moved(MUTT, &options(Format::MuttOauth2)).err().unwrap();
    assert!(refused.contains("--client-id"), "{refused}");
    let options = Options {
        client_id: Some("mutt-client".to_owned()),
        public_client: true,
        ..options(Format::MuttOauth2)
    };
    let moved = moved(MUTT, &options).unwrap();
    let entry = &moved.parcel.entries[0];
    assert_eq!(entry.name, "support@example.com");
    assert_eq!(
        entry.config.template_name.as_deref(),
        Some("microsoft-common")
    );
    assert_eq!(entry.config.flow, Flow::DeviceCode);
    assert!(!entry.config.scope.contains("openid"), "never consented to");
    assert_eq!(
        moved.parcel.tokens[0].refresh_token.expose(),
        "planted-refresh"
    );
}

#[test]
fn a_token_file_of_sasl_xoauth2_is_enough_where_it_names_its_client() {
    let moved_one = moved(SASL, &options(Format::SaslXoauth2)).unwrap();
    let entry = &moved_one.parcel.entries[0];
    assert_eq!(entry.name, "support", "the file's own name");
    let config = &entry.config;
    assert_eq!(config.template_name.as_deref(), Some("microsoft-consumers"));
    assert_eq!(config.client_secret.expose(), "planted-secret");
    assert_eq!(
        config.scope,
        "https://outlook.office.com/SMTP.Send offline_access"
    );
    assert!(
        moved_one.lines[1].contains("--scope"),
        "{:?}",
        moved_one.lines
    );

    let refused = moved(SASL_GOOGLE, &options(Format::SaslXoauth2))
        .err()
        .unwrap();
    assert!(refused.contains("--client-id"), "{refused}");
    let google = Options {
        client_id: Some("c".to_owned()),
        public_client: true,
        ..options(Format::SaslXoauth2)
    };
    let entry = moved(SASL_GOOGLE, &google)
        .unwrap()
        .parcel
        .entries
        .remove(0);
    assert_eq!(entry.config.template_name.as_deref(), Some("google"));
}

#[test]
fn a_client_alone_in_sasl_xoauth2_needs_no_refresh_token() {
    let text = SASL
        .replace("consumers", "contoso.com")
        .replace("{", "{\"use_client_credentials\": \"yes\", ");
    let moved = moved(&text, &options(Format::SaslXoauth2)).unwrap();
    assert!(moved.parcel.tokens.is_empty());
    let config = &moved.parcel.entries[0].config;
    assert_eq!(config.template_name.as_deref(), Some("microsoft-app"));
    assert_eq!(config.flow, Flow::ClientCredentials);
}

#[test]
fn a_token_file_of_getmail_has_everything() {
    let moved_one = moved(GETMAIL, &options(Format::Getmail)).unwrap();
    let entry = &moved_one.parcel.entries[0];
    assert_eq!(entry.name, "first.last@example.com");
    assert_eq!(
        entry.config.template_name.as_deref(),
        Some("microsoft-tenant")
    );
    let other = moved(GETMAIL_OTHER, &options(Format::Getmail)).unwrap();
    let entry = &other.parcel.entries[0];
    assert_eq!(entry.config.template_name.as_deref(), Some("generic"));
    let refresh = entry
        .config
        .requests
        .token_by_refresh_token
        .as_ref()
        .unwrap();
    assert_eq!(refresh.url, "https://id.example.net/token");
    let ask = entry.config.requests.authorization_code.as_ref().unwrap();
    assert_eq!(ask.url, "https://id.example.net/auth");
}

#[test]
fn what_is_asked_for_by_an_option_counts() {
    let options = Options {
        name: Some("mine".to_owned()),
        template: Some("microsoft-organizations".to_owned()),
        scope: Some("only this".to_owned()),
        ..options(Format::Getmail)
    };
    let entry = moved(GETMAIL, &options).unwrap().parcel.entries.remove(0);
    assert_eq!(entry.name, "mine");
    assert_eq!(
        entry.config.template_name.as_deref(),
        Some("microsoft-organizations")
    );
    assert_eq!(entry.config.scope, "only this");
    let nothing = Options {
        template: Some("nothing".to_owned()),
        ..options
    };
    assert!(moved(GETMAIL, &nothing).is_err());
}

#[test]
fn files_of_another_kind_are_refused_and_nothing_shows_a_secret() {
    let formats = [
        Format::EmailOauth2Proxy,
        Format::MuttOauth2,
        Format::SaslXoauth2,
        Format::Getmail,
    ];
    let texts = [
        "planted",
        "{\"planted\": planted",
        "[\"planted\"]",
        "{\"refresh_token\": 7, \"registration\": \"planted\"}",
        "[planted@example.com]\ntoken_url = planted\nclient_id = planted\nclient_secret = planted-\x01secret\n",
        "[a@example.com]\ntoken_url = https://a.example/t\noauth2_flow = planted-secret\n",
        "[a@example.com]\ntoken_url = https://a.example/t\nclient_id = *** your client id here ***\n",
    ];
    for format in formats {
        for text in texts {
            if format == Format::MuttOauth2 && !text.starts_with('{') {
                continue; // gpg's turn
            }
            let refused = moved(text, &options(format)).err();
            let refused = refused.unwrap_or_else(|| panic!("{format:?} took {text}"));
            assert!(!refused.contains("planted-"), "{refused}");
        }
    }
    for (text, format) in [
        (SASL, Format::SaslXoauth2),
        (GETMAIL, Format::Getmail),
        (GETMAIL_OTHER, Format::Getmail),
    ] {
        let lines = moved(text, &options(format)).unwrap().lines.join("\n");
        assert!(!lines.contains("planted"), "{lines}");
    }
}
