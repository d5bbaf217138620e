//! What each command of the TRANSACTION state answers.
use std::hash::{DefaultHasher, Hash, Hasher};

use super::{Maildrop, Session};
use crate::folders::Message;
use crate::knobs::Uidl;

impl Session {
    pub(super) fn capa(&mut self) {
        let features = self.shared.with(|state| state.features.clone());
        if !features.pop3.capa {
            self.say("-ERR not known");
            return;
        }
        self.say("+OK");
        self.say("USER");
        self.say("RESP-CODES");
        self.say("AUTH-RESP-CODE");
        self.say(&format!("SASL {}", features.mechanisms.join(" ")));
        if features.pop3.uidl != Uidl::Missing {
            self.say("UIDL");
        }
        if features.pop3.top {
            self.say("TOP");
        }
        if features.pop3.pipelining {
            self.say("PIPELINING");
        }
        if let Some(seconds) = features.pop3.login_delay {
            self.say(&format!("LOGIN-DELAY {seconds}"));
        }
        if let Some(days) = features.pop3.expire {
            self.say(&format!("EXPIRE {days}"));
        }
        self.say("IMPLEMENTATION sandbox 1 with arguments");
        self.say(".");
    }

    pub(super) fn transaction(&mut self, verb: &str, arguments: &str) {
        let Some(mut maildrop) = self.maildrop.take() else {
            return;
        };
        let features = self.shared.with(|state| state.features.pop3.clone());
        match verb {
            "STAT" => {
                let sizes: usize = maildrop.left().map(|(_, m)| size(m)).sum();
                self.say(&format!("+OK {} {sizes}", maildrop.left().count()));
            }
            "LIST" => self.list(&maildrop, arguments, |message| size(message).to_string()),
            "UIDL" if features.uidl == Uidl::Missing => self.say("-ERR not known"),
            "UIDL" => {
                let uidvalidity = maildrop.uidvalidity;
                self.list(&maildrop, arguments, |message| match features.uidl {
                    Uidl::Digest => {
                        let mut hasher = DefaultHasher::new();
                        message.bytes.hash(&mut hasher);
                        format!("{:016x}", hasher.finish())
                    }
                    _ => format!("{uidvalidity}-{}", message.uid),
                });
            }
            "RETR" => {
                self.shared.with(|state| state.counts.pop3_retrieved += 1);
                self.body(&maildrop, arguments, usize::MAX);
            }
            "TOP" if !features.top => self.say("-ERR not known"),
            "TOP" => {
                let (number, lines) = arguments.split_once(' ').unwrap_or((arguments, "0"));
                self.body(&maildrop, number, lines.trim().parse().unwrap_or(0));
            }
            "DELE" => match maildrop.get(arguments).map(|(at, _)| at) {
                Some(at) => {
                    maildrop.deleted.insert(at);
                    self.say("+OK marked");
                }
                None => self.say("-ERR no such message"),
            },
            _ => {
                maildrop.deleted.clear();
                self.say("+OK nothing is marked");
            }
        }
        self.maildrop = Some(maildrop);
    }

    fn list(&mut self, maildrop: &Maildrop, number: &str, tell: impl Fn(&Message) -> String) {
        if number.is_empty() {
            self.say("+OK");
            for (at, message) in maildrop.left() {
                self.say(&format!("{} {}", at + 1, tell(message)));
            }
            self.say(".");
            return;
        }
        match maildrop.get(number) {
            Some((at, message)) => self.say(&format!("+OK {} {}", at + 1, tell(message))),
            None => self.say("-ERR no such message"),
        }
    }

    fn body(&mut self, maildrop: &Maildrop, number: &str, lines: usize) {
        match maildrop.get(number) {
            Some((_, message)) => {
                self.say("+OK it follows");
                stuff(top(&message.bytes, lines), &mut self.out);
            }
            None => self.say("-ERR no such message"),
        }
    }
}

/// As it is sent: a message without a last CRLF gets one.
fn size(message: &Message) -> usize {
    let bytes = &message.bytes;
    bytes.len()
        + if bytes.is_empty() || bytes.ends_with(b"\r\n") {
            0
        } else {
            2
        }
}

/// The headers, the blank line, and so many lines of the body.
fn top(bytes: &[u8], lines: usize) -> &[u8] {
    let Some(headers) = memchr::memmem::find(bytes, b"\r\n\r\n").filter(|_| lines < usize::MAX)
    else {
        return bytes;
    };
    let mut end = headers + 4;
    for _ in 0..lines {
        match memchr::memmem::find(&bytes[end..], b"\r\n") {
            Some(at) => end += at + 2,
            None => return bytes,
        }
    }
    &bytes[..end]
}

/// Dot-stuffs (RFC 1939 section 3), closes the last line, and ends with the dot.
fn stuff(bytes: &[u8], out: &mut Vec<u8>) {
    let mut rest = bytes;
    while !rest.is_empty() {
        if rest[0] == b'.' {
            out.push(b'.');
        }
        let end = memchr::memmem::find(rest, b"\r\n").map_or(rest.len(), |at| at + 2);
        out.extend_from_slice(&rest[..end]);
        rest = &rest[end..];
    }
    if !bytes.is_empty() && !bytes.ends_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b".\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_begin_with_a_dot_get_another_and_the_last_line_is_closed() {
        for (bytes, sent) in [
            (&b""[..], &b".\r\n"[..]),
            (b"a\r\n", b"a\r\n.\r\n"),
            (b".\r\n..a\r\nb.\n.c", b"..\r\n...a\r\nb.\n.c\r\n.\r\n"),
        ] {
            let mut out = Vec::new();
            stuff(bytes, &mut out);
            assert_eq!(out, sent);
        }
    }

    #[test]
    fn top_is_the_headers_and_so_many_lines() {
        let bytes = b"A: 1\r\nB: 2\r\n\r\none\r\ntwo\r\n";
        assert_eq!(top(bytes, 0), b"A: 1\r\nB: 2\r\n\r\n");
        assert_eq!(top(bytes, 1), b"A: 1\r\nB: 2\r\n\r\none\r\n");
        assert_eq!(top(bytes, 9), bytes);
        assert_eq!(top(b"A: 1\r\n", 0), b"A: 1\r\n");
    }
}
