//! What an order may choose and must prove, on the built-in templates.

mod support;

use provider_template::{
    Assertion, Edit, Endpoints, Entry, Flow, Library, Mistake, Order, Secret, read, write,
};

use support::{KEY_FILE, order};

/// Nothing but its armour is looked at here.
const KEY: &str = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";

#[test]
fn every_flow_that_a_template_names_can_be_ordered() {
    for template in Library::load(None).templates {
        let own = template.config.flow;
        for flow in template.possible_flows() {
            let chosen = Order {
                flow: Some(flow),
                user: only(flow == Flow::Password, "support@example.com"),
                password: Secret::new(only(flow == Flow::Password, "password")),
                service_account: Secret::new(only(flow == Flow::ServiceAccount, KEY_FILE)),
                ..order(&template)
            };
            let made = template.order(chosen).unwrap();
            assert_eq!(made.config.flow, flow, "{}", template.name);
            assert!(made.config.first_request().is_some(), "{}", template.name);
            assert_eq!(made.config.postern.flows, []);
            let text = write(std::slice::from_ref(&made), true);
            assert_eq!(read(&text).unwrap(), [made]);
        }
        assert!(template.possible_flows().contains(&own));
        for flow in Flow::ALL {
            if !template.possible_flows().contains(&flow) {
                let asked = Order {
                    flow: Some(flow),
                    ..order(&template)
                };
                let mistakes = template.order(asked).unwrap_err();
                assert!(mistakes.iter().any(|m| m.field == "flow"), "{mistakes:?}");
            }
        }
    }
}

/// Without discovery: what a flow needs is given address by address, and nothing else is asked for.
#[test]
fn the_generic_template_needs_no_address_that_its_flow_does_not_use() {
    let library = Library::load(None);
    let template = library.get("generic").unwrap();
    let here = |path: &str| Some(format!("https://login.example.net/{path}"));
    for flow in [Flow::ClientCredentials, Flow::Password, Flow::DeviceCode] {
        let by_device = flow == Flow::DeviceCode;
        let ordered = Order {
            flow: Some(flow),
            user: only(flow == Flow::Password, "support@example.com"),
            password: Secret::new(only(flow == Flow::Password, "password")),
            endpoints: Endpoints {
                token: here("token"),
                device: here("device").filter(|_| by_device),
                ..Endpoints::default()
            },
            ..order(template)
        };
        let made = template.order(ordered).unwrap();
        assert_eq!(made.config.flow, flow);
        assert!(made.mistakes().is_empty());
    }
}

fn only(wanted: bool, text: &str) -> String {
    if wanted {
        text.to_owned()
    } else {
        String::new()
    }
}

#[test]
fn a_certificate_stands_in_for_the_client_secret_in_every_flow_that_has_one() {
    let library = Library::load(None);
    let certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for name in ["microsoft-app", "microsoft-tenant"] {
        let template = library.get(name).unwrap();
        let with = |certificate: &str, key: &str| {
            template.order(Order {
                client_secret: Secret::default(),
                private_key: Secret::new(key),
                assertion: Some(Assertion {
                    certificate: certificate.to_owned(),
                    ..Assertion::default()
                }),
                ..order(template)
            })
        };
        let made = with(certificate, KEY).unwrap();
        assert_eq!(made.mistakes(), []);
        assert_eq!(made.remarks(), Vec::<String>::new());
        let fields = |made: Result<Entry, Vec<Mistake>>| -> Vec<String> {
            let mistakes = made.unwrap_err();
            mistakes.into_iter().map(|mistake| mistake.field).collect()
        };
        assert_eq!(fields(with("", KEY)), ["client_certificate"]);
        assert_eq!(fields(with(certificate, "")), ["client_key"]);
        assert_eq!(
            fields(with(KEY, certificate)),
            ["client_certificate", "client_key"],
            "the two mixed up"
        );
    }
}

#[test]
fn what_belongs_to_another_flow_is_a_mistake_and_not_ignored() {
    let library = Library::load(None);
    let google = library.get("google").unwrap();
    let bare = Order {
        user: "support@example.com".to_owned(),
        password: Secret::new("password"),
        service_account: Secret::new(KEY_FILE),
        ..order(google)
    };
    let mistakes = google.order(bare).unwrap_err();
    let fields: Vec<&str> = mistakes.iter().map(|m| m.field.as_str()).collect();
    assert_eq!(fields, ["service_account", "user", "password"]);
}

#[test]
fn a_service_account_needs_no_client_id_of_its_own() {
    let library = Library::load(None);
    let template = library.get("google-service-account").unwrap();
    let made = template
        .order(Order {
            client_id: String::new(),
            client_secret: Secret::default(),
            ..order(template)
        })
        .unwrap();
    assert_eq!(
        made.config.client_id,
        "robot@project.iam.gserviceaccount.com"
    );
    assert!(made.config.flow.per_subject());
    let account = made.config.postern.service_account.unwrap();
    assert_eq!(
        account.audience.as_deref(),
        Some("https://oauth2.googleapis.com/token"),
        "the template's"
    );
}

