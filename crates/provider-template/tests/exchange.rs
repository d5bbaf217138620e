//! The exchange format as administrators have it: exports, handed-around templates, and what becomes of them.

use provider_template::{Answer, Autofill, Endpoints, Flow, Mistake, Order, Secret, read, write};
use serde_json::json;

const LIST: &str = include_str!("fixtures/list.yaml");
const SINGLE: &str = include_str!("fixtures/single.yaml");
const UNKNOWN: &str = include_str!("fixtures/unknown.yaml");

fn mistake(field: &str, why: &str) -> Mistake {
    Mistake {
        field: field.to_owned(),
        why: why.to_owned(),
    }
}

fn fields(mistakes: &[Mistake]) -> Vec<&str> {
    mistakes.iter().map(|m| m.field.as_str()).collect()
}

#[test]
fn an_exported_list_is_read_in_full_and_database_columns_are_dropped() {
    let entries = read(LIST).unwrap();
    let [support, numbers] = entries.as_slice() else {
        panic!("two entries")
    };
    assert_eq!(support.name, "Support inbox");
    assert!(support.valid && support.rest.is_empty());
    let config = &support.config;
    assert_eq!(config.client_secret.expose(), "~Hq8Q~planted.secret_1");
    assert_eq!(config.template_name.as_deref(), Some("Microsoft Azure AD"));
    assert_eq!(config.flow, Flow::AuthorizationCode);
    assert!(config.notifications.expired_refresh_token && !config.notifications.expired_token);
    let refresh = config.requests.token_by_refresh_token.as_ref().unwrap();
    assert_eq!(
        refresh.parameters,
        [("grant_type".to_owned(), "refresh_token".to_owned())]
    );
    assert_eq!(refresh.field(Autofill::RefreshToken), Some("refresh_token"));
    assert_eq!(
        refresh.answer(Answer::TokenExpirationDate),
        Some("expires_in")
    );
    assert!(support.mistakes().is_empty());

    assert_eq!(numbers.name, "2026");
    assert_eq!(numbers.config.client_id, "200417");
    assert_eq!(numbers.config.scope, "");
    assert!(!numbers.valid);
}

#[test]
fn an_export_without_secrets_has_none_and_with_them_reads_back_equal() {
    let entries = read(LIST).unwrap();
    assert!(!write(&entries, false).contains("planted"));
    assert_eq!(read(&write(&entries, true)).unwrap(), entries);
    assert!(!format!("{entries:?}").contains("planted"));
}

#[test]
fn unknown_keys_are_written_back_where_they_stood() {
    let entries = read(UNKNOWN).unwrap();
    assert_eq!(
        entries[0].config.rest["Notifications"]["NotifyGroup"],
        json!(["admin", "users"])
    );
    let before: serde_json::Value = serde_saphyr::from_str(UNKNOWN).unwrap();
    let after: serde_json::Value = serde_saphyr::from_str(&write(&entries, true)).unwrap();
    assert_eq!(after, before);
}

#[test]
fn writing_is_stable_byte_for_byte() {
    for text in [LIST, SINGLE, UNKNOWN] {
        let once = write(&read(text).unwrap(), true);
        assert_eq!(write(&read(&once).unwrap(), true), once);
    }
}

#[test]
fn what_is_written_reads_well() {
    let mut entries = read(UNKNOWN).unwrap();
    entries[0].config.postern.notes = Some("First line.\n\n  - second\nlast\n".to_owned());
    entries[0].name = "no".to_owned();
    let text = write(&entries, true);
    assert!(
        text.starts_with("- Name: \"no\"\n  Config:\n    ClientID: client\n"),
        "{text}"
    );
    let notes = "      Notes: |\n        First line.\n\n          - second\n        last\n";
    assert!(text.contains(notes), "{text}");
}

