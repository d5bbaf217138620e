//! How the pretend provider behaves, and where it listens.
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// How tokens are handed out.
#[derive(Debug, Clone)]
pub struct Knobs {
    /// How long an access token is good.
    pub token_life: Duration,
    /// A refresh answer carries a new refresh token.
    pub rotate: bool,
    /// A used refresh token revokes its family, as providers with theft detection do. Without it, old ones stay good.
    pub punish_reuse: bool,
    /// An authorisation request without a S256 challenge is refused.
    pub require_pkce: bool,
    /// Answers of the token endpoint name the user in an ID token.
    pub id_token: bool,
    /// Between two questions for a device code.
    pub device_interval: Duration,
    /// How long a device code is good.
    pub device_life: Duration,
}

impl Default for Knobs {
    fn default() -> Self {
        Self {
            token_life: Duration::from_secs(3600),
            rotate: true,
            punish_reuse: true,
            require_pkce: true,
            id_token: false,
            device_interval: Duration::from_secs(5),
            device_life: Duration::from_secs(900),
        }
    }
}

/// What the mail servers offer and how they treat a session.
#[derive(Debug, Clone)]
pub struct Features {
    /// Names of the SASL mechanisms that IMAP, POP3 and SMTP announce and accept.
    pub mechanisms: Vec<&'static str>,
    /// IMAP takes an initial response (SASL-IR).
    pub initial_response: bool,
    /// IMAP offers IDLE.
    pub idle: bool,
    /// IMAP offers UIDPLUS and MOVE; without them there is only `\Deleted` and EXPUNGE.
    pub uidplus_and_move: bool,
    /// Ends an IMAP session whose access token has expired, as Microsoft does: `* BYE Session invalidated - AccessTokenExpired`.
    pub end_expired_sessions: bool,
    /// SIZE that SMTP announces, in bytes.
    pub max_size: usize,
    /// What SMTP offers beside SIZE and AUTH; CHUNKING and DSN are understood where they are here.
    pub smtp_extensions: Vec<&'static str>,
    /// What POP3 offers beyond the least.
    pub pop3: Pop3Features,
}

/// What the POP3 server offers, and how it names messages.
#[derive(Debug, Clone)]
pub struct Pop3Features {
    /// CAPA is answered; without it, it is an unknown command.
    pub capa: bool,
    /// What UIDL gives.
    pub uidl: Uidl,
    /// TOP is offered.
    pub top: bool,
    /// PIPELINING is announced; without it, commands sent ahead end the session.
    pub pipelining: bool,
    /// LOGIN-DELAY in seconds.
    pub login_delay: Option<u32>,
    /// EXPIRE: after so many days, or NEVER, it deletes by itself what was retrieved. It says so alone.
    pub expire: Option<&'static str>,
}

/// How the POP3 server names messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Uidl {
    /// One name for each message, for ever, until UIDVALIDITY changes.
    Unique,
    /// A digest of the bytes: identical messages share a name.
    Digest,
    /// An unknown command.
    Missing,
}

impl Default for Features {
    fn default() -> Self {
        Self {
            mechanisms: vec!["XOAUTH2", "OAUTHBEARER", "PLAIN", "LOGIN"],
            initial_response: true,
            idle: true,
            uidplus_and_move: true,
            end_expired_sessions: false,
            // What Microsoft 365 announces.
            max_size: 157_286_400,
            smtp_extensions: vec!["PIPELINING", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES"],
            pop3: Pop3Features {
                capa: true,
                uidl: Uidl::Unique,
                top: true,
                pipelining: true,
                login_delay: None,
                expire: None,
            },
        }
    }
}

/// Where the four servers listen; port 0 takes a free one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// OAuth over HTTP.
    pub oauth: SocketAddr,
    /// IMAP.
    pub imap: SocketAddr,
    /// SMTP submission.
    pub smtp: SocketAddr,
    /// POP3.
    pub pop3: SocketAddr,
}

impl Default for Addresses {
    fn default() -> Self {
        let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self {
            oauth: free,
            imap: free,
            smtp: free,
            pop3: free,
        }
    }
}
