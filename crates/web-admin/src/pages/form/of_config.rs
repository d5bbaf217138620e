//! The form that changes a token config. Its secrets are not in it: a field left empty keeps them.

use provider_template::{Edit, Endpoints, Entry, Flow, Secret};

use super::{Field, Form, Label, SERVICE_ACCOUNT, secret, token_url_label};
use crate::session::Fields;

impl Form {
    /// The form of a token config as it is.
    pub(crate) fn of(entry: &Entry) -> Self {
        let config = &entry.config;
        let by_person = config.flow.needs_person();
        let mut base = proof(entry);
        let mut scope = Field::new(
            Label::SCOPE,
            "Access token scope",
            "Words with blanks between them.",
        )
        .required();
        scope.value.clone_from(&config.scope);
        base.push(scope);
        let has_secret = !config.client_secret.is_empty();
        Self {
            base,
            advanced: endpoints(entry),
            open: false,
            valid: entry.valid,
            expired_token: config.notifications.expired_token,
            expired_refresh_token: config.notifications.expired_refresh_token,
            by_person,
            public_client: (by_person && has_secret).then_some(false),
        }
    }

    /// The same as it was typed.
    pub(crate) fn retyped(entry: &Entry, fields: &Fields) -> Self {
        let mut form = Self::of(entry);
        let before: Vec<String> = form.advanced.iter().map(|f| f.value.clone()).collect();
        form.fill(fields);
        let now = form.advanced.iter().map(|field| &field.value);
        form.open = before.iter().zip(now).any(|(before, now)| before != now);
        form
    }

    /// What is to be changed.
    pub(crate) fn edit(&self, entry: &Entry, fields: &Fields) -> Edit {
        let offered = |name: &str| self.base.iter().any(|field| field.name == name);
        let text = |name: &str| offered(name).then(|| fields.text(name).to_owned());
        let typed = |name: &str| {
            let typed = Some(fields.text(name)).filter(|text| !text.is_empty());
            typed.filter(|_| offered(name)).map(Secret::new)
        };
        let forget = self.public_client == Some(true);
        let secret = typed(Label::CLIENT_SECRET);
        // An endpoint that was not touched stays as it is, also where several requests differ in it.
        let before = endpoints(entry);
        let changed = |name: &str| {
            let before = before.iter().find(|field| field.name == name)?;
            let now = fields.text(name);
            (now != before.value).then(|| now.to_owned())
        };
        Edit {
            client_id: text(Label::CLIENT_ID),
            client_secret: secret.or_else(|| forget.then(Secret::default)),
            service_account: typed(Label::SERVICE_ACCOUNT),
            user: text(Label::USER),
            password: typed(Label::PASSWORD),
            scope: text(Label::SCOPE),
            endpoints: Endpoints {
                authorize: changed(Label::AUTHORIZE),
                token: changed(Label::TOKEN),
                device: changed(Label::DEVICE),
                revoke: changed(Label::REVOKE),
                discovery: changed(Label::DISCOVERY),
                ..Endpoints::default()
            },
            valid: Some(self.valid),
            notifications: Some(self.notifications()),
            ..Edit::default()
        }
    }
}

/// What proves who asks.
fn proof(entry: &Entry) -> Vec<Field> {
    let config = &entry.config;
    if config.flow == Flow::ServiceAccount {
        let hint = "Left empty, the stored one is kept.";
        return vec![secret(Label::SERVICE_ACCOUNT, SERVICE_ACCOUNT, hint)];
    }
    let mut id = Field::new(Label::CLIENT_ID, "Client ID", "").required();
    id.value.clone_from(&config.client_id);
    let hint = if config.postern.assertion.is_some() {
        "The client proves itself by a certificate; a secret typed here takes its place."
    } else if config.client_secret.is_empty() {
        "None is stored."
    } else {
        "Left empty, the stored one is kept."
    };
    let mut fields = vec![id, secret(Label::CLIENT_SECRET, "Client secret", hint)];
    if config.flow == Flow::Password {
        let mut user = Field::new(Label::USER, "User", "Who signs in.").required();
        user.value.clone_from(&config.user);
        let hint = "Left empty, the stored one is kept.";
        fields.push(user);
        fields.push(secret(Label::PASSWORD, "Password", hint));
    }
    fields
}

