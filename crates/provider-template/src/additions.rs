//! Postern's own additions to an entry, under `Config.Postern`.

use serde_json::{Map, Value};

use crate::entry::Words;

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

/// What the provider allows; None is no known limit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Limits {
    /// Concurrent submission connections.
    pub smtp_connections: Option<u32>,
    /// Messages a minute.
    pub smtp_rate: Option<u32>,
    /// SIZE in bytes.
    pub smtp_size: Option<u64>,
}

/// Where the provider differs from the standards.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Quirks {
    /// Send the token only after the server's 334 (SMTP).
    pub smtp_no_initial_response: bool,
    /// Minutes after which IDLE is issued again.
    pub idle_minutes: Option<u32>,
}
