//! `MAIL FROM:<address> PARAMETERS` and `RCPT TO:` taken apart; pure.

/// The address of `FROM:<a@b> PARAMETERS`, and the parameters. A quoted local part may hold a `>`.
pub(super) fn path<'a>(arguments: &'a str, keyword: &str) -> Option<(String, &'a str)> {
    let start = arguments.get(..keyword.len())?;
    if !start.eq_ignore_ascii_case(keyword) {
        return None;
    }
    let rest = arguments[keyword.len()..].trim_start().strip_prefix('<')?;
    let mut quoted = false;
    let mut escaped = false;
    let end = rest.find(|c| {
        let ends = c == '>' && !quoted;
        quoted ^= c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    })?;
    Some((rest[..end].to_owned(), &rest[end + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_what_stands_in_angle_brackets() {
        let parse = |text| path(text, "FROM:").map(|(address, rest)| (address, rest.to_owned()));
        let parsed = |address: &str, rest: &str| Some((address.to_owned(), rest.to_owned()));
        assert_eq!(parse("FROM:<a@b> SIZE=1"), parsed("a@b", " SIZE=1"));
        assert_eq!(parse("from: <>"), parsed("", ""));
        assert_eq!(parse(r#"FROM:<"a>\"b"@c> X"#), parsed(r#""a>\"b"@c"#, " X"));
        assert_eq!(parse("FROM:a@b"), None);
        assert_eq!(parse("TO:<a@b>"), None);
        assert_eq!(parse("FROM:<a@b"), None);
    }
}
