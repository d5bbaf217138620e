//! One entry of the exchange format, as the rest of Postern sees it.

use serde_json::{Map, Value};

use crate::additions::Additions;
use crate::flow::Flow;
use crate::secret::Secret;

/// One entry of the exchange format: a provider template, or a token config made from one.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Unique among the entries of its kind.
    pub name: String,
    /// `ValidID`: 1 is valid, every other number is not.
    pub valid: bool,
    /// What the entry says.
    pub config: Config,
    /// Keys that Postern doesn't know, kept for the export.
    pub rest: Map<String, Value>,
}

/// `Config` of an entry.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Config {
    /// The client's identifier at the provider.
    pub client_id: String,
    /// The client's secret; empty in templates, and for clients registered as public.
    pub client_secret: Secret,
    /// `Postern.PrivateKey`: the PEM key that signs assertions, of a certificate or a service account.
    pub private_key: Secret,
    /// `Postern.User`: who signs in, in the flow [`Flow::Password`].
    pub user: String,
    /// `Postern.Password`: that user's password.
    pub password: Secret,
    /// Scopes, separated by spaces.
    pub scope: String,
    /// The template this config was made from.
    pub template_name: Option<String>,
    /// `AuthFlow`, or `Postern.Flow` for those that only Postern knows.
    pub flow: Flow,
    /// What an administrator wants to be told.
    pub notifications: Notifications,
    /// The HTTP requests.
    pub requests: Requests,
    /// `Postern`: our own additions.
    pub postern: Additions,
    /// Keys that Postern doesn't know, kept for the export; those of the map `Notifications` stand under that name.
    pub rest: Map<String, Value>,
}

impl Config {
    /// The request that brings the first token: its URL is the token endpoint. The flows that only Postern knows borrow one of the
    /// exchange format's: a device code is exchanged like an authorisation code, and who needs no person asks like a client alone. The
    /// `grant_type` among its parameters is that of the request's own flow, and what was borrowed replaces it.
    pub fn first_request(&self) -> Option<&Request> {
        if self.flow.needs_person() {
            self.requests.token_by_authorization_code.as_ref()
        } else {
            self.requests.token_by_client_credentials.as_ref()
        }
    }

    /// The secrets beside the client's, with their keys under `Postern`.
    pub(crate) fn further_secrets(&self) -> [(&'static str, &Secret); 2] {
        [
            ("PrivateKey", &self.private_key),
            ("Password", &self.password),
        ]
    }
}

/// What an administrator wants to be told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Notifications {
    /// `NotifyOnExpiredToken`.
    pub expired_token: bool,
    /// `NotifyOnExpiredRefreshToken`.
    pub expired_refresh_token: bool,
}

/// The up to four requests of an entry.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Requests {
    /// Where the browser is sent, and what it brings back.
    pub authorization_code: Option<Request>,
    /// The code's exchange for the first token.
    pub token_by_authorization_code: Option<Request>,
    /// Each refresh.
    pub token_by_refresh_token: Option<Request>,
    /// The token request of the client alone.
    pub token_by_client_credentials: Option<Request>,
    /// Requests that Postern doesn't know, kept for the export.
    pub rest: Map<String, Value>,
}

impl Requests {
    /// The requests that are there, with the words of the exchange format.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &Request)> {
        [
            ("AuthorizationCode", &self.authorization_code),
            (
                "TokenByAuthorizationCode",
                &self.token_by_authorization_code,
            ),
            ("TokenByRefreshToken", &self.token_by_refresh_token),
            (
                "TokenByClientCredentials",
                &self.token_by_client_credentials,
            ),
        ]
        .into_iter()
        .filter_map(|(name, request)| request.as_ref().map(|request| (name, request)))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Request> {
        [
            &mut self.authorization_code,
            &mut self.token_by_authorization_code,
            &mut self.token_by_refresh_token,
            &mut self.token_by_client_credentials,
        ]
        .into_iter()
        .flatten()
    }
}

