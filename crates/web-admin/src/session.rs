//! Who asks: the session of a page, and the proof that a form was sent from one of ours.

use axum::Form;
use axum::extract::rejection::FormRejection;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::header::{COOKIE, HeaderMap, HeaderName, HeaderValue, ORIGIN};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq;
use token_store::admins::{Session, Visitor};
use token_store::{Secret, Store};

use crate::address::{Address, CALLBACK};
use crate::door::host;
use crate::error::PageError;
use crate::visitor::Arrival;
use crate::{App, Inner};

/// The form field that carries the session's CSRF token.
const CSRF: &str = "csrf";
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// Pages that sign-in may lead back to. A list, so that no link to us can lead elsewhere.
const RETURNS: [&str; 11] = [
    "/",
    "/start",
    "/tokens",
    "/tokens/add",
    "/tokens/transfer",
    "/templates",
    "/log",
    "/settings",
    "/mailboxes",
    "/relays",
    "/queue",
];
/// How long the way back from a provider is open, in seconds; the consent itself ends by then too.
const CONSENT_LIFE: u32 = 600;

impl Inner {
    pub(crate) fn store(&self) -> &Store {
        self.parts.tokens.store()
    }
}

/// A signed-in administrator; taking this as an argument is what protects a page.
pub(crate) struct SignedIn {
    pub(crate) session: Session,
    pub(crate) cookie: Secret,
    pub(crate) visitor: Visitor,
}

impl FromRequestParts<App> for SignedIn {
    type Rejection = PageError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, PageError> {
        let arrival = Arrival::from_request_parts(parts, app).await?;
        match signed_in(&parts.headers, arrival, app).await? {
            Some(signed_in) => Ok(signed_in),
            None => Err(sign_in_first(parts, &app.address)),
        }
    }
}

/// The session of a request, if it has one that still lasts; and where a proxy signs people in, if it is theirs.
pub(crate) async fn signed_in(
    headers: &HeaderMap,
    arrival: Arrival,
    app: &App,
) -> Result<Option<SignedIn>, PageError> {
    let Some(cookie) = cookie(headers, session_cookie(&app.address)) else {
        return Ok(None);
    };
    let cookie = Secret::new(cookie);
    let session = app.store().session(&cookie).await?;
    let Arrival { visitor, user } = arrival;
    let session = session.filter(|session| user.is_none_or(|user| user == session.admin));
    Ok(session.map(|session| SignedIn {
        session,
        cookie,
        visitor,
    }))
}

/// Who asked for a page is led to it over sign-in. When another site led here, the browser kept its cookie back: the page asks
/// again, by itself. The callback is not repeated: its code was meant for the
/// session that is gone.
fn sign_in_first(parts: &Parts, address: &Address) -> PageError {
    let asks_page = matches!(parts.method, Method::GET | Method::HEAD);
    let path = parts.uri.path();
    let led = parts.headers.get(FETCH_SITE);
    let led = led.is_some_and(|site| matches!(site.as_bytes(), b"cross-site" | b"same-site"));
    if led && asks_page && path != CALLBACK {
        let whole = parts
            .uri
            .path_and_query()
            .map_or(path, |whole| whole.as_str());
        return PageError::LedHere {
            to: address.link(whole),
        };
    }
    let redirect = (asks_page && path != CALLBACK).then(|| match known_return(path) {
        "/" => address.link("/sign-in"),
        path => address.link(&format!("/sign-in?next={path}")),
    });
    PageError::SignInFirst { redirect }
}

/// `next` when it is a page of ours, else the overview.
pub(crate) fn known_return(next: &str) -> &'static str {
    RETURNS
        .iter()
        .find(|page| **page == next)
        .copied()
        .unwrap_or("/")
}

/// A form that was sent from a page of this session: session, origin and CSRF token are checked by then.
pub(crate) struct Posted {
    pub(crate) by: SignedIn,
    pub(crate) fields: Fields,
}

impl FromRequest<App> for Posted {
    type Rejection = PageError;

    async fn from_request(request: Request, app: &App) -> Result<Self, PageError> {
        let (mut parts, body) = request.into_parts();
        let by = SignedIn::from_request_parts(&mut parts, app).await?;
        let headers = parts.headers.clone();
        let fields = Fields::from_request(Request::from_parts(parts, body), app).await?;
        Self::checked(by, &headers, fields, app)
    }
}

impl Posted {
    /// A form whose origin and CSRF token are looked at.
    pub(crate) fn checked(
        by: SignedIn,
        headers: &HeaderMap,
        fields: Fields,
        app: &App,
    ) -> Result<Self, PageError> {
        from_here(headers, &app.address)?;
        if !same(fields.raw(CSRF), &by.session.csrf) {
            return Err(PageError::Forged(
                "the CSRF token is missing or is another session's",
            ));
        }
        Ok(Self { by, fields })
    }
}