#[test]
fn scalars_are_read_leniently() {
    let text = "Name: 123\nValidID: '1'\nConfig:\n  ClientID: 00123\n  ClientSecret: 1_000\n  Scope: 1.10\n  Notifications:\n    \
                NotifyOnExpiredToken: true\n    NotifyOnExpiredRefreshToken: 'yes'\n  Postern:\n    IMAP: {Host: h, Port: '993', TLS: implicit}\n    \
                Quirks: {SMTPNoInitialResponse: '1', IdleMinutes: 9}\n  Requests:\n    TokenByRefreshToken:\n      Request:\n        Parameters: \
                {a: 1, b: true, c: , d: 0x1F, e: 1e5}\n";
    let entry = &read(text).unwrap()[0];
    assert_eq!(entry.name, "123");
    assert_eq!(entry.config.client_id, "00123");
    assert_eq!(entry.config.client_secret.expose(), "1_000");
    assert_eq!(entry.config.scope, "1.10");
    assert!(
        entry.config.notifications.expired_token
            && entry.config.notifications.expired_refresh_token
    );
    assert_eq!(entry.config.postern.imap.as_ref().unwrap().port, 993);
    assert!(entry.config.postern.quirks.smtp_no_initial_response);
    let request = entry
        .config
        .requests
        .token_by_refresh_token
        .as_ref()
        .unwrap();
    let values: Vec<&str> = request.parameters.iter().map(|(_, v)| v.as_str()).collect();
    assert_eq!(values, ["1", "true", "", "0x1F", "1e5"]);
}

#[test]
fn valid_id_is_valid_only_when_it_is_one() {
    for (id, valid) in [
        ("1", true),
        ("true", true),
        ("2", false),
        ("3", false),
        ("0", false),
        ("'2'", false),
        ("false", false),
    ] {
        let entries = read(&format!("Name: x\nConfig: {{}}\nValidID: {id}\n")).unwrap();
        assert_eq!(entries[0].valid, valid, "{id}");
    }
    assert!(read("Name: x\nConfig: {}\n").unwrap()[0].valid);
}

#[test]
fn a_byte_order_mark_and_windows_line_ends_are_no_obstacle() {
    let text = format!("\u{feff}{}", SINGLE.replace('\n', "\r\n"));
    assert_eq!(read(&text).unwrap(), read(SINGLE).unwrap());
    let number = &read("\u{feff}Name: 0x10\nConfig: {}\n").unwrap()[0];
    assert_eq!(number.name, "0x10");
}

#[test]
fn an_empty_list_is_no_mistake() {
    assert_eq!(read("--- []\n").unwrap(), []);
}

#[test]
fn aliases_and_merge_keys_are_followed() {
    let text = "- Name: a\n  Config: &c\n    ClientID: 0x1\n    Scope: s\n- Name: b\n  Config:\n    <<: *c\n    Scope: t\n- Name: c\n  Config: *c\n";
    let entries = read(text).unwrap();
    assert_eq!(entries[1].config.client_id, "0x1");
    assert_eq!(entries[1].config.scope, "t");
    assert_eq!(entries[2].config, entries[0].config);
}

#[test]
fn a_foreign_template_asks_for_the_placeholders_it_uses() {
    let template = &read(SINGLE).unwrap()[0];
    let names: Vec<String> = template.variables().into_iter().map(|v| v.name).collect();
    assert_eq!(names, ["TenantID"]);
    for spelling in ["TenantID", "TenentID"] {
        let made = template
            .order(order_with(&[(spelling, " contoso.onmicrosoft.com ")]))
            .unwrap();
        let request = made
            .config
            .requests
            .token_by_refresh_token
            .as_ref()
            .unwrap();
        assert_eq!(
            request.url,
            "https://login.microsoftonline.com/contoso.onmicrosoft.com/oauth2/v2.0/token"
        );
        assert_eq!(
            made.config.template_name.as_deref(),
            Some("Azure, one tenant")
        );
    }
}

fn order_with(variables: &[(&str, &str)]) -> Order {
    Order {
        name: "support".to_owned(),
        client_id: "client".to_owned(),
        client_secret: Secret::new("planted.secret"),
        valid: true,
        variables: variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        ..Order::default()
    }
}

