//! A message from standard input made ready: line ends, header section, recipients of `-t`, Bcc taken out, a From where there is none.

use std::io::{self, BufRead, Write};

use mail_parser::{Address, HeaderValue, MessageParser};

/// A header section is read into memory; a longer one is a mistake.
const LONGEST_HEADER: usize = 1 << 20;

/// How to read a message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Manner<'a> {
    /// A line with only a dot is text, not the end.
    pub(super) ignore_dots: bool,
    /// The `From` field's value where the message has none.
    pub(super) from: &'a str,
    /// The idempotency key where the message has none.
    pub(super) key: &'a str,
}

/// What the header section says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Composed {
    /// The addresses of To, Cc and Bcc, or of their Resent- forms, groups taken apart, each once.
    pub(super) recipients: Vec<String>,
    /// The first address of From.
    pub(super) author: Option<String>,
    /// The header section has bytes beyond ASCII.
    pub(super) eight_bit_header: bool,
}

/// Why a message cannot be made ready.
#[derive(Debug, thiserror::Error)]
pub(super) enum ComposeError {
    #[error("the message cannot be read or kept: {0}")]
    Io(#[from] io::Error),
    #[error("the header section is longer than {LONGEST_HEADER} bytes")]
    Header,
}

/// Reads a message to its end and writes it with CRLF line ends.
pub(super) fn compose(
    mut input: impl BufRead,
    mut output: impl Write,
    manner: Manner<'_>,
) -> Result<Composed, ComposeError> {
    let mut header = Header::default();
    let begun = header.read(&mut input, manner.ignore_dots)?;
    let composed = header.composed();
    for field in &header.fields {
        let dropped = ["bcc", "resent-bcc"].contains(&field.name.as_str());
        if !dropped {
            output.write_all(&field.bytes)?;
        }
    }
    if !header.has("from") {
        write!(output, "From: {}\r\n", manner.from)?;
    }
    if !header.has("x-postern-idempotency-key") {
        write!(output, "X-Postern-Idempotency-Key: {}\r\n", manner.key)?;
    }
    output.write_all(b"\r\n")?;
    if let Begun::Body(first) = begun {
        let mut body = Body::new(&mut output, manner.ignore_dots);
        if body.line_part(&first)? {
            copy(&mut input, &mut body)?;
        }
        body.finish()?;
    }
    output.flush()?;
    Ok(composed)
}

/// One field as it will be written, folded lines and all.
struct Field {
    /// In lower case.
    name: String,
    bytes: Vec<u8>,
}

/// How the header section ended.
enum Begun {
    /// With the message.
    End,
    /// Here is the body's beginning.
    Body(Vec<u8>),
}

#[derive(Default)]
struct Header {
    fields: Vec<Field>,
}

impl Header {
    fn has(&self, name: &str) -> bool {
        self.fields.iter().any(|field| field.name == name)
    }

    /// Fields until an empty line, or until a line that is none: then the body begins there, as other sendmails have it.
    fn read(&mut self, input: &mut impl BufRead, ignore_dots: bool) -> Result<Begun, ComposeError> {
        let mut length = 0;
        loop {
            let mut line = Vec::new();
            let room = (LONGEST_HEADER - length) as u64;
            let read = io::Read::take(&mut *input, room).read_until(b'\n', &mut line)?;
            length += read;
            if length == LONGEST_HEADER {
                return Err(ComposeError::Header);
            }
            if read == 0 {
                return Ok(Begun::End);
            }
            let text = line.strip_suffix(b"\n").unwrap_or(&line);
            let text = text.strip_suffix(b"\r").unwrap_or(text);
            if text.is_empty() {
                return Ok(Begun::Body(Vec::new()));
            }
            if text == b"." && !ignore_dots {
                return Ok(Begun::End);
            }
            let folded = matches!(text[0], b' ' | b'\t');
            match self.fields.last_mut() {
                Some(field) if folded => {
                    field.bytes.extend_from_slice(text);
                    field.bytes.extend_from_slice(b"\r\n");
                }
                // The envelope line of a mailbox file.
                None if text.starts_with(b"From ") || text.starts_with(b">From ") => {}
                _ => match name_of(text) {
                    Some(name) => self.fields.push(Field {
                        name,
                        bytes: [text, b"\r\n"].concat(),
                    }),
                    None => return Ok(Begun::Body(line)),
                },
            }
        }
    }

