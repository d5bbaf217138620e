//! Postern's own additions to an entry, under `Config.Postern`.

use serde_json::{Map, Value};

use crate::entry::Words;
use crate::flow::Flow;

/// Postern's own additions, under `Config.Postern`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Additions {
    /// One line for lists: which provider, which accounts.
    pub title: Option<String>,
    /// For the administrator: where to register the app, which permissions.
    pub notes: Option<String>,
    /// `{TenantID}` and the like, asked for when a config is made.
    pub variables: Vec<Variable>,
    /// OpenID Connect issuer whose `/.well-known/openid-configuration` gives the endpoints that the requests leave empty.
    pub discovery: Option<String>,
    /// Of a template: the flows a token config may choose besides the template's own.
    pub flows: Vec<Flow>,
    /// Endpoints that the four requests of the exchange format have no place for.
    pub endpoints: FurtherEndpoints,
    /// How the client proves itself by a certificate instead of a secret.
    pub assertion: Option<Assertion>,
    /// Who signs for the mailbox users, in the flow of that name.
    pub service_account: Option<ServiceAccount>,
    /// Days without use after which a refresh token dies.
    pub refresh_idle_life: Option<u32>,
    /// Days after which a refresh token dies, used or not.
    pub refresh_life: Option<u32>,
    /// Where mail is fetched by IMAP.
    pub imap: Option<Host>,
    /// Where mail is fetched by POP3.
    pub pop3: Option<Host>,
    /// Where mail is submitted.
    pub smtp: Option<Host>,
    /// What the provider allows.
    pub limits: Limits,
    /// Where the provider differs from the standards.
    pub quirks: Quirks,
    /// Keys that Postern doesn't know, kept for the export; those of the inner maps stand under their names, and those of a variable
    /// under `Variables` and the variable's name.
    pub rest: Map<String, Value>,
}

/// A part of a URL that differs from customer to customer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable {
    /// `TenantID` for the placeholder `{TenantID}`.
    pub name: String,
    /// The question to the administrator.
    pub asks: String,
}

/// A mail host of the provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// Its name.
    pub host: String,
    /// The TCP port.
    pub port: u16,
    /// How the connection is protected.
    pub tls: Tls,
}

/// How a connection to a provider's host is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tls {
    /// TLS from the first byte.
    Implicit,
    /// The protocol's STARTTLS command first.
    Starttls,
    /// No TLS, on loopback only.
    None,
}

impl Words for Tls {
    const WORDS: &'static [(Self, &'static str)] = &[
        (Self::Implicit, "implicit"),
        (Self::Starttls, "starttls"),
        (Self::None, "none"),
    ];
}

/// What the provider allows; None is no known limit. Some figures are second-hand; the template's notes say which.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Limits {
    /// Concurrent submission connections.
    pub smtp_connections: Option<u32>,
    /// Messages a minute.
    pub smtp_rate: Option<u32>,
    /// SIZE in bytes.
    pub smtp_size: Option<u64>,
    /// Messages that may be submitted in a day.
    pub smtp_messages_per_day: Option<u32>,
    /// Recipients that may be written to in a day.
    pub smtp_recipients_per_day: Option<u32>,
    /// Recipients that one message may have.
    pub smtp_recipients_per_message: Option<u32>,
    /// Messages that one connection may submit.
    pub smtp_messages_per_connection: Option<u32>,
    /// Concurrent IMAP connections to one mailbox.
    pub imap_connections: Option<u32>,
    /// Megabytes (10^6 bytes) that may be fetched by IMAP in a day.
    pub imap_megabytes_per_day: Option<u32>,
    /// Megabytes (10^6 bytes) that may be fetched by POP3 in a day.
    pub pop3_megabytes_per_day: Option<u32>,
}

/// Where the provider differs from the standards.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Quirks {
    /// Send the token only after the server's 334 (SMTP).
    pub smtp_no_initial_response: bool,
    /// Send the token only after the server's `+` (POP3): AUTH takes two lines.
    pub pop3_two_line_auth: bool,
    /// Deleting only takes a label away; a message that is to go must be moved to the folder marked `\Trash`.
    pub trash_on_delete: bool,
    /// Minutes after which IDLE is issued again.
    pub idle_minutes: Option<u32>,
    /// The one of the two mechanisms to try first, where servers offer both.
    pub sasl_preferred: Option<Bearer>,
    /// The one of the two mechanisms that the provider refuses, whatever its servers offer.
    pub sasl_refused: Option<Bearer>,
}

/// The SASL mechanisms that carry an access token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bearer {
    /// Google's and Microsoft's older form.
    Xoauth2,
    /// RFC 7628.
    Oauthbearer,
}

impl Words for Bearer {
    const WORDS: &'static [(Self, &'static str)] = &[
        (Self::Xoauth2, "XOAUTH2"),
        (Self::Oauthbearer, "OAUTHBEARER"),
    ];
}

/// Endpoints that the four requests of the exchange format have no place for; None is "the provider has none", or, beside
/// [`Additions::discovery`], "as discovered".
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FurtherEndpoints {
    /// Device authorization (RFC 8628 section 3.1).
    pub device: Option<String>,
    /// Revocation (RFC 7009).
    pub revoke: Option<String>,
    /// Introspection (RFC 7662).
    pub introspect: Option<String>,
    /// Whose token it is (OpenID Connect Core 1.0 section 5.3).
    pub userinfo: Option<String>,
}

impl FurtherEndpoints {
    /// The endpoints that are there, with their keys in the document.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        [
            ("Device", &self.device),
            ("Revoke", &self.revoke),
            ("Introspect", &self.introspect),
            ("UserInfo", &self.userinfo),
        ]
        .into_iter()
        .filter_map(|(key, url)| Some((key, url.as_deref()?)))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut String> {
        [
            &mut self.device,
            &mut self.revoke,
            &mut self.introspect,
            &mut self.userinfo,
        ]
        .into_iter()
        .flatten()
    }
}

/// How the client proves itself by a certificate (RFC 7523 section 2.2, in Microsoft's form); its key is
/// [`crate::Config::private_key`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Assertion {
    /// How the assertion is signed.
    pub algorithm: Algorithm,
    /// The certificate as PEM, public; its SHA-256 goes into the assertion as `x5t#S256`.
    pub certificate: String,
    /// `aud` of the assertion; None is the token endpoint.
    pub audience: Option<String>,
}

/// How a JWT is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Algorithm {
    /// RSASSA-PSS with SHA-256.
    #[default]
    Ps256,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
}

impl Words for Algorithm {
    const WORDS: &'static [(Self, &'static str)] =
        &[(Self::Ps256, "PS256"), (Self::Rs256, "RS256")];
}

impl Algorithm {
    /// Its name in a JWT's header.
    pub fn name(self) -> &'static str {
        self.word()
    }
}

/// Who signs for the mailbox users (RFC 7523 section 2.1 with a `sub`, in Google's form); the key is
/// [`crate::Config::private_key`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServiceAccount {
    /// `iss` of the assertion: the account's own address.
    pub email: String,
    /// `kid` of the assertion.
    pub key_id: Option<String>,
    /// `aud` of the assertion; None is the token endpoint.
    pub audience: Option<String>,
}
