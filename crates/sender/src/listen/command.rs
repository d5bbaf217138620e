//! One command line of a submission client, parsed or refused; pure.
//!
//! smtp-proto knows the verbs and the parameters. What it is lenient about is judged here: it takes bare line ends
//! and control characters, unquotes local parts, turns `<postmaster>` into the null path, accepts extensions that
//! were never offered, and reads an oversized SIZE or BDAT as 999.
mod auth;
mod dsn;

pub(crate) use auth::{Auth, Mechanism};

use crate::address;
use smtp_proto::{Error, MAIL_BODY_BINARYMIME, MAIL_SMTPUTF8, Request};
use spool::Recipient;
use spool::dsn::Ret;

/// A command that can be carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Command {
    Helo(String),
    Ehlo(String),
    Mail(Mail),
    Rcpt(Recipient),
    Data,
    /// None: it does not say how many octets follow, so nothing after it is known to be a command.
    Bdat(Option<Chunk>),
    Auth(Auth),
    StartTls,
    Rset,
    Noop,
    Vrfy,
    Help,
    Quit,
}

/// `MAIL FROM`: the sender as written (empty for the null sender) and what its parameters declare.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mail {
    pub(crate) sender: String,
    pub(crate) size: u64,
    pub(crate) smtputf8: bool,
    pub(crate) ret: Option<Ret>,
    pub(crate) envid: Option<String>,
    /// Whether it says who has signed in elsewhere (RFC 4954 section 5): understood, and believed of nobody.
    pub(crate) names_author: bool,
}

/// What follows a BDAT (RFC 3030 section 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Chunk {
    pub(crate) octets: u64,
    pub(crate) last: bool,
}

/// Why a line is no command for us; the text is the whole reply.
pub(crate) type Fault = &'static str;

const UNKNOWN: Fault = "500 5.5.2 Command not recognized";
const CONTROL: Fault = "500 5.5.2 Control characters are not allowed in a command";
const ENCODING: Fault = "500 5.5.2 The command is not valid UTF-8";
pub(crate) const NOT_OFFERED: Fault = "502 5.5.1 Command not implemented";
const NO_ARGUMENT: Fault = "501 5.5.4 This command takes no argument";
pub(crate) const PARAMETER: Fault = "555 5.5.4 A parameter is not recognized or was not offered";
const PARAMETER_SYNTAX: Fault = "501 5.5.4 A parameter has a wrong value or stands there twice";
const MAIL_SYNTAX: Fault =
    "501 5.5.2 Syntax: MAIL FROM:<address> [SIZE=n] [BODY=8BITMIME] [SMTPUTF8] [RET=..] [ENVID=..]";
const RCPT_SYNTAX: Fault = "501 5.5.2 Syntax: RCPT TO:<address> [NOTIFY=..] [ORCPT=..]";
const SENDER: Fault = "501 5.1.7 The sender is not a valid address";
const RECIPIENT: Fault = "501 5.1.3 The recipient is not a valid address";
/// RFC 5321 section 4.5.1 wants mail for a bare `postmaster` taken where there are mailboxes; a gateway has none.
const NO_DOMAIN: Fault =
    "550 5.1.3 There are no mailboxes here; give the recipient's full address with its domain";

/// Parses a line without its CRLF.
pub(crate) fn parse(line: &[u8]) -> Result<Command, Fault> {
    if is_bdat(line) {
        return Ok(Command::Bdat(chunk(line)));
    }
    let text = std::str::from_utf8(line).map_err(|_| ENCODING)?;
    if text.chars().any(char::is_control) {
        return Err(CONTROL);
    }
    match verb(text) {
        v if v.eq_ignore_ascii_case("MAIL") => return mail(text),
        v if v.eq_ignore_ascii_case("RCPT") => return rcpt(text),
        v if v.eq_ignore_ascii_case("AUTH") => return auth::parse(text).map(Command::Auth),
        v if v.eq_ignore_ascii_case("STARTTLS") => return alone(text, Command::StartTls),
        // Also a line that begins with a space, which smtp-proto would skip.
        "" => return Err(UNKNOWN),
        _ => {}
    }
    match request(&format!("{text}\r\n"))? {
        Request::Helo { host } => Ok(Command::Helo(host)),
        Request::Ehlo { host } => Ok(Command::Ehlo(host)),
        Request::Data => alone(text, Command::Data),
        Request::Rset => alone(text, Command::Rset),
        Request::Quit => alone(text, Command::Quit),
        Request::Noop { .. } => Ok(Command::Noop),
        Request::Vrfy { .. } => Ok(Command::Vrfy),
        Request::Help { .. } => Ok(Command::Help),
        _ => Err(NOT_OFFERED),
    }
}

