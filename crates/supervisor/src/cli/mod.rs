//! The command line: what can be asked for, and which module does it.

mod account;
mod admin;
mod backup;
mod check;
mod documents;
mod exit;
mod key;
mod mailbox;
mod notices;
mod office;
mod prompt;
mod queue;
mod relay;
mod reload;
mod request;
mod run;
mod status;
mod submission;
mod table;
mod token;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub(crate) use exit::{Code, Failure};

/// Where the package has the configuration.
const CONFIG_FILE: &str = "/etc/postern/postern.yaml";

/// Brings helpdesk mail in and out with OAuth tokens that it keeps alive itself.
#[derive(Debug, Parser)]
#[command(
    name = "postern",
    version,
    after_help = "Examples:\n  \
        postern demo --once                  the whole gateway against a pretend provider, in a few seconds\n  \
        postern check                        is the configuration right, and do all accounts answer?\n  \
        postern token request support        sign in at the provider once\n  \
        postern status                       how every account fares\n\n\
        Exit codes follow sysexits.h: 64 usage, 65 wrong name or data, 69 no daemon, 75 try later, 77 not allowed, 78 configuration."
)]
pub(crate) struct Cli {
    /// The configuration file.
    #[arg(
        long,
        global = true,
        env = "POSTERN_CONFIG",
        default_value = CONFIG_FILE,
        value_name = "FILE"
    )]
    config: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon in the foreground, as the service manager does.
    Run,
    /// Run the whole gateway against a built-in pretend provider; needs no network and no configuration.
    #[cfg(feature = "demo")]
    Demo {
        /// Run a fixed story to its end, check it, and exit.
        #[arg(long)]
        once: bool,
    },
    /// The demo's ticket command.
    #[cfg(feature = "demo")]
    #[command(hide = true)]
    DemoTicket { dir: PathBuf, reply_port: u16 },
    /// Read the configuration, connect, sign in, look for folders and commands; change nothing.
    Check,
    /// Make the daemon read its configuration file again: new accounts start, removed ones drain, changed ones restart, the others
    /// are not touched. With a mistake in it nothing changes. The daemon does so by itself, too, when the file changes.
    Reload,
    /// Show how every mailbox, relay and token fares.
    Status {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Token configs and their tokens.
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// Mailboxes.
    #[command(subcommand)]
    Mailbox(mailbox::MailboxCommand),
    /// Relays.
    #[command(subcommand)]
    Relay(relay::RelayCommand),
    /// Messages in flight.
    #[command(subcommand)]
    Queue(queue::QueueCommand),
    /// Take a message from standard input, as sendmail does; also when the program is called `sendmail`.
    #[command(disable_help_flag = true)]
    Sendmail {
        /// Print help.
        #[arg(long, action = clap::ArgAction::HelpLong)]
        help: Option<bool>,
        /// The flags of sendmail: -t -i -oi -f -F -r -B -N -R -V -bm -bs, and recipients.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// What needs an administrator, and where it was told.
    Notices(notices::NoticesCommand),
    /// Who may sign in to the admin page.
    #[command(subcommand)]
    Admin(admin::AdminCommand),
    /// Who may hand over mail to the submission listeners.
    #[command(subcommand)]
    Submission(submission::SubmissionCommand),
    /// The key that seals secrets in the database.
    #[command(subcommand)]
    Key(key::KeyCommand),
    /// Write accounts, tokens and all mail in flight into one new file, while mail goes on. Secrets in it stay sealed; the key is not in it.
    Backup {
        /// The file; it must not exist.
        file: PathBuf,
    },
    /// Write a shell's completion script to standard output.
    #[command(
        after_help = "Example:\n  postern completions bash > /usr/share/bash-completion/completions/postern"
    )]
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// Write the man pages (postern.1, one for each command, postern.yaml.5) into a folder.
    Man {
        /// An existing folder.
        folder: PathBuf,
    },
    /// Put the state of a backup in place; the daemon must not run. What was in flight is held: it may have been delivered since.
    Restore {
        /// The file that `postern backup` wrote.
        file: PathBuf,
        /// Move the present state aside first.
        #[arg(long)]
        replace: bool,
    },
}

