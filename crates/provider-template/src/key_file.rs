//! The key file of a service account, as Google's console hands it out: JSON with the account's address and its private key.

use serde_json::Value;

use crate::additions::ServiceAccount;
use crate::pem::key_trouble;
use crate::secret::Secret;
use crate::url::url_is_safe;

/// What a service account's key file holds.
#[derive(Debug, Clone, PartialEq)]
pub struct KeyFile {
    /// Who signs, and for whom (`token_uri`) the signature is.
    pub account: ServiceAccount,
    /// What it signs with, as PEM.
    pub private_key: Secret,
    /// The account's number, by which an administrator allows it to act for the domain.
    pub client_id: Option<String>,
}

impl KeyFile {
    /// Reads the file's text. No message quotes it.
    ///
    /// # Errors
    /// What is missing, or of another kind than expected.
    pub fn read(json: &str) -> Result<Self, String> {
        let value: Value = serde_json::from_str(json).map_err(|error| {
            format!(
                "is not JSON: line {}, column {}",
                error.line(),
                error.column()
            )
        })?;
        let text = |key: &str| match value.get(key).and_then(Value::as_str) {
            Some(text) if !text.trim().is_empty() => Some(text.trim().to_owned()),
            _ => None,
        };
        if text("type").is_some_and(|kind| kind != "service_account") {
            return Err(
                "is a key file of another kind; expected \"type\": \"service_account\"".to_owned(),
            );
        }
        let email = text("client_email").ok_or("has no client_email")?;
        if email.chars().any(char::is_control) {
            return Err("has a client_email with a control character".to_owned());
        }
        let private_key = text("private_key").ok_or("has no private_key")?;
        if let Some(why) = key_trouble(&private_key) {
            return Err(format!("has a private_key that {why}"));
        }
        let audience = text("token_uri");
        if audience.as_deref().is_some_and(|url| !url_is_safe(url)) {
            return Err("has a token_uri that is not an https:// URL".to_owned());
        }
        Ok(Self {
            account: ServiceAccount {
                email,
                key_id: text("private_key_id"),
                audience,
            },
            private_key: Secret::new(private_key),
            client_id: text("client_id"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "-----BEGIN PRIVATE KEY-----\\nplanted\\n-----END PRIVATE KEY-----\\n";

    fn file(extra: &str) -> String {
        format!(
            r#"{{"type": "service_account", "project_id": "p", "private_key_id": "k1", "client_id": "1234",
            "client_email": "robot@p.iam.gserviceaccount.com", "private_key": "{KEY}"{extra}}}"#
        )
    }

    #[test]
    fn a_key_file_gives_the_account_and_its_key() {
        let read =
            KeyFile::read(&file(r#", "token_uri": "https://oauth2.example/token""#)).unwrap();
        assert_eq!(read.account.email, "robot@p.iam.gserviceaccount.com");
        assert_eq!(read.account.key_id.as_deref(), Some("k1"));
        assert_eq!(
            read.account.audience.as_deref(),
            Some("https://oauth2.example/token")
        );
        assert_eq!(read.client_id.as_deref(), Some("1234"));
        assert!(read.private_key.expose().contains("planted"));
        assert!(!format!("{read:?}").contains("planted"));
    }

    #[test]
    fn what_is_wrong_with_a_key_file_is_said_without_quoting_it() {
        for (text, why) in [
            (
                "{\n\"private_key\": planted",
                "is not JSON: line 2, column 16",
            ),
            ("{}", "has no client_email"),
            (
                r#"{"type": "authorized_user", "refresh_token": "planted"}"#,
                "is a key file of another kind",
            ),
            (r#"{"client_email": "a@b"}"#, "has no private_key"),
            (
                r#"{"client_email": "a@b", "private_key": "planted"}"#,
                "has a private_key that is no private key",
            ),
            (
                &file(r#", "token_uri": "http://planted.example""#),
                "has a token_uri",
            ),
        ] {
            let error = KeyFile::read(text).unwrap_err();
            assert!(error.starts_with(why), "{error}");
            assert!(!error.contains("planted"), "{error}");
        }
    }
}