/// The fields of a form, in order; sent from our own origin.
pub(crate) struct Fields(Vec<(String, String)>);

impl Fields {
    /// As they were sent.
    pub(crate) fn new(fields: Vec<(String, String)>) -> Self {
        Self(fields)
    }

    /// Every value of a field that may be there several times.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let hits = self.0.iter().filter(move |(key, _)| key == name);
        hits.map(|(_, value)| value.as_str())
    }

    /// A field as it was sent; empty when it is missing.
    pub(crate) fn raw(&self, name: &str) -> &str {
        let field = self.0.iter().find(|(key, _)| key == name);
        field.map_or("", |(_, value)| value)
    }

    /// A field without the blanks around it, which come along when something is pasted.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.raw(name).trim()
    }

    /// Whether a checkbox is ticked.
    pub(crate) fn ticked(&self, name: &str) -> bool {
        !self.raw(name).is_empty()
    }

    #[cfg(test)]
    pub(crate) fn of(fields: &[(&str, &str)]) -> Self {
        Self(
            fields
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect(),
        )
    }
}

impl FromRequest<App> for Fields {
    type Rejection = PageError;

    async fn from_request(request: Request, app: &App) -> Result<Self, PageError> {
        from_here(request.headers(), &app.address)?;
        match Form::<Vec<(String, String)>>::from_request(request, app).await {
            Ok(Form(fields)) => Ok(Self(fields)),
            Err(rejection) => Err(unreadable(&rejection)),
        }
    }
}

fn unreadable(rejection: &FormRejection) -> PageError {
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        PageError::TooLarge
    } else {
        PageError::BadForm(rejection.body_text())
    }
}

/// Refuses what another site sent. Browsers say so in `Sec-Fetch-Site`, older ones in `Origin`; who says neither
/// is no browser, and has only the CSRF token to pass.
fn from_here(headers: &HeaderMap, address: &Address) -> Result<(), PageError> {
    if let Some(site) = headers.get(FETCH_SITE) {
        return match site.as_bytes() {
            b"same-origin" | b"none" => Ok(()),
            _ => Err(PageError::Forged("another site sent it (Sec-Fetch-Site)")),
        };
    }
    let Some(origin) = headers.get(ORIGIN) else {
        return Ok(());
    };
    let ours = origin
        .to_str()
        .is_ok_and(|o| address.knows_origin(o, host(headers)));
    if ours {
        Ok(())
    } else {
        Err(PageError::Forged("another site sent it (Origin)"))
    }
}

/// Compares two tokens in constant time; an empty one is equal to nothing.
pub(crate) fn same(given: &str, expected: &str) -> bool {
    !expected.is_empty() && bool::from(given.as_bytes().ct_eq(expected.as_bytes()))
}

/// 256 random bits as text.
pub(crate) fn random_token() -> Result<String, PageError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(PageError::Random)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// The session cookie's name. `__Host-` makes browsers refuse it from any other host, path or without https.
pub(crate) fn session_cookie(address: &Address) -> &'static str {
    if address.secure {
        "__Host-postern"
    } else {
        "postern"
    }
}

/// The cookie that a sign-in form must repeat, so that nobody is signed in from another site.
pub(crate) fn sign_in_cookie(address: &Address) -> &'static str {
    if address.secure {
        "__Host-postern-sign-in"
    } else {
        "postern-sign-in"
    }
}

/// The cookie of a browser that went to a provider: the way back is open to it alone.
pub(crate) fn consent_cookie(address: &Address) -> &'static str {
    if address.secure {
        "__Host-postern-consent"
    } else {
        "postern-consent"
    }
}

/// What the consent is bound to: the session's id and a secret of this browser's. Two tabs of one session share it.
pub(crate) fn consent_binding(
    headers: &HeaderMap,
    address: &Address,
    by: &SignedIn,
) -> Result<String, PageError> {
    let session = &by.session.id;
    let present = cookie(headers, consent_cookie(address));
    match present.filter(|present| asked_by(present) == session) {
        Some(present) => Ok(present.to_owned()),
        None => Ok(format!("{session}.{}", random_token()?)),
    }
}

/// The id of the session that a consent's cookie belongs to.
pub(crate) fn asked_by(binding: &str) -> &str {
    binding.split_once('.').map_or("", |(session, _)| session)
}

/// The session's cookie. `Strict`: nothing that another site leads here to comes with it.
pub(crate) fn set_session(address: &Address, value: &str) -> Result<HeaderValue, PageError> {
    set_cookie(address, session_cookie(address), value, "Strict", None)
}

