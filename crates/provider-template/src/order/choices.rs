//! The flow that an order chooses, and what proves who asks in it.

use super::Order;
use crate::check::Mistake;
use crate::entry::{Autofill, Config, Entry, Request};
use crate::flow::Flow;
use crate::key_file::KeyFile;
use crate::pem::{certificate_trouble, key_trouble};

impl Entry {
    /// Takes another flow than the template's own, if the template allows it; otherwise says what it allows.
    pub(super) fn choose_flow(&mut self, wanted: Flow) -> Option<String> {
        let possible = self.possible_flows();
        if !possible.contains(&wanted) {
            let keys: Vec<&str> = possible.iter().map(|flow| flow.key()).collect();
            return Some(format!(
                "the template {} is for {}; leave the flow out, or take another template",
                self.config.template_name.as_deref().unwrap_or(&self.name),
                keys.join(", ")
            ));
        }
        let requests = &mut self.config.requests;
        if !wanted.needs_person() && requests.token_by_client_credentials.is_none() {
            requests.token_by_client_credentials = requests
                .token_by_authorization_code
                .as_ref()
                .map(without_code);
        }
        self.config.flow = wanted;
        None
    }

    /// The template's own flow, those it names, and those it has the requests for.
    pub fn possible_flows(&self) -> Vec<Flow> {
        let requests = &self.config.requests;
        let browser =
            requests.authorization_code.is_some() && requests.token_by_authorization_code.is_some();
        let client = requests.token_by_client_credentials.is_some();
        let named = &self.config.postern.flows;
        Flow::ALL
            .into_iter()
            .filter(|flow| {
                *flow == self.config.flow
                    || named.contains(flow)
                    || (*flow == Flow::AuthorizationCode && browser)
                    || (*flow == Flow::ClientCredentials
                        && client
                        && self.config.flow.needs_person())
            })
            .collect()
    }

    /// Puts in what proves who asks: a secret, a certificate, a service account, a password.
    pub(super) fn prove(&mut self, order: Order, mistakes: &mut Vec<Mistake>) {
        let config = &mut self.config;
        config.client_id = order.client_id.trim().to_owned();
        config.client_secret = order.client_secret;
        config.private_key = order.private_key;
        config.user = order.user.trim().to_owned();
        config.password = order.password;
        let postern = &mut config.postern;
        postern.assertion = order.assertion.or(postern.assertion.take());
        let key_file = order.service_account;
        let read = (!key_file.is_empty()).then(|| KeyFile::read(key_file.expose()));
        let unreadable = match read {
            Some(Err(why)) => Some(why),
            Some(Ok(KeyFile {
                account: mut read,
                private_key,
                ..
            })) => {
                let template = postern.service_account.take();
                read.audience = read.audience.or(template.and_then(|own| own.audience));
                postern.service_account = Some(read);
                config.private_key = private_key;
                None
            }
            None => None,
        };
        if config.flow == Flow::ServiceAccount && config.client_id.is_empty() {
            // Who asks is the account itself; providers that want another client ID say so.
            email(config).clone_into(&mut config.client_id);
        }
        match unreadable {
            Some(why) => mistakes.push(Mistake::new("service_account", why)),
            None => mistakes.extend(by_assertion(config)),
        }
        mistakes.extend(by_secret(config));
    }
}

/// The service account's address, empty without one.
fn email(config: &Config) -> String {
    let account = config.postern.service_account.as_ref();
    account.map_or_else(String::new, |account| account.email.trim().to_owned())
}

/// What is wrong with keys and certificates.
pub(super) fn by_assertion(config: &Config) -> Vec<Mistake> {
    let mut found = Vec::new();
    let mut look = |field, pem: &str, empty, judge: fn(&str) -> Option<&'static str>| {
        let why = if pem.trim().is_empty() {
            Some(empty)
        } else {
            judge(pem)
        };
        found.extend(why.map(|why| Mistake::new(field, why)));
    };
    let by_account = config.flow == Flow::ServiceAccount;
    if let Some(assertion) = &config.postern.assertion {
        let empty = "is empty; give the certificate that is registered with the provider, as PEM";
        let certificate = &assertion.certificate;
        look(
            "client_certificate",
            certificate,
            empty,
            certificate_trouble,
        );
        let empty = "is empty; give the certificate's private key, as PEM";
        look(
            "client_key",
            config.private_key.expose(),
            empty,
            key_trouble,
        );
        if by_account {
            found.push(Mistake::new(
                "service_account",
                "signs with its own key, so there is no place for a client certificate",
            ));
        }
    } else if config.postern.service_account.is_none() && !config.private_key.is_empty() {
        found.push(Mistake::new(
            "client_key",
            "goes with a certificate, and none is given",
        ));
    }
    if by_account && (email(config).is_empty() || config.private_key.is_empty()) {
        found.push(Mistake::new(
            "service_account",
            "is empty; give the service account's key file, which holds its address and its private key",
        ));
    }
    if !by_account && config.postern.service_account.is_some() {
        found.push(Mistake::new(
            "service_account",
            "is only for the flow service_account",
        ));
    }
    found
}

/// What is wrong with secrets and passwords.
pub(super) fn by_secret(config: &Config) -> Vec<Mistake> {
    let mut found = Vec::new();
    let proved = config.postern.assertion.is_some() || !config.client_secret.is_empty();
    if config.flow == Flow::ClientCredentials && !proved {
        found.push(Mistake::new(
            "client_secret",
            "is empty; without a person to consent, it is all that proves who asks",
        ));
    }
    let given = [
        ("user", !config.user.is_empty()),
        ("password", !config.password.is_empty()),
    ];
    for (field, given) in given {
        match (config.flow == Flow::Password, given) {
            (true, false) => found.push(Mistake::new(
                field,
                "is empty; this flow signs in with a user name and a password",
            )),
            (false, true) => found.push(Mistake::new(
                field,
                "is only for the flow password; this one never sees a user's password",
            )),
            _ => {}
        }
    }
    found
}

/// A token request that carries no code: for the flows that ask without a person.
fn without_code(request: &Request) -> Request {
    let mut request = request.clone();
    request
        .parameters
        .retain(|(field, _)| field != "grant_type");
    request.autofilled.retain(|(_, what)| {
        matches!(
            what,
            Autofill::ClientId | Autofill::ClientSecret | Autofill::Scope
        )
    });
    request
}
