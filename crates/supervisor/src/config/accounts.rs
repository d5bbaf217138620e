//! What mailboxes and relays have in common: secrets, how to sign in, where to connect.

use std::collections::BTreeMap;
use std::path::PathBuf;

use provider_template::{Entry, Host, Library, Secret, Tls};
use token_store::accounts::{Auth, Sasl};

use super::mistake::Place;
use super::nearest::nearest;
use super::reader::{Field, Section};
use super::sections::absolute;
use super::surroundings::{Secrets, Surroundings};

/// What accounts may refer to.
pub(super) struct Known<'a> {
    pub(super) library: &'a Library,
    /// Every token config of the file; None for one with a mistake of its own, which is reported already.
    pub(super) configs: BTreeMap<String, Option<Entry>>,
    pub(super) surroundings: &'a Surroundings,
    /// Where names are looked for, as the end of a sentence: ` in this file`.
    pub(super) within: &'static str,
}

/// Names of one kind, and where each was first taken.
#[derive(Default)]
pub(super) struct Names(BTreeMap<String, Place>);

/// Names travel in log fields, table rows and command lines.
const LONGEST_NAME: usize = 100;

impl Names {
    /// Reads `name`, which no other of its kind may have.
    pub(super) fn read(&mut self, section: &Section<'_>, kind: &str) -> Option<String> {
        let expected = format!("a name of its own for this {kind}");
        let field = section.require("name", &expected)?;
        let name = field.text(&expected)?;
        if name.len() > LONGEST_NAME {
            field.mistake(format!("a name may have {LONGEST_NAME} bytes"));
            return None;
        }
        if let Some(first) = self.0.get(name) {
            field.mistake(format!(
                "another {kind} on line {} is named \"{name}\" already",
                first.line
            ));
            return None;
        }
        self.0.insert(name.to_owned(), field.at());
        Some(name.to_owned())
    }
}

/// Stands where a secret was left out: not empty, so that it isn't missed. Such a configuration is never declared.
const STAND_IN: &str = "left out";

/// Reads a secret: a text, or where to find it. What stands there is never quoted.
pub(super) fn secret(field: &Field<'_>, surroundings: &Surroundings) -> Option<Secret> {
    let expected = "a text, {file: PATH}, {env: NAME} or {credential: NAME}";
    if let Some(text) = field.scalar() {
        if text.is_empty() || text.chars().any(char::is_control) {
            field.mistake(format!(
                "is empty or holds a control character; expected {expected}"
            ));
            return None;
        }
        field.is_literal_secret();
        return Some(Secret::new(text));
    }
    let pointer = field.single_entry();
    let Some((kind, target)) =
        pointer.filter(|(kind, _)| matches!(*kind, "file" | "env" | "credential"))
    else {
        field.mistake(format!("found something else; expected {expected}"));
        return None;
    };
    let name = target.text("the name of a file, variable or credential")?;
    if surroundings.secrets == Secrets::LeftOut {
        return Some(Secret::new(STAND_IN));
    }
    let found = match kind {
        "file" => {
            let path = absolute(&target)?;
            surroundings.file(&path)
        }
        "env" => surroundings.variable(name),
        _ => surroundings
            .credential(name)
            .and_then(|path| surroundings.file(&path)),
    };
    found.map_err(|why| target.mistake(why)).ok()
}

/// How an account signs in, and the token config behind it where there is one.
pub(super) struct SignIn<'a> {
    pub(super) auth: Auth,
    pub(super) sasl: Sasl,
    pub(super) entry: Option<&'a Entry>,
    /// The token config has a mistake of its own: what would come from its template is not missed.
    pub(super) mistaken: bool,
}

/// Reads `auth` and `sasl`.
pub(super) fn sign_in<'a>(section: &Section<'_>, known: &'a Known<'_>) -> Option<SignIn<'a>> {
    let mechanisms = [
        ("auto", Sasl::Auto),
        ("xoauth2", Sasl::Xoauth2),
        ("oauthbearer", Sasl::Oauthbearer),
        ("plain", Sasl::Plain),
        ("login", Sasl::Login),
    ];
    let sasl_field = section.get("sasl");
    let sasl = sasl_field
        .as_ref()
        .map_or(Some(Sasl::Auto), |field| field.one_of(&mechanisms));
    let expected = "{token: NAME} or {password: SECRET}";
    let field = section.require("auth", expected)?;
    let auth_section = field.section_unquoted(expected)?;
    let token = auth_section.get("token");
    let password = auth_section.get("password");
    auth_section.finish();
    let (auth, entry, mistaken) = match (token, password) {
        (Some(token), None) => {
            let (name, entry) = token_named(&token, known)?;
            (Auth::Token(name), entry, entry.is_none())
        }
        (None, Some(password)) => (
            Auth::Password(secret(&password, known.surroundings)?),
            None,
            false,
        ),
        (token, _) => {
            field.mistake(format!(
                "found {}; expected {expected}",
                if token.is_some() { "both" } else { "neither" }
            ));
            return None;
        }
    };
    let sasl = sasl?;
    let misfit = match (&auth, sasl) {
        (Auth::Token(_), Sasl::Plain | Sasl::Login) => {
            Some("auto, xoauth2 or oauthbearer with a token")
        }
        (Auth::Password(_), Sasl::Xoauth2 | Sasl::Oauthbearer) => {
            Some("auto, plain or login with a password")
        }
        _ => None,
    };
    if let (Some(expected), Some(field)) = (misfit, sasl_field) {
        field.expected(expected);
    }
    Some(SignIn {
        auth,
        sasl,
        entry,
        mistaken,
    })
}

