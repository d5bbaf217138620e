//! The flow that an order chooses, and what proves who asks in it.

use super::Order;
use crate::check::Mistake;
use crate::entry::{Autofill, Entry, Request};
use crate::flow::Flow;

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
        let flow = self.config.flow;
        let config = &mut self.config;
        config.client_id = order.client_id.trim().to_owned();
        config.client_secret = order.client_secret;
        config.private_key = order.private_key;
        config.user = order.user.trim().to_owned();
        config.password = order.password;
        let postern = &mut config.postern;
        postern.assertion = order.assertion.or(postern.assertion.take());
        if let Some(mut account) = order.service_account {
            let template = postern.service_account.take();
            let audience = template.and_then(|account| account.audience);
            account.audience = account.audience.or(audience);
            postern.service_account = Some(account);
        }
        let by_certificate = postern.assertion.is_some();
        let email = postern.service_account.as_ref().map(|a| a.email.trim());
        let email = email.unwrap_or_default().to_owned();
        if flow == Flow::ServiceAccount && config.client_id.is_empty() {
            // Who asks is the account itself; providers that want another client ID say so.
            config.client_id.clone_from(&email);
        }
        let mut need = |field: &str, present: bool, why: &str| {
            if !present {
                mistakes.push(Mistake::new(field, format!("is empty; {why}")));
            }
        };
        let certificate = postern.assertion.as_ref().map(|a| a.certificate.trim());
        need(
            "client_certificate",
            certificate != Some(""),
            "give the certificate that is registered with the provider, as PEM",
        );
        need(
            "client_key",
            !by_certificate || !config.private_key.is_empty(),
            "give the certificate's private key, as PEM",
        );
        match flow {
            Flow::AuthorizationCode | Flow::DeviceCode => {}
            Flow::ClientCredentials => need(
                "client_secret",
                by_certificate || !config.client_secret.is_empty(),
                "without a person to consent, it is all that proves who asks",
            ),
            Flow::ServiceAccount => need(
                "service_account",
                !email.is_empty() && !config.private_key.is_empty(),
                "give the service account's key file, which holds its address and its private key",
            ),
            Flow::Password => {
                let why = "this flow signs in with a user name and a password";
                need("user", !config.user.is_empty(), why);
                need("password", !config.password.is_empty(), why);
            }
        }
    }
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
