//! A model of the submission session: what RFC 5321, 3030, 3461 and 6409 make of a client's whole stream, read in the plainest way.
//!
//! It has all bytes before it, so it searches and replaces where the listener keeps states. It shares no code with the listener. Where
//! the RFCs leave a choice, or two faults meet, it takes any of the replies allowed and goes on with the one that was given.
mod sign_in;
mod words;

use super::{BareNewlines, MAX_SIZE, MESSAGE};
pub(super) use sign_in::{PASSWORD, PLAIN, USER};
use std::collections::VecDeque;
use words::{
    chunk, find, is_address, number, original, path, repaired, replace, together, wishes, xtext,
};

/// The longest command line that is read.
const LONGEST_LINE: usize = 2048;
/// The words of a malformed MAIL or RCPT, as it pleases the server.
const MALFORMED: [&str; 3] = ["501", "555", "504"];

/// What must be in the spool.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Message {
    pub(super) sender: String,
    /// Address, NOTIFY and ORCPT.
    pub(super) recipients: Vec<(String, Option<String>, Option<String>)>,
    pub(super) text: String,
    pub(super) ret: Option<String>,
    pub(super) envid: Option<String>,
    pub(super) eight_bit: bool,
    pub(super) smtputf8: bool,
}

/// What the listener is like.
#[derive(Debug, Clone, Copy)]
pub(super) struct House {
    pub(super) max_size: usize,
    pub(super) bare_newlines: BareNewlines,
    /// A client signs in before it sends.
    pub(super) sign_in: bool,
    /// STARTTLS is offered.
    pub(super) starttls: bool,
    /// Reached from beyond this machine: nothing without TLS.
    pub(super) public: bool,
}

/// A transaction.
#[derive(Default)]
struct Open {
    message: Message,
    utf8: bool,
    chunks: Option<Vec<u8>>,
    /// A chunk was refused, with this code.
    spoilt: Option<String>,
}

/// Reads a stream beside the replies that it got.
pub(super) struct Model<'a> {
    rest: &'a [u8],
    replies: VecDeque<String>,
    house: House,
    greeted: bool,
    /// With EHLO.
    extended: bool,
    signed_in: bool,
    open: Option<Open>,
    taken: Vec<Message>,
}

impl<'a> Model<'a> {
    pub(super) fn new(stream: &'a [u8], replies: Vec<String>, house: House) -> Self {
        Self {
            rest: stream,
            replies: replies.into(),
            house,
            greeted: false,
            extended: false,
            signed_in: false,
            open: None,
            taken: Vec::new(),
        }
    }

    /// Every reply is one that the RFCs allow there, there are no others, and this is what was taken.
    pub(super) fn judge(mut self) -> Vec<Message> {
        self.expect("the greeting", &["220"]);
        while let Some(end) = self.rest.iter().position(|b| *b == b'\n') {
            let line = &self.rest[..end];
            self.rest = &self.rest[end + 1..];
            if self.command(line).is_none() {
                break;
            }
        }
        assert!(self.replies.is_empty(), "too many: {:?}", self.replies);
        self.taken
    }

    /// The next reply's code, which must be one of these.
    fn expect(&mut self, to: &str, codes: &[&str]) -> String {
        let Some(reply) = self.replies.pop_front() else {
            panic!("no reply to {to:?}, {codes:?} is due");
        };
        let code = &reply[..3];
        assert!(
            codes.contains(&code),
            "{reply:?} to {to:?} is not {codes:?}"
        );
        // RFC 2034 section 4: all but the greeting, the answer to EHLO and what is not final.
        let bare =
            ["220", "334", "354"].contains(&code) || reply[4..].starts_with(&super::host_name());
        if !bare {
            let class = format!("{}.", &code[..1]);
            assert!(
                reply[4..].starts_with(&class),
                "{reply:?} has a wrong enhanced code"
            );
        }
        code.to_owned()
    }

