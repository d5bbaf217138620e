//! A client that says bytes and compares bytes.
use sandbox::{Knobs, Provider};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

/// Longer than any answer takes on a busy machine; a test that waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct Talk(BufReader<TcpStream>);

impl Talk {
    pub(crate) async fn to(address: SocketAddr) -> Self {
        Self(BufReader::new(TcpStream::connect(address).await.unwrap()))
    }

    /// Says something, and hears exactly this.
    pub(crate) async fn expect(&mut self, say: &str, hear: &str) {
        self.say(say).await;
        let mut answer = vec![0; hear.len()];
        let read = self.0.read_exact(&mut answer);
        tokio::time::timeout(PATIENCE, read)
            .await
            .expect("an answer of the expected length")
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&answer), hear, "after {say:?}");
    }

    pub(crate) async fn say(&mut self, say: &str) {
        self.0.get_mut().write_all(say.as_bytes()).await.unwrap();
    }

    /// The next line, without its end.
    pub(crate) async fn line(&mut self) -> String {
        let mut line = String::new();
        tokio::time::timeout(PATIENCE, self.0.read_line(&mut line))
            .await
            .expect("a line")
            .unwrap();
        line.trim_end().to_owned()
    }

    /// Says something, and gives everything up to a line that starts with `last`.
    pub(crate) async fn ask(&mut self, say: &str, last: &str) -> Vec<String> {
        self.say(say).await;
        let mut lines = Vec::new();
        loop {
            let line = self.line().await;
            assert!(!line.is_empty() || lines.len() < 1000, "{lines:?}");
            let found = line.starts_with(last);
            lines.push(line);
            if found {
                return lines;
            }
        }
    }

    /// The next byte, of an answer in ASCII.
    pub(crate) async fn byte(&mut self) -> char {
        let read = self.0.read_u8();
        let byte = tokio::time::timeout(PATIENCE, read).await.expect("a byte");
        char::from(byte.unwrap())
    }

    /// Whether the server closed without another word.
    pub(crate) async fn is_closed(&mut self) -> bool {
        let mut rest = Vec::new();
        let read = self.0.read_to_end(&mut rest);
        // A reset is an end as well.
        tokio::time::timeout(PATIENCE, read).await.is_ok() && rest.is_empty()
    }
}

/// A provider that ends with the test.
pub(crate) struct Running {
    pub(crate) provider: Provider,
    shutdown: CancellationToken,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

pub(crate) async fn start() -> Running {
    let shutdown = CancellationToken::new();
    let provider = Provider::start(Knobs::default(), shutdown.clone())
        .await
        .unwrap();
    Running { provider, shutdown }
}

/// One HTTP request on a connection of its own: status and body.
pub(crate) async fn http(provider: &Provider, request: &str) -> (u16, String) {
    let mut talk = Talk::to(provider.oauth()).await;
    talk.say(request).await;
    let mut answer = String::new();
    let read = talk.0.read_to_string(&mut answer);
    tokio::time::timeout(PATIENCE, read)
        .await
        .expect("an answer")
        .unwrap();
    let status = answer.split(' ').nth(1).expect("a status line");
    (status.parse().unwrap(), answer)
}

pub(crate) async fn get(provider: &Provider, target: &str) -> (u16, String) {
    let request = format!("GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    http(provider, &request).await
}

pub(crate) async fn post(provider: &Provider, path: &str, form: &str) -> (u16, String) {
    let length = form.len();
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {length}\r\n\r\n{form}"
    );
    http(provider, &request).await
}

/// The text of a field in a JSON answer.
pub(crate) fn json_text(answer: &str, field: &str) -> String {
    let body = answer.split("\r\n\r\n").nth(1).expect("a body");
    let value: serde_json::Value = serde_json::from_str(body).expect("a JSON body");
    value[field].as_str().unwrap_or_default().to_owned()
}
