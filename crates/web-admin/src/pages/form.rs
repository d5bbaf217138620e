//! The form of a token config: its fields, what was typed, and which mistakes belong where; pure.

mod of_config;
mod of_template;

use provider_template::{Flow, Mistake, Notifications};

use crate::session::Fields;

/// Names of form fields. They are the names that mistakes carry, so that each finds its field.
pub(crate) struct Label;

impl Label {
    /// The token config's name.
    pub(crate) const NAME: &'static str = "name";
    const CLIENT_ID: &'static str = "client_id";
    const CLIENT_SECRET: &'static str = "client_secret";
    const SERVICE_ACCOUNT: &'static str = "service_account";
    const USER: &'static str = "user";
    const PASSWORD: &'static str = "password";
    const SCOPE: &'static str = "scope";
    const AUTHORIZE: &'static str = "endpoints.authorize";
    const TOKEN: &'static str = "endpoints.token";
    const DEVICE: &'static str = "endpoints.device";
    const REVOKE: &'static str = "endpoints.revoke";
    const DISCOVERY: &'static str = "endpoints.discovery";
    const VALIDITY: &'static str = "validity";
    const PUBLIC_CLIENT: &'static str = "public_client";
    const EXPIRED_TOKEN: &'static str = "notify_expired_token";
    const EXPIRED_REFRESH_TOKEN: &'static str = "notify_expired_refresh_token";
}

/// A text field of the form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) label: String,
    pub(crate) hint: String,
    pub(crate) value: String,
    pub(crate) mistake: Option<String>,
    pub(crate) required: bool,
    /// Shown as dots, and never written back.
    pub(crate) secret: bool,
}

impl Field {
    fn new(name: impl Into<String>, label: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            label: label.into(),
            hint: hint.into(),
            value: String::new(),
            mistake: None,
            required: false,
            secret: false,
        }
    }

    fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// The ids that describe the input: hint, mistake, both or none.
    pub(crate) fn described_by(&self) -> String {
        let hint = (!self.hint.is_empty()).then(|| format!("{}-hint", self.name));
        let mistake = self
            .mistake
            .as_ref()
            .map(|_| format!("{}-mistake", self.name));
        hint.into_iter()
            .chain(mistake)
            .collect::<Vec<_>>()
            .join(" ")
    }
}

/// A line of the summary above the form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    /// The field's id; empty when the mistake has no field here.
    pub(crate) field: String,
    pub(crate) words: String,
}

/// The whole form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Form {
    pub(crate) base: Vec<Field>,
    pub(crate) advanced: Vec<Field>,
    /// The advanced part is shown unfolded: something in it is needed, typed or wrong.
    pub(crate) open: bool,
    pub(crate) valid: bool,
    pub(crate) expired_token: bool,
    pub(crate) expired_refresh_token: bool,
    /// A person consents, so there are refresh tokens.
    pub(crate) by_person: bool,
    /// The stored client secret is to be forgotten; None: there is none, or the flow needs one.
    pub(crate) public_client: Option<bool>,
}

impl Form {
    /// Takes over what was typed, but for secrets.
    fn fill(&mut self, fields: &Fields) {
        for field in self.base.iter_mut().chain(&mut self.advanced) {
            if !field.secret {
                fields.text(&field.name).clone_into(&mut field.value);
            }
        }
        self.valid = fields.raw(Label::VALIDITY) != "invalid";
        self.expired_token = fields.ticked(Label::EXPIRED_TOKEN);
        self.expired_refresh_token = fields.ticked(Label::EXPIRED_REFRESH_TOKEN);
        if let Some(forget) = &mut self.public_client {
            *forget = fields.ticked(Label::PUBLIC_CLIENT);
        }
    }

    fn notifications(&self) -> Notifications {
        Notifications {
            expired_token: self.expired_token,
            expired_refresh_token: self.expired_refresh_token,
        }
    }

    /// Puts each mistake at its field; the lines of the summary.
    pub(crate) fn mark(&mut self, mistakes: Vec<Mistake>) -> Vec<Line> {
        let mut lines = Vec::with_capacity(mistakes.len());
        for Mistake { field: name, why } in mistakes {
            self.open |= self.advanced.iter().any(|field| field.name == name);
            let fields = self.base.iter_mut().chain(&mut self.advanced);
            let (id, label) = match fields.into_iter().find(|field| field.name == name) {
                Some(field) => {
                    field.mistake.get_or_insert_with(|| why.clone());
                    (name, field.label.as_str())
                }
                None => (String::new(), name.as_str()),
            };
            let words = format!("{label}: {why}");
            lines.push(Line { field: id, words });
        }
        lines
    }
}

/// A field that is shown as dots and never written back.
fn secret(name: &str, label: &str, hint: &str) -> Field {
    let mut field = Field::new(name, label, hint);
    field.secret = true;
    field
}

const SERVICE_ACCOUNT: &str = "Service account key file (JSON)";

/// What a flow calls the address where its tokens are had.
fn token_url_label(flow: Flow) -> &'static str {
    if flow.needs_person() {
        "URL for token by authorization code and by refresh token"
    } else {
        "URL for token by client credentials"
    }
}