    /// None: the session is over.
    fn command(&mut self, line: &[u8]) -> Option<()> {
        let whole = line.strip_suffix(b"\r");
        let content = whole.unwrap_or(line);
        let shown = content.escape_ascii().to_string();
        let is_chunk = content.len() >= 4
            && content[..4].eq_ignore_ascii_case(b"BDAT")
            && !content.get(4).is_some_and(u8::is_ascii_alphanumeric);
        let sound = whole.is_some() && content.len() <= LONGEST_LINE;
        let text = std::str::from_utf8(content).ok();
        let text = text.filter(|text| sound && !text.chars().any(char::is_control));
        if is_chunk {
            let Some((octets, last)) = text.and_then(chunk) else {
                self.expect(&shown, &["501"]);
                self.expect(&shown, &["421"]);
                return None;
            };
            return self.chunk(&shown, octets, last);
        }
        let Some(text) = text else {
            self.expect(&shown, &["500"]);
            return Some(());
        };
        self.verb(text)
    }

    fn verb(&mut self, text: &str) -> Option<()> {
        let (verb, argument) = text.split_once(' ').unwrap_or((text, ""));
        let has_argument = !argument.trim_matches(' ').is_empty();
        // A space behind a verb is a mistake that may be forgiven.
        let forgiven = text.ends_with(' ') || argument.starts_with(' ');
        let verb = verb.to_ascii_uppercase();
        match verb.as_str() {
            "MAIL" => self.mail(text, argument),
            "RCPT" => self.rcpt(text, argument),
            "EHLO" | "HELO" if !has_argument => drop(self.expect(text, &["501"])),
            "EHLO" | "HELO" => {
                if self.expect(text, &["250", "501"]) == "250" {
                    (self.greeted, self.open) = (true, None);
                    self.extended = verb == "EHLO";
                }
            }
            "RSET" | "QUIT" | "DATA" if has_argument => drop(self.expect(text, &["501"])),
            "RSET" | "QUIT" if forgiven => return self.perhaps(text, &verb),
            "RSET" => {
                self.expect(text, &["250"]);
                self.open = None;
            }
            "QUIT" => {
                self.expect(text, &["221"]);
                return None;
            }
            "DATA" => return self.data(text, forgiven),
            "NOOP" => drop(self.expect(text, &["250", "501"])),
            "VRFY" => drop(self.expect(text, &["252", "501"])),
            "HELP" => drop(self.expect(text, &["214", "501"])),
            "AUTH" if self.house.sign_in => return self.sign_in(text, argument),
            "STARTTLS" if self.house.starttls && !has_argument => {
                // What follows may be here already, and was then said by who knows whom; TLS itself is not in this model.
                self.expect(text, &["220", "554"]);
                return None;
            }
            "EXPN" | "ETRN" | "LHLO" | "STARTTLS" | "AUTH" | "TURN" | "BURL" => {
                drop(self.expect(text, &["500", "501", "502", "503", "504"]));
            }
            _ => drop(self.expect(text, &["500"])),
        }
        Some(())
    }

    fn perhaps(&mut self, text: &str, verb: &str) -> Option<()> {
        match self.expect(text, &["250", "221", "501", "500"]).as_str() {
            "250" if verb == "RSET" => self.open = None,
            "221" if verb == "QUIT" => return None,
            code => assert!(code.starts_with('5'), "{code} to {text:?}"),
        }
        Some(())
    }

    fn mail(&mut self, text: &str, argument: &str) {
        let mut message = Message::default();
        let (mut size, mut utf8, mut codes) = (0, false, Vec::new());
        match path(argument, "FROM:") {
            Some((sender, parameters)) if sender.is_empty() || is_address(sender) => {
                message.sender = sender.to_owned();
                let mut seen = Vec::new();
                for word in parameters.split(' ').filter(|word| !word.is_empty()) {
                    let (name, value) = word.split_once('=').unwrap_or((word, ""));
                    let name = name.to_ascii_uppercase();
                    let good = match name.as_str() {
                        "SIZE" => number(value).map(|n| size = n).is_some(),
                        "BODY" => ["7BIT", "8BITMIME"].contains(&&*value.to_ascii_uppercase()),
                        "SMTPUTF8" => {
                            utf8 = true;
                            word.len() == name.len()
                        }
                        "AUTH" => self.house.sign_in && value == "<>",
                        "RET" => {
                            message.ret = Some(value.to_ascii_uppercase());
                            ["FULL", "HDRS"].contains(&&*value.to_ascii_uppercase())
                        }
                        "ENVID" => {
                            message.envid = xtext(value).filter(|text| text.len() <= 100);
                            message.envid.is_some()
                        }
                        _ => false,
                    };
                    if !good || seen.contains(&name) {
                        codes.extend(MALFORMED);
                    }
                    seen.push(name);
                }
            }
            _ => codes.extend(["501", "553"]),
        }
        if !self.greeted || self.open.is_some() {
            codes.push("503");
        }
        if self.house.public || (self.house.sign_in && !self.signed_in) {
            codes.push("530");
        }
        if !message.sender.is_ascii() && !utf8 {
            codes.extend(["553", "550"]);
        }
        if size > self.house.max_size as u128 {
            codes.push("552");
        }
        if self.expect_or(text, &codes, "250") {
            self.open = Some(Open {
                message,
                utf8,
                ..Open::default()
            });
        }
    }