/// A line that is refused whatever it says. Only BDAT is told apart: what follows it can't be read as commands.
pub(crate) fn refused(line: &[u8], fault: Fault) -> Result<Command, Fault> {
    match is_bdat(line) {
        true => Ok(Command::Bdat(None)),
        false => Err(fault),
    }
}

/// Whether the client meant BDAT, however the line goes on.
fn is_bdat(line: &[u8]) -> bool {
    let behind = line.get(4).copied().unwrap_or(b' ');
    line.len() >= 4 && line[..4].eq_ignore_ascii_case(b"BDAT") && !behind.is_ascii_alphanumeric()
}

/// The size, as long as it can be counted, and LAST.
fn chunk(line: &[u8]) -> Option<Chunk> {
    let text = std::str::from_utf8(&line[4..]).ok()?;
    let words = text.strip_prefix(' ')?.split(' ');
    let mut words = words.filter(|word| !word.is_empty());
    let digits = words.next()?;
    let last = match words.next() {
        None => false,
        Some(word) if word.eq_ignore_ascii_case("LAST") => true,
        Some(_) => return None,
    };
    let whole = words.next().is_none() && digits.bytes().all(|b| b.is_ascii_digit());
    let octets = digits.parse().ok().filter(|_| whole)?;
    Some(Chunk { octets, last })
}

fn verb(text: &str) -> &str {
    text.split(' ').next().unwrap_or_default()
}

/// What smtp-proto reads in a line.
fn request(line: &str) -> Result<Request<String>, Fault> {
    let parsed = Request::parse(&mut line.as_bytes().iter());
    parsed
        .map(Request::into_owned)
        .map_err(|fault| match fault {
            Error::SyntaxError { .. } => "501 5.5.4 The argument is missing or wrong",
            Error::InvalidParameter { .. } => PARAMETER_SYNTAX,
            Error::UnsupportedParameter { .. } => PARAMETER,
            _ => UNKNOWN,
        })
}

fn alone(text: &str, command: Command) -> Result<Command, Fault> {
    match text.trim_end_matches(' ').contains(' ') {
        true => Err(NO_ARGUMENT),
        false => Ok(command),
    }
}

fn mail(text: &str) -> Result<Command, Fault> {
    let (sender, parameters) = path_after(text, "FROM:").ok_or(MAIL_SYNTAX)?;
    if !sender.is_empty() && !address::is_mailbox(sender) {
        return Err(SENDER);
    }
    let offered = ["SIZE", "BODY", "SMTPUTF8", "RET", "ENVID", "AUTH"];
    only_offered(parameters, &offered)?;
    // The path and most parameters are judged here; smtp-proto sees a null path in its place and reads the others.
    let ours = |name: &str| {
        ["SIZE", "RET", "ENVID", "AUTH"]
            .iter()
            .any(|o| o.eq_ignore_ascii_case(name))
    };
    let others: String = each(parameters)
        .filter(|(name, _)| !ours(name))
        .map(|(_, word)| format!(" {word}"))
        .collect();
    let Request::Mail { from } = request(&format!("MAIL FROM:<>{others}\r\n"))? else {
        return Err(MAIL_SYNTAX);
    };
    if from.flags & MAIL_BODY_BINARYMIME != 0 {
        return Err(PARAMETER);
    }
    Ok(Command::Mail(Mail {
        sender: sender.to_owned(),
        size: declared_size(parameters)?,
        smtputf8: from.flags & MAIL_SMTPUTF8 != 0,
        ret: dsn::ret(parameters)?,
        envid: dsn::envid(parameters)?,
        names_author: auth::names_author(parameters)?,
    }))
}

fn rcpt(text: &str) -> Result<Command, Fault> {
    let (recipient, parameters) = path_after(text, "TO:").ok_or(RCPT_SYNTAX)?;
    if recipient.eq_ignore_ascii_case("postmaster") {
        return Err(NO_DOMAIN);
    }
    if !address::is_mailbox(recipient) {
        return Err(RECIPIENT);
    }
    only_offered(parameters, &["NOTIFY", "ORCPT"])?;
    Ok(Command::Rcpt(Recipient {
        address: recipient.to_owned(),
        notify: dsn::notify(parameters)?,
        orcpt: dsn::orcpt(parameters)?,
    }))
}

