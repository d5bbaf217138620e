//! Other programs' token files: each becomes a token config and its refresh token, without a new consent.

mod email_oauth2_proxy;
mod fernet;
mod ini;
mod json;
mod place;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use clap::{Args, ValueEnum};
use provider_template::{Entry, Flow, Library};
use token_store::transfer::{Carried, Parcel};
use token_store::{Secret, TokenId};

use crate::cli::exit::{Code, Failure};
use crate::cli::prompt;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The file is another program's: its token file, or the configuration that holds its tokens.
    #[arg(long, value_enum, value_name = "PROGRAM")]
    pub(super) from: Option<Format>,
    /// The new token config's name; the account's address otherwise.
    #[arg(long = "as", value_name = "NAME", requires = "from")]
    name: Option<String>,
    /// Only this account of the file.
    #[arg(long, value_name = "ADDRESS", requires = "from")]
    account: Option<String>,
    /// The provider template, instead of the one that the file's endpoints belong to.
    #[arg(long, short, requires = "from")]
    template: Option<String>,
    /// A variable of the template; may be repeated.
    #[arg(long = "variable", value_name = "NAME=VALUE", value_parser = super::define::variable, requires = "from")]
    variables: Vec<(String, String)>,
    /// The client ID, where the file has none; the client secret is then asked for.
    #[arg(long, requires = "from")]
    client_id: Option<String>,
    /// The client has no secret; don't ask for one.
    #[arg(long, requires = "from")]
    public_client: bool,
    /// The scope, instead of the file's or the template's; it may not be more than was consented to.
    #[arg(long, requires = "from")]
    scope: Option<String>,
    /// The authorisation endpoint, where neither the file nor the template has one.
    #[arg(long, value_name = "URL", requires = "from")]
    authorize: Option<String>,
}

/// Whose file it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// email-oauth2-proxy's configuration file; the password that the mail program gives the proxy opens its tokens.
    #[value(name = "email-oauth2-proxy")]
    EmailOauth2Proxy,
    /// A token file of mutt_oauth2.py, which gpg is asked to decrypt; or decrypted, from standard input.
    #[value(name = "mutt-oauth2")]
    MuttOauth2,
    /// A token file of sasl-xoauth2.
    #[value(name = "sasl-xoauth2")]
    SaslXoauth2,
    /// A token file of getmail (getmail-gmail-xoauth-tokens).
    #[value(name = "getmail")]
    Getmail,
}

impl Format {
    fn name(self) -> &'static str {
        match self {
            Self::EmailOauth2Proxy => "email-oauth2-proxy",
            Self::MuttOauth2 => "mutt_oauth2.py",
            Self::SaslXoauth2 => "sasl-xoauth2",
            Self::Getmail => "getmail",
        }
    }
}

/// What another program knows of one account.
#[derive(Debug, Default, PartialEq)]
struct Foreign {
    /// The account's address.
    user: Option<String>,
    flow: Flow,
    client_id: Option<String>,
    /// None: the file has no place for one, so it has to be asked for.
    client_secret: Option<Secret>,
    authorize: Option<String>,
    device: Option<String>,
    token: Option<String>,
    scope: Option<String>,
    refresh_token: Option<Secret>,
    /// Certificate and key, PEM files, instead of a client secret.
    certificate: Option<(PathBuf, PathBuf)>,
    /// Of the account, in the flow of that name.
    password: Secret,
    /// What a person should know.
    remarks: Vec<String>,
}

/// What is to be taken in, and in words where it came from.
pub(super) struct Moved {
    pub(super) lines: Vec<String>,
    pub(super) parcel: Parcel,
}

