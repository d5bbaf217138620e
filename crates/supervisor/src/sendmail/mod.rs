//! `postern sendmail`, also under the name `sendmail`: a message from standard input into the spool, or into the drop directory while
//! the daemon is down. Exit codes follow sysexits.h, since that is what callers of sendmail look at.

mod arguments;
mod compose;
pub(crate) mod drop_box;
mod user;

use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use sender::{Envelope, HandedOver, HandoverError, Refused, hand_over};
use spool::Recipient;
use tempfile::SpooledTempFile;

use crate::cli::{Code, Failure};
use crate::config::peek;
use crate::control::{Client, ClientError, Question};
use arguments::Arguments;
use compose::{ComposeError, Composed, Manner};

/// A message up to this size waits in memory, a larger one in an unnamed temporary file.
const IN_MEMORY: usize = 256 * 1024;

/// Where the daemon is found, and where messages are left for it.
struct Places {
    socket: PathBuf,
    drop_dir: PathBuf,
}

/// Whether the program was called by the name `sendmail`.
pub(crate) fn is_called_so(program: &std::ffi::OsStr) -> bool {
    Path::new(program).file_name() == Some(std::ffi::OsStr::new("sendmail"))
}

/// Does what the arguments ask for.
pub(crate) async fn sendmail(file: &Path, arguments: &[String]) -> Result<(), Failure> {
    let usage = |why: String| Failure::new(Code::Usage, format!("sendmail: {why}"));
    let arguments = Arguments::parse(arguments).map_err(usage)?;
    let places = places(file)?;
    if arguments.smtp {
        return converse(&places).await;
    }
    if arguments.recipients.is_empty() && !arguments.from_header {
        return Err(usage(
            "no recipient; give addresses, or -t to take them from the header".to_owned(),
        ));
    }
    let (envelope, mut message) = read(&arguments)?;
    if envelope.recipients.is_empty() {
        let why = "the message has no To, Cc or Bcc to send it to";
        return Err(Failure::new(Code::Data, format!("sendmail: {why}")));
    }
    let why = match submit(&places.socket, &envelope, &mut message).await {
        Ok(HandedOver::Accepted(_)) => return Ok(()),
        Ok(HandedOver::Refused { what, reply }) => return Err(refused(what, &reply)),
        Err(Unreached::Denied(failure)) => return Err(failure),
        // Few callers try again. The message carries a key: if the daemon had taken it after all, it is not taken twice.
        Ok(HandedOver::Later(why)) | Err(Unreached::Down(why)) => why,
    };
    drop_box::put(&places.drop_dir, &envelope, &mut message).map_err(|error| {
        let dir = places.drop_dir.display();
        Failure::new(
            Code::Temporary,
            format!("sendmail: {why}, and the message could not be left in {dir}: {error}"),
        )
    })
}

fn refused(what: Refused, reply: &str) -> Failure {
    let code = match what {
        Refused::Sender => Code::Unavailable,
        Refused::Recipient => Code::NoUser,
        Refused::Message => Code::Data,
    };
    Failure::new(code, format!("sendmail: {reply}"))
}

/// The message and its envelope, read to the end.
fn read(arguments: &Arguments) -> Result<(Envelope, SpooledTempFile), Failure> {
    let user = user::caller();
    let name = arguments.full_name.as_deref().unwrap_or(&user.full_name);
    let key = format!("{:032x}", fastrand::u128(..));
    let manner = Manner {
        ignore_dots: arguments.ignore_dots,
        from: &user::from_field(name, sender(arguments).unwrap_or(&user.address)),
        key: &key,
    };
    let mut message = SpooledTempFile::new(IN_MEMORY);
    let input = std::io::stdin().lock();
    let composed = compose::compose(input, &mut message, manner).map_err(|error| {
        let code = match error {
            ComposeError::Io(_) => Code::Io,
            ComposeError::Header => Code::Data,
        };
        Failure::new(code, format!("sendmail: {error}"))
    })?;
    Ok((envelope(arguments, composed, user.address), message))
}