#[test]
fn the_generic_template_takes_endpoints_or_an_issuer() {
    let library = Library::load(None);
    let generic = library.get("generic").unwrap();
    let made = generic.order(order(generic)).unwrap();
    assert_eq!(
        made.config.postern.discovery.as_deref(),
        Some("https://id.example.com")
    );
    assert_eq!(made.config.scope, "mail offline_access");
    let token = |entry: &Entry| {
        entry
            .config
            .requests
            .token_by_refresh_token
            .as_ref()
            .unwrap()
            .url
            .clone()
    };
    assert_eq!(token(&made), "");

    let given = Endpoints {
        authorize: Some("http://localhost:9000/auth".to_owned()),
        token: Some("http://127.0.0.1:9000/token".to_owned()),
        ..Endpoints::default()
    };
    let made = generic
        .order(Order {
            endpoints: given,
            ..order(generic)
        })
        .unwrap();
    assert_eq!(token(&made), "http://127.0.0.1:9000/token");

    let mistakes = generic
        .order(Order {
            endpoints: Endpoints::default(),
            scope: None,
            ..order(generic)
        })
        .unwrap_err();
    let fields: Vec<&str> = mistakes.iter().map(|m| m.field.as_str()).collect();
    assert_eq!(fields, ["scope", "endpoints.authorize", "endpoints.token"]);
}

#[test]
fn a_client_without_a_person_needs_its_secret_and_takes_no_authorisation_url() {
    let library = Library::load(None);
    let app = library.get("microsoft-app").unwrap();
    let endpoints = Endpoints {
        authorize: Some("https://login.example.com/".to_owned()),
        ..Endpoints::default()
    };
    let bare = Order {
        client_secret: Secret::default(),
        endpoints,
        ..order(app)
    };
    let mistakes = app.order(bare).unwrap_err();
    let fields: Vec<&str> = mistakes.iter().map(|m| m.field.as_str()).collect();
    assert_eq!(fields, ["client_secret", "endpoints.authorize"]);
}

#[test]
fn an_edit_changes_what_it_names_and_nothing_else() {
    let library = Library::load(None);
    let template = library.get("microsoft-tenant").unwrap();
    let made = template.order(order(template)).unwrap();
    assert_eq!(made.edited(Edit::default()).unwrap(), made);

    let edit = Edit {
        client_id: Some(" other ".to_owned()),
        client_secret: Some(Secret::new("newer")),
        scope: Some("a  b".to_owned()),
        endpoints: Endpoints {
            revoke: Some("https://id.example.com/revoke".to_owned()),
            ..Endpoints::default()
        },
        valid: Some(false),
        ..Edit::default()
    };
    let mut expected = made.clone();
    expected.valid = false;
    expected.config.client_id = "other".to_owned();
    expected.config.client_secret = Secret::new("newer");
    expected.config.scope = "a b".to_owned();
    expected.config.postern.endpoints.revoke = Some("https://id.example.com/revoke".to_owned());
    assert_eq!(made.edited(edit).unwrap(), expected);
}

#[test]
fn a_secret_and_a_certificate_take_each_others_place() {
    let library = Library::load(None);
    let template = library.get("microsoft-app").unwrap();
    let made = template.order(order(template)).unwrap();
    let assertion = Assertion {
        certificate: "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_owned(),
        ..Assertion::default()
    };
    let edit = Edit {
        certificate: Some((assertion, Secret::new(KEY))),
        ..Edit::default()
    };
    let certified = made.edited(edit).unwrap();
    assert!(certified.config.client_secret.is_empty());
    let edit = Edit {
        client_secret: Some(Secret::new("secret")),
        ..Edit::default()
    };
    assert_eq!(certified.edited(edit).unwrap(), made);
}

#[test]
fn an_edit_that_would_break_a_token_config_is_refused_by_field() {
    let library = Library::load(None);
    let template = library.get("microsoft-app").unwrap();
    let made = template.order(order(template)).unwrap();
    let edit = Edit {
        client_id: Some(" ".to_owned()),
        client_secret: Some(Secret::default()),
        service_account: Some(Secret::new("planted")),
        scope: Some(String::new()),
        endpoints: Endpoints {
            token: Some("http://id.example.com/token".to_owned()),
            ..Endpoints::default()
        },
        ..Edit::default()
    };
    let mistakes = made.edited(edit).unwrap_err();
    let fields: Vec<&str> = mistakes.iter().map(|m| m.field.as_str()).collect();
    assert_eq!(
        fields,
        [
            "service_account",
            "client_id",
            "scope",
            "client_secret",
            "endpoints.token"
        ]
    );
    assert!(!format!("{mistakes:?}").contains("planted"));
}
