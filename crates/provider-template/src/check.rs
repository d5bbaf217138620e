//! What would keep an entry from working, and what could be better about it.

use std::fmt;

use crate::entry::{Answer, Autofill, Config, Entry, Request};
use crate::flow::Flow;
use crate::placeholder;
use crate::url::url_is_safe;

/// The hosts of Microsoft's login service, national clouds included (by the last labels).
const MICROSOFT: [&str; 3] = [
    "login.microsoftonline.com",
    "login.microsoftonline.us",
    "login.partner.microsoftonline.cn",
];
/// Google's authorisation host.
const GOOGLE: &str = "accounts.google.com";
/// Microsoft Graph's prefix of scopes, and the one that the mail protocols go by.
const GRAPH_SCOPES: &str = "https://graph.microsoft.com/";
const OUTLOOK_SCOPES: &str = "https://outlook.office.com/";
/// Tenants that stand for many; a client without a person needs one of its own.
const SHARED_TENANTS: [&str; 3] = ["/common/", "/organizations/", "/consumers/"];

/// Something to be corrected, by the field it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// A key of the exchange format (`Config.ClientID`), or a field of an order (`client_id`, `variables.TenantID`, `endpoints.token`).
    pub field: String,
    /// What is wrong, and what is expected.
    pub why: String,
}

impl Mistake {
    pub(crate) fn new(field: impl Into<String>, why: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            why: why.into(),
        }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.why)
    }
}

impl Entry {
    /// Mistakes that would keep this entry from working: missing requests, placeholders left, http beyond loopback, ... empty when fine.
    pub fn mistakes(&self) -> Vec<Mistake> {
        let mut mistakes = Vec::new();
        client(&self.config, &mut mistakes);
        structure(&self.config, &mut mistakes);
        for (name, request) in self.config.requests.iter() {
            let field = format!("Config.Requests.{name}.Request.URL");
            if let Some(why) = bad_url(&request.url, self.config.postern.discovery.is_some()) {
                mistakes.push(Mistake::new(field, why));
            }
        }
        if let Some(issuer) = &self.config.postern.discovery
            && let Some(why) = bad_url(issuer, false)
        {
            mistakes.push(Mistake::new("Config.Postern.Discovery", why));
        }
        for (key, url) in self.config.postern.endpoints.iter() {
            if let Some(why) = bad_url(url, false) {
                let field = format!("Config.Postern.Endpoints.{key}");
                mistakes.push(Mistake::new(field, why));
            }
        }
        mistakes
    }

    /// What works, or may, but an administrator should know or change; for `postern check`.
    pub fn remarks(&self) -> Vec<String> {
        let config = &self.config;
        let mut remarks = Vec::new();
        spelling(config, &mut remarks);
        scopes(config, &mut remarks);
        google(config, &mut remarks);
        if config.client_secret.is_empty()
            && config.postern.assertion.is_none()
            && config.flow == Flow::AuthorizationCode
        {
            remarks.push(
                "Config.ClientSecret is empty: that works only for an app that is registered as a public client".to_owned(),
            );
        }
        remarks
    }
}

/// What a template file must have to be one; its client fields and variables come with the order.
pub(crate) fn template_mistakes(template: &Entry) -> Vec<Mistake> {
    let mut mistakes = Vec::new();
    structure(&template.config, &mut mistakes);
    for (name, request) in template.config.requests.iter() {
        let url = placeholder::substitute(&request.url, |_| Some("x"));
        if !url.is_empty() && !url_is_safe(&url) {
            let field = format!("Config.Requests.{name}.Request.URL");
            mistakes.push(Mistake::new(field, UNSAFE));
        }
    }
    for (key, url) in template.config.postern.endpoints.iter() {
        if !url_is_safe(&placeholder::substitute(url, |_| Some("x"))) {
            let field = format!("Config.Postern.Endpoints.{key}");
            mistakes.push(Mistake::new(field, UNSAFE));
        }
    }
    mistakes
}

/// Why a URL must not be used.
pub(crate) const UNSAFE: &str = "expected an https:// URL (http:// is for localhost and loopback addresses only), without a user name or blanks in it";