/// The address given as sender. A login without a host, as cron and PHP give it, names nobody to a provider: the header says more.
fn sender(arguments: &Arguments) -> Option<&str> {
    let given = arguments.sender.as_deref();
    given.filter(|sender| sender.contains('@'))
}

fn envelope(arguments: &Arguments, composed: Composed, caller: String) -> Envelope {
    let mut addresses = arguments.recipients.clone();
    if arguments.from_header {
        let more = composed.recipients.into_iter();
        let new: Vec<String> = more.filter(|a| !addresses.contains(a)).collect();
        addresses.extend(new);
    }
    // The relay is chosen by the sender, so the header's From says more than who happened to call.
    let given = match &arguments.sender {
        Some(null) if null.is_empty() => Some(""),
        _ => sender(arguments),
    };
    let sender = given
        .map(str::to_owned)
        .or(composed.author)
        .unwrap_or(caller);
    let beyond_ascii = !sender.is_ascii() || addresses.iter().any(|a| !a.is_ascii());
    let recipient = |address| Recipient {
        address,
        notify: arguments.notify,
        orcpt: None,
    };
    Envelope {
        smtputf8: beyond_ascii || composed.eight_bit_header,
        sender,
        recipients: addresses.into_iter().map(recipient).collect(),
        ret: arguments.ret,
        envid: arguments.envid.clone(),
    }
}

/// Why the daemon did not answer for the message.
enum Unreached {
    /// The caller may not reach it, running or not.
    Denied(Failure),
    /// It is not there, or it went away.
    Down(String),
}

async fn submit(
    socket: &Path,
    envelope: &Envelope,
    message: &mut (impl Read + Seek),
) -> Result<HandedOver, Unreached> {
    let client = Client::reach(socket).await.map_err(unreached)?;
    let stream = client.open(&Question::Sendmail).await.map_err(unreached)?;
    let io = |error: std::io::Error| {
        Unreached::Denied(Failure::new(Code::Io, format!("sendmail: {error}")))
    };
    message.seek(SeekFrom::Start(0)).map_err(io)?;
    match hand_over(stream, envelope, message).await {
        Ok(ended) => Ok(ended),
        Err(HandoverError::Message(error)) => Err(io(error)),
        Err(error @ HandoverError::Session(_)) => Err(Unreached::Down(error.to_string())),
    }
}

fn unreached(error: ClientError) -> Unreached {
    match error {
        ClientError::Denied { .. } => Unreached::Denied(error.into()),
        ClientError::NoDaemon { .. } | ClientError::Broken { .. } | ClientError::Failed(_) => {
            Unreached::Down(error.to_string())
        }
    }
}

/// `-bs`: the caller speaks SMTP with the daemon itself.
async fn converse(places: &Places) -> Result<(), Failure> {
    let client = Client::reach(&places.socket).await?;
    let stream = client.open(&Question::Sendmail).await?;
    let mut from_daemon = stream.into_std()?;
    from_daemon.set_nonblocking(false)?;
    let mut to_daemon = from_daemon.try_clone()?;
    // Nobody waits for this one: the daemon closes after QUIT, whether or not the caller closes its end, and the process ends then.
    std::thread::spawn(move || {
        let copied = std::io::copy(&mut std::io::stdin(), &mut to_daemon);
        copied.and_then(|_| to_daemon.shutdown(std::net::Shutdown::Write))
    });
    std::io::copy(&mut from_daemon, &mut std::io::stdout())?;
    Ok(())
}

/// From the configuration where this user may read it; else where the package has them.
fn places(file: &Path) -> Result<Places, Failure> {
    let missing = || {
        let why = format!(
            "{}: neither control_socket nor drop_dir is to be found in it; `postern check` says what is wrong",
            file.display()
        );
        Failure::new(Code::Configuration, why)
    };
    Ok(Places {
        socket: peek::control_socket(file).ok_or_else(missing)?,
        drop_dir: peek::path(file, "drop_dir", crate::config::DROP_DIR).ok_or_else(missing)?,
    })
}
