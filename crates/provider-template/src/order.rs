//! From a template to a token config.

mod choices;
mod edit;
mod endpoints;

pub use edit::Edit;

use crate::additions::{Assertion, Variable};
use crate::check::Mistake;
use crate::entry::{Entry, Notifications};
use crate::flow::Flow;
use crate::placeholder::{canonical, is_url_word, names, substitute};
use crate::secret::Secret;

/// How long a name may be; it stands in tables, logs and file names.
const NAME_CAP: usize = 200;

/// What a new token config is made of.
#[derive(Debug, Clone, Default)]
pub struct Order {
    /// The new config's name.
    pub name: String,
    /// The client's identifier.
    pub client_id: String,
    /// The client's secret; may be empty where a person consents (public clients).
    pub client_secret: Secret,
    /// The PEM key of the certificate.
    pub private_key: Secret,
    /// The client proves itself by this certificate instead of a secret.
    pub assertion: Option<Assertion>,
    /// The key file of who signs for the mailbox users, as [`crate::KeyFile`] reads it, in the flow of that name.
    pub service_account: Secret,
    /// Who signs in, in the flow [`Flow::Password`].
    pub user: String,
    /// That user's password.
    pub password: Secret,
    /// Instead of the template's flow.
    pub flow: Option<Flow>,
    /// Instead of the template's scope.
    pub scope: Option<String>,
    /// Name and value of each variable of the template.
    pub variables: Vec<(String, String)>,
    /// Instead of the template's endpoints.
    pub endpoints: Endpoints,
    /// Whether the config is to be used.
    pub valid: bool,
    /// What an administrator wants to be told, instead of the template's.
    pub notifications: Option<Notifications>,
}

/// Endpoints that override a template's.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Endpoints {
    /// Where the browser is sent.
    pub authorize: Option<String>,
    /// Where tokens are had and refreshed.
    pub token: Option<String>,
    /// Where a device code is had.
    pub device: Option<String>,
    /// Where a token is revoked.
    pub revoke: Option<String>,
    /// Where a token is looked at.
    pub introspect: Option<String>,
    /// Where the provider says whose token it is.
    pub userinfo: Option<String>,
    /// OpenID issuer to discover the others from.
    pub discovery: Option<String>,
}

impl Entry {
    /// The variables of a template: the declared ones, then those that its URLs mention without a declaration, by their right names.
    pub fn variables(&self) -> Vec<Variable> {
        let postern = &self.config.postern;
        let mut variables: Vec<Variable> = Vec::new();
        let mut add = |name: &str, asks: &str| {
            let name = canonical(name);
            if !variables.iter().any(|known| known.name == name) {
                variables.push(Variable {
                    name: name.to_owned(),
                    asks: asks.to_owned(),
                });
            }
        };
        for declared in &postern.variables {
            add(&declared.name, &declared.asks);
        }
        let texts = self
            .config
            .requests
            .iter()
            .map(|(_, request)| request.url.as_str());
        let further = postern.endpoints.iter().map(|(_, url)| url);
        for text in texts.chain(further).chain(postern.discovery.as_deref()) {
            for name in names(text) {
                add(name, canonical(name));
            }
        }
        variables
    }

    /// Makes a token config from this template: variables substituted (`{TenentID}` is accepted for `{TenantID}`), endpoints overridden.
    /// Every missing or superfluous variable, empty required field, and non-https endpoint (http only on loopback) is a mistake by field name.
    pub fn order(&self, order: Order) -> Result<Entry, Vec<Mistake>> {
        let mut mistakes = Vec::new();
        check_client(self, &order, &mut mistakes);
        let values = self.values(&order.variables, &mut mistakes);
        let mut made = self.with_values(&values);
        made.name = order.name.trim().to_owned();
        made.valid = order.valid;
        made.config.template_name = Some(self.name.clone());
        if let Some(wanted) = order.notifications {
            made.config.notifications = wanted;
        }
        if let Some(why) = order.flow.and_then(|flow| made.choose_flow(flow)) {
            mistakes.push(Mistake::new("flow", why));
        }
        made.config.postern.flows = Vec::new();
        if let Some(scope) = order.scope.as_deref().and_then(words) {
            made.config.scope = scope;
        }
        let endpoints = order.endpoints.clone();
        made.prove(order, &mut mistakes);
        made.config.scope = words(&made.config.scope).unwrap_or_default();
        if made.config.scope.is_empty() {
            mistakes.push(Mistake::new(
                "scope",
                "is empty; the provider's documentation says which scope its mail hosts ask for",
            ));
        }
        made.use_endpoints(&endpoints, &mut mistakes);
        if mistakes.is_empty() {
            // What is left can only be the template's own fault.
            mistakes = made.mistakes();
        }
        if mistakes.is_empty() {
            Ok(made)
        } else {
            Err(mistakes)
        }
    }