/// Reads a file of another program, asking for what it takes to open it.
pub(super) fn read(
    document: &Path,
    bytes: Vec<u8>,
    options: &Options,
    library: &Arc<Library>,
) -> Result<Moved, Failure> {
    let Some(format) = options.from else {
        return Err(Failure::new(Code::Usage, "--from says whose file it is"));
    };
    let text = plain(document, bytes, format)?;
    let shown = document.display();
    let wrong = |why: String| Failure::new(Code::Data, format!("{shown}: {why}"));
    let accounts = match format {
        Format::EmailOauth2Proxy => {
            let mut ask = |account: &str| {
                let question = format!("password of {account} at the proxy");
                beside(document, &question)
            };
            email_oauth2_proxy::read(&text, options.account.as_deref(), &mut ask)?
        }
        Format::MuttOauth2 => vec![json::mutt_oauth2(&text).map_err(wrong)?],
        Format::SaslXoauth2 => vec![json::sasl_xoauth2(&text).map_err(wrong)?],
        Format::Getmail => vec![json::getmail(&text).map_err(wrong)?],
    };
    if accounts.is_empty() {
        return Err(wrong("holds no account that could be taken".to_owned()));
    }
    if accounts.len() > 1 && options.name.is_some() {
        let names: Vec<&str> = accounts.iter().filter_map(|a| a.user.as_deref()).collect();
        let words = format!(
            "holds {} accounts ({}); --account chooses the one that --as names",
            names.len(),
            names.join(", ")
        );
        return Err(wrong(words));
    }
    let mut moved = Moved {
        lines: Vec::new(),
        parcel: Parcel::default(),
    };
    for mut account in accounts {
        missing(document, &mut account, options)?;
        let user = account.user.clone();
        let stem = document.file_stem().and_then(std::ffi::OsStr::to_str);
        let name = options.name.clone().or(user);
        let name = name.or_else(|| stem.filter(|stem| *stem != "-").map(str::to_owned));
        let Some(name) = name else {
            return Err(wrong(
                "the file has no name for it; give one with --as".to_owned(),
            ));
        };
        let refresh_token = account.refresh_token.take();
        let remarks = std::mem::take(&mut account.remarks);
        let entry = place::entry(&name, account, options, library)?;
        moved.lines.push(format!(
            "{name}: {}",
            described(&entry, format, refresh_token.is_some())
        ));
        moved
            .lines
            .extend(remarks.iter().map(|remark| format!("{name}: {remark}")));
        moved
            .parcel
            .tokens
            .extend(refresh_token.map(|refresh_token| Carried {
                id: TokenId::of(&entry.name),
                refresh_token,
                obtained_at: None,
                expires_at: None,
                identity: None,
            }));
        moved.parcel.entries.push(entry);
    }
    Ok(moved)
}

/// The file's text, decrypted where the program keeps it encrypted by another one.
fn plain(document: &Path, bytes: Vec<u8>, format: Format) -> Result<String, Failure> {
    let text = String::from_utf8(bytes);
    let is_json = |text: &str| text.trim_start().starts_with('{');
    match text {
        Ok(text) if format != Format::MuttOauth2 || is_json(&text) => Ok(text),
        _ if format == Format::MuttOauth2 && document != Path::new("-") => gpg(document),
        _ if format == Format::MuttOauth2 => Err(Failure::new(
            Code::Data,
            "standard input holds no JSON; decrypt the token file first: gpg --decrypt FILE | postern token import --from mutt-oauth2 - ...",
        )),
        _ => Err(Failure::new(
            Code::Data,
            format!("{} is not UTF-8 text", document.display()),
        )),
    }
}

/// gpg decrypts; it asks for its passphrase itself.
fn gpg(document: &Path) -> Result<String, Failure> {
    let failed = |why: String| {
        Failure::new(
            Code::Data,
            format!("gpg --decrypt {} failed: {why}", document.display()),
        )
    };
    let decrypted = Command::new("gpg")
        .args(["--quiet", "--decrypt", "--"])
        .arg(document)
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| failed(error.to_string()))?;
    if !decrypted.status.success() {
        return Err(failed(decrypted.status.to_string()));
    }
    String::from_utf8(decrypted.stdout).map_err(|_| failed("it gave no text".to_owned()))
}

/// Asks for a secret, on the terminal where standard input holds the document.
fn beside(document: &Path, question: &str) -> Result<Secret, Failure> {
    if document == Path::new("-") {
        prompt::secret_beside_input(question)
    } else {
        prompt::secret(question)
    }
}

/// Client ID and secret, where the file has none.
fn missing(document: &Path, account: &mut Foreign, options: &Options) -> Result<(), Failure> {
    if let Some(id) = &options.client_id {
        account.client_id = Some(id.clone());
        account.client_secret = None;
    }
    if account.client_id.as_deref().unwrap_or_default().is_empty() {
        return Err(Failure::new(
            Code::Usage,
            format!(
                "{} holds no client ID; give the one that its refresh token belongs to with --client-id",
                document.display()
            ),
        ));
    }
    if options.public_client || account.certificate.is_some() {
        account.client_secret = Some(Secret::default());
    }
    if account.client_secret.is_none() {
        let secret = beside(document, "client secret")?;
        if secret.is_empty() {
            return Err(Failure::new(
                Code::Data,
                "no client secret was given; --public-client is for a registration without one",
            ));
        }
        account.client_secret = Some(secret);
    }
    Ok(())
}

/// One line of what was found; no secret in it.
fn described(entry: &Entry, format: Format, has_token: bool) -> String {
    let config = &entry.config;
    let secret = match (&config.postern.assertion, config.client_secret.is_empty()) {
        (Some(_), _) => "a certificate",
        (None, false) => "a client secret",
        (None, true) => "no client secret",
    };
    let token = match (has_token, config.flow.needs_person()) {
        (true, _) => "a refresh token",
        (false, true) => "no refresh token, so that a person must consent",
        (false, false) => "no refresh token, and no need of one",
    };
    format!(
        "from {}: template {}, flow {}, client ID {}, scope {}; with {secret}, and {token}",
        format.name(),
        config.template_name.as_deref().unwrap_or("none"),
        config.flow.key(),
        config.client_id,
        config.scope,
    )
}
