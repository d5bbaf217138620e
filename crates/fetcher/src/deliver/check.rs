//! `postern check` of a mailbox's deliveries: what would be in their way; nothing is delivered or left behind.

use token_store::accounts::{Mailbox, TicketCommand, Way};

use super::command::{find, is_directory};
use super::{http, lmtp, maildir};
use crate::Step;

/// Looks at where a mailbox's messages go.
pub(crate) async fn check(mailbox: &Mailbox) -> Vec<Step> {
    match &mailbox.deliver.way {
        Way::Command(run) => command(run, &mailbox.name),
        Way::Lmtp(way) => {
            let what = format!("the LMTP server {}", way.server);
            vec![step(what, lmtp::look(way).await)]
        }
        Way::Http(way) => {
            let what = format!("the endpoint {}", mailbox.deliver.in_words());
            vec![step(what, http::look(way).await)]
        }
        Way::Maildir(folder) => {
            let what = format!("the maildir {}", folder.display());
            vec![step(what, maildir::look(folder))]
        }
    }
}

fn step(what: String, found: Result<String, String>) -> Step {
    Step { what, found }
}

fn command(run: &TicketCommand, mailbox: &str) -> Vec<Step> {
    let program = run.command.first().map_or("", String::as_str);
    let found = find(program).map(|path| format!("{} is there and executable", path.display()));
    let mut steps = vec![step(format!("the command of mailbox {mailbox}"), found)];
    if let Some(directory) = &run.directory {
        let what = format!("the command's working directory {}", directory.display());
        let found = is_directory(directory).map(|()| "is there".to_owned());
        steps.push(step(what, found));
    }
    steps
}
