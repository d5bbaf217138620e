//! The webhook: a notice as JSON by POST, signed where a secret is configured.

use std::time::Duration;

use aws_lc_rs::hmac;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, Url};
use wire::dial::{Trust, is_loopback};

use super::tidings::Tidings;
use crate::config::Webhook;

/// Seconds since 1970, part of what is signed: who receives can refuse one that is long past.
const TIMESTAMP_HEADER: &str = "x-postern-timestamp";
const SIGNATURE_HEADER: &str = "x-postern-signature";
/// The whole exchange.
const LONGEST: Duration = Duration::from_secs(30);

/// Posts a notice; why it failed otherwise. The URL is in no error: its path may hold a key.
pub(super) async fn tell(hook: &Webhook, tidings: Tidings) -> Result<(), String> {
    let url = Url::parse(hook.url.expose()).map_err(|error| format!("the URL: {error}"))?;
    let host = url.host_str().unwrap_or_default().to_owned();
    let body = serde_json::to_vec(&tidings).map_err(|error| error.to_string())?;
    let client = client(&host)?;
    let mut request = client.post(url).header(CONTENT_TYPE, "application/json");
    if let Some(secret) = &hook.secret {
        let now = jiff::Timestamp::now().as_second();
        request = request.header(TIMESTAMP_HEADER, now).header(
            SIGNATURE_HEADER,
            signature(secret.expose().as_bytes(), now, &body),
        );
    }
    let sent = request.body(body).send().await;
    let answer =
        sent.map_err(|error| format!("no answer from {host}: {}", chain(&error.without_url())))?;
    match answer.status() {
        status if status.is_success() => Ok(()),
        status if status.is_redirection() => Err(format!(
            "{host} answered {status}, and redirects are not followed: configure the address it leads to"
        )),
        status => Err(format!("{host} answered {status}")),
    }
}

/// HMAC-SHA-256 over the time, a dot and the body, as messages are signed that are delivered by HTTP.
fn signature(secret: &[u8], timestamp: i64, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let mut context = hmac::Context::with_key(&key);
    context.update(format!("{timestamp}.").as_bytes());
    context.update(body);
    let signed = context.sign();
    let hex: String = signed
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("sha256={hex}")
}

/// A client of its own for each notice: they are rare, and a kept connection would only be stale by the next.
fn client(host: &str) -> Result<Client, String> {
    let trust = Trust::new(None).map_err(|error| error.to_string())?;
    let builder = Client::builder()
        .tls_backend_preconfigured(trust.client_config())
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .timeout(LONGEST)
        .user_agent(concat!("postern/", env!("CARGO_PKG_VERSION")));
    // A proxy would look for a loopback address on its own host.
    let builder = if is_loopback(host.trim_matches(['[', ']'])) {
        builder.no_proxy()
    } else {
        builder
    };
    builder.build().map_err(|error| chain(&error))
}

/// An error with its causes: reqwest's own line says only "error sending request".
fn chain(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        words = format!("{words}: {error}");
        cause = error.source();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use provider_template::Secret;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    /// Serves one answer; the request, as it came.
    async fn exchange(answer: &str, secret: Option<&str>) -> (Result<(), String>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let hook = Webhook {
            url: Secret::new(format!("http://{address}/hook/planted-key")),
            secret: secret.map(Secret::new),
        };
        let serve = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"}") {
                assert!(stream.read_buf(&mut request).await.unwrap() > 0);
            }
            stream.write_all(answer.as_bytes()).await.unwrap();
            String::from_utf8(request).unwrap()
        };
        tokio::join!(tell(&hook, Tidings::test(0)), serve)
    }

    #[test]
    fn a_signature_is_as_others_make_it() {
        // Made with another program: printf '1760000000.{}' | openssl dgst -sha256 -hmac shared
        let expected = "sha256=66e4f452c78ceea2d1a8d7a5789cf1fae79831ea5bd56a2bd210b4bcb314de8a";
        assert_eq!(signature(b"shared", 1_760_000_000, b"{}"), expected);
    }

    #[tokio::test]
    async fn a_notice_is_posted_as_json_and_its_signature_holds() {
        let ok = "HTTP/1.1 204 No Content\r\n\r\n";
        let (done, request) = exchange(ok, Some("shared")).await;
        done.unwrap();
        let (head, body) = request.split_once("\r\n\r\n").unwrap();
        let header = |name: &str| {
            let line = head.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_once(": ").unwrap().1.to_owned()
        };
        let at: i64 = header(TIMESTAMP_HEADER).parse().unwrap();
        assert_eq!(
            header(SIGNATURE_HEADER),
            signature(b"shared", at, body.as_bytes())
        );
        assert_eq!(header("content-type"), "application/json");
        let json: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(json["kind"], "test");
        assert_eq!(json["state"], "raised");
        assert_eq!(json["since"], "1970-01-01T00:00:00Z");
        let (done, request) = exchange(ok, None).await;
        done.unwrap();
        assert!(!request.contains("x-postern"), "{request}");
    }

    #[tokio::test]
    async fn a_refusal_says_who_and_what_but_not_the_key_in_the_path() {
        let refused = "HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n";
        let (done, _) = exchange(refused, None).await;
        assert_eq!(done.unwrap_err(), "127.0.0.1 answered 403 Forbidden");
        let moved = "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1/planted-key\r\ncontent-length: 0\r\n\r\n";
        let (done, _) = exchange(moved, None).await;
        assert!(done.unwrap_err().contains("redirects are not followed"));
        let closed = TcpListener::bind("127.0.0.1:0")
            .await
            .unwrap()
            .local_addr()
            .unwrap();
        let hook = Webhook {
            url: Secret::new(format!("http://{closed}/planted-key")),
            secret: None,
        };
        let error = tell(&hook, Tidings::test(0)).await.unwrap_err();
        assert!(
            error.contains("Connection refused") && !error.contains("planted"),
            "{error}"
        );
    }
}