/// The sign-in form's cookie. Two forms may be open, and one of them came by a link from elsewhere.
pub(crate) fn set_sign_in(address: &Address, value: &str) -> Result<HeaderValue, PageError> {
    set_cookie(address, sign_in_cookie(address), value, "Lax", None)
}

/// The consent's cookie. `Lax`, since the provider leads back here from another site, and short-lived.
pub(crate) fn set_consent(address: &Address, value: &str) -> Result<HeaderValue, PageError> {
    let life = Some(CONSENT_LIFE);
    set_cookie(address, consent_cookie(address), value, "Lax", life)
}

/// A `Set-Cookie` value; an empty one takes the cookie away.
fn set_cookie(
    address: &Address,
    name: &str,
    value: &str,
    same_site: &str,
    life: Option<u32>,
) -> Result<HeaderValue, PageError> {
    let secure = if address.secure { "; Secure" } else { "" };
    let life = if value.is_empty() { Some(0) } else { life };
    let age = life.map(|life| format!("; Max-Age={life}"));
    let age = age.unwrap_or_default();
    let cookie = format!("{name}={value}; Path=/; HttpOnly; SameSite={same_site}{secure}{age}");
    HeaderValue::try_from(cookie).map_err(|_| PageError::NotFound)
}

/// The value of a cookie.
pub(crate) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|header| header.to_str().ok())
        .flat_map(|header| header.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(key, value)| (key == name && !value.is_empty()).then_some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address() -> Address {
        Address::parse("https://helpdesk.example.com/postern", CALLBACK).unwrap()
    }

    fn headers(pairs: &[(HeaderName, &'static str)]) -> HeaderMap {
        let pairs = pairs.iter().cloned();
        pairs
            .map(|(name, value)| (name, HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn what_another_site_sent_is_refused_by_either_header() {
        let ours = "https://helpdesk.example.com";
        for good in [
            headers(&[]),
            headers(&[(ORIGIN, ours)]),
            headers(&[(FETCH_SITE, "same-origin"), (ORIGIN, "null")]),
        ] {
            assert!(from_here(&good, &address()).is_ok(), "{good:?}");
        }
        for bad in [
            headers(&[(ORIGIN, "https://evil.example")]),
            headers(&[(ORIGIN, "null")]),
            headers(&[(FETCH_SITE, "cross-site"), (ORIGIN, ours)]),
            headers(&[(FETCH_SITE, "same-site"), (ORIGIN, ours)]),
        ] {
            assert!(from_here(&bad, &address()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn tokens_are_equal_only_whole_and_never_when_empty() {
        assert!(same("abc", "abc"));
        for (given, expected) in [
            ("ab", "abc"),
            ("abcd", "abc"),
            ("", "abc"),
            ("", ""),
            ("abd", "abc"),
        ] {
            assert!(!same(given, expected), "{given} {expected}");
        }
    }

    #[test]
    fn cookies_are_found_by_their_whole_name() {
        let h = headers(&[
            (COOKIE, "xpostern=1; postern-sign-in=2; postern=3"),
            (COOKIE, "other=4"),
        ]);
        assert_eq!(cookie(&h, "postern"), Some("3"));
        assert_eq!(cookie(&h, "other"), Some("4"));
        assert_eq!(cookie(&h, "none"), None);
    }

    #[test]
    fn sign_in_leads_back_to_pages_of_ours_only() {
        assert_eq!(known_return("/tokens"), "/tokens");
        for elsewhere in [
            "//evil.example",
            "https://evil.example",
            "/sign-out",
            "",
            "/\\evil.example",
        ] {
            assert_eq!(known_return(elsewhere), "/", "{elsewhere}");
        }
    }

    #[test]
    fn cookies_are_locked_to_the_host_on_https_and_the_sessions_to_the_site() {
        assert_eq!(
            set_session(&address(), "v").unwrap(),
            "__Host-postern=v; Path=/; HttpOnly; SameSite=Strict; Secure"
        );
        assert_eq!(
            set_consent(&address(), "v").unwrap(),
            "__Host-postern-consent=v; Path=/; HttpOnly; SameSite=Lax; Secure; Max-Age=600"
        );
        let plain = Address::parse("http://localhost:8025", CALLBACK).unwrap();
        assert_eq!(
            set_session(&plain, "").unwrap(),
            "postern=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0"
        );
        assert_eq!(
            set_sign_in(&plain, "v").unwrap(),
            "postern-sign-in=v; Path=/; HttpOnly; SameSite=Lax"
        );
    }

    #[test]
    fn a_consent_belongs_to_a_session() {
        assert_eq!(asked_by("id.secret"), "id");
        assert_eq!(asked_by("no dot"), "");
    }
}