/// Reads `template`, which gives an account with a password what a token config gives one with a token.
pub(super) fn template<'a>(
    section: &Section<'_>,
    known: &'a Known<'_>,
    sign_in: Option<&mut SignIn<'a>>,
) -> Option<Option<String>> {
    let Some(field) = section.get("template") else {
        return Some(None);
    };
    let Some(sign_in) = sign_in else {
        return template_named(&field, known).map(|name| Some(name.to_owned()));
    };
    if let Auth::Token(config) = &sign_in.auth {
        field.mistake(format!(
            "the token config {config} names its template already; leave this out"
        ));
        return None;
    }
    let name = template_named(&field, known);
    sign_in.entry = name.and_then(|name| known.library.get(name));
    sign_in.mistaken = name.is_none();
    name.map(|name| Some(name.to_owned()))
}

/// The name of a provider template that there is.
pub(super) fn template_named<'a>(field: &Field<'a>, known: &Known<'_>) -> Option<&'a str> {
    let name = field.text("the name of a provider template")?;
    if known.library.get(name).is_some() {
        return Some(name);
    }
    let templates = known.library.templates.iter();
    let names: Vec<&str> = templates.map(|entry| entry.name.as_str()).collect();
    let hint = match nearest(name, &names) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("there are {}", names.join(", ")),
    };
    field.mistake(format!("there is no provider template \"{name}\"; {hint}"));
    None
}

fn token_named<'a>(field: &Field<'_>, known: &'a Known<'_>) -> Option<(String, Option<&'a Entry>)> {
    let name = field.text("the name of a token config")?;
    if let Some(entry) = known.configs.get(name) {
        return Some((name.to_owned(), entry.as_ref()));
    }
    let names: Vec<&str> = known.configs.keys().map(String::as_str).collect();
    let hint = match nearest(name, &names) {
        Some(near) => format!("did you mean `{near}`?"),
        None if names.is_empty() => "token_configs names none".to_owned(),
        None => format!("token_configs names {}", names.join(", ")),
    };
    field.mistake(format!("there is no token config \"{name}\"; {hint}"));
    None
}

/// Where to connect.
pub(super) struct Endpoint {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) tls: Tls,
    pub(super) ca_file: Option<PathBuf>,
}

/// The registered ports of a protocol.
pub(super) struct Ports {
    pub(super) implicit: u16,
    pub(super) starttls: u16,
    pub(super) plain: u16,
    /// How the protocol is protected when only a host is known.
    pub(super) usual: Tls,
}

/// Reads `host`, `port`, `tls` and `tls_ca_file`; what is missing comes from the token config's template, else from the protocol.
pub(super) fn endpoint(
    section: &Section<'_>,
    template: Option<&Host>,
    ports: &Ports,
    mistaken: bool,
) -> Option<Endpoint> {
    let ways = [
        ("implicit", Tls::Implicit),
        ("starttls", Tls::Starttls),
        ("none", Tls::None),
    ];
    let host_field = section.get("host");
    let tls_field = section.get("tls");
    let tls = tls_field.as_ref().map(|field| field.one_of(&ways));
    let port = section
        .get("port")
        .map(|field| field.number(1..=65535).and_then(|n| u16::try_from(n).ok()));
    let ca_file = section.get("tls_ca_file").map(|field| absolute(&field));
    let host = match (&host_field, template) {
        (Some(field), _) => host_name(field)?,
        (None, Some(host)) => host.host.clone(),
        (None, None) if mistaken => return None,
        (None, None) => {
            section.require("host", "a host name, since no provider template gives one");
            return None;
        }
    };
    let (tls, port) = (transpose(tls)?, transpose(port)?);
    let ca_file = transpose(ca_file)?;
    let tls_or = |port: Option<u16>| match port {
        Some(port) if port == ports.implicit => Tls::Implicit,
        Some(port) if port == ports.starttls => Tls::Starttls,
        _ => template.map_or(ports.usual, |host| host.tls),
    };
    let tls = tls.unwrap_or_else(|| tls_or(port));
    let port = port.unwrap_or_else(|| match (template, tls) {
        (Some(host), tls) if host.tls == tls => host.port,
        (_, Tls::Implicit) => ports.implicit,
        (_, Tls::Starttls) => ports.starttls,
        (_, Tls::None) => ports.plain,
    });
    if tls == Tls::None && !wire::dial::is_loopback(&host) {
        let at = tls_field.or(host_field)?;
        at.mistake(format!("{host} is beyond this machine, where passwords and tokens need TLS; expected implicit or starttls"));
        return None;
    }
    Some(Endpoint {
        host,
        port,
        tls,
        ca_file,
    })
}

/// Absent stays absent; present and mistaken ends the reading, since the mistake is noted.
fn transpose<T>(value: Option<Option<T>>) -> Option<Option<T>> {
    match value {
        Some(None) => None,
        Some(Some(value)) => Some(Some(value)),
        None => Some(None),
    }
}

fn host_name(field: &Field<'_>) -> Option<String> {
    let expected = "a host name or an IP address, without a port";
    let text = field.text(expected)?;
    let is_address = text.parse::<std::net::IpAddr>().is_ok();
    let fits = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
    if !is_address && !text.chars().all(fits) {
        field.expected(expected);
        return None;
    }
    Some(text.to_owned())
}

/// Reads `user`: the name to sign in with.
pub(super) fn user(section: &Section<'_>) -> Option<String> {
    let expected = "the user name to sign in with, such as support@example.com";
    Some(
        section
            .require("user", expected)?
            .text(expected)?
            .to_owned(),
    )
}
