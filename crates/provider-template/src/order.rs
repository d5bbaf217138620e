//! From a template to a token config.

use crate::additions::Variable;
use crate::check::{Mistake, UNSAFE};
use crate::entry::{Entry, Flow, Notifications, Request};
use crate::placeholder::{canonical, names, substitute};
use crate::secret::Secret;
use crate::url::url_is_safe;

/// How long a name may be; it stands in tables, logs and file names.
const NAME_CAP: usize = 200;

/// The path that an issuer's discovery document has (OpenID Connect Discovery 1.0, section 4); people paste it along.
const WELL_KNOWN: &str = "/.well-known/openid-configuration";

/// What a new token config is made of.
#[derive(Debug, Clone, Default)]
pub struct Order {
    /// The new config's name.
    pub name: String,
    /// The client's identifier.
    pub client_id: String,
    /// The client's secret; may be empty where a person consents (public clients).
    pub client_secret: Secret,
    /// Instead of the template's scope.
    pub scope: Option<String>,
    /// Name and value of each variable of the template.
    pub variables: Vec<(String, String)>,
    /// Instead of the template's endpoints.
    pub endpoints: Endpoints,
    /// Whether the config is to be used.
    pub valid: bool,
    /// What an administrator wants to be told.
    pub notifications: Notifications,
}

/// Endpoints that override a template's.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Endpoints {
    /// Where the browser is sent.
    pub authorize: Option<String>,
    /// Where tokens are had and refreshed.
    pub token: Option<String>,
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
        for text in texts.chain(postern.discovery.as_deref()) {
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
        made.config.client_id = order.client_id.trim().to_owned();
        made.config.client_secret = order.client_secret;
        made.config.notifications = order.notifications;
        made.config.scope = order
            .scope
            .as_deref()
            .and_then(words)
            .or_else(|| words(&made.config.scope))
            .unwrap_or_default();
        if made.config.scope.is_empty() {
            mistakes.push(Mistake::new(
                "scope",
                "is empty; the provider's documentation says which scope its mail hosts ask for",
            ));
        }
        made.use_endpoints(&order.endpoints, &mut mistakes);
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
                Some((_, value)) if !is_url_word(value) => mistakes.push(Mistake::new(
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
        let hosts = [&mut postern.imap, &mut postern.pop3, &mut postern.smtp];
        for host in hosts.into_iter().flatten() {
            host.host = fill(&host.host);
        }
        made
    }

    fn use_endpoints(&mut self, endpoints: &Endpoints, mistakes: &mut Vec<Mistake>) {
        let flow = self.config.flow;
        let discovery = given(&endpoints.discovery)
            .map(|url| url.strip_suffix(WELL_KNOWN).unwrap_or(url).to_owned());
        if let Some(issuer) = discovery {
            safe("endpoints.discovery", &issuer, mistakes);
            self.config.postern.discovery = Some(issuer);
        }
        let discovered = self.config.postern.discovery.is_some();
        let requests = &mut self.config.requests;
        let authorize = [&mut requests.authorization_code];
        let token = [
            &mut requests.token_by_authorization_code,
            &mut requests.token_by_refresh_token,
            &mut requests.token_by_client_credentials,
        ];
        if given(&endpoints.authorize).is_some() && flow == Flow::ClientCredentials {
            mistakes.push(Mistake::new(
                "endpoints.authorize",
                "this template asks no person, so nothing is sent there",
            ));
        }
        endpoint(
            "endpoints.authorize",
            &endpoints.authorize,
            authorize,
            discovered,
            mistakes,
        );
        endpoint(
            "endpoints.token",
            &endpoints.token,
            token,
            discovered,
            mistakes,
        );
    }
}

/// Sets one endpoint in the requests that use it, and looks at what they then have.
fn endpoint<const N: usize>(
    field: &str,
    instead: &Option<String>,
    requests: [&mut Option<Request>; N],
    discovered: bool,
    mistakes: &mut Vec<Mistake>,
) {
    let mut missing = false;
    for request in requests.into_iter().flatten() {
        if let Some(url) = given(instead) {
            request.url = url.to_owned();
        }
        missing |= request.url.is_empty() && !discovered;
    }
    if missing {
        mistakes.push(Mistake::new(
            field,
            "is missing; this template has no address of its own, so give it here, or give the OpenID Connect issuer (endpoints.discovery)",
        ));
    }
    if let Some(url) = given(instead) {
        safe(field, url, mistakes);
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
    if order.client_id.trim().is_empty() {
        mistakes.push(Mistake::new(
            "client_id",
            "is empty; the provider shows it where the app is registered",
        ));
    }
    if template.config.flow == Flow::ClientCredentials && order.client_secret.is_empty() {
        mistakes.push(Mistake::new(
            "client_secret",
            "is empty; without a person to consent, it is all that proves who asks",
        ));
    }
    for (field, value) in [
        ("client_id", order.client_id.trim()),
        ("client_secret", order.client_secret.expose()),
    ] {
        if value.chars().any(char::is_control) {
            mistakes.push(Mistake::new(
                field,
                "contains a line break or another control character",
            ));
        }
    }
}

/// A given override; an empty form field is none.
fn given(url: &Option<String>) -> Option<&str> {
    url.as_deref().map(str::trim).filter(|url| !url.is_empty())
}

fn safe(field: &str, url: &str, mistakes: &mut Vec<Mistake>) {
    if !url_is_safe(url) {
        mistakes.push(Mistake::new(field, UNSAFE));
    }
}

/// Words joined by single spaces, as RFC 6749 section 3.3 writes scopes; None without any.
fn words(text: &str) -> Option<String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    (!words.is_empty()).then(|| words.join(" "))
}

/// Whether a value stays inside its part of a URL (RFC 3986 section 2.3, unreserved characters).
fn is_url_word(value: &str) -> bool {
    value
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '~'))
}
