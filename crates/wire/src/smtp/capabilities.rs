//! What a server offers in its answer to EHLO or LHLO; pure.
use super::reply::Reply;

/// The keywords Postern acts on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// STARTTLS (RFC 3207).
    pub starttls: bool,
    /// PIPELINING (RFC 2920).
    pub pipelining: bool,
    /// 8BITMIME (RFC 6152).
    pub eight_bit_mime: bool,
    /// SMTPUTF8 (RFC 6531).
    pub smtputf8: bool,
    /// CHUNKING (RFC 3030).
    pub chunking: bool,
    /// DSN (RFC 3461).
    pub dsn: bool,
    /// SIZE was offered; with a number above 0 it is the limit.
    pub size: Option<u64>,
    /// Sign-in mechanisms, in upper case.
    pub auth: Vec<String>,
}

impl Capabilities {
    /// From the reply to EHLO; its first line is the server's name.
    pub fn of(reply: &Reply) -> Self {
        let mut offered = Self::default();
        for line in reply.lines.iter().skip(1) {
            offered.keyword(&line.to_ascii_uppercase());
        }
        offered
    }

    fn keyword(&mut self, line: &str) {
        // `AUTH=LOGIN` is how servers spelled it before RFC 4954, and some still do for old clients.
        let mut words = line.split([' ', '=']).filter(|word| !word.is_empty());
        match words.next() {
            Some("STARTTLS") => self.starttls = true,
            Some("PIPELINING") => self.pipelining = true,
            Some("8BITMIME") => self.eight_bit_mime = true,
            Some("SMTPUTF8") => self.smtputf8 = true,
            Some("CHUNKING") => self.chunking = true,
            Some("DSN") => self.dsn = true,
            // No number, or none that can be read, is no limit.
            Some("SIZE") => {
                self.size = Some(words.next().and_then(|n| n.parse().ok()).unwrap_or(0))
            }
            Some("AUTH") => self.auth.extend(words.map(str::to_owned)),
            _ => {}
        }
    }

    /// The largest message it takes, if it says so.
    pub fn limit(&self) -> Option<u64> {
        self.size.filter(|limit| *limit > 0)
    }

    /// For `postern check`: the keywords in words.
    pub fn in_words(&self) -> String {
        let mut words = Vec::new();
        for (offered, name) in [
            (self.pipelining, "PIPELINING"),
            (self.eight_bit_mime, "8BITMIME"),
            (self.smtputf8, "SMTPUTF8"),
            (self.chunking, "CHUNKING"),
            (self.dsn, "DSN"),
        ] {
            if offered {
                words.push(name.to_owned());
            }
        }
        if let Some(size) = self.size {
            words.push(format!("SIZE {size}"));
        }
        if !self.auth.is_empty() {
            words.push(format!("AUTH {}", self.auth.join(" ")));
        }
        words.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(lines: &[&str]) -> Capabilities {
        let lines = lines.iter().map(|line| (*line).to_owned()).collect();
        Capabilities::of(&Reply {
            code: 250,
            enhanced: None,
            lines,
        })
    }

    #[test]
    fn keywords_are_kept_in_any_case_and_unknown_ones_do_no_harm() {
        let offered = of(&[
            "mx.example SIZE 1",
            "size 157286400",
            "Pipelining",
            "DSN",
            "auth LOGIN XOAUTH2",
            "8BITMIME",
            "x y z",
        ]);
        assert_eq!(offered.limit(), Some(157_286_400));
        assert!(
            offered.pipelining && offered.eight_bit_mime && !offered.smtputf8 && !offered.starttls
        );
        assert!(offered.dsn && !offered.chunking);
        assert_eq!(offered.auth, ["LOGIN", "XOAUTH2"]);
        assert_eq!(of(&["x", "AUTH=PLAIN"]).auth, ["PLAIN"]);
        assert_eq!(of(&["STARTTLS"]), Capabilities::default());
    }

    #[test]
    fn a_size_that_cannot_be_read_is_no_limit() {
        for line in ["SIZE", "SIZE 0", "SIZE x", "SIZE 99999999999999999999999"] {
            let offered = of(&["x", line]);
            assert_eq!((offered.size, offered.limit()), (Some(0), None), "{line}");
        }
    }
}
