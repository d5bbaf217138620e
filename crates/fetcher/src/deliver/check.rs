//! `postern check` of a mailbox's deliveries: what would be in their way; nothing is delivered or left behind.

use token_store::accounts::{Mailbox, TicketCommand, Way};

use super::command::{find, is_directory};
use crate::Step;

/// Looks at where a mailbox's messages go.
pub(crate) async fn check(mailbox: &Mailbox) -> Vec<Step> {
    match &mailbox.deliver.way {
        Way::Command(run) => command(run, &mailbox.name),
    }
}

fn command(run: &TicketCommand, mailbox: &str) -> Vec<Step> {
    let program = run.command.first().map_or("", String::as_str);
    let mut steps = vec![Step {
        what: format!("the command of mailbox {mailbox}"),
        found: find(program).map(|path| format!("{} is there and executable", path.display())),
    }];
    if let Some(directory) = &run.directory {
        steps.push(Step {
            what: format!("the command's working directory {}", directory.display()),
            found: is_directory(directory).map(|()| "is there".to_owned()),
        });
    }
    steps
}