    fn rcpt(&mut self, text: &str, argument: &str) {
        let mut codes = Vec::new();
        let (mut address, mut notify, mut orcpt) = ("", None, None);
        match path(argument, "TO:") {
            Some((recipient, _)) if recipient.eq_ignore_ascii_case("postmaster") => {
                codes.push("550");
            }
            Some((recipient, parameters)) if is_address(recipient) => {
                address = recipient;
                let mut seen = Vec::new();
                for word in parameters.split(' ').filter(|word| !word.is_empty()) {
                    let (name, value) = word.split_once('=').unwrap_or((word, ""));
                    let name = name.to_ascii_uppercase();
                    let good = match name.as_str() {
                        "NOTIFY" => {
                            notify = wishes(value);
                            notify.is_some()
                        }
                        "ORCPT" => {
                            orcpt = original(value);
                            orcpt.is_some()
                        }
                        _ => false,
                    };
                    if !good || seen.contains(&name) {
                        codes.extend(MALFORMED);
                    }
                    seen.push(name);
                }
            }
            _ => codes.extend(["501", "553"]),
        }
        match &self.open {
            None => codes.push("503"),
            Some(open) if open.chunks.is_some() || open.spoilt.is_some() => codes.push("503"),
            Some(open) if !address.is_ascii() && !open.utf8 => codes.extend(["553", "550"]),
            Some(_) => {}
        }
        if !self.expect_or(text, &codes, "250") {
            return;
        }
        let open = self.open.as_mut().expect("a transaction");
        let mut known = open.message.recipients.iter_mut();
        match known.find(|known| known.0 == address) {
            None => open
                .message
                .recipients
                .push((address.to_owned(), notify, orcpt)),
            Some(known) => known.1 = together(known.1.as_deref(), notify.as_deref()),
        }
    }

    /// One of the codes; without any, the good one. Whether it was good.
    fn expect_or(&mut self, text: &str, codes: &[&str], good: &str) -> bool {
        let expected = if codes.is_empty() { &[good][..] } else { codes };
        self.expect(text, expected) == good
    }

    fn data(&mut self, text: &str, forgiven: bool) -> Option<()> {
        let mut codes = match &self.open {
            None => vec!["503"],
            Some(open) if open.chunks.is_some() || open.spoilt.is_some() => vec!["503"],
            Some(open) if open.message.recipients.is_empty() => vec!["554", "503"],
            Some(_) => vec!["354"],
        };
        if forgiven {
            codes.extend(["500", "501"]);
        }
        if self.expect(text, &codes) != "354" {
            return Some(());
        }
        // The line end of DATA itself counts.
        let stream = [b"\r\n", self.rest].concat();
        let end = find(&stream, b"\r\n.\r\n")?;
        self.rest = &self.rest[end + 3..];
        let text = replace(&stream[..end + 2], b"\r\n.", b"\r\n")[2..].to_vec();
        self.end_of_message(text);
        Some(())
    }