/// The command line of a program called `sendmail`; None: it has another name.
fn called_sendmail() -> Option<Cli> {
    let mut words = std::env::args_os();
    let program = words.next()?;
    crate::sendmail::is_called_so(&program).then(|| Cli {
        config: std::env::var_os("POSTERN_CONFIG")
            .map_or_else(|| CONFIG_FILE.into(), PathBuf::from),
        command: Command::Sendmail {
            help: None,
            arguments: words
                .map(|word| word.to_string_lossy().into_owned())
                .collect(),
        },
    })
}

/// Reads the arguments; for help, version and mistakes everything is said already.
pub(crate) fn parse() -> Result<Cli, ExitCode> {
    if let Some(sendmail) = called_sendmail() {
        return Ok(sendmail);
    }
    Cli::try_parse().map_err(|error| {
        let _ = error.print();
        if error.use_stderr() {
            Code::Usage.into()
        } else {
            ExitCode::SUCCESS
        }
    })
}

/// Does what was asked for.
pub(crate) fn carry_out(cli: Cli) -> ExitCode {
    #[cfg(feature = "demo")]
    if let Command::DemoTicket { dir, reply_port } = &cli.command {
        return crate::demo::ticket(dir, *reply_port);
    }
    if let Command::Token(command) = &cli.command
        && let Some(done) = token::quickly(&cli.config, command)
    {
        return code(done);
    }
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(error) => {
            return Failure::new(
                Code::Software,
                format!("the asynchronous runtime did not start: {error}"),
            )
            .report();
        }
    };
    let code = runtime.block_on(dispatch(cli));
    // What still runs now is a task whose grace time is over.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    code
}

/// Two workers, since the work is waiting; few blocking threads, since each is memory.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(8)
        .enable_all()
        .build()
}

async fn dispatch(cli: Cli) -> ExitCode {
    let file = cli.config.as_path();
    let done = match cli.command {
        Command::Run => run::run(file).await,
        #[cfg(feature = "demo")]
        Command::Demo { once } => {
            return crate::demo::run(once).await.unwrap_or_else(|error| {
                Failure::new(Code::Failed, format!("demo: {error:#}")).report()
            });
        }
        #[cfg(feature = "demo")]
        Command::DemoTicket { dir, reply_port } => return crate::demo::ticket(&dir, reply_port),
        Command::Check => check::check(file).await,
        Command::Reload => reload::reload(file).await,
        Command::Status { json } => status::status(file, json).await,
        Command::Token(command) => token::carry_out(file, command).await,
        Command::Mailbox(command) => mailbox::carry_out(file, command).await,
        Command::Relay(command) => relay::carry_out(file, command).await,
        Command::Queue(command) => queue::carry_out(file, command).await,
        Command::Sendmail { arguments, .. } => crate::sendmail::sendmail(file, &arguments).await,
        Command::Notices(command) => notices::carry_out(file, command).await,
        Command::Admin(command) => admin::carry_out(file, command).await,
        Command::Submission(command) => submission::carry_out(file, command).await,
        Command::Key(command) => key::carry_out(file, command).await,
        Command::Completions { shell } => documents::completions(shell),
        Command::Man { folder } => documents::man(&folder),
        Command::Backup { file: target } => backup::backup(file, &target).await,
        Command::Restore {
            file: source,
            replace,
        } => backup::restore(file, &source, replace).await,
    };
    code(done)
}

fn code(done: Result<(), Failure>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn the_configuration_file_may_be_named_before_and_after_the_command() {
        for arguments in [
            ["postern", "--config", "/x.yaml", "status"],
            ["postern", "status", "--config", "/x.yaml"],
        ] {
            assert_eq!(
                Cli::try_parse_from(arguments).unwrap().config,
                PathBuf::from("/x.yaml")
            );
        }
    }

    #[test]
    fn no_command_takes_a_secret_as_an_argument() {
        use clap::CommandFactory;
        fn walk(command: &clap::Command) {
            for argument in command.get_arguments() {
                let name = argument.get_id().as_str();
                let takes_value = argument.get_action().takes_values();
                assert!(
                    !(takes_value && (name.contains("secret") || name.contains("password"))),
                    "{} {name}",
                    command.get_name()
                );
            }
            command.get_subcommands().for_each(walk);
        }
        walk(&Cli::command());
    }
}
