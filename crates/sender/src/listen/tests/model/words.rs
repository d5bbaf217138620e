//! The words of commands and the line ends of texts, read in the plainest way.

/// The octets and LAST of a BDAT.
pub(super) fn chunk(text: &str) -> Option<(u64, bool)> {
    let words: Vec<&str> = text.split(' ').filter(|word| !word.is_empty()).collect();
    let last = words.get(2).is_some_and(|w| w.eq_ignore_ascii_case("LAST"));
    let right = words.len() == 2 + usize::from(last) && words[0].len() == 4;
    let octets = number(words.get(1).filter(|_| right)?)?;
    Some((u64::try_from(octets).ok()?, last))
}

/// Digits alone.
pub(super) fn number(text: &str) -> Option<u128> {
    let digits = (1..=20).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

/// The path and the parameters behind `FROM:` or `TO:`.
pub(super) fn path<'a>(argument: &'a str, keyword: &str) -> Option<(&'a str, &'a str)> {
    let argument = argument.trim_start_matches(' ');
    let (found, rest) = argument.split_at_checked(keyword.len())?;
    let rest = rest.trim_start_matches(' ').strip_prefix('<')?;
    let (address, parameters) = rest.split_once('>')?;
    let right = found.eq_ignore_ascii_case(keyword)
        && (parameters.is_empty() || parameters.starts_with(' '));
    right.then_some((address, parameters))
}

/// The plain addresses that the dialogues have.
pub(super) fn is_address(text: &str) -> bool {
    let Some((local, domain)) = text.split_once('@') else {
        return false;
    };
    let parts = |text: &str, others: &str| {
        text.split('.').all(|part| {
            let good = |c: char| !c.is_ascii() || c.is_ascii_alphanumeric() || others.contains(c);
            !part.is_empty() && part.chars().all(good)
        })
    };
    text.len() <= 254 && parts(local, "!#$%&'*+-/=?^_`{|}~") && parts(domain, "-_")
}

/// NOTIFY in the order of the RFC.
pub(super) fn wishes(value: &str) -> Option<String> {
    let value = value.to_ascii_uppercase();
    if value == "NEVER" {
        return Some(value);
    }
    let words: Vec<&str> = value.split(',').collect();
    let known = ["SUCCESS", "FAILURE", "DELAY"];
    let sorted: Vec<&str> = known.into_iter().filter(|k| words.contains(k)).collect();
    (sorted.len() == words.len()).then(|| sorted.join(","))
}

/// Both of one address's wishes; not to wish is to wish the usual.
pub(super) fn together(one: Option<&str>, other: Option<&str>) -> Option<String> {
    let both = format!("{},{}", one?, other?);
    let known = ["SUCCESS", "FAILURE", "DELAY"];
    let sorted: Vec<&str> = known.into_iter().filter(|k| both.contains(k)).collect();
    Some(if sorted.is_empty() {
        "NEVER".to_owned()
    } else {
        sorted.join(",")
    })
}

/// ORCPT.
pub(super) fn original(value: &str) -> Option<String> {
    let (kind, address) = value.split_once(';')?;
    let atom = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    let right = !kind.is_empty() && kind.bytes().all(atom) && value.len() <= 500;
    Some(format!("{kind};{}", xtext(address).filter(|_| right)?))
}

/// What RFC 3461 calls xtext, its digits in upper case.
pub(super) fn xtext(text: &str) -> Option<String> {
    let mut parts = text.split('+');
    let mut out = parts.next()?.to_owned();
    for part in parts {
        let (hex, rest) = part.split_at_checked(2)?;
        let printable = (0x20..0x7f).contains(&u32::from_str_radix(hex, 16).ok()?);
        out.push_str(&printable.then(|| format!("+{}{rest}", hex.to_ascii_uppercase()))?);
    }
    let right = out.bytes().all(|b| b.is_ascii_graphic() && b != b'=');
    (right && !out.is_empty()).then_some(out)
}

/// Every line end as CRLF.
pub(super) fn repaired(text: &[u8]) -> Vec<u8> {
    let lf = replace(&replace(text, b"\r\n", b"\n"), b"\r", b"\n");
    replace(&lf, b"\n", b"\r\n")
}

pub(super) fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}

pub(super) fn replace(text: &[u8], what: &[u8], by: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(at) = find(rest, what) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(by);
        rest = &rest[at + what.len()..];
    }
    out.extend_from_slice(rest);
    out
}
