//! The smallest web server there can be: it takes one redirect on a loopback port and answers with one page.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use token_store::CallbackAnswer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::cli::exit::{Code, Failure};

/// Browsers send some kilobytes of headers; codes and states are some hundred bytes.
const LONGEST_HEAD: usize = 32 * 1024;
/// A browser sends its request at once; a connection opened ahead of need sends nothing.
const PATIENCE: Duration = Duration::from_secs(5);
/// A browser opens six connections to a host at most.
const AT_ONCE: usize = 16;

/// Bound loopback addresses of one port.
pub(crate) struct Loopback {
    v4: TcpListener,
    /// `localhost` may mean this one first.
    v6: Option<TcpListener>,
    port: u16,
}

/// A redirect that came, not answered yet.
pub(crate) struct Callback {
    pub(crate) answer: CallbackAnswer,
    stream: TcpStream,
}

impl Loopback {
    /// Binds a port, 0 for any free one.
    pub(crate) async fn bind(port: u16) -> Result<Self, Failure> {
        let refused = |error: std::io::Error| {
            Failure::new(
                Code::Unavailable,
                format!("cannot listen on 127.0.0.1:{port}: {error}"),
            )
        };
        let v4 = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            .await
            .map_err(refused)?;
        let port = v4.local_addr().map_err(refused)?.port();
        let v6 = TcpListener::bind((Ipv6Addr::LOCALHOST, port)).await.ok();
        Ok(Self { v4, v6, port })
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Waits for the next request to `path`; others are answered with 404. Connections are read side by side, so that
    /// one that says nothing does not hold up the redirect.
    pub(crate) async fn next(&self, path: &str) -> Callback {
        let mut read = JoinSet::new();
        loop {
            tokio::select! {
                accepted = self.accept(), if read.len() < AT_ONCE => if let Some(stream) = accepted {
                    read.spawn(redirect(stream, path.to_owned()));
                },
                Some(done) = read.join_next() => if let Ok(Some(callback)) = done {
                    return callback;
                },
            }
        }
    }

    async fn accept(&self) -> Option<TcpStream> {
        let v6 = async {
            match &self.v6 {
                Some(listener) => listener.accept().await,
                None => std::future::pending().await,
            }
        };
        let accepted = tokio::select! {
            accepted = self.v4.accept() => accepted,
            accepted = v6 => accepted,
        };
        match accepted {
            Ok((stream, _)) => Some(stream),
            Err(_) => {
                tokio::time::sleep(Duration::from_millis(100)).await;
                None
            }
        }
    }
}

impl Callback {
    /// Tells the person in the browser how it ended.
    pub(crate) async fn reply(mut self, well: bool, words: &str) {
        let status = if well { "200 OK" } else { "400 Bad Request" };
        respond(&mut self.stream, status, words).await;
    }
}

/// The redirect that a connection brings; None, and 404, when it brings something else.
async fn redirect(mut stream: TcpStream, path: String) -> Option<Callback> {
    let head = timeout(PATIENCE, head(&mut stream)).await.ok()?.ok()?;
    match answer_in(&head, &path) {
        Some(answer) => Some(Callback { answer, stream }),
        None => {
            respond(&mut stream, "404 Not Found", "There is nothing here.").await;
            None
        }
    }
}

async fn head(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") && head.len() < LONGEST_HEAD {
        if stream.read_buf(&mut head).await? == 0 {
            break;
        }
    }
    Ok(head)
}

async fn respond(stream: &mut TcpStream, status: &str, words: &str) {
    let words = words.replace('&', "&amp;").replace('<', "&lt;");
    let page = format!(
        "<!doctype html><meta charset=utf-8><title>Postern</title><p style=\"font:18px sans-serif;margin:4em\">{words}</p>\n"
    );
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\nContent-Security-Policy: default-src 'none'; style-src 'unsafe-inline'\r\n\
         Referrer-Policy: no-referrer\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n",
        page.len()
    );
    // The token is stored or not, whether the browser hears of it or not.
    let _ = timeout(PATIENCE, async {
        stream.write_all(format!("{head}{page}").as_bytes()).await?;
        stream.shutdown().await
    })
    .await;
}

/// The redirect's parameters out of a request's head; None when it isn't a GET of this path. Pure.
fn answer_in(head: &[u8], path: &str) -> Option<CallbackAnswer> {
    let line = head.split(|byte| *byte == b'\r').next()?;
    let line = std::str::from_utf8(line).ok()?;
    let target = line.strip_prefix("GET ")?.split(' ').next()?;
    let (found, query) = target.split_once('?')?;
    if found != path {
        return None;
    }
    Some(CallbackAnswer::from_query(query))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_is_read_with_its_escapes_and_anything_else_is_not_ours() {
        let head = b"GET /cb?code=4%2F0a+b&state=x%3D%3d&error_description=gr%C3%BCn%zz&other=1 HTTP/1.1\r\nHost: a\r\n\r\n";
        let answer = answer_in(head, "/cb").unwrap();
        assert_eq!(answer.code.as_deref(), Some("4/0a b"));
        assert_eq!(answer.state.as_deref(), Some("x=="));
        assert_eq!(answer.error_description.as_deref(), Some("grün%zz"));
        assert_eq!(answer.error, None);
        for other in [
            "GET /favicon.ico HTTP/1.1\r\n",
            "POST /cb?code=1 HTTP/1.1\r\n",
            "GET /cb HTTP/1.1\r\n",
            "",
            "GET",
        ] {
            assert!(answer_in(other.as_bytes(), "/cb").is_none(), "{other}");
        }
    }

    #[tokio::test]
    async fn a_stray_request_gets_404_and_the_redirect_its_page() {
        let loopback = Loopback::bind(0).await.unwrap();
        let port = loopback.port();
        let browser = async move {
            let mut texts = Vec::new();
            // Opened ahead of need, as browsers do; nothing is ever said on it.
            let _silent = TcpStream::connect((Ipv4Addr::LOCALHOST, port))
                .await
                .unwrap();
            for target in ["/favicon.ico", "/cb?state=s&code=c"] {
                let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))
                    .await
                    .unwrap();
                stream
                    .write_all(format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes())
                    .await
                    .unwrap();
                let mut text = String::new();
                stream.read_to_string(&mut text).await.unwrap();
                texts.push(text);
            }
            texts
        };
        let command = async {
            let callback = loopback.next("/cb").await;
            assert_eq!(callback.answer.code.as_deref(), Some("c"));
            callback.reply(true, "a <b>").await;
        };
        let begun = tokio::time::Instant::now();
        let (texts, ()) = tokio::join!(browser, command);
        assert!(
            begun.elapsed() < PATIENCE,
            "the silent connection was waited for"
        );
        assert!(texts[0].starts_with("HTTP/1.1 404 "), "{}", texts[0]);
        assert!(
            texts[1].starts_with("HTTP/1.1 200 ") && texts[1].contains("a &lt;b>"),
            "{}",
            texts[1]
        );
    }
}
