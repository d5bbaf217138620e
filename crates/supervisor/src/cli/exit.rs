//! Exit codes after sysexits.h, and which error ends with which.

use std::process::ExitCode;

use spool::SpoolError;
use token_store::transfer::sealed::SealedError;
use token_store::{AddError, ConsentError, StoreError, TokenError};

use crate::config::Mistakes;
use crate::config::by_hand::Unfit;
use crate::control::{self, ClientError, FailureKind};
use crate::run::by_hand::ByHandError;
use crate::run::{LockError, OpenError, StartError};

/// What the caller of a command learns from its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    /// Looked at, and not well: `postern check` found a fault.
    Failed = 1,
    /// EX_USAGE.
    Usage = 64,
    /// EX_DATAERR: a name that doesn't exist, a document that cannot be read.
    Data = 65,
    /// EX_NOUSER: a recipient that is no address.
    NoUser = 67,
    /// EX_UNAVAILABLE: no daemon.
    Unavailable = 69,
    /// EX_SOFTWARE.
    Software = 70,
    /// EX_CANTCREAT.
    CannotCreate = 73,
    /// EX_IOERR.
    Io = 74,
    /// EX_TEMPFAIL.
    Temporary = 75,
    /// EX_NOPERM: not this user, or not without a person's consent.
    NotAllowed = 77,
    /// EX_CONFIG.
    Configuration = 78,
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        Self::from(code as u8)
    }
}

/// How a command failed: what the shell learns, and what a person reads.
#[derive(Debug)]
pub(crate) struct Failure {
    code: Code,
    words: String,
}

impl Failure {
    pub(crate) fn new(code: Code, words: impl Into<String>) -> Self {
        Self {
            code,
            words: words.into(),
        }
    }

    /// Everything is said already; only the code remains.
    pub(crate) fn silent(code: Code) -> Self {
        Self::new(code, "")
    }

    /// What a person reads.
    #[cfg(test)]
    pub(crate) fn words(&self) -> &str {
        &self.words
    }

    /// Says it on standard error and gives the code.
    pub(crate) fn report(self) -> ExitCode {
        if !self.words.is_empty() {
            eprintln!("postern: {}", self.words);
        }
        self.code.into()
    }
}

impl From<Mistakes> for Failure {
    fn from(mistakes: Mistakes) -> Self {
        // A line for each, place first and nothing around them, so that editors can jump there.
        eprintln!("{mistakes}");
        Self::silent(Code::Configuration)
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        let denied =
            |source: &std::io::Error| source.kind() == std::io::ErrorKind::PermissionDenied;
        let code = match &error {
            OpenError::StateDir { source, .. } if denied(source) => Code::NotAllowed,
            OpenError::StateDir { .. } => Code::CannotCreate,
            OpenError::Lock(LockError::Held { .. }) => Code::Temporary,
            OpenError::Lock(LockError::Io { source, .. }) if denied(source) => Code::NotAllowed,
            OpenError::Lock(LockError::Io { .. }) => Code::CannotCreate,
            OpenError::Key(_) => Code::Configuration,
            // What the file declares does not fit what the database holds.
            OpenError::Store(
                StoreError::NameTaken { .. }
                | StoreError::InUse { .. }
                | StoreError::Invalid { .. },
            ) => Code::Configuration,
            OpenError::Store(error) => code_of(error),
        };
        Self::new(code, error.to_string())
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Open(error) => error.into(),
            StartError::Spool(error) => error.into(),
            StartError::Tokens(_)
            | StartError::Routes(_)
            | StartError::Certificate(_)
            | StartError::Handed(_) => Self::new(Code::Configuration, error.to_string()),
            StartError::Bind { .. } => Self::new(Code::Unavailable, error.to_string()),
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::new(code_of(&error), error.to_string())
    }
}

fn code_of(error: &StoreError) -> Code {
    match error {
        StoreError::WrongKey { .. } => Code::Configuration,
        StoreError::Unknown { .. }
        | StoreError::NameTaken { .. }
        | StoreError::InUse { .. }
        | StoreError::DeclaredIn { .. }
        | StoreError::Invalid { .. } => Code::Data,
        StoreError::Patience { .. } | StoreError::KeyChanged | StoreError::Meanwhile { .. } => {
            Code::Temporary
        }
        StoreError::Unusable { .. } | StoreError::Database(_) | StoreError::Sealed { .. } => {
            Code::Io
        }
    }
}

