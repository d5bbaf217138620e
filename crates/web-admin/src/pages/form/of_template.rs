//! The form that makes a token config from a template.

use provider_template::{Endpoints, Entry, Flow, Order, Request, Secret};

use super::{Field, Form, Label, SERVICE_ACCOUNT, secret, token_url_label};
use crate::session::Fields;

impl Form {
    /// The form of a template before anything was typed.
    pub(crate) fn empty(template: &Entry) -> Self {
        let config = &template.config;
        let by_person = config.flow.needs_person();
        let scope_hint = if config.scope.is_empty() {
            "Words with blanks between them."
        } else {
            "Words with blanks between them. Left empty, the template's is used."
        };
        let mut scope = Field::new(Label::SCOPE, "Access token scope", scope_hint);
        // A scope with a placeholder is filled in from the variables, so it is left to the template.
        if !config.scope.contains('{') {
            scope.value.clone_from(&config.scope);
        }
        scope.required = config.scope.is_empty();
        let name_hint = "Unique. Mailboxes and relays refer to it.";
        let mut base = vec![Field::new(Label::NAME, "Name", name_hint).required()];
        base.extend(client(config.flow));
        base.extend(template.variables().into_iter().map(|variable| {
            let hint = if variable.asks == variable.name {
                String::new()
            } else {
                variable.asks
            };
            Field::new(format!("variables.{}", variable.name), variable.name, hint).required()
        }));
        base.push(scope);
        let notify = config.notifications;
        Self {
            base,
            advanced: endpoints(template),
            open: wants_endpoints(template),
            valid: true,
            expired_token: notify.expired_token,
            expired_refresh_token: notify.expired_refresh_token,
            by_person,
            public_client: None,
        }
    }

    /// The form as it was typed.
    pub(crate) fn typed(template: &Entry, fields: &Fields) -> Self {
        let mut form = Self::empty(template);
        form.fill(fields);
        form.open |= form.advanced.iter().any(|field| !field.value.is_empty());
        form
    }

    /// What the store is to make of it.
    pub(crate) fn order(&self, fields: &Fields) -> Order {
        let given = |name: &str| Some(fields.text(name).to_owned()).filter(|text| !text.is_empty());
        let variables = self.base.iter().filter_map(|field| {
            let variable = field.name.strip_prefix("variables.")?;
            Some((variable.to_owned(), field.value.clone()))
        });
        Order {
            name: fields.text(Label::NAME).to_owned(),
            client_id: fields.text(Label::CLIENT_ID).to_owned(),
            client_secret: Secret::new(fields.text(Label::CLIENT_SECRET)),
            service_account: Secret::new(fields.text(Label::SERVICE_ACCOUNT)),
            scope: given(Label::SCOPE),
            variables: variables.collect(),
            endpoints: Endpoints {
                authorize: given(Label::AUTHORIZE),
                token: given(Label::TOKEN),
                device: given(Label::DEVICE),
                revoke: given(Label::REVOKE),
                discovery: given(Label::DISCOVERY),
                ..Endpoints::default()
            },
            valid: self.valid,
            notifications: Some(self.notifications()),
            ..Order::default()
        }
    }
}

/// What proves who asks: the client's identifier and secret, or a service account's key file.
fn client(flow: Flow) -> Vec<Field> {
    if flow == Flow::ServiceAccount {
        let hint = "Paste the whole file, from the first brace to the last.";
        return vec![secret(Label::SERVICE_ACCOUNT, SERVICE_ACCOUNT, hint).required()];
    }
    let by_person = flow.needs_person();
    let hint = if by_person {
        "Empty only for an app that is registered as a public client."
    } else {
        ""
    };
    let mut secret = secret(Label::CLIENT_SECRET, "Client secret", hint);
    secret.required = !by_person;
    vec![
        Field::new(Label::CLIENT_ID, "Client ID", "").required(),
        secret,
    ]
}

