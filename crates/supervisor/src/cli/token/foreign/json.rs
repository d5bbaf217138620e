//! Token files that are one JSON object: mutt_oauth2.py, sasl-xoauth2, getmail.

use provider_template::Flow;
use serde_json::{Map, Value};
use token_store::Secret;

use super::Foreign;

/// The endpoint that sasl-xoauth2 means when its file names none.
const GOOGLE: &str = "https://oauth2.googleapis.com/token";
const MICROSOFT: &str = "https://login.microsoftonline.com/";
/// What sasl-xoauth2's own tool asks consent for at Microsoft; its files don't say.
const SASL_SCOPE: &str = "https://outlook.office.com/SMTP.Send offline_access";
/// What mutt_oauth2.py asks consent for at Microsoft; its files don't say.
const MUTT_SCOPE: &str = "https://outlook.office.com/IMAP.AccessAsUser.All https://outlook.office.com/POP.AccessAsUser.All \
                          https://outlook.office.com/SMTP.Send offline_access";

/// An object's texts; no message quotes one.
struct Object(Map<String, Value>);

impl Object {
    fn read(text: &str) -> Result<Self, String> {
        match serde_json::from_str(text) {
            Ok(Value::Object(map)) => Ok(Self(map)),
            Ok(_) => Err("is JSON, but not one object".to_owned()),
            Err(error) => Err(format!(
                "is not JSON: line {}, column {}",
                error.line(),
                error.column()
            )),
        }
    }

    /// A text that isn't empty.
    fn text(&self, key: &str) -> Option<String> {
        let text = self.0.get(key)?.as_str()?.trim();
        (!text.is_empty()).then(|| text.to_owned())
    }

    fn secret(&self, key: &str) -> Option<Secret> {
        self.text(key).map(Secret::new)
    }

    /// A switch, as any of the ways that these programs write it.
    fn is_on(&self, key: &str) -> bool {
        match self.0.get(key) {
            Some(Value::Bool(on)) => *on,
            Some(Value::String(word)) => ["yes", "true", "1"].contains(&word.as_str()),
            Some(Value::Number(number)) => number.as_u64() == Some(1),
            _ => false,
        }
    }

    /// The client's secret: none at all only where the file has no client either.
    fn client_secret(&self) -> Option<Secret> {
        let known = self.0.contains_key("client_id") || self.0.contains_key("client_secret");
        known.then(|| self.secret("client_secret").unwrap_or_default())
    }
}

/// mutt_oauth2.py: `registration`, `authflow`, `email`, `refresh_token`. Client ID and secret stand in the script, or in files of later
/// versions.
pub(super) fn mutt_oauth2(text: &str) -> Result<Foreign, String> {
    let object = Object::read(text)?;
    let registration = object.text("registration");
    let (token, scope) = match registration.as_deref() {
        Some("google") => (GOOGLE.to_owned(), None),
        Some("microsoft") => {
            let tenant = object.text("tenant").unwrap_or_else(|| "common".to_owned());
            (
                format!("{MICROSOFT}{tenant}/oauth2/v2.0/token"),
                Some(MUTT_SCOPE.to_owned()),
            )
        }
        Some(_) => {
            return Err(
                "its registration is neither google nor microsoft; say which provider with --template".to_owned(),
            );
        }
        None => {
            return Err("has no registration, so it is no token file of mutt_oauth2.py".to_owned());
        }
    };
    Ok(Foreign {
        user: object.text("email"),
        flow: match object.text("authflow").as_deref() {
            Some("devicecode") => Flow::DeviceCode,
            _ => Flow::AuthorizationCode,
        },
        client_id: object.text("client_id"),
        client_secret: object.client_secret(),
        token: Some(token),
        scope: object.text("scope").or(scope),
        refresh_token: object.secret("refresh_token"),
        ..Foreign::default()
    })
}

/// sasl-xoauth2: `refresh_token`, and where they are not in its configuration `client_id`, `client_secret`, `token_endpoint`.
pub(super) fn sasl_xoauth2(text: &str) -> Result<Foreign, String> {
    let object = Object::read(text)?;
    let alone = object.is_on("use_client_credentials");
    let refresh_token = object.secret("refresh_token").filter(|_| !alone);
    if refresh_token.is_none() && !alone {
        return Err("has no refresh_token, so it is no token file of sasl-xoauth2".to_owned());
    }
    let token = object.text("token_endpoint");
    let at_microsoft = token
        .as_deref()
        .is_some_and(|url| url.starts_with(MICROSOFT));
    let mut remarks = Vec::new();
    let mut scope = object.text("scope");
    if scope.is_none() && at_microsoft && !alone {
        scope = Some(SASL_SCOPE.to_owned());
        remarks.push(
            "the file doesn't say which scope was consented to; its program asks for sending only (--scope says another)".to_owned(),
        );
    }
    Ok(Foreign {
        user: object.text("user"),
        flow: if alone {
            Flow::ClientCredentials
        } else {
            Flow::AuthorizationCode
        },
        client_id: object.text("client_id"),
        client_secret: object.client_secret(),
        token: Some(token.unwrap_or_else(|| GOOGLE.to_owned())),
        scope,
        refresh_token,
        remarks,
        ..Foreign::default()
    })
}

/// getmail: `scope`, `user`, `client_id`, `client_secret`, `token_uri`, `auth_uri`, `refresh_token`.
pub(super) fn getmail(text: &str) -> Result<Foreign, String> {
    let object = Object::read(text)?;
    if object.text("token_uri").is_none() {
        return Err("has no token_uri, so it is no token file of getmail".to_owned());
    }
    Ok(Foreign {
        user: object.text("user"),
        client_id: object.text("client_id"),
        client_secret: object.client_secret(),
        authorize: object.text("auth_uri"),
        token: object.text("token_uri"),
        scope: object.text("scope"),
        refresh_token: object.secret("refresh_token"),
        ..Foreign::default()
    })
}