/// The path after `MAIL FROM:` or `RCPT TO:` and the parameters with the space before them. A space between the colon and
/// the bracket is a common mistake of clients, and harmless.
fn path_after<'a>(text: &'a str, keyword: &str) -> Option<(&'a str, &'a str)> {
    let rest = text[verb(text).len()..].trim_start_matches(' ');
    let start = rest.get(..keyword.len())?;
    if !start.eq_ignore_ascii_case(keyword) {
        return None;
    }
    let (path, parameters) = address::split_path(rest[keyword.len()..].trim_start_matches(' '))?;
    (parameters.is_empty() || parameters.starts_with(' ')).then_some((path, parameters))
}

/// Each parameter must have been offered, and may stand there once.
fn only_offered(parameters: &str, offered: &[&str]) -> Result<(), Fault> {
    let mut seen: Vec<&str> = Vec::new();
    for (name, _) in each(parameters) {
        let Some(known) = offered.iter().find(|o| o.eq_ignore_ascii_case(name)) else {
            return Err(PARAMETER);
        };
        if seen.contains(known) {
            return Err(PARAMETER_SYNTAX);
        }
        seen.push(known);
    }
    Ok(())
}

/// SIZE as a number; one too large for 64 bits is the largest there is (RFC 1870 allows 20 digits).
fn declared_size(parameters: &str) -> Result<u64, Fault> {
    let Some(digits) = value(parameters, "SIZE") else {
        return Ok(0);
    };
    if digits.is_empty() || digits.len() > 20 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(PARAMETER_SYNTAX);
    }
    Ok(digits.parse().unwrap_or(u64::MAX))
}

/// A parameter's value, empty if it has none; None without the parameter.
fn value<'a>(parameters: &'a str, wanted: &str) -> Option<&'a str> {
    let (_, word) = each(parameters).find(|(name, _)| name.eq_ignore_ascii_case(wanted))?;
    Some(word.split_once('=').map_or("", |(_, value)| value))
}

