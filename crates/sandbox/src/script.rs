//! A server that plays dialogues literally: for tests of clients that must survive servers which lie.
//!
//! Each connection plays the next dialogue; when there is none left, connections are closed at once. What a client said
//! that the dialogue did not expect is an error of that dialogue, and [`Script::finished`] hands it to the test.
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use wire::lines::Lines;

/// A client that says nothing for so long has hung: the test fails with the step it hung at.
const PATIENCE: Duration = Duration::from_secs(20);
/// Longest line a client may send.
const LINE_CAP: usize = 1024 * 1024;

/// One step of a dialogue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Sends bytes; `{tag}` is replaced by the tag of the last [`Step::Command`].
    Send(Vec<u8>),
    /// Expects a line that starts with this, in any case.
    Line(String),
    /// Expects an IMAP command: a tag, which is remembered, then this, in any case.
    Command(String),
    /// Reads lines up to and with this one: `.` reads a whole message.
    Until(String),
    /// Waits, reading nothing.
    Pause(Duration),
    /// Says nothing more, and keeps the connection open until the client closes it.
    Stall,
    /// Closes; also what the end of a dialogue does.
    Close,
}

impl Step {
    /// Sends text.
    pub fn send(text: &str) -> Self {
        Self::Send(text.as_bytes().to_vec())
    }

    /// Expects a line that starts with `prefix`.
    pub fn line(prefix: &str) -> Self {
        Self::Line(prefix.to_owned())
    }

    /// Expects an IMAP command that starts with `prefix` after its tag.
    pub fn command(prefix: &str) -> Self {
        Self::Command(prefix.to_owned())
    }
}

/// A running scripted server; dropped, it ends.
#[derive(Debug)]
pub struct Script {
    address: SocketAddr,
    tasks: JoinSet<Result<Vec<String>, String>>,
}

impl Script {
    /// Listens on a free loopback port and plays one dialogue per connection, one connection at a time.
    pub async fn start(dialogues: Vec<Vec<Step>>) -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let mut tasks = JoinSet::new();
        tasks.spawn(play_all(listener, dialogues));
        Ok(Self { address, tasks })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until every dialogue was played; gives all lines the clients sent, or the first step that was not met.
    pub async fn finished(mut self) -> Result<Vec<String>, String> {
        match self.tasks.join_next().await {
            Some(Ok(result)) => result,
            Some(Err(error)) => Err(format!("the script's task ended: {error}")),
            None => Err("the script was not started".to_owned()),
        }
    }
}

async fn play_all(listener: TcpListener, dialogues: Vec<Vec<Step>>) -> Result<Vec<String>, String> {
    let mut heard = Vec::new();
    for (number, dialogue) in (1..).zip(dialogues) {
        let accepted = tokio::time::timeout(PATIENCE, listener.accept()).await;
        let (stream, _) = accepted
            .map_err(|_| format!("nobody came for dialogue {number}"))?
            .map_err(|error| format!("dialogue {number}: {error}"))?;
        // Without it a client that waits for small steps is only slower.
        stream.set_nodelay(true).ok();
        play(stream, &dialogue, &mut heard)
            .await
            .map_err(|why| format!("dialogue {number}, {why}"))?;
    }
    Ok(heard)
}

/// Plays one dialogue; the error says which step was not met.
async fn play(stream: TcpStream, steps: &[Step], heard: &mut Vec<String>) -> Result<(), String> {
    let mut lines = Lines::new(stream, PATIENCE);
    let mut tag = String::new();
    for (number, step) in (1..).zip(steps) {
        let at = |why: String| format!("step {number} ({step:?}): {why}");
        match step {
            Step::Send(bytes) => {
                let bytes = with_tag(bytes, &tag);
                lines.send(&bytes).await.map_err(|e| at(e.to_string()))?;
            }
            Step::Line(prefix) => {
                let line = hear(&mut lines, heard).await.map_err(at)?;
                if !starts_with(&line, prefix) {
                    return Err(at(format!("the client said {line:?}")));
                }
            }
            Step::Command(prefix) => {
                let line = hear(&mut lines, heard).await.map_err(at)?;
                let (first, rest) = line.split_once(' ').unwrap_or((&line, ""));
                if !starts_with(rest, prefix) {
                    return Err(at(format!("the client said {line:?}")));
                }
                tag = first.to_owned();
            }
            Step::Until(last) => while hear(&mut lines, heard).await.map_err(at)? != *last {},
            Step::Pause(time) => tokio::time::sleep(*time).await,
            Step::Stall => {
                while lines.chunk().await.is_ok_and(|chunk| !chunk.is_empty()) {
                    let length = lines.buffered().len();
                    lines.consume(length);
                }
            }
            Step::Close => return Ok(()),
        }
    }
    Ok(())
}

async fn hear(lines: &mut Lines<TcpStream>, heard: &mut Vec<String>) -> Result<String, String> {
    let line = lines.line(LINE_CAP).await.map_err(|e| e.to_string())?;
    let text = String::from_utf8_lossy(&line.bytes).into_owned();
    heard.push(text.clone());
    Ok(text)
}

fn starts_with(line: &str, prefix: &str) -> bool {
    line.get(..prefix.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

/// Replaces every `{tag}`; other bytes stay as they are, UTF-8 or not.
fn with_tag(bytes: &[u8], tag: &str) -> Vec<u8> {
    const PLACE: &[u8] = b"{tag}";
    let mut replaced = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(at) = memchr::memmem::find(rest, PLACE) {
        replaced.extend_from_slice(&rest[..at]);
        replaced.extend_from_slice(tag.as_bytes());
        rest = &rest[at + PLACE.len()..];
    }
    replaced.extend_from_slice(rest);
    replaced
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn say(address: SocketAddr, words: &str) -> String {
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(words.as_bytes()).await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn a_dialogue_answers_with_the_tag_it_heard() {
        let dialogue = vec![
            Step::send("* OK hello\r\n"),
            Step::command("uid search"),
            Step::send("{tag} NO [UNAVAILABLE] later\r\n"),
        ];
        let script = Script::start(vec![dialogue]).await.unwrap();
        let answer = say(script.address(), "a7 UID SEARCH ALL\r\n").await;
        assert_eq!(answer, "* OK hello\r\na7 NO [UNAVAILABLE] later\r\n");
        assert_eq!(script.finished().await.unwrap(), ["a7 UID SEARCH ALL"]);
    }

    #[tokio::test]
    async fn a_client_that_says_something_else_is_the_tests_error() {
        let dialogues = vec![vec![Step::Close], vec![Step::line("EHLO"), Step::Stall]];
        let script = Script::start(dialogues).await.unwrap();
        assert_eq!(say(script.address(), "").await, "");
        say(script.address(), "HELO x\r\n").await;
        let why = script.finished().await.unwrap_err();
        assert!(why.starts_with("dialogue 2, step 1"), "{why}");
        assert!(why.contains("HELO x"), "{why}");
    }
}
