//! A command's end of the control socket for one question that must be answered at once: no runtime, no thread.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use super::client::{ANSWERING, LONGEST_ANSWER, broken, read_answer};
use super::{ClientError, Question};

/// Asks the daemon; None when it can't be reached: why is for somebody with more time to find out.
pub(crate) fn ask_at_once(
    socket: &Path,
    question: &Question,
) -> Option<Result<serde_json::Value, ClientError>> {
    let stream = UnixStream::connect(socket).ok()?;
    let talk = || {
        let mut line = serde_json::to_vec(question).map_err(|e| broken(socket, e))?;
        line.push(b'\n');
        let mut read = Vec::new();
        let mut talk = || {
            stream.set_read_timeout(Some(ANSWERING))?;
            stream.set_write_timeout(Some(ANSWERING))?;
            (&stream).write_all(&line)?;
            (&stream).take(LONGEST_ANSWER).read_to_end(&mut read)
        };
        talk().map_err(|e| broken(socket, e))?;
        read_answer(socket, &read)
    };
    Some(talk())
}
