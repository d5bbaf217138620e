//! A form with a file in it (`multipart/form-data`, RFC 7578), sent from a page of this session.

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, HeaderMap};
use axum::response::IntoResponse;
use memchr::memmem;

use crate::App;
use crate::error::PageError;
use crate::session::{Fields, Posted, SignedIn};

/// Parts of one form; ours have five.
const PARTS: usize = 32;
/// Of one part's header.
const HEADER_BYTES: usize = 1024;

/// A posted form, its file beside its fields; session, origin and CSRF token are checked by then.
pub(crate) struct Uploaded {
    pub(crate) posted: Posted,
    /// What the chosen file holds; empty when none was chosen.
    pub(crate) file: Vec<u8>,
}

impl FromRequest<App> for Uploaded {
    type Rejection = PageError;

    async fn from_request(request: Request, app: &App) -> Result<Self, PageError> {
        let (mut parts, body) = request.into_parts();
        // Who is nobody sends us no megabytes.
        let by = SignedIn::from_request_parts(&mut parts, app).await?;
        let headers = parts.headers.clone();
        let boundary = boundary(&headers).ok_or_else(unreadable)?;
        let request = Request::from_parts(parts, body);
        let body = match Bytes::from_request(request, app).await {
            Ok(body) => body,
            Err(rejection) => {
                let too_large = rejection.into_response().status() == StatusCode::PAYLOAD_TOO_LARGE;
                return Err(if too_large {
                    PageError::TooLarge
                } else {
                    unreadable()
                });
            }
        };
        let parts = parse(&body, &boundary).ok_or_else(unreadable)?;
        let (mut fields, mut file) = (Vec::new(), Vec::new());
        for part in parts {
            if part.is_file {
                file = part.bytes.to_vec();
            } else {
                let text = String::from_utf8(part.bytes.to_vec()).map_err(|_| unreadable())?;
                fields.push((part.name, text));
            }
        }
        let posted = Posted::checked(by, &headers, Fields::new(fields), app)?;
        Ok(Self { posted, file })
    }
}

fn unreadable() -> PageError {
    PageError::BadForm("it is no multipart/form-data".to_owned())
}

fn boundary(headers: &HeaderMap) -> Option<String> {
    let kind = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let rest = kind.strip_prefix("multipart/form-data")?;
    let (_, boundary) = rest.split_once("boundary=")?;
    let boundary = boundary.split(';').next()?.trim().trim_matches('"');
    // RFC 2046 section 5.1.1.
    ((1..=70).contains(&boundary.len())).then(|| boundary.to_owned())
}

#[derive(Debug, PartialEq, Eq)]
struct Part<'a> {
    name: String,
    is_file: bool,
    bytes: &'a [u8],
}

/// Takes a body apart; None when it is not one.
fn parse<'a>(body: &'a [u8], boundary: &str) -> Option<Vec<Part<'a>>> {
    let opening = format!("--{boundary}");
    let delimiter = format!("\r\n--{boundary}");
    let mut rest = body.strip_prefix(opening.as_bytes())?;
    let mut parts = Vec::new();
    loop {
        if rest.starts_with(b"--") {
            return Some(parts);
        }
        rest = rest.strip_prefix(b"\r\n")?;
        let head = memmem::find(&rest[..rest.len().min(HEADER_BYTES)], b"\r\n\r\n")?;
        let (header, after) = (std::str::from_utf8(&rest[..head]).ok()?, &rest[head + 4..]);
        let end = memmem::find(after, delimiter.as_bytes())?;
        parts.push(part(header, &after[..end])?);
        if parts.len() > PARTS {
            return None;
        }
        rest = &after[end + delimiter.len()..];
    }
}

fn part<'a>(header: &str, bytes: &'a [u8]) -> Option<Part<'a>> {
    let disposition = header.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-disposition")
            .then_some(value)
    })?;
    let name = disposition.split_once("name=\"")?.1.split('"').next()?;
    Some(Part {
        name: name.to_owned(),
        is_file: disposition.contains("filename"),
        bytes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = b"--XyZ\r\nContent-Disposition: form-data; name=\"csrf\"\r\n\r\nabc\r\n\
        --XyZ\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.yml\"\r\nContent-Type: application/yaml\r\n\r\n\
        - Name: x\r\n--XyNot\r\n\r\n--XyZ--\r\n";

    #[test]
    fn fields_and_the_file_are_told_apart_and_the_file_keeps_its_line_ends() {
        let parts = parse(BODY, "XyZ").unwrap();
        let field = Part {
            name: "csrf".to_owned(),
            is_file: false,
            bytes: b"abc",
        };
        let file = Part {
            name: "file".to_owned(),
            is_file: true,
            bytes: b"- Name: x\r\n--XyNot\r\n",
        };
        assert_eq!(parts, [field, file]);
    }

    #[test]
    fn a_body_cut_anywhere_is_none_and_nothing_panics() {
        let whole = BODY.len() - 2;
        for end in 0..whole {
            assert_eq!(parse(&BODY[..end], "XyZ"), None, "cut at {end}");
        }
        assert!(parse(BODY, "Other").is_none());
        let many = b"--b\r\nContent-Disposition: form-data; name=\"x\"\r\n\r\n\r\n".repeat(40);
        assert!(parse(&many, "b").is_none());
    }

    #[test]
    fn the_boundary_is_read_with_and_without_quotes() {
        let of = |kind: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, kind.parse().unwrap());
            boundary(&headers)
        };
        assert_eq!(
            of("multipart/form-data; boundary=----W").as_deref(),
            Some("----W")
        );
        assert_eq!(
            of("multipart/form-data; boundary=\"a b\"; x=y").as_deref(),
            Some("a b")
        );
        for not in [
            "application/x-www-form-urlencoded",
            "multipart/form-data",
            "multipart/form-data; boundary=",
        ] {
            assert_eq!(of(not), None, "{not}");
        }
    }
}
