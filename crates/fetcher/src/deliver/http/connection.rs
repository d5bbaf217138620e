//! One HTTP/1.1 connection: a request, its answer, and back into the pool if both were whole.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use futures_util::FutureExt as _;
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::RETRY_AFTER;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use wire::dial::Stream;

use super::answer;
use super::message::Message;

/// Kept of an answer's body. More than that is not read.
const OUTPUT: usize = 64 * 1024;

/// Moves the bytes; ends with the connection. None once it has.
type Driver = Option<Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>>;

/// A connection that is between two requests.
pub(super) struct Connection {
    sender: SendRequest<Message>,
    driver: Driver,
}

/// What came back.
pub(super) struct Answered {
    pub(super) status: StatusCode,
    /// The pause that the server asked for.
    pub(super) retry_after: Option<Duration>,
    /// The beginning of the body.
    pub(super) body: Vec<u8>,
}

/// Why there is no answer.
pub(super) enum Unanswered {
    /// Nothing of the request was sent: here it is.
    Unsent(Box<Request<Message>>),
    /// It may have been sent.
    Broken(String),
}

impl Answered {
    /// Status and body, as people read them.
    pub(super) fn in_words(&self) -> String {
        format!(
            "HTTP {}\n{}",
            self.status,
            String::from_utf8_lossy(&self.body).trim_end()
        )
    }
}

impl Connection {
    pub(super) async fn over(stream: Stream) -> Result<Self, String> {
        let (sender, driver) = handshake(TokioIo::new(stream))
            .await
            .map_err(|e| in_words(&e))?;
        Ok(Self {
            sender,
            driver: Some(Box::pin(driver)),
        })
    }

    /// Sends a request and reads its answer. The connection comes back where another request can follow.
    pub(super) async fn send(
        mut self,
        request: Request<Message>,
    ) -> Result<(Answered, Option<Self>), Unanswered> {
        // What came while it was idle: most often the server's end of it.
        if let Some(driver) = &mut self.driver
            && driver.as_mut().now_or_never().is_some()
        {
            self.driver = None;
        }
        if self.driver.is_none() || self.sender.is_closed() {
            return Err(Unanswered::Unsent(Box::new(request)));
        }
        let sending = self.sender.try_send_request(request);
        let response = match driven(&mut self.driver, sending).await {
            Ok(response) => response,
            Err(mut failed) => {
                return Err(match failed.take_message() {
                    Some(request) => Unanswered::Unsent(Box::new(request)),
                    None => Unanswered::Broken(format!(
                        "no answer: {}; the server may have the message, and gets it again",
                        in_words(&failed.into_error())
                    )),
                });
            }
        };
        let (head, mut incoming) = response.into_parts();
        let mut body = Vec::new();
        let whole = driven(&mut self.driver, read(&mut incoming, &mut body)).await;
        let answered = Answered {
            status: head.status,
            retry_after: answer::retry_after(head.headers.get(RETRY_AFTER)),
            body,
        };
        let more = whole && self.driver.is_some() && !self.sender.is_closed();
        Ok((answered, more.then_some(self)))
    }
}

/// Waits for something while the connection's bytes are moved.
async fn driven<T>(driver: &mut Driver, something: impl Future<Output = T>) -> T {
    tokio::pin!(something);
    loop {
        let Some(moving) = driver else {
            return something.await;
        };
        tokio::select! {
            biased;
            done = &mut something => return done,
            // Its error, if it ended with one, reaches the request or the body as well.
            _ = moving => *driver = None,
        }
    }
}

/// Reads an answer's body up to [`OUTPUT`]; whether that was all of it. The status decides, so a body cut short is no failure.
async fn read(incoming: &mut Incoming, into: &mut Vec<u8>) -> bool {
    loop {
        let frame = std::future::poll_fn(|context| Pin::new(&mut *incoming).poll_frame(context));
        match frame.await {
            None => return true,
            Some(Err(_)) => return false,
            Some(Ok(frame)) => {
                let data = frame.into_data().unwrap_or_default();
                let room = OUTPUT - into.len();
                into.extend_from_slice(&data[..data.len().min(room)]);
                if data.len() > room {
                    return false;
                }
            }
        }
    }
}

/// An error with its cause: hyper's own words name the step alone.
fn in_words(error: &hyper::Error) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}
