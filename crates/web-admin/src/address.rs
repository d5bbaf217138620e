//! The public address: path prefix, redirect URI, and which `Host` and `Origin` are ours; pure.

use std::net::IpAddr;

use axum::http::Uri;

/// Where the callback is routed, whatever `redirect_path` is called outside.
pub(crate) const CALLBACK: &str = "/oauth2/callback";

/// `public_url` and `redirect_path`, taken apart.
#[derive(Debug)]
pub(crate) struct Address {
    /// Whether browsers come by https.
    pub(crate) secure: bool,
    /// Scheme, host and port as a browser writes them in `Origin`.
    pub(crate) origin: String,
    host: String,
    /// The path part of `public_url`: empty, or `/postern`.
    pub(crate) prefix: String,
    /// What is registered at the provider.
    pub(crate) redirect_uri: String,
    redirect_path: String,
}

/// Why an address cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AddressError {
    #[error("public_url {0:?} is not an address such as https://helpdesk.example.com/postern")]
    NotAUrl(String),
    #[error(
        "public_url {0:?} is not safe: passwords and tokens would travel in clear; use https, or http on localhost only"
    )]
    Unsafe(String),
    #[error("redirect_path {0:?} must be a path such as /oauth2/callback")]
    NotAPath(String),
}

impl Address {
    /// Takes the two settings apart; http is accepted on loopback only.
    pub(crate) fn parse(public_url: &str, redirect_path: &str) -> Result<Self, AddressError> {
        let not_a_url = || AddressError::NotAUrl(public_url.to_owned());
        let trimmed = public_url.trim_end_matches('/');
        let uri: Uri = trimmed.parse().map_err(|_| not_a_url())?;
        let scheme = uri.scheme_str().ok_or_else(not_a_url)?.to_ascii_lowercase();
        let host = uri.host().ok_or_else(not_a_url)?.to_ascii_lowercase();
        let secure = match scheme.as_str() {
            "https" => true,
            "http" if is_loopback(&host) => false,
            "http" => return Err(AddressError::Unsafe(public_url.to_owned())),
            _ => return Err(not_a_url()),
        };
        if uri.query().is_some() || trimmed.contains(['#', '@']) {
            return Err(not_a_url());
        }
        let plain_path = redirect_path.starts_with('/')
            && redirect_path
                .parse::<Uri>()
                .is_ok_and(|u| u.path() == redirect_path);
        if !plain_path {
            return Err(AddressError::NotAPath(redirect_path.to_owned()));
        }
        let usual_port = if secure { 443 } else { 80 };
        let port = uri.port_u16().filter(|port| *port != usual_port);
        let port = port.map(|port| format!(":{port}")).unwrap_or_default();
        Ok(Self {
            secure,
            origin: format!("{scheme}://{host}{port}"),
            host,
            prefix: uri.path().trim_end_matches('/').to_owned(),
            redirect_uri: format!("{trimmed}{redirect_path}"),
            redirect_path: redirect_path.to_owned(),
        })
    }

    /// The public form of one of our paths, for links and redirects.
    pub(crate) fn link(&self, path: &str) -> String {
        format!("{}{path}", self.prefix)
    }

    /// The path a request means, with the prefix taken off when the proxy kept it; the callback has one name inside.
    ///
    /// The callback is recognised by its answer too (`state`, `code` or `error`), so that a `redirect_path` which
    /// is also a page, such as `/`, works for both.
    pub(crate) fn inner_path<'a>(&self, path: &'a str, query: Option<&str>) -> &'a str {
        let path = match path.strip_prefix(self.prefix.as_str()) {
            Some("") => "/",
            Some(rest) if rest.starts_with('/') => rest,
            _ => path,
        };
        if path == self.redirect_path && is_answer(query.unwrap_or_default()) {
            CALLBACK
        } else {
            path
        }
    }

    /// Whether a `Host` header is ours: the public host, or a name of loopback. Anything else is somebody's name
    /// that was pointed at us (DNS rebinding). The port says nothing: proxies drop it or put their own.
    pub(crate) fn knows_host(&self, header: &str) -> bool {
        let host = without_port(header);
        host.eq_ignore_ascii_case(&self.host) || is_loopback(host)
    }

    /// Whether an `Origin` header is ours: the public origin, or the loopback address that was asked directly.
    pub(crate) fn knows_origin(&self, origin: &str, host_header: &str) -> bool {
        if origin.eq_ignore_ascii_case(&self.origin) {
            return true;
        }
        let direct = origin.strip_prefix("http://");
        is_loopback(without_port(host_header))
            && direct.is_some_and(|authority| authority.eq_ignore_ascii_case(host_header))
    }
}

