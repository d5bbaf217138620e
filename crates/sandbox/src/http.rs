//! Just enough HTTP/1.1 for token endpoints: requests with a counted body, keep-alive, form encoding.
use tokio::io::{AsyncRead, AsyncWrite};
use wire::lines::{LineError, Lines};

/// Longest request line or header; a consent URL with a long scope stays well below.
const LINE_CAP: usize = 16 * 1024;
/// Most header lines of a request.
const HEADERS: usize = 100;
/// Longest body; forms with a signed assertion stay well below.
const BODY_CAP: usize = 256 * 1024;

/// A request, its query and form decoded.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) form: Vec<(String, String)>,
    pub(crate) authorization: Option<String>,
    pub(crate) keep_alive: bool,
}

/// Why there is no request.
#[derive(Debug)]
pub(crate) enum RequestError {
    /// The connection is over.
    Gone,
    /// Answer with this status, then close.
    Bad(u16, &'static str),
}

impl From<LineError> for RequestError {
    fn from(error: LineError) -> Self {
        match error {
            LineError::TooLong { .. } => Self::Bad(431, "a line is too long"),
            _ => Self::Gone,
        }
    }
}

/// An answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: String,
}

impl Response {
    pub(crate) fn json(status: u16, body: &serde_json::Value) -> Self {
        let headers = vec![
            ("Content-Type", "application/json".to_owned()),
            ("Cache-Control", "no-store".to_owned()),
        ];
        Self {
            status,
            headers,
            body: body.to_string(),
        }
    }

    pub(crate) fn html(status: u16, body: String) -> Self {
        let headers = vec![("Content-Type", "text/html; charset=utf-8".to_owned())];
        Self {
            status,
            headers,
            body,
        }
    }

    pub(crate) fn redirect(to: String) -> Self {
        Self {
            status: 302,
            headers: vec![("Location", to)],
            body: String::new(),
        }
    }

    pub(crate) fn to_bytes(&self, keep_alive: bool) -> Vec<u8> {
        let mut text = format!("HTTP/1.1 {} {}\r\n", self.status, reason(self.status));
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        if !keep_alive {
            text.push_str("Connection: close\r\n");
        }
        text.push_str(&format!("Content-Length: {}\r\n\r\n", self.body.len()));
        text.push_str(&self.body);
        text.into_bytes()
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        302 => "Found",
        400 => "Bad Request",
        401 => "Unauthorized",
        404 => "Not Found",
        405 => "Method Not Allowed",
        _ => "Answer",
    }
}

/// Reads the next request of a connection.
pub(crate) async fn read<S>(lines: &mut Lines<S>) -> Result<Request, RequestError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let first = text_line(lines).await?;
    let mut words = first.split(' ');
    let (Some(method), Some(target), Some(version)) = (words.next(), words.next(), words.next())
    else {
        return Err(RequestError::Bad(400, "not an HTTP request"));
    };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut request = Request {
        method: method.to_owned(),
        path: path.to_owned(),
        query: form_decode(query),
        keep_alive: version == "HTTP/1.1",
        ..Request::default()
    };
    let length = read_headers(lines, &mut request).await?;
    let body = read_body(lines, length).await?;
    request.form = form_decode(&String::from_utf8_lossy(&body));
    Ok(request)
}

/// Reads the header; gives the length of the body.
async fn read_headers<S>(lines: &mut Lines<S>, request: &mut Request) -> Result<usize, RequestError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut length = 0;
    for _ in 0..HEADERS {
        let line = text_line(lines).await?;
        if line.is_empty() {
            return Ok(length);
        }
        let Some((name, value)) = line.split_once(':') else {
            return Err(RequestError::Bad(400, "a header line without a colon"));
        };
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "content-length" => {
                length = value
                    .parse()
                    .ok()
                    .filter(|length| *length <= BODY_CAP)
                    .ok_or(RequestError::Bad(413, "the body is too long"))?;
            }
            "transfer-encoding" => return Err(RequestError::Bad(411, "send a Content-Length")),
            "authorization" => request.authorization = Some(value.to_owned()),
            "connection" => request.keep_alive &= !value.eq_ignore_ascii_case("close"),
            _ => {}
        }
    }
    Err(RequestError::Bad(431, "too many header lines"))
}

async fn read_body<S>(lines: &mut Lines<S>, length: usize) -> Result<Vec<u8>, RequestError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut body = Vec::new();
    while body.len() < length {
        let chunk = lines.chunk().await?;
        if chunk.is_empty() {
            return Err(RequestError::Gone);
        }
        let n = chunk.len().min(length - body.len());
        body.extend_from_slice(&chunk[..n]);
        lines.consume(n);
    }
    Ok(body)
}

async fn text_line<S>(lines: &mut Lines<S>) -> Result<String, RequestError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let line = lines.line(LINE_CAP).await?;
    String::from_utf8(line.bytes).map_err(|_| RequestError::Bad(400, "not UTF-8"))
}

/// The value of a field, in a query or a form.
pub(crate) fn field<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let (_, value) = pairs.iter().find(|(key, _)| key == name)?;
    Some(value)
}

/// Decodes `a=b&c=d`; what cannot be decoded is taken as it stands.
pub(crate) fn form_decode(text: &str) -> Vec<(String, String)> {
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (percent_decode(name), percent_decode(value)))
        .collect()
}

/// Decodes `%41` and `+`.
pub(crate) fn percent_decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let hex = bytes
            .get(at + 1..at + 3)
            .filter(|_| byte == b'%')
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        decoded.push(match (byte, hex) {
            (_, Some(value)) => value,
            (b'+', None) => b' ',
            (other, None) => other,
        });
        at += if hex.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

/// Encodes all but the unreserved characters (RFC 3986 section 2.3).
pub(crate) fn percent_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_encoding_goes_there_and_back() {
        let text = "a b&c=d%/ü+~";
        assert_eq!(percent_decode(&percent_encode(text)), text);
        assert_eq!(percent_decode("a+b%20c%"), "a b c%");
        assert_eq!(percent_decode("%zz%4"), "%zz%4");
        assert_eq!(
            form_decode("a=1&b&c=x%26y"),
            [("a", "1"), ("b", ""), ("c", "x&y")].map(|(k, v)| (k.to_owned(), v.to_owned()))
        );
    }
}
