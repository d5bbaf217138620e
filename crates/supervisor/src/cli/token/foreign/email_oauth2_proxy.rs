//! email-oauth2-proxy's configuration file: accounts as sections, their tokens encrypted with the password the mail program gives.

use std::num::NonZeroU32;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use provider_template::Flow;
use token_store::Secret;

use super::Foreign;
use super::fernet::Key;
use super::ini::Ini;
use crate::cli::exit::{Code, Failure};

/// What the program derived keys with before it wrote `token_iterations`, and later defaults; it tries them in turn, too.
const ITERATIONS: [u32; 3] = [1_200_000, 870_000, 100_000];
/// A number that a damaged file may hold must not keep us busy for hours.
const ITERATIONS_CAP: u32 = 10_000_000;
/// What its sample file has in place of client ID and secret.
const SAMPLE: &str = "*** your client";

/// The accounts of a file, or the one that is wanted. `ask` gives the password of an account; an empty one leaves it out.
pub(super) fn read(
    text: &str,
    wanted: Option<&str>,
    ask: &mut dyn FnMut(&str) -> Result<Secret, Failure>,
) -> Result<Vec<Foreign>, Failure> {
    let ini = Ini::read(text);
    let mut accounts = Vec::new();
    let mut known = Vec::new();
    for name in ini.names() {
        let section = Account { ini: &ini, name };
        // A section whose name begins with @ stands for a domain; the others fall back to it.
        if name.starts_with('@') || section.get("token_url").is_none() {
            continue;
        }
        known.push(name);
        if wanted.is_none_or(|wanted| wanted == name) {
            accounts.extend(section.read(ask)?);
        }
    }
    match wanted {
        Some(wanted) if !known.contains(&wanted) => Err(Failure::new(
            Code::Data,
            format!(
                "the file has no account {wanted}; it has {}",
                known.join(", ")
            ),
        )),
        _ => Ok(accounts),
    }
}

struct Account<'a> {
    ini: &'a Ini,
    name: &'a str,
}

impl Account<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        let domain = self.name.rsplit_once('@').map(|(_, domain)| domain);
        self.ini.get(self.name, key).or_else(|| {
            let fallback = format!("@{}", domain?);
            self.ini.get(&fallback, key)
        })
    }

    fn read(
        &self,
        ask: &mut dyn FnMut(&str) -> Result<Secret, Failure>,
    ) -> Result<Option<Foreign>, Failure> {
        let wrong = |why: &str| Failure::new(Code::Data, format!("{}: {why}", self.name));
        let flow = self.flow().map_err(|why| wrong(&why))?;
        let owned = |key: &str| self.get(key).map(str::to_owned);
        let mut account = Foreign {
            user: Some(self.name.to_owned()),
            flow,
            client_id: owned("client_id"),
            client_secret: Some(Secret::new(owned("client_secret").unwrap_or_default())),
            token: owned("token_url"),
            scope: owned("oauth2_scope"),
            ..Foreign::default()
        };
        match flow {
            Flow::DeviceCode => account.device = owned("permission_url"),
            _ => account.authorize = owned("permission_url"),
        }
        if let (Some(certificate), Some(key)) =
            (owned("jwt_certificate_path"), owned("jwt_key_path"))
        {
            account.certificate = Some((certificate.into(), key.into()));
        }
        let samples = [account.client_id.as_deref(), self.get("client_secret")];
        if samples
            .into_iter()
            .flatten()
            .any(|text| text.contains(SAMPLE))
        {
            return Err(wrong(
                "its client ID or client secret is still that of the sample file",
            ));
        }
        let sealed = self.get("refresh_token");
        let sealed_secret = self
            .get("client_secret_encrypted")
            .filter(|_| self.get("client_secret").is_none());
        if sealed.is_none() && sealed_secret.is_none() && flow != Flow::Password {
            return Ok(Some(account));
        }
        let password = ask(self.name)?;
        if password.is_empty() {
            return Ok(None);
        }
        let open = |text: &str| self.open(text, &password).map_err(|why| wrong(&why));
        account.refresh_token = sealed.map(open).transpose()?;
        if let Some(secret) = sealed_secret {
            account.client_secret = Some(open(secret)?);
        }
        if flow == Flow::Password {
            account.password = password;
        }
        Ok(Some(account))
    }

    fn flow(&self) -> Result<Flow, String> {
        let interactive = self.get("permission_url").is_some();
        match self.get("oauth2_flow") {
            Some("device") => Ok(Flow::DeviceCode),
            Some("password") => Ok(Flow::Password),
            Some("client_credentials") => Ok(Flow::ClientCredentials),
            Some("service_account") => Err(
                "it signs with a service account, whose tokens need no moving: postern token add NAME --template \
                 google-service-account --service-account FILE"
                    .to_owned(),
            ),
            Some("authorization_code") => Ok(Flow::AuthorizationCode),
            None if interactive => Ok(Flow::AuthorizationCode),
            None => Ok(Flow::ClientCredentials),
            Some(_) => Err("its oauth2_flow is none that is known".to_owned()),
        }
    }

    fn open(&self, sealed: &str, password: &Secret) -> Result<Secret, String> {
        let salt = self
            .get("token_salt")
            .and_then(|salt| STANDARD.decode(salt).ok());
        let salt = salt.ok_or("its token_salt is missing, or not base64")?;
        let own = self.get("token_iterations").and_then(|n| n.parse().ok());
        let mut tried: Vec<u32> = own.into_iter().chain(ITERATIONS).collect();
        tried.retain(|count| *count <= ITERATIONS_CAP);
        tried.dedup();
        tried
            .into_iter()
            .filter_map(NonZeroU32::new)
            .find_map(|count| Key::derive(password, &salt, count).open(sealed))
            .ok_or_else(|| {
                "the password doesn't open its tokens; it is the one that the mail program gives the proxy".to_owned()
            })
    }
}