/// One HTTP request of an entry: where, fixed fields, fields filled in, and how the answer's fields are called.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Request {
    /// The endpoint; empty where discovery gives it.
    pub url: String,
    /// `Parameters`: fixed form fields.
    pub parameters: Vec<(String, String)>,
    /// `AutofilledParametersMapping`: form field, and what fills it.
    pub autofilled: Vec<(String, Autofill)>,
    /// `ParametersMapping` of the response: the answer's field, and what it is.
    pub answers: Vec<(String, Answer)>,
    /// Keys that Postern doesn't know, kept for the export; those of the inner maps `Request` and `Response` stand under these names.
    pub rest: Map<String, Value>,
}

impl Request {
    /// The form field that carries `what`.
    pub fn field(&self, what: Autofill) -> Option<&str> {
        self.autofilled
            .iter()
            .find(|(_, filled)| *filled == what)
            .map(|(field, _)| field.as_str())
    }

    /// The answer's field that carries `what`.
    pub fn answer(&self, what: Answer) -> Option<&str> {
        self.answers
            .iter()
            .find(|(_, answer)| *answer == what)
            .map(|(field, _)| field.as_str())
    }
}

/// A closed vocabulary of the exchange format: its variants with their words.
pub(crate) trait Words: Copy + Eq + Sized + 'static {
    /// Every variant, and its word.
    const WORDS: &'static [(Self, &'static str)];

    fn word(self) -> &'static str {
        Self::WORDS
            .iter()
            .find(|(variant, _)| *variant == self)
            .map_or("", |(_, word)| word)
    }
}

/// What can fill a form field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Autofill {
    /// The client's identifier.
    ClientId,
    /// The client's secret.
    ClientSecret,
    /// Where the provider sends the browser back to.
    RedirectUrl,
    /// The config's scopes.
    Scope,
    /// What ties the answer to the question.
    State,
    /// The code that the browser brought.
    AuthorizationCode,
    /// The refresh token.
    RefreshToken,
}

impl Words for Autofill {
    const WORDS: &'static [(Self, &'static str)] = &[
        (Self::ClientId, "ClientID"),
        (Self::ClientSecret, "ClientSecret"),
        (Self::RedirectUrl, "RedirectURL"),
        (Self::Scope, "Scope"),
        (Self::State, "State"),
        (Self::AuthorizationCode, "AuthorizationCode"),
        (Self::RefreshToken, "RefreshToken"),
    ];
}

impl Autofill {
    /// The word of the exchange format.
    pub fn name(self) -> &'static str {
        self.word()
    }
}

/// What an answer's field can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The code for the token request.
    AuthorizationCode,
    /// What ties the answer to the question.
    State,
    /// The access token.
    Token,
    /// Seconds that the access token lives.
    TokenExpirationDate,
    /// The refresh token, if the provider gave one.
    RefreshToken,
    /// Seconds that the refresh token lives.
    RefreshTokenExpirationDate,
    /// An error in words.
    ErrorMessage,
    /// An error as a code.
    ErrorCode,
    /// More about the error.
    ErrorDescription,
}

impl Words for Answer {
    const WORDS: &'static [(Self, &'static str)] = &[
        (Self::AuthorizationCode, "AuthorizationCode"),
        (Self::State, "State"),
        (Self::Token, "Token"),
        (Self::TokenExpirationDate, "TokenExpirationDate"),
        (Self::RefreshToken, "RefreshToken"),
        (
            Self::RefreshTokenExpirationDate,
            "RefreshTokenExpirationDate",
        ),
        (Self::ErrorMessage, "ErrorMessage"),
        (Self::ErrorCode, "ErrorCode"),
        (Self::ErrorDescription, "ErrorDescription"),
    ];
}

impl Answer {
    /// The word of the exchange format.
    pub fn name(self) -> &'static str {
        self.word()
    }
}
