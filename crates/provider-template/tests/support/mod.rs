//! An order that every built-in template can carry out.

use provider_template::{Endpoints, Entry, Flow, Order, Secret};

/// The least that an order needs for a template.
pub(crate) fn order(template: &Entry) -> Order {
    let generic = template.name == "generic";
    let by_account = template.config.flow == Flow::ServiceAccount;
    Order {
        name: "support".to_owned(),
        client_id: "client".to_owned(),
        client_secret: Secret::new("secret"),
        service_account: Secret::new(if by_account { KEY_FILE } else { "" }),
        scope: generic.then(|| " mail\n offline_access ".to_owned()),
        variables: template
            .variables()
            .into_iter()
            .map(|variable| (variable.name, "contoso.onmicrosoft.com".to_owned()))
            .collect(),
        endpoints: Endpoints {
            discovery: generic
                .then(|| "https://id.example.com/.well-known/openid-configuration".to_owned()),
            ..Endpoints::default()
        },
        valid: true,
        ..Order::default()
    }
}

/// A service account's key file; of its key nothing but the armour is looked at here.
pub(crate) const KEY_FILE: &str = r#"{"client_email": "robot@project.iam.gserviceaccount.com", "private_key": "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"}"#;