    fn composed(&self) -> Composed {
        let bytes: Vec<u8> = self.fields.iter().flat_map(|f| f.bytes.clone()).collect();
        let resent = self
            .fields
            .iter()
            .any(|f| ["resent-to", "resent-cc", "resent-bcc"].contains(&f.name.as_str()));
        let names = match resent {
            true => ["resent-to", "resent-cc", "resent-bcc"],
            false => ["to", "cc", "bcc"],
        };
        let mut composed = Composed {
            eight_bit_header: !bytes.is_ascii(),
            ..Composed::default()
        };
        let parsed = MessageParser::default().parse_headers(&bytes[..]);
        let headers = parsed.iter().flat_map(|message| message.headers());
        for header in headers {
            let HeaderValue::Address(addresses) = &header.value else {
                continue;
            };
            let name = header.name.as_str().to_ascii_lowercase();
            if name == "from" && composed.author.is_none() {
                composed.author = each(addresses).next();
            }
            if names.contains(&name.as_str()) {
                for address in each(addresses) {
                    if !composed.recipients.contains(&address) {
                        composed.recipients.push(address);
                    }
                }
            }
        }
        composed
    }
}

/// Every address of a field, those of groups too.
fn each<'a>(addresses: &'a Address<'a>) -> impl Iterator<Item = String> + 'a {
    let address = |a: &'a mail_parser::Addr<'a>| a.address().map(str::to_owned);
    addresses.iter().filter_map(address)
}

/// A field's name in lower case, if the line is one (RFC 5322 section 2.2).
fn name_of(line: &[u8]) -> Option<String> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let name = line[..colon].trim_ascii_end();
    let printable = !name.is_empty() && name.iter().all(|byte| (b'!'..=b'~').contains(byte));
    printable.then(|| String::from_utf8_lossy(name).to_ascii_lowercase())
}

fn copy(input: &mut impl BufRead, body: &mut Body<impl Write>) -> io::Result<()> {
    loop {
        let chunk = input.fill_buf()?;
        if chunk.is_empty() {
            return Ok(());
        }
        let used = chunk.len();
        let goes_on = body.lines(chunk)?;
        input.consume(used);
        if !goes_on {
            return Ok(());
        }
    }
}

/// The body on its way out: bare LF becomes CRLF, and a line with only a dot ends it unless dots are ignored.
struct Body<W> {
    output: W,
    ignore_dots: bool,
    /// What the present line has so far, while it may still be a lone dot.
    start: Option<Vec<u8>>,
    after_cr: bool,
    empty: bool,
}

impl<W: Write> Body<W> {
    fn new(output: W, ignore_dots: bool) -> Self {
        Self {
            output,
            ignore_dots,
            start: Some(Vec::new()),
            after_cr: false,
            empty: true,
        }
    }

    /// Any number of lines and the beginning of the next; false: the end was found.
    fn lines(&mut self, mut chunk: &[u8]) -> io::Result<bool> {
        while let Some(at) = memchr::memchr(b'\n', chunk) {
            if !self.line_part(&chunk[..=at])? {
                return Ok(false);
            }
            chunk = &chunk[at + 1..];
        }
        self.line_part(chunk)
    }

    /// A part of a line, with its LF if that is there.
    fn line_part(&mut self, part: &[u8]) -> io::Result<bool> {
        if part.is_empty() {
            return Ok(true);
        }
        if let Some(mut start) = self.start.take() {
            start.extend_from_slice(part);
            let lone_dot = b".\r\n".starts_with(&start[..]) || start == b".\n";
            if lone_dot && !self.ignore_dots {
                let ended = start.ends_with(b"\n");
                self.start = Some(if ended { Vec::new() } else { start });
                return Ok(!ended);
            }
            return self.write(&start).map(|()| true);
        }
        self.write(part).map(|()| true)
    }

    fn write(&mut self, part: &[u8]) -> io::Result<()> {
        self.empty = false;
        let Some(line) = part.strip_suffix(b"\n") else {
            self.after_cr = part.ends_with(b"\r");
            return self.output.write_all(part);
        };
        self.output.write_all(line)?;
        let has_cr = line.ends_with(b"\r") || (line.is_empty() && self.after_cr);
        self.output
            .write_all(if has_cr { b"\n" } else { b"\r\n" })?;
        self.after_cr = false;
        self.start = Some(Vec::new());
        Ok(())
    }

    /// The last line's end, where it is missing.
    fn finish(mut self) -> io::Result<()> {
        match self.start.take() {
            // A dot, and the input ended: without a line end it is text.
            Some(start) if !start.is_empty() => self.write(&start)?,
            Some(_) => return Ok(()),
            None => {}
        }
        if self.after_cr {
            return self.output.write_all(b"\n");
        }
        self.output.write_all(b"\r\n")
    }
}

#[cfg(test)]
mod tests;
