//! Changes to a token config that was made.

use super::choices::{by_assertion, by_secret};
use super::{Endpoints, words};
use crate::additions::Assertion;
use crate::check::Mistake;
use crate::entry::{Entry, Notifications};
use crate::key_file::KeyFile;
use crate::secret::Secret;

/// What is changed of a token config; what is None stays. Its name and its template stay in any case.
#[derive(Debug, Clone, Default)]
pub struct Edit {
    /// The client's identifier.
    pub client_id: Option<String>,
    /// The client's secret; empty for a public client. It takes the place of a certificate.
    pub client_secret: Option<Secret>,
    /// The client's certificate and its PEM key. They take the place of a secret.
    pub certificate: Option<(Assertion, Secret)>,
    /// The key file of a service account.
    pub service_account: Option<Secret>,
    /// Who signs in, in the flow of that name.
    pub user: Option<String>,
    /// That user's password.
    pub password: Option<Secret>,
    /// The scope.
    pub scope: Option<String>,
    /// The endpoints.
    pub endpoints: Endpoints,
    /// Whether the config is to be used.
    pub valid: Option<bool>,
    /// What an administrator wants to be told.
    pub notifications: Option<Notifications>,
}

impl Entry {
    /// This token config with changes.
    ///
    /// # Errors
    /// Every mistake of the edit, by the field of the order that it is about.
    pub fn edited(&self, edit: Edit) -> Result<Entry, Vec<Mistake>> {
        let mut mistakes = Vec::new();
        let mut made = self.clone();
        let endpoints = edit.endpoints.clone();
        made.change(edit, &mut mistakes);
        let config = &made.config;
        for (field, value, empty) in [
            ("client_id", config.client_id.as_str(), false),
            ("client_secret", config.client_secret.expose(), true),
            ("user", &config.user, true),
            ("scope", &config.scope, false),
        ] {
            if value.is_empty() && !empty {
                mistakes.push(Mistake::new(field, "is empty"));
            }
            if value.chars().any(char::is_control) {
                let why = "contains a line break or another control character";
                mistakes.push(Mistake::new(field, why));
            }
        }
        let proofs =
            |entry: &Entry| [by_assertion(&entry.config), by_secret(&entry.config)].concat();
        mistakes.extend(newly(proofs(&made), &proofs(self)));
        made.use_endpoints(&endpoints, &mut mistakes);
        if mistakes.is_empty() {
            mistakes = newly(made.mistakes(), &self.mistakes());
        }
        if mistakes.is_empty() {
            Ok(made)
        } else {
            Err(mistakes)
        }
    }

    fn change(&mut self, edit: Edit, mistakes: &mut Vec<Mistake>) {
        let config = &mut self.config;
        if let Some(id) = edit.client_id {
            id.trim().clone_into(&mut config.client_id);
        }
        if let Some(secret) = edit.client_secret {
            config.client_secret = secret;
            if config.postern.assertion.take().is_some() {
                config.private_key = Secret::default();
            }
        }
        if let Some((assertion, key)) = edit.certificate {
            config.postern.assertion = Some(assertion);
            config.private_key = key;
            config.client_secret = Secret::default();
        }
        if let Some(file) = edit.service_account {
            match KeyFile::read(file.expose()) {
                Ok(read) => {
                    config.postern.service_account = Some(read.account);
                    config.private_key = read.private_key;
                }
                Err(why) => mistakes.push(Mistake::new("service_account", why)),
            }
        }
        if let Some(user) = edit.user {
            user.trim().clone_into(&mut config.user);
        }
        if let Some(password) = edit.password {
            config.password = password;
        }
        if let Some(scope) = edit.scope {
            config.scope = words(&scope).unwrap_or_default();
        }
        if let Some(valid) = edit.valid {
            self.valid = valid;
        }
        if let Some(wanted) = edit.notifications {
            config.notifications = wanted;
        }
    }
}

/// Mistakes that the edit brought: what an import brought before must not keep anybody from mending the rest.
fn newly(mistakes: Vec<Mistake>, before: &[Mistake]) -> Vec<Mistake> {
    let mut mistakes = mistakes;
    mistakes.retain(|mistake| !before.contains(mistake));
    mistakes
}