/// The endpoints as they are.
fn endpoints(entry: &Entry) -> Vec<Field> {
    let config = &entry.config;
    let (flow, requests, postern) = (config.flow, &config.requests, &config.postern);
    let stays = "Left empty, it stays as it is.";
    let field = |name, label, value: Option<&str>| {
        let value = value.unwrap_or_default();
        let hint = if value.is_empty() { "" } else { stays };
        let mut field = Field::new(name, label, hint);
        value.clone_into(&mut field.value);
        field
    };
    let mut fields = Vec::new();
    if flow == Flow::AuthorizationCode {
        let url = requests.authorization_code.as_ref();
        let url = url.map(|request| request.url.as_str());
        fields.push(field(Label::AUTHORIZE, "URL for authorization code", url));
    }
    let url = config.first_request().map(|request| request.url.as_str());
    fields.push(field(Label::TOKEN, token_url_label(flow), url));
    if flow.needs_person() {
        let url = postern.endpoints.device.as_deref();
        fields.push(field(Label::DEVICE, "URL for a device code", url));
        let url = postern.endpoints.revoke.as_deref();
        fields.push(field(Label::REVOKE, "URL to revoke a token", url));
    }
    let issuer = postern.discovery.as_deref();
    fields.push(field(Label::DISCOVERY, "OpenID Connect issuer", issuer));
    fields
}

#[cfg(test)]
mod tests {
    use super::*;
    use provider_template::{Library, Order};

    fn made() -> Entry {
        let library = Library::load(None);
        let order = Order {
            name: "support".into(),
            client_id: "id".into(),
            client_secret: Secret::new("hush"),
            valid: true,
            ..Order::default()
        };
        library.get("google").unwrap().order(order).unwrap()
    }

    /// The fields as a browser sends them back when nothing is typed.
    fn untouched(form: &Form) -> Vec<(String, String)> {
        let fields = form.base.iter().chain(&form.advanced);
        fields.map(|f| (f.name.clone(), f.value.clone())).collect()
    }

    fn sent(pairs: &[(String, String)]) -> Fields {
        let pairs: Vec<(&str, &str)> = pairs
            .iter()
            .map(|(k, v)| (k.as_str(), v.as_str()))
            .collect();
        Fields::of(&pairs)
    }

    #[test]
    fn a_form_that_is_sent_back_untouched_changes_nothing_but_the_ticks() {
        let mut entry = made();
        // Two requests with different addresses: the form shows one of them.
        let requests = &mut entry.config.requests;
        requests.token_by_refresh_token.as_mut().unwrap().url =
            "https://refresh.example/".to_owned();
        let mut pairs = untouched(&Form::of(&entry));
        let ticks = [
            (
                Label::EXPIRED_TOKEN,
                entry.config.notifications.expired_token,
            ),
            (
                Label::EXPIRED_REFRESH_TOKEN,
                entry.config.notifications.expired_refresh_token,
            ),
        ];
        let ticked = ticks.iter().filter(|(_, ticked)| *ticked);
        pairs.extend(ticked.map(|(name, _)| ((*name).to_owned(), "1".to_owned())));
        let fields = sent(&pairs);
        let form = Form::retyped(&entry, &fields);
        assert!(!form.open);
        assert_eq!(entry.edited(form.edit(&entry, &fields)).unwrap(), entry);
    }

    #[test]
    fn a_secret_is_kept_replaced_or_forgotten_and_never_in_the_form() {
        let entry = made();
        let form = Form::of(&entry);
        assert!(!format!("{form:?}").contains("hush"));
        let pairs = untouched(&form);
        for (further, secret) in [
            (None, "hush"),
            (Some((Label::CLIENT_SECRET, " newer\n")), "newer"),
            (Some((Label::PUBLIC_CLIENT, "1")), ""),
        ] {
            let mut pairs: Vec<_> = pairs.clone();
            if let Some((name, value)) = further {
                pairs.retain(|(known, _)| known != name);
                pairs.push((name.to_owned(), value.to_owned()));
            }
            let fields = sent(&pairs);
            let form = Form::retyped(&entry, &fields);
            let edited = entry.edited(form.edit(&entry, &fields)).unwrap();
            assert_eq!(edited.config.client_secret.expose(), secret);
        }
    }

    #[test]
    fn an_emptied_required_field_is_a_mistake_of_that_field() {
        let entry = made();
        let mut pairs = untouched(&Form::of(&entry));
        for (name, value) in &mut pairs {
            if name == Label::CLIENT_ID || name == Label::SCOPE {
                value.clear();
            }
        }
        let fields = sent(&pairs);
        let mut form = Form::retyped(&entry, &fields);
        let mistakes = entry.edited(form.edit(&entry, &fields)).unwrap_err();
        let lines = form.mark(mistakes);
        let named: Vec<&str> = lines.iter().map(|line| line.field.as_str()).collect();
        assert_eq!(named, [Label::CLIENT_ID, Label::SCOPE]);
    }
}