    /// The value of each variable, by its right name.
    fn values<'v>(
        &self,
        given: &'v [(String, String)],
        mistakes: &mut Vec<Mistake>,
    ) -> Vec<(String, &'v str)> {
        let variables = self.variables();
        let mut values: Vec<(String, &str)> = Vec::new();
        for (name, value) in given {
            let field = format!("variables.{name}");
            let name = canonical(name);
            if !variables.iter().any(|variable| variable.name == name) {
                mistakes.push(Mistake::new(field, self.knows(&variables)));
            } else if values.iter().any(|(known, _)| known == name) {
                mistakes.push(Mistake::new(field, "is given twice"));
            } else {
                values.push((name.to_owned(), value.trim()));
            }
        }
        for Variable { name, asks } in &variables {
            let field = format!("variables.{name}");
            match values.iter().find(|(known, _)| known == name) {
                None | Some((_, "")) if asks == name => {
                    mistakes.push(Mistake::new(field, "is missing"));
                }
                None | Some((_, "")) => {
                    mistakes.push(Mistake::new(field, format!("is missing: {asks}")));
                }
                Some((_, value)) if !value.chars().all(is_url_word) => mistakes.push(Mistake::new(
                    field,
                    "may contain only letters, digits and . - _ ~",
                )),
                Some(_) => {}
            }
        }
        values
    }

    fn knows(&self, variables: &[Variable]) -> String {
        if variables.is_empty() {
            return format!("the template {} has no variables", self.name);
        }
        let names: Vec<&str> = variables.iter().map(|v| v.name.as_str()).collect();
        format!(
            "the template {} has no such variable; it has {}",
            self.name,
            names.join(", ")
        )
    }

    /// This entry with its placeholders filled, and without what only a template has: title, notes, questions.
    fn with_values(&self, values: &[(String, &str)]) -> Entry {
        let fill = |text: &str| {
            substitute(text, |name| {
                let found = values.iter().find(|(known, _)| known == name);
                found.map(|(_, value)| *value)
            })
        };
        let mut made = self.clone();
        made.config.scope = fill(&made.config.scope);
        for request in made.config.requests.iter_mut() {
            request.url = fill(&request.url);
            for (_, value) in &mut request.parameters {
                *value = fill(value);
            }
        }
        let postern = &mut made.config.postern;
        postern.title = None;
        postern.notes = None;
        postern.variables = Vec::new();
        postern.rest.shift_remove("Variables");
        postern.discovery = postern.discovery.as_deref().map(fill);
        for url in postern.endpoints.iter_mut() {
            *url = fill(url);
        }
        let hosts = [&mut postern.imap, &mut postern.pop3, &mut postern.smtp];
        for host in hosts.into_iter().flatten() {
            host.host = fill(&host.host);
        }
        made
    }
}

fn check_client(template: &Entry, order: &Order, mistakes: &mut Vec<Mistake>) {
    let name = order.name.trim();
    if name.is_empty() {
        mistakes.push(Mistake::new("name", "is empty"));
    } else if name.len() > NAME_CAP || name.chars().any(char::is_control) {
        mistakes.push(Mistake::new(
            "name",
            format!("may have at most {NAME_CAP} bytes, and no control characters"),
        ));
    }
    // A service account is known by its address, unless the provider wants more.
    let by_address = order.flow.unwrap_or(template.config.flow) == Flow::ServiceAccount;
    if order.client_id.trim().is_empty() && !by_address {
        mistakes.push(Mistake::new(
            "client_id",
            "is empty; the provider shows it where the app is registered",
        ));
    }
    for (field, value) in [
        ("client_id", order.client_id.trim()),
        ("client_secret", order.client_secret.expose()),
        ("user", order.user.as_str()),
    ] {
        if value.chars().any(char::is_control) {
            mistakes.push(Mistake::new(
                field,
                "contains a line break or another control character",
            ));
        }
    }
}

/// Words joined by single spaces, as RFC 6749 section 3.3 writes scopes; None without any.
fn words(text: &str) -> Option<String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    (!words.is_empty()).then(|| words.join(" "))
}
