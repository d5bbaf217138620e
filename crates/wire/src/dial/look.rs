//! The way to a server step by step, for a person who looks where it ends: name, TCP, TLS. Nothing is said to the server.

use super::{DialError, Stream, Target, Tls, Trust, bare, race, resolve};
use std::net::IpAddr;
use std::time::Duration;
use tokio::time::timeout;

/// Goes as far as [`connect`](super::connect) would, and tells of each step what was looked at and what was found, or what is wrong;
/// `limit` bounds each. False: one of them failed.
pub async fn look(
    target: &Target,
    trust: &Trust,
    limit: Duration,
    mut tell: impl FnMut(String, Result<String, String>) + Send,
) -> bool {
    let Target { host, port, .. } = target;
    let late = |step| {
        let (host, port, after) = (host.clone(), *port, limit);
        DialError::Timeout {
            host,
            port,
            step,
            after,
        }
        .to_string()
    };
    let named = timeout(limit, resolve(host, *port)).await;
    let named = match named {
        Err(_) => Err(late("its name was looked up")),
        Ok(found) => found.map_err(|source| {
            let host = host.clone();
            DialError::Resolve { host, source }.to_string()
        }),
    };
    let words = named.as_ref().map(|addresses| {
        let addresses: Vec<String> = addresses.iter().map(|a| a.ip().to_string()).collect();
        format!("is {}", addresses.join(", "))
    });
    if bare(host).parse::<IpAddr>().is_err() || words.is_err() {
        tell(format!("the name {host}"), words.map_err(Clone::clone));
    }
    let Ok(addresses) = named else { return false };

    let connected = match timeout(limit, race(addresses)).await {
        Err(_) => Err(late("connecting")),
        Ok(connected) => connected.map_err(|source| {
            let (host, port) = (host.clone(), *port);
            DialError::Connect { host, port, source }.to_string()
        }),
    };
    let what = format!("TCP to port {port}");
    let tcp = match connected {
        Ok(tcp) => tcp,
        Err(why) => {
            tell(what, Err(why));
            return false;
        }
    };
    let peer = tcp
        .peer_addr()
        .map_or_else(|_| host.clone(), |peer| peer.ip().to_string());
    tell(what, Ok(format!("{peer} answers")));
    if target.tls != Tls::Implicit {
        return true;
    }
    let secured = Stream::plain(tcp).start_tls(host, trust, limit).await;
    let found = secured
        .map(|_| format!("stands, and the certificate is for {host} and trusted"))
        .map_err(|error| error.to_string());
    let stands = found.is_ok();
    tell("TLS".to_owned(), found);
    stands
}