/// What is wrong with an endpoint, if anything.
fn bad_url(url: &str, discovered: bool) -> Option<String> {
    if url.is_empty() {
        return (!discovered).then(|| "is empty, and there is no discovery to fill it".to_owned());
    }
    match placeholder::names(url).next() {
        Some(name) => Some(format!(
            "the placeholder {{{name}}} is still there; write its value"
        )),
        None => (!url_is_safe(url)).then(|| UNSAFE.to_owned()),
    }
}

fn client(config: &Config, mistakes: &mut Vec<Mistake>) {
    if config.client_id.trim().is_empty() {
        mistakes.push(Mistake::new(
            "Config.ClientID",
            "is empty; the provider shows it where the app is registered",
        ));
    }
    proof(config, mistakes);
    let named = [
        ("Config.ClientID", config.client_id.as_str()),
        ("Config.ClientSecret", config.client_secret.expose()),
        ("Config.Scope", config.scope.as_str()),
    ];
    for (field, value) in named {
        if value.chars().any(char::is_control) {
            mistakes.push(Mistake::new(
                field,
                "contains a line break or another control character",
            ));
        }
    }
}

/// What proves who asks: a secret, a key, a password, as the flow needs it.
fn proof(config: &Config, mistakes: &mut Vec<Mistake>) {
    let mut need = |field: &str, present: bool, why: &str| {
        if !present {
            mistakes.push(Mistake::new(field, format!("is empty; {why}")));
        }
    };
    let assertion = config.postern.assertion.as_ref();
    if let Some(assertion) = assertion {
        need(
            "Config.Postern.Assertion.Certificate",
            !assertion.certificate.trim().is_empty(),
            "it is what the provider knows this client by",
        );
    }
    if assertion.is_some() || config.flow == Flow::ServiceAccount {
        need(
            "Config.Postern.PrivateKey",
            !config.private_key.is_empty(),
            "it signs the assertions that ask for tokens",
        );
    }
    match config.flow {
        Flow::AuthorizationCode | Flow::DeviceCode => {}
        Flow::ClientCredentials => need(
            "Config.ClientSecret",
            assertion.is_some() || !config.client_secret.is_empty(),
            "without a person to consent, it is all that proves who asks",
        ),
        Flow::ServiceAccount => need(
            "Config.Postern.ServiceAccount.Email",
            config
                .postern
                .service_account
                .as_ref()
                .is_some_and(|account| !account.email.is_empty()),
            "the assertions are signed in its name",
        ),
        Flow::Password => {
            need(
                "Config.Postern.User",
                !config.user.is_empty(),
                "this flow signs in with a user name and a password",
            );
            need(
                "Config.Postern.Password",
                !config.password.is_empty(),
                "this flow signs in with a user name and a password",
            );
        }
    }
}

/// The requests that the flow needs, and that each can carry what it is for.
fn structure(config: &Config, mistakes: &mut Vec<Mistake>) {
    let requests = &config.requests;
    if config.flow == Flow::AuthorizationCode {
        need(
            mistakes,
            "AuthorizationCode",
            &requests.authorization_code,
            |check| {
                check.fills(Autofill::ClientId);
                check.fills(Autofill::RedirectUrl);
                check.answers(Answer::AuthorizationCode);
            },
        );
    }
    if config.flow.needs_person() {
        let code = &requests.token_by_authorization_code;
        need(mistakes, "TokenByAuthorizationCode", code, |check| {
            if config.flow == Flow::AuthorizationCode {
                check.fills(Autofill::AuthorizationCode);
            }
            check.answers(Answer::Token);
        });
        let refresh = &requests.token_by_refresh_token;
        need(mistakes, "TokenByRefreshToken", refresh, |check| {
            check.fills(Autofill::RefreshToken);
            check.answers(Answer::Token);
        });
    } else {
        let client = &requests.token_by_client_credentials;
        need(mistakes, "TokenByClientCredentials", client, |check| {
            check.answers(Answer::Token);
        });
    }
    let postern = &config.postern;
    if config.flow == Flow::DeviceCode
        && postern.endpoints.device.is_none()
        && postern.discovery.is_none()
    {
        mistakes.push(Mistake::new(
            "Config.Postern.Endpoints.Device",
            "is missing; this flow begins there",
        ));
    }
}

