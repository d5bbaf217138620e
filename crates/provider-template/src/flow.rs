//! How the first token is had.

use crate::entry::Words;

/// How the first token is had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Flow {
    /// A person consents in a browser that comes back to us (RFC 6749 section 4.1).
    #[default]
    AuthorizationCode,
    /// A person consents on any device, by a code (RFC 8628).
    DeviceCode,
    /// The client alone asks (RFC 6749 section 4.4); there is no refresh token.
    ClientCredentials,
    /// A signed assertion asks for a mailbox user (RFC 7523 section 2.1): a token for each, and no refresh token.
    ServiceAccount,
    /// User name and password ask (RFC 6749 section 4.3), for providers that have nothing else.
    Password,
}

impl Flow {
    /// Every flow.
    pub const ALL: [Self; 5] = [
        Self::AuthorizationCode,
        Self::DeviceCode,
        Self::ClientCredentials,
        Self::ServiceAccount,
        Self::Password,
    ];

    /// Its word in postern.yaml, in tables and in lists.
    pub fn key(self) -> &'static str {
        match self {
            Self::AuthorizationCode => "authorization_code",
            Self::DeviceCode => "device_code",
            Self::ClientCredentials => "client_credentials",
            Self::ServiceAccount => "service_account",
            Self::Password => "password",
        }
    }

    /// The flow of that word.
    pub fn from_key(key: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|flow| flow.key() == key)
    }

    /// The word of the exchange format: in `AuthFlow`, or in `Postern.Flow` where other programs don't know it.
    pub fn name(self) -> &'static str {
        self.word()
    }

    /// Whether a person must consent before there is a token.
    pub fn needs_person(self) -> bool {
        match self {
            Self::AuthorizationCode | Self::DeviceCode => true,
            Self::ClientCredentials | Self::ServiceAccount | Self::Password => false,
        }
    }

    /// Whether the provider may give a refresh token. Without a person the first grant can be repeated at any time.
    pub fn has_refresh_token(self) -> bool {
        match self {
            Self::AuthorizationCode | Self::DeviceCode | Self::Password => true,
            Self::ClientCredentials | Self::ServiceAccount => false,
        }
    }

    /// Whether each mailbox user has a token of its own.
    pub fn per_subject(self) -> bool {
        self == Self::ServiceAccount
    }

    /// What other programs find in `AuthFlow`: the nearest flow that they know.
    pub(crate) fn known_to_all(self) -> Self {
        if self.needs_person() {
            Self::AuthorizationCode
        } else {
            Self::ClientCredentials
        }
    }
}

impl Words for Flow {
    const WORDS: &'static [(Self, &'static str)] = &[
        (Self::AuthorizationCode, "AuthorizationCode"),
        (Self::DeviceCode, "DeviceCode"),
        (Self::ClientCredentials, "ClientCredentials"),
        (Self::ServiceAccount, "ServiceAccount"),
        (Self::Password, "Password"),
    ];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flow_has_one_key_and_one_word_of_its_own() {
        for flow in Flow::ALL {
            assert_eq!(Flow::from_key(flow.key()), Some(flow));
            assert_eq!(
                Flow::WORDS
                    .iter()
                    .filter(|(_, w)| *w == flow.name())
                    .count(),
                1
            );
        }
        assert_eq!(Flow::WORDS.len(), Flow::ALL.len());
        assert_eq!(Flow::from_key("implicit"), None);
    }
}