/// The browser's origin when it is not the public one: the provider leads back to the public address, where this
/// browser's session does not count. Only a browser itself says `Origin`; a proxy in between may change `Host`.
pub(crate) fn astray<'a>(address: &Address, origin: Option<&'a str>) -> Option<&'a str> {
    origin.filter(|origin| !origin.eq_ignore_ascii_case(&address.origin))
}

fn is_answer(query: &str) -> bool {
    query
        .split('&')
        .any(|pair| matches!(pair.split('=').next(), Some("state" | "code" | "error")))
}

/// `host` of `host:port`, brackets of an IPv6 address kept.
fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => authority,
    }
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare.eq_ignore_ascii_case("localhost")
        || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(url: &str) -> Address {
        Address::parse(url, CALLBACK).unwrap()
    }

    #[test]
    fn the_prefix_is_taken_off_whole_and_only_as_a_whole() {
        let a = address("https://helpdesk.example.com/postern/");
        assert_eq!(a.prefix, "/postern");
        for (asked, meant) in [
            ("/postern", "/"),
            ("/postern/", "/"),
            ("/postern/tokens", "/tokens"),
            ("/tokens", "/tokens"),
            ("/posterns/tokens", "/posterns/tokens"),
            ("/", "/"),
        ] {
            assert_eq!(a.inner_path(asked, None), meant, "{asked}");
        }
        assert_eq!(
            address("https://h.example").inner_path("/tokens", None),
            "/tokens"
        );
    }

    #[test]
    fn any_redirect_path_leads_to_the_callback_when_it_carries_an_answer() {
        let a = Address::parse("https://h.example/p", "/").unwrap();
        assert_eq!(a.redirect_uri, "https://h.example/p/");
        assert_eq!(a.inner_path("/p/", Some("code=1&state=2")), CALLBACK);
        assert_eq!(a.inner_path("/", Some("error=access_denied")), CALLBACK);
        assert_eq!(a.inner_path("/", Some("next=code")), "/");
        assert_eq!(a.inner_path("/p/", None), "/");
    }

    #[test]
    fn hosts_other_than_the_public_one_and_loopback_are_strangers() {
        let a = address("https://Helpdesk.example.com:8443/postern");
        for ours in [
            "helpdesk.example.com",
            "HELPDESK.example.com:8443",
            "localhost:8025",
            "127.0.0.1",
            "127.8.8.8:1",
            "[::1]:8025",
        ] {
            assert!(a.knows_host(ours), "{ours}");
        }
        for theirs in [
            "evil.example",
            "helpdesk.example.com.evil.example",
            "10.0.0.1",
            "",
            "[::2]",
        ] {
            assert!(!a.knows_host(theirs), "{theirs}");
        }
    }

    #[test]
    fn origins_other_than_our_own_are_strangers() {
        let a = address("https://helpdesk.example.com:443/postern");
        assert!(a.knows_origin("https://helpdesk.example.com", "127.0.0.1:8025"));
        assert!(a.knows_origin("http://127.0.0.1:8025", "127.0.0.1:8025"));
        for (origin, host) in [
            ("http://helpdesk.example.com", "helpdesk.example.com"),
            ("https://helpdesk.example.com:8443", "helpdesk.example.com"),
            ("http://127.0.0.1:9000", "127.0.0.1:8025"),
            ("http://evil.example", "evil.example"),
            ("null", "helpdesk.example.com"),
        ] {
            assert!(!a.knows_origin(origin, host), "{origin} at {host}");
        }
    }

    #[test]
    fn http_is_refused_beyond_loopback_and_nonsense_everywhere() {
        assert!(!address("http://localhost:8025").secure);
        assert!(address("https://helpdesk.example.com").secure);
        for bad in [
            "http://helpdesk.example.com",
            "helpdesk",
            "ftp://localhost",
            "https://h/?a=b",
            "",
        ] {
            assert!(Address::parse(bad, CALLBACK).is_err(), "{bad}");
        }
        for bad in ["", "callback", "/a?b=c", "/a b"] {
            assert!(Address::parse("https://h.example", bad).is_err(), "{bad}");
        }
    }
}
