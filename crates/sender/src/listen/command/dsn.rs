//! What MAIL and RCPT ask to be told (RFC 3461): RET, ENVID, NOTIFY and ORCPT, checked so that they can be passed on; pure.
use super::{Fault, value};
use spool::dsn::{Notify, Ret};

/// RFC 3461 section 4.4.
const LONGEST_ENVID: usize = 100;
/// RFC 3461 section 4.2.
const LONGEST_ORCPT: usize = 500;

const RET: Fault = "501 5.5.4 RET is FULL or HDRS";
const ENVID: Fault = "501 5.5.4 ENVID is printable ASCII as xtext, at most 100 characters";
const NOTIFY: Fault = "501 5.5.4 NOTIFY is NEVER, or some of SUCCESS,FAILURE,DELAY";
const ORCPT: Fault = "501 5.5.4 ORCPT is an address type, a semicolon and the address as xtext, at most 500 characters";

/// MAIL's RET.
pub(super) fn ret(parameters: &str) -> Result<Option<Ret>, Fault> {
    let read = |value| Ret::parse(value).ok_or(RET);
    value(parameters, "RET").map(read).transpose()
}

/// MAIL's ENVID.
pub(super) fn envid(parameters: &str) -> Result<Option<String>, Fault> {
    let Some(envid) = value(parameters, "ENVID") else {
        return Ok(None);
    };
    let fits = (1..=LONGEST_ENVID).contains(&envid.len());
    let canonical = xtext(envid).filter(|_| fits);
    canonical.map(Some).ok_or(ENVID)
}

/// RCPT's NOTIFY.
pub(super) fn notify(parameters: &str) -> Result<Option<Notify>, Fault> {
    let read = |value| Notify::parse(value).ok_or(NOTIFY);
    value(parameters, "NOTIFY").map(read).transpose()
}

/// RCPT's ORCPT. An address beyond ASCII comes out as RFC 6533 section 3 writes it for servers without SMTPUTF8.
pub(super) fn orcpt(parameters: &str) -> Result<Option<String>, Fault> {
    let Some(orcpt) = value(parameters, "ORCPT") else {
        return Ok(None);
    };
    let (kind, address) = orcpt.split_once(';').ok_or(ORCPT)?;
    let is_kind = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    if kind.is_empty() || !kind.bytes().all(is_kind) || address.is_empty() {
        return Err(ORCPT);
    }
    let address = match kind.eq_ignore_ascii_case("utf-8") {
        true => xtext(&in_ascii(address)),
        false => xtext(address),
    };
    let orcpt = format!("{kind};{}", address.ok_or(ORCPT)?);
    if orcpt.len() > LONGEST_ORCPT {
        return Err(ORCPT);
    }
    Ok(Some(orcpt))
}

/// The text with its hexadecimal digits in upper case, as RFC 3461 section 4 has them; None: it is no xtext, or stands for something
/// that is not one line of printable ASCII and could not be written into a report.
fn xtext(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        match c {
            '+' => {
                let hex = rest.get(..2)?;
                let digits = hex.bytes().all(|b| b.is_ascii_hexdigit());
                let byte = u8::from_str_radix(hex, 16).ok().filter(|_| digits)?;
                if !(b' '..=b'~').contains(&byte) {
                    return None;
                }
                out.push('+');
                out.push_str(&hex.to_ascii_uppercase());
                rest = &rest[2..];
            }
            '!'..='~' if c != '=' => out.push(c),
            _ => return None,
        }
    }
    Some(out)
}

/// Characters beyond ASCII as `\x{HEX}`.
fn in_ascii(address: &str) -> String {
    let mut out = String::with_capacity(address.len());
    for c in address.chars() {
        match c.is_ascii() {
            true => out.push(c),
            false => out.push_str(&format!("\\x{{{:X}}}", u32::from(c))),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_passed_on_is_kept_and_nothing_else() {
        assert_eq!(ret(" SIZE=1 ret=full"), Ok(Some(Ret::Full)));
        assert_eq!(envid(" ENVID=a+2bb"), Ok(Some("a+2Bb".to_owned())));
        let most = format!(" ENVID={}", "x".repeat(100));
        assert!(envid(&most).is_ok() && envid(&format!("{most}x")).is_err());
        for wrong in [
            "ENVID=",
            "ENVID",
            "ENVID=a=b",
            "ENVID=+0D+0A",
            "ENVID=+2",
            "ENVID=+zz",
            "ENVID=+-1",
            "ENVID=ü",
            "ENVID=+00",
            "ENVID=+7F",
        ] {
            assert_eq!(envid(&format!(" {wrong}")), Err(ENVID), "{wrong}");
        }
        let never = notify(" NOTIFY=NEVER").map(|notify| notify.map(|n| n.to_string()));
        assert_eq!(never, Ok(Some("NEVER".to_owned())));
        for wrong in ["NEVER,DELAY", "", "SUCCESS,,DELAY", "DELAY,DELAY", "NO"] {
            assert_eq!(notify(&format!(" NOTIFY={wrong}")), Err(NOTIFY), "{wrong}");
        }
        for wrong in ["HDR", "", "FULL,HDRS"] {
            assert_eq!(ret(&format!(" RET={wrong}")), Err(RET), "{wrong}");
        }
        assert_eq!(
            (ret(""), envid(""), notify(""), orcpt("")),
            (Ok(None), Ok(None), Ok(None), Ok(None))
        );
    }

    #[test]
    fn an_original_recipient_has_a_type_and_fits_into_any_relays_command() {
        for (given, kept) in [
            ("rfc822;b@example.org", "rfc822;b@example.org"),
            ("RFC822;b+2btag@example.org", "RFC822;b+2Btag@example.org"),
            (
                "utf-8;jörg@münchen.example",
                "utf-8;j\\x{F6}rg@m\\x{FC}nchen.example",
            ),
            ("utf-8;j\\x{F6}rg@x.example", "utf-8;j\\x{F6}rg@x.example"),
            ("x-ticket;a;b", "x-ticket;a;b"),
        ] {
            let read = orcpt(&format!(" ORCPT={given}"));
            assert_eq!(read, Ok(Some(kept.to_owned())));
        }
        let most = format!("rfc822;{}", "x".repeat(493));
        assert!(orcpt(&format!(" ORCPT={most}")).is_ok());
        let long = format!("{most}x");
        for wrong in [
            "",
            "b@example.org",
            ";b@example.org",
            "rfc822;",
            "rfc822;a=b",
            "rfc 822;b",
            "rfc822;jörg@x",
            "rfc822;a+0Ab",
            "r+66c;b",
            long.as_str(),
        ] {
            assert_eq!(orcpt(&format!(" ORCPT={wrong}")), Err(ORCPT), "{wrong}");
        }
    }
}
