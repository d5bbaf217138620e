//! What a submitter asked to be told of a message's fate (RFC 3461): kept with the message, passed on, or done here.

/// `NOTIFY` of a recipient (RFC 3461 section 4.1); all false is `NEVER`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Notify {
    /// When it was delivered.
    pub success: bool,
    /// When it cannot be.
    pub failure: bool,
    /// When it takes long.
    pub delay: bool,
}

impl Notify {
    /// Reads the parameter's value: `NEVER`, or a list of the other three. None: it is neither.
    pub fn parse(value: &str) -> Option<Self> {
        let mut notify = Self::default();
        if value.eq_ignore_ascii_case("NEVER") {
            return Some(notify);
        }
        for word in value.split(',') {
            let flag = match word.to_ascii_uppercase().as_str() {
                "SUCCESS" => &mut notify.success,
                "FAILURE" => &mut notify.failure,
                "DELAY" => &mut notify.delay,
                _ => return None,
            };
            // The same word twice says nothing that the RFC knows.
            if std::mem::replace(flag, true) {
                return None;
            }
        }
        Some(notify)
    }
}

/// The parameter's value.
impl std::fmt::Display for Notify {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let words = [
            (self.success, "SUCCESS"),
            (self.failure, "FAILURE"),
            (self.delay, "DELAY"),
        ];
        let asked = words.iter().filter(|(asked, _)| *asked);
        let asked: Vec<&str> = asked.map(|(_, word)| *word).collect();
        match asked.is_empty() {
            true => f.write_str("NEVER"),
            false => f.write_str(&asked.join(",")),
        }
    }
}

/// `RET` of a message (RFC 3461 section 4.3): how much of it a bounce carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ret {
    /// All of it.
    Full,
    /// Its header section.
    Hdrs,
}

impl Ret {
    /// Reads the parameter's value.
    pub fn parse(value: &str) -> Option<Self> {
        match value.to_ascii_uppercase().as_str() {
            "FULL" => Some(Self::Full),
            "HDRS" => Some(Self::Hdrs),
            _ => None,
        }
    }

    /// The parameter's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Full => "FULL",
            Self::Hdrs => "HDRS",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_the_rfc_are_read_and_written_and_nothing_else() {
        for (value, written) in [
            ("never", "NEVER"),
            ("SUCCESS", "SUCCESS"),
            ("delay,failure", "FAILURE,DELAY"),
            ("FAILURE,DELAY,SUCCESS", "SUCCESS,FAILURE,DELAY"),
        ] {
            let read = Notify::parse(value).map(|notify| notify.to_string());
            assert_eq!(read.as_deref(), Some(written));
        }
        for wrong in ["", "NEVER,FAILURE", "FAILURE,FAILURE", "FAILURE,", "ALWAYS"] {
            assert_eq!(Notify::parse(wrong), None, "{wrong}");
        }
        assert_eq!(Ret::parse("hdrs").map(Ret::as_str), Some("HDRS"));
        assert_eq!(Ret::parse("FULL").map(Ret::as_str), Some("FULL"));
        assert_eq!(Ret::parse("HEADERS"), None);
    }
}
