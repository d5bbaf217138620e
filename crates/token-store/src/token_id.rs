//! Which token is meant.

/// Which token: that of a token config, and where a config gives one per mailbox user, of which user.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
pub struct TokenId {
    /// The token config's name.
    pub config: String,
    /// The mailbox user; empty unless the flow gives a token per user.
    pub subject: String,
}

impl TokenId {
    /// The one token of a config.
    #[must_use]
    pub fn of(config: &str) -> Self {
        Self::for_subject(config, "")
    }

    /// The token of one mailbox user.
    #[must_use]
    pub fn for_subject(config: &str, subject: &str) -> Self {
        Self {
            config: config.to_owned(),
            subject: subject.to_owned(),
        }
    }
}

/// In words: `support`, or `support for anna@example.com`.
impl std::fmt::Display for TokenId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.config)?;
        if !self.subject.is_empty() {
            write!(f, " for {}", self.subject)?;
        }
        Ok(())
    }
}

impl From<&str> for TokenId {
    fn from(config: &str) -> Self {
        Self::of(config)
    }
}

impl From<&String> for TokenId {
    fn from(config: &String) -> Self {
        Self::of(config)
    }
}

impl From<&TokenId> for TokenId {
    fn from(id: &TokenId) -> Self {
        id.clone()
    }
}