/// Each parameter's name, and the whole of it.
fn each(parameters: &str) -> impl Iterator<Item = (&str, &str)> {
    let words = parameters.split(' ').filter(|word| !word.is_empty());
    words.map(|word| (word.split('=').next().unwrap_or(word), word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sender_of(line: &str) -> Mail {
        match parse(line.as_bytes()) {
            Ok(Command::Mail(mail)) => mail,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn parameters_are_read_and_the_path_stays_as_it_was_written() {
        let mail = sender_of("mail from:<Jo@B.example> size=10 BODY=8bitmime SMTPUTF8");
        assert_eq!(
            mail,
            Mail {
                sender: "Jo@B.example".into(),
                size: 10,
                smtputf8: true,
                ret: None,
                envid: None,
                names_author: false,
            }
        );
        assert_eq!(sender_of("MAIL FROM: <a@b>").sender, "a@b");
        assert_eq!(sender_of("MAIL FROM:<> ").sender, "");
        let quoted = r#"RCPT TO:<"a> NOTIFY=NEVER X"@d.example>"#;
        assert_eq!(
            parse(quoted.as_bytes()),
            Ok(Command::Rcpt(r#""a> NOTIFY=NEVER X"@d.example"#.into()))
        );
        let routed = parse(b"RCPT TO:<@one,@two:c@d.example>");
        assert_eq!(routed, Ok(Command::Rcpt("c@d.example".into())));
    }

    #[test]
    fn what_the_client_wants_to_be_told_is_read() {
        let mail = sender_of("MAIL FROM:<a@b> ENVID=q+2B1 BODY=8BITMIME ret=hdrs");
        assert_eq!(
            (mail.ret, mail.envid.as_deref()),
            (Some(Ret::Hdrs), Some("q+2B1"))
        );
        let line = "RCPT TO:<b@c> ORCPT=rfc822;b@c NOTIFY=delay,failure";
        let Ok(Command::Rcpt(recipient)) = parse(line.as_bytes()) else {
            panic!("{line}");
        };
        let notify = recipient.notify.map(|notify| notify.to_string());
        assert_eq!(
            (notify.as_deref(), recipient.orcpt.as_deref()),
            (Some("FAILURE,DELAY"), Some("rfc822;b@c"))
        );
    }

    #[test]
    fn a_chunk_has_a_size_that_can_be_counted_or_none_at_all() {
        for (line, octets, last) in [
            ("BDAT 0", 0, false),
            ("bdat 10 last", 10, true),
            ("BDAT  10  LAST ", 10, true),
            ("BDAT 18446744073709551615", u64::MAX, false),
        ] {
            let chunk = Some(Chunk { octets, last });
            assert_eq!(parse(line.as_bytes()), Ok(Command::Bdat(chunk)), "{line}");
        }
        for line in [
            "BDAT",
            "BDAT ",
            "BDAT LAST",
            "BDAT +1",
            "BDAT -1",
            "BDAT 1 LAST 2",
            "BDAT 1 2",
            "BDAT 1\0 LAST",
            "BDAT\t1",
            "BDAT. 0 LAST",
            "BDAT 0x10",
            "BDAT 18446744073709551616",
            "BDAT 99999999999999999999999 LAST",
        ] {
            assert_eq!(parse(line.as_bytes()), Ok(Command::Bdat(None)), "{line}");
        }
        assert_eq!(refused(b"BDAT 4 LAST", "500"), Ok(Command::Bdat(None)));
        assert_eq!(refused(b"BDATA", "500"), Err("500"));
        assert_eq!(parse(b"BDATA 1"), Err(UNKNOWN));
    }

    #[test]
    fn an_oversized_number_is_the_largest_size_and_never_a_small_one() {
        assert_eq!(
            sender_of("MAIL FROM:<a@b> SIZE=99999999999999999999").size,
            u64::MAX
        );
        assert_eq!(
            sender_of("MAIL FROM:<a@b> SIZE=18446744073709551616").size,
            u64::MAX
        );
        for bad in [
            "SIZE=",
            "SIZE",
            "SIZE=1k",
            "SIZE=-1",
            "SIZE=999999999999999999999999",
            "SIZE=1 SIZE=2",
        ] {
            let reply = parse(format!("MAIL FROM:<a@b> {bad}").as_bytes()).expect_err(bad);
            assert!(reply.starts_with("501"), "{bad}: {reply}");
        }
    }

    #[test]
    fn every_other_line_has_the_reply_the_rfc_names() {
        for (line, code) in [
            (&b"FOO bar"[..], "500"),
            (b"", "500"),
            (b" QUIT", "500"),
            (b"QUIT\0", "500"),
            (b"MAIL FROM:<a@b>\0", "500"),
            (b"NOOP\rQUIT", "500"),
            (b"MAIL FROM:<\xff@b>", "500"),
            (b"EHLO", "501"),
            (b"DATA now", "501"),
            (b"MAIL FROM", "501"),
            (b"MAIL FROM:a@b", "501"),
            (b"MAIL FROM:<a@b>SIZE=1", "501"),
            (b"MAIL TO:<a@b>", "501"),
            (b"MAIL FROM:<a b@c>", "501"),
            (b"MAIL FROM:<postmaster>", "501"),
            (b"RCPT TO:<>", "501"),
            (b"RCPT TO:<a@b", "501"),
            (b"RCPT TO:<postmaster>", "550"),
            (b"RCPT TO:<a@b> RET=HDRS", "555"),
            (b"RCPT TO:<a@b> NOTIFY=NEVER,FAILURE", "501"),
            (b"RCPT TO:<a@b> NOTIFY=NEVER NOTIFY=NEVER", "501"),
            (b"RCPT TO:<a@b> ORCPT=b@c", "501"),
            (b"MAIL FROM:<a@b> NOTIFY=NEVER", "555"),
            (b"MAIL FROM:<a@b> RET=ALL", "501"),
            (b"MAIL FROM:<a@b> RET=FULL RET=HDRS", "501"),
            (b"MAIL FROM:<a@b> ENVID=+0A", "501"),
            (b"MAIL FROM:<a@b> AUTH", "501"),
            (b"MAIL FROM:<a@b> BODY=BINARYMIME", "555"),
            (b"MAIL FROM:<a@b> BODY=9BIT", "501"),
            (b"AUTH", "501"),
            (b"AUTH CRAM-MD5", "504"),
            (b"AUTH PLAIN a b", "501"),
            (b"STARTTLS now", "501"),
            (b"ETRN x", "502"),
            (b"EXPN list", "502"),
            (b"LHLO x", "502"),
        ] {
            let reply = parse(line).expect_err("a fault");
            assert!(
                reply.starts_with(code),
                "{:?}: {reply}",
                line.escape_ascii().to_string()
            );
        }
    }
}
