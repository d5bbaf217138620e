//! The flags of sendmail, as ticket systems, PHP and cron call it; they are older than any argument parser, and not what one expects.

use spool::dsn::{Notify, Ret};

/// What a call asks for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Arguments {
    /// `-bs`: speak SMTP on standard input and output.
    pub(crate) smtp: bool,
    /// `-t`: recipients are in the header.
    pub(crate) from_header: bool,
    /// `-i`, `-oi`: a line with only a dot is text.
    pub(crate) ignore_dots: bool,
    /// `-f`, `-r`: the envelope sender; empty for the null sender.
    pub(crate) sender: Option<String>,
    /// `-F`: the sender's name.
    pub(crate) full_name: Option<String>,
    /// `-N`: what the sender wants to be told.
    pub(crate) notify: Option<Notify>,
    /// `-R`: how much of the message a bounce carries.
    pub(crate) ret: Option<Ret>,
    /// `-V`: the sender's own name for the message.
    pub(crate) envid: Option<String>,
    /// The addresses.
    pub(crate) recipients: Vec<String>,
}

/// Flags with a value, attached or as the next argument.
const WITH_VALUE: &[char] = &['f', 'r', 'F', 'B', 'N', 'R', 'V', 'L', 'O', 'h', 'X'];
/// Flags that other sendmails know and that change nothing here.
const WITHOUT_MEANING: &[char] = &['m', 'n', 'v', 'U', 'G'];

impl Arguments {
    /// Reads the arguments after the program's name.
    ///
    /// # Errors
    /// The sentence for a person.
    pub(crate) fn parse(arguments: &[String]) -> Result<Self, String> {
        let mut parsed = Self::default();
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            let Some(flags) = argument.strip_prefix('-').filter(|f| !f.is_empty()) else {
                parsed.recipients.push(argument.clone());
                continue;
            };
            if flags == "-" {
                parsed.recipients.extend(rest.cloned());
                break;
            }
            parsed.flags(flags, || rest.next().cloned())?;
        }
        Ok(parsed)
    }

    /// One argument may hold several flags without a value: `-ti`.
    fn flags(&mut self, flags: &str, next: impl FnOnce() -> Option<String>) -> Result<(), String> {
        for (at, flag) in flags.char_indices() {
            let attached = &flags[at + flag.len_utf8()..];
            if WITH_VALUE.contains(&flag) {
                let value = match attached {
                    "" => next().ok_or_else(|| format!("-{flag} needs a value"))?,
                    value => value.to_owned(),
                };
                return self.value(flag, value);
            }
            match flag {
                'b' => return self.mode(attached),
                // -oi, -oem, -odb: only the first says something here.
                'o' => {
                    self.ignore_dots |= attached == "i";
                    return Ok(());
                }
                't' => self.from_header = true,
                'i' => self.ignore_dots = true,
                flag if WITHOUT_MEANING.contains(&flag) => {}
                flag => return Err(format!("there is no flag -{flag} here")),
            }
        }
        Ok(())
    }

    fn mode(&mut self, mode: &str) -> Result<(), String> {
        match mode {
            "m" => {}
            "s" => self.smtp = true,
            "p" => {
                return Err("-bp is not offered; `postern queue list` shows the queue".to_owned());
            }
            mode => return Err(format!("there is no mode -b{mode} here")),
        }
        Ok(())
    }

    fn value(&mut self, flag: char, value: String) -> Result<(), String> {
        match flag {
            'f' | 'r' => {
                let bare = value.trim();
                let bare = bare.strip_prefix('<').unwrap_or(bare);
                self.sender = Some(bare.strip_suffix('>').unwrap_or(bare).to_owned());
            }
            'F' => self.full_name = Some(value),
            'N' => {
                let notify = Notify::parse(&value);
                self.notify = Some(notify.ok_or_else(|| {
                    format!("-N takes never, or a list of success, failure and delay, not {value}")
                })?);
            }
            'R' => {
                let ret = match value.to_ascii_lowercase().as_str() {
                    "full" => Some(Ret::Full),
                    "hdrs" => Some(Ret::Hdrs),
                    _ => None,
                };
                self.ret = Some(ret.ok_or_else(|| format!("-R takes full or hdrs, not {value}"))?);
            }
            'V' => self.envid = Some(xtext(&value)),
            'B' if !["7BIT", "8BITMIME"]
                .iter()
                .any(|b| b.eq_ignore_ascii_case(&value)) =>
            {
                return Err(format!("-B takes 7BIT or 8BITMIME, not {value}"));
            }
            // The body's kind is seen in its bytes; -L, -O, -h and -X concern other programs.
            _ => {}
        }
        Ok(())
    }
}

/// RFC 3461 section 4: printable ASCII without `+` and `=`; everything else as `+` and two digits.
fn xtext(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'!'..=b'~' if byte != b'+' && byte != b'=' => out.push(char::from(byte)),
            _ => out.push_str(&format!("+{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Arguments, String> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Arguments::parse(&words)
    }

    /// What a call sets.
    type Sets = fn(&mut Arguments);

    const CALLS: [(&str, Sets); 10] = [
        ("-t -i", |a| (a.from_header, a.ignore_dots) = (true, true)),
        ("-ti", |a| (a.from_header, a.ignore_dots) = (true, true)),
        ("-oi -t -f desk@x.test", |a| {
            (a.from_header, a.ignore_dots) = (true, true);
            a.sender = Some("desk@x.test".into());
        }),
        ("-oem -oi -fdesk@x.test -- a@y.test -b@y.test", |a| {
            a.ignore_dots = true;
            a.sender = Some("desk@x.test".into());
            a.recipients = vec!["a@y.test".into(), "-b@y.test".into()];
        }),
        ("-f <> a@y.test", |a| {
            a.sender = Some(String::new());
            a.recipients = vec!["a@y.test".into()];
        }),
        ("-r <d@x.test> a@y.test", |a| {
            a.sender = Some("d@x.test".into());
            a.recipients = vec!["a@y.test".into()];
        }),
        ("-FCronDaemon -i -odi -oem -oi -t", |a| {
            (a.from_header, a.ignore_dots) = (true, true);
            a.full_name = Some("CronDaemon".into());
        }),
        ("-bm -B8BITMIME root", |a| {
            a.recipients = vec!["root".into()]
        }),
        ("-bs", |a| a.smtp = true),
        ("-N failure,delay -R hdrs -V a+b= x@y.test", |a| {
            a.notify = Notify::parse("FAILURE,DELAY");
            a.ret = Some(Ret::Hdrs);
            a.envid = Some("a+2Bb+3D".into());
            a.recipients = vec!["x@y.test".into()];
        }),
    ];

    #[test]
    fn the_calls_of_ticket_systems_php_and_cron_are_understood() {
        for (line, sets) in CALLS {
            let mut expected = Arguments::default();
            sets(&mut expected);
            assert_eq!(parse(line), Ok(expected), "{line}");
        }
    }

    #[test]
    fn what_is_not_understood_is_said() {
        for line in [
            "-f",
            "-N sometimes x@y",
            "-R all x@y",
            "-bd",
            "-bp",
            "-q",
            "-Bwide x@y",
            "-z",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