#[test]
fn every_mistake_of_an_order_is_told_at_once_by_its_field() {
    let template = &read(SINGLE).unwrap()[0];
    let order = Order {
        name: " ".to_owned(),
        client_id: String::new(),
        client_secret: Secret::new("planted\nsecret"),
        endpoints: Endpoints {
            authorize: Some("http://login.example.com/".to_owned()),
            token: Some("https://user:planted@login.example.com/".to_owned()),
            discovery: Some("login.example.com".to_owned()),
            ..Endpoints::default()
        },
        ..order_with(&[("Realm", "x")])
    };
    let mistakes = template.order(order).unwrap_err();
    assert_eq!(
        fields(&mistakes),
        [
            "name",
            "client_id",
            "client_secret",
            "variables.Realm",
            "variables.TenantID",
            "endpoints.discovery",
            "endpoints.authorize",
            "endpoints.token"
        ]
    );
    assert_eq!(
        mistakes[3].why,
        "the template Azure, one tenant has no such variable; it has TenantID"
    );
    assert_eq!(mistakes[4].why, "is missing");
    let words: String = mistakes.iter().map(ToString::to_string).collect();
    assert!(!words.contains("planted"), "{words}");
}

#[test]
fn a_variable_cannot_change_the_rest_of_a_url() {
    let template = &read(SINGLE).unwrap()[0];
    for value in [
        "a/../b",
        "a?b",
        "a#b",
        "a b",
        "a@b",
        "a%2f",
        "ä",
        "{TenantID}",
    ] {
        let mistakes = template
            .order(order_with(&[("TenantID", value)]))
            .unwrap_err();
        assert_eq!(
            mistakes,
            [mistake(
                "variables.TenantID",
                "may contain only letters, digits and . - _ ~"
            )],
            "{value}"
        );
    }
    let twice = template
        .order(order_with(&[("TenantID", "a"), ("TenentID", "b")]))
        .unwrap_err();
    assert_eq!(twice, [mistake("variables.TenentID", "is given twice")]);
}

#[test]
fn an_imported_entry_that_cannot_work_says_why() {
    let mut entry = read(SINGLE).unwrap().remove(0);
    entry.config.requests.token_by_refresh_token = None;
    let code = entry
        .config
        .requests
        .token_by_authorization_code
        .as_mut()
        .unwrap();
    code.url = "http://login.example.com/token".to_owned();
    code.autofilled.clear();
    code.answers.clear();
    let mistakes = entry.mistakes();
    assert_eq!(
        fields(&mistakes),
        [
            "Config.ClientID",
            "Config.Requests.TokenByAuthorizationCode.Request.AutofilledParametersMapping",
            "Config.Requests.TokenByAuthorizationCode.Response.ParametersMapping",
            "Config.Requests.TokenByRefreshToken",
            "Config.Requests.AuthorizationCode.Request.URL",
            "Config.Requests.TokenByAuthorizationCode.Request.URL",
        ]
    );
    assert_eq!(
        mistakes[1].why,
        "no form field is filled with AuthorizationCode"
    );
    assert_eq!(
        mistakes[4].why,
        "the placeholder {TenentID} is still there; write its value"
    );
}

#[test]
fn check_says_what_to_change_about_what_is_accepted() {
    let exported = read(LIST).unwrap().remove(0);
    assert_eq!(
        exported.remarks(),
        [
            "Config.Scope: https://graph.microsoft.com/IMAP.AccessAsUser.All is spelt as Microsoft Graph's; for IMAP, POP3 and SMTP write \
             https://outlook.office.com/IMAP.AccessAsUser.All",
            "Config.Scope: https://graph.microsoft.com/SMTP.Send is spelt as Microsoft Graph's; for IMAP, POP3 and SMTP write \
             https://outlook.office.com/SMTP.Send",
            "Config.Requests.TokenByRefreshToken sends no scope, which Microsoft refuses (AADSTS900144); map scope to Scope",
            "Config.Scope: without offline_access Microsoft gives no refresh token",
        ]
    );
    let template = read(SINGLE).unwrap().remove(0);
    assert!(template.remarks()[0].ends_with("{TenentID} is read as {TenantID}; write it that way"));
}
