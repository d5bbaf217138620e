//! Which URLs a secret may be sent to.

use std::net::IpAddr;

/// Whether a URL may be used: https, or http whose host is loopback. A URL that readers could take apart differently (user
/// information, blanks, backslashes, control characters) is not.
pub fn url_is_safe(url: &str) -> bool {
    let Some((scheme, rest)) = url.split_once("://") else {
        return false;
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let Some(host) = host(&rest[..end]) else {
        return false;
    };
    if url
        .chars()
        .any(|c| c.is_control() || c.is_whitespace() || c == '\\')
    {
        return false;
    }
    match scheme.to_ascii_lowercase().as_str() {
        "https" => true,
        "http" => is_loopback(host),
        _ => false,
    }
}

/// The host of `host`, `host:port`, `[v6]` or `[v6]:port`; None for anything else.
fn host(authority: &str) -> Option<&str> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (address, after) = rest.split_once(']')?;
            address.parse::<std::net::Ipv6Addr>().ok()?;
            (address, after)
        }
        None => {
            let end = authority.find(':').unwrap_or(authority.len());
            let (name, after) = authority.split_at(end);
            let plausible = !name.is_empty()
                && name
                    .chars()
                    .all(|c| c.is_alphanumeric() || matches!(c, '.' | '-' | '_'));
            (plausible.then_some(name)?, after)
        }
    };
    let good_port = port.is_empty()
        || port.strip_prefix(':').is_some_and(|digits| {
            digits.chars().all(|c| c.is_ascii_digit()) && digits.parse::<u16>().is_ok()
        });
    good_port.then_some(host)
}

fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn https_anywhere_and_http_on_loopback_are_safe() {
        for url in [
            "https://login.example.com/oauth2/v2.0/token",
            "HTTPS://login.example.com",
            "https://login.example.com:8443?x=1",
            "https://bücher.example/token",
            "https://[2001:db8::1]:443/",
            "https://login.example.com/{TenantID}/token",
            "http://localhost:8080/token",
            "http://LOCALHOST/token",
            "http://127.0.0.1/token",
            "http://127.8.9.1:1/token",
            "http://[::1]:8080/token",
        ] {
            assert!(url_is_safe(url), "{url}");
        }
    }

    #[test]
    fn everything_else_is_not() {
        for url in [
            "",
            "login.example.com",
            "https://",
            "https:///token",
            "https://:443/token",
            "http://login.example.com/token",
            "http://localhost.example.com/token",
            "http://127.0.0.1.example.com/",
            "http://localhost@example.com/",
            "https://user:password@example.com/",
            "http://localhost:80@example.com/",
            "http://example.com\\@localhost/",
            "http://localhost\\.example.com/",
            "https://example.com/a b",
            "https://example.com/a\nb",
            "https://exa mple.com/",
            "https://{TenantID}/token",
            "https://example.com:99999/",
            "https://example.com:+80/",
            "https://[::1",
            "https://[nonsense]/",
            "http://0.0.0.0/",
            "http://[::]/",
            "http://[2001:db8::1]/",
            "ftp://localhost/",
            "file:///etc/passwd",
            "javascript://localhost/",
        ] {
            assert!(!url_is_safe(url), "{url}");
        }
    }
}