fn need(
    mistakes: &mut Vec<Mistake>,
    name: &'static str,
    request: &Option<Request>,
    look: impl FnOnce(&mut Check<'_>),
) {
    match request {
        Some(request) => look(&mut Check {
            mistakes,
            name,
            request,
        }),
        None => mistakes.push(Mistake::new(
            format!("Config.Requests.{name}"),
            "this request is missing, and the flow needs it",
        )),
    }
}

struct Check<'a> {
    mistakes: &'a mut Vec<Mistake>,
    name: &'static str,
    request: &'a Request,
}

impl Check<'_> {
    fn fills(&mut self, what: Autofill) {
        if self.request.field(what).is_none() {
            self.mistakes.push(Mistake::new(
                format!(
                    "Config.Requests.{}.Request.AutofilledParametersMapping",
                    self.name
                ),
                format!("no form field is filled with {}", what.name()),
            ));
        }
    }

    fn answers(&mut self, what: Answer) {
        if self.request.answer(what).is_none() {
            self.mistakes.push(Mistake::new(
                format!("Config.Requests.{}.Response.ParametersMapping", self.name),
                format!("no field of the answer is read as {}", what.name()),
            ));
        }
    }
}

fn spelling(config: &Config, remarks: &mut Vec<String>) {
    for (name, request) in config.requests.iter() {
        for found in placeholder::names(&request.url) {
            let meant = placeholder::canonical(found);
            if meant != found {
                remarks.push(format!(
                    "Config.Requests.{name}.Request.URL: {{{found}}} is read as {{{meant}}}; write it that way"
                ));
            }
        }
    }
}

fn scopes(config: &Config, remarks: &mut Vec<String>) {
    if config.scope.trim().is_empty() {
        remarks.push(
            "Config.Scope is empty: the provider decides what the token is good for".to_owned(),
        );
    }
    for scope in config.scope.split_whitespace() {
        if let Some(permission) = strip_prefix_ignoring_case(scope, GRAPH_SCOPES) {
            remarks.push(format!(
                "Config.Scope: {scope} is spelt as Microsoft Graph's; for IMAP, POP3 and SMTP write {OUTLOOK_SCOPES}{permission}"
            ));
        }
    }
    if let Some(refresh) = &config.requests.token_by_refresh_token
        && is_microsoft(&refresh.url)
    {
        if refresh.field(Autofill::Scope).is_none() && !has_parameter(refresh, "scope") {
            remarks.push(
                "Config.Requests.TokenByRefreshToken sends no scope, which Microsoft refuses (AADSTS900144); map scope to Scope"
                    .to_owned(),
            );
        }
        if config.flow.needs_person()
            && !config
                .scope
                .split_whitespace()
                .any(|s| s == "offline_access")
        {
            remarks.push(
                "Config.Scope: without offline_access Microsoft gives no refresh token".to_owned(),
            );
        }
    }
    if let Some(request) = &config.requests.token_by_client_credentials
        && config.flow == Flow::ClientCredentials
        && is_microsoft(&request.url)
        && SHARED_TENANTS
            .iter()
            .any(|shared| request.url.contains(shared))
    {
        remarks.push(
            "Config.Requests.TokenByClientCredentials.Request.URL: an app without a person needs its own tenant in the URL"
                .to_owned(),
        );
    }
}

fn google(config: &Config, remarks: &mut Vec<String>) {
    let Some(request) = &config.requests.authorization_code else {
        return;
    };
    if host(&request.url) != Some(GOOGLE) {
        return;
    }
    for (field, value) in [("access_type", "offline"), ("prompt", "consent")] {
        if !request
            .parameters
            .iter()
            .any(|(f, v)| f == field && v == value)
        {
            remarks.push(format!(
                "Config.Requests.AuthorizationCode.Request.Parameters: without {field}={value} Google may give no refresh token"
            ));
        }
    }
}

fn has_parameter(request: &Request, field: &str) -> bool {
    request.parameters.iter().any(|(name, _)| name == field)
}

fn is_microsoft(url: &str) -> bool {
    host(url).is_some_and(|host| MICROSOFT.contains(&host))
}

fn host(url: &str) -> Option<&str> {
    url.split_once("://")?.1.split(['/', '?', '#', ':']).next()
}

fn strip_prefix_ignoring_case<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let head = text.get(..prefix.len())?;
    head.eq_ignore_ascii_case(prefix)
        .then(|| &text[prefix.len()..])
}
