//! Where a request comes from, and whom a trusted proxy says it is; pure.

use std::net::IpAddr;

use axum::extract::FromRequestParts;
use axum::http::header::{HeaderMap, HeaderName, USER_AGENT};
use axum::http::request::Parts;
use token_store::admins::Visitor;

use crate::error::PageError;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The reverse proxies in front of the page.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    /// Their addresses: what they say of a request is believed.
    pub addresses: Vec<IpAddr>,
    /// Whoever speaks to the Unix socket is one.
    pub socket: bool,
    /// The header in which they name the administrator whom they have signed in; None: they sign nobody in.
    pub user_header: Option<String>,
}

/// Who is at the other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    Address(IpAddr),
    Socket,
}

/// What is known of where a request comes from; the door puts it into every request.
#[derive(Debug, Clone, Default)]
pub(crate) struct Arrival {
    pub(crate) visitor: Visitor,
    /// Whom a trusted proxy has signed in.
    pub(crate) user: Option<String>,
}

impl Proxies {
    fn trusts(&self, peer: Peer) -> bool {
        match peer {
            Peer::Address(ip) => self.addresses.contains(&ip.to_canonical()),
            Peer::Socket => self.socket,
        }
    }

    /// Looks at a request.
    pub(crate) fn look(&self, peer: Peer, headers: &HeaderMap) -> Arrival {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let user = self.user_header.as_deref().filter(|_| self.trusts(peer));
        let user = user.and_then(text).map(str::trim);
        Arrival {
            visitor: Visitor {
                address: self.address(peer, headers),
                agent: text(USER_AGENT.as_str()).unwrap_or_default().to_owned(),
            },
            user: user.filter(|user| !user.is_empty()).map(str::to_owned),
        }
    }

    /// The last address that no trusted proxy has: each of them adds whom it heard from, and what stands before may be invented.
    fn address(&self, peer: Peer, headers: &HeaderMap) -> String {
        let mut last = peer;
        let lines = headers.get_all(FORWARDED_FOR).iter().rev();
        let hops = lines
            .filter_map(|line| line.to_str().ok())
            .flat_map(|line| line.rsplit(','));
        for hop in hops {
            if !self.trusts(last) {
                break;
            }
            let Some(ip) = hop_address(hop.trim()) else {
                break;
            };
            last = Peer::Address(ip);
        }
        match last {
            Peer::Address(ip) => ip.to_canonical().to_string(),
            Peer::Socket => String::new(),
        }
    }
}

/// `192.0.2.1`, `192.0.2.1:4711`, `2001:db8::1`, `[2001:db8::1]:4711`.
fn hop_address(hop: &str) -> Option<IpAddr> {
    if let Ok(ip) = hop.parse() {
        return Some(ip);
    }
    if let Ok(with_port) = hop.parse::<std::net::SocketAddr>() {
        return Some(with_port.ip());
    }
    hop.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
}

impl<S: Sync> FromRequestParts<S> for Arrival {
    type Rejection = PageError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, PageError> {
        // Without the door, as some tests have it, nothing is known.
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        }
        map
    }

    fn proxies() -> Proxies {
        Proxies {
            addresses: vec![ip("10.0.0.1"), ip("10.0.0.2")],
            socket: false,
            user_header: Some("x-remote-user".to_owned()),
        }
    }

    #[test]
    fn only_what_trusted_proxies_say_counts_and_the_nearest_stranger_is_the_visitor() {
        for (peer, said, visitor) in [
            ("10.0.0.1", &["192.0.2.7"][..], "192.0.2.7"),
            ("10.0.0.1", &["198.51.100.1, 192.0.2.7"], "192.0.2.7"),
            ("10.0.0.1", &["192.0.2.7, 10.0.0.2"], "192.0.2.7"),
            ("10.0.0.1", &["198.51.100.1", "192.0.2.7:4711"], "192.0.2.7"),
            ("10.0.0.1", &["[2001:db8::1]:80"], "2001:db8::1"),
            ("10.0.0.1", &["nonsense"], "10.0.0.1"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("::ffff:10.0.0.1", &["192.0.2.7"], "192.0.2.7"),
            ("127.0.0.1", &["192.0.2.7"], "127.0.0.1"),
            ("203.0.113.9", &["192.0.2.7"], "203.0.113.9"),
        ] {
            let pairs: Vec<_> = said.iter().map(|line| ("x-forwarded-for", *line)).collect();
            let arrival = proxies().look(Peer::Address(ip(peer)), &headers(&pairs));
            assert_eq!(arrival.visitor.address, visitor, "{peer} {said:?}");
        }
    }

    #[test]
    fn a_user_is_believed_from_configured_addresses_only_and_only_where_a_header_is_named() {
        let said = headers(&[("x-remote-user", " ann "), ("user-agent", "a browser")]);
        let user = |proxies: &Proxies, peer| proxies.look(peer, &said).user;
        let trusted = Peer::Address(ip("10.0.0.2"));
        assert_eq!(user(&proxies(), trusted).as_deref(), Some("ann"));
        assert_eq!(user(&proxies(), Peer::Address(ip("127.0.0.1"))), None);
        assert_eq!(user(&proxies(), Peer::Socket), None);
        let nobody = Proxies {
            user_header: None,
            ..proxies()
        };
        assert_eq!(user(&nobody, trusted), None);
        let socket = Proxies {
            socket: true,
            ..proxies()
        };
        assert_eq!(user(&socket, Peer::Socket).as_deref(), Some("ann"));
        let empty = headers(&[("x-remote-user", "")]);
        assert_eq!(proxies().look(trusted, &empty).user, None);
    }
}