/// The endpoints that can be given in place of the template's.
fn endpoints(template: &Entry) -> Vec<Field> {
    let requests = &template.config.requests;
    let instead = |url: Option<&str>| match url.unwrap_or_default() {
        "" => String::new(),
        url => format!("Left empty, the template's is used: {url}"),
    };
    let url =
        |request: &Option<Request>| instead(request.as_ref().map(|request| request.url.as_str()));
    let flow = template.config.flow;
    let further = &template.config.postern.endpoints;
    let mut fields = Vec::new();
    if flow.needs_person() {
        let hint = url(&requests.authorization_code);
        fields.push(Field::new(
            Label::AUTHORIZE,
            "URL for authorization code",
            hint,
        ));
        let hint = url(&requests.token_by_authorization_code);
        fields.push(Field::new(Label::TOKEN, token_url_label(flow), hint));
        let hint = instead(further.device.as_deref());
        fields.push(Field::new(Label::DEVICE, "URL for a device code", hint));
        let hint = instead(further.revoke.as_deref());
        fields.push(Field::new(Label::REVOKE, "URL to revoke a token", hint));
    } else {
        let hint = url(&requests.token_by_client_credentials);
        fields.push(Field::new(Label::TOKEN, token_url_label(flow), hint));
    }
    let hint = "Instead of the URLs: they are read from the issuer's \
                /.well-known/openid-configuration.";
    fields.push(Field::new(Label::DISCOVERY, "OpenID Connect issuer", hint));
    fields
}

/// The template has no endpoints of its own.
fn wants_endpoints(template: &Entry) -> bool {
    let config = &template.config;
    let missing = config
        .requests
        .iter()
        .any(|(_, request)| request.url.is_empty());
    config.postern.discovery.is_none() && missing
}

#[cfg(test)]
mod tests {
    use super::*;
    use provider_template::{Library, Mistake};

    fn library() -> Library {
        Library::load(None)
    }

    #[test]
    fn nothing_typed_is_lost_but_the_secret() {
        let library = library();
        let template = library.get("microsoft-tenant").unwrap();
        let typed = Fields::of(&[
            ("name", " support "),
            ("client_id", "id"),
            ("client_secret", " hush\n"),
            ("variables.TenantID", "contoso.onmicrosoft.com"),
            ("scope", "a b"),
            ("endpoints.token", "https://other.example/token"),
            ("validity", "invalid"),
            ("notify_expired_token", "1"),
        ]);
        let form = Form::typed(template, &typed);
        let order = form.order(&typed);
        assert_eq!(
            order.client_secret.expose(),
            "hush",
            "pasted line ends are no part of it"
        );
        assert_eq!(
            order.variables,
            [("TenantID".into(), "contoso.onmicrosoft.com".into())]
        );
        let wanted = order.notifications.unwrap();
        assert!(wanted.expired_token && !wanted.expired_refresh_token);
        assert!(!order.valid);
        let values: Vec<&str> = form
            .base
            .iter()
            .chain(&form.advanced)
            .map(|f| f.value.as_str())
            .collect();
        let expected = [
            "support",
            "id",
            "",
            "contoso.onmicrosoft.com",
            "a b",
            "",
            "https://other.example/token",
            "",
            "",
            "",
        ];
        assert_eq!(values, expected);
        assert!(form.open);
        assert!(template.order(order).is_ok());
    }

    #[test]
    fn every_mistake_of_an_empty_order_finds_its_field() {
        for template in &library().templates {
            let nothing = Fields::of(&[]);
            let mut form = Form::typed(template, &nothing);
            let mistakes = template.order(form.order(&nothing)).unwrap_err();
            let lines = form.mark(mistakes);
            assert!(
                lines.iter().all(|line| !line.field.is_empty()),
                "{}: {lines:?}",
                template.name
            );
            let required = form.base.iter().filter(|field| field.required);
            for field in required {
                assert!(
                    field.mistake.is_some(),
                    "{}: {} is not required",
                    template.name,
                    field.name
                );
            }
        }
    }

    #[test]
    fn a_mistake_of_the_template_itself_is_still_shown() {
        let library = library();
        let mut form = Form::empty(library.get("google").unwrap());
        let field = "Config.Requests.TokenByRefreshToken".to_owned();
        let lines = form.mark(vec![Mistake {
            field,
            why: "is missing".to_owned(),
        }]);
        assert_eq!(lines[0].field, "");
        assert_eq!(
            lines[0].words,
            "Config.Requests.TokenByRefreshToken: is missing"
        );
    }

    #[test]
    fn the_endpoints_are_unfolded_where_the_template_has_none() {
        let library = library();
        assert!(Form::empty(library.get("generic").unwrap()).open);
        assert!(!Form::empty(library.get("google").unwrap()).open);
    }
}