impl From<SpoolError> for Failure {
    fn from(error: SpoolError) -> Self {
        let code = match &error {
            SpoolError::Full { .. } | SpoolError::Busy => Code::Temporary,
            SpoolError::Gone(_) => Code::Data,
            SpoolError::Misused(_) => Code::Software,
            _ => Code::Io,
        };
        Self::new(code, error.to_string())
    }
}

impl From<control::Failure> for Failure {
    fn from(failure: control::Failure) -> Self {
        let code = match failure.kind {
            FailureKind::Unknown => Code::Data,
            FailureKind::Temporary => Code::Temporary,
            FailureKind::Consent | FailureKind::Forbidden => Code::NotAllowed,
            FailureKind::Configuration => Code::Configuration,
            FailureKind::Internal => Code::Software,
        };
        Self::new(code, failure.words)
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Failed(failure) => failure.into(),
            ClientError::NoDaemon { .. } => Self::new(Code::Unavailable, error.to_string()),
            ClientError::Denied { .. } => Self::new(Code::NotAllowed, error.to_string()),
            ClientError::Broken { .. } => Self::new(Code::Temporary, error.to_string()),
        }
    }
}

impl From<SealedError> for Failure {
    fn from(error: SealedError) -> Self {
        let code = match &error {
            SealedError::Derivation(_) => Code::Software,
            _ => Code::Data,
        };
        Self::new(code, error.to_string())
    }
}

impl From<TokenError> for Failure {
    fn from(error: TokenError) -> Self {
        control::Failure::from(error).into()
    }
}

impl From<ConsentError> for Failure {
    fn from(error: ConsentError) -> Self {
        control::Failure::from(error).into()
    }
}

/// A sentence that names another field of an order, with the argument's name instead.
fn in_arguments(why: &str) -> String {
    why.replace("endpoints.", "--")
}

/// What `postern token add` calls a field of an order.
fn argument(field: &str) -> String {
    match (field, field.split_once('.')) {
        ("client_id", _) => "--client-id".to_owned(),
        ("client_secret", _) => "the client secret".to_owned(),
        ("client_certificate", _) => "--client-certificate".to_owned(),
        ("client_key", _) => "--client-key".to_owned(),
        ("service_account", _) => "--service-account".to_owned(),
        ("user", _) => "--user".to_owned(),
        ("password", _) => "the password".to_owned(),
        ("flow", _) => "--flow".to_owned(),
        ("scope", _) => "--scope".to_owned(),
        (_, Some(("endpoints", endpoint))) => format!("--{endpoint}"),
        (_, Some(("variables", variable))) => format!("--variable {variable}=VALUE"),
        _ => field.to_owned(),
    }
}

impl From<AddError> for Failure {
    fn from(error: AddError) -> Self {
        match error {
            AddError::Mistakes(mistakes) => {
                let lines: Vec<String> = mistakes
                    .iter()
                    .map(|mistake| {
                        format!(
                            "{}: {}",
                            argument(&mistake.field),
                            in_arguments(&mistake.why)
                        )
                    })
                    .collect();
                Self::new(Code::Data, lines.join("\n"))
            }
            AddError::Store(error) => error.into(),
        }
    }
}

impl From<ByHandError> for Failure {
    fn from(error: ByHandError) -> Self {
        match error {
            ByHandError::Store(error) | ByHandError::Unfit(Unfit::Store(error)) => error.into(),
            ByHandError::Spool(error) => error.into(),
            ByHandError::Unfit(Unfit::Mistakes(_)) | ByHandError::NotEmpty(_) => {
                Self::new(Code::Data, error.to_string())
            }
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            // Whoever read our output has seen enough.
            std::io::ErrorKind::BrokenPipe => Self::silent(Code::Io),
            std::io::ErrorKind::PermissionDenied => Self::new(Code::NotAllowed, error.to_string()),
            _ => Self::new(Code::Io, error.to_string()),
        }
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Self::new(Code::Software, format!("JSON: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use provider_template::Mistake;

    #[test]
    fn a_mistake_in_an_order_is_told_by_the_argument_that_mends_it() {
        let told = |field: &str| {
            let mistake = Mistake {
                field: field.to_owned(),
                why: "is missing".to_owned(),
            };
            Failure::from(AddError::Mistakes(vec![mistake])).words
        };
        assert_eq!(told("endpoints.token"), "--token: is missing");
        assert_eq!(
            told("variables.TenantID"),
            "--variable TenantID=VALUE: is missing"
        );
        assert_eq!(told("client_id"), "--client-id: is missing");
        assert_eq!(told("name"), "name: is missing");
        assert_eq!(
            in_arguments("give the issuer (endpoints.discovery)"),
            "give the issuer (--discovery)"
        );
    }
}
