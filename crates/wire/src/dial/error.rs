//! What went wrong before a protocol could be spoken, in words that tell an administrator what to do.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use rustls::pki_types::UnixTime;
use rustls::{CertificateError, Error as TlsError};

use super::Trust;

/// What went wrong before a protocol could be spoken; every message names the host.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The resolver gave no address.
    #[error("the name {host} could not be resolved: {source}")]
    Resolve {
        /// The name as it was configured.
        host: String,
        /// The resolver's words.
        source: io::Error,
    },
    /// No address accepted a TCP connection.
    #[error("no connection to {host}:{port}: {source}")]
    Connect {
        /// The name as it was configured.
        host: String,
        /// The TCP port.
        port: u16,
        /// Every address tried, with the reason.
        source: io::Error,
    },
    /// The handshake failed, most often over the certificate.
    #[error("TLS with {host} failed: {source}")]
    Tls {
        /// The name as it was configured.
        host: String,
        /// What is wrong, in words.
        source: io::Error,
    },
    /// A step took too long.
    #[error("no answer from {host}:{port} within {} s while {step}", after.as_secs())]
    Timeout {
        /// The name as it was configured.
        host: String,
        /// The TCP port.
        port: u16,
        /// What was going on.
        step: &'static str,
        /// The limit that passed.
        after: Duration,
    },
    /// The configured CA file is of no use.
    #[error("the CA file {}: {why}", path.display())]
    CaFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

/// A handshake's error with its cause in people's words; the kind stays.
pub(super) fn in_words(failure: io::Error, host: &str, trust: &Trust) -> io::Error {
    let kind = failure.kind();
    let tls = failure
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<TlsError>());
    let words = match tls {
        Some(TlsError::InvalidCertificate(_)) if trust.is_rootless() => {
            "this machine trusts no certificate authority at all; install the system's CA certificates (package ca-certificates), or \
             name the server's CA in tls_ca_file"
                .to_owned()
        }
        Some(TlsError::InvalidCertificate(why)) => certificate(why, host),
        Some(TlsError::InvalidMessage(_)) => {
            "what answers there does not speak TLS; perhaps the port wants starttls, or is another service's".to_owned()
        }
        Some(TlsError::AlertReceived(alert)) => format!("the server ended it with the alert {alert:?}"),
        Some(TlsError::PeerIncompatible(why)) => {
            format!("the server offers no TLS that is safe today (1.2 or newer is needed): {why:?}")
        }
        Some(other) => other.to_string(),
        None if kind == io::ErrorKind::UnexpectedEof => {
            "the server closed the connection during the handshake; perhaps the port does not speak TLS".to_owned()
        }
        None => failure.to_string(),
    };
    io::Error::new(kind, words)
}

fn certificate(why: &CertificateError, host: &str) -> String {
    match why {
        CertificateError::Expired => "its certificate has expired".to_owned(),
        CertificateError::ExpiredContext { time, not_after } => {
            format!("its certificate expired {} ago", span(*not_after, *time))
        }
        CertificateError::NotValidYet => {
            "its certificate is not valid yet; check this machine's clock".to_owned()
        }
        CertificateError::NotValidYetContext { time, not_before } => format!(
            "its certificate becomes valid in {}; check this machine's clock",
            span(*time, *not_before)
        ),
        CertificateError::NotValidForName => format!("its certificate is not for {host}"),
        CertificateError::NotValidForNameContext { presented, .. } => {
            format!(
                "its certificate is for {}, not for {host}",
                names(presented)
            )
        }
        CertificateError::UnknownIssuer => {
            "its certificate comes from an issuer that is not trusted here; if it is your own CA, name its file in tls_ca_file"
                .to_owned()
        }
        CertificateError::Revoked => "its certificate was revoked".to_owned(),
        CertificateError::BadSignature => {
            "its certificate was not signed by the CA of that name that is trusted here; perhaps the CA was renewed".to_owned()
        }
        other => format!("its certificate cannot be used: {other}"),
    }
}

/// The names of a certificate, which come as `DnsName("mail.example.org")` or `IpAddress(…)`.
fn names(presented: &[String]) -> String {
    if presented.is_empty() {
        return "no name at all".to_owned();
    }
    let bare: Vec<&str> = presented
        .iter()
        .map(|name| {
            name.strip_prefix("DnsName(\"")
                .and_then(|rest| rest.strip_suffix("\")"))
                .unwrap_or(name)
        })
        .collect();
    bare.join(", ")
}

/// The time between two moments in the largest unit that says enough.
fn span(from: UnixTime, to: UnixTime) -> String {
    let seconds = to.as_secs().saturating_sub(from.as_secs());
    let (count, unit) = match seconds {
        0..120 => (seconds, "second"),
        120..7_200 => (seconds / 60, "minute"),
        7_200..172_800 => (seconds / 3_600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {unit}{plural}")
}