    fn chunk(&mut self, shown: &str, octets: u64, last: bool) -> Option<()> {
        let octets = usize::try_from(octets)
            .ok()
            .filter(|n| *n <= self.rest.len())?;
        let (chunk, rest) = self.rest.split_at(octets);
        self.rest = rest;
        let Some(open) = &mut self.open else {
            self.expect(shown, &["503"]);
            return Some(());
        };
        if open.message.recipients.is_empty() {
            open.spoilt.get_or_insert_with(|| "554".to_owned());
        }
        if let Some(code) = open.spoilt.clone() {
            self.expect(shown, &[&code]);
        } else {
            let text = open.chunks.get_or_insert_default();
            text.extend_from_slice(chunk);
            let text = text.clone();
            if last {
                self.end_of_message(text);
                return Some(());
            }
            // What follows a CR at the end is not known yet.
            let so_far = text.strip_suffix(b"\r").unwrap_or(&text);
            let faults = self.faults(so_far, text.len());
            let codes = if faults.is_empty() {
                &["250"][..]
            } else {
                &faults
            };
            let code = self.expect(shown, codes);
            let open = self.open.as_mut().expect("a transaction");
            open.spoilt = Some(code).filter(|code| code != "250");
        }
        if last {
            self.open = None;
        }
        Some(())
    }

    /// Why a text can't be taken; of several reasons any may be named.
    fn faults(&self, text: &[u8], size: usize) -> Vec<&'static str> {
        let mut faults = Vec::new();
        let repair = self.house.bare_newlines == BareNewlines::Repair;
        let repaired = repaired(text);
        if !repair && repaired != text {
            faults.push("554");
        }
        if text.contains(&0) {
            faults.push("554");
        }
        let size = if repair { repaired.len() } else { size };
        if size > self.house.max_size {
            faults.push("552");
        }
        faults
    }

    fn end_of_message(&mut self, text: Vec<u8>) {
        let open = self.open.take().expect("a transaction");
        let faults = self.faults(&text, text.len());
        if !faults.is_empty() {
            self.expect("the end", &faults);
            return;
        }
        let mut message = open.message;
        let text = String::from_utf8_lossy(&repaired(&text)).into_owned();
        let header = match text.starts_with("\r\n") {
            true => "",
            false => text.split("\r\n\r\n").next().unwrap_or_default(),
        };
        let served = |address: &str| address.to_ascii_lowercase().ends_with("@helpdesk.example");
        let by_envelope = served(&message.sender) || message.sender == "jörg@münchen.example";
        let author = header.split("\r\n").next().unwrap_or_default();
        let codes = match author.strip_prefix("From: ") {
            _ if by_envelope => &["250"][..],
            Some(author) if is_address(author) && served(author) => &["250"],
            Some(author) if is_address(author) => &["550"],
            _ if !header.to_ascii_lowercase().contains("from") => &["550"],
            // A header that readers may differ about.
            _ => &["250", "550"],
        };
        if self.expect("the end", codes) == "250" {
            let beyond = !message.sender.is_ascii()
                || message.recipients.iter().any(|r| !r.0.is_ascii())
                || !header.is_ascii();
            message.smtputf8 = open.utf8 && beyond;
            message.eight_bit = !text.is_ascii();
            message.text = text;
            self.taken.push(message);
        }
    }
}

/// The model says of a plain dialogue what anybody can see.
#[test]
fn the_model_knows_a_plain_dialogue() {
    let stream = format!(
        "EHLO x\r\nMAIL FROM:<a@helpdesk.example>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n.{MESSAGE}.\r\nQUIT\r\nNOOP\r\n"
    );
    let ehlo = format!("250 {}", super::host_name());
    let replies = [
        "220 x",
        &ehlo,
        "250 2.1.0",
        "250 2.1.5",
        "354 x",
        "250 2.0.0",
        "221 2.0.0",
    ];
    let replies = replies.map(str::to_owned).to_vec();
    let house = House {
        max_size: usize::try_from(MAX_SIZE).expect("a size"),
        bare_newlines: BareNewlines::Refuse,
        sign_in: false,
        starttls: false,
        public: false,
    };
    let model = Model::new(stream.as_bytes(), replies, house);
    let message = Message {
        sender: "a@helpdesk.example".to_owned(),
        recipients: vec![("b@example.org".to_owned(), None, None)],
        text: MESSAGE.to_owned(),
        ..Message::default()
    };
    assert_eq!(model.judge(), [message]);
}
