//! The reverse proxies in front of the admin page, and what they are believed.

use std::net::IpAddr;

use super::reader::{Field, Section};

/// Reads `trusted_proxies` and `user_header` of the section `web`.
pub(super) fn read(section: &Section<'_>) -> web_admin::Proxies {
    let mut proxies = web_admin::Proxies::default();
    let expected = "a list of addresses such as [127.0.0.1], or [unix] for whoever speaks to the page's Unix socket";
    let listed = section.get("trusted_proxies");
    let items = listed.as_ref().and_then(|field| field.list(expected));
    for item in items.unwrap_or_default() {
        let expected = "an IP address, or unix";
        match item.text(expected) {
            Some("unix") => proxies.socket = true,
            Some(text) => match text.parse::<IpAddr>() {
                Ok(ip) => proxies.addresses.push(ip.to_canonical()),
                Err(_) => item.expected(expected),
            },
            None => {}
        }
    }
    if let Some(field) = section.get("user_header") {
        proxies.user_header = header(&field);
        if proxies.addresses.is_empty() && !proxies.socket {
            field.mistake(
                "is believed from nobody; name the proxy that sets it in web.trusted_proxies",
            );
        }
    }
    proxies
}

/// A header field's name.
fn header(field: &Field<'_>) -> Option<String> {
    let expected = "a header field's name such as X-Remote-User";
    let text = field.text(expected)?;
    let is_name = text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    if !is_name {
        field.expected(expected);
        return None;
    }
    Some(text.to_ascii_lowercase())
}
