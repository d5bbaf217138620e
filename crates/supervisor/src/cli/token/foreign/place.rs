//! The token config that an account of another program becomes: which template, and what of the file goes into it.

use provider_template::{Assertion, Endpoints, Entry, Flow, Library, Order};
use token_store::{AddError, Secret};

use super::{Foreign, Options};
use crate::cli::exit::{Code, Failure};

/// Where Google's token endpoint stood before, in files that are years old. Refresh tokens work at each of them.
const GOOGLE_BEFORE: [&str; 3] = [
    "https://accounts.google.com/o/oauth2/token",
    "https://www.googleapis.com/oauth2/v3/token",
    "https://www.googleapis.com/oauth2/v4/token",
];
const GOOGLE_NOW: &str = "https://oauth2.googleapis.com/token";
/// Scopes that only say who signed in. What was not consented to may not be asked for at a refresh.
const ABOUT_THE_PERSON: [&str; 3] = ["openid", "profile", "email"];

/// Makes the token config.
pub(super) fn entry(
    name: &str,
    account: Foreign,
    options: &Options,
    library: &Library,
) -> Result<Entry, Failure> {
    let token = account.token.as_deref().unwrap_or_default();
    let token = token.trim_end_matches('/');
    let token = if GOOGLE_BEFORE.contains(&token) {
        GOOGLE_NOW
    } else {
        token
    };
    let found = library.by_token_url(token, account.flow);
    let (template, mut variables) = match (&options.template, found) {
        (Some(wanted), found) => {
            let template = library.get(wanted).ok_or_else(|| {
                let words = format!(
                    "there is no provider template {wanted}; `postern token templates` lists them"
                );
                Failure::new(Code::Data, words)
            })?;
            let fits = found.filter(|(entry, _)| entry.name == template.name);
            (template, fits.map(|(_, values)| values).unwrap_or_default())
        }
        (None, Some(found)) => found,
        (None, None) => {
            let generic = library.get("generic").ok_or_else(|| {
                Failure::new(
                    Code::Data,
                    "no provider template has this token endpoint; name one with --template",
                )
            })?;
            (generic, Vec::new())
        }
    };
    for (name, value) in &options.variables {
        variables.retain(|(known, _)| known != name);
        variables.push((name.clone(), value.clone()));
    }
    let scope = options
        .scope
        .clone()
        .or(account.scope)
        .or_else(|| Some(about_mail(&template.config.scope)));
    let (assertion, private_key) = match &account.certificate {
        Some((certificate, key)) => {
            let assertion = Assertion {
                certificate: super::super::define::read_file(certificate)?
                    .expose()
                    .to_owned(),
                ..Assertion::default()
            };
            (Some(assertion), super::super::define::read_file(key)?)
        }
        None => (None, Secret::default()),
    };
    let own = template.config.flow == account.flow;
    let by_password = account.flow == Flow::Password;
    let order = Order {
        name: name.to_owned(),
        client_id: account.client_id.unwrap_or_default(),
        client_secret: account.client_secret.unwrap_or_default(),
        private_key,
        assertion,
        flow: (!own).then_some(account.flow),
        scope,
        variables,
        endpoints: endpoints(template, token, options, account.authorize, account.device),
        valid: true,
        user: account.user.filter(|_| by_password).unwrap_or_default(),
        password: account.password,
        ..Order::default()
    };
    template
        .order(order)
        .map_err(|mistakes| AddError::Mistakes(mistakes).into())
}

/// The file's endpoints, where the template has none of its own.
fn endpoints(
    template: &Entry,
    token: &str,
    options: &Options,
    authorize: Option<String>,
    device: Option<String>,
) -> Endpoints {
    let requests = &template.config.requests;
    let has = |request: &Option<provider_template::Request>| {
        request
            .as_ref()
            .is_some_and(|request| !request.url.is_empty())
    };
    let has_token =
        has(&requests.token_by_refresh_token) || has(&requests.token_by_client_credentials);
    Endpoints {
        authorize: options
            .authorize
            .clone()
            .or(authorize)
            .filter(|_| !has(&requests.authorization_code)),
        token: (!has_token && !token.is_empty()).then(|| token.to_owned()),
        device: device.filter(|_| template.config.postern.endpoints.device.is_none()),
        ..Endpoints::default()
    }
}

/// A scope without what only says who signed in.
fn about_mail(scope: &str) -> String {
    let words = scope.split_whitespace();
    let words: Vec<&str> = words
        .filter(|word| !ABOUT_THE_PERSON.contains(word))
        .collect();
    words.join(" ")
}
